import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from metering.core.period import HOUR, floor_hour
from metering.operations import status, verify
from metering.polling.readings import CycleReport
from metering.polling.recorder import GOES_ON
from metering.usage.coverage import certified_of
from tests.simulate import Killed, Machine, Time, refused
from tests.support.large_fleet import LargeFleet, config_for

START = datetime(2026, 10, 6, 8, 0, 1, tzinfo=UTC)
SLOT = timedelta(minutes=4)
TOP = Path(__file__).parents[2]
ORGANIZATION = "org-large-1"
SMALL = "org-small-2"
BUDGET = 4
"""One request a minute, in slots of four minutes."""


def awake(number: int, hour: int) -> bool:
    """Forty projects always, and others for an hour now and then."""
    return number % 25 == 0 or (number * 7 + hour * 13) % 101 == 0


@dataclass(kw_only=True)
class Around:
    """What a Machine needs of a world."""

    time: Time
    wire: LargeFleet


@contextmanager
def polling(
    directory: Path, *, sweep_hours: int = 1, start: datetime = START, **sizes: int
) -> Iterator[tuple[Machine, LargeFleet]]:
    time = Time(start)
    named = {"large": ORGANIZATION, "small": SMALL}
    fleet = LargeFleet(time=time, sizes={named[name]: size for name, size in sizes.items()}, awake=awake)
    config = config_for(directory, fleet, per_minute=1, poll_minutes=4, sweep_hours=sweep_hours)
    with Machine(Around(time=time, wire=fleet), config) as machine:
        yield machine, fleet


def next_slot(machine: Machine) -> None:
    time = machine.world.time
    passed = (time.server() - START) // SLOT
    time.move_to(START + (passed + 1) * SLOT)


def poll(machine: Machine, *, cycles: int = 1) -> CycleReport:
    """So many polls, each in a slot of its own; the last one's report."""
    for _ in range(cycles):
        report = machine.poll()
        assert report.faults == []
        next_slot(machine)
    return report


def walks(report: CycleReport, organization: str = ORGANIZATION) -> dict[str, dict[str, object]]:
    (row,) = (row for row in report.organizations if row["organization"] == organization)
    return {walk["what"]: walk for walk in row["walks"]}


def reads(machine: Machine) -> dict[str, datetime | None]:
    return dict(machine.books.store.query("billing/project_reads").select("project_id", "history_read_at").iter_rows())


def rows(machine: Machine, sql: str) -> list[tuple[object, ...]]:
    return machine.books.store.connection.sql(sql).pl().rows()


def certified_until(machine: Machine, organization: str = ORGANIZATION) -> datetime | None:
    hourly = certified_of(machine.books.store.query("billing/coverage_of", as_of_seq=2**63, after=0)).get(organization)
    return hourly.hourly[-1].end if hourly else None


def used(
    machine: Machine, start: datetime, end: datetime, organization: str = ORGANIZATION
) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for (name, project_id, metric), value in machine.usage(until=end).items():
        if name == organization:
            sums[project_id, metric] = value
    return sums


def test_a_fleet_that_fits_is_walked_whole_in_every_cycle(tmp_path: Path):
    with polling(tmp_path, large=100) as (machine, fleet):
        poll(machine, cycles=2)
        assert certified_until(machine) == datetime(2026, 10, 6, 7, tzinfo=UTC)
        assert rows(machine, "select count(*) from sweep") == [(0,)]
        assert not [1 for _, _, params in fleet.requests if "project_ids" in params]


