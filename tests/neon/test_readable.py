"""A list page whose rows are not all readable: the sound ones, and the others by their ids."""

import pytest

from metering.core.errors import PageRefusedError
from metering.neon import parse_history, readable, wire

SOUND = b'{"id": "calm-dawn-1", "name": "one", "created_at": "2026-01-01T00:00:00Z"}'
LONGEST = b'{"id": "calm-dawn-1", "name": "%s"}' % (b"x" * readable.LONGEST_NAME)


def page(*rows: bytes, more: bytes = b"") -> bytes:
    return b'{"projects": [' + b", ".join(rows) + b"]" + more + b"}"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (rb'{"id": "odd-2", "name": "lone \ud800 surrogate"}', "surrogate"),
        (rb'{"id": "odd-2", "name": "lone \udc00 surrogate"}', "surrogate"),
        (b'{"id": "odd-2", "name": "\xff\xfe"}', "utf-8"),
        (b'{"id": "odd-2", "name": "\xed\xa0\x80"}', "utf-8"),
        (rb'{"id": "odd-2", "name": "a\u0000b"}', "NUL"),
        (b'{"id": "odd-2", "name": "a\x00b"}', "invalid character"),
        (rb'{"id": "odd-2", "name": "a\x41"}', "escape"),
        (b'{"id": "odd-2", "name": 7}', "got `int`"),
        (b'{"id": "odd-2", "name": ["a"]}', "got `array`"),
        (b'{"id": "odd-2", "name": NaN}', "invalid character"),
        (b'{"id": "odd-2", "name": null}', "name is missing"),
        (b'{"id": "odd-2", "name": ""}', "name is missing"),
        (b'{"id": "odd-2"}', "name is missing"),
        (b'{"id": "odd-2", "name": "%s"}' % (b"x" * (readable.LONGEST_NAME + 1)), "1025 characters"),
        (b'{"id": "odd-2", "name": "a", "name": "b"}', "stands twice"),
        (b'{"id": "odd-2", "name": "a", "created_at": "yesterday"}', "created_at is no time"),
        (b'{"id": "odd-2", "name": "a", "deleted_at": "2026-13-01T00:00:00Z"}', "deleted_at is no time"),
        (b'{"id": "odd-2", "name": "a", "settings": {"quota": {"compute_time_seconds": 1.5}}}', "got `float`"),
        (b'{"id": "odd-2", "name": "a", "settings": {"quota": {"compute_time_seconds": -1}}}', "negative"),
        (b'{"id": "odd-2", "name": "a], [{}", "settings": 7}', "got `int`"),
    ],
)
def test_a_row_that_cannot_be_read_takes_none_of_its_neighbours(row: bytes, fault: str) -> None:
    for rows in ((SOUND, row), (row, SOUND), (LONGEST.replace(b"dawn-1", b"dusk-3"), row, SOUND)):
        projects, unavailable, [odd] = readable.inventory(page(*rows, more=b', "unavailable_project_ids": ["x"]'))
        assert [found.project_id for found in projects if found.project_id == "calm-dawn-1"] == ["calm-dawn-1"]
        assert len(projects) == len(rows) - 1
        assert unavailable == ("x",)
        assert odd.project_id == "odd-2"
        assert fault in odd.fault


def test_a_zero_time_and_no_time_are_times_that_are_not_there() -> None:
    for text in (b'"0001-01-01T00:00:00Z"', b"null", b'""'):
        [found], _, unreadable = readable.inventory(page(b'{"id": "a", "name": "n", "created_at": %s}' % text))
        assert (found.created_at, unreadable) == (None, [])


@pytest.mark.parametrize(
    "row",
    [
        b'{"name": 7}',
        b'{"id": 7, "name": "a"}',
        b'{"id": "a b", "name": 7}',
        rb'{"id": "\ud800", "name": "a"}',
        b'{"id": "a", "id": "b", "name": 7}',
        b'{"more": {"id": "a"}, "name": 7}',
        b"7",
        b'["id", "a"]',
    ],
)
def test_a_faulty_row_without_an_id_refuses_the_page(row: bytes) -> None:
    with pytest.raises(PageRefusedError):
        readable.inventory(page(SOUND, row))


@pytest.mark.parametrize(
    "body",
    [
        b'{"projects": [%s, {"id": "b", "name": "cut' % SOUND,
        b'{"projects": [%s], "projects": [{"id": "b", "name": 7}]}' % SOUND,
        b'{"projects": {"id": "b", "name": 7}}',
        b'{"items": [{"id": "b", "name": 7}]}',
        b'{"projects": [{"id": "b", "name": 7}], "unavailable_project_ids": [7]}',
        b'{"projects": [{"id": "b", "name": 7}]} more',
        b"7",
        b"",
    ],
)
def test_a_fault_that_is_no_rows_refuses_the_page(body: bytes) -> None:
    with pytest.raises(PageRefusedError):
        readable.inventory(body)


def test_of_a_project_that_stands_twice_no_row_counts() -> None:
    row = b'{"project_id": "a", "periods": []}'
    body = page(row, row, row.replace(b'"a"', b'"b"'))
    found, unreadable = readable.by_rows(body, parse_history.history)
    assert found.projects == ("b",)
    assert unreadable == [readable.Unreadable(project_id="a", fault="project a stands twice on one page")]


def test_a_list_goes_on_behind_a_row_that_cannot_be_read() -> None:
    odd = rb'{"id": "odd-2", "name": "\ud800"}'
    body = page(SOUND, odd, b'{"name": "\xff"}', more=b', "pagination": {"cursor": "next-page"}')
    with pytest.raises(PageRefusedError):
        wire.envelope(body)
    assert readable.envelope(body) == wire.Envelope(items=("calm-dawn-1", "odd-2", ""), cursor="next-page")


def test_what_is_no_list_page_has_no_envelope() -> None:
    with pytest.raises(PageRefusedError):
        readable.envelope(b'{"projects": [')
