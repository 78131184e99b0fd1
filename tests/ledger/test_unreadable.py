"""An unreadable row of a page does not affect the other rows: they land, it is listed, and known values stay."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import PRO, Desk
from tests.support.scribe import Memory, Scribe, frame

NOW = "2026-10-05T12:00:00Z"
PATTERN = "(?P<customer>[^-]+)-(?P<plan>pro|free)"
FREE = '\n[[plans]]\nid = "free"\ncurrency = "USD"\nprices = []\n'
CPU = "compute_unit_seconds"
SURROGATE = "acme\ud800-pro"
"""As JSON writes it: a lone surrogate, which is no character."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        for name in ("one", "two", "three"):
            fleet.project(name, name=f"{name}-pro")
            fleet.use(name, "2026-10-05T02:00", compute_unit_seconds=3600)
        yield Desk(directory=tmp_path, neon=neon, now=NOW, pattern=PATTERN, plans=PRO + FREE)


def renamed(desk: Desk, project: str, name: Any) -> None:
    [found] = [row for row in desk.neon.fleet("org-a").projects if row["id"] == project]
    found["name"] = name


def customers(desk: Desk) -> dict[str, str | None]:
    """Project -> its customer, by the usage of the month."""
    return {row["project_id"]: row["customer"] for row in desk.good("usage", "current")["usage"]}


def unreadable(desk: Desk) -> list[tuple[str, str]]:
    return [(row["project_id"], row["endpoint"]) for row in desk.good("status")["unreadable"]]


def verified(desk: Desk) -> bool:
    return "everything agrees" in desk.run("verify").out


@pytest.mark.parametrize("name", [SURROGATE, "acme\x00-pro", 7, None, "x" * 2000, ["acme-pro"]])
def test_a_name_that_cannot_be_read_takes_no_other_project_and_its_last_one_stays(desk: Desk, name: Any) -> None:
    desk.good("poll")
    for project, text in (("one", "eins-free"), ("two", name), ("three", "drei-free")):
        renamed(desk, project, text)
    desk.now = "2026-10-05T12:15:00Z"
    ran = desk.run("poll")

    assert ran.code == 3
    assert "organization org-a, inventory: project two was refused: " in ran.err
    assert customers(desk) == {"one": "eins", "two": "two", "three": "drei"}
    assert unreadable(desk) == [("two", "inventory")]
    [row] = desk.good("status")["unreadable"]
    assert row["since"] == "2026-10-05T12:15:00Z"
    assert verified(desk)


def test_a_project_that_can_be_read_again_is_listed_no_more(desk: Desk) -> None:
    renamed(desk, "two", SURROGATE)
    assert desk.run("poll").code == 3
    renamed(desk, "two", "zwei-pro")
    desk.now = "2026-10-05T12:15:00Z"
    desk.good("poll")

    assert unreadable(desk) == []
    assert customers(desk)["two"] == "zwei"
    assert verified(desk)


def test_a_project_that_cannot_be_read_is_not_taken_for_one_that_is_gone(desk: Desk) -> None:
    desk.good("poll")
    renamed(desk, "two", SURROGATE)
    desk.now = "2026-10-05T12:15:00Z"
    desk.run("poll")

    [row] = [row for row in desk.good("status", "--projects")["projects"] if row["project_id"] == "two"]
    assert row["history_read_at"] is not None
    assert desk.good("invoices", "current")["unassigned"] == []


def test_a_list_goes_on_behind_a_page_with_a_row_that_cannot_be_read(desk: Desk) -> None:
    desk.neon.fleet("org-a").page_size = 1
    for name in ("one", "two"):
        desk.neon.fleet("org-a").use(name, "2026-10-05T03:00", compute_unit_seconds=1.5)
    ran = desk.run("poll")

    assert ran.code == 3
    rows = {(row["project_id"], row["value"]) for row in desk.good("usage", "current")["usage"]}
    assert rows == {("three", "3600")}
    assert unreadable(desk) == [("one", "history"), ("two", "history")]


def test_a_row_without_an_id_leaves_the_list_incomplete(desk: Desk) -> None:
    desk.good("poll")
    desk.neon.fleet("org-a").projects = [{"id": "one", "name": "eins-pro"}, {"id": 7, "name": "two-pro"}]
    desk.now = "2026-10-05T12:15:00Z"
    ran = desk.run("poll")

    assert ran.code == 3
    assert "a page was refused" in ran.err
    assert customers(desk) == {"one": "one", "two": "two", "three": "three"}


# -- history


@pytest.fixture
def spoilt(desk: Desk) -> Desk:
    """Each project used 1 CU-hour at 02:00 and at 03:00; the value of project two at 03:00 is not an integer."""
    for name, value in (("one", 3600), ("two", 3600.5), ("three", 3600)):
        desk.neon.fleet("org-a").use(name, "2026-10-05T03:00", compute_unit_seconds=value)
    return desk


def used(desk: Desk, month: str = "current") -> dict[str, tuple[str, bool]]:
    return {row["project_id"]: (row["value"], row["partial"]) for row in desk.good("usage", month)["usage"]}


def gaps(desk: Desk) -> list[tuple[str, str, str]]:
    found = desk.good("usage", "current")["coverage"]["gaps"]
    return [(gap["start"], gap["end"], gap["reason"].split(":")[0]) for gap in found]