def test_a_fleet_beyond_its_budget_is_read_in_parts_and_comes_out_exactly(tmp_path: Path):
    worst_active, worst_idle = timedelta(), timedelta()
    with polling(tmp_path, large=1000) as (machine, fleet):
        poll(machine, cycles=8)
        for _ in range(24):
            since, began = machine.world.time.monotonic(), machine.world.time.server()
            poll(machine)
            assert fleet.spent(since) <= BUDGET
            now, hour = machine.world.time.server(), (began - datetime(1970, 1, 1, tzinfo=UTC)) // HOUR
            for project_id, read_at in reads(machine).items():
                assert read_at is not None
                if awake(int(project_id[-7:]), hour):
                    worst_active = max(worst_active, now - read_at)
                worst_idle = max(worst_idle, now - read_at)
        assert rows(machine, "select walk, reason from walk where not is_complete") == []
        assert worst_active <= SLOT  # read in the slot that has just ended
        assert worst_idle <= HOUR
        machine.world.time.move_to(machine.world.time.server() + 24 * HOUR)
        poll(machine, cycles=8)
        until = floor_hour(machine.world.time.server() - 4 * HOUR)
        first = (
            certified_of(machine.books.store.query("billing/coverage_of", as_of_seq=2**63, after=0))[ORGANIZATION]
            .hourly[0]
            .start
        )
        assert used(machine, first, until) == fleet.truth(ORGANIZATION, first, until)
        for check in ("omissions_end_with_their_walk", "coverage_comes_from_complete_walks", "no_bucket_below_zero"):
            assert machine.books.store.check(check).is_empty()


def test_days_that_hours_no_longer_tell_are_healed_by_what_active_projects_leave(tmp_path: Path):
    worst_active, worst_idle = timedelta(), timedelta()
    late = datetime(2026, 10, 20, 8, 0, 1, tzinfo=UTC)
    with polling(tmp_path, large=500, start=late) as (machine, fleet):
        for slot in range(24):
            since, began = machine.world.time.monotonic(), machine.world.time.server()
            poll(machine)
            assert fleet.spent(since) <= BUDGET
            now, hour = machine.world.time.server(), (began - datetime(1970, 1, 1, tzinfo=UTC)) // HOUR
            for project_id, read_at in reads(machine).items() if slot > 10 else ():
                assert read_at is not None
                if awake(int(project_id[-7:]), hour):
                    worst_active = max(worst_active, now - read_at)
                worst_idle = max(worst_idle, now - read_at)
        assert worst_active <= SLOT
        assert worst_idle <= HOUR
        found = certified_of(machine.books.store.query("billing/coverage_of", as_of_seq=2**63, after=0))[ORGANIZATION]
        assert found.daily[0].start == datetime(2026, 10, 1, tzinfo=UTC)
        assert found.daily[-1].end >= found.hourly[0].start
        assert rows(machine, "select walk, reason from walk where not is_complete") == []


def test_only_a_finished_sweep_certifies_and_by_its_first_request(tmp_path: Path):
    with polling(tmp_path, large=1000) as (machine, _):
        machine.world.time.move_to(datetime(2026, 10, 6, 8, 48, 1, tzinfo=UTC))
        report = poll(machine)
        assert walks(report)["hourly history"]["reason"] == GOES_ON
        assert certified_until(machine) is None
        ((first_sent_at,),) = rows(machine, "select first_sent_at from sweep")
        while certified_until(machine) is None:
            report = poll(machine)
        assert walks(report)["hourly history"]["complete"] is True
        assert certified_until(machine) == datetime(2026, 10, 6, 7, tzinfo=UTC)
        assert machine.world.time.server() > datetime(2026, 10, 6, 9, tzinfo=UTC)  # 8:00 was over an hour ago
        assert rows(machine, "select first_sent_at from walk join coverage using (walk)")[0] == (first_sent_at,)


def test_the_next_sweep_begins_in_the_cycle_in_which_one_ends_over_what_is_owed_by_then(tmp_path: Path):
    with polling(tmp_path, large=1000) as (machine, _):
        while certified_until(machine) is None:
            poll(machine)
        columns = "walk, period_start, period_end"
        ((ended, *first),) = rows(machine, f"select {columns} from walk where grain = 0 and endpoint = 'history'")
        ((begun, *second),) = rows(machine, f"select {columns} from sweep where grain = 0")
        assert begun > ended
        assert first[1] - first[0] > 100 * HOUR
        assert second[1] - second[0] < 30 * HOUR


