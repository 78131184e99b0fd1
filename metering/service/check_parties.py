"""Checks seller and customers: how their tax ids were understood, and which customers' taxes end.

Reads only the configuration. Must not ask Neon or read the store.
"""

from collections import Counter
from datetime import datetime
from typing import Any

from metering.config import Config
from metering.core import tax_ids
from metering.service.check_references import MOST_NAMED, Tell, tell_more

Json = dict[str, Any]
_WORDS = {"vat_id": "VAT identifier", "legal_id": "legal identifier"}


def tax_id_section(config: Config, tell: Tell) -> Json:
    """The kind of every tax id, and a note for each doubtful one: it is never exported as a VAT identifier."""
    seller = config.seller
    own = tax_ids.read(seller.tax_id, seller.country) if seller.tax_id.strip() else None
    if own:
        state = "note" if own.doubt else "ok"
        tell("seller", "tax id", state, _told(seller.tax_id, own))
    given = {(row.id, tax.tax_id, row.country) for row in config.customer_rows for tax in row.taxes if tax.tax_id}
    read = [(customer, text, tax_ids.read(text, country)) for customer, text, country in sorted(given, key=str)]
    kinds = Counter(found.kind for _, _, found in read)
    doubtful = [(customer, text, found) for customer, text, found in read if found.doubt]
    counts = {
        "vat_id": kinds["vat_id"],
        "legal_id": kinds["legal_id"],
        "none": len(config.customer_rows) - len({customer for customer, _, _ in given}),
    }
    if config.customer_rows:
        words = [f"{counts[kind]} {name}{'' if counts[kind] == 1 else 's'}" for kind, name in _WORDS.items()]
        tell("customers", "tax ids", "ok", f"{', '.join(words)}, {counts['none']} without")
    for customer, text, found in doubtful[:MOST_NAMED]:
        tell(f"customer {customer}", "tax id", "note", _told(text, found))
    tell_more(doubtful, "customers", "tax id", "note", tell)
    return {
        "seller": None if own is None else {"written": seller.tax_id, "taken_for": own.kind, "doubt": own.doubt},
        "customers": {name: str(count) for name, count in counts.items()},
        "doubtful": [
            {"customer": customer, "written": text, "doubt": found.doubt} for customer, text, found in doubtful
        ],
    }


def ended_taxes(config: Config, now: datetime, tell: Tell) -> list[Json]:
    """Customers whose last dated tax ends: later usage has no tax, so their invoices are put on hold."""
    last = ((row, row.dated[-1].tax_to) for row in config.customer_rows if row.dated)
    found = [(row, end) for row, end in last if end is not None]
    for row, end in found[:MOST_NAMED]:
        verb = "ended" if end <= now else "ends"
        detail = (
            f"the last tax {verb} on {end:%Y-%m-%d}, and none is in force from then on: its invoice would be parked"
        )
        tell(
            f"customer {row.id}", "tax", "note", f"{detail}; add a row with tax_from = {end:%Y-%m-%d}, or empty tax_to"
        )
    tell_more(found, "customers", "tax", "note", tell)
    return [{"customer": row.id, "ends": f"{end:%Y-%m-%d}", "has_ended": end <= now} for row, end in found]


def _told(written: str, found: tax_ids.TaxId) -> str:
    if found.doubt:
        return f"{written} {found.doubt}: taken for a legal identifier, which e-invoices never write as a VAT number"
    shown = f" ({found.value})" if found.value != written else ""
    return f"{written} is a {_WORDS[found.kind]}{shown}"
