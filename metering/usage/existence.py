"""When a project existed, by what inventory shows of it and by its usage; and where buckets begin and end.

Pure: frames in, frames out.
"""

from datetime import datetime

import polars as pl

from metering.core.frames import Moment

EXISTENCE: dict[str, pl.DataType] = {"project_id": pl.String(), "exists_from": Moment, "exists_to": Moment}


def bucket_end(start: str = "start", grain: str = "grain") -> pl.Expr:
    """Where a bucket of this grain ends."""
    at = pl.col(start)
    return (
        pl.when(pl.col(grain) == 0)
        .then(at.dt.offset_by("1h"))
        .when(pl.col(grain) == 1)
        .then(at.dt.offset_by("1d"))
        .otherwise(at.dt.offset_by("1mo"))
    )


def bucket_start(moment: pl.Expr, grain: pl.Expr) -> pl.Expr:
    """Where the bucket of this grain begins that holds the moment."""
    by_day = pl.when(grain == 1).then(moment.dt.truncate("1d")).otherwise(moment.dt.truncate("1mo"))
    return pl.when(grain == 0).then(moment.dt.truncate("1h")).otherwise(by_day)


def existence(facts: pl.DataFrame, month_start: datetime) -> pl.DataFrame:
    """EXISTENCE as inventory and usage tell it: created_at to deleted_at; failing that, to the end of the last usage.

    Usage that inventory contradicts (before the creation, after the deletion) widens the span: it is never lost.
    """
    first_end = bucket_end("first_start", "first_grain")
    last_end = bucket_end("last_start", "last_grain")
    first_of_month = pl.lit(month_start, dtype=Moment)
    began = pl.when("was_used_before").then(first_of_month).otherwise("first_start")
    start = pl.coalesce("created_at", began)
    gone = pl.coalesce("deleted_at", pl.when(~pl.col("is_used_after")).then(pl.coalesce(last_end, first_of_month)))
    end = pl.when("is_listed").then(None).otherwise(gone)
    return (
        facts.with_columns(exists_from=start, exists_to=end, first_end=first_end, last_end=last_end)
        .with_columns(
            exists_from=pl.when(pl.col("first_end") <= pl.col("exists_from"))
            .then("first_start")
            .otherwise("exists_from"),
            exists_to=pl.when(pl.col("last_start") >= pl.col("exists_to")).then("last_end").otherwise("exists_to"),
        )
        .select(pl.col(name).cast(kind) for name, kind in EXISTENCE.items())
    )


def widened(spans: pl.DataFrame, used: pl.DataFrame) -> pl.DataFrame:
    """EXISTENCE that reaches as far as usage does: `used` as usage_spans.sql gives it, of any projects."""
    first_end, last_end = bucket_end("first_start", "first_grain"), bucket_end("last_start", "last_grain")
    is_earlier, is_later = first_end <= pl.col("exists_from"), pl.col("last_start") >= pl.col("exists_to")
    return spans.join(used, on="project_id", how="left").select(
        "project_id",
        pl.when(is_earlier).then("first_start").otherwise("exists_from").alias("exists_from").cast(Moment),
        pl.when(is_later).then(last_end).otherwise("exists_to").alias("exists_to").cast(Moment),
    )
