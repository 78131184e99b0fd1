"""How closing and voiding become rows, live and in a rebuild alike. Knows no prices and computes no amount."""

import json
from collections.abc import Callable
from typing import Any

import duckdb

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
    for position, document in zip(data["positions"], body["invoices"], strict=True):
        _insert(connection, record["seq"], data["month"], data["series"], position, document)


def apply_void(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """The voided invoice keeps its bytes; the credit note stands beside it."""
    data = record["data"]
    connection.execute("update invoice set status = 'void' where number = $number", {"number": data["number"]})
    note = json.loads(record["body"])
    _insert(connection, record["seq"], data["month"], data["series"], data["position"], note)


def _insert(
    connection: duckdb.DuckDBPyConnection, seq: int, month: str, series: str, position: int, document: Row
) -> None:
    connection.execute(
        """insert into invoice values ($number, $seq, $month, $customer, 'final', $currency, $total, $issued_at,
           $series, $position, $document)""",
        {
            "number": document["number"],
            "seq": seq,
            "month": month,
            "customer": document["customer"]["id"],
            "currency": document["currency"],
            "total": document["total"],
            "issued_at": parse_time(document["issued_at"]),
            "series": series,
            "position": position,
            "document": _text(document),
        },
    )


def _text(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


KINDS: dict[str, Callable[[duckdb.DuckDBPyConnection, Row], None]] = {"close": apply_close, "void": apply_void}
"""Record kind -> what it does to the store."""
