"""A line of the service's log: JSON or for people, the same facts, and never a key."""

import io
import json
from datetime import UTC, datetime

import pytest

from metering.service import logs

NOW = datetime(2026, 11, 20, 6, 15, 20, tzinfo=UTC)


def written(*, is_terminal: bool, **fields: object) -> str:
    stream = io.StringIO()
    logs.logger(stream, lambda: NOW, is_terminal=is_terminal).warning("fault", **fields)
    return stream.getvalue()


def test_where_nobody_reads_along_a_line_is_json_with_time_level_event_and_fields():
    text = written(is_terminal=False, pages=3, closed=None, sentence="größer")
    assert text == (
        '{"time": "2026-11-20T06:15:20Z", "level": "warning", "event": "fault", "pages": 3, "closed": null, '
        '"sentence": "größer"}\n'
    )


def test_on_a_terminal_a_line_is_for_people():
    text = written(is_terminal=True, pages=3, sentence="Neon is down")
    assert text == "2026-11-20T06:15:20Z [warning  ] fault pages=3 sentence='Neon is down'\n"


def test_a_text_of_several_lines_stays_one_line_of_json():
    assert json.loads(written(is_terminal=False, traceback="a\nb"))["traceback"] == "a\nb"
    assert written(is_terminal=False, traceback="a\nb").count("\n") == 1


@pytest.mark.parametrize("is_terminal", [True, False], ids=["terminal", "json"])
def test_no_key_is_written_however_deep_it_stands(is_terminal):
    text = written(
        is_terminal=is_terminal,
        sentence="Authorization: Bearer abc.def",
        found=["napi_0123", {"secret": ("whsec_c2VjcmV0", 1)}],
        error=ValueError("napi_4567"),
    )
    assert not any(secret in text for secret in ("abc.def", "0123", "c2VjcmV0", "4567"))
    assert text.count("***") == 4


def test_nothing_that_looks_like_a_key_is_left_in_a_text():
    text = "GET x Authorization: Bearer abc.def napi_0123 'whsec_c2VjcmV0' bearer=1"
    assert logs.redacted(text) == "GET x Authorization: *** *** '***' bearer=1"
