"""Documents as structs from literals that say only what a test is about."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from metering.core.invoice import Invoice, Line, converted

_LINE = {
    "key": "one/usage/pro/2026-09-01T00:00:00Z/1",
    **{"kind": "usage", "project_id": None, "plan": None, "meter": None, "description": "", "unit": None},
    **{"from": "2026-09-01T00:00:00Z", "to": "2026-10-01T00:00:00Z", "quantity": "1", "unit_price": None},
}
_DOCUMENT = {
    **{"number": None, "status": "draft", "currency": "USD", "issued_at": None, "due_at": None, "lines": []},
    "period": {"start": _LINE["from"], "end": _LINE["to"]},
    **{"subtotal": "0.00", "taxes": [], "total": "0.00", "coverage": None, "as_of": None, "rate_card_sha256": None},
}


def line_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """The line, with something harmless for every key that the literal leaves out."""
    return {**_LINE, **line}


def lines_of(rows: Iterable[Mapping[str, Any]]) -> list[Line]:
    """The lines, each with something harmless for every key that the literal leaves out."""
    return msgspec.convert([line_of(row) for row in rows], list[Line])


def printed(found: object) -> Any:
    """A document, a part of one, or a collection of such, as JSON shows it."""
    return msgspec.to_builtins(found)


def invoice_of(document: Mapping[str, Any]) -> Invoice:
    """The document, with something harmless for every key that the literal leaves out."""
    lines = [line_of(line) for line in document.get("lines", ())]
    return converted({**_DOCUMENT, "customer": {"id": "one", "name": "One"}, **document, "lines": lines})
