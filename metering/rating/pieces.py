"""Cuts segments by dated prices into pieces: each has one price version.

Pure. Knows no usage and computes no amount.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from itertools import groupby, pairwise
from math import lcm

import polars as pl

from metering.core.frames import Moment
from metering.core.meters import Meter, denominator
from metering.core.plans import Plan, Price

PIECES: dict[str, pl.DataType] = {
    "piece_no": pl.Int64(),
    "project_id": pl.String(),
    "segment_no": pl.Int64(),
    "customer": pl.String(),
    "plan": pl.String(),
    "meter": pl.String(),
    "price_no": pl.Int64(),
    "version_rank": pl.Int64(),
    "start": Moment,
    "end": Moment,
    "denominator": pl.Int128(),
    "hourly_num": pl.Int128(),
    "hourly_den": pl.Int128(),
}
"""One row per segment, meter priced by its plan, and price version in force for part of it.

Usage comes as whole numbers of 1/`denominator` of the meter's unit. `hourly_num / hourly_den` is the allowance per
hour in the metric's raw unit (null without one): used = sum of max(0, value * hourly_den - hourly_num) * scale *
denominator / (meter's denominator * hourly_den), where the last factor is whole.
"""

_NO_CUTS: Mapping[str, Sequence[datetime]] = {}


def priced_pieces(
    segment_rows: pl.DataFrame,
    plans: Sequence[Plan],
    meters: Sequence[Meter],
    cuts: Mapping[str, Sequence[datetime]] = _NO_CUTS,
) -> tuple[pl.DataFrame, dict[int, Price]]:
    """PIECES of the segments, and the price of each `price_no`. The time before the first version has no piece.

    `cuts`: customer -> moments at which its pieces end and continue as another version of the same price.
    """
    prices, dated = versions(plans, meters)
    frame = (
        segment_rows.select("project_id", "segment_no", "customer", "plan", "start", "end")
        .join(dated, on="plan")
        .with_columns(start=pl.max_horizontal("start", "valid_from"), end=pl.min_horizontal("end", "valid_to"))
        .filter(pl.col("start") < pl.col("end"))
        .pipe(_cut, cuts)
        .sort("project_id", "segment_no", "meter", "version_rank")
        .with_columns(piece_no=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
        .select(pl.col(name).cast(kind) for name, kind in PIECES.items())
    )
    return frame, prices


def _cut(rows: pl.DataFrame, cuts: Mapping[str, Sequence[datetime]]) -> pl.DataFrame:
    """Cuts the rows of these customers at their moments, and ranks the versions again by time."""
    if not cuts:
        return rows
    spans = [
        (customer, *span, number)
        for customer, moments in cuts.items()
        for number, span in enumerate(pairwise([None, *moments, None]))
    ]
    schema = {"customer": pl.String(), "cut_from": Moment, "cut_to": Moment, "cut_no": pl.Int64()}
    whole = rows.filter(~pl.col("customer").is_in(list(cuts)))
    parts = (
        rows.join(pl.DataFrame(spans, schema=schema, orient="row"), on="customer")
        .with_columns(start=pl.max_horizontal("start", "cut_from"), end=pl.min_horizontal("end", "cut_to"))
        .filter(pl.col("start") < pl.col("end"))
        .with_columns(order=pl.col("version_rank") * len(spans) + pl.col("cut_no"))
        .with_columns(version_rank=pl.col("order").rank("dense").over("customer", "plan", "meter").cast(pl.Int64))
    )
    return pl.concat([whole, parts.select(whole.columns)])


def versions(plans: Sequence[Plan], meters: Sequence[Meter]) -> tuple[dict[int, Price], pl.DataFrame]:
    """The price of each `price_no`; and plan, meter, price_no, version_rank, valid_from, valid_to of each.

    Numbers ascend with the versions of a meter in a plan.
    """
    denominators = {meter.id: denominator(meter) for meter in meters}
    prices: dict[int, Price] = {}
    rows: list[tuple[object, ...]] = []
    for plan in sorted(plans, key=lambda plan: plan.id):
        ordered = sorted(plan.prices, key=lambda price: (price.meter, price.valid_from))
        for meter, group in groupby(ordered, key=lambda price: price.meter):
            dated = list(group)
            hourly = [None if p.included_per_hour is None else Fraction(p.included_per_hour) for p in dated]
            # One denominator for all versions, because usage accumulates across a price change.
            whole = denominators[meter] * lcm(*(allowance.denominator for allowance in hourly if allowance is not None))
            ends = [*(price.valid_from for price in dated[1:]), None]
            for rank, (price, end, allowance) in enumerate(zip(dated, ends, hourly, strict=True), start=1):
                prices[len(prices) + 1] = price
                parts = (None, None) if allowance is None else (allowance.numerator, allowance.denominator)
                rows.append((plan.id, meter, len(prices), rank, price.valid_from, end, whole, *parts))
    schema = {
        "plan": pl.String(), "meter": pl.String(), "price_no": pl.Int64(), "version_rank": pl.Int64(),
        "valid_from": Moment, "valid_to": Moment, "denominator": pl.Int128(),
        "hourly_num": pl.Int128(), "hourly_den": pl.Int128(),
    }  # fmt: skip
    return prices, pl.DataFrame(rows, schema=schema, orient="row")
