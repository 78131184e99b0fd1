"""The taxes of lines and documents: which tax a line has, totals, and amounts before tax.

Pure. Must not know how lines were computed, or whether a tax is due: customers.csv decides that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from metering.core.dated_tax import Key, key, last_instant, line_tax, with_tax
from metering.core.invoice import Invoice, Line, TaxEntry
from metering.core.money import Rounding, amount_text, apportioned, minor_units, parse_amount, round_amount
from metering.core.parties import Customer, DatedTax

UNTAXED = {
    "E": "Exempt from tax",
    "AE": "Reverse charge",
    "K": "Intra-Community supply",
    "G": "Export outside the EU",
    "O": "Not subject to tax",
}
"""EN 16931's categories that need a reason, and what it is where customers.csv has no tax_note."""
OUT_OF_SCOPE = "O"
OWED_BY_BUYER = {"AE", "K"}
"""Categories in which the buyer owes the tax and has to be known to the tax office."""


# -- lines


def taxed(lines: Iterable[Line], customer: Customer | None) -> list[Line]:
    """The lines with the tax that is in force for their customer on the last day of each line's period."""
    if customer is not None and customer.dated:
        return [with_tax(line, line_tax(_in_force(line, customer))) for line in lines]
    tax = line_tax(customer.taxes[0] if customer else None)
    return [with_tax(line, tax) for line in lines]


def _in_force(line: Line, customer: Customer | None) -> DatedTax | None:
    if customer is None:
        return None
    return customer.tax_at(last_instant(line)) if customer.dated else customer.taxes[0]


def conflicts(lines: Iterable[Line], customer: Customer | None) -> str | None:
    """The reason why lines cannot be invoiced: a day without a tax, or lines inside and outside the scope of tax."""
    lines = list(lines)
    own = [line for line in lines if line.kind != "adjustment"]
    lacking = sorted({f"{last_instant(line):%Y-%m-%d}" for line in own if customer and not _in_force(line, customer)})
    if lacking:
        return f"customers.csv has no tax for {lacking[0]}: the dates tax_from and tax_to do not reach there"
    if len({line.tax_category == OUT_OF_SCOPE for line in lines}) > 1:
        return (
            "some of its lines are outside the scope of tax (category O) and others are not, which cannot stand on one "
            "invoice; void and close the earlier months anew, or give all of the month's time one of the two"
        )
    return None


# -- totals


