"""How closing and voiding become rows, live and in a rebuild alike. Knows no prices and computes no amount."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import duckdb
import polars as pl

from metering.period import parse_time

Row = dict[str, Any]


def apply_close(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """One closing with all its invoices; the body holds them, the terms and what was unassigned or unpriced."""
    data, body = record["data"], json.loads(record["body"])
    connection.execute(
        "insert or ignore into terms values ($sha256, $seq, $document)",
        {"sha256": data["terms_sha256"], "seq": record["seq"], "document": _text(body["terms"])},
    )
    connection.execute(
        "insert into closing values ($seq, $month, $as_of, $as_of_seq, $sha256, $reason, $document)",
        {
            "seq": record["seq"],
            "month": data["month"],
            "as_of": parse_time(data["as_of"]),
            "as_of_seq": data["as_of_seq"],
            "sha256": data["terms_sha256"],
            "reason": data["allow_incomplete"],
            "document": _text(body["facts"]),
        },
    )
    connection.execute(
        "delete from parked where month = $month and list_contains($settled, customer)",
        {"month": data["month"], "settled": data["settled"]},
    )
    for customer, reason in sorted(data["parked"].items()):
        connection.execute(
            "insert or replace into parked values ($month, $customer, $seq, $reason)",
            {"month": data["month"], "customer": customer, "seq": record["seq"], "reason": reason},
        )
    _insert(connection, record["seq"], data, zip(data["positions"], body["invoices"], strict=True))


def apply_void(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """The voided invoice keeps its bytes; the credit note stands beside it."""
    data = record["data"]
    connection.execute("update invoice set status = 'void' where number = $number", {"number": data["number"]})
    note = json.loads(record["body"])
    _insert(connection, record["seq"], data, [(data["position"], note)])


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


def _insert(connection: duckdb.DuckDBPyConnection, seq: int, data: Row, issued: Iterable[tuple[int, Row]]) -> None:
    """(position, document) each, in one statement: a month may have tens of thousands."""
    rows = [
        {
            "number": document["number"],
            "seq": seq,
            "month": data["month"],
            "customer": document["customer"]["id"],
            "status": "final",
            "currency": document["currency"],
            "total": document["total"],
            "issued_at": parse_time(document["issued_at"]),
            "series": data["series"],
            "position": position,
            "document": _text(document),
        }
        for position, document in issued
    ]
    connection.register("issued", pl.DataFrame(rows, schema=_INVOICE, orient="row"))
    try:
        connection.execute("insert into invoice by name select * from issued")
    finally:
        connection.unregister("issued")


def _text(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


KINDS: dict[str, Callable[[duckdb.DuckDBPyConnection, Row], None]] = {"close": apply_close, "void": apply_void}
"""Record kind -> what it does to the store."""
