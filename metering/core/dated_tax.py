"""When a customer's tax changes, and the key under which lines of one tax are summed. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction

from metering.core import invoice
from metering.core.parties import Customer, DatedTax
from metering.core.period import parse_time

Json = dict[str, object]


Line = Mapping[str, object]


COLUMNS = ("tax_rate_percent", "tax_name", "tax_category", "tax_note")
"""What a line says of its tax; the last two are there only where customers.csv says something."""


INSTANT = timedelta(microseconds=1)


def columns_of(tax: DatedTax | None) -> Json:
    """The columns of a line that a tax fills."""
    rate = None if tax is None or tax.tax_rate_percent is None else f"{tax.tax_rate_percent:f}"
    return {
        "tax_rate_percent": rate,
        "tax_name": None if rate is None or tax is None else tax.tax_name or "Tax",
        **({"tax_category": tax.tax_category} if tax and tax.tax_category else {}),
        **({"tax_note": tax.tax_note} if tax and tax.tax_note else {}),
    }


Key = tuple[Fraction | None, str | None, str | None]
"""Rate, name and category: lines that agree in them are taxed together."""


def key(line: Line) -> Key:
    """The key under which a line is summed for tax."""
    rate, name, category = (line.get(column) for column in COLUMNS[:3])
    return (
        None if rate is None else Fraction(str(rate)),
        None if name is None else str(name),
        None if category is None else str(category),
    )


def key_of_line(line: invoice.Line) -> Key:
    """Which lines a line of a document is taxed together with."""
    return None if line.rate is None else Fraction(line.rate), line.tax_name or None, line.tax_category


def key_of(tax: DatedTax) -> Key:
    """The key under which lines of this tax are summed."""
    return key(columns_of(tax))


def changes(customer: Customer | None, start: datetime, end: datetime) -> list[datetime]:
    """The moments inside [start, end) at which the customer's tax rate, name or category changes."""
    if customer is None:
        return []
    bounds = {bound for tax in customer.dated for bound in (tax.tax_from, tax.tax_to) if bound is not None}
    inside = sorted(bound for bound in bounds if start < bound < end)
    return [bound for bound in inside if _key_at(customer, bound) != _key_at(customer, bound - INSTANT)]


def _key_at(customer: Customer, moment: datetime) -> Key | None:
    found = customer.tax_at(moment)
    return None if found is None else key_of(found)


def last_instant(line: Line) -> datetime:
    """The last instant of a line's period, which is half-open."""
    return last_instant_of(str(line["from"]), str(line["to"]))


def last_instant_of(start: str, end: str) -> datetime:
    """The last instant of a half-open period."""
    return max(parse_time(start), parse_time(end) - INSTANT)
