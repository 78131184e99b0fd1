"""Computes exact charges from pieces, usage and prices: one row per piece and tier with a quantity.

Rates every step of a run: in columns where all its numbers fit 128 bits, else one by one. Pure. Must not know Neon,
price models or rounding.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from fractions import Fraction
from math import lcm

import polars as pl

from metering.core.errors import ExactnessError
from metering.core.money import INT128_SAFE
from metering.core.plans import Price
from metering.rating import columns, runs
from metering.rating.columns import CARDS, CHARGES
from metering.rating.exact import PricedTier
from metering.rating.models import exact_parts, follows_cost, tiers_of


def charges(
    pieces: pl.DataFrame,
    used: pl.DataFrame,
    prices: Mapping[int, Price],
    segments: pl.DataFrame,
    costs: Mapping[int, Fraction] | None = None,
) -> pl.DataFrame:
    """CHARGES of all pieces, sorted by piece and tier; a piece that is not in `used` has no usage.

    `pieces` as PIECES, `segments` as SEGMENTS; `used`: piece_no, used (Int128, in 1/denominator of the meter's unit),
    grain. `costs`: piece_no -> Neon's cost of that usage, for prices that follow it. Raises ExactnessError where a
    result does not fit Int128; nothing wraps.
    """
    rows = runs.steps(pieces, used, prices, segments)
    combinations = rows.select("price_no", "share_den", "denominator").unique()
    cards = _cards(combinations.iter_rows(), prices)
    keys = ["price_no", "share_den"]
    joined = rows.join(cards.select(*keys, "after_max").unique(), on=keys, how="left")
    is_narrow = (pl.col("after").abs() <= pl.col("after_max")).fill_null(value=False)
    narrow, wide = (joined.filter(side).drop("after_max") for side in (is_narrow, ~is_narrow))
    frames = [columns.rated(narrow, cards), _one_by_one(wide, prices, costs or {})]
    return pl.concat(frames).sort("piece_no", "tier", "kind", descending=[False, False, True])


def _cards(combinations: Iterable[tuple[int, int, int]], prices: Mapping[int, Price]) -> pl.DataFrame:
    """CARDS of every (price_no, share_den, usage denominator) that fits 128 bits; the others are rated by exact.py."""
    rows = [
        row
        for number, *denominators in combinations
        if not follows_cost(prices[number])
        for row in _card(number, prices[number], *denominators)
    ]
    return pl.DataFrame(rows, schema=CARDS, orient="row")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tier:
    """A tier in integers. `size` is zero where the price is not by packages."""

    takes_all: bool
    low: int
    high: int | None
    size: int
    unit: int
    flat: int

    def dearest(self, scale: int) -> int:
        """An upper bound of the price of 1/scale of a unit; only the last package, begun but not full, costs more."""
        return self.unit * (-(-scale // self.size) if self.size else 1)


def _card(number: int, price: Price, share_den: int, denominator: int) -> list[tuple[object, ...]]:
    tiers, included = tiers_of(price), Fraction(price.included)
    bounds = (Fraction(bound) for tier in tiers for bound in (tier.up_to, tier.package_size) if bound is not None)
    amounts = (exact for tier in tiers for exact in (tier.rate, Fraction(tier.flat_fee)))
    scale = lcm(denominator, included.denominator * share_den, *(bound.denominator for bound in bounds))
    money = lcm(*(amount.denominator for amount in amounts))
    lift, step = scale // denominator, int(included * scale / share_den)
    whole = [_whole(tier, scale, money) for tier in tiers]
    dearest = max(tier.dearest(scale) for tier in whole)
    # The last package is begun but not full, hence one more.
    most = (scale * money, step * share_den, *(max(t.flat, t.high or 0, (dearest + 1) * t.size) for t in whole))
    after_max = (INT128_SAFE - sum(most)) // (4 * lift * max(1, dearest))
    if after_max <= 0:
        return []
    head = (number, share_den, after_max, scale, lift, step, scale * money)
    return [(*head, at, *astuple(tier)) for at, tier in enumerate(whole, start=1)]


def _whole(tier: PricedTier, scale: int, money: int) -> _Tier:
    return _Tier(
        takes_all=tier.takes_all,
        low=int(Fraction(tier.low) * scale),
        high=None if tier.up_to is None else int(Fraction(tier.up_to) * scale),
        size=int(Fraction(tier.package_size or 0) * scale),
        unit=int(tier.rate * money),
        flat=int(Fraction(tier.flat_fee) * money * scale),
    )


def _one_by_one(rows: pl.DataFrame, prices: Mapping[int, Price], costs: Mapping[int, Fraction]) -> pl.DataFrame:
    """Rates the rows in Python integers of any size."""
    out = [
        line
        for row in rows.iter_rows(named=True)
        for line in _exact_lines(row, prices[row["price_no"]], costs.get(row["piece_no"], Fraction(0)))
    ]
    return pl.DataFrame(out, schema=CHARGES, orient="row")


def _exact_lines(row: dict[str, object], price: Price, cost: Fraction) -> Iterator[tuple[object, ...]]:
    def whole(name: str) -> int:
        value = row[name]
        assert isinstance(value, int)
        return value

    parts = exact_parts(
        price,
        share=Fraction(whole("share_num"), whole("share_den")),
        after=Fraction(whole("after"), whole("denominator")),
        before=Fraction(whole("before"), whole("denominator")),
        costs=(Fraction(0), cost),
    )
    for part in parts:
        den = lcm(part.quantity.denominator, part.before.denominator)
        quantities = (int(part.quantity * den), den)
        numbers = (*quantities, part.amount.numerator, part.amount.denominator, int(part.before * den))
        if max(map(abs, numbers)) >= INT128_SAFE:
            raise ExactnessError(
                f"a charge of {row['project_id'] or row['customer']} for {row['meter']} needs more than 128 bits",
                hint="shorten the price's digits, or look at the usage value",
            )
        head = (row["piece_no"], part.kind, part.tier, *numbers)
        yield (*head, *(row[name] for name in CHARGES if name not in _PART_COLUMNS))


_PART_COLUMNS = frozenset(
    ["piece_no", "kind", "tier", "quantity_num", "quantity_den", "amount_num", "amount_den", "before_num"]
)
