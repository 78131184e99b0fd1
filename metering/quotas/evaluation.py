"""Quotas: from counters and history to percent, level, forecast and the thresholds that were crossed.

Must not know where the readings come from, what an alert looks like on the wire, or the clock: frames and `now` in,
rows and crossings out. Every number is an exact integer until it is printed.

    readings -> evaluated() -> rows() -> crossings()
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import polars as pl

from metering.core.errors import ExactnessError
from metering.core.period import HOUR, Period, month_of, parse_time, rfc3339
from metering.core.quotas import EXCEEDED_PERCENT, QUOTAS, Quota
from metering.quotas.readings import (
    BRANCHES,
    COUNTERS,
    HISTORY,
    PLAN_LIMITS,
    PROJECTS,
    Counter,
    Readings,
    billing_periods,
    counters_frame,
    counters_long,
    latest_counters,
    plan_limits_frame,
)

__all__ = [
    "BRANCHES",
    "COUNTERS",
    "HISTORY",
    "PLAN_LIMITS",
    "PROJECTS",
    "QUOTAS",
    "Counter",
    "Crossing",
    "CrossingKey",
    "Quota",
    "Readings",
    "billing_periods",
    "counters_frame",
    "counters_long",
    "crossings",
    "evaluated",
    "forecast",
    "key_of",
    "level",
    "plan_limits_frame",
    "rows",
    "threshold_reached",
]
FORECAST_AFTER = 6 * HOUR
"""No forecast before this much of the period has passed: a line through one hour says nothing about a month."""

_LARGEST = 2**110
"""Beyond it `used * 10000` would leave Int128. No page shows such a limit; what used more than this has used it up."""


# -- used of limit


def evaluated(
    readings: Readings, thresholds_percent: Sequence[int], now: datetime, *, include_unlimited: bool = False
) -> pl.DataFrame:
    """Every quota of every project, sorted by project and quota: the columns of a row as in `rows`, numbers as Int128.

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
    """Add used, source, observed_at and is_stuck: the counter, or history where that is further or all there is."""
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
            # Some projects report 0 for ever while they work: history shows it.
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
    """Pick the highest threshold at or below the percentage, 100 included; null where none is reached."""
    percent = pl.col("percent_hundredths")
    thresholds = {*thresholds_percent, EXCEEDED_PERCENT}
    return pl.max_horizontal(pl.when(percent >= threshold * 100).then(threshold) for threshold in thresholds)


