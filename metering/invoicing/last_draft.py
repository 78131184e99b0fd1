"""Keeps the result of the last dry run of a closing, and compares the current one with it.

`drafts/MONTH.json` in the store directory holds what `close MONTH --dry-run` showed last. It is a note for people: no
closing reads it and the journal does not contain it. If it is missing or unreadable, nothing is compared.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from metering.core.files import write_whole
from metering.core.invoice import Invoice, Printed
from metering.core.money import amount_text, parse_amount
from metering.core.period import Period, month_name, rfc3339

Json = dict[str, Any]
FOLDER = "drafts"


def compared(directory: Path, period: Period, invoices: Iterable[Invoice]) -> Printed | None:
    """The month's valid invoices beside those of its last dry run: {as_of, customers}; None without a dry run.

    A row per customer and currency: `draft` and `total` (null where there was or is no invoice), `difference`, and the
    lines that `appeared`, `vanished` or `changed`.
    """
    try:
        before = json.loads(_path(directory, period).read_bytes())
        return {"as_of": before["as_of"], "customers": _rows(before["invoices"], [_kept(one) for one in invoices])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(directory: Path, period: Period, invoices: Iterable[Invoice], now: datetime) -> None:
    """Stores the invoices as the month's last dry run. Raises OSError if the directory cannot be written."""
    path = _path(directory, period)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    document = {"as_of": rfc3339(now), "invoices": [_kept(one) for one in invoices]}
    write_whole(path, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())


def _path(directory: Path, period: Period) -> Path:
    return directory / FOLDER / f"{month_name(period)}.json"


def _kept(invoice: Invoice) -> Json:
    """The part of an invoice that is stored."""
    lines = [{"key": line.key, "quantity": line.quantity, "amount": line.amount} for line in invoice.lines]
    return {
        "customer": invoice.customer.id,
        "currency": invoice.currency,
        "total": invoice.total,
        "lines": lines,
    }


def _rows(before: Iterable[Json], now: Iterable[Json]) -> list[Json]:
    old, new = ({(one["customer"], one["currency"]): one for one in found} for found in (before, now))
    return [_row(key, old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys())]


def _row(key: tuple[str, str], old: Json | None, new: Json | None) -> Json:
    customer, currency = key
    was, now = (parse_amount(side["total"], currency) if side else 0 for side in (old, new))
    return {
        "customer": customer,
        "currency": currency,
        "draft": old["total"] if old else None,
        "total": new["total"] if new else None,
        "difference": amount_text(now - was, currency),
        **_lines(_by_key(old), _by_key(new), currency),
    }


def _by_key(invoice: Json | None) -> dict[str, Json]:
    return {line["key"]: line for line in invoice["lines"]} if invoice else {}


def _lines(old: Mapping[str, Json], new: Mapping[str, Json], currency: str) -> Json:
    return {
        "appeared": [new[key] for key in sorted(new.keys() - old.keys())],
        "vanished": [old[key] for key in sorted(old.keys() - new.keys())],
        "changed": [
            {
                "key": key,
                "quantity": new[key]["quantity"],
                "draft_quantity": old[key]["quantity"],
                "amount": new[key]["amount"],
                "draft_amount": old[key]["amount"],
                "difference": _less(new[key]["amount"], old[key]["amount"], currency),
            }
            for key in sorted(new.keys() & old.keys())
            if new[key] != old[key]
        ],
    }


def _less(amount: str, other: str, currency: str) -> str:
    return amount_text(parse_amount(amount, currency) - parse_amount(other, currency), currency)
