"""Rates one quantity by one price: its tiers, its minimum and maximum, and fees due without usage.

Pure; exact until each line is rounded once. Must not know plans, projects or months: time is a share of the month.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from metering.core.money import Rounding, round_amount
from metering.core.plans import Price
from metering.rating.bounds import kept
from metering.rating.exact import Part
from metering.rating.models import exact_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """The parts and their rounded amounts in minor units; `gap` brings their sum to the minimum or maximum.

    `exact` is the sum within its bounds before any rounding.
    """

    parts: Sequence[Part]
    minor: Sequence[int]
    gap: int
    exact: Fraction

    @property
    def amount(self) -> int:
        """The amount due, in minor units."""
        return sum(self.minor) + self.gap


def alone(  # noqa: PLR0913 - a price, a step in a share of the month, and how it is rounded
    price: Price,
    *,
    share: Fraction,
    after: Fraction,
    currency: str,
    mode: Rounding,
    before: Fraction | None = None,
) -> Alone:
    """Rates a quantity, or the step to it from `before`, held for a `share` of the month."""
    idle = share if price.flat_fee_at_zero else Fraction(0)
    parts = exact_parts(price, share=share, after=after, before=before, idle=idle)
    minor = [round_amount(part.amount, currency, mode) for part in parts]
    least = None if price.minimum is None else Fraction(price.minimum) * share
    most = None if price.maximum is None else Fraction(price.maximum)
    total = sum((part.amount for part in parts), Fraction(0))
    if before is None:
        bounds = (None if bound is None else round_amount(bound, currency, mode) for bound in (least, most))
        gap = kept(sum(minor), *bounds) - sum(minor)
        return Alone(parts=parts, minor=minor, gap=gap, exact=kept(total, least, most))
    earlier = sum((p.amount for p in exact_parts(price, share=share, after=before, idle=idle)), Fraction(0))
    exact = kept(earlier + total, least, most) - kept(earlier, least, most)
    gap = 0 if exact == total else round_amount(exact, currency, mode) - sum(minor)
    return Alone(parts=parts, minor=minor, gap=gap, exact=exact)
