"""The part of rated lines that was not billed before.

Pure: lines in, lines out. Must not know why lines were billed before, or which document bills the rest.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from msgspec.structs import replace

from metering.core.dated_tax import Key
from metering.core.dated_tax import key as tax_key
from metering.core.invoice import End, Line, ProjectPart, with_last
from metering.core.money import Rounding, amount_text, parse_amount, parse_decimal, quantity_text, round_amount
from metering.rating.pools import difference

_Key = tuple[str, Key]


@dataclass(slots=True)
class _Side:
    """The sum of the lines of one key and tax that were billed, or were rated; amounts in minor units."""

    line: Line
    """The last of the lines; its words and price describe the sum."""
    quantity: Fraction = Fraction(0)
    packages: Fraction = Fraction(0)
    amount: int = 0
    parts: list[ProjectPart] = field(default_factory=list)


def remainder(billed: Iterable[Line], rated: Iterable[Line], currency: str, mode: Rounding) -> list[Line]:
    """Lines that bill the difference between `rated` and `billed`: lines of one customer and month in one currency.

    A rated line without a billed line stays as it is; a line that was billed in full is left out. Any other line bills
    a difference and states both ends as `before` and `after`. It keeps its unit price if the amount is exactly
    quantity times price.
    """
    was, now = _by_key(billed, currency), _by_key(rated, currency)
    out = []
    for key in sorted(was.keys() | now.keys(), key=str):
        old, new = was.get(key), now.get(key)
        if old is None:
            assert new is not None
            out.append(new.line)
        elif not _is_equal(old, new, currency):
            out.append(_less(old, new, currency, mode))
    return out


def _by_key(lines: Iterable[Line], currency: str) -> dict[_Key, _Side]:
    out: dict[_Key, _Side] = {}
    for line in lines:
        side = out.setdefault((line.key, tax_key(line)), _Side(line))
        side.line = line
        side.quantity += _number(line.quantity)
        side.packages += _number(line.packages or "0")
        side.amount += parse_amount(line.amount, currency)
        side.parts += line.projects or ()
    return out


def _number(text: str) -> Fraction:
    return Fraction(parse_decimal(text, signed=True))


def _is_equal(old: _Side, new: _Side | None, currency: str) -> bool:
    if new is None:
        return not (old.quantity or old.amount or old.packages)
    same = (old.quantity, old.amount, old.packages) == (new.quantity, new.amount, new.packages)
    return same and not difference(new.parts, old.parts, currency)


def _less(old: _Side, new: _Side | None, currency: str, mode: Rounding) -> Line:
    now = new or _Side(old.line)
    quantity, amount = now.quantity - old.quantity, now.amount - old.amount
    packages = None if now.line.packages is None else now.packages - old.packages
    price = now.line.unit_price
    line = replace(
        now.line,
        quantity=quantity_text(quantity),
        unit_price=price
        if _multiplies(price, quantity if packages is None else packages, amount, currency, mode)
        else None,
        amount=amount_text(amount, currency),
        packages=None if packages is None else f"{packages}",
        basis=now.line.basis if new else None,
        before=_end(old, currency),
        after=_end(now, currency),
        projects=difference(now.parts, old.parts, currency) or None,
        shared=None,
    )
    return with_last(line, "basis", "projects", *(() if now.line.before is not None else ("before", "after")))


def _multiplies(price: str | None, counted: Fraction, amount: int, currency: str, mode: Rounding) -> bool:
    """Whether the amount is the number of units times the price, rounded once."""
    return price is not None and round_amount(counted * _number(price), currency, mode) == amount


def _end(side: _Side, currency: str) -> End:
    return End(
        quantity=quantity_text(side.quantity),
        amount=amount_text(side.amount, currency),
        packages=None if side.line.packages is None else f"{side.packages}",
    )


def is_same_place(one: Line, line: Line) -> bool:
    """Whether two lines have the same key and tax, so that one of them may bill a part of the other."""
    return one.key == line.key and tax_key(one) == tax_key(line)
