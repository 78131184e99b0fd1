"""Events of issued and voided invoices."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from metering.alerts import recording
from metering.config.models import Config
from metering.invoicing.corrections import LONGEST_REASON, Json
from metering.ledger.ledger import Ledger


def voided_event(note: Json) -> Json:
    """The `data` of invoice.voided: the voided invoice's number and the credit note that cancels it."""
    names = ("customer", "currency", "period", "issued_at", "subtotal", "total")
    return {
        "number": note["credits"],
        "credit_note": note["number"],
        "reason": note["reason"][:LONGEST_REASON],
        **{name: note[name] for name in names},
    }


def announce_invoices(ledger: Ledger, config: Config, invoices: Iterable[dict[str, Any]], now: datetime) -> None:
    """Queues invoice.finalized, or invoice.voided for a credit note, for every one that was not announced yet."""
    for invoice in invoices:
        if invoice.get("kind") == "credit_note":
            voided = voided_event(invoice)
            recording.announce(ledger, "invoice.voided", voided, [invoice["credits"]], config=config, now=now)
            continue
        if invoice["status"] != "final":
            continue
        data = {
            name: invoice[name]
            for name in ("number", "customer", "currency", "period", "issued_at", "due_at", "subtotal", "total")
        }
        recording.announce(ledger, "invoice.finalized", data, [invoice["number"]], config=config, now=now)
