"""Prints numbers and times for people: sums and shares of decimal strings, dates, spans.

Knows the texts of the public interface (decimal strings, RFC 3339). Sums are exact or raise; only printed text may be
shortened. Money is rounded earlier, in core/money.py. Must not know usage, prices or files.
"""

from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation, Overflow
from fractions import Fraction

from metering.core.money import amount_text, exact_text, minor_units
from metering.core.period import Period, month_of, parse_time
from metering.core.rows import Row
from metering.core.text import words

_PRINT = Context(prec=1200, rounding=ROUND_HALF_UP, traps=[InvalidOperation, Overflow])
# strftime would use the machine's locale.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def money_text(value: Fraction, currency: str) -> str:
    """An exact amount with the currency's digits, or more where it has more (Neon's cost may)."""
    minor = value * 10 ** minor_units(currency)
    return amount_text(minor.numerator, currency) if minor.denominator == 1 else exact_text(value)


def printed(text: str, places: int | None = None) -> str:
    """`1,234.57`: thousands grouped, a true minus sign; shortened half away from zero to `places` where given."""
    value = Decimal(text)
    if places is not None:
        value = value.quantize(Decimal(1).scaleb(-places), context=_PRINT)
    shown = f"{value.copy_abs():,f}"
    return f"\N{MINUS SIGN}{shown}" if value < 0 else shown


def printed_change(text: str, places: int | None = None) -> str:
    """As `printed`, with a plus sign above zero."""
    return f"+{printed(text, places)}" if Decimal(text) > 0 else printed(text, places)


def printed_day(text: str) -> str:
    """`1 September 2026` of a date or an RFC 3339 time."""
    moment = datetime.fromisoformat(text)
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def printed_moment(text: str) -> str:
    """`1 Sep 2026, 03:00 UTC`; seconds only where there are some."""
    moment = parse_time(text)
    return f"{_short_day(moment)}, {moment:{'%H:%M:%S' if moment.second else '%H:%M'}} UTC"


def printed_month(month: Period) -> str:
    """`September 2026`."""
    return f"{_MONTHS[month.start.month - 1]} {month.start.year}"


def printed_span(start: str, end: str) -> str:
    """A half-open span for readers: `September 2026`, `5 Sep 2026 to 9 Sep 2026` (whole days), else both instants."""
    span = Period(start=parse_time(start), end=parse_time(end))
    if span == month_of(span.start):
        return printed_month(span)
    is_whole_days = all(
        (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0) for at in (span.start, span.end)
    )
    if not is_whole_days or span.start == span.end:
        return f"{printed_moment(start)} to {printed_moment(end)}"
    first, last = _short_day(span.start), _short_day(span.end - timedelta(days=1))
    return first if first == last else f"{first} to {last}"


def label(row: Row) -> str:
    """The label of a row of amounts: its meter, with the kind of line if it is not usage; else its plan or kind."""
    kind, meter = row.get("kind"), row.get("meter")
    if meter and kind not in {None, "usage"}:
        return words(f"{meter}, {kind}")
    return words(meter or row.get("plan") or kind or "no plan")


def _short_day(moment: datetime) -> str:
    return f"{moment.day} {_MONTHS[moment.month - 1][:3]} {moment.year}"
