"""What a line says about the step that it prices: packages begun, and both ends where a line is a difference.

Pure. Must not know invoices, nor where quantities come from.
"""

from fractions import Fraction

from metering.core.money import Rounding, amount_text, quantity_text, round_amount
from metering.core.plans import Price
from metering.rating.columns import Part, packages

Json = dict[str, object]


def packaged(price: Price, part: Part) -> Json:
    """`package_size` and `packages`, the number of packages whose price the line charges; nothing for other models."""
    if price.model != "package":
        return {}
    begun = packages(price, part.before + part.quantity) - packages(price, part.before)
    return {"package_size": f"{price.package_size:f}", "packages": str(begun)}


def ends(price: Price, part: Part, amount: int, currency: str, mode: Rounding) -> Json:
    """`before` and `after` of a line of a volume or package price that goes on from earlier usage.

    `before` is the tier's quantity and amount without the step, rounded as a line is; `after` less `before` is the
    line. Other models charge each unit at its own price: they need no ends.
    """
    if price.model not in {"volume", "package"}:
        return {}
    assert part.unit_price is not None, "volume and package prices have one"
    counted = Fraction(packages(price, part.before)) if price.model == "package" else part.before
    minor = round_amount(counted * Fraction(part.unit_price), currency, mode)
    sides = (("before", part.before, minor), ("after", part.before + part.quantity, minor + amount))
    return {
        name: {
            "quantity": quantity_text(total),
            "amount": amount_text(charged, currency),
            **({"packages": str(packages(price, total))} if price.model == "package" else {}),
        }
        for name, total, charged in sides
    }
