"""How closing and voiding become rows, live and in a rebuild alike. Knows no prices and computes no amount.

Records keep customers as they were written then; rows have them as ids are compared.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import duckdb
import msgspec
import polars as pl

from metering.core.ids import canonical
from metering.core.period import parse_time

Row = dict[str, Any]
INVOICES_AT_ONCE = 10_000
_FIRST_RULES = 1
"""Records of closings name their rules since the second ones."""


class _Customer(msgspec.Struct):
    id: str


class _Head(msgspec.Struct):
    """What a document says of itself in the table's columns."""

    number: str
    customer: _Customer
    currency: str
    total: str
    issued_at: str


class _Closing(msgspec.Struct):
    """The body of a closing, its parts as they stand in it."""

    terms: msgspec.Raw
    facts: msgspec.Raw
    invoices: list[msgspec.Raw]
    paper: msgspec.Raw = msgspec.Raw(b"null")


_head = msgspec.json.Decoder(_Head)


def apply_close(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """One closing with all its invoices; the body holds them, the terms and what was unassigned or unpriced."""
    data, body = record["data"], msgspec.json.decode(record["body"], type=_Closing)
    connection.execute(
        "insert or ignore into terms values ($sha256, $seq, $document)",
        {"sha256": data["terms_sha256"], "seq": record["seq"], "document": bytes(body.terms).decode()},
    )
    connection.execute(
        "insert into closing values ($seq, $month, $as_of, $as_of_seq, $sha256, $reason, $document, $rules, $paper)",
        {
            "seq": record["seq"],
            "month": data["month"],
            "as_of": parse_time(data["as_of"]),
            "as_of_seq": data["as_of_seq"],
            "sha256": data["terms_sha256"],
            "reason": data["allow_incomplete"],
            "document": bytes(body.facts).decode(),
            "rules": data.get("rules", _FIRST_RULES),
            "paper": None if bytes(body.paper) == b"null" else bytes(body.paper).decode(),
        },
    )
    connection.execute(
        "delete from parked where month = $month and list_contains($settled, customer)",
        {"month": data["month"], "settled": [canonical(customer) for customer in data["settled"]]},
    )
    for customer, reason in sorted(data["parked"].items()):
        connection.execute(
            "insert or replace into parked values ($month, $customer, $seq, $reason)",
            {"month": data["month"], "customer": canonical(customer), "seq": record["seq"], "reason": reason},
        )
    _insert(connection, record["seq"], data, zip(data["positions"], body.invoices, strict=True))


def apply_void(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """The voided invoice keeps its bytes; the credit note stands beside it."""
    data = record["data"]
    connection.execute("update invoice set status = 'void' where number = $number", {"number": data["number"]})
    _insert(connection, record["seq"], data, [(data["position"], msgspec.Raw(record["body"]))])


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


def _insert(
    connection: duckdb.DuckDBPyConnection, seq: int, data: Row, issued: Iterable[tuple[int, msgspec.Raw]]
) -> None:
    """(position, document) each, many in one statement: a month may have hundreds of thousands."""
    waiting = iter(issued)
    while rows := [_row(seq, data, position, text) for position, text in islice(waiting, INVOICES_AT_ONCE)]:
        connection.register("issued", pl.DataFrame(rows, schema=_INVOICE, orient="row"))
        try:
            connection.execute("insert into invoice by name select * from issued")
        finally:
            connection.unregister("issued")


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


KINDS: dict[str, Callable[[duckdb.DuckDBPyConnection, Row], None]] = {"close": apply_close, "void": apply_void}
"""Record kind -> what it does to the store."""
