"""What is still to be billed of a rating: its lines, less those that were billed of it before.

Pure: printed lines in, printed lines out. Must not know why something was billed before, nor the document that carries
the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from metering.core.dated_tax import Key
from metering.core.dated_tax import key as dated_tax_key
from metering.core.money import Rounding, amount_text, parse_amount, parse_decimal, quantity_text, round_amount
from metering.rating.pools import by_project, difference

Json = dict[str, Any]
_Key = tuple[str, Key]


@dataclass(slots=True)
class _Side:
    """Billed, or to be billed, under one key; amounts in minor units."""

    line: Json
    """The last of its lines: what the sum is called."""
    quantity: Fraction = Fraction(0)
    packages: Fraction = Fraction(0)
    amount: int = 0
    parts: list[Json] = field(default_factory=list)


def remainder(
    billed: Iterable[Mapping[str, Any]], rated: Iterable[Mapping[str, Any]], currency: str, mode: Rounding
) -> list[Json]:
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


def _by_key(lines: Iterable[Mapping[str, Any]], currency: str) -> dict[_Key, _Side]:
    out: dict[_Key, _Side] = {}
    for line in lines:
        side = out.setdefault((str(line["key"]), dated_tax_key(line)), _Side({}))
        side.line = dict(line)
        side.quantity += _number(line["quantity"])
        side.packages += _number(line.get("packages", "0"))
        side.amount += parse_amount(str(line["amount"]), currency)
        side.parts += by_project([line] if "projects" in line else [])
    return out


def _number(text: str) -> Fraction:
    return Fraction(parse_decimal(text, signed=True))


def _is_equal(old: _Side, new: _Side | None, currency: str) -> bool:
    if new is None:
        return not (old.quantity or old.amount or old.packages)
    same = (old.quantity, old.amount, old.packages) == (new.quantity, new.amount, new.packages)
    return same and not difference(new.parts, old.parts, currency)


def _less(old: _Side, new: _Side | None, currency: str, mode: Rounding) -> Json:
    now = new or _Side(old.line)
    quantity, amount = now.quantity - old.quantity, now.amount - old.amount
    packages = now.packages - old.packages
    line = {name: value for name, value in now.line.items() if name not in {"number", "shared", "projects", "basis"}}
    line |= {"quantity": quantity_text(quantity), "amount": amount_text(amount, currency)}
    line |= {"packages": f"{packages}"} if "packages" in line else {}
    if not _multiplies(line, packages if "packages" in line else quantity, amount, currency, mode):
        line["unit_price"] = None
    if basis := now.line.get("basis") if new else None:
        line["basis"] = basis
    if parts := difference(now.parts, old.parts, currency):
        line["projects"] = parts
    return {**line, "before": _end(old, currency), "after": _end(now, currency)}


def _multiplies(line: Mapping[str, Any], counted: Fraction, amount: int, currency: str, mode: Rounding) -> bool:
    """Whether the line is so many units at its price, rounded once."""
    price = line["unit_price"]
    return price is not None and round_amount(counted * _number(price), currency, mode) == amount


def _end(side: _Side, currency: str) -> Json:
    packages = {"packages": f"{side.packages}"} if "packages" in side.line else {}
    return {"quantity": quantity_text(side.quantity), "amount": amount_text(side.amount, currency), **packages}


def billed_of(billed: Sequence[Json], line: Mapping[str, Any]) -> list[Json]:
    """The lines that were billed before under the key and the tax of a line."""
    return [one for one in billed if one["key"] == line["key"] and dated_tax_key(one) == dated_tax_key(line)]
