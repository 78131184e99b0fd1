"""Review items: recorded once, shown, and preventing a close until a person acknowledges them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from metering.core.errors import MeteringError
from metering.invoicing import alarms
from metering.ledger.alarms import listed, raise_once
from tests.simulate import Machine, world
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk
from tests.support.scribe import BIG, Memory, Scribe, count, frame

HOUR = 3600
CPU = "compute_unit_seconds"


@pytest.fixture
def neon() -> Iterator[PlainNeon]:
    with served(PlainNeon()) as found:
        yield found


@pytest.fixture
def desk(tmp_path: Path, neon: PlainNeon) -> Desk:
    """September's usage of two customers; the month may close."""
    fleet = neon.fleet("org-a")
    for project, hours in (("bee-1", 101), ("ant-1", 102)):
        fleet.project(project)
        fleet.use(project, "2026-09-10", grain="daily", compute_unit_seconds=hours * HOUR)
    return Desk(directory=tmp_path, neon=neon, now="2026-10-03T12:00:00Z", default_plan="pro")


def only(desk: Desk) -> dict[str, Any]:
    (alarm,) = desk.good("status")["alarms"]
    return dict(alarm)


def verified(desk: Desk) -> None:
    assert desk.run("verify").code == 0
    assert desk.run("rebuild").code == 0


# -- a metric without a meter


def test_a_new_metric_is_an_alarm_that_parks_until_it_is_acknowledged(desk: Desk, neon: PlainNeon):
    neon.fleet("org-a").use("bee-1", "2026-09-11", grain="daily", branch_wizard_seconds=7)
    assert [note for note in desk.good("backfill")["notes"] if "branch_wizard_seconds" in note] != []
    assert desk.good("backfill")["notes"] == []  # told once
    alarm = only(desk)
    assert (alarm["kind"], alarm["metric"], alarm["organization"]) == ("metric", "branch_wizard_seconds", "org-a")
    assert (alarm["acknowledged_at"], alarm["reason"]) == (None, None)
    closed = desk.good("close", "2026-09", code=3)
    assert [row["customer"] for row in closed["parked"]] == ["bee-1"]
    assert [row["customer"]["id"] for row in closed["invoices"]] == ["ant-1"]
    done = desk.good("acknowledge", alarm["alarm_id"], "--reason", "free of charge, says Neon")
    assert (done["reason"], done["acknowledged_at"]) == ("free of charge, says Neon", "2026-10-03T12:00:00Z")
    closed = desk.good("close", "2026-09")
    assert [row["customer"]["id"] for row in closed["invoices"]] == ["ant-1", "bee-1"]
    assert closed["parked"] == []
    verified(desk)
    assert only(desk)["reason"] == "free of charge, says Neon"


def test_a_metric_of_the_users_own_meter_is_none():
    book = Memory()
    Scribe(record=book.record).history({"a": [("2026-10-05T03", {"compute_unit_seconds": BIG, "wizard": 0})]})
    assert book.store.query("invoicing/other_metrics").rows() == [("compute_unit_seconds", "org-a")]


# -- one bucket, two organizations


def doubled(neon: PlainNeon, **metrics: int) -> None:
    other = neon.fleet("org-b")
    other.project("ant-1")
    other.use("ant-1", "2026-09-10", grain="daily", **metrics)


def test_a_bucket_that_two_organizations_report_in_full_stops_the_close(desk: Desk, neon: PlainNeon):
    doubled(neon, compute_unit_seconds=102 * HOUR)
    desk.organizations = ("org-a", "org-b")
    notes = desk.good("backfill")["notes"]
    alarm = only(desk)
    assert notes == [f"{alarm['alarm_id']}: {alarm['summary']}"]
    assert (alarm["kind"], alarm["project_id"]) == ("double", "ant-1")
    assert alarm["summary"] == (
        "project ant-1 is reported with the same usage by org-a and org-b, in 1 buckets of 2026-09 from "
        "2026-09-10T00:00:00Z: it would be billed twice"
    )
    for arguments in (("close", "2026-09"), ("close", "2026-09", "--allow-incomplete", "it is late")):
        ran = desk.run(*arguments)
        assert (ran.code, ran.out) == (3, "")
        # 102 + 102 + 101 CU-hours at 0.222 USD: 67.71.
        assert "  1 alarm is open (2 projects, Neon cost 67.71 USD): once it is clear" in ran.err
        assert f"\n    {alarm['alarm_id']}: project ant-1" in ran.err
        assert "metering acknowledge ID --reason TEXT" in ran.err
    rehearsed = desk.run("close", "2026-09", "--dry-run")
    assert rehearsed.code == 3 and alarm["alarm_id"] in rehearsed.err
    desk.good("acknowledge", alarm["alarm_id"], "--reason", "two projects of one name", "--count", "both")
    closed = desk.good("close", "2026-09")
    assert compute(closed, "ant-1") == "104"  # of 204 hours, 100 are included
    verified(desk)


