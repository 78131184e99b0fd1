"""Quotas: from counters and history to percent, level and a straight-line forecast. Pure.

Frames and `now` in, rows out; every number is an exact integer. Must not know where readings come from, or alerts.

    readings -> evaluated() -> rows()
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from metering.core.errors import ExactnessError
from metering.core.period import HOUR, Period, month_of
from metering.core.quotas import EXCEEDED_PERCENT, QUOTAS
from metering.quotas.readings import Readings, latest_counters
from metering.quotas.rows import Forecast, QuotaRow, percent_text

FORECAST_AFTER = 6 * HOUR
"""No forecast before this much of the period has passed: a line through one hour says nothing about a month."""

_LARGEST = 2**110
"""Beyond it `used * 10000` would leave Int128. No page shows such a limit; what used more than this has used it up."""


# -- used of limit


def evaluated(
    readings: Readings, thresholds_percent: Sequence[int], now: datetime, *, include_unlimited: bool = False
) -> pl.DataFrame:
    """Every quota of every project, sorted by project and quota; numbers are Int128, columns as `rows` reads them.

    `percent_hundredths` is used * 10000 // limit, so 79.99 % never shows as 80; it judges, rows print it exactly.
    Raises ExactnessError for a limit beyond 110 bits.
    """
    frame = _with_used(_with_limit(readings, now, include_unlimited=include_unlimited), readings)
    _require_exact(frame)
    largest = pl.lit(_LARGEST, dtype=pl.Int128)
    hundredths = pl.when(pl.col("used") > largest).then(largest).otherwise("used") * 10_000 // pl.col("limit")
    return (
        frame.with_columns(percent_hundredths=hundredths)
        .with_columns(threshold_percent=threshold_reached(thresholds_percent), level=level(thresholds_percent))
        .sort("project_id", "quota")
    )


def _with_limit(readings: Readings, now: datetime, *, include_unlimited: bool) -> pl.DataFrame:
    month = month_of(now)
    names = pl.DataFrame({"quota": list(QUOTAS)})
    neon, plan = pl.col("neon_limit"), pl.col("plan_limit")
    is_size = pl.col("quota") == "logical_size_bytes"
    frame = (
        readings.projects.unique("project_id", keep="last")
        .join(names, how="cross")
        .join(latest_counters(readings.counters, now), on=["project_id", "quota"], how="left")
        .join(readings.plan_limits, on=["plan", "quota"], how="left")
        .with_columns(
            limit=pl.when(neon > 0).then(neon).when(plan > 0).then(plan),
            limit_source=pl.when(neon > 0).then(pl.lit("neon")).when(plan > 0).then(pl.lit("plan")),
            period_start=pl.when(~is_size).then("period_start").fill_null(month.start),
            period_end=pl.when(~is_size).then("period_end").fill_null(month.end),
        )
    )
    return frame if include_unlimited else frame.filter(pl.col("limit").is_not_null())


def _with_used(frame: pl.DataFrame, readings: Readings) -> pl.DataFrame:
    """Adds the usage and its source: the counter, or history where that is higher or the counter is missing."""
    sizes = readings.branches.group_by("project_id").agg(
        pl.col("logical_size").max(), pl.col("observed_at").max().alias("size_observed_at")
    )
    is_size = pl.col("quota") == "logical_size_bytes"
    counter, history = pl.col("counter"), pl.col("history")
    is_history = history.is_not_null() & (counter.is_null() | (history > counter))
    return (
        frame.join(_usable_history(readings.history), on=["project_id", "quota"], how="left")
        .join(sizes, on="project_id", how="left")
        .with_columns(
            counter=pl.when(is_size).then("logical_size").otherwise("counter"),
            observed_at=pl.when(is_size).then("size_observed_at").otherwise("observed_at"),
        )
        .with_columns(
            used=pl.when(is_history).then(history).otherwise(counter),
            source=pl.when(is_history).then(pl.lit("history")).when(counter.is_not_null()).then(pl.lit("counter")),
            observed_at=pl.when(is_history).then("history_observed_at").otherwise("observed_at"),
            partial=(is_history & pl.col("is_partial")).fill_null(value=False),
            # The counter of some projects stays 0 although history shows usage.
            is_stuck=((counter == 0) & (history > 0)).fill_null(value=False),
        )
    )


def _usable_history(history: pl.DataFrame) -> pl.DataFrame:
    measured = [name for name, quota in QUOTAS.items() if quota.has_history]
    return history.filter(pl.col("quota").is_in(measured)).rename({"observed_at": "history_observed_at"})


def _require_exact(frame: pl.DataFrame) -> None:
    largest = frame.select(pl.col("limit").max()).item()
    if largest is not None and largest >= _LARGEST:
        raise ExactnessError(f"a quota's limit of {largest} is larger than is computed exactly")


# -- levels


def threshold_reached(thresholds_percent: Sequence[int]) -> pl.Expr:
    """The highest threshold at or below the percentage, 100 included; null where none is reached."""
    percent = pl.col("percent_hundredths")
    thresholds = {*thresholds_percent, EXCEEDED_PERCENT}
    return pl.max_horizontal(pl.when(percent >= threshold * 100).then(threshold) for threshold in thresholds)


def level(thresholds_percent: Sequence[int]) -> pl.Expr:
    """The level: ok, warning (first threshold), critical (last one), exceeded, unknown or unlimited.

    A single threshold is both first and last, so its level is critical. A stuck counter makes the level unknown only
    below the first threshold; above it the history is sufficient.
    """
    percent = pl.col("percent_hundredths")
    rising = sorted({*thresholds_percent, EXCEEDED_PERCENT})
    return (
        pl.when(pl.col("limit").is_null())
        .then(pl.lit("unlimited"))
        .when(pl.col("used").is_null())
        .then(pl.lit("unknown"))
        .when(percent >= EXCEEDED_PERCENT * 100)
        .then(pl.lit("exceeded"))
        .when(percent >= rising[max(len(rising) - 2, 0)] * 100)
        .then(pl.lit("critical"))
        .when(percent >= rising[0] * 100)
        .then(pl.lit("warning"))
        .when(pl.col("is_stuck"))
        .then(pl.lit("unknown"))
        .otherwise(pl.lit("ok"))
    )


# -- rows


def rows(frame: pl.DataFrame, thresholds_percent: Sequence[int]) -> list[QuotaRow]:
    """The frame's rows in order, with straight-line forecasts."""
    # Few different periods exist, so their texts are cached.
    periods = {
        (start, end): Period(start=start, end=end)
        for start, end in frame.select("period_start", "period_end").unique().iter_rows()
    }
    thresholds = sorted({*thresholds_percent, EXCEEDED_PERCENT})
    return [
        _row(record, periods[record["period_start"], record["period_end"]], thresholds)
        for record in frame.select(*_COLUMNS, "period_start", "period_end").iter_rows(named=True)
    ]


