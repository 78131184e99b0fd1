"""Forecasts quota rows by each project's own weeks; reads them from the store for usage/forecast.py."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl
from msgspec.structs import replace

from metering.billing.month import Month
from metering.billing.sums import parts_of
from metering.billing.weeks import settled_weeks, whole_weeks
from metering.core.frames import Moment
from metering.core.period import Period, floor_hour
from metering.core.quotas import EXCEEDED_PERCENT
from metering.quotas.rows import Forecast, QuotaRow, percent_text
from metering.usage import forecast
from metering.usage.coverage import MONTHLY, Certified, Timeframes, selection

QUOTAS = ("compute_time_seconds", "data_transfer_bytes")
"""What history measures hour by hour."""
FLOOR_PERCENT = 40
"""A quota of which a line uses less by the period's end keeps the line: its weeks would cost more than they tell."""


def with_forecasts(month: Month, rows: Sequence[QuotaRow], thresholds_percent: Sequence[int]) -> list[QuotaRow]:
    """The rows with a forecast by the project's weeks where there is one whole week; others keep the straight line."""
    measured = [row for row in rows if _is_measured(row) and _is_near(row)]
    by_weeks = _by_profile(month, measured, sorted({*thresholds_percent, EXCEEDED_PERCENT})) if measured else {}
    return [replace(row, forecast=by_weeks.get(_key(row), row.forecast)) for row in rows]


def _is_measured(row: QuotaRow) -> bool:
    return row.quota in QUOTAS and row.limit is not None and row.used is not None and row.level != "unknown"


def _is_near(row: QuotaRow) -> bool:
    """Whether the weeks must be read: not where the straight line ends far below the quota."""
    return row.forecast is None or int(row.forecast.percent_at_period_end.partition(".")[0]) >= FLOOR_PERCENT


def _key(row: QuotaRow) -> forecast.Key:
    return row.project_id, row.quota


def _by_profile(month: Month, rows: Sequence[QuotaRow], thresholds: Sequence[int]) -> dict[forecast.Key, Forecast]:
    weeks = whole_weeks(month, [row.project_id for row in rows])
    known = dict(weeks.select("project_id", "weeks").iter_rows())
    if not known:
        return {}
    slots, spread = _read(month, weeks)
    # Usage that only the counter shows cannot be forecast from history.
    used = set(slots.select("project_id", "quota").unique().iter_rows())
    measured = [row for row in rows if _key(row) in used]
    outlooks = _outlooks(measured, known, slots, spread, month.now)
    rising = [key for key, (row, found) in outlooks.items() if row.reaches(thresholds[0], found.expected)]
    paths = forecast.by_key(slots, rising)
    return {
        key: _forecast(row, found, paths.get(key, {}), known[row.project_id], thresholds, month.now)
        for key, (row, found) in outlooks.items()
    }


def _outlooks(
    rows: Sequence[QuotaRow], weeks: Mapping[str, int], slots: pl.DataFrame, spread: pl.DataFrame, now: datetime
) -> dict[forecast.Key, tuple[QuotaRow, forecast.Outlook]]:
    left = {end: sum(forecast.hours_left(now, end)) for end in {row.period.end for row in rows}}
    ends = pl.DataFrame(
        [(*_key(row), row.period.end) for row in rows],
        schema={"project_id": pl.String, "quota": pl.String, "period_end": Moment},
        orient="row",
    )
    rests, spreads = _numbers(forecast.rests(slots, ends, now)), _numbers(spread)
    outlooks = {}
    for row in rows:
        assert row.used is not None, "only measured rows have an outlook"
        key, hours = _key(row), left[row.period.end]
        found = forecast.outlook(row.used, rests.get(key, 0), weeks[row.project_id], spreads.get(key), hours)
        outlooks[key] = (row, found)
    return outlooks


def _numbers(frame: pl.DataFrame) -> dict[forecast.Key, int]:
    return {(project, name): value for project, name, value in frame.iter_rows()}


def _forecast(  # noqa: PLR0913, PLR0917 - a row, what is expected of it, and when
    row: QuotaRow,
    found: forecast.Outlook,
    path: Mapping[int, int],
    weeks: int,
    thresholds: Sequence[int],
    now: datetime,
) -> Forecast:
    used, limit = row.used, row.limit
    assert used is not None and limit is not None, "only measured rows have an outlook"
    return Forecast(
        percent_at_period_end=percent_text(found.expected, limit),
        reaches_at={
            percent: forecast.reached_at(used, -(-limit * percent // 100), path, weeks, now, row.period.end)
            for percent in thresholds
        },
        percent_low=None if found.low is None else percent_text(found.low, limit),
        percent_high=None if found.high is None else percent_text(found.high, limit),
        method=f"profile of {weeks} weeks" if weeks > 1 else "profile of 1 week",
    )


def _read(month: Month, weeks: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    window = settled_weeks(month)
    counted = {
        organization: _counting(certified, window) for organization, certified in month.knowledge.certified.items()
    }
    keys = month.recorded.project_keys
    # Only buckets inside a project's whole weeks count.
    stretches = (
        weeks.join(keys, on="project_id")
        .join(parts_of(counted), on="organization")
        .select("project_key", "grain", counts_from=pl.max_horizontal("period_start", "since"), counts_to="period_end")
    )
    span = {"period_start": window.start, "period_end": floor_hour(month.now)}
    with month.recorded.store.frames(counted=stretches):
        profile = month.recorded.store.query("quotas/usage_profile", **span)
        days = month.recorded.store.query("quotas/usage_spread", **span)
    names = keys.select("project_key", "project_id")
    profile, days = (frame.join(names, on="project_key") for frame in (profile, days))
    return forecast.slots_of(profile), forecast.spread_of(days, weeks.select("project_id", "weeks"))


def _counting(certified: Certified, window: Period) -> list[Timeframes]:
    return [part for part in selection(certified, window, is_open=True) if part.grain != MONTHLY]
