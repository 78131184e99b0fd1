"""Projects closings and voids into rows, live and in a rebuild alike. Knows no prices and computes no amount.

Records keep customer ids as they were written then; rows have them in canonical form, in which ids are compared.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import msgspec
import polars as pl

from metering.core.ids import canonical
from metering.core.period import parse_time
from metering.store.database import Store
from metering.store.record import Record

Row = dict[str, Any]
INVOICES_AT_ONCE = 10_000
_FIRST_RULES = 1
"""The rules of closings whose record names none."""


class _Customer(msgspec.Struct):
    id: str


class _Head(msgspec.Struct):
    """The members of a document that are columns of the table."""

    number: str
    customer: _Customer
    currency: str
    total: str
    issued_at: str


class _Closing(msgspec.Struct):
    """The body of a closing, with its parts undecoded."""

    terms: msgspec.Raw
    facts: msgspec.Raw
    invoices: list[msgspec.Raw]
    paper: msgspec.Raw = msgspec.Raw(b"null")


_head = msgspec.json.Decoder(_Head)


def apply_close(store: Store, record: Record) -> None:
    """Inserts a closing with its invoices; the body holds them, the pricing terms, and unassigned or unpriced usage."""
    data, body = record.data, msgspec.json.decode(record.body, type=_Closing)
    store.write("insert_terms", sha256=data["terms_sha256"], seq=record.seq, document=bytes(body.terms).decode())
    store.write(
        "insert_closing",
        seq=record.seq,
        month=data["month"],
        as_of=parse_time(data["as_of"]),
        as_of_seq=data["as_of_seq"],
        sha256=data["terms_sha256"],
        reason=data["allow_incomplete"],
        document=bytes(body.facts).decode(),
        rules=data.get("rules", _FIRST_RULES),
        paper=None if bytes(body.paper) == b"null" else bytes(body.paper).decode(),
    )
    settled = [canonical(customer) for customer in data["settled"]]
    store.write("delete_parked", month=data["month"], settled=settled)
    for customer, reason in sorted(data["parked"].items()):
        store.write("insert_parked", month=data["month"], customer=canonical(customer), seq=record.seq, reason=reason)
    _insert(store, record.seq, data, zip(data["positions"], body.invoices, strict=True))


def apply_void(store: Store, record: Record) -> None:
    """Marks an invoice as void, which keeps its bytes, and inserts its credit note."""
    data = record.data
    store.write("void_invoice", number=data["number"])
    _insert(store, record.seq, data, [(data["position"], msgspec.Raw(record.body))])


_INVOICE: dict[str, pl.DataType] = {
    "number": pl.String(),
    "seq": pl.UInt64(),
    "month": pl.String(),
    "customer": pl.String(),
    "status": pl.String(),
    "currency": pl.String(),
    "total": pl.String(),
    "issued_at": pl.Datetime("us", "UTC"),
    "series": pl.String(),
    "position": pl.UInt32(),
    "document": pl.String(),
}


def _insert(store: Store, seq: int, data: Row, issued: Iterable[tuple[int, msgspec.Raw]]) -> None:
    """Inserts (position, document) pairs, many in one statement: a month may have hundreds of thousands."""
    waiting = iter(issued)
    while rows := [_row(seq, data, position, text) for position, text in islice(waiting, INVOICES_AT_ONCE)]:
        store.insert("invoice", pl.DataFrame(rows, schema=_INVOICE, orient="row"))


def _row(seq: int, data: Row, position: int, text: msgspec.Raw) -> Row:
    document = _head.decode(text)
    return {
        "number": document.number,
        "seq": seq,
        "month": data["month"],
        "customer": canonical(document.customer.id),
        "status": "final",
        "currency": document.currency,
        "total": document.total,
        "issued_at": parse_time(document.issued_at),
        "series": data["series"],
        "position": position,
        "document": bytes(text).decode(),
    }


KINDS: dict[str, Callable[[Store, Record], None]] = {"close": apply_close, "void": apply_void}
"""Record kind -> its projection."""
