"""Which interval a stretch of usage belongs to: a segment, a price, hours that nobody read.

A row of usage is a stretch [start, end) with a value: one bucket, or many summed where nothing inside them makes a
difference. It belongs to what is in force at its start, and where nothing is, to the first that begins inside it.
Pure: frames in, frames out.
"""

from collections.abc import Sequence

import polars as pl

from metering.core.frames import Int128, Moment
from metering.usage.existence import bucket_start

USAGE: dict[str, pl.DataType] = {
    "organization": pl.String(),
    "project_id": pl.String(),
    "start": Moment,
    "end": Moment,
    "grain": pl.UInt8(),
    "metric": pl.String(),
    "value": Int128,
    "read_at": Moment,
    "times": pl.Int64(),
}
"""A stretch of usage; `read_at` is null where the unit does not depend on it.

Where `times` is more than 1, the row stands for so many buckets of the same value, and start and end are the first's.
"""


def assigned(rows: pl.DataFrame, intervals: pl.DataFrame, by: Sequence[str], name: str) -> pl.DataFrame:
    """`rows` with the column `name` of the interval (start, end, `by`) that each belongs to; null where to none.

    In force at the row's start, or else the first to begin inside the row.
    """
    found = intervals.select(*by, name, at=pl.col("start"), until=pl.col("end")).sort("at")
    ordered = rows.with_row_index("row_no").sort("start")
    back = ordered.join_asof(
        found, left_on="start", right_on="at", by=list(by), strategy="backward", check_sortedness=False
    )
    in_force = pl.when(pl.col("start") < pl.col("until")).then(name)
    back = back.select("row_no", in_force.alias("in_force"))
    ahead = ordered.join_asof(
        found, left_on="start", right_on="at", by=list(by), strategy="forward", check_sortedness=False
    ).select("row_no", pl.when(pl.col("at") < pl.col("end")).then(name).alias("inside"))
    return (
        ordered.join(back, on="row_no", how="left")
        .join(ahead, on="row_no", how="left")
        .with_columns(pl.coalesce("in_force", "inside").alias(name))
        .sort("row_no")
        .drop("row_no", "in_force", "inside")
    )


def reaching_back(intervals: pl.DataFrame, parts: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """The intervals (start, end, `by`), moved back to the start of the bucket that each begins in, where it owns that.

    It owns the bucket, as `assigned` has it, where none of the same `by` is in force at the bucket's start and none
    begins in the bucket before it. `parts`: grain, period_start, period_end of the buckets that count; elsewhere hours.
    """
    grains = parts.select("grain", "period_start", "period_end").sort("period_start")
    found = intervals.sort("start").join_asof(grains, left_on="start", right_on="period_start", strategy="backward")
    grain = pl.when(pl.col("start") < pl.col("period_end")).then("grain").otherwise(0)
    bucket = bucket_start(pl.col("start"), grain)
    before = pl.col("end").shift(1).over(*by)
    is_owner = before.is_null() | (before <= bucket)
    moved = pl.when(is_owner).then(bucket).otherwise("start").alias("start")
    return found.with_columns(moved).select(intervals.columns)
