"""Quotas: from counters and history to percent, level, forecast and the thresholds that were crossed.

Knows what Neon's quota fields mean: unit, period, what happens when one is full. Must not know where the readings
come from, what an alert looks like on the wire, or the clock: frames and `now` in, rows and crossings out. Every number
is an exact integer until it is printed.

    readings -> evaluated() -> rows() -> crossings()
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from metering.errors import ExactnessError
from metering.period import HOUR, Period, month_of, parse_time, rfc3339

EXCEEDED_PERCENT = 100
FORECAST_AFTER = 6 * HOUR
"""No forecast before this much of the period has passed: a line through one hour says nothing about a month."""

_LARGEST = 2**110
"""Beyond it `used * 10000` would leave Int128; larger numbers raise instead of wrapping."""
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Neon answers some writes with a period that starts in the year 1; no start before this one is believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One quota field of a Neon project."""

    name: str
    unit: str
    has_history: bool
    """Whether the consumption history measures the same thing, so that it can stand in for a counter that lags."""
    effect_at_limit: str


_SUSPENDED = (
    "Neon suspends all computes of the project; they do not start again on connection until the billing period ends "
    "or the quota is raised or removed."
)
QUOTAS: Mapping[str, Quota] = {
    quota.name: quota
    for quota in (
        Quota(name="active_time_seconds", unit="second", has_history=False, effect_at_limit=_SUSPENDED),
        Quota(name="compute_time_seconds", unit="CU-second", has_history=True, effect_at_limit=_SUSPENDED),
        Quota(name="data_transfer_bytes", unit="byte", has_history=True, effect_at_limit=_SUSPENDED),
        Quota(
            name="logical_size_bytes",
            unit="byte",
            has_history=False,
            effect_at_limit="Writes to the full branch fail until data is deleted or the quota is raised or removed.",
        ),
        Quota(name="written_data_bytes", unit="byte", has_history=False, effect_at_limit=_SUSPENDED),
    )
}

Schema = Mapping[str, pl.DataType | type[pl.DataType]]
_TIME = pl.Datetime("us", "UTC")
PROJECTS: Schema = {"project_id": pl.String, "project_name": pl.String, "customer": pl.String, "plan": pl.String}
"""One row per project to judge, with the plan in force at `now`; name, customer and plan may be null."""
COUNTERS: Schema = {
    "project_id": pl.String,
    "quota": pl.String,
    "counter": pl.Int128,
    "neon_limit": pl.Int128,
    "period_start": _TIME,
    "period_end": _TIME,
    "observed_at": _TIME,
}
"""Readings of `GET /projects/{id}`, one row per project and quota.

Counter null = absent from the answer; limit null or 0 = none at Neon."""
HISTORY: Schema = {"project_id": pl.String, "quota": pl.String, "history": pl.Int128, "observed_at": _TIME}
"""Sums of the consumption history since the start that `billing_periods` gives for the project."""
BRANCHES: Schema = {"project_id": pl.String, "logical_size": pl.Int128, "observed_at": _TIME}
"""One row per branch of the latest listing; size in bytes, null = not measured yet."""
PLAN_LIMITS: Schema = {"plan": pl.String, "quota": pl.String, "plan_limit": pl.Int128}
"""The quotas that our plans promise, in the quota's unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One project as `GET /projects/{id}` showed it; limits are its `settings.quota`."""

    project_id: str
    observed_at: datetime
    period_start: datetime | None
    period_end: datetime | None
    counters: Mapping[str, int | None]
    limits: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """All that quotas are judged by, as frames of the schemas above."""

    projects: pl.DataFrame
    counters: pl.DataFrame
    history: pl.DataFrame
    branches: pl.DataFrame
    plan_limits: pl.DataFrame


def counters_frame(readings: Iterable[Counter]) -> pl.DataFrame:
    """Counters as a frame of schema COUNTERS; quota fields that this version does not know are left out."""
    lines = [
        (
            one.project_id,
            name,
            one.counters.get(name),
            one.limits.get(name),
            one.period_start,
            one.period_end,
            one.observed_at,
        )
        for one in readings
        for name in QUOTAS
    ]
    return pl.DataFrame(lines, schema=COUNTERS, orient="row")


def plan_limits_frame(quotas_by_plan: Mapping[str, Mapping[str, int]]) -> pl.DataFrame:
    """`{"pro": {"compute_time_seconds": 2700000}}` as a frame of schema PLAN_LIMITS."""
    lines = [(plan, quota, limit) for plan, limits in quotas_by_plan.items() for quota, limit in limits.items()]
    return pl.DataFrame(lines, schema=PLAN_LIMITS, orient="row")


# -- which period a counter belongs to