def compute(closed: dict[str, Any], customer: str) -> str:
    """The CU-hours that a customer is billed."""
    (found,) = (
        line["quantity"]
        for invoice in closed["invoices"]
        for line in invoice["lines"]
        if invoice["customer"]["id"] == customer and line["meter"] == "compute"
    )
    return str(found)


def used(desk: Desk, month: str = "2026-09") -> dict[tuple[str, str], str]:
    rows = desk.good("usage", month)["usage"]
    return {(row["organization"], row["project_id"]): row["value"] for row in rows if row["metric"] == CPU}


@pytest.mark.parametrize(("counted", "other"), [("org-a", "org-b"), ("org-b", "org-a")])
def test_the_side_that_a_person_names_counts_and_the_other_does_not(
    desk: Desk, neon: PlainNeon, counted: str, other: str
):
    doubled(neon, compute_unit_seconds=102 * HOUR)
    neon.fleet("org-b").use("ant-1", "2026-09-20", grain="daily", compute_unit_seconds=5 * HOUR)
    desk.organizations = ("org-a", "org-b")
    desk.good("backfill")
    alarm = only(desk)
    assert (alarm["organization"], alarm["other"], alarm["month"], alarm["counted"]) == (
        "org-a",
        "org-b",
        "2026-09",
        None,
    )
    done = desk.good("acknowledge", alarm["alarm_id"], "--reason", "two keys, one organization", "--count", counted)
    assert (done["counted"], done["reason"]) == (counted, "two keys, one organization")
    five = {"org-b": 5 * HOUR}  # reported by one organization only, so it counts
    expected = {(name, "ant-1"): str(102 * HOUR * (name == counted) + five.get(name, 0)) for name in ("org-a", "org-b")}
    shown = {key: value for key, value in used(desk).items() if key[1] == "ant-1"}
    assert shown == {key: value for key, value in expected.items() if value != "0"}
    closed = desk.good("close", "2026-09")
    assert compute(closed, "ant-1") == "7"
    number = next(row["number"] for row in closed["invoices"] if row["customer"]["id"] == "ant-1")
    told = desk.good("explain", number, "ant-1/compute/pro/2026-09-01T00:00:00Z/1")
    assert '"not counted: period-1"' in json.dumps(told)
    assert '"-367200"' in json.dumps(told)
    verified(desk)
    assert {key: value for key, value in used(desk).items() if key[1] == "ant-1"} == shown


