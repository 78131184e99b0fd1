"""The current state of every quota: reads counters and history from the store and evaluates them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from fractions import Fraction

import polars as pl

from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.billing.terms import Terms
from metering.core.period import month_of, previous_month
from metering.core.quotas import EXCEEDED_PERCENT
from metering.quotas import evaluation, forecasts
from metering.quotas.readings import HISTORY, PROJECTS, Readings, billing_periods, counters_long, plan_limits_frame
from metering.quotas.rows import QuotaRow
from metering.store.database import Store

MOST_MONTHS = 12
"""So far back history is added up for a billing period that began before the running month: Neon keeps a year."""
_HISTORY_OF = {
    "compute_unit_seconds": "compute_time_seconds",
    "public_network_transfer_bytes": "data_transfer_bytes",
    "private_network_transfer_bytes": "data_transfer_bytes",
}
"""Metric -> the quota that counts the same thing."""


def running(store: Store, terms: Terms, now: datetime) -> Month:
    """The running month with the knowledge of now, in which quotas are evaluated."""
    return Month(recorded=Recorded(store=store), terms=terms, period=month_of(now), now=now)


def quota_rows(
    month: Month,
    thresholds_percent: tuple[int, ...],
    *,
    include_unlimited: bool = False,
    reached_only: bool = False,
) -> list[QuotaRow]:
    """The rows of `quota` in the running month, sorted by project and quota.

    `reached_only`: only rows that have reached a threshold, which is enough for alerts.
    """
    frame = _evaluated(month, thresholds_percent, include_unlimited=include_unlimited)
    if reached_only:
        frame = frame.filter(pl.col("threshold_percent").is_not_null())
    return forecasts.with_forecasts(month, evaluation.rows(frame, thresholds_percent), thresholds_percent)


def urgency(row: QuotaRow) -> tuple[object, ...]:
    """The sort key by urgency: exceeded first, then by the forecast moment of 100 %, then by percentage."""
    reaches = row.forecast and row.forecast.reaches_at[EXCEEDED_PERCENT]
    return (
        row.level != "exceeded",
        reaches is None,
        [reaches] if reaches else [],
        -Fraction(row.percent or 0),
        row.project_id,
        row.quota,
    )


def levels(month: Month, thresholds_percent: tuple[int, ...]) -> dict[str, int]:
    """The number of quotas per level in the running month."""
    frame = _evaluated(month, thresholds_percent, include_unlimited=False)
    return dict(frame.group_by("level").len().iter_rows())


def _evaluated(month: Month, thresholds_percent: tuple[int, ...], *, include_unlimited: bool) -> pl.DataFrame:
    """Evaluates every quota of all projects in the store."""
    now = month.now
    found = month.recorded.store.query("quotas/quota_counters")
    counters = counters_long(found.drop("logical_size_bytes"))
    history = _history(month, counters, now)
    readings = Readings(
        projects=_projects(month, found),
        counters=counters,
        history=history.select(pl.col(name).cast(kind) for name, kind in HISTORY.items()),
        branches=found.filter(pl.col("branches_observed_at").is_not_null()).select(
            "project_id",
            pl.col("logical_size_bytes").cast(pl.Int128).alias("logical_size"),
            pl.col("branches_observed_at").alias("observed_at"),
        ),
        plan_limits=plan_limits_frame({plan.id: plan.quota for plan in month.terms.card.plans}),
    )
    return evaluation.evaluated(readings, thresholds_percent, now, include_unlimited=include_unlimited)


def _projects(month: Month, found: pl.DataFrame) -> pl.DataFrame:
    """The listed projects with their current name, customer and plan."""
    in_force = month.segments.filter((pl.col("start") <= month.now) & (pl.col("end") > month.now))
    names = pl.DataFrame(
        list(month.projects.names().items()), schema={"project_id": pl.String, "project_name": pl.String}, orient="row"
    )
    return (
        found.select("project_id")
        .join(names, on="project_id", how="left")
        .join(in_force.select("project_id", "customer", "plan"), on="project_id", how="left")
        .select(pl.col(name).cast(kind) for name, kind in PROJECTS.items())
    )


def _history(month: Month, counters: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """quota.HISTORY since each project's billing period began; `is_partial`: with uncertified hours."""
    began = billing_periods(counters, now).select("project_id", "period_start")
    observed = month.recorded.store.query("quotas/history_read_at")
    return (
        pl.concat(_since(one, began, month.period.start) for one in _months(month, began))
        .with_columns(pl.col("metric").replace_strict(_HISTORY_OF, return_dtype=pl.String).alias("quota"))
        .join(observed, on=["organization", "project_id"], how="left")
        .group_by("project_id", "quota")
        .agg(
            history=pl.col("value").sum(),
            observed_at=pl.col("observed_at").max(),
            is_partial=pl.col("is_partial").any(),
        )
    )


def _months(month: Month, began: pl.DataFrame) -> Iterator[Month]:
    """The running month, and earlier months into which a billing period reaches; usually none."""
    yield month
    reached = began.filter(pl.col("period_start") < month.period.start)["period_start"]
    for _ in range(MOST_MONTHS if reached.len() else 0):
        month = replace(month, period=previous_month(month.period.start))
        yield month
        if not (reached < month.period.start).any():
            return


def _since(month: Month, began: pl.DataFrame, otherwise: datetime) -> pl.DataFrame:
    """USAGE of a month since each project's billing period began (or `otherwise`), with `is_partial`."""
    rows = month.usage.cut(began.rename({"period_start": "cut_at"})).join(began, on="project_id", how="left")
    is_inside = pl.col("start") >= pl.col("period_start").fill_null(otherwise)
    rows = rows.filter(is_inside & pl.col("metric").is_in(list(_HISTORY_OF)))
    return rows.with_columns(is_partial=month.knowledge.is_partial(rows))
