from datetime import timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.core.period import DAY, HOUR, parse_time
from metering.polling.counters import FREE_READS, Reading, due, smallest_limits

NOW = parse_time("2026-10-15T12:00:00Z")
UTC_TIME = pl.Datetime("us", "UTC")
SCHEMA = {
    "project_id": pl.String,
    "has_settings": pl.Boolean,
    "limits": pl.String,
    "observed_at": UTC_TIME,
    "period_start": UTC_TIME,
    "period_end": UTC_TIME,
    "active_time_seconds": pl.Int64,
    "compute_time_seconds": pl.Int64,
    "written_data_bytes": pl.Int64,
    "data_transfer_bytes": pl.Int64,
    "counter_limits": pl.String,
    "branches_observed_at": UTC_TIME,
    "moved_at": UTC_TIME,
}


def candidate(project_id: str = "p", **known: Any) -> dict[str, Any]:
    read = {
        "period_start": parse_time("2026-10-01T00:00:00Z"),
        "period_end": parse_time("2026-11-01T00:00:00Z"),
    }
    row = {**dict.fromkeys(SCHEMA), "project_id": project_id, "has_settings": True, "limits": "{}"}
    return {**row, **(read if "observed_at" in known else {}), **known}


def asked(*rows: dict[str, Any], budget: int = 1000, plan_limits: dict[str, int] | None = None) -> list[str]:
    frame = pl.DataFrame(list(rows), schema=SCHEMA, orient="row")
    return [reading.project_id for reading in due(frame, plan_limits or {}, NOW, budget)]


QUOTA = '{"compute_time_seconds": 1000}'


def near(project_id: str, used: int, age: timedelta = HOUR / 4) -> dict[str, Any]:
    moved = {"moved_at": NOW, "observed_at": NOW - age}
    return candidate(project_id, limits=QUOTA, compute_time_seconds=used, **moved)


def test_a_project_without_a_quota_is_not_read():
    assert asked(candidate()) == []


def test_a_project_whose_quota_is_not_said_is_read_once_to_know():
    assert asked(candidate(has_settings=False)) == ["p"]
    assert asked(candidate(has_settings=False, observed_at=NOW - 3 * DAY, counter_limits="{}")) == []


def test_a_quota_of_zero_is_none():
    assert asked(candidate(limits='{"compute_time_seconds": 0}')) == []


def test_a_quota_that_only_a_plan_sets_counts():
    assert asked(candidate(), plan_limits={"compute_time_seconds": 1000}) == ["p"]


def test_a_project_of_a_new_billing_period_comes_first():
    ended = {"observed_at": NOW - HOUR, "period_end": NOW, "limits": QUOTA}
    assert asked(near("a", 999), candidate("b", **ended), budget=1) == ["b"]


def test_those_near_their_quota_come_by_percent():
    assert asked(near("a", 500), near("b", 900), near("c", 700), budget=2) == ["b", "c"]


def test_a_percentage_is_carried_on_to_now():
    # 30 % after ten of the month's days, read four and a half days ago: about 43 % by now
    observed = {"observed_at": parse_time("2026-10-11T00:00:00Z"), "moved_at": NOW}
    stale = candidate("stale", limits=QUOTA, compute_time_seconds=300, **observed)
    assert asked(near("idle", 390), stale, budget=1) == ["stale"]


def test_what_is_far_from_its_quota_rests_where_requests_are_scarce():
    many = [near(f"near-{i:03}", 500) for i in range(FREE_READS)]
    assert "far" not in asked(*many, near("far", 10))
    assert "far" in asked(*many, near("far", 10, age=6 * HOUR))


def test_a_small_fleet_is_read_whole():
    unmoved = candidate("b", limits=QUOTA, compute_time_seconds=10, observed_at=NOW - HOUR / 4)
    assert asked(near("a", 10), unmoved) == ["a", "b"]


def test_a_quota_on_the_size_takes_a_request_more():
    sized = candidate(limits='{"logical_size_bytes": 1000}')
    frame = pl.DataFrame([sized], schema=SCHEMA, orient="row")
    assert due(frame, {}, NOW, 2) == [Reading(project_id="p", needs_branches=True)]
    assert due(frame, {}, NOW, 1) == []


def test_branches_that_broke_off_are_owed_before_what_rests():
    many = [near(f"near-{i:03}", 500) for i in range(FREE_READS)]
    size, read = '{"logical_size_bytes": 1000}', {"observed_at": NOW - HOUR / 4}
    broken = candidate("p", limits=size, **read, branches_observed_at=NOW - HOUR)
    assert "p" in asked(*many, broken)
    assert "p" in asked(*many, {**broken, "branches_observed_at": None})
    assert "p" not in asked(*many, {**broken, "branches_observed_at": NOW - HOUR / 4})


def test_the_smallest_limit_of_all_plans_counts():
    plans = [{"compute_time_seconds": 500, "data_transfer_bytes": 0}, {"compute_time_seconds": 300}]
    assert smallest_limits(plans) == {"compute_time_seconds": 300}


moments = st.integers(0, 45 * 24 * 60).map(lambda minutes: NOW - timedelta(minutes=minutes))
candidates = st.builds(
    candidate,
    project_id=st.text("abc", min_size=1, max_size=4),
    has_settings=st.booleans(),
    limits=st.sampled_from(["{}", QUOTA, '{"logical_size_bytes": 5}', '{"data_transfer_bytes": 0}']),
    observed_at=st.none() | moments,
    moved_at=st.none() | moments,
    compute_time_seconds=st.none() | st.integers(0, 3000),
)


@settings(deadline=None)
@given(st.lists(candidates, max_size=150, unique_by=lambda row: row["project_id"]), st.integers(0, 250))
def test_a_cycle_never_spends_more_on_counters_than_its_budget(rows: list[dict[str, Any]], budget: int):
    found = due(pl.DataFrame(rows, schema=SCHEMA, orient="row"), {}, NOW, budget)
    assert sum(reading.requests for reading in found) <= budget
    assert len({reading.project_id for reading in found}) == len(found)
