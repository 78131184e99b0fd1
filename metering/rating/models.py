"""Price models, one entry each: the keys that a model needs, the tiers that its prices have, and its words.

Everything else about a price follows from its tiers: exact.py rates one quantity by them, columns.py many at once.
Fees without usage, minimums and maximums are in bounds.py.
Pure. Must not know usage, projects or invoices.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import pairwise

from metering.core.plans import ModelName, Price
from metering.rating.exact import NOTHING, ZERO, Part, PricedTier, cumulative, difference

Tiers = tuple[PricedTier, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceModel:
    """`needs`: the keys of a price that its model requires; it refuses those that only other models need.

    `offer` is how a tier's price is worded on the page of plans, a format of `tier`; `description` is what an invoice
    line adds to its text, a format of `price`. `follows_cost`: Neon's cost has to be known.
    """

    needs: tuple[str, ...]
    tiers: Callable[[Price], Tiers]
    offer: str = "{tier.unit_price:,f} each"
    description: str = ""
    follows_cost: bool = False


def _tiered(price: Price, *, takes_all: bool) -> Tiers:
    return tuple(
        PricedTier(
            low=(before and before.up_to) or Decimal(0),
            up_to=tier.up_to,
            unit_price=tier.unit_price,
            flat_fee=tier.flat_fee,
            takes_all=takes_all,
        )
        for before, tier in pairwise((None, *price.tiers))
        if tier is not None
    )


MODELS: Mapping[ModelName, PriceModel] = {
    "per_unit": PriceModel(
        needs=("unit_price",),
        tiers=lambda price: (PricedTier(unit_price=price.unit_price),),
    ),
    "graduated": PriceModel(
        needs=("tiers",),
        tiers=partial(_tiered, takes_all=False),
    ),
    "volume": PriceModel(
        needs=("tiers",),
        tiers=partial(_tiered, takes_all=True),
    ),
    "package": PriceModel(
        needs=("package_size", "package_price"),
        tiers=lambda price: (PricedTier(unit_price=price.package_price, package_size=price.package_size),),
        offer="{tier.unit_price:,f} per {tier.package_size:,f} begun",
    ),
    "cost_plus": PriceModel(
        needs=("markup_percent",),
        tiers=lambda price: (PricedTier(markup_percent=price.markup_percent),),
        offer="Neon’s cost + {tier.markup_percent:,f} %",
        description=" at cost plus {price.markup_percent:f} %",
        follows_cost=True,
    ),
}


def tiers_of(price: Price) -> Tiers:
    """The price as tiers, in ascending order."""
    return MODELS[price.model].tiers(price)


def follows_cost(price: Price) -> bool:
    """Whether the price is a markup on Neon's cost."""
    return MODELS[price.model].follows_cost


def offer(price: Price) -> str:
    """The price in words: `5 and 2 each up to 10, then 1 each`."""
    text = MODELS[price.model].offer
    return ", then ".join(
        (f"{tier.flat_fee:,f} and " if tier.flat_fee else "")
        + text.format(tier=tier)
        + ("" if tier.up_to is None else f" up to {tier.up_to:,f}")
        for tier in tiers_of(price)
    )


def description(price: Price) -> str:
    """The addition to the text of an invoice line; empty for most models."""
    return MODELS[price.model].description.format(price=price)


def billable(price: Price, share: Fraction, used: Fraction) -> Fraction:
    """The quantity without the month's allowance, which is prorated by `share`."""
    return max(ZERO, used - Fraction(price.included) * share)


def exact_parts(  # noqa: PLR0913 - a price and a step of usage are six facts
    price: Price,
    *,
    share: Fraction,
    after: Fraction,
    before: Fraction | None = None,
    costs: tuple[Fraction, Fraction] = (ZERO, ZERO),
    idle: Fraction = ZERO,
) -> list[Part]:
    """The charges of a price for the step from `before` to `after` (quantities in the meter's unit).

    None as `before` is the whole price(after). `costs`, for prices that follow them: what Neon charges up to `before`
    and up to `after`. `idle`: the part of the first tier's flat fee that is due while no tier is entered. Parts in
    order of their tiers, each tier's flat fee behind its usage; those without quantity and amount are left out.
    """
    tiers = tiers_of(price)
    now = cumulative(tiers, billable(price, share, after), costs[1], idle)
    then = [NOTHING] * len(tiers)
    if before is not None:
        then = cumulative(tiers, billable(price, share, before), costs[0], idle)
    return difference(tiers, then, now)