def level(thresholds_percent: Sequence[int]) -> pl.Expr:
    """Name the level: ok, warning (first threshold), critical (last one), exceeded, unknown or unlimited.

    A single threshold is first and last, so critical. A stuck counter makes the level unknown only below the first
    threshold: what history shows above it is true in any case.
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


# -- rows as the contract prints them


def rows(frame: pl.DataFrame) -> list[dict[str, object]]:
    """Write the contract's quota objects in the frame's order: decimal strings, times as RFC 3339."""
    # A fleet shares few instants, and writing one costs more than the rest of its row.
    written = cache(rfc3339)
    return [_row(record, written) for record in frame.select(_COLUMNS).iter_rows(named=True)]


_COLUMNS = (
    *("project_id", "project_name", "customer", "plan", "quota", "used", "limit", "limit_source"),
    *("threshold_percent", "level", "source", "observed_at", "period_start", "period_end"),
)


def _row(record: Mapping[str, Any], written: Callable[[datetime], str]) -> dict[str, object]:
    observed_at, start, end = record["observed_at"], record["period_start"], record["period_end"]
    return {
        "project_id": record["project_id"],
        "project_name": record["project_name"],
        "customer": record["customer"],
        "plan": record["plan"],
        "quota": record["quota"],
        "used": _digits(record["used"]),
        "limit": _digits(record["limit"]),
        "limit_source": record["limit_source"],
        "unit": QUOTAS[record["quota"]].unit,
        "percent": _percent_of(record["used"], record["limit"]),
        "threshold_percent": record["threshold_percent"],
        "level": record["level"],
        "source": record["source"],
        "observed_at": None if observed_at is None else written(observed_at),
        "period": {"start": written(start), "end": written(end)},
        "forecast": _forecast_of(record),
    }


def _digits(number: int | None) -> str | None:
    return None if number is None else str(number)


def _percent_of(used: int | None, limit: int | None) -> str | None:
    return None if used is None or limit is None else _percent(used * 10_000 // limit)


def _percent(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _forecast_of(record: Mapping[str, Any]) -> dict[str, str | None] | None:
    # A size does not grow from zero at the month's start, so a line from there would be made up.
    if record["level"] == "unknown" or record["quota"] == "logical_size_bytes":
        return None
    if record["used"] is None or record["limit"] is None:
        return None
    period = Period(start=record["period_start"], end=record["period_end"])
    return forecast(record["used"], record["limit"], period, record["observed_at"])


def forecast(used: int, limit: int, period: Period, observed_at: datetime) -> dict[str, str | None] | None:
    """Draw a straight line from 0 at the period's start through what was used at `observed_at` to the period's end.

    `percent_at_period_end` is truncated to two places; `reaches_100_at` is the second at which the line meets the
    limit, null where it does not before the period's end or has met it already. None within FORECAST_AFTER of
    the start.
    """
    elapsed = observed_at - period.start
    if elapsed < FORECAST_AFTER or not period.contains(observed_at):
        return None
    elapsed_seconds = elapsed.days * 86_400 + elapsed.seconds
    at_end = used * period.seconds * 10_000 // (limit * elapsed_seconds)
    reaches = None
    if 0 < used < limit:
        seconds = -(-elapsed_seconds * limit // used)
        reaches = rfc3339(period.start + timedelta(seconds=seconds)) if seconds < period.seconds else None
    return {"percent_at_period_end": _percent(at_end), "reaches_100_at": reaches}


# -- crossings


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class CrossingKey:
    """What an alert is given for once, ever: a raised limit or a new period is another key."""

    project_id: str
    quota: str
    period_start: datetime
    limit: int
    threshold_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A threshold first seen reached; `status` is `send`, or `superseded` by a higher one of the same quota."""

    key: CrossingKey
    status: str
    reason: str
    row: Mapping[str, object]


def crossings(
    quota_rows: Iterable[Mapping[str, object]],
    already_recorded: Collection[CrossingKey],
    thresholds_percent: Sequence[int],
) -> list[Crossing]:
    """Find what is newly reached, sorted by key. Of several at once the highest is sent, the lower ones are superseded.

    A row without a percentage crosses nothing; a stuck counter crosses what its history reaches.
    """
    recorded = set(already_recorded)
    rising = sorted({*thresholds_percent, EXCEEDED_PERCENT})
    found = [crossing for row in quota_rows for crossing in _crossings_of(row, recorded, rising)]
    return sorted(found, key=lambda crossing: crossing.key)


def _crossings_of(row: Mapping[str, object], recorded: set[CrossingKey], rising: Sequence[int]) -> Iterator[Crossing]:
    if row["used"] is None or row["limit"] is None:
        return
    used, limit = int(str(row["used"])), int(str(row["limit"]))
    keys = [key_of(row, threshold) for threshold in rising]
    reached = [key for key in keys if used * 100 >= key.threshold_percent * limit]
    for key in reached:
        if key in recorded:
            continue
        highest = max(other.threshold_percent for other in recorded.intersection(keys).union(reached))
        percent = row["percent"]
        if key.threshold_percent == highest:
            yield Crossing(key=key, status="send", reason=f"{percent} % is at or above {highest} %", row=row)
        else:
            why = f"{percent} % is at or above {key.threshold_percent} %, told by the alert for {highest} %"
            yield Crossing(key=key, status="superseded", reason=why, row=row)


def key_of(row: Mapping[str, object], threshold_percent: int) -> CrossingKey:
    """Make the key under which a quota row crosses a threshold; the row must have a limit."""
    period = row["period"]
    assert isinstance(period, Mapping), "a quota row has a period"
    return CrossingKey(
        project_id=str(row["project_id"]),
        quota=str(row["quota"]),
        period_start=parse_time(period["start"]),
        limit=int(str(row["limit"])),
        threshold_percent=threshold_percent,
    )