def test_a_value_that_cannot_be_read_is_a_gap_of_its_project_alone(spoilt: Desk) -> None:
    ran = spoilt.run("poll")

    assert ran.code == 3
    assert "organization org-a, hourly history: project two was refused: " in ran.err
    assert used(spoilt) == {"one": ("7200", False), "three": ("7200", False)}
    assert gaps(spoilt) == [
        ("2026-10-01T00:00:00Z", "2026-10-05T11:00:00Z", "unreadable"),
        ("2026-10-05T11:00:00Z", "2026-10-05T12:00:00Z", "too_recent"),
    ]
    [gap, _] = spoilt.good("usage", "current")["coverage"]["gaps"]
    assert gap["reason"].startswith("unreadable: project two: ")
    assert spoilt.good("usage", "current")["coverage"]["covered_hours"] == 0
    assert verified(spoilt)


def test_what_was_known_of_it_stays_and_is_no_gap(desk: Desk) -> None:
    desk.good("poll")
    desk.neon.fleet("org-a").use("two", "2026-10-05T12:00", compute_unit_seconds=0.5)
    desk.now = "2026-10-05T14:30:00Z"
    assert desk.run("poll").code == 3

    assert used(desk)["two"] == ("3600", False)
    assert gaps(desk) == [
        ("2026-10-05T11:00:00Z", "2026-10-05T13:00:00Z", "unreadable"),
        ("2026-10-05T13:00:00Z", "2026-10-05T14:00:00Z", "too_recent"),
    ]


def test_a_value_that_can_be_read_again_closes_the_gap(spoilt: Desk) -> None:
    spoilt.run("poll")
    spoilt.neon.fleet("org-a").buckets = [b for b in spoilt.neon.fleet("org-a").buckets if b.metrics != {CPU: 3600.5}]
    spoilt.neon.fleet("org-a").use("two", "2026-10-05T03:00", compute_unit_seconds=60)
    spoilt.now = "2026-10-05T12:15:00Z"
    spoilt.good("poll")

    assert used(spoilt)["two"] == ("3660", False)
    assert gaps(spoilt) == [("2026-10-05T11:00:00Z", "2026-10-05T12:00:00Z", "too_recent")]
    assert unreadable(spoilt) == []
    assert verified(spoilt)


def test_a_poll_asks_again_for_hours_that_one_project_lacks_and_stops_once_it_has_them(spoilt: Desk) -> None:
    spoilt.run("poll")
    spoilt.now = "2026-10-07T12:00:00Z"  # two days later: outside the hours that every poll reads again
    spoilt.run("poll")
    mended = [b for b in spoilt.neon.fleet("org-a").buckets if b.metrics != {CPU: 3600.5}]
    spoilt.neon.fleet("org-a").buckets = mended
    spoilt.now = "2026-10-07T12:15:00Z"
    spoilt.good("poll")

    assert gaps(spoilt) == [("2026-10-07T11:00:00Z", "2026-10-07T12:00:00Z", "too_recent")]
    spoilt.neon.asked.clear()
    spoilt.now = "2026-10-07T12:30:00Z"
    spoilt.good("poll")
    assert min(asked["from"] for path, asked in spoilt.neon.asked if "history" in path) == "2026-10-06T12:00:00Z"


def of_september(desk: Desk, value: float) -> None:
    """Each project used 200 CU-hours on 30 September at 10:00, and project two some more at 11:00."""
    desk.neon.fleet("org-a").buckets.clear()
    for name in ("one", "two", "three"):
        desk.neon.fleet("org-a").use(name, "2026-09-30T10:00", compute_unit_seconds=720_000)
    desk.neon.fleet("org-a").use("two", "2026-09-30T11:00", compute_unit_seconds=value)


def test_a_month_closes_over_such_a_gap_only_by_word_and_bills_the_others_whole(desk: Desk) -> None:
    desk.more = '[seller]\nname = "Acme Platforms Ltd"\n[schedule]\nclose_day = 0\n'
    of_september(desk, 0.5)
    desk.now = "2026-10-03T00:00:00Z"
    assert desk.run("backfill").code == 3
    refused = desk.run("close", "2026-09")
    assert refused.code == 3
    assert "unreadable: project two: " in refused.err
    closed = desk.good("close", "2026-09", "--allow-incomplete", "two cannot be read")
    amounts = {row["customer"]["id"]: row["subtotal"] for row in closed["invoices"]}
    assert amounts == {"one": "36.00", "two": "20.00", "three": "36.00"}  # 20.00 + 100 CU-hours x 0.16

    of_september(desk, 36_000)
    desk.now = "2026-10-03T12:00:00Z"
    desk.good("poll")
    drafts = desk.good("invoices", "2026-10")["invoices"]
    late = {
        row["customer"]["id"]: line["amount"] for row in drafts for line in row["lines"] if line["kind"] == "adjustment"
    }
    assert late == {"two": "17.60"}  # 200 and 10 CU-hours, less 100 included, x 0.16
    assert verified(desk)


def test_where_an_hour_was_known_and_cannot_be_read_again_the_month_closes(desk: Desk) -> None:
    desk.more = '[seller]\nname = "Acme Platforms Ltd"\n[schedule]\nclose_day = 0\n'
    of_september(desk, 36_000)
    desk.now = "2026-10-02T13:00:00Z"
    desk.good("backfill")
    of_september(desk, 0.5)
    desk.now = "2026-10-02T13:15:00Z"
    desk.run("poll")

    amounts = {row["customer"]["id"]: row["subtotal"] for row in desk.good("close", "2026-09")["invoices"]}
    assert amounts == {"one": "36.00", "two": "37.60", "three": "36.00"}


# -- what was journalled before


def test_a_page_of_an_older_journal_is_refused_whole_as_it_was() -> None:
    book = Memory()
    scribe = Scribe(record=book.record)
    scribe.inventory(json.dumps({"projects": [{"id": "a", "name": "a"}, {"id": "b", "name": 7}]}).encode())
    assert frame(book.store, "select * from sighting").is_empty()
    assert frame(book.store, "select * from unreadable").is_empty()
    assert frame(book.store, "select is_complete from walk").item(0, 0) is False
