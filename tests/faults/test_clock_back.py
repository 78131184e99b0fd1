"""A clock that went back promises nothing; what is read meanwhile is kept and marked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from metering.store.journal import read
from tests.support.platform_desk import Desk, copied
from tests.support.two_customers import closed_september

NOW = "2026-11-02T12:00:00Z"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """September is closed in November 2026, October is read."""
    with closed_september(tmp_path_factory.mktemp("closed"), now=NOW) as desk:
        yield desk


@pytest.fixture
def desk(closed: Desk, tmp_path: Path) -> Iterator[Desk]:
    with copied(closed, tmp_path) as found:
        yield found


@pytest.mark.parametrize("now", ["2026-11-01T12:00:00Z", "2026-10-02T12:00:00Z", "2025-11-02T12:00:00Z"])
@pytest.mark.parametrize(
    ("command", "code"), [(("void", "INV-2026-000001", "--reason", "x"), 1), (("close", "2026-10"), 3)]
)
def test_with_the_clock_back_nothing_is_closed_or_voided(
    desk: Desk, now: str, command: tuple[str, ...], code: int
) -> None:
    desk.now = now
    ran = desk.run(*command)
    assert (ran.code, ran.out) == (code, "")
    assert f"the clock shows {now}, and the last record was written at {NOW}" in ran.err
    assert "store adopt --clock" in ran.err
    desk.now = NOW
    assert {one["status"] for one in desk.good("invoices", "2026-09")["invoices"]} == {"final"}


@pytest.mark.parametrize(("now", "code"), [("2026-11-02T11:55:00Z", 0), ("2026-11-02T11:54:59Z", 1)])
def test_five_minutes_are_tolerated_and_not_a_second_more(desk: Desk, now: str, code: int) -> None:
    desk.now = now
    assert desk.run("void", "INV-2026-000001", "--reason", "x").code == code


def test_pages_are_read_and_marked_and_do_not_move_the_time_back(desk: Desk) -> None:
    desk.now = "2026-11-02T10:00:00Z"
    assert desk.run("poll").code == 0
    marked = [one for one in read(desk.directory / "var" / "journal") if "clock_back" in one.data]
    assert marked and {one.data["clock_back"] for one in marked} == {NOW}
    assert "page" in {one.kind for one in marked}
    ran = desk.run("void", "INV-2026-000001", "--reason", "x")
    assert (ran.code, ran.out) == (1, "")
    desk.now = NOW
    assert desk.good("void", "INV-2026-000001", "--reason", "x")["number"] == "CN-2026-000001"
    assert desk.run("verify").code == 0


def test_a_person_may_say_that_the_clock_is_right(desk: Desk) -> None:
    desk.now = "2026-10-20T10:00:00Z"
    assert [one["kind"] for one in desk.good("status")["obstacles"]] == ["clock"]
    desk.good("store", "adopt", "--clock")
    assert desk.good("status")["obstacles"] == []
    assert desk.good("void", "INV-2026-000001", "--reason", "x")["number"] == "CN-2026-000001"
    assert desk.run("verify").code == 0
