"""Rates one quantity by tiers, in fractions of any size.

A price is a cumulative vector L(q) over its tiers: the quantity in each tier, its amount, and the flat fee once the
quantity enters the tier; L(0) is zero. A charge is the difference of two such vectors: each version of a price rates
L(after) - L(before) of its part of the run, with its own allowance and tiers.

Pure. Must not know prices, currencies or rounding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal

PartKind = Literal["usage", "flat_fee"]
ZERO, ONE = Fraction(0), Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedTier:
    """A band of the quantity after the allowance: above `low`, up to and including `up_to` (None: endless).

    `unit_price` is due for every unit in the band; with a `package_size`, for every package begun there. A tier with a
    `markup_percent` has no unit price: it charges Neon's cost of the usage, and the markup. `takes_all`: the whole
    quantity is in the tier in which it ends.
    """

    low: Decimal = Decimal(0)
    up_to: Decimal | None = None
    unit_price: Decimal | None = None
    flat_fee: Decimal = Decimal(0)
    package_size: Decimal | None = None
    markup_percent: Decimal | None = None
    takes_all: bool = False

    @property
    def rate(self) -> Fraction:
        """The price of a unit or package, or the factor on Neon's cost."""
        if self.markup_percent is not None:
            return 1 + Fraction(self.markup_percent) / 100
        assert self.unit_price is not None, "faults() refuses a price without its unit price"
        return Fraction(self.unit_price)

    @property
    def depends_on_earlier(self) -> bool:
        """Whether the price of a unit depends on earlier usage."""
        return self.takes_all or self.package_size is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The charge of one tier: `quantity` in the meter's unit, `amount` in the currency's main unit, both exact.

    For the kind `flat_fee`, `quantity` is the number of fees. `before` is the earlier quantity in the tier.
    """

    kind: PartKind = "usage"
    tier: int
    quantity: Fraction
    amount: Fraction
    unit_price: Decimal | None
    before: Fraction = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The content of a tier: the quantity, its amount without the flat fee, and the number of flat fees."""

    quantity: Fraction = ZERO
    amount: Fraction = ZERO
    fees: Fraction = ZERO


NOTHING = Standing()


def difference(tiers: Sequence[PricedTier], then: Sequence[Standing], now: Sequence[Standing]) -> list[Part]:
    """The charges between two cumulative vectors."""
    steps = enumerate(zip(tiers, then, now, strict=True), start=1)
    return [part for number, (tier, low, high) in steps if low is not high for part in _parts(number, tier, low, high)]


def _parts(number: int, tier: PricedTier, then: Standing, now: Standing) -> Iterator[Part]:
    """The difference of a tier's standings, as charges."""
    quantity, amount, fees = now.quantity, now.amount, now.fees
    if then is not NOTHING:
        quantity, amount, fees = quantity - then.quantity, amount - then.amount, fees - then.fees
    if quantity or amount:
        yield Part(tier=number, quantity=quantity, amount=amount, unit_price=tier.unit_price, before=then.quantity)
    if fees and tier.flat_fee:
        charged, fee = fees * Fraction(tier.flat_fee), tier.flat_fee
        yield Part(kind="flat_fee", tier=number, quantity=fees, amount=charged, unit_price=fee, before=then.fees)


def cumulative(tiers: Sequence[PricedTier], quantity: Fraction, cost: Fraction, idle: Fraction) -> list[Standing]:
    """L(q): the content of every tier, for a quantity without its allowance."""
    first, *others = (_standing(tier, quantity, cost) for tier in tiers)
    return [first if quantity else replace(first, fees=idle), *others]


def _standing(tier: PricedTier, quantity: Fraction, cost: Fraction) -> Standing:
    if tier.markup_percent is not None:
        return Standing(quantity=quantity, amount=cost * tier.rate)
    low, high = Fraction(tier.low), quantity if tier.up_to is None else Fraction(tier.up_to)
    if quantity <= low or (tier.takes_all and high < quantity):
        return NOTHING
    inside = quantity if tier.takes_all else min(quantity, high) - low
    counted = inside if tier.package_size is None else packages(tier.package_size, inside)
    return Standing(quantity=inside, amount=counted * tier.rate, fees=ONE)


def packages(size: Decimal, quantity: Fraction) -> int:
    """The number of packages that a quantity has begun."""
    return -(-quantity // Fraction(size))
