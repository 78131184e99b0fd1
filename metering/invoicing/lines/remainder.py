"""What is still to be billed of a rating: its lines, less those that were billed of it before.

Pure: printed lines in, printed lines out. Must not know why something was billed before, nor the document that carries
the rest.
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
    """Billed, or to be billed, under one key; amounts in minor units."""

    line: Line
    """The last of its lines: what the sum is called."""
    quantity: Fraction = Fraction(0)
    packages: Fraction = Fraction(0)
    amount: int = 0
    parts: list[ProjectPart] = field(default_factory=list)


def remainder(billed: Iterable[Line], rated: Iterable[Line], currency: str, mode: Rounding) -> list[Line]:
    """The lines of `rated` less those of `billed`, which together sum to the difference of both sums.

    A line of which nothing was billed stays as it is, and one that was billed whole is left out. Any other is the
    difference of both ends, which it prints as `before` and `after` (quantity and amount); it keeps its price where
    the difference is exactly so many units of it. Both are lines of one customer and month in one currency.
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
    """Whether the amount is so many units at the price, rounded once."""
    return price is not None and round_amount(counted * _number(price), currency, mode) == amount


def _end(side: _Side, currency: str) -> End:
    return End(
        quantity=quantity_text(side.quantity),
        amount=amount_text(side.amount, currency),
        packages=None if side.line.packages is None else f"{side.packages}",
    )


def is_same_place(one: Line, line: Line) -> bool:
    """Whether two lines have the same key and tax, so that the one bills a part of the other."""
    return one.key == line.key and tax_key(one) == tax_key(line)
