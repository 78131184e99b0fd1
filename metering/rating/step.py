"""The details of a line's step: the number of packages, and both ends where a line is a difference.

Pure. Must not know invoices or the source of quantities.
"""

from fractions import Fraction

from metering.core.invoice import End
from metering.core.money import Rounding, amount_text, quantity_text, round_amount
from metering.core.plans import Price
from metering.rating.exact import Part, packages
from metering.rating.models import tiers_of


def packaged(price: Price, part: Part) -> dict[str, str]:
    """`package_size` and `packages`, the number of charged packages; empty where the price is not by packages."""
    size = price.package_size
    if size is None or part.kind == "flat_fee":
        return {}
    begun = packages(size, part.before + part.quantity) - packages(size, part.before)
    return {"package_size": f"{size:f}", "packages": str(begun)}


def ends(price: Price, part: Part, amount: int, currency: str, mode: Rounding) -> dict[str, End]:
    """`before` and `after` of a line, where earlier usage decides the price of a unit; else empty.

    `before` is the tier's quantity and amount without the step, rounded like a line; `after` less `before` is the line.
    """
    tier = tiers_of(price)[part.tier - 1]
    if not tier.depends_on_earlier:
        return {}
    assert part.unit_price is not None, "only a price that follows Neon's cost has none"
    size = tier.package_size if part.kind == "usage" else None
    counted = Fraction(packages(size, part.before)) if size else part.before
    minor = round_amount(counted * Fraction(part.unit_price), currency, mode)
    sides = (("before", part.before, minor), ("after", part.before + part.quantity, minor + amount))
    return {
        name: End(
            quantity=quantity_text(total),
            amount=amount_text(charged, currency),
            packages=str(packages(size, total)) if size else None,
        )
        for name, total, charged in sides
    }
