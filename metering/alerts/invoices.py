"""Events of issued and voided invoices."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from metering.alerts import recording
from metering.config import Config
from metering.core.invoice import Invoice, Printed
from metering.invoicing.amending.corrections import LONGEST_REASON
from metering.ledger.ledger import Ledger

_TOLD = ("customer", "currency", "period", "issued_at", "due_at", "subtotal", "total")


def _told(invoice: Invoice) -> Printed:
    return {name: msgspec.to_builtins(getattr(invoice, name)) for name in _TOLD}


def voided_event(note: Invoice) -> Printed:
    """The `data` of invoice.voided: the voided invoice's number and the credit note that cancels it."""
    told = _told(note)
    del told["due_at"]
    return {
        "number": note.credits,
        "credit_note": note.number,
        "reason": (note.reason or "")[:LONGEST_REASON],
        **told,
    }


def announce_invoices(ledger: Ledger, config: Config, invoices: Iterable[Invoice], now: datetime) -> None:
    """Queues `invoice.finalized` for each new invoice, and `invoice.voided` for each new credit note."""
    for invoice in invoices:
        if invoice.is_credit_note:
            voided = voided_event(invoice)
            recording.announce(ledger, "invoice.voided", voided, [voided["number"]], config=config, now=now)
        elif invoice.status == "final":
            data = {"number": invoice.number, **_told(invoice)}
            recording.announce(ledger, "invoice.finalized", data, [invoice.number], config=config, now=now)
