"""Formats numbers, money, days and times by a locale, with the formats of Unicode's CLDR. Contains no words.

Takes exact texts of the public interface and returns text. Nothing is rounded: amounts keep the digits of their
currency by ISO 4217, which sometimes differ from CLDR's.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from functools import lru_cache

from babel import Locale
from babel.dates import format_date, format_time
from babel.numbers import NumberPattern, parse_pattern

from metering.core.locales import cldr
from metering.core.period import Period, parse_time

DIGITS = 1200
"""A precision above that of any figure of a month."""
_CODE = "\N{CURRENCY SIGN}\N{CURRENCY SIGN}"
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Format:
    """The formats of one locale for invoices; `name` is one that `is_locale` accepts."""

    name: str

    @property
    def _cldr(self) -> Locale:
        return cldr(self.name)

    def number(self, text: str) -> str:
        """`1,234.50`: a decimal string with all its digits, grouped."""
        return self._written(_pattern(self.name, "number"), text)

    def money(self, text: str, currency: str) -> str:
        """`EUR 1,234.50` or `1.234,50 EUR`: the amount with its ISO code where the locale puts it."""
        return self._written(_pattern(self.name, "money"), text, currency)

    def _written(self, pattern: str, text: str, currency: str | None = None) -> str:
        value = Decimal(text)
        exponent = value.as_tuple().exponent
        assert isinstance(exponent, int), "a figure is finite"
        parsed = _parsed(pattern, max(-exponent, 0))
        with localcontext(prec=DIGITS):
            return str(parsed.apply(value, self._cldr, currency=currency, currency_digits=False))

    def day(self, text: str) -> str:
        """The day of a date or an RFC 3339 time: `Sep 1, 2026`, `01.09.2026`."""
        return format_date(datetime.fromisoformat(text).date(), "medium", locale=self._cldr)

    def moment(self, text: str) -> str:
        """A time in UTC, to the minute or, where it has seconds, to the second."""
        at = parse_time(text)
        length = "medium" if at.second else "short"
        return f"{self.day(text)}, {format_time(at, length, locale=self._cldr)} UTC".replace("\u202f", NO_BREAK_SPACE)

    def span(self, start: str, end: str) -> str:
        """A half-open span: first and last day where it is whole days, else both instants."""
        span = Period(start=parse_time(start), end=parse_time(end))
        is_whole_days = all((at.hour, at.minute, at.second) == (0, 0, 0) for at in (span.start, span.end))
        if not is_whole_days or span.start == span.end:
            return f"{self.moment(start)} – {self.moment(end)}"
        first, last = self.day(start), self.day((span.end - timedelta(days=1)).isoformat())
        return first if first == last else f"{first} – {last}"


@lru_cache(maxsize=256)
def _pattern(name: str, kind: str) -> str:
    """The locale's pattern; that of money has the ISO code, separated from the number."""
    if kind == "number":
        return str(cldr(name).decimal_formats[None].pattern)
    pattern = str(cldr(name).currency_formats["standard"].pattern).split(";")[0]
    pattern = re.sub("[\u200e\u200f\u061c]", "", pattern).replace("\N{CURRENCY SIGN}", _CODE)
    beside = re.sub(f"{_CODE}(?=[#0])", _CODE + NO_BREAK_SPACE, pattern)
    return re.sub(f"(?<=[#0]){_CODE}", NO_BREAK_SPACE + _CODE, beside)


@lru_cache(maxsize=1024)
def _parsed(pattern: str, places: int) -> NumberPattern:
    found = parse_pattern(pattern)
    found.frac_prec = (places, places)
    return found
