"""What a page changes in the buckets that the store holds already: pure, frames in, frames out.

A bucket is (project, Neon's period, grain, start). Only the difference of a reported value from the seen one is kept.
A value above zero that is not reported is an omission, which counts only once its walk proves complete. Known metrics
are in wide rows of 63-bit integers; unknown metrics, and values beyond 63 bits, are in long rows of 128 bits.
"""

import polars as pl

from metering.core.frames import UTC_MICROSECONDS
from metering.core.meters import KNOWN_METRICS

KEYS = ("project_key", "neon_period_key", "grain", "timeframe_start")
LONG_KEYS = (*KEYS, "metric")

_BUCKET = {
    "project_key": pl.UInt32(),
    "neon_period_key": pl.UInt32(),
    "grain": pl.UInt8(),
    "timeframe_start": UTC_MICROSECONDS,
}
WIDE = pl.Schema({"seq": pl.UInt64(), **_BUCKET, **dict.fromkeys(KNOWN_METRICS, pl.Int64())})
"""A row per bucket of a page, or per change: one column per known metric; null is "not reported", "not changed"."""
LONG = pl.Schema({"seq": pl.UInt64(), **_BUCKET, "metric": pl.String(), "value": pl.Int128()})
"""A row per bucket and metric."""


def wide_changes(incoming: pl.DataFrame, seen: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows that change something as WIDE, values above zero that are left out as LONG less seq).

    `incoming` is WIDE; `seen` the same without seq: per bucket, the sum of its earlier changes. A change is the
    reported value less the seen one; what is not reported changes nothing here.
    """
    if seen.is_empty():
        first = incoming.filter(pl.any_horizontal(pl.col(metric) != 0 for metric in KNOWN_METRICS))
        return first.with_columns(pl.when(pl.col(KNOWN_METRICS) != 0).then(pl.col(KNOWN_METRICS))), _no_omissions()
    joined = incoming.join(seen.with_columns(is_seen=True), on=KEYS, how="left", suffix="_seen")
    changes = joined.filter(
        pl.any_horizontal(pl.col(metric) != _seen(metric) for metric in KNOWN_METRICS)  # null is no difference
    ).select("seq", *KEYS, *(_difference(metric) for metric in KNOWN_METRICS))
    left_out = [
        joined.filter(pl.any_horizontal(_is_left_out(metric, f"{metric}_seen") for metric in KNOWN_METRICS)).select(
            *KEYS, *(_left_out(metric, f"{metric}_seen") for metric in KNOWN_METRICS)
        )
    ]
    if joined["is_seen"].count() < seen.height:  # some buckets are left out whole
        left_out.append(seen.join(incoming, on=KEYS, how="anti").select(*KEYS, *KNOWN_METRICS))
    omitted = (
        pl.concat(left_out)
        .unpivot(on=list(KNOWN_METRICS), index=list(KEYS), variable_name="metric", value_name="value")
        .filter(pl.col("value") > 0)
    )
    return changes, omitted.select(*LONG_KEYS, pl.col("value").cast(pl.Int128))


def _no_omissions() -> pl.DataFrame:
    return LONG.to_frame().drop("seq")


def _seen(metric: str) -> pl.Expr:
    return pl.col(f"{metric}_seen").fill_null(0)


def _difference(metric: str) -> pl.Expr:
    difference = pl.col(metric) - _seen(metric)
    return pl.when(difference != 0).then(difference).alias(metric)


def _is_left_out(metric: str, seen: str) -> pl.Expr:
    return pl.col(metric).is_null() & (pl.col(seen) > 0)


def _left_out(metric: str, seen: str) -> pl.Expr:
    return pl.when(pl.col(metric).is_null()).then(pl.col(seen)).alias(metric)


def long_changes(incoming: pl.DataFrame, seen: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows that change something, values above zero that are left out less seq), all LONG; `seen` has no seq."""
    joined = incoming.join(seen, on=LONG_KEYS, how="left", suffix="_seen")
    difference = pl.col("value") - pl.col("value_seen").fill_null(0)
    changes = joined.select("seq", *LONG_KEYS, difference.alias("value")).filter(pl.col("value") != 0)
    omitted = seen.join(incoming, on=LONG_KEYS, how="anti").filter(pl.col("value") > 0)
    return changes, omitted.select(*LONG_KEYS, "value")


def grown(omitted: pl.DataFrame, long: pl.DataFrame) -> pl.DataFrame:
    """Wide values that were not left out but grew beyond 63 bits: LONG, with the page that shows them."""
    return omitted.join(long.select("seq", *LONG_KEYS), on=LONG_KEYS, how="inner").select(LONG.names())


def shrunk(others_omitted: pl.DataFrame, wide: pl.DataFrame) -> pl.DataFrame:
    """Long values that were not left out but fit 63 bits again: LONG, with the page that shows them."""
    known = others_omitted.filter(pl.col("metric").is_in(KNOWN_METRICS))
    if known.is_empty():
        return LONG.to_frame()
    reported = (
        wide.join(known.select(KEYS).unique(), on=KEYS, how="semi")
        .unpivot(on=list(KNOWN_METRICS), index=["seq", *KEYS], variable_name="metric", value_name="now")
        .filter(pl.col("now").is_not_null())
    )
    return known.join(reported, on=LONG_KEYS, how="inner").select(LONG.names())


def taken_off(values: pl.DataFrame) -> pl.DataFrame:
    """LONG rows that subtract the values."""
    return values.with_columns(value=pl.lit(0, dtype=pl.Int128) - pl.col("value"))  # Int128 knows no unary minus


def for_duckdb(values: pl.DataFrame) -> pl.DataFrame:
    """LONG rows as DuckDB takes them: a decimal without scale in place of Int128."""
    return values.with_columns(pl.col("value").cast(pl.Decimal(38, 0)))


def cancelled(values: pl.DataFrame) -> pl.DataFrame:
    """WIDE rows that subtract values of known metrics, a row for each value."""
    less = pl.col("value").cast(pl.Int64)
    return taken_off(values).select(
        "seq", *KEYS, *(pl.when(pl.col("metric") == metric).then(less).alias(metric) for metric in KNOWN_METRICS)
    )
