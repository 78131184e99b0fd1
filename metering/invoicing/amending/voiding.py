"""Voids an invoice with a credit note: its lines and totals with the opposite sign. Writes one journal record."""

import json
from datetime import datetime

from metering.core.errors import MeteringError
from metering.core.invoice import CREDIT_NOTE
from metering.core.period import rfc3339
from metering.core.rows import Json
from metering.invoicing.issued import Document
from metering.ledger.ledger import Ledger

NUMBER = "CN-{year}-{number:06d}"


def void(ledger: Ledger, number: str, reason: str, now: datetime) -> Document:
    """Voids a final invoice; returns its credit note. The month is then open for this customer: close it again.

    Asked again with the same reason, it answers as it did. Raises MeteringError for a number that is unknown, void for
    another reason, or a credit note's.
    """
    store = ledger.store
    found = store.query("invoicing/invoice_by_number", number=number)
    if found.is_empty():
        raise MeteringError(f"no invoice has the number {number!r}", hint="`metering invoices MONTH` lists them")
    row = found.row(0, named=True)
    original = Document(row["document"], row["status"])
    if original.invoice.is_credit_note:
        hint = f"it cancels {original.invoice.credits}; close the month again to issue that customer anew"
        raise MeteringError(f"{number} is a credit note, which cannot be voided", hint=hint)
    if row["status"] == "void":
        known = Document(*store.query("invoicing/credit_note_of", number=number).row(0))
        if known.invoice.reason == reason:
            return known
        month = row["month"]
        raise MeteringError(f"{number} is void already", hint=f"`metering close {month}` issues that customer anew")
    series = f"credit_note {now:%Y}"
    position = int(store.query("invoicing/last_position", series=series).item()) + 1
    note_number = NUMBER.format(year=now.year, number=position)
    note = credit_note(original, number=note_number, reason=reason, issued_at=rfc3339(now))
    ledger.record(
        "void",
        {"number": number, "reason": reason, "month": row["month"], "series": series, "position": position},
        body=note.text.encode(),
    )
    return note


def credit_note(invoice: Document, *, number: str, reason: str, issued_at: str) -> Document:
    """The credit note that cancels an invoice: lines and totals with the opposite sign, everything else unchanged."""
    original = json.loads(invoice.text)
    note = {
        "number": number,
        "status": "final",
        "kind": CREDIT_NOTE,
        "credits": original["number"],
        "reason": reason,
        **{name: original[name] for name in ("customer", "currency", "period")},
        "issued_at": issued_at,
        "due_at": None,
        "lines": [
            {**_taken_back(line), **({"projects": [*map(_taken_back, line["projects"])]} if "projects" in line else {})}
            for line in original["lines"]
        ],
        **{name: original[name] for name in ("tax_inclusive",) if name in original},
        "subtotal": _negated(original["subtotal"]),
        "taxes": [
            {**tax, "base": _negated(tax["base"]), "amount": _negated(tax["amount"])} for tax in original["taxes"]
        ],
        "total": _negated(original["total"]),
        **{name: original[name] for name in ("coverage", "as_of", "rate_card_sha256")},
    }
    return Document(json.dumps(note, ensure_ascii=False, separators=(",", ":")), note["status"])


def _taken_back(line: Json) -> Json:
    """A line, or a project's part of one, with the opposite sign, including its basis."""
    counted = ("quantity", "packages", "amount")
    own = {name: _negated(line[name]) for name in counted if name in line}
    ends: Json = {name: _taken_back(line[name]) for name in ("before", "after") if name in line}
    basis = {name: _negated(value) if name in _TAKEN_BACK else value for name, value in line.get("basis", {}).items()}
    return {**line, **own, **ends, **({"basis": basis} if basis else {})}


_TAKEN_BACK = frozenset(["minimum", "maximum", "charged", "of", "amount", "cost", "rerated", "billed"])
"""Keys of a line's basis that are amounts; percentages keep their sign."""


def _negated(number: str) -> str:
    """A decimal text with the opposite sign; zero stays as it is."""
    if not number.strip("-0."):
        return number
    return number.removeprefix("-") if number.startswith("-") else f"-{number}"
