"""Minimums and maximums of a month, and flat fees that are due without usage.

Each applies once per group (customer, plan, meter, and project where the price's scope is the project) and month, for
any number of segments and price versions. Minimums and flat fees are prorated by the time for which the group held the
price, a maximum is not. Pure: segments, prices and rounded sums in, frames out. Must not know lines or rate usage.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import TypeVar

import polars as pl

from metering.core.errors import ExactnessError
from metering.core.frames import Moment
from metering.core.grain import GRAINS
from metering.core.meters import Meter
from metering.core.money import INT128_SAFE, Rounding, minor_units, rounded_amounts
from metering.core.period import Period
from metering.core.plans import Plan, Price, Prorate
from metering.rating.columns import CHARGES
from metering.rating.models import tiers_of
from metering.rating.pieces import priced_pieces, versions
from metering.rating.segments import counted

Int128 = pl.Int128()
_Number = TypeVar("_Number", int, Fraction)
GROUP = ["customer", "plan", "meter", "project_id"]
HELD: dict[str, pl.DataType] = {
    "customer": pl.String(),
    "plan": pl.String(),
    "meter": pl.String(),
    "project_id": pl.String(),
    "price_no": pl.Int64(),
    "start": Moment,
    "end": Moment,
    "seconds": pl.Int64(),
    "whole": pl.Int64(),
}
"""One row per group and price version that it held, where the meter's price in its plan is `bounded`.

`project_id` is null where the scope is the customer. The group owes seconds / whole of a monthly amount; lines print
[start, end). All rows of a group have one `whole`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """`rows`: schema HELD. The prices of every version of a bounded meter, by `price_no`."""

    rows: pl.DataFrame
    prices: Mapping[int, Price]


def held(
    month: Period, segments: pl.DataFrame, plans: Sequence[Plan], meters: Sequence[Meter], prorate: Prorate
) -> Held:
    """Which groups held which versions of bounded prices, and for how long."""
    prices, dated = versions(plans, meters)
    numbers = {number for _, group in dated.group_by("plan", "meter") for number in _bounded(group["price_no"], prices)}
    known = {number: price for number, price in prices.items() if number in numbers}
    table = dated.filter(pl.col("price_no").is_in(sorted(known)))
    mine, _ = priced_pieces(segments.filter(pl.col("plan").is_in(table["plan"].implode())), plans, meters)
    by_customer = [number for number, price in known.items() if price.scope == "customer"]
    keys = [*GROUP, "price_no"]
    rows = (
        mine.filter(pl.col("price_no").is_in(sorted(known)))
        .with_columns(project_id=pl.when(~pl.col("price_no").is_in(by_customer)).then("project_id"))
        .pipe(united, keys, month, prorate)
        .with_columns(whole=pl.lit(month.seconds, dtype=pl.Int64))
    )
    if prorate == "none":
        rows = _in_full(rows, table, month)
    return Held(rows=rows.select(pl.col(name).cast(kind) for name, kind in HELD.items()).sort(keys), prices=known)


def _bounded(numbers: Iterable[int], prices: Mapping[int, Price]) -> list[int]:
    """The versions of a meter's price in a plan, if one of them has a minimum, a maximum or a fee due at zero."""
    own = list(numbers)
    bounds = ((prices[n].minimum, prices[n].maximum, prices[n].flat_fee_at_zero or None) for n in own)
    return own if any(bound is not None for three in bounds for bound in three) else []


def united(rows: pl.DataFrame, keys: list[str], month: Period, prorate: Prorate) -> pl.DataFrame:
    """Each key of the rows (start, end) with its first start, last end and counted `seconds` of the month.

    Overlapping rows of one key count once.
    """
    begin, finish = counted(pl.col("start"), pl.col("end"), month, prorate)
    ordered = rows.with_columns(counted_from=begin, counted_to=finish).sort(*keys, "counted_from", "counted_to")
    seen_to = pl.col("counted_to").cum_max().shift(1).over(keys)
    length = pl.col("counted_to") - pl.max_horizontal("counted_from", seen_to)
    return (
        ordered.with_columns(seconds=length.dt.total_seconds().clip(0))
        .group_by(keys)
        .agg(pl.col("start").min(), pl.col("end").max(), pl.col("seconds").sum())
    )


def _in_full(rows: pl.DataFrame, dated: pl.DataFrame, month: Period) -> pl.DataFrame:
    """Without proration: a held version counts for the whole time that it was valid."""
    start, end = pl.lit(month.start, dtype=Moment), pl.lit(month.end, dtype=Moment)
    in_force = pl.min_horizontal(end, "valid_to") - pl.max_horizontal(start, "valid_from")
    length = dated.select("price_no", seconds=in_force.dt.total_seconds())
    return rows.drop("seconds").join(length, on="price_no").with_columns(whole=pl.col("seconds").sum().over(GROUP))