def test_what_changes_on_the_side_that_does_not_count_is_taken_off_too(desk: Desk, neon: PlainNeon):
    ours, theirs = neon.fleet("org-a"), neon.fleet("org-b")
    theirs.project("ant-1")
    for fleet in (ours, theirs):
        fleet.use("ant-1", "2026-10-03T02:00", compute_unit_seconds=102, branch_wizard_seconds=3)
    desk.organizations = ("org-a", "org-b")
    desk.good("poll")
    (alarm_id,) = (row["alarm_id"] for row in desk.good("status")["alarms"] if row["kind"] == "double")
    assert used(desk, "2026-10") == {("org-a", "ant-1"): "102", ("org-b", "ant-1"): "102"}
    desk.good("acknowledge", alarm_id, "--reason", "two keys", "--count", "org-a")
    rows = desk.good("usage", "2026-10")["usage"]
    assert {(row["organization"], row["metric"]) for row in rows} == {
        ("org-a", CPU),
        ("org-a", "branch_wizard_seconds"),
    }
    assert desk.good("poll")["changes"] == "0"  # the same pages again
    for fleet, value in ((ours, 110), (theirs, 90)):
        fleet.buckets = [bucket for bucket in fleet.buckets if bucket.project != "ant-1"]
        for hour in ("02", "03"):
            fleet.use("ant-1", f"2026-10-03T{hour}:00", compute_unit_seconds=value)
    desk.good("poll")  # the second hour is reported twice; each side reports a part of the third
    assert used(desk, "2026-10") == {("org-a", "ant-1"): "220", ("org-b", "ant-1"): "90"}
    theirs.buckets[-1].metrics = {CPU: 110}
    desk.good("poll")  # now the third is reported twice as well
    assert used(desk, "2026-10") == {("org-a", "ant-1"): "220"}
    theirs.buckets.clear()
    desk.now = "2026-10-03T13:00:00Z"
    desk.good("poll")
    assert used(desk, "2026-10") == {("org-a", "ant-1"): "220"}
    verified(desk)
    assert used(desk, "2026-10") == {("org-a", "ant-1"): "220"}


def test_whose_usage_counts_must_be_said_where_two_report_it_and_only_there(desk: Desk, neon: PlainNeon):
    doubled(neon, compute_unit_seconds=102 * HOUR)
    neon.fleet("org-a").use("bee-1", "2026-09-11", grain="daily", branch_wizard_seconds=7)
    desk.organizations = ("org-a", "org-b")
    desk.good("backfill")
    ids = {row["kind"]: row["alarm_id"] for row in desk.good("status")["alarms"]}
    ran = desk.run("acknowledge", ids["double"], "--reason", "x")
    assert ran.code == 2
    assert "it is not said whose usage counts\n  --count org-a or --count org-b or --count both" in ran.err
    ran = desk.run("acknowledge", ids["double"], "--reason", "x", "--count", "org-c")
    assert ran.code == 2 and "--count org-c is neither of them" in ran.err
    ran = desk.run("acknowledge", ids["metric"], "--reason", "x", "--count", "org-a")
    assert ran.code == 2 and "has no two sides" in ran.err
    assert all(row["acknowledged_at"] is None for row in desk.good("status")["alarms"])


@pytest.mark.parametrize(
    "metrics",
    [
        {"compute_unit_seconds": 102 * HOUR - 1},
        {"compute_unit_seconds": 102 * HOUR + 1},
        {"compute_unit_seconds": 102 * HOUR, "public_network_transfer_bytes": 1},
        {"compute_unit_seconds": 0},
    ],
    ids=["less", "more", "another metric", "nothing"],
)
def test_parts_of_a_bucket_on_two_sides_are_a_transfer(desk: Desk, neon: PlainNeon, metrics: dict[str, int]):
    doubled(neon, **metrics)
    desk.organizations = ("org-a", "org-b")
    assert desk.good("backfill")["notes"] == []
    assert desk.good("status")["alarms"] == []


def test_only_this_month_and_the_one_before_are_looked_at():
    book = Memory()
    first = Scribe(record=book.record, window=("2026-08-31T00", "2026-10-05T12"))
    both = (first, first.of(organization="org-b"))
    for scribe in both:
        scribe.history({"a": [("2026-08-31T23", {"compute_unit_seconds": 5})]})
    assert book.store.query("invoicing/doubled_buckets", since=datetime(2026, 9, 1, tzinfo=UTC)).rows() == []
    for scribe in both:
        scribe.history({"a": [("2026-08-31T23", {"compute_unit_seconds": 5}), ("2026-09-01T00", {"wizard": 1})]})
    assert book.store.query("invoicing/doubled_buckets", since=datetime(2026, 9, 1, tzinfo=UTC)).rows() == []
    for scribe in both:
        scribe.history({"a": [("2026-08-31T23", {"compute_unit_seconds": 5}), ("2026-09-01T00", {CPU: 5})]})
    assert len(book.store.query("invoicing/doubled_buckets", since=datetime(2026, 9, 1, tzinfo=UTC))) == 1


