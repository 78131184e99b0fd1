"""The inputs of quota evaluation: Neon's quota fields, and frames of counters, history, branches and plans.

Knows the meaning of Neon's fields (unit, effect of a full quota) and the billing period of a counter. Must not know
percentages, thresholds, or the source of readings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from metering.core.period import month_of
from metering.core.quotas import QUOTAS

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Neon answers some writes with a period that starts in the year 1; no start before this one is believed."""

Schema = Mapping[str, pl.DataType | type[pl.DataType]]
TIME = pl.Datetime("us", "UTC")
PROJECTS: Schema = {"project_id": pl.String, "project_name": pl.String, "customer": pl.String, "plan": pl.String}
"""One row per project to judge, with the plan in force at `now`; name, customer and plan may be null."""
COUNTERS: Schema = {
    "project_id": pl.String,
    "quota": pl.String,
    "counter": pl.Int128,
    "neon_limit": pl.Int128,
    "period_start": TIME,
    "period_end": TIME,
    "observed_at": TIME,
}
"""Readings of `GET /projects/{id}`, one row per project and quota.

Counter null = absent from the answer; limit null or 0 = none at Neon."""
HISTORY: Schema = {
    "project_id": pl.String,
    "quota": pl.String,
    "history": pl.Int128,
    "observed_at": TIME,
    "is_partial": pl.Boolean,
}
"""Sums of the consumption history since the start that `billing_periods` gives for the project.

`is_partial`: hours that are not certified are among them."""
BRANCHES: Schema = {"project_id": pl.String, "logical_size": pl.Int128, "observed_at": TIME}
"""One row per branch of the latest listing; size in bytes, null = not measured yet."""
PLAN_LIMITS: Schema = {"plan": pl.String, "quota": pl.String, "plan_limit": pl.Int128}
"""The quotas that our plans promise, in the quota's unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """All inputs of quota evaluation, as frames of the schemas above."""

    projects: pl.DataFrame
    counters: pl.DataFrame
    history: pl.DataFrame
    branches: pl.DataFrame
    plan_limits: pl.DataFrame


def counters_long(wide: pl.DataFrame) -> pl.DataFrame:
    """COUNTERS from a frame with one row per project.

    Columns: project_id, observed_at, period_start, period_end, a column of any exact integer type per counter that Neon
    has, and `limits`, the project's `settings.quota` as JSON text (null = none). Of several rows of a project (it moved
    to another organization) the one observed last counts.
    """
    names = list(QUOTAS)
    limits = pl.Struct(dict.fromkeys(names, pl.Int128))
    wide = wide.sort("observed_at").unique("project_id", keep="last", maintain_order=True)
    counters = wide.select("project_id", *(pl.col(name).cast(pl.Int128) for name in names if name in wide.columns))
    allowed = wide.select("project_id", pl.col("limits").str.json_decode(limits)).unnest("limits")
    every = wide.select("project_id", "observed_at", "period_start", "period_end").join(
        pl.DataFrame({"quota": names}), how="cross"
    )
    return (
        every.join(_by_quota(counters, "counter"), on=["project_id", "quota"], how="left")
        .join(_by_quota(allowed, "neon_limit"), on=["project_id", "quota"], how="left")
        .select(pl.col(name).cast(kind) for name, kind in COUNTERS.items())
    )


def _by_quota(wide: pl.DataFrame, name: str) -> pl.DataFrame:
    return wide.unpivot(index="project_id", variable_name="quota", value_name=name).drop_nulls(name)


def plan_limits_frame(quotas_by_plan: Mapping[str, Mapping[str, int]]) -> pl.DataFrame:
    """`{"pro": {"compute_time_seconds": 2700000}}` as a frame of schema PLAN_LIMITS."""
    lines = [(plan, quota, limit) for plan, limits in quotas_by_plan.items() for quota, limit in limits.items()]
    return pl.DataFrame(lines, schema=PLAN_LIMITS, orient="row")


# -- which period a counter belongs to


def billing_periods(counters: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The running billing period of each project with counters: project_id, period_start, period_end.

    It is Neon's own where the counters name one that holds `now`, otherwise the UTC calendar month. A project that is
    not in the answer has the calendar month too. History is to be summed from this start.
    """
    latest = latest_counters(counters, now).filter(pl.col("quota") != "logical_size_bytes")
    return latest.select("project_id", "period_start", "period_end").unique("project_id", keep="any").sort("project_id")


def latest_counters(counters: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The newest reading per project and quota; the counter of a finished period becomes null."""
    month = month_of(now)
    is_named = pl.col("period_start") >= _EARLIEST
    is_running = (is_named & (pl.col("period_start") <= now) & (pl.col("period_end") > now)).fill_null(value=False)
    # A reading without period bounds is valid only for the month in which it was taken.
    is_undated = ~is_named.fill_null(value=False) & (pl.col("observed_at") >= month.start)
    return (
        counters.sort("observed_at")
        .unique(["project_id", "quota"], keep="last", maintain_order=True)
        .with_columns(
            counter=pl.when(is_running | is_undated).then("counter"),
            period_start=pl.when(is_running)
            .then(pl.col("period_start").dt.truncate("1s"))
            .otherwise(pl.lit(month.start, TIME)),
            period_end=pl.when(is_running)
            .then(pl.col("period_end").dt.truncate("1s"))
            .otherwise(pl.lit(month.end, TIME)),
        )
    )
