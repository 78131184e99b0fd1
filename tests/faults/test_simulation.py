import os
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from metering.core.period import HOUR, Period, floor_hour, parse_time
from metering.sandbox.fleet import PAID_ORGANIZATION, SPONSORED_ORGANIZATION
from metering.sandbox.gate import Limits
from metering.usage.coverage import Certified, certified_of
from tests.simulate import HOURS, MONTH, WHOLE_MONTH, Killed, World, compared, killed_at, simulate, world

QUARTER = timedelta(minutes=15)
START = datetime(2026, 10, 6, 5, 3, tzinfo=UTC)


def at(text: str) -> datetime:
    return parse_time(f"2026-10-{text}:00Z")


def hours(certified: dict[str, Certified], organization: str = PAID_ORGANIZATION) -> tuple[Period, ...]:
    return certified.get(organization, Certified()).hourly


def wait(here: World, length: timedelta) -> None:
    here.time.move_to(here.time.server() + length)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_days_with_everything_going_wrong_end_with_exactly_the_true_totals(seed: int, tmp_path: Path):
    # the plan changes on the 10th at 10:30, projects move on the 12th at 15:20
    outcome = simulate(seed, tmp_path, steps=HOURS, span=Period(start=at("12T01:00"), end=at("13T13:00")), projects=12)
    assert outcome.wrong == []
    assert outcome.gaps == []
    assert outcome.sums > 20


@pytest.mark.slow
def test_months_with_everything_going_wrong_end_with_exactly_the_true_totals(tmp_path: Path):
    seeds = int(os.environ.get("METERING_SEEDS", "50"))
    outcomes = [simulate(seed, tmp_path / f"{seed}", steps=HOURS, span=WHOLE_MONTH) for seed in range(1, seeds + 1)]
    wrong = [str(outcome) for outcome in outcomes if not outcome.is_right]
    assert wrong == []
    print(f"{len(outcomes)} of {seeds} simulated months end with exactly the true totals")


def test_a_page_that_fails_for_good_keeps_the_pages_before_it_and_the_next_cycle_heals(tmp_path: Path):
    here = world(start=START, projects=30, exact_hours=True)
    here.wire.page_size = 1
    with here.machine(tmp_path) as machine:
        pages = 0

        def fail_the_seventh(request: httpx.Request) -> None:
            nonlocal pages
            if "consumption_history" in request.url.path and request.url.params["org_id"] == PAID_ORGANIZATION:
                pages += 1
                if pages >= 7:
                    raise httpx.ReadError("gone")

        here.wire.before = fail_the_seventh
        report = machine.poll()
        assert report.outcome == "partial"
        paid = next(row for row in report.organizations if row["organization"] == PAID_ORGANIZATION)
        walks = [walk for walk in paid["walks"] if walk["what"] == "hourly history"]
        assert [(walk["pages"], walk["complete"]) for walk in walks] == [(6, False)]
        certified = certified_of(machine.books.store.query("billing/coverage_of", as_of_seq=2**63, after=0))
        assert hours(certified) == ()
        assert hours(certified, SPONSORED_ORGANIZATION) != ()  # the others go on
        assert {key[1] for key in machine.usage() if key[0] == PAID_ORGANIZATION}  # and what came is kept

        here.wire.before = lambda request: None
        assert machine.poll().outcome == "complete"
        until = floor_hour(here.time.server()) - HOUR
        assert machine.coverage()["covered_hours"] == (until - MONTH.start) // HOUR


def test_missed_cycles_are_made_up_for(tmp_path: Path):
    here = world(start=START, projects=12, exact_hours=True)
    with here.machine(tmp_path) as machine:
        machine.poll()
        wait(here, 31 * HOUR)
        machine.poll()
        wait(here, 20 * HOUR)
        machine.poll()
        until = floor_hour(here.time.server() - 20 * HOUR)
        assert compared(here, machine, until)[0] == []
        assert [gap for gap in machine.gaps() if parse_time(gap["start"]) < until] == []


def test_an_outage_of_nine_days_loses_the_hours_and_keeps_the_days_and_says_so(tmp_path: Path):
    here = world(start=at("04T20:30"), projects=12, exact_hours=True)
    with here.machine(tmp_path) as machine:
        machine.poll()
        assert machine.coverage()["grain"] == "hourly"
        here.time.move_to(at("14T09:10"))
        assert machine.poll().outcome == "complete"
        wait(here, 24 * HOUR)
        assert machine.poll().outcome == "complete"
        certified = certified_of(machine.books.store.query("billing/coverage_of", as_of_seq=2**63, after=0))[
            PAID_ORGANIZATION
        ]
        assert not certified.covers(Period(start=at("06T00:00"), end=at("07T00:00")), 0)
        assert certified.covers(Period(start=at("05T00:00"), end=at("07T00:00")), 1)
        assert machine.coverage()["grain"] == "daily"
        assert compared(here, machine, at("14T12:00"))[0] == []


