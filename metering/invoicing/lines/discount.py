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
    """Lines below zero, one per discount: each is applied to what earlier discounts left, and takes no more than that.

    `own` are the other lines of one customer's month in one currency, with minimums and without corrections of other
    months. `discounts` are the discounts of that customer (`of_customer`).
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
    """The position, from 1, of a line's discount among the customer's discounts."""
    return int(line.key.rsplit("/", 1)[-1])


def is_in_force(discount: Discount, month: Period) -> bool:
    """Whether a discount applies to a month; it begins and ends at the start of a month."""
    has_begun = discount.valid_from is None or discount.valid_from <= month.start
    return has_begun and (discount.valid_to is None or month.start < discount.valid_to)


def _amount(discount: Discount, left: int, currency: str, mode: Rounding) -> int:
    if discount.percent is None:
        assert discount.amount is not None, "a discount has a percentage or an amount"
        return round_amount(Fraction(discount.amount), currency, mode)
    exact = Fraction(left, 10 ** minor_units(currency)) * Fraction(discount.percent) / 100
    return round_amount(exact, currency, mode)


def _said(discount: Discount) -> dict[str, str]:
    """The size of a discount: a percentage or a fixed amount."""
    if discount.percent is not None:
        return {"percent": f"{discount.percent:f}"}
    return {"amount": f"{discount.amount:f}"}


def _description(discount: Discount) -> str:
    name = discount.name or "Discount"
    return f"{name}: {discount.percent:f} %" if discount.percent is not None else name
