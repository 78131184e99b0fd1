"""When a customer's tax changes, the tax of a line, and the key under which lines of one tax are summed. Pure."""

from datetime import datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

from msgspec import UnsetType
from msgspec.structs import replace

from metering.core.invoice import Line
from metering.core.parties import Customer, DatedTax
from metering.core.period import parse_time

INSTANT = timedelta(microseconds=1)

Key = tuple[Fraction | None, str | None, str | None]
"""Rate, name and category: lines that agree in them are taxed together."""


class LineTax(NamedTuple):
    """What a line says of its tax. Lines of the first documents say nothing: the first two are UNSET there."""

    tax_rate_percent: str | UnsetType | None
    tax_name: str | UnsetType | None
    tax_category: str | None = None
    tax_note: str | None = None

    @property
    def key(self) -> Key:
        """The key under which lines of this tax are summed."""
        rate = self.tax_rate_percent or None
        return None if rate is None else Fraction(rate), self.tax_name or None, self.tax_category


def line_tax(tax: DatedTax | None) -> LineTax:
    """What a line says of a tax, or of none."""
    if tax is None:
        return LineTax(None, None)
    rate = None if tax.tax_rate_percent is None else f"{tax.tax_rate_percent:f}"
    name = None if rate is None else tax.tax_name or "Tax"
    return LineTax(rate, name, tax.tax_category or None, tax.tax_note or None)


def tax_of(line: Line) -> LineTax:
    """What a line says of its tax."""
    return LineTax(line.tax_rate_percent, line.tax_name, line.tax_category, line.tax_note)


def with_tax(line: Line, tax: LineTax) -> Line:
    """The line with this tax."""
    return replace(line, **tax._asdict())


def key(line: Line) -> Key:
    """The key under which a line is summed for tax."""
    return tax_of(line).key


def changes(customer: Customer | None, start: datetime, end: datetime) -> list[datetime]:
    """The moments inside [start, end) at which the customer's tax rate, name or category changes."""
    if customer is None:
        return []
    bounds = {bound for tax in customer.dated for bound in (tax.tax_from, tax.tax_to) if bound is not None}
    inside = sorted(bound for bound in bounds if start < bound < end)
    return [bound for bound in inside if _key_at(customer, bound) != _key_at(customer, bound - INSTANT)]


def _key_at(customer: Customer, moment: datetime) -> Key | None:
    found = customer.tax_at(moment)
    return None if found is None else line_tax(found).key


def last_instant(line: Line) -> datetime:
    """The last instant of a line's period, which is half-open."""
    return max(parse_time(line.start), parse_time(line.end) - INSTANT)