@pytest.mark.parametrize("skew", [HOUR, -HOUR, timedelta(days=3650)], ids=["+1 h", "-1 h", "+10 years"])
def test_a_clock_that_jumps_certifies_nothing_and_heals_when_it_is_right_again(skew: timedelta, tmp_path: Path):
    here = world(start=START, projects=8, exact_hours=True)
    with here.machine(tmp_path) as machine:
        machine.poll()
        before = hours(certified_of(machine.books.store.query("billing/coverage_of", as_of_seq=2**63, after=0)))
        wait(here, 2 * HOUR)
        here.time.skew = skew
        report = machine.poll()
        assert report.outcome == "partial"
        assert hours(certified_of(machine.books.store.query("billing/coverage_of", as_of_seq=2**63, after=0))) == before
        assert len(report.faults) == 2  # one for each organization
        side = "ahead of" if skew > timedelta() else "behind"
        minutes = abs(skew) // timedelta(minutes=1)
        assert all(f"clock is {minutes} min {side} Neon's" in fault for fault in report.faults)
        here.time.skew = timedelta()
        wait(here, QUARTER)
        assert machine.poll().outcome == "complete"
        wait(here, 21 * HOUR)
        machine.poll()
        assert compared(here, machine, floor_hour(here.time.server() - 20 * HOUR))[0] == []


def test_a_clock_five_minutes_off_is_right_enough(tmp_path: Path):
    here = world(start=START, projects=4)
    with here.machine(tmp_path) as machine:
        here.time.skew = timedelta(minutes=4, seconds=50)
        assert machine.poll().faults == []


@pytest.mark.parametrize("request_number", [1, 3, 6, 9, 12])
def test_a_process_killed_between_pages_goes_on_where_it_was(request_number: int, tmp_path: Path):
    here = world(start=START, projects=12, exact_hours=True)
    here.wire.page_size = 3
    with here.machine(tmp_path) as machine:
        with killed_at(here.wire, request_number), pytest.raises(Killed):
            machine.poll()
        machine.die()
        assert machine.poll().outcome == "complete"
        wait(here, 22 * HOUR)
        assert machine.poll().outcome == "complete"
        assert compared(here, machine, floor_hour(here.time.server() - 20 * HOUR))[0] == []


def test_two_machines_in_turns_on_one_account_both_end_with_the_true_totals(tmp_path: Path):
    here = world(start=START, projects=12, exact_hours=True, limits=Limits(history_burst=3))
    here.wire.page_size = 4
    machines = [here.machine(tmp_path / name) for name in ("one", "two")]
    for turn in range(8):
        assert machines[turn % 2].poll().outcome == "complete"
        wait(here, 4 * HOUR)
    wait(here, 20 * HOUR)
    for machine in machines:
        machine.poll()
        assert compared(here, machine, floor_hour(here.time.server() - 21 * HOUR))[0] == []
        machine.die()


def test_any_minute_stays_within_limit_and_burst_whatever_dies_and_starts_anew(tmp_path: Path):
    here = world(start=START, projects=12, faults=("429:0.2", "500:0.2"), limits=Limits())
    here.wire.page_size = 1
    with here.machine(tmp_path, history_requests_per_minute=12) as machine:
        chance = random.Random(7)
        for _ in range(30):
            with killed_at(here.wire, chance.randrange(4, 40)), suppress(Killed):
                machine.poll()
            machine.die()
        sent = [moment for moment, is_history in here.wire.sent_at if is_history]
        assert len(sent) > 60
        most = max(sum(1 for other in sent if moment <= other <= moment + 60) for moment in sent)
        assert most <= 12 + 4


def test_a_sponsored_organization_has_inventory_and_counters_and_no_gaps(tmp_path: Path):
    here = world(start=START, projects=16, both_paid=False, exact_hours=True)
    with here.machine(tmp_path, sponsored=[SPONSORED_ORGANIZATION]) as machine:
        report = machine.poll()
        assert report.faults == []
        free = next(row for row in report.organizations if row["organization"] == SPONSORED_ORGANIZATION)
        assert [walk["what"] for walk in free["walks"]] == ["inventory", "recoverable"]
        assert {gap["organization"] for gap in machine.gaps()} <= {PAID_ORGANIZATION}


def test_an_organization_without_history_is_a_gap_and_no_zero(tmp_path: Path):
    here = world(start=START, projects=16, both_paid=False)
    with here.machine(tmp_path) as machine:
        report = machine.poll()
        assert report.outcome == "partial"
        assert any("403" in fault for fault in report.faults)
        reasons = [gap["reason"] for gap in machine.gaps() if gap["organization"] == SPONSORED_ORGANIZATION]
        assert reasons[0].startswith("unavailable")
        assert set(reasons[1:]) <= {"too_recent"}  # the hours that nobody could know yet
