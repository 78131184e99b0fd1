"""Quotas: percent, level, forecast and crossings, exactly at their bounds."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest

from metering.core.errors import ExactnessError
from metering.core.period import Period
from metering.core.quotas import QUOTAS
from metering.quotas import evaluation
from metering.quotas.crossings import CrossingKey, crossings, key_of
from metering.quotas.readings import (
    BRANCHES,
    HISTORY,
    PROJECTS,
    Readings,
    billing_periods,
    counters_long,
    plan_limits_frame,
)
from metering.quotas.rows import Forecast, QuotaRow, percent_text
from tests.support.counters import Counter, counters_frame

NOW = datetime(2026, 10, 16, 12, tzinfo=UTC)
OCTOBER = Period(start=datetime(2026, 10, 1, tzinfo=UTC), end=datetime(2026, 11, 1, tzinfo=UTC))


def counter(project="p1", observed_at=NOW, period=(OCTOBER.start, OCTOBER.end), limits=None, **counters) -> Counter:
    return Counter(
        project_id=project,
        observed_at=observed_at,
        period_start=period[0],
        period_end=period[1],
        counters=counters,
        limits=limits or {},
    )


def history(project="p1", observed_at=NOW, **sums) -> list[tuple]:
    return [(project, name, value, observed_at, False) for name, value in sums.items()]


def readings(counters=(), sums=(), branches=(), plans=None, projects=None) -> Readings:
    names = projects or [("p1", "acme-cust7-pro-1", "cust7", "pro")]
    return Readings(
        projects=pl.DataFrame(names, schema=PROJECTS, orient="row"),
        counters=counters_frame(counters),
        history=pl.DataFrame(list(sums), schema=HISTORY, orient="row"),
        branches=pl.DataFrame(list(branches), schema=BRANCHES, orient="row"),
        plan_limits=plan_limits_frame(plans or {}),
    )


def rows(*args, thresholds=(80, 95), now=NOW, **kwargs) -> list[dict]:
    return [row.document() for row in structs(*args, thresholds=thresholds, now=now, **kwargs)]


def structs(*args, thresholds=(80, 95), now=NOW, include_unlimited=False, **kwargs) -> list[QuotaRow]:
    frame = evaluation.evaluated(readings(*args, **kwargs), thresholds, now, include_unlimited=include_unlimited)
    return evaluation.rows(frame, thresholds)


def one(*args, **kwargs) -> dict:
    (row,) = rows(*args, **kwargs)
    return row


def compute(used, limit, **kwargs) -> dict:
    return one([counter(compute_time_seconds=used, limits={"compute_time_seconds": limit})], **kwargs)


def test_a_row_has_every_key_of_the_contract_with_numbers_as_decimal_strings():
    assert compute(90000, 108000) == {
        "project_id": "p1",
        "project_name": "acme-cust7-pro-1",
        "customer": "cust7",
        "plan": "pro",
        "quota": "compute_time_seconds",
        "used": "90000",
        "limit": "108000",
        "limit_source": "neon",
        "unit": "CU-second",
        "percent": "83.33",
        "threshold_percent": 80,
        "level": "warning",
        "source": "counter",
        "observed_at": "2026-10-16T12:00:00Z",
        "period": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"},
        "forecast": {
            "percent_at_period_end": "166.66",
            "reaches_100_at": "2026-10-19T14:24:00Z",
            "reaches_80_at": None,
            "reaches_95_at": "2026-10-18T16:04:48Z",
            "percent_low": None,
            "percent_high": None,
            "method": "linear",
        },
        "partial": False,
    }


@pytest.mark.parametrize(
    ("used", "percent", "level", "threshold"),
    [
        (0, "0.00", "ok", None),
        (1, "0.00", "ok", None),
        (79_999_999, "79.99", "ok", None),
        (80_000_000, "80.00", "warning", 80),
        (94_999_999, "94.99", "warning", 80),
        (95_000_000, "95.00", "critical", 95),
        (99_999_999, "99.99", "critical", 95),
        (100_000_000, "100.00", "exceeded", 100),
        (123_456_789, "123.45", "exceeded", 100),
    ],
)
def test_levels_change_exactly_at_the_threshold_and_never_by_rounding_up(used, percent, level, threshold):
    row = compute(used, 100_000_000)
    assert (row["percent"], row["level"], row["threshold_percent"]) == (percent, level, threshold)


@pytest.mark.parametrize(
    ("thresholds", "used", "level", "threshold"),
    [
        ((80,), 79, "ok", None),
        ((80,), 80, "critical", 80),
        ((80,), 100, "exceeded", 100),
        ((50, 80, 95), 49, "ok", None),
        ((50, 80, 95), 50, "warning", 50),
        ((50, 80, 95), 80, "warning", 80),
        ((50, 80, 95), 95, "critical", 95),
        ((95, 80), 80, "warning", 80),
        ((), 99, "ok", None),
        ((), 100, "exceeded", 100),
    ],
)
def test_the_first_threshold_warns_and_the_last_is_critical_however_many_there_are(thresholds, used, level, threshold):
    row = compute(used, 100, thresholds=thresholds)
    assert (row["level"], row["threshold_percent"]) == (level, threshold)


def test_a_quota_of_zero_or_none_is_unlimited_and_has_no_row_unless_asked_for():
    unlimited = [counter(compute_time_seconds=5, limits={"compute_time_seconds": 0})]
    assert rows(unlimited) == []
    shown = rows(unlimited, include_unlimited=True)
    assert [row["quota"] for row in shown] == sorted(QUOTAS)
    first = shown[1]
    assert (first["level"], first["used"], first["limit"], first["percent"]) == ("unlimited", "5", None, None)
    assert (first["limit_source"], first["threshold_percent"], first["forecast"]) == (None, None, None)


def test_the_plan_gives_the_limit_where_neon_has_none_and_neon_wins_where_both_do():
    plans = {"pro": {"compute_time_seconds": 200}}
    absent = one([counter(compute_time_seconds=100)], plans=plans)
    zero = one([counter(compute_time_seconds=100, limits={"compute_time_seconds": 0})], plans=plans)
    both = one([counter(compute_time_seconds=100, limits={"compute_time_seconds": 400})], plans=plans)
    assert [(row["limit"], row["limit_source"], row["percent"]) for row in (absent, zero, both)] == [
        ("200", "plan", "50.00"),
        ("200", "plan", "50.00"),
        ("400", "neon", "25.00"),
    ]


@pytest.mark.parametrize(
    ("neon", "plan", "limit", "source"),
    [(1, None, "1", "neon"), (None, 1, "1", "plan"), (0, 1, "1", "plan"), (0, 0, None, None), (None, 0, None, None)],
)
def test_a_limit_of_one_is_a_limit_and_zero_is_none_wherever_it_stands(neon, plan, limit, source):
    limits = {} if neon is None else {"compute_time_seconds": neon}
    plans = {} if plan is None else {"pro": {"compute_time_seconds": plan}}
    found = rows([counter(compute_time_seconds=0, limits=limits)], plans=plans, include_unlimited=True)
    row = next(row for row in found if row["quota"] == "compute_time_seconds")
    assert (row["limit"], row["limit_source"]) == (limit, source)


def test_what_is_unlimited_is_left_out_unless_asked_for():
    assert evaluation.evaluated(readings([counter(compute_time_seconds=5)]), (80,), NOW).is_empty()


def test_used_is_never_less_than_the_history_since_the_periods_start():
    limits = {"compute_time_seconds": 100, "data_transfer_bytes": 100}
    facts = [counter(compute_time_seconds=50, data_transfer_bytes=70, limits=limits)]
    later = datetime(2026, 10, 16, 13, tzinfo=UTC)
    sums = history(compute_time_seconds=60, data_transfer_bytes=60, observed_at=later)
    by_history, by_counter = rows(facts, sums)
    assert (by_history["used"], by_history["source"], by_history["observed_at"]) == (
        "60",
        "history",
        "2026-10-16T13:00:00Z",
    )
    assert (by_counter["used"], by_counter["source"], by_counter["observed_at"]) == (
        "70",
        "counter",
        "2026-10-16T12:00:00Z",
    )


def test_history_of_other_quotas_is_not_believed():
    limits = {"written_data_bytes": 100}
    row = one([counter(written_data_bytes=10, limits=limits)], history(written_data_bytes=99))
    assert (row["used"], row["source"]) == ("10", "counter")


@pytest.mark.parametrize(
    ("moved", "level", "percent"),
    [(1, "unknown", "1.00"), (79, "unknown", "79.00"), (80, "warning", "80.00"), (100, "exceeded", "100.00")],
)
def test_a_counter_of_zero_while_history_moves_is_unknown_below_the_first_threshold(moved, level, percent):
    row = compute(0, 100, sums=history(compute_time_seconds=moved))
    assert (row["level"], row["percent"], row["source"]) == (level, percent, "history")
    assert (row["forecast"] is None) == (level == "unknown")


def test_a_counter_of_zero_and_a_history_of_zero_is_simply_zero():
    row = compute(0, 100, sums=history(compute_time_seconds=0))
    assert (row["level"], row["percent"], row["source"]) == ("ok", "0.00", "counter")


def test_without_counter_and_history_nothing_is_known():
    row = one([counter(limits={"compute_time_seconds": 100})])
    assert (row["level"], row["used"], row["percent"], row["source"]) == ("unknown", None, None, None)
    assert (row["threshold_percent"], row["forecast"]) == (None, None)


def test_a_project_never_read_is_judged_by_its_history_and_its_plan():
    row = one(sums=history(compute_time_seconds=96), plans={"pro": {"compute_time_seconds": 100}})
    assert (row["level"], row["source"], row["period"]["start"]) == ("critical", "history", "2026-10-01T00:00:00Z")


def test_the_newest_reading_of_a_project_counts():
    limits = {"compute_time_seconds": 100}
    earlier = datetime(2026, 10, 16, 11, tzinfo=UTC)
    old = counter(compute_time_seconds=90, limits=limits, observed_at=earlier)
    new = counter(compute_time_seconds=20, limits=limits)
    assert one([new, old])["used"] == "20"


def test_the_size_is_the_largest_branch_in_the_calendar_month_and_has_no_forecast():
    facts = [counter(limits={"logical_size_bytes": 1000}, period=(datetime(2026, 10, 10, tzinfo=UTC), OCTOBER.end))]
    row = one(facts, branches=[("p1", 300, NOW), ("p1", 800, NOW), ("p1", None, NOW)])
    assert (row["used"], row["percent"], row["level"], row["source"]) == ("800", "80.00", "warning", "counter")
    assert (row["period"]["start"], row["forecast"], row["unit"]) == ("2026-10-01T00:00:00Z", None, "byte")


def test_a_size_has_the_calendar_month_and_the_time_of_its_branches_and_a_counter_its_own():
    limits = {"compute_time_seconds": 100, "logical_size_bytes": 100}
    neon_period = (datetime(2026, 10, 10, tzinfo=UTC), datetime(2026, 11, 10, tzinfo=UTC))
    listed = datetime(2026, 10, 16, 9, tzinfo=UTC)
    facts = [counter(compute_time_seconds=1, limits=limits, period=neon_period)]
    compute_row, size_row = rows(facts, branches=[("p1", 1, listed)])
    assert [(row["period"]["start"], row["period"]["end"], row["observed_at"]) for row in (compute_row, size_row)] == [
        ("2026-10-10T00:00:00Z", "2026-11-10T00:00:00Z", "2026-10-16T12:00:00Z"),
        ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", "2026-10-16T09:00:00Z"),
    ]


def test_branches_that_are_not_measured_yet_leave_the_size_unknown():
    row = one([counter(limits={"logical_size_bytes": 1000})], branches=[("p1", None, NOW)])
    assert (row["level"], row["used"]) == ("unknown", None)


def test_the_counter_of_a_period_that_is_over_says_nothing_about_the_new_one():
    limits = {"compute_time_seconds": 100}
    end = OCTOBER.end
    facts = [counter(compute_time_seconds=99, limits=limits)]
    before = one(facts, now=datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC))
    after = one(facts, now=end)
    assert (before["level"], before["period"]["start"]) == ("critical", "2026-10-01T00:00:00Z")
    assert (after["level"], after["used"], after["period"]["start"]) == ("unknown", None, "2026-11-01T00:00:00Z")


def test_neons_own_period_is_used_where_it_is_running():
    facts = [
        counter(
            compute_time_seconds=1,
            limits={"compute_time_seconds": 100},
            period=(datetime(2026, 10, 10, 1, 39, 32, tzinfo=UTC), OCTOBER.end),
        )
    ]
    assert one(facts)["period"]["start"] == "2026-10-10T01:39:32Z"
    assert billing_periods(counters_frame(facts), NOW).rows() == [
        ("p1", datetime(2026, 10, 10, 1, 39, 32, tzinfo=UTC), OCTOBER.end)
    ]


@pytest.mark.parametrize(
    ("observed_at", "used"),
    [(datetime(2026, 10, 1, tzinfo=UTC), "7"), (datetime(2026, 9, 30, 23, 59, 59, tzinfo=UTC), None)],
)
def test_a_period_of_the_year_one_is_replaced_by_the_month_in_which_the_counter_was_read(observed_at, used):
    year_one = (datetime(1, 1, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC))
    limits = {"compute_time_seconds": 100}
    row = one([counter(compute_time_seconds=7, limits=limits, period=year_one, observed_at=observed_at)])
    assert (row["used"], row["period"]["start"]) == (used, "2026-10-01T00:00:00Z")


def test_numbers_beyond_63_bits_stay_exact():
    row = compute(2**100 - 1, 2**100)
    assert (row["used"], row["percent"], row["level"]) == (str(2**100 - 1), "99.99", "critical")


def test_a_number_that_would_not_be_exact_is_an_error_and_never_another_number():
    with pytest.raises(ExactnessError, match=f"^a quota's limit of {2**110} is larger"):
        compute(1, 2**110)
    assert compute(2**110 - 1, 2**110 - 1)["percent"] == "100.00"


def test_what_history_adds_up_to_beyond_110_bits_has_used_up_its_quota_to_the_digit():
    for used in (2**110, 9 * 10**37):
        row = compute(used, 100)
        assert (row["used"], row["percent"], row["level"]) == (str(used), f"{used}.00", "exceeded")


def test_rows_are_sorted_by_project_and_quota_whatever_the_order_of_the_readings():
    limits = {"written_data_bytes": 10, "active_time_seconds": 10}
    names = [("p2", None, None, None), ("p1", None, None, None)]
    facts = [
        counter(project=project, written_data_bytes=1, active_time_seconds=1, limits=limits) for project in ("p2", "p1")
    ]
    assert [(row["project_id"], row["quota"]) for row in rows(facts, projects=names)] == [
        ("p1", "active_time_seconds"),
        ("p1", "written_data_bytes"),
        ("p2", "active_time_seconds"),
        ("p2", "written_data_bytes"),
    ]


def test_one_row_per_project_as_the_store_keeps_it_gives_the_same_readings():
    limits = {"compute_time_seconds": 2**62, "logical_size_bytes": 7}
    facts = [
        counter(compute_time_seconds=5, written_data_bytes=2**63, limits=limits),
        counter(project="p2", active_time_seconds=0, period=(None, None)),
    ]
    wide = pl.DataFrame(
        {
            "project_id": ["p1", "p1", "p2"],
            "observed_at": [NOW - evaluation.FORECAST_AFTER, NOW, NOW],
            "period_start": [OCTOBER.start, OCTOBER.start, None],
            "period_end": [OCTOBER.end, OCTOBER.end, None],
            "active_time_seconds": [9, None, 0],
            "compute_time_seconds": [4, 5, None],
            "written_data_bytes": pl.Series([Decimal(1), Decimal(2**63), None], dtype=pl.Decimal(38, 0)),
            "limits": ['{"active_time_seconds": 9}', json.dumps(limits | {"unheard_of": 1}), None],
        },
        schema_overrides={name: pl.Datetime("us", "UTC") for name in ("observed_at", "period_start", "period_end")},
    )
    expected = counters_frame(facts).sort("project_id", "quota")
    assert counters_long(wide).sort("project_id", "quota").equals(expected)


def test_a_project_listed_twice_has_one_row_per_quota():
    names = [("p1", "old", "cust7", "pro"), ("p1", "new", "cust7", "pro")]
    row = one([counter(compute_time_seconds=1, limits={"compute_time_seconds": 10})], projects=names)
    assert row["project_name"] == "new"


# -- forecast


@pytest.mark.parametrize(
    ("used", "at", "expected"),
    [
        (50, datetime(2026, 10, 16, 12, tzinfo=UTC), {"percent_at_period_end": "100.00", "reaches_100_at": None}),
        (
            51,
            datetime(2026, 10, 16, 12, tzinfo=UTC),
            {"percent_at_period_end": "102.00", "reaches_100_at": "2026-10-31T09:24:43Z"},
        ),
        (0, datetime(2026, 10, 16, 12, tzinfo=UTC), {"percent_at_period_end": "0.00", "reaches_100_at": None}),
        (100, datetime(2026, 10, 16, 12, tzinfo=UTC), {"percent_at_period_end": "200.00", "reaches_100_at": None}),
        (50, datetime(2026, 10, 1, 5, 59, 59, tzinfo=UTC), None),
        (
            1,
            datetime(2026, 10, 1, 6, tzinfo=UTC),
            {"percent_at_period_end": "124.00", "reaches_100_at": "2026-10-26T00:00:00Z"},
        ),
        (50, OCTOBER.end, None),
    ],
)
def test_the_forecast_is_a_straight_line_from_the_periods_start(used, at, expected):
    found = evaluation.line(used, 100, OCTOBER, at, (100,))
    assert (found and {name: found.document()[name] for name in expected}) == expected


def test_a_forecast_by_weeks_is_written_with_truncated_percentages_and_100_first():
    found = Forecast(
        percent_at_period_end=percent_text(79_999, 100_000),
        reaches_at={80: None, 100: OCTOBER.start},
        percent_high=percent_text(80_000, 100_000),
        method="profile of 4 weeks",
    )
    assert list(found.document().items()) == [
        ("percent_at_period_end", "79.99"),
        ("reaches_100_at", "2026-10-01T00:00:00Z"),
        ("reaches_80_at", None),
        ("percent_low", None),
        ("percent_high", "80.00"),
        ("method", "profile of 4 weeks"),
    ]


# -- crossings


def only(*args, **kwargs) -> QuotaRow:
    (row,) = structs(*args, **kwargs)
    return row


def reading(used, limit, **kwargs) -> QuotaRow:
    return only([counter(compute_time_seconds=used, limits={"compute_time_seconds": limit})], **kwargs)


def crossed(row_list, recorded=(), thresholds=(80, 95)) -> list[tuple[int, str]]:
    found = crossings(row_list, recorded, thresholds)
    return [(crossing.key.threshold_percent, crossing.status) for crossing in found]


def test_nothing_crosses_just_below_the_threshold_and_one_thing_crosses_at_it():
    assert crossed([reading(79_999, 100_000)]) == []
    assert crossed([reading(80_000, 100_000)]) == [(80, "send")]


def test_a_jump_over_several_thresholds_sends_the_highest_and_records_the_others_as_superseded():
    (low, high) = crossings([reading(99, 100)], (), (80, 95))
    assert (low.key.threshold_percent, low.status, low.reason) == (
        80,
        "superseded",
        "99.00 % is at or above 80 %, told by the alert for 95 %",
    )
    assert (high.key.threshold_percent, high.status, high.reason) == (95, "send", "99.00 % is at or above 95 %")


def test_a_crossing_carries_its_row_and_a_key_of_what_arms_it():
    row = reading(99, 100)
    (low, high) = crossings([row], (), (80, 95))
    assert (low.row, high.row) == (row, row)
    assert low.key == CrossingKey(
        project_id="p1", quota="compute_time_seconds", period_start=OCTOBER.start, limit=100, threshold_percent=80
    )


def test_a_full_quota_crosses_100():
    assert crossed([reading(100, 100)]) == [(80, "superseded"), (95, "superseded"), (100, "send")]


def test_what_is_recorded_never_crosses_again():
    row = reading(96, 100)
    recorded = {key_of(row, 80), key_of(row, 95)}
    assert crossed([row], recorded) == []
    assert crossed([reading(100, 100)], recorded) == [(100, "send")]


def test_a_threshold_added_later_is_superseded_by_a_higher_one_already_sent():
    recorded = {key_of(reading(96, 100), 95)}
    assert crossed([reading(91, 100)], recorded, thresholds=(90, 95)) == [(90, "superseded")]


def test_a_changed_limit_or_a_new_period_arms_again():
    recorded = {key_of(reading(80, 100), 80)}
    assert crossed([reading(160, 200)], recorded) == [(80, "send")]
    november = datetime(2026, 11, 16, tzinfo=UTC)
    later = only(
        [
            counter(
                compute_time_seconds=80,
                limits={"compute_time_seconds": 100},
                observed_at=november,
                period=(OCTOBER.end, datetime(2026, 12, 1, tzinfo=UTC)),
            )
        ],
        now=november,
    )
    assert crossed([later], recorded) == [(80, "send")]


def test_an_unknown_row_crosses_nothing_and_a_stuck_counter_crosses_what_history_reaches():
    assert crossed([only([counter(limits={"compute_time_seconds": 100})])]) == []
    assert crossed([reading(0, 100, sums=history(compute_time_seconds=79))]) == []
    assert crossed([reading(0, 100, sums=history(compute_time_seconds=80))]) == [(80, "send")]


def test_an_unlimited_row_crosses_nothing():
    unlimited = structs([counter(compute_time_seconds=5)], include_unlimited=True)
    assert crossed(unlimited) == []