def idle(found: Held, charges: pl.DataFrame) -> pl.DataFrame:
    """CHARGES of the flat fees due without usage, one per group whose usage entered no tier.

    The quantity is the share of the month; piece_no is null.
    """
    fees = [
        (number, *_narrow(tiers_of(price)[0].flat_fee))
        for number, price in found.prices.items()
        if price.flat_fee_at_zero and tiers_of(price)[0].flat_fee
    ]
    table = pl.DataFrame(fees, schema={"price_no": pl.Int64, "fee_num": Int128, "fee_den": Int128}, orient="row")
    seconds, whole = pl.col("seconds").cast(Int128), pl.col("whole").cast(Int128)
    rows = found.rows.join(table, on="price_no").filter(pl.col("seconds") > 0)
    unused = rows.join(charges.select(GROUP).unique(), on=GROUP, how="anti", nulls_equal=True)
    due = unused.with_columns(
        kind=pl.lit("flat_fee"),
        tier=1,
        quantity_num=seconds,
        quantity_den=whole,
        amount_num=seconds * pl.col("fee_num"),
        amount_den=whole * pl.col("fee_den"),
        before_num=0,
        is_step=pl.lit(value=False),
        piece_no=None,
        segment_no=0,
        share_num=seconds,
        share_den=whole,
        grain=pl.lit("hourly"),
    )
    return due.select(pl.col(name).cast(kind) for name, kind in CHARGES.items())


def _narrow(amount: Decimal, common: int = 1) -> tuple[int, int]:
    """An amount as numerator and denominator (a multiple of `common`), small enough for Int128 times seconds."""
    denominator = lcm(Fraction(amount).denominator, common)
    numerator = int(Fraction(amount) * denominator)
    if max(numerator, denominator) * LONGEST * MOST_UNITS * 4 >= INT128_SAFE:
        said = f"{amount:f}"[:40]
        raise ExactnessError(f"{said} a month needs more than 128 bits by the second", hint="shorten its digits")
    return numerator, denominator


LONGEST = timedelta(days=31) // timedelta(seconds=1)
MOST_UNITS = 10**4
"""Most minor units that a currency's unit has (CLF, UYW)."""


def gaps(found: Held, charged: pl.DataFrame, plans: Iterable[Plan], mode: Rounding) -> pl.DataFrame:
    """GROUP, start, end, charged, least, most, gap, grain of each group whose sum is outside its bounds.

    `charged`: GROUP, price_no, start, end, grain, minor (rounded amount) of every line. The sum of the rounded lines is
    bounded by the rounded minimum, then by the rounded maximum; all in minor units. A group that is charged without
    being held has no minimum; its maximum is that of its last version.
    """
    units = pl.DataFrame(
        [(plan.id, 10 ** minor_units(plan.currency)) for plan in plans],
        schema={"plan": pl.String, "units": Int128},
        orient="row",
    )
    both = [found.rows.with_columns(minor=0, grain=pl.lit(GRAINS[0])), charged.with_columns(seconds=0, whole=1)]
    _guard_sum(charged)
    units_due = pl.col("least_num") * pl.col("seconds").cast(Int128)
    sums = (
        pl.concat(frame.select(_SUMMED) for frame in both)
        .join(_limits(found.prices), on="price_no")
        .sort("price_no")
        .group_by(GROUP)
        .agg(
            pl.col("start").min(),
            pl.col("end").max(),
            pl.col("whole").max().cast(Int128),
            pl.col("least_den").first(),
            pl.col("most_num", "most_den").last(),
            pl.col("grain").max().cast(pl.String),
            charged=pl.col("minor").sum(),
            due=pl.when(pl.col("least_num").is_not_null().any()).then(units_due.sum()),
        )
        .join(units, on="plan")
    )
    least = rounded_amounts(pl.col("due") * pl.col("units"), pl.col("least_den") * pl.col("whole"), mode)
    most = rounded_amounts(pl.col("most_num") * pl.col("units"), pl.col("most_den"), mode)
    return (
        sums.with_columns(least=least, most=most)
        .with_columns(gap=pl.min_horizontal(pl.max_horizontal("charged", "least"), "most") - pl.col("charged"))
        .filter(pl.col("gap") != 0)
        .sort(GROUP)
    )


def _guard_sum(charged: pl.DataFrame) -> None:
    found = (charged["minor"].min(), charged["minor"].max())
    biggest = max((abs(value) for value in found if isinstance(value, int)), default=0)
    if biggest * max(1, charged.height) >= INT128_SAFE:
        raise ExactnessError(
            f"amounts of {biggest} minor units over {charged.height} lines could leave 128 bits",
            hint="find the value with `metering usage`",
        )


_SUMMED = [
    *(pl.col(name).cast(kind) for name, kind in HELD.items()),
    pl.col("minor").cast(Int128),
    pl.col("grain").cast(pl.Enum(GRAINS)),
]


def _limits(prices: Mapping[int, Price]) -> pl.DataFrame:
    """least_num / least_den (of one denominator) and most_num / most_den of every price, null without the bound."""
    minimums = [price.minimum for price in prices.values() if price.minimum is not None]
    common = lcm(*(Fraction(minimum).denominator for minimum in minimums))
    rows = []
    for number, price in prices.items():
        least = None if price.minimum is None else _narrow(price.minimum, common)[0]
        rows.append((number, least, common, *_most(price.maximum)))
    names = ("least_num", "least_den", "most_num", "most_den")
    return pl.DataFrame(rows, schema={"price_no": pl.Int64, **dict.fromkeys(names, Int128)}, orient="row")


def _most(maximum: Decimal | None) -> tuple[int | None, int]:
    """A maximum as numerator and denominator; none where it is more than any sum can be."""
    if maximum is None:
        return None, 1
    top, bottom = Fraction(maximum).as_integer_ratio()
    return (top, bottom) if max(top, bottom) * MOST_UNITS * 4 < INT128_SAFE else (None, 1)


def kept(amount: _Number, least: _Number | None, most: _Number | None) -> _Number:
    """The minimum is due without usage; the maximum caps after it."""
    raised = amount if least is None else max(amount, least)
    return raised if most is None else min(raised, most)
