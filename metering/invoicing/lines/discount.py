"""Discounts of a customer's month: percent or fixed, one after the other, each a line of its own.

Pure: printed lines in, printed lines out. Must not know how the discounted lines came about.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from metering.core.invoice import Line
from metering.core.money import Rounding, amount_text, minor_units, parse_amount, round_amount
from metering.core.parties import Discount
from metering.core.period import Period, rfc3339


def discount_lines(
    month: Period,
    own: Sequence[Line],
    currency: str,
    discounts: Iterable[Discount],
    mode: Rounding,
) -> Iterator[Line]:
    """Lines below zero: each discount takes its part of what the earlier ones left, and never more.

    `own` are the other lines of one customer's month, in one currency: minimums included, corrections of other months
    not. `discounts` are that customer's (`of_customer`).
    """
    left = sum(parse_amount(line.amount, currency) for line in own)
    for position, discount in enumerate(discounts, start=1):
        amount = min(left, _amount(discount, left, currency, mode))
        if amount <= 0:
            continue
        basis = {"of": amount_text(left, currency), **_said(discount)}
        left -= amount
        yield Line(
            key=f"{discount.customer}/discount/-/{rfc3339(month.start)}/{position}",
            kind="discount",
            project_id=None,
            plan=None,
            meter=None,
            description=_description(discount),
            start=rfc3339(month.start),
            end=rfc3339(month.end),
            quantity="1",
            unit="month",
            unit_price=None,
            amount=amount_text(-amount, currency),
            basis=basis,
        )


def of_customer(discounts: Iterable[Discount], customer: str, month: Period) -> list[Discount]:
    """A customer's discounts of a month, in their order."""
    return [discount for discount in discounts if discount.customer == customer and is_in_force(discount, month)]


def place(line: Line) -> int:
    """Which of the customer's discounts a line is of, from 1."""
    return int(line.key.rsplit("/", 1)[-1])


def is_in_force(discount: Discount, month: Period) -> bool:
    """Whether it counts in a month; its bounds are beginnings of months."""
    has_begun = discount.valid_from is None or discount.valid_from <= month.start
    return has_begun and (discount.valid_to is None or month.start < discount.valid_to)


def _amount(discount: Discount, left: int, currency: str, mode: Rounding) -> int:
    if discount.percent is None:
        assert discount.amount is not None, "a discount has a percentage or an amount"
        return round_amount(Fraction(discount.amount), currency, mode)
    exact = Fraction(left, 10 ** minor_units(currency)) * Fraction(discount.percent) / 100
    return round_amount(exact, currency, mode)


def _said(discount: Discount) -> dict[str, str]:
    """What is taken off: a percentage, or an amount at most."""
    if discount.percent is not None:
        return {"percent": f"{discount.percent:f}"}
    return {"amount": f"{discount.amount:f}"}


def _description(discount: Discount) -> str:
    name = discount.name or "Discount"
    return f"{name}: {discount.percent:f} %" if discount.percent is not None else name