def test_a_sweep_goes_on_after_a_kill_where_its_last_page_led(tmp_path: Path):
    with polling(tmp_path, large=1000) as (machine, fleet):
        poll(machine)
        ((walk, began),) = rows(machine, "select walk, count(*) from sweep_page group by walk")
        machine.die()

        def die(request: httpx.Request) -> None:
            if "cursor" in request.url.params and "consumption" in request.url.path:
                raise Killed

        fleet.before = die
        with pytest.raises(Killed):
            machine.poll()
        machine.die()
        fleet.before = lambda _: None
        next_slot(machine)
        while certified_until(machine) is None:
            poll(machine)
            machine.die()
        cursors = [p.get("cursor") for _, path, p in fleet.requests if path == "history" and "project_ids" not in p]
        cursors = cursors[: cursors.index(None, 1)]  # where the next sweep begins
        assert began < 10
        assert len(cursors) == 12  # ten full pages, the empty one behind them, and the one that nobody saw
        assert len(set(cursors)) == 11
        assert rows(machine, f"select pages, is_complete from walk where walk = {walk}") == [(11, True)]


def test_projects_created_and_deleted_during_a_sweep_are_read(tmp_path: Path):
    with polling(tmp_path, large=1001) as (machine, fleet):
        newest, doomed = fleet.project(ORGANIZATION, 1000), fleet.project(ORGANIZATION, 25)
        fleet.born[newest] = START + 20 * timedelta(minutes=1)
        poll(machine)
        fleet.gone[doomed] = START + 10 * timedelta(minutes=1)
        poll(machine, cycles=15)
        assert reads(machine)[newest] is not None
        machine.world.time.move_to(machine.world.time.server() + 20 * HOUR)
        poll(machine, cycles=8)
        until = floor_hour(machine.world.time.server() - 4 * HOUR)
        first = (
            certified_of(machine.books.store.query("billing/coverage_of", as_of_seq=2**63, after=0))[ORGANIZATION]
            .hourly[0]
            .start
        )
        truth = fleet.truth(ORGANIZATION, first, until)
        assert (doomed, "compute_unit_seconds") in truth
        assert used(machine, first, until) == truth


def test_two_organizations_share_the_budget_of_their_account(tmp_path: Path):
    with polling(tmp_path, large=800, small=40) as (machine, fleet):
        for _ in range(12):
            since = machine.world.time.monotonic()
            poll(machine)
            assert fleet.spent(since) <= BUDGET
        assert certified_until(machine) is not None
        assert certified_until(machine, SMALL) is not None
        assert None not in reads(machine).values()


def test_a_second_poll_in_a_slot_spends_no_more_than_is_left_of_it(tmp_path: Path):
    with polling(tmp_path, large=1000) as (machine, fleet):
        machine.poll()
        machine.world.time.move_to(START + SLOT - timedelta(seconds=2))
        since = machine.world.time.monotonic()
        assert machine.poll().outcome == "complete"
        assert fleet.spent(since) == 0


def test_a_sweep_that_breaks_is_begun_anew(tmp_path: Path):
    with polling(tmp_path, large=1000) as (machine, fleet):
        poll(machine)
        fleet.before = lambda request: refused(406) if "cursor" in request.url.params else None
        assert machine.poll().outcome == "partial"
        assert rows(machine, "select count(*) from sweep") == [(0,)]
        fleet.before = lambda _: None
        next_slot(machine)
        before = len(fleet.requests)
        poll(machine)
        assert [p for _, path, p in fleet.requests[before:] if path == "history"][-3].get("cursor") is None
        assert certified_until(machine) is None


def test_a_sweep_waits_while_nobody_answers(tmp_path: Path):
    with polling(tmp_path, large=1000) as (machine, fleet):
        poll(machine)
        ((walk,),) = rows(machine, "select walk from sweep")
        fleet.before = lambda request: refused(503) if "cursor" in request.url.params else None
        assert machine.poll().outcome == "partial"
        assert rows(machine, "select walk from sweep") == [(walk,)]
        fleet.before = lambda _: None
        next_slot(machine)
        while certified_until(machine) is None:
            poll(machine)
        assert rows(machine, "select walk from coverage") == [(walk,)]


