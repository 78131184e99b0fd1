"""Usage of a month, from sums and buckets that count to whole numbers per piece of the rate card.

A row of usage is a stretch [start, end) with a value: one bucket, or many summed where nothing inside them makes a
difference. It belongs to what is in force at its start, and where nothing is, to the first that begins inside it
. Pure: frames in, frames out.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from metering.core.errors import ExactnessError
from metering.core.frames import Int128, Moment
from metering.core.meters import Meter, denominator, meter_for, scale
from metering.core.money import INT128_SAFE

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


def metrics_of(meters: Sequence[Meter]) -> pl.DataFrame:
    """meter, metric: what each meter counts."""
    rows = [(meter.id, metric) for meter in meters for metric in meter.metrics]
    return pl.DataFrame(rows, schema={"meter": pl.String, "metric": pl.String}, orient="row")


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


def used(rows: pl.DataFrame, pieces: pl.DataFrame, meters: Sequence[Meter]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(piece_no, used, grain) for rating.charges; and the rows that no piece prices, with their `segment_no`.

    `rows` is USAGE with `segment_no` (null: no segment). Pieces with an allowance per hour need their rows bucket
    by bucket, or value by value. `used` counts 1/denominator of the meter's unit; raises ExactnessError rather than
    wrap.
    """
    priced = pieces.select("project_id", "segment_no", "meter").unique().join(metrics_of(meters), on="meter")
    keys = ["project_id", "segment_no", "metric"]
    with_meter = rows.with_row_index("usage_no").join(priced, on=keys, how="left", nulls_equal=False)
    placed = assigned(
        with_meter.filter(pl.col("meter").is_not_null()), pieces, ["project_id", "segment_no", "meter"], "piece_no"
    )
    hit = placed.filter(pl.col("piece_no").is_not_null())
    unpriced = rows.with_row_index("usage_no").join(hit.select("usage_no").unique(), on="usage_no", how="anti")
    return _summed(hit, pieces, meters), unpriced.drop("usage_no")


def _summed(hit: pl.DataFrame, pieces: pl.DataFrame, meters: Sequence[Meter]) -> pl.DataFrame:
    per_hour = (
        hit.group_by("piece_no", "meter", "start", "end", "grain", "read_at", "times")
        .agg(pl.col("value").sum())
        .join(pieces.select("piece_no", "denominator", "hourly_num", "hourly_den"), on="piece_no", how="left")
    )
    scaled = _with_scale(per_hour, meters).with_columns(
        hours=((pl.col("end") - pl.col("start")).dt.total_hours() * pl.col("times")).cast(Int128),
        factor=pl.col("scale") * (pl.col("denominator") // (pl.col("meter_den") * pl.col("hourly_den").fill_null(1))),
    )
    _guard(scaled)
    beyond = pl.max_horizontal(
        pl.col("value") * pl.col("hourly_den") - pl.col("hourly_num") * pl.col("hours"), pl.lit(0, dtype=Int128)
    )
    amount = pl.when(pl.col("hourly_num").is_null()).then(pl.col("value")).otherwise(beyond) * pl.col("factor")
    names = ("hourly", "daily", "monthly")
    return (
        scaled.group_by("piece_no")
        .agg(used=amount.sum(), grain=pl.col("grain").max())
        .with_columns(pl.col("grain").replace_strict(range(len(names)), names, return_dtype=pl.String))
        .sort("piece_no")
    )


def _with_scale(rows: pl.DataFrame, meters: Sequence[Meter]) -> pl.DataFrame:
    """`scale` (by the moment of reading) and `meter_den` of every row's meter."""
    known = {meter.id: meter for meter in meters}
    combinations = rows.select("meter", "read_at").unique()
    table = [
        (name, read_at, _scale(known[name], read_at), denominator(known[name]))
        for name, read_at in combinations.iter_rows()
    ]
    schema: dict[str, pl.DataType] = {"meter": pl.String(), "read_at": Moment, "scale": Int128, "meter_den": Int128}
    scales = pl.DataFrame(table, schema=schema, orient="row")
    return rows.join(scales, on=["meter", "read_at"], how="left", nulls_equal=True)


def _scale(meter: Meter, read_at: datetime | None) -> int:
    if read_at is None:
        assert len(meter.divisors) == 1, "the unit depends on when the page was read"
        return scale(meter, meter.divisors[0].valid_from)
    return scale(meter, read_at)


def _guard(rows: pl.DataFrame) -> None:
    """Refuses sums that could leave 128 bits."""
    if rows.is_empty():
        return
    names = ("value", "factor", "hourly_den", "hourly_num", "hours")
    value, factor, den, num, hours = (_largest(rows[name]) for name in names)
    per_row = (value * max(1, den) + num * hours) * max(1, factor)
    if per_row * rows.height >= INT128_SAFE:
        raise ExactnessError(
            f"usage of up to {value} over {rows.height} buckets could leave 128 bits",
            hint="find the value with `metering usage`",
        )


def _largest(values: pl.Series) -> int:
    found = values.abs().max()
    return found if isinstance(found, int) else 0


def by_metric(rows: pl.DataFrame, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Sums per key and metric, sorted, as plain dicts with integer values; zeros are left out."""
    summed = rows.group_by(*keys, "metric").agg(pl.col("value").sum()).filter(pl.col("value") != 0)
    return summed.sort(*keys, "metric").to_dicts()


def unpriced_reason(metric: str, meters: Sequence[Meter]) -> str:
    """Why no price took a metric's usage."""
    return "not_in_plan" if meter_for(metric, (), meters) else "no_meter"