def test_transfers_of_the_sandbox_raise_none(tmp_path: Path):
    here = world(start=datetime(2026, 10, 30, 6, 1, tzinfo=UTC), projects=12)
    with here.machine(tmp_path) as machine:
        assert machine.backfill().outcome == "complete"
        assert frame(machine.books.store, "select project_id from project")["project_id"].is_duplicated().any()
        assert listed(machine.books.store) == []


# -- acknowledging


def test_an_alarm_that_is_not_there_is_told_with_those_that_are(desk: Desk, neon: PlainNeon):
    neon.fleet("org-a").use("bee-1", "2026-09-11", grain="daily", branch_wizard_seconds=7)
    desk.good("backfill")
    ran = desk.run("acknowledge", "alarm_0", "--reason", "x")
    assert (ran.code, ran.out) == (1, "")
    assert "there is no alarm alarm_0" in ran.err
    assert f"open: {only(desk)['alarm_id']}" in ran.err
    assert desk.run("acknowledge", only(desk)["alarm_id"], "--reason", "  ").code == 2
    assert desk.run("acknowledge", only(desk)["alarm_id"]).code == 2


def test_acknowledging_again_keeps_the_first_reason():
    book = Memory()
    raise_once(book, "unit", ("x",), "org-a", summary="odd")
    (alarm,) = listed(book.store)
    assert book.store.query("invoicing/alarms_that_stop").rows() == [(alarm["alarm_id"], "odd")]
    assert alarms.acknowledge(book, alarm["alarm_id"], "first")["reason"] == "first"
    assert alarms.acknowledge(book, alarm["alarm_id"], "second")["reason"] == "first"
    assert book.store.query("invoicing/alarms_that_stop").is_empty()
    assert raise_once(book, "unit", ("x",), "org-a", summary="odd") is None
    with pytest.raises(MeteringError, match="there is no alarm"):
        alarms.acknowledge(book, "alarm_0", "why")


# -- the unit of storage


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    here = world(start=datetime(2026, 10, 30, 6, 1, tzinfo=UTC), projects=12, exact_hours=True)
    with here.machine(tmp_path) as found:
        yield found


def checks(machine: Machine) -> list[tuple[str, str]]:
    rows = frame(machine.books.store, "select organization, verdict from unit_check order by seq").rows()
    return [(organization, verdict) for organization, verdict in rows]


def test_an_organization_is_looked_at_once_a_day_and_found_fine(machine: Machine):
    machine.tick()
    assert checks(machine) == [("org-paid-11223344", "fine")]
    asked = count(machine.books.store, "page where endpoint = 'branches'")
    assert 1 <= asked <= 5
    machine.world.time.move_to(datetime(2026, 10, 30, 23, 45, tzinfo=UTC))
    machine.tick()
    assert count(machine.books.store, "page where endpoint = 'branches'") == asked
    machine.world.time.move_to(datetime(2026, 10, 31, 0, 0, tzinfo=UTC))
    machine.tick()
    assert checks(machine) == [("org-paid-11223344", "fine")] * 2
    assert listed(machine.books.store) == []


BY_HAND = "[schedule]\nclose_day = 0\n"
SIZE = 744_000_000
"""Bytes of a root branch: a million byte-months an hour."""


@pytest.fixture
def storing(tmp_path: Path, neon: PlainNeon) -> Desk:
    """Two projects with hourly storage until 5 October, 09:00."""
    for project in ("ant-1", "bee-1"):
        neon.fleet("org-a").project(project)
        neon.branches[project] = [{"id": "br-root", "logical_size": SIZE}, {"id": "br-child", "parent_id": "br-root"}]
    stored(neon, 1_000_000)
    return Desk(directory=tmp_path, neon=neon, now="2026-10-05T10:07:00Z", default_plan="pro", more=BY_HAND)


def stored(neon: PlainNeon, *values: int, last: str = "2026-10-05T09:00") -> None:
    """The projects' root storage an hour (the last value for all that follow), in the ten hours to `last`."""
    fleet, end = neon.fleet("org-a"), datetime.fromisoformat(last)
    fleet.buckets.clear()
    for project, value in zip(("ant-1", "bee-1"), (*values, values[-1]), strict=False):
        for hour in range(10):
            start = (end - timedelta(hours=hour)).isoformat()
            fleet.use(project, start, compute_unit_seconds=1, root_branch_bytes_month=value)


