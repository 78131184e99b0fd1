"""The arithmetic of minimums, maximums and flat fees due without usage.

Pure: time, prices and lines in, plain JSON out (decimal strings, or `n/d`). Must not know a store.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from metering.core.invoice import Line
from metering.core.money import Rounding, amount_text, exact_text, minor_units, parse_amount, round_amount
from metering.core.period import Period, rfc3339
from metering.core.plans import Plan, Price
from metering.rating.bounds import kept
from metering.rating.models import tiers_of

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A price version and the part of the month for which it was held: `seconds` of `whole`."""

    price: Price
    seconds: int
    whole: int

    @property
    def share(self) -> Fraction:
        """The part of the month."""
        return Fraction(self.seconds, self.whole)


def bound(plan: Plan, versions: Sequence[Version], lines: Iterable[Line], mode: Rounding) -> Json:
    """The difference from the rounded lines of a group to its minimum, or (below zero) to its maximum."""
    own = [{"key": line.key, "amount": line.amount} for line in lines]
    charged = sum(parse_amount(line["amount"], plan.currency) for line in own)
    minimums = [(version, Fraction(version.price.minimum)) for version in versions if version.price.minimum is not None]
    exact = sum((version.share * minimum for version, minimum in minimums), Fraction(0))
    least = round_amount(exact, plan.currency, mode) if minimums else None
    maximum = versions[-1].price.maximum
    most = None if maximum is None else round_amount(Fraction(maximum), plan.currency, mode)
    return {
        "model": "bounds",
        "lines": own,
        "charged": amount_text(charged, plan.currency),
        "minimums": [
            {
                "price_valid_from": rfc3339(version.price.valid_from),
                "minimum": exact_text(minimum),
                "seconds": str(version.seconds),
                "of_seconds": str(version.whole),
                "exact": exact_text(version.share * minimum),
            }
            for version, minimum in minimums
        ],
        "minimum": None if least is None else amount_text(least, plan.currency),
        "maximum": None if most is None else amount_text(most, plan.currency),
        "quantity": "0",
        "rounding": {"mode": mode, "digits": minor_units(plan.currency)},
        "amount": amount_text(kept(charged, least, most) - charged, plan.currency),
    }


def idle_fee(plan: Plan, version: Version, mode: Rounding) -> Json:
    """The first tier's flat fee for the time held, due because no tier was entered."""
    fee = Fraction(tiers_of(version.price)[0].flat_fee)
    exact = fee * version.share
    return {
        "model": "flat_fee_at_zero",
        "flat_fee": exact_text(fee),
        "seconds": str(version.seconds),
        "of_seconds": str(version.whole),
        "quantity": exact_text(version.share),
        "exact": exact_text(exact),
        "rounding": {"mode": mode, "digits": minor_units(plan.currency)},
        "amount": amount_text(round_amount(exact, plan.currency, mode), plan.currency),
    }


def plan_minimum(plan: Plan, seconds: int, month: Period, lines: Iterable[Line], mode: Rounding) -> Json:
    """The difference from the plan's other lines to the plan's minimum for the time held."""
    own = [{"key": line.key, "amount": line.amount} for line in lines]
    charged = sum(parse_amount(line["amount"], plan.currency) for line in own)
    share = Fraction(seconds, month.seconds)
    least = round_amount(Fraction(plan.minimum) * share, plan.currency, mode)
    return {
        "model": "plan_minimum",
        "minimum": f"{plan.minimum:f}",
        "seconds": str(seconds),
        "of_seconds": str(month.seconds),
        "exact": exact_text(Fraction(plan.minimum) * share),
        "due": amount_text(least, plan.currency),
        "lines": own,
        "charged": amount_text(charged, plan.currency),
        "quantity": exact_text(share),
        "rounding": {"mode": mode, "digits": minor_units(plan.currency)},
        "amount": amount_text(least - charged, plan.currency),
    }
