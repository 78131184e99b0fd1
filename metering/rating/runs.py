"""Accumulates usage over runs: the pieces of one project, or of a customer's projects together, by price version.

All versions of a run share one allowance and its tiers. Pure. Must not know tiers or amounts.
"""

from collections.abc import Mapping

import polars as pl

from metering.core.errors import ExactnessError
from metering.core.frames import Int128
from metering.core.grain import GRAINS
from metering.core.money import INT128_SAFE
from metering.core.plans import Price


def steps(
    pieces: pl.DataFrame, used: pl.DataFrame, prices: Mapping[int, Price], segments: pl.DataFrame
) -> pl.DataFrame:
    """The pieces with their share of the month and the cumulative usage `before` and `after` of their run."""
    shared = pieces.join(
        segments.select("project_id", "segment_no", *_SHARES), on=["project_id", "segment_no"], how="left"
    )
    full = shared.join(used.select("piece_no", "used", "grain"), on="piece_no", how="left").with_columns(
        pl.col("used").cast(Int128).fill_null(0)
    )
    by_customer = [number for number, price in prices.items() if price.scope == "customer"]
    is_pooled = pl.col("price_no").is_in(by_customer)
    _guard_sum(full)
    rows = pl.concat([full.filter(~is_pooled).select(_STEP), _pooled(full.filter(is_pooled))])
    run = ["customer", "plan", "meter", "project_id", "segment_no"]
    is_first = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in run)
    so_far = pl.col("used").cum_sum().over("run_no")
    return (
        rows.sort(*run, "start")
        .with_columns(run_no=is_first.cum_sum())
        .with_columns(after=so_far, before=so_far - pl.col("used"))
        .with_columns(is_step=pl.col("before") > 0)
        .pipe(_reduced_shares)
    )


_SHARES = ("share_start", "share_end", "share_num", "share_den")
_STEP = [
    *("piece_no", "project_id", "segment_no", "customer", "plan", "meter", "price_no", "start", "end"),
    *("denominator", "share_num", "share_den", "used", "grain"),
]


def _guard_sum(rows: pl.DataFrame) -> None:
    biggest = max(
        (abs(value) for value in (rows["used"].min(), rows["used"].max()) if isinstance(value, int)), default=0
    )
    if biggest * rows.height >= INT128_SAFE:
        raise ExactnessError(
            f"usage of {biggest} over {rows.height} pieces could leave 128 bits",
            hint="find the value with `metering usage`",
        )


def _pooled(rows: pl.DataFrame) -> pl.DataFrame:
    """Scope `customer`: one row per customer, plan, meter and version; its share is that of the union of its times."""
    keys = ["customer", "plan", "meter"]
    spans = rows.select(*keys, "share_start", "share_end", "share_den").unique().sort("share_start")
    seen_to = pl.col("share_end").cum_max().shift(1).over(keys)
    begin = pl.max_horizontal("share_start", seen_to)
    length = (pl.col("share_end") - begin).dt.total_seconds().clip(0)
    shares = (
        spans.with_columns(length=length)
        .group_by(keys)
        .agg(share_num=pl.col("length").sum(), share_den=pl.col("share_den").first())
    )
    pools = rows.group_by(*keys, "price_no", "version_rank", "denominator").agg(
        pl.col("piece_no").min(),
        pl.col("start").min(),
        pl.col("end").max(),
        pl.col("used").sum(),
        pl.col("grain").cast(pl.Enum(GRAINS)).max().cast(pl.String),
        project_id=pl.lit(None, dtype=pl.String),
        segment_no=pl.lit(0, dtype=pl.Int64),
    )
    return pools.join(shares, on=keys).select(_STEP)


def _reduced_shares(rows: pl.DataFrame) -> pl.DataFrame:
    """Reduces shares: a whole month to 1/1, whole hours by 3600. This makes fewer cards and smaller numbers."""
    num, den = pl.col("share_num"), pl.col("share_den")
    step = pl.when(num == den).then(den).when((num % 3600 == 0) & (den % 3600 == 0)).then(3600).otherwise(1)
    return rows.with_columns(share_num=num // step, share_den=den // step)