def billing_periods(counters: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Give the running billing period of each project that has counters: project_id, period_start, period_end.

    It is Neon's own where the counters name one that holds `now`, otherwise the UTC calendar month. A project that is
    not in the answer has the calendar month too. History is to be summed from this start.
    """
    latest = _latest_counters(counters, now).filter(pl.col("quota") != "logical_size_bytes")
    return latest.select("project_id", "period_start", "period_end").unique("project_id", keep="any").sort("project_id")


def _latest_counters(counters: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Keep the newest reading per project and quota; the counter of a period that is over becomes null."""
    month = month_of(now)
    is_named = pl.col("period_start") >= _EARLIEST
    is_running = (is_named & (pl.col("period_start") <= now) & (pl.col("period_end") > now)).fill_null(value=False)
    # Without bounds of its own a reading can only be trusted for the month in which it was taken.
    is_undated = ~is_named.fill_null(value=False) & (pl.col("observed_at") >= month.start)
    return (
        counters.sort("observed_at")
        .unique(["project_id", "quota"], keep="last", maintain_order=True)
        .with_columns(
            counter=pl.when(is_running | is_undated).then("counter"),
            period_start=pl.when(is_running)
            .then(pl.col("period_start").dt.truncate("1s"))
            .otherwise(pl.lit(month.start, _TIME)),
            period_end=pl.when(is_running)
            .then(pl.col("period_end").dt.truncate("1s"))
            .otherwise(pl.lit(month.end, _TIME)),
        )
    )


# -- used of limit


def evaluated(
    readings: Readings, thresholds_percent: Sequence[int], now: datetime, *, include_unlimited: bool = False
) -> pl.DataFrame:
    """Every quota of every project, sorted by project and quota: the columns of a row as in `rows`, numbers as Int128.

    `percent_hundredths` is used * 10000 // limit, so 79.99 % never shows as 80. Raises ExactnessError beyond 110 bits.
    """
    frame = _with_used(_with_limit(readings, now, include_unlimited=include_unlimited), readings)
    _require_exact(frame)
    hundredths = pl.col("used") * 10_000 // pl.col("limit")
    return (
        frame.with_columns(percent_hundredths=hundredths)
        .with_columns(threshold_percent=threshold_reached(thresholds_percent), level=level(thresholds_percent))
        .sort("project_id", "quota")
    )


def _with_limit(readings: Readings, now: datetime, *, include_unlimited: bool) -> pl.DataFrame:
    month = month_of(now)
    names = pl.DataFrame({"quota": list(QUOTAS)}, schema={"quota": pl.String})
    neon, plan = pl.col("neon_limit"), pl.col("plan_limit")
    is_size = pl.col("quota") == "logical_size_bytes"
    frame = (
        readings.projects.join(names, how="cross")
        .join(_latest_counters(readings.counters, now), on=["project_id", "quota"], how="left")
        .join(readings.plan_limits, on=["plan", "quota"], how="left")
        .with_columns(
            limit=pl.when(neon > 0).then(neon).when(plan > 0).then(plan),
            limit_source=pl.when(neon > 0).then(pl.lit("neon")).when(plan > 0).then(pl.lit("plan")),
            period_start=pl.when(~is_size).then("period_start").fill_null(pl.lit(month.start, _TIME)),
            period_end=pl.when(~is_size).then("period_end").fill_null(pl.lit(month.end, _TIME)),
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
    for column in ("used", "limit"):
        largest = frame.select(pl.col(column).max()).item()
        if largest is not None and largest >= _LARGEST:
            raise ExactnessError(f"a quota's {column} of {largest} is larger than is computed exactly")


# -- levels


def threshold_reached(thresholds_percent: Sequence[int]) -> pl.Expr:
    """Pick the highest threshold at or below the percentage, 100 included; null where none is reached."""
    reached = pl.lit(None, pl.Int64)
    for threshold in sorted({*thresholds_percent, EXCEEDED_PERCENT}):
        reached = (
            pl.when(pl.col("percent_hundredths") >= threshold * 100)
            .then(pl.lit(threshold, pl.Int64))
            .otherwise(reached)
        )
    return reached


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
    return [_row(record) for record in _records(frame)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    project_id: str
    project_name: str | None
    customer: str | None
    plan: str | None
    quota: str
    used: int | None
    limit: int | None
    limit_source: str | None
    percent_hundredths: int | None
    threshold_percent: int | None
    level: str
    source: str | None
    observed_at: datetime | None
    period_start: datetime
    period_end: datetime


def _records(frame: pl.DataFrame) -> Iterator[_Record]:
    for values in frame.select(list(_Record.__dataclass_fields__)).iter_rows(named=True):
        yield _Record(**values)


def _row(record: _Record) -> dict[str, object]:
    period = Period(start=record.period_start, end=record.period_end)
    return {
        "project_id": record.project_id,
        "project_name": record.project_name,
        "customer": record.customer,
        "plan": record.plan,
        "quota": record.quota,
        "used": _digits(record.used),
        "limit": _digits(record.limit),
        "limit_source": record.limit_source,
        "unit": QUOTAS[record.quota].unit,
        "percent": _percent(record.percent_hundredths),
        "threshold_percent": record.threshold_percent,
        "level": record.level,
        "source": record.source,
        "observed_at": None if record.observed_at is None else rfc3339(record.observed_at),
        "period": {"start": rfc3339(period.start), "end": rfc3339(period.end)},
        "forecast": _forecast_of(record, period),
    }


def _digits(number: int | None) -> str | None:
    return None if number is None else str(number)


def _percent(hundredths: int | None) -> str | None:
    return None if hundredths is None else f"{hundredths // 100}.{hundredths % 100:02d}"


def _forecast_of(record: _Record, period: Period) -> dict[str, str | None] | None:
    # A size does not grow from zero at the month's start, so a line from there would be made up.
    if record.level == "unknown" or record.quota == "logical_size_bytes":
        return None
    if record.used is None or record.limit is None or record.observed_at is None:
        return None
    return forecast(record.used, record.limit, period, record.observed_at)


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
    highest_recorded = max((key.threshold_percent for key in keys if key in recorded), default=0)
    for key in reached:
        if key in recorded:
            continue
        highest = max(reached[-1].threshold_percent, highest_recorded)
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
