"""Subscription periods of a month: the customer and plan of each project over time, and the share of the month.

Pure. Knows no price and no usage, and reads no clock.
"""

from collections.abc import Iterable, Sequence

import polars as pl

from metering.core.frames import Moment
from metering.core.name_patterns import matched
from metering.core.parties import Organization, Subscription
from metering.core.period import Period
from metering.core.plans import Plan, Prorate

SEGMENTS: dict[str, pl.DataType] = {
    "project_id": pl.String(),
    "segment_no": pl.Int64(),
    "customer": pl.String(),
    "plan": pl.String(),
    "start": Moment,
    "end": Moment,
    "share_num": pl.Int64(),
    "share_den": pl.Int64(),
    "share_start": Moment,
    "share_end": Moment,
}
"""One row per run of time with one customer and one plan in which the project existed; numbered from 1 per project.

share_num / share_den (seconds of the month): its part of the month's allowance, which counts [share_start, share_end).
"""


def unknown_plans(names: Iterable[str | None], pattern: str | None, plans: Iterable[Plan]) -> list[tuple[str, str]]:
    """Project names whose pattern names a plan that does not exist, with that plan, sorted; `check` lists them."""
    known = {plan.id for plan in plans}
    return sorted((name, plan) for name, (_, plan) in matched(names, pattern).items() if plan not in known)


def segments(  # noqa: PLR0913, PLR0917 - eight facts decide it, and each is one
    month: Period,
    existence: pl.DataFrame,
    sightings: pl.DataFrame,
    subscriptions: Sequence[Subscription],
    organizations: Sequence[Organization],
    pattern: str | None,
    plans: Sequence[Plan],
    prorate: Prorate = "second",
) -> pl.DataFrame:
    """SEGMENTS of the month, sorted by project and start.

    `existence`: project_id, exists_from, exists_to (half-open, null = unbounded). `sightings`: project_id,
    organization, seen_at, name; a row counts until the project's next one, the first also backwards. Rows in
    `subscriptions` decide alone for their project; else the pattern, else the organization's default plan.
    """
    mapped = pl.concat([_subscribed(subscriptions), _seen(sightings, subscriptions, organizations, pattern, plans)])
    existing = mapped.join(existence.unique("project_id"), on="project_id").with_columns(
        pl.max_horizontal("from", pl.col("exists_from").cast(Moment).dt.truncate("1s")).alias("from"),
        pl.min_horizontal("to", pl.col("exists_to").cast(Moment).dt.truncate("1s")).alias("to"),
    )
    return runs(existing.select(*_MAPPED), month, prorate)


def runs(rows: pl.DataFrame, month: Period, prorate: Prorate) -> pl.DataFrame:
    """SEGMENTS of rows project_id, customer, plan, from, to (null = open) that do not overlap within a project."""
    start, end = pl.lit(month.start, dtype=Moment), pl.lit(month.end, dtype=Moment)
    clipped = (
        rows.with_columns(start=pl.max_horizontal(start, "from"), end=pl.min_horizontal(end, "to"))
        .filter(pl.col("start") < pl.col("end"))
        .sort("project_id", "start")
    )
    return _shared(_merged(clipped), month, prorate)


_MAPPED = {"project_id": pl.String(), "customer": pl.String(), "plan": pl.String(), "from": Moment, "to": Moment}


def _subscribed(subscriptions: Sequence[Subscription]) -> pl.DataFrame:
    rows = [
        (row.project_id, row.customer, row.plan, row.valid_from, row.valid_to)
        for row in subscriptions
        if not row.is_own
    ]
    return pl.DataFrame(rows, schema=_MAPPED, orient="row")


OWN: dict[str, pl.DataType] = {"project_id": pl.String(), "start": Moment, "end": Moment, "is_own": pl.Boolean()}
"""Time in which a project is the operator's own, clipped to a month; `is_own` is true in every row."""


def own_time(month: Period, subscriptions: Sequence[Subscription]) -> pl.DataFrame:
    """OWN of the subscriptions without customer and plan, sorted by project and start."""
    spans = (
        (row.project_id, max(row.valid_from or month.start, month.start), min(row.valid_to or month.end, month.end))
        for row in subscriptions
        if row.is_own
    )
    rows = [(project, start, end, True) for project, start, end in spans if start < end]
    return pl.DataFrame(rows, schema=OWN, orient="row").sort("project_id", "start")