class Totals(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The sums of a document."""

    # Only true is written: invoices that were issued before this key existed must keep their bytes.
    tax_inclusive: bool = False
    subtotal: str
    taxes: list[TaxEntry]
    total: str


def totals(lines: Iterable[Line], currency: str, mode: Rounding, *, is_inclusive: bool = False) -> Totals:
    """Subtotal (before tax), taxes (one per rate, name and category, rounded once), total.

    Tax is added to the lines. If prices include tax, the total is the sum of the lines, the tax of each rate is
    rate / (100 + rate) of its lines, and the subtotal is the total less tax.
    """
    groups: dict[Key, _Group] = {}
    for line in lines:
        group = groups.setdefault(key(line), _Group())
        group.amount += parse_amount(line.amount, currency)
        group.rates.append(str(line.rate))
    has_tax = any(rate is not None for rate, _, _ in groups)
    taxes, subtotal, total = [], 0, 0
    for found, group in sorted(groups.items(), key=_order):
        base, tax = _split(group.amount, found[0], currency, mode, is_inclusive=is_inclusive)
        subtotal, total = subtotal + base, total + base + tax
        if found[0] is not None or found[2]:
            rate, name, category = found
            taxes.append(
                TaxEntry(
                    name=_name(name, category),
                    rate_percent="0" if rate is None else min(group.rates, key=lambda text: (len(text), text)),
                    category=category,
                    base=amount_text(base, currency),
                    amount=amount_text(tax, currency),
                )
            )
    return Totals(
        tax_inclusive=is_inclusive and has_tax,
        subtotal=amount_text(subtotal, currency),
        taxes=taxes,
        total=amount_text(total, currency),
    )


@dataclass(slots=True)
class _Group:
    """Lines of one tax: their sum in minor units, and each spelling of the rate (`21`, `21.00`)."""

    amount: int = 0
    rates: list[str] = field(default_factory=list)


def _split(summed: int, rate: Fraction | None, currency: str, mode: Rounding, *, is_inclusive: bool) -> tuple[int, int]:
    """(base, tax) of the sum of lines of one rate, in minor units."""
    percent = rate or Fraction(0)
    share = percent / (100 + percent) if is_inclusive else percent / 100
    tax = round_amount(Fraction(summed, 10 ** minor_units(currency)) * share, currency, mode)
    return summed - tax if is_inclusive else summed, tax


def _order(group: tuple[Key, object]) -> tuple[Fraction, str, str]:
    """Sort key: the highest rate first, lines without a rate last."""
    rate, name, category = group[0]
    return (Fraction(1) if rate is None else -rate), name or "", category or ""


def _name(name: str | None, category: str | None) -> str:
    """The name of an entry of `taxes`; lines with a category and no rate are taxed at 0 %."""
    return name or UNTAXED.get(category or "", "No tax")


# -- documents


def owed_id(taxes: Iterable[DatedTax], document: Invoice) -> str | None:
    """The buyer's tax id at the time of a line for which the buyer owes the tax; such lines require one.

    The document's own month may have no such line: it may contain a correction of an earlier month.
    """
    owed = (last_instant(line) for line in lines_of(document) if line.tax_category in OWED_BY_BUYER)
    found = (tax.tax_id for moment in owed for tax in taxes if tax.contains(moment))
    return next((tax_id for tax_id in found if tax_id), None)


def lines_of(document: Invoice) -> list[Line]:
    """A document's lines, each with its tax. Lines that state no tax get the tax of the document."""
    if document.says_taxes:
        return document.lines
    rate, name = next(((entry.rate_percent, entry.name) for entry in document.taxes), (None, None))
    return [
        line if line.has_said_tax else replace(line, tax_rate_percent=rate, tax_name=name) for line in document.lines
    ]


def by_tax(document: Invoice) -> list[tuple[TaxEntry | None, list[int]]]:
    """For each tax of a document: its entry in `taxes` (None if there is none) and the positions of its lines."""
    return _by_tax(lines_of(document), document.taxes)


def _by_tax(lines: Iterable[Line], taxes: Iterable[TaxEntry]) -> list[tuple[TaxEntry | None, list[int]]]:
    entries: dict[Key | None, TaxEntry] = {
        (Fraction(entry.rate_percent), entry.name, entry.category): entry for entry in taxes
    }
    groups: dict[Key, list[int]] = {}
    for place, line in enumerate(lines):
        groups.setdefault(key(line), []).append(place)
    return [(entries.get(_entry_key(found)), places) for found, places in groups.items()]


def _entry_key(found: Key) -> Key | None:
    rate, name, category = found
    return (rate or Fraction(0), _name(name, category), category) if rate is not None or category else None


def nets(lines: Sequence[Line], currency: str, mode: Rounding, *, is_inclusive: bool) -> list[int]:
    """Minor units of each line before tax; they sum to the subtotal."""
    if is_inclusive:
        lines = _before_taxes(lines, totals(lines, currency, mode, is_inclusive=True).taxes, currency)
    return [parse_amount(line.amount, currency) for line in lines]


def lines_before_tax(document: Invoice) -> list[Line]:
    """The lines of an invoice or credit note with their amounts before tax; those of each rate sum to its base."""
    if not document.tax_inclusive:
        return document.lines
    return _before_taxes(lines_of(document), document.taxes, document.currency)


def _before_taxes(lines: Sequence[Line], taxes: Iterable[TaxEntry], currency: str) -> list[Line]:
    """The lines without the tax that their amounts include."""
    out = list(lines)
    for entry, places in _by_tax(lines, taxes):
        if entry is None:
            continue
        rate = Fraction(entry.rate_percent)
        amounts = [parse_amount(lines[place].amount, currency) for place in places]
        found = _shared(parse_amount(entry.base, currency), amounts, rate)
        for place, net in zip(places, found, strict=True):
            out[place] = _before_tax(lines[place], net, rate, currency)
    return out


def _before_tax(line: Line, net: int, rate: Fraction, currency: str) -> Line:
    """The line and its projects' parts with amounts before tax."""
    parts = line.projects
    if parts is not None:
        found = _shared(net, [parse_amount(part.amount, currency) for part in parts], rate)
        parts = [replace(part, amount=amount_text(own, currency)) for part, own in zip(parts, found, strict=True)]
    return replace(line, amount=amount_text(net, currency), projects=parts)


def _shared(total: int, amounts: Sequence[int], rate: Fraction) -> list[int]:
    return apportioned(total, [amount * 100 / (100 + rate) for amount in amounts])
