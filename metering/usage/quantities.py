"""Usage as whole numbers for each piece of the rate card; and sums of the usage that no price took.

Pure: frames in, frames out. Knows meters; must not know a price.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from metering.core.errors import ExactnessError
from metering.core.frames import Int128, Moment
from metering.core.meters import Meter, denominator, meter_for, scale
from metering.core.money import INT128_SAFE
from metering.usage.attribution import assigned


def metrics_of(meters: Sequence[Meter]) -> pl.DataFrame:
    """meter, metric: what each meter counts."""
    rows = [(meter.id, metric) for meter in meters for metric in meter.metrics]
    return pl.DataFrame(rows, schema={"meter": pl.String, "metric": pl.String}, orient="row")


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


def by_metric(rows: pl.DataFrame, keys: Sequence[str]) -> list[dict[str, str]]:
    """Sums per key and metric, sorted, as rows of texts; zeros are left out."""
    summed = rows.group_by(*keys, "metric").agg(pl.col("value").sum()).filter(pl.col("value") != 0)
    return [{**row, "value": str(row["value"])} for row in summed.sort(*keys, "metric").iter_rows(named=True)]


def unpriced_reason(metric: str, meters: Sequence[Meter]) -> str:
    """Why no price took a metric's usage."""
    return "not_in_plan" if meter_for(metric, (), meters) else "no_meter"
