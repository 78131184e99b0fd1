"""An adjustment: the difference of two ratings of one closed month, as lines of the next invoice.

Pure: printed lines in, printed lines out. Must not know why the two differ, or which invoice will carry the lines.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from metering.core.dated_tax import Key, key
from metering.core.money import amount_text, parse_amount, parse_decimal, quantity_text
from metering.invoicing.lines import tax
from metering.invoicing.lines.rates import NAMES
from metering.rating.pools import by_project, difference

Json = dict[str, object]


def adjustments(billed_lines: Iterable[Json], rerated_lines: Iterable[Json], currency: str) -> list[Json]:
    """(What a closed month would cost now) - (what was billed for it), one line per project, plan, meter and tax.

    Both are lines of one customer and one closed month: of its invoice and of the adjustments made since, and the month
    rated anew. Base fees never change afterwards and are left out. Below zero it is a credit. Sorted by key.
    """
    billed, rerated = _by_group(billed_lines, currency), _by_group(rerated_lines, currency)
    out: list[Json] = []
    for group in sorted(billed.keys() | rerated.keys(), key=str):
        old, new = billed.get(group), rerated.get(group)
        amount = (new.amount if new else 0) - (old.amount if old else 0)
        if amount:
            quantity = (new.quantity if new else Fraction(0)) - (old.quantity if old else Fraction(0))
            found = [side for side in (old, new) if side]
            parts = difference(new.parts if new else [], old.parts if old else [], currency)
            start, end = min(side.start for side in found), max(side.end for side in found)
            line = _adjustment(group, found[-1], (start, end), quantity, amount_text(amount, currency))
            basis = {"rerated": new.amount if new else 0, "billed": old.amount if old else 0}
            line["basis"] = {name: amount_text(minor, currency) for name, minor in basis.items()}
            out.append({**line, **({"projects": parts} if parts else {})})
    return sorted(out, key=lambda line: str(line["key"]))


@dataclass(slots=True, kw_only=True)
class _Sum:
    owner: str
    unit: object
    description: str
    tax: Json
    amount: int = 0
    quantity: Fraction = Fraction(0)
    start: str
    end: str
    parts: list[Json] = field(default_factory=list)
    """What projects have in a customer's lines."""


_Group = tuple[object, object, object, Key]


def _by_group(invoice_lines: Iterable[Json], currency: str) -> dict[_Group, _Sum]:
    out: dict[_Group, _Sum] = {}
    for line in invoice_lines:
        if line["kind"] == "base_fee":
            continue
        start, end = str(line["from"]), str(line["to"])
        group = (line["project_id"], line["plan"], line["meter"], key(line))
        without_meter = "Minimum" if line["plan"] else "Discount"
        name = NAMES.get(str(line["meter"]), str(line["meter"] or without_meter))
        owner = str(line["key"]).split("/", 1)[0]
        held = out.setdefault(
            group, _Sum(owner=owner, unit=line["unit"], description=name, tax=tax.said(line), start=start, end=end)
        )
        held.amount += parse_amount(str(line["amount"]), currency)
        held.unit = held.unit or line["unit"]
        # A flat fee counts fees, not what the meter counts.
        is_used = bool(line["meter"]) and line["kind"] != "flat_fee"
        held.quantity += Fraction(parse_decimal(str(line["quantity"]), signed=True)) if is_used else Fraction(0)
        parts = by_project([line] if "projects" in line else [])
        held.parts += parts if is_used else [{**part, "quantity": "0"} for part in parts]
        # RFC 3339 in UTC with whole seconds sorts as text.
        held.start, held.end = min(held.start, start), max(held.end, end)
    return out


def _adjustment(group: _Group, side: _Sum, period: tuple[str, str], quantity: Fraction, amount: str) -> Json:
    project, plan, meter, _ = group
    start, end = period
    return {
        "key": f"{side.owner}/{meter or side.description.lower()}/{plan or '-'}/{start}/adjustment",
        "kind": "adjustment",
        "project_id": project,
        "plan": plan,
        "meter": meter,
        "description": f"{side.description}: correction of {start[:7]}",
        "from": start,
        "to": end,
        "quantity": quantity_text(quantity),
        "unit": side.unit,
        "unit_price": None,
        "amount": amount,
        **side.tax,
    }
