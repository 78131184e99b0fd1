"""An adjustment: the difference of two ratings of one closed month, as lines of the next invoice.

Pure: printed lines in, printed lines out. Must not know why the two differ, or which invoice will carry the lines.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from msgspec.structs import replace

from metering.core.dated_tax import Key, LineTax, key, tax_of, with_tax
from metering.core.invoice import Line, ProjectPart, with_last
from metering.core.money import amount_text, parse_amount, parse_decimal, quantity_text
from metering.invoicing.lines.rates import NAMES
from metering.rating.pools import difference


def adjustments(billed_lines: Iterable[Line], rerated_lines: Iterable[Line], currency: str) -> list[Line]:
    """Lines that adjust what was billed for a closed month to what it costs now, by project, plan, meter and tax.

    `billed_lines` are the lines of one customer's invoice for the month and of later adjustments of it;
    `rerated_lines` are the lines of the month rated again. An amount below zero is a credit. Base fees are left out:
    they do not change after the close. Sorted by key.
    """
    billed, rerated = _by_group(billed_lines, currency), _by_group(rerated_lines, currency)
    out: list[Line] = []
    for group in sorted(billed.keys() | rerated.keys(), key=str):
        old, new = billed.get(group), rerated.get(group)
        amount = (new.amount if new else 0) - (old.amount if old else 0)
        if amount:
            quantity = (new.quantity if new else Fraction(0)) - (old.quantity if old else Fraction(0))
            found = [side for side in (old, new) if side]
            parts = difference(new.parts if new else [], old.parts if old else [], currency)
            start, end = min(side.start for side in found), max(side.end for side in found)
            line = _adjustment(group, found[-1], (start, end), quantity, amount_text(amount, currency))
            sides = {"rerated": new.amount if new else 0, "billed": old.amount if old else 0}
            basis = {name: amount_text(minor, currency) for name, minor in sides.items()}
            out.append(replace(line, basis=basis, projects=parts or None))
    return sorted(out, key=lambda line: line.key)


@dataclass(slots=True, kw_only=True)
class _Sum:
    owner: str
    unit: str | None
    description: str
    tax: LineTax
    amount: int = 0
    quantity: Fraction = Fraction(0)
    start: str
    end: str
    parts: list[ProjectPart] = field(default_factory=list)
    """What projects have in a customer's lines."""


_Group = tuple[str | None, str | None, str | None, Key]


def _by_group(invoice_lines: Iterable[Line], currency: str) -> dict[_Group, _Sum]:
    out: dict[_Group, _Sum] = {}
    for line in invoice_lines:
        if line.kind == "base_fee":
            continue
        group = (line.project_id, line.plan, line.meter, key(line))
        name = NAMES.get(line.meter, line.meter) if line.meter else "Minimum" if line.plan else "Discount"
        owner, start, end = line.key.split("/", 1)[0], line.start, line.end
        held = out.setdefault(
            group, _Sum(owner=owner, unit=line.unit, description=name, tax=tax_of(line), start=start, end=end)
        )
        held.amount += parse_amount(line.amount, currency)
        held.unit = held.unit or line.unit
        # A flat fee counts fees, not what the meter counts.
        is_used = bool(line.meter) and line.kind != "flat_fee"
        held.quantity += Fraction(parse_decimal(line.quantity, signed=True)) if is_used else Fraction(0)
        parts = line.projects or []
        held.parts += parts if is_used else [replace(part, quantity="0") for part in parts]
        # RFC 3339 in UTC with whole seconds sorts as text.
        held.start, held.end = min(held.start, start), max(held.end, end)
    return out


def _adjustment(group: _Group, side: _Sum, period: tuple[str, str], quantity: Fraction, amount: str) -> Line:
    project, plan, meter, _ = group
    start, end = period
    line = Line(
        key=f"{side.owner}/{meter or side.description.lower()}/{plan or '-'}/{start}/adjustment",
        kind="adjustment",
        project_id=project,
        plan=plan,
        meter=meter,
        description=f"{side.description}: correction of {start[:7]}",
        start=start,
        end=end,
        quantity=quantity_text(quantity),
        unit=side.unit,
        unit_price=None,
        amount=amount,
    )
    return with_last(with_tax(line, side.tax), "basis", "projects")