_MADE = {"unit", "percent", "period", "forecast"}
_COLUMNS = tuple(name for name in QuotaRow.__struct_fields__ if name not in _MADE)


def _row(record: Mapping[str, Any], period: Period, thresholds: Sequence[int]) -> QuotaRow:
    used, limit = record["used"], record["limit"]
    is_known = used is not None and limit is not None
    # A size does not start at zero each month, so a line from zero would be wrong.
    has_line = is_known and record["level"] != "unknown" and record["quota"] != "logical_size_bytes"
    return QuotaRow(
        **{name: record[name] for name in _COLUMNS},
        unit=QUOTAS[record["quota"]].unit,
        percent=percent_text(used, limit) if is_known else None,
        period=period,
        forecast=line(used, limit, period, record["observed_at"], thresholds) if has_line else None,
    )


def line(used: int, limit: int, period: Period, observed_at: datetime, thresholds: Sequence[int]) -> Forecast | None:
    """A straight-line forecast: from 0 at the period's start through the usage at `observed_at` to the period's end.

    A threshold has the second at which the line reaches it, if that is before the period's end; also one that was
    reached already. None within FORECAST_AFTER of the start.
    """
    elapsed = observed_at - period.start
    if elapsed < FORECAST_AFTER or not period.contains(observed_at):
        return None
    seconds = elapsed.days * 86_400 + elapsed.seconds
    return Forecast(
        percent_at_period_end=percent_text(used * period.seconds, limit * seconds),
        reaches_at={percent: _reached(used * 100, limit * percent, period, seconds) for percent in thresholds},
        method="linear",
    )


def _reached(used: int, target: int, period: Period, elapsed_seconds: int) -> datetime | None:
    if not 0 < used < target:
        return None
    seconds = -(-elapsed_seconds * target // used)
    return period.start + timedelta(seconds=seconds) if seconds < period.seconds else None