def _seen(
    sightings: pl.DataFrame,
    subscriptions: Sequence[Subscription],
    organizations: Sequence[Organization],
    pattern: str | None,
    plans: Sequence[Plan],
) -> pl.DataFrame:
    """Customer and plan of projects without a subscription, by name and organization, for as long as each was seen."""
    known = {plan.id for plan in plans}
    subscribed = pl.Series([row.project_id for row in subscriptions], dtype=pl.String).unique()
    matches = matched(sightings["name"].unique(), pattern)
    by_name = [(name, customer, plan if plan in known else None) for name, (customer, plan) in matches.items()]
    names = pl.DataFrame(
        by_name, schema={"name": pl.String, "named_customer": pl.String, "named_plan": pl.String}, orient="row"
    )
    by_organization = [(org.id, org.default_plan) for org in organizations if org.default_plan]
    defaults = pl.DataFrame(
        by_organization, schema={"organization": pl.String, "default_plan": pl.String}, orient="row"
    )
    project, seen_at = pl.col("project_id"), pl.col("seen_at").cast(Moment)
    is_named = pl.col("named_customer").is_not_null()
    return (
        sightings.filter(~pl.col("project_id").is_in(subscribed.implode()))
        .sort("project_id", "seen_at", maintain_order=True)
        .with_columns(
            pl.when(project == project.shift(1)).then(seen_at.dt.truncate("1s")).alias("from"),
            pl.when(project == project.shift(-1)).then(seen_at.shift(-1).dt.truncate("1s")).alias("to"),
        )
        .join(names, on="name", how="left")
        .join(defaults, on="organization", how="left")
        .with_columns(
            customer=pl.when(is_named).then("named_customer").otherwise("project_id"),
            plan=pl.when(is_named).then("named_plan").otherwise("default_plan"),
        )
        .filter(pl.col("plan").is_not_null())
        .select(pl.col(name).cast(kind) for name, kind in _MAPPED.items())
    )


def _merged(rows: pl.DataFrame) -> pl.DataFrame:
    """Merges adjacent rows of a project with equal customer and plan; rows must be sorted by project and start."""
    before = {name: pl.col(name).shift(1) for name in ("project_id", "customer", "plan", "end")}
    is_same = pl.all_horizontal(pl.col(name) == before[name] for name in ("project_id", "customer", "plan"))
    is_new = ~(is_same & (pl.col("start") == before["end"])).fill_null(value=False)
    return (
        rows.with_columns(run=is_new.cum_sum())
        .group_by("project_id", "run", "customer", "plan")
        .agg(pl.col("start").min(), pl.col("end").max())
        .sort("project_id", "start")
    )


def _shared(rows: pl.DataFrame, month: Period, prorate: Prorate) -> pl.DataFrame:
    first, last = pl.lit(month.start, dtype=Moment), pl.lit(month.end, dtype=Moment)
    number = pl.int_range(1, pl.len() + 1).over("project_id")
    count = pl.len().over("project_id")
    begin, finish = counted(pl.col("start"), pl.col("end"), month, prorate)
    return (
        rows.with_columns(segment_no=number)
        .with_columns(
            share_start=pl.when(pl.col("segment_no") == 1).then(first).otherwise(begin),
            share_end=pl.when(pl.col("segment_no") == count).then(last).otherwise(finish),
        )
        .with_columns(
            share_num=(pl.col("share_end") - pl.col("share_start")).dt.total_seconds(),
            share_den=pl.lit(month.seconds, dtype=pl.Int64),
        )
        .select(pl.col(name).cast(kind) for name, kind in SEGMENTS.items())
        .sort("project_id", "start")
    )


def counted(start: pl.Expr, end: pl.Expr, month: Period, prorate: Prorate) -> tuple[pl.Expr, pl.Expr]:
    """The start and end of a segment as proration counts them."""
    if prorate == "none":
        return pl.lit(month.start, dtype=Moment), pl.lit(month.end, dtype=Moment)
    if prorate == "day":
        # The end of the month is a midnight already.
        return start.dt.truncate("1d"), end.dt.truncate("1d")
    return start, end