def looked(desk: Desk) -> str:
    """Ticks; returns its stderr."""
    ran = desk.run("tick")
    assert ran.code == 0, ran
    return "".join(line for line in ran.err.splitlines() if "rehearsing" not in line)


@pytest.mark.parametrize(
    ("value", "is_alarm"),
    [
        (1_000_000, False),
        (10_000_000, False),
        (74_399_999, False),
        (74_400_000, True),
        (744_000_000, True),
        (7_440_000_000, True),
        (7_440_000_001, False),
        (100_000, False),
        (13_441, False),
        (13_440, True),
        (1_345, True),
        (135, True),
        (134, False),
    ],
)
def test_storage_in_another_unit_is_an_alarm(storing: Desk, neon: PlainNeon, value: int, is_alarm: bool):
    stored(neon, value)
    said = looked(storing)
    assert ("alarm_" in said) is is_alarm
    found = storing.good("status")["alarms"]
    assert [row["kind"] for row in found] == (["unit"] if is_alarm else [])


def test_a_unit_alarm_says_what_was_compared_and_is_raised_once(storing: Desk, neon: PlainNeon):
    assert looked(storing) == ""
    storing.now = "2026-10-06T10:07:00Z"
    stored(neon, SIZE, last="2026-10-06T09:00")
    alarm_id, _, summary = looked(storing).removeprefix("metering: ").partition(": ")
    assert summary == (
        "storage of organization org-a is about 744 times too large for byte-months, by 2 of 2 projects: "
        "root_branch_bytes_month of ant-1 adds up to 4464000000 over 6 hours to 2026-10-06T09:00:00Z, and its root "
        "branch holds 744000000 bytes"
    )
    assert only(storing)["alarm_id"] == alarm_id
    storing.now = "2026-10-07T10:07:00Z"
    stored(neon, SIZE, last="2026-10-07T09:00")
    assert looked(storing) == ""
    ran = storing.run("close", "2026-09", "--allow-incomplete", "we began in October")
    assert ran.code == 3 and alarm_id in ran.err
    storing.good("acknowledge", alarm_id, "--reason", "a divisor from today on")
    storing.good("close", "2026-09", "--allow-incomplete", "we began in October")
    storing.now = "2026-10-08T10:07:00Z"
    stored(neon, SIZE, last="2026-10-08T09:00")
    assert looked(storing) == ""  # it is the same item, which was acknowledged
    storing.now = "2026-10-09T10:07:00Z"
    stored(neon, 1_000_000, last="2026-10-09T09:00")
    assert looked(storing) == ""
    storing.now = "2026-10-10T10:07:00Z"
    stored(neon, SIZE, last="2026-10-10T09:00")
    assert looked(storing).startswith("metering: alarm_")
    assert len(storing.good("status")["alarms"]) == 2
    verified(storing)


def test_one_odd_project_among_others_is_no_alarm(storing: Desk, neon: PlainNeon):
    stored(neon, SIZE, 1_000_000)
    assert looked(storing) == ""
    assert storing.good("status")["alarms"] == []


def test_projects_with_several_roots_or_none_measured_say_nothing(storing: Desk, neon: PlainNeon):
    neon.branches["ant-1"] = [{"id": "br-1", "logical_size": SIZE}, {"id": "br-2", "logical_size": SIZE}]
    neon.branches["bee-1"] = [{"id": "br-1"}]
    stored(neon, SIZE)
    assert looked(storing) == ""
    assert storing.good("status")["alarms"] == []


def test_branches_that_cannot_be_asked_are_noted_and_asked_again_by_the_next_tick(storing: Desk, neon: PlainNeon):
    stored(neon, SIZE)
    neon.fail("ant-1", "branches", 500)
    said = looked(storing)
    assert said.startswith("metering: organization org-a, unit of storage: not compared: GET projects/ant-1/branches")
    neon.errors.clear()
    storing.now = "2026-10-05T10:22:00Z"
    assert "alarm_" in looked(storing)


def test_a_project_that_is_gone_is_passed_over(storing: Desk, neon: PlainNeon):
    stored(neon, SIZE)
    neon.fail("ant-1", "branches", 404)
    assert "by 1 of 2 projects" in looked(storing)
