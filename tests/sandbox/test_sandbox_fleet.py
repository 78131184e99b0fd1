import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from metering.sandbox.consumption import METRICS, Consumption, seconds_of
from metering.sandbox.fleet import PAID_ORGANIZATION, PLANS, SPONSORED_ORGANIZATION, Extras, Fleet
from metering.sandbox.project import periods
from metering.sandbox.quotas import counters, reported
from metering.sandbox.state import State, truth, truth_table

NOW = datetime(2026, 11, 15, 12, 0, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
PATTERN = re.compile(r"(?P<platform>[^-]+)-(?P<customer>[^-]+)-(?P<plan>[^-]+)-(?P<created>\d+)")


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet.around(NOW)


@pytest.fixture(scope="module")
def state(fleet: Fleet) -> State:
    return State(fleet)


def test_the_same_seed_gives_the_same_numbers_wherever_it_runs(state: State):
    totals = Counter[str]()
    for row in truth_table(state, OCTOBER, NOVEMBER):
        assert isinstance(row["value"], int)
        totals[str(row["metric"])] += row["value"] if row["organization"] == PAID_ORGANIZATION else 0
    assert totals == {
        "child_branch_bytes_month": 9563858233,
        "compute_unit_seconds": 20478003,
        "extra_branches_month": 76601,
        "instant_restore_bytes_month": 6415745869,
        "private_network_transfer_bytes": 4314027275,
        "public_network_transfer_bytes": 1165175825514,
        "root_branch_bytes_month": 110951536495,
        "snapshot_storage_bytes_month": 3129324142,
    }


def test_another_seed_gives_other_numbers(state: State):
    other = State(Fleet.around(NOW, seed=2))
    assert truth_table(other, OCTOBER, NOVEMBER) != truth_table(state, OCTOBER, NOVEMBER)


def test_a_larger_fleet_begins_with_the_smaller_one(fleet: Fleet):
    small = Fleet.around(NOW, projects=20)
    assert list(fleet.projects)[:20] == list(small.projects)
    assert list(fleet.projects.values())[:20] == list(small.projects.values())


def test_every_project_has_an_id_of_its_own_in_neons_form():
    ids = list(Fleet(seed=3, projects=5000, start=datetime(2026, 9, 1, tzinfo=UTC)).projects)
    assert len(set(ids)) == 5000
    assert all(re.fullmatch(r"[a-z]+-[a-z]+-\d{8}", project_id) for project_id in ids)


def test_every_name_says_platform_customer_plan_and_creation(fleet: Fleet):
    for project in fleet.projects.values():
        match = PATTERN.fullmatch(project.name)
        assert match is not None
        assert match["plan"] in PLANS
        assert (match["plan"] == "free") == (project.organization == SPONSORED_ORGANIZATION)
        assert int(match["created"]) == project.created_at.timestamp()


def test_strays_have_names_that_no_pattern_matches():
    fleet = Fleet(projects=5, start=NOW - timedelta(days=60), extras=Extras(strays=2))
    assert [bool(PATTERN.fullmatch(project.name)) for project in fleet.projects.values()] == [
        False,
        False,
        True,
        True,
        True,
    ]


def test_of_the_paid_projects_seventy_percent_are_idle_twenty_light_eight_moderate_two_always_on():
    fleet = Fleet(projects=400, start=datetime(2026, 9, 1, tzinfo=UTC))
    paid = Counter(p.activity for p in fleet.projects.values() if p.organization == PAID_ORGANIZATION)
    assert paid["always"] == 6
    assert paid["moderate"] == 24
    assert paid["light"] == 60
    assert paid["idle"] + paid["dormant"] == 210


def test_a_dormant_project_uses_nothing_ever(fleet: Fleet):
    dormant = next(p for p in fleet.projects.values() if p.activity == "dormant")
    bounds = seconds_of(OCTOBER), seconds_of(NOVEMBER)
    assert Consumption(dormant).final(*bounds) == (0,) * 8


def test_projects_are_created_and_deleted_inside_the_months(fleet: Fleet):
    october = [p for p in fleet.projects.values() if OCTOBER <= p.created_at < NOVEMBER]
    deleted = [p for p in fleet.projects.values() if p.deleted_at and OCTOBER <= p.deleted_at < NOVEMBER]
    assert october
    assert deleted


def test_nothing_is_used_before_creation_or_after_deletion(fleet: Fleet):
    gone = next(p for p in fleet.projects.values() if p.deleted_at and p.activity != "dormant")
    assert gone.deleted_at is not None
    consumption, far = Consumption(gone), 40 * 86400
    created, deleted = seconds_of(gone.created_at), seconds_of(gone.deleted_at)
    assert consumption.final(created // 3600 * 3600 - far, created // 3600 * 3600) == (0,) * 8
    assert consumption.final(-(-deleted // 3600) * 3600, deleted // 3600 * 3600 + far) == (0,) * 8
    assert any(consumption.final(created // 3600 * 3600, -(-deleted // 3600) * 3600))


def test_the_parts_of_an_hour_sum_to_the_hour_wherever_it_is_cut():
    project = next(p for p in Fleet.around(NOW).projects.values() if p.activity == "always")
    consumption = Consumption(project)
    start = seconds_of(NOW) - 86400
    whole = consumption.shown(start, start + 3600, seconds_of(NOW) + 86400)
    for cut in (1, 599, 1800, 3599):
        first = consumption.shown(start, start + cut, seconds_of(NOW) + 86400)
        second = consumption.shown(start + cut, start + 3600, seconds_of(NOW) + 86400)
        assert first[0] + second[0] == whole[0] > 0
        assert first[4] + second[4] == whole[4] > 0


def test_truth_of_a_span_is_the_sum_of_the_truths_of_its_parts(state: State):
    project_id = next(p.id for p in state.projects if p.activity == "moderate")
    middle = datetime(2026, 10, 12, 7, tzinfo=UTC)
    for metric in METRICS:
        parts = truth(state, project_id, OCTOBER, middle, metric) + truth(state, project_id, middle, NOVEMBER, metric)
        assert parts == truth(state, project_id, OCTOBER, NOVEMBER, metric)


def test_a_day_differs_from_its_hours_by_less_than_one_per_hour_and_only_in_storage(state: State):
    day = datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 10, 21, tzinfo=UTC)
    hourly = {(r["project_id"], r["metric"]): r["value"] for r in truth_table(state, *day)}
    daily = {(r["project_id"], r["metric"]): r["value"] for r in truth_table(state, *day, granularity="daily")}
    excess = {key: int(daily[key]) - int(hourly[key]) for key in daily}
    assert set(hourly) == set(daily)
    assert any(excess.values())
    assert all(0 <= more < 24 for more in excess.values())
    assert {str(metric) for (_, metric), more in excess.items() if more} <= {
        "root_branch_bytes_month",
        "child_branch_bytes_month",
        "instant_restore_bytes_month",
        "snapshot_storage_bytes_month",
    }


@pytest.mark.parametrize("granularity", ["daily", "monthly"])
def test_with_exact_hours_every_grain_gives_the_same_truth(fleet: Fleet, granularity: str):
    exact = State(fleet, exact_hours=True)
    hourly = truth_table(exact, OCTOBER, NOVEMBER)
    assert truth_table(exact, OCTOBER, NOVEMBER, granularity=granularity) == hourly


def test_the_first_billing_period_begins_inside_a_month_and_a_plan_change_cuts_one(fleet: Fleet):
    found = periods(fleet.organizations[PAID_ORGANIZATION], NOW)
    assert [(f"{p.start:%Y-%m-%dT%H:%M:%SZ}", f"{p.end:%Y-%m-%dT%H:%M:%SZ}", p.plan) for p in found[:4]] == [
        ("2026-09-02T18:04:52Z", "2026-10-01T00:00:00Z", "launch"),
        ("2026-10-01T00:00:00Z", "2026-10-10T10:30:00Z", "launch"),
        ("2026-10-10T10:30:00Z", "2026-11-01T00:00:00Z", "scale"),
        ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", "scale"),
    ]
    assert len({period.id for period in found}) == len(found)


def test_at_the_tuned_moment_quotas_stand_above_80_and_95_and_100_percent(fleet: Fleet, state: State):
    percents = []
    for project in fleet.projects.values():
        used = counters(state.consumption(project.id), NOVEMBER, NOW)
        percents += [100 * used[name] // limit for name, limit in project.quota if limit and project.lives_at(NOW)]
    assert any(80 <= percent < 95 for percent in percents)
    assert any(95 <= percent < 100 for percent in percents)
    assert any(percent >= 100 for percent in percents)
    assert any(percent < 80 for percent in percents)


def test_some_quotas_are_zero_which_means_unlimited(fleet: Fleet):
    assert any(limit == 0 for project in fleet.projects.values() for _, limit in project.quota)


def test_counters_lag_by_up_to_an_hour(fleet: Fleet, state: State):
    always = next(p for p in fleet.projects.values() if p.activity == "always" and not p.is_counter_stuck)
    consumption = state.consumption(always.id)
    now, before = (counters(consumption, NOVEMBER, NOW - timedelta(hours=age)) for age in (0, 1))
    shown = reported(consumption, NOVEMBER, NOW)
    assert before["compute_time_seconds"] <= shown["compute_time_seconds"] < now["compute_time_seconds"]


def test_some_counters_are_stuck_at_zero_while_history_moves(fleet: Fleet, state: State):
    stuck = [p for p in fleet.projects.values() if p.is_counter_stuck and p.quota and p.activity != "dormant"]
    assert stuck
    shown = reported(state.consumption(stuck[0].id), NOVEMBER, NOW)
    assert shown["compute_time_seconds"] == shown["data_transfer_bytes"] == 0
    assert truth(state, stuck[0].id, NOVEMBER, NOW, "compute_unit_seconds") > 0


def test_what_was_used_before_a_transfer_stays_with_the_source():
    fleet = Fleet(projects=40, start=datetime(2026, 9, 2, tzinfo=UTC), extras=Extras(transfers=3))
    state = State(fleet)
    moved = [project for project in fleet.projects.values() if len(project.homes) == 2]
    assert len(moved) == 3
    rows = truth_table(state, datetime(2026, 9, 1, tzinfo=UTC), NOVEMBER)
    used = {row["organization"] for row in rows if row["project_id"] in {project.id for project in moved}}
    assert used == {PAID_ORGANIZATION, SPONSORED_ORGANIZATION}
