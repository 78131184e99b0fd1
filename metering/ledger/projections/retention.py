"""How the journal's records of retention become rows: the same code for what happens now and for a rebuild.

Knows the tables of sql/migrations/0008_retention.sql and two kinds of record. Must not decide anything.

    checkpoint      {up_to, manifest_sha256}
    pages_dropped   {ranges: [[first, last]], keep_pages_days}
"""

from collections.abc import Callable
from typing import Any

import duckdb

from metering.core.period import parse_time

Row = dict[str, Any]


def apply_checkpoint(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """One checkpoint, made and compared."""
    connection.execute(
        "insert into checkpoint values ($seq, $at, $up_to, $manifest_sha256)",
        {"seq": record["seq"], "at": parse_time(record["at"]), **record["data"]},
    )


def apply_pages_dropped(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """The bodies of the pages in these ranges of records go."""
    data = record["data"]
    for first, last in data["ranges"]:
        connection.execute(
            "insert into dropped_pages values ($seq, $at, $first, $last, $keep_pages_days)",
            {
                "seq": record["seq"],
                "at": parse_time(record["at"]),
                "first": first,
                "last": last,
                "keep_pages_days": data["keep_pages_days"],
            },
        )


KINDS: dict[str, Callable[[duckdb.DuckDBPyConnection, Row], None]] = {
    "checkpoint": apply_checkpoint,
    "pages_dropped": apply_pages_dropped,
}
"""Record kind -> what it does to the store."""
