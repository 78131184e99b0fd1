"""Rates many quantities at once in columns of 128-bit integers, by the same tiers as exact.py.

A price is a card of integers: quantities in 1/scale of the meter's unit, amounts in 1/(scale x money). A property test
compares the columns with the fractions of exact.py. Pure. Must not know prices, names or rounding.
"""

import polars as pl

from metering.core.frames import Int128

CARDS: dict[str, pl.DataType] = {
    "price_no": pl.Int64(),
    "share_den": pl.Int64(),
    "after_max": Int128,
    "scale": Int128,
    "lift": Int128,
    "allowance_step": Int128,
    "amount_den": Int128,
    "tier": pl.Int64(),
    "takes_all": pl.Boolean(),
    "low": Int128,
    "high": Int128,
    "package_size": Int128,
    "unit": Int128,
    "flat": Int128,
}
"""One row per price, share denominator and tier. `lift` x usage and `allowance_step` x share_num are in 1/scale.

`after_max`: the usage up to which no result leaves 128 bits.
"""


CHARGES: dict[str, pl.DataType] = {
    "piece_no": pl.Int64(),
    "kind": pl.String(),
    "tier": pl.Int64(),
    "quantity_num": Int128,
    "quantity_den": Int128,
    "amount_num": Int128,
    "amount_den": Int128,
    "before_num": Int128,
    "is_step": pl.Boolean(),
    "project_id": pl.String(),
    "segment_no": pl.Int64(),
    "customer": pl.String(),
    "plan": pl.String(),
    "meter": pl.String(),
    "price_no": pl.Int64(),
    "start": pl.Datetime("us", "UTC"),
    "end": pl.Datetime("us", "UTC"),
    "share_num": pl.Int64(),
    "share_den": pl.Int64(),
    "grain": pl.String(),
}
"""One row per piece and tier touched: kind `usage`, tiers from 1, quantity and amount as exact fractions.

A tier whose flat fee is charged has one more row of kind `flat_fee` with the fees as its quantity: 1, or -1 where a
volume price leaves the tier again. What always holds: amount = quantity x the tier's unit price (usage of per_unit,
graduated and volume), packages begun x the package's price (package), quantity x the tier's flat fee (flat_fee).
`before_num` / quantity_den stood in the tier before; `is_step`: usage came before it in its run. `project_id` is null
where the scope is the customer.
"""


def rated(steps: pl.DataFrame, cards: pl.DataFrame) -> pl.DataFrame:
    """CHARGES of every step by the tiers of its card. `before` and `after` are the run's usage in 1/denominator."""
    tiers = steps.join(cards.drop("after_max"), on=["price_no", "share_den"])
    tiers = tiers.with_columns(billable_after=_billable("after"), billable_before=_billable("before"))
    after, before = pl.col("billable_after"), pl.col("billable_before")
    usage = tiers.with_columns(
        kind=pl.lit("usage"),
        before_num=_units(before),
        quantity_num=_units(after) - _units(before),
        quantity_den=pl.col("scale"),
        amount_num=(_counted(after) - _counted(before)) * pl.col("unit"),
    )
    entered = _entered(after) - _entered(before)
    fees = tiers.filter(pl.col("flat") != 0).with_columns(
        kind=pl.lit("flat_fee"),
        before_num=_entered(before),
        quantity_num=entered,
        quantity_den=1,
        amount_num=entered * pl.col("flat"),
    )
    is_charged = (pl.col("quantity_num") != 0) | (pl.col("amount_num") != 0)
    columns = [pl.col(name).cast(kind) for name, kind in CHARGES.items()]
    return pl.concat([frame.filter(is_charged).select(columns) for frame in (usage, fees)])


_ZERO = pl.lit(0, dtype=Int128)


def _billable(name: str) -> pl.Expr:
    """Cumulative usage less the prorated allowance, in 1/scale. At or below zero it is in no tier."""
    return pl.col(name) * pl.col("lift") - pl.col("allowance_step") * pl.col("share_num").cast(Int128)


def _entered(quantity: pl.Expr) -> pl.Expr:
    """1 where the cumulative quantity has entered the row's tier (with `takes_all`: ends in it), else 0."""
    is_beyond = pl.col("takes_all") & (quantity > pl.col("high").fill_null(quantity))
    return ((quantity > pl.col("low")) & ~is_beyond).cast(Int128)


def _units(quantity: pl.Expr) -> pl.Expr:
    """The part of the cumulative quantity that is in the row's tier."""
    part = pl.max_horizontal(pl.min_horizontal(quantity, "high") - pl.col("low"), _ZERO)
    return pl.when("takes_all").then(quantity * _entered(quantity)).otherwise(part)


def _counted(quantity: pl.Expr) -> pl.Expr:
    """The number that the row's unit price is multiplied by: units in its tier, or begun packages (in 1/scale)."""
    size, units = pl.col("package_size"), _units(quantity)
    begun = (units + size - 1) // size  # null, and not used, where the price is not by packages
    return pl.when(size > 0).then(begun * pl.col("scale")).otherwise(units)
