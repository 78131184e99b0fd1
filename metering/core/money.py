"""Exact numbers: decimal texts, ISO 4217 digits, the one rounding, and its vectorised twin.

Money is an integer of minor units (cents) once rounded and a `Fraction` before; nothing here is a float.
Knows no price, no plan and no Neon.
"""

import re
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from fractions import Fraction
from functools import lru_cache, reduce
from itertools import repeat
from typing import Literal

import polars as pl

COST_CURRENCY = "USD"
"""Neon's price list is in US dollars; there are no exchange rates here, so a margin exists in this currency alone."""


CURRENCY = "USD"


# Digits enough for every sum of a month; a sum that they do not hold raises Inexact instead of being rounded.
_EXACT = Context(prec=1200, traps=[Inexact, InvalidOperation, Overflow])


Rounding = Literal["half_up", "half_even"]

QUANTITY_PLACES = 12
"""Places of a printed quantity; one that does not end is rounded half away from zero."""
INT128_SAFE = 2**126
"""Products below this fit Int128 with a bit to spare; polars wraps silently above 2**127."""
DIGITS_MAX = 1000
"""Longest number accepted as text: far beyond any bill, far below what slows the arithmetic down."""

_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_TWO_DIGITS = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY
COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR
IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD
NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP
SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
_ZERO_DIGITS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DIGITS = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DIGITS = "CLF UYW"
MINOR_UNITS: dict[str, int] = (
    dict(zip(_TWO_DIGITS.split(), repeat(2)))
    | dict(zip(_ZERO_DIGITS.split(), repeat(0)))
    | dict(zip(_THREE_DIGITS.split(), repeat(3)))
    | dict(zip(_FOUR_DIGITS.split(), repeat(4)))
)
"""ISO 4217 (not CLDR, which gives IQD, LAK, … no digits): currency code -> digits after the point."""


def parse_decimal(text: str, *, signed: bool = False) -> Decimal:
    """A plain decimal as written (`20.00` keeps its zeros); ValueError for exponents, blanks, signs, NaN, floats."""
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text) or len(text) > DIGITS_MAX:
        raise ValueError(f"{str(text)[:40]!r} is not a plain decimal number; write it like 12 or 0.50")
    if text.startswith("-") and not signed:
        raise ValueError(f"{text[:40]!r} is below zero")
    return Decimal(text)


def minor_units(currency: str) -> int:
    """Digits after the point; ValueError for what is no ISO 4217 code in use."""
    if currency not in MINOR_UNITS:
        raise ValueError(f"{currency[:40]!r} is not an ISO 4217 currency code such as USD")
    return MINOR_UNITS[currency]


def round_amount(value: Fraction, currency: str, mode: Rounding = "half_up") -> int:
    """The one rounding: an exact amount to whole minor units, half away from zero or half to even."""
    return _rounded(value.numerator * 10 ** minor_units(currency), value.denominator, mode)


def _rounded(numerator: int, denominator: int, mode: Rounding) -> int:
    whole, rest = divmod(abs(numerator), denominator)
    is_up = 2 * rest > denominator or (2 * rest == denominator and (mode == "half_up" or whole % 2 == 1))
    magnitude = whole + 1 if is_up else whole
    return -magnitude if numerator < 0 else magnitude


def rounded_amounts(numerator: pl.Expr, denominator: pl.Expr, mode: Rounding) -> pl.Expr:
    """Rounds quotients of Int128 columns of any sign to minor units; the caller guards numerator * 2 < 2**126."""
    whole = numerator // denominator  # floor, also below zero
    twice_rest = (numerator - whole * denominator) * 2
    at_half = (numerator >= 0) if mode == "half_up" else (whole % 2 != 0)
    is_up = (twice_rest > denominator) | ((twice_rest == denominator) & at_half)
    return whole + is_up.cast(pl.Int128)


def amount_text(minor: int, currency: str) -> str:
    """Whole minor units as text with exactly the currency's digits: 549 USD is `5.49`."""
    return _fixed(minor, minor_units(currency))


def _fixed(number: int, places: int) -> str:
    sign, digits = ("-" if number < 0 else ""), str(abs(number)).zfill(places + 1)
    return sign + digits if places == 0 else f"{sign}{digits[:-places]}.{digits[-places:]}"


@lru_cache(maxsize=1 << 16)
def parse_amount(text: str, currency: str) -> int:
    """The inverse of `amount_text`; ValueError when it has more digits than the currency."""
    digits = minor_units(currency)
    parse_decimal(text, signed=True)
    whole, _, part = text.partition(".")
    if part[digits:].strip("0"):
        raise ValueError(f"{text!r} has more digits than {currency} has")
    return int(whole + part[:digits].ljust(digits, "0"))


def quantity_text(value: Fraction) -> str:
    """At most 12 places, half away from zero, without trailing zeros or exponent."""
    fixed = _fixed(_rounded(value.numerator * 10**QUANTITY_PLACES, value.denominator, "half_up"), QUANTITY_PLACES)
    return fixed.rstrip("0").rstrip(".")


def exact_text(value: Fraction) -> str:
    """The number itself: a decimal where it ends, else `n/d` in lowest terms."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    places = max(twos, fives)
    return _fixed(value.numerator * 10**places // value.denominator, places)


def apportioned(total: int, exact: Sequence[Fraction]) -> list[int]:
    """Whole units that sum to `total`, each less than one from its exact part of it; parts may be below zero.

    The remainder after rounding down goes to the largest fractions, ties to the earlier. `total` differs from the sum
    by less than one.
    """
    parts = [part.__floor__() for part in exact]
    left = total - sum(parts)
    assert 0 <= left <= len(parts), "the total is not that of its parts"
    by_rest = sorted(range(len(exact)), key=lambda i: (parts[i] - exact[i], i))
    for i in by_rest[:left]:
        parts[i] += 1
    return parts


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Whole units of `total` in proportion to the weights, summing to it; ties go to the earlier weight.

    Weights are not below zero; where all are zero, the first takes everything.
    """
    assert weights, "nothing to split over"
    assert min(weights) >= 0, "a weight is not below zero"
    sign, units, whole = (-1 if total < 0 else 1), abs(total), sum(weights)
    if whole == 0:
        return [total, *repeat(0, len(weights) - 1)]
    parts = [units * weight // whole for weight in weights]
    by_rest = sorted(range(len(weights)), key=lambda i: (-(units * weights[i] % whole), i))
    for i in by_rest[: units - sum(parts)]:
        parts[i] += 1
    return [sign * part for part in parts]


def exact_sum(texts: Iterable[str]) -> Fraction:
    """The sum of decimal strings with all its digits."""
    return Fraction(reduce(_EXACT.add, map(Decimal, texts), Decimal(0)))


def percent(part: Fraction | int, whole: Fraction | int) -> str | None:
    """`37.42`: a share in percent, half away from zero at two places; None of a whole that is not above zero."""
    if whole <= 0:
        return None
    share = Fraction(part) / Fraction(whole)
    hundredths = (abs(share.numerator) * 20000 + share.denominator) // (2 * share.denominator)
    return _hundredths_text(-hundredths if share < 0 else hundredths)


def percent_truncated(part: int, whole: int) -> str | None:
    """As `percent`, but cut: 99.999 % of a month's hours is not the whole month. Neither number is below zero."""
    return None if whole <= 0 else _hundredths_text(part * 10000 // whole)


def _hundredths_text(hundredths: int) -> str:
    whole, rest = divmod(abs(hundredths), 100)
    return f"{'-' if hundredths < 0 else ''}{whole}.{rest:02d}"