def test_a_sweep_that_was_left_open_for_a_day_is_begun_anew(tmp_path: Path):
    with polling(tmp_path, large=1000) as (machine, _):
        poll(machine)
        ((walk,),) = rows(machine, "select walk from sweep")
        machine.world.time.move_to(machine.world.time.server() + 24 * HOUR)
        poll(machine)
        assert rows(machine, f"select kind, reason from walk where walk = {walk}") == [
            ("broken", "it was open for too long")
        ]
        assert rows(machine, "select walk from sweep") != [(walk,)]


def test_a_whole_walk_takes_the_place_of_an_open_sweep_once_it_fits(tmp_path: Path):
    with polling(tmp_path, large=1000) as (machine, _):
        poll(machine)
        neon = machine.config.neon.model_copy(update={"history_requests_per_minute": 30})
        machine.config = machine.config.model_copy(update={"neon": neon})
        poll(machine)
        assert rows(machine, "select count(*) from sweep") == [(0,)]
        assert certified_until(machine) == datetime(2026, 10, 6, 7, tzinfo=UTC)


def test_an_open_sweep_comes_out_of_the_journal_again(tmp_path: Path):
    with polling(tmp_path, large=1000) as (machine, _):
        poll(machine, cycles=9)
        assert rows(machine, "select count(*) from sweep") != [(0,)]
        machine.books.flush()
        found = verify.verify(tmp_path, machine.books.store)
        assert found.faults == []


def test_a_backfill_walks_whole_whatever_it_takes(tmp_path: Path):
    with polling(tmp_path, large=1000) as (machine, fleet):
        machine.backfill(start=START - 48 * HOUR)
        assert fleet.spent() > BUDGET
        assert certified_until(machine) == datetime(2026, 10, 6, 7, tzinfo=UTC)


def test_batches_that_neon_refuses_leave_the_budget_to_the_sweep(tmp_path: Path):
    with polling(tmp_path, large=1000) as (machine, fleet):
        fleet.before = lambda request: refused(404) if "project_ids" in request.url.params else None
        report = machine.poll()
        assert (report.outcome, len(report.notes)) == ("complete", 1)
        assert walks(report)["hourly history"]["pages"] == 3


@pytest.mark.parametrize(
    ("projects", "per_minute"),
    [
        (1_600, 1),
        pytest.param(30_000, 3, marks=pytest.mark.slow),
        pytest.param(30_000, 30, marks=pytest.mark.slow),
    ],
    ids=["in parts, small", "in parts", "whole"],
)
def test_polling_a_fleet_takes_less_than_half_a_gigabyte(projects: int, per_minute: int):
    script = TOP / "benchmarks" / "fleet_polling.py"
    options = ["--projects", str(projects), "--per-minute", str(per_minute), "--hours", "1"]
    ran = subprocess.run(
        [sys.executable, str(script), *options],
        env={**os.environ, "PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"peak memory (\d+) MB", ran.stdout)
    assert found and 50 < int(found[1]) < 500, ran.stdout


def test_status_shows_how_fresh_every_project_is(tmp_path: Path):
    with polling(tmp_path, large=1000) as (machine, fleet):
        poll(machine)
        (row,) = status.status(machine.books.store, machine.config, machine.world.time.local())["organizations"]
        assert (row["projects"], row["projects_never_read"]) == ("1000", "658")  # 300 of the sweep, 42 active others
        assert row["sweep_began_at"] < row["median_project_read_at"]
        shown = {row["project_id"]: row["history_read_at"] for row in status.projects(machine.books.store)}
        assert len(shown) == 1000
        assert shown[fleet.project(ORGANIZATION, 25)] is not None
        assert shown[fleet.project(ORGANIZATION, 1)] is None
