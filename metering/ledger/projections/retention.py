"""How the journal's records of retention become rows: the same code for what happens now and for a rebuild.

Knows the tables of sql/migrations/0008_retention.sql and two kinds of record. Must not decide anything.

    checkpoint      {up_to, manifest_sha256}
    pages_dropped   {ranges: [[first, last]], keep_pages_days}
"""

from collections.abc import Callable
from typing import Any

from metering.core.period import parse_time
from metering.store.database import Store

Row = dict[str, Any]


def apply_checkpoint(store: Store, record: Row) -> None:
    """One checkpoint, made and compared."""
    store.write("insert_checkpoint", seq=record["seq"], at=parse_time(record["at"]), **record["data"])


def apply_pages_dropped(store: Store, record: Row) -> None:
    """The bodies of the pages in these ranges of records go."""
    data = record["data"]
    for first, last in data["ranges"]:
        store.write(
            "insert_dropped_pages",
            seq=record["seq"],
            at=parse_time(record["at"]),
            first=first,
            last=last,
            keep_pages_days=data["keep_pages_days"],
        )


KINDS: dict[str, Callable[[Store, Row], None]] = {
    "checkpoint": apply_checkpoint,
    "pages_dropped": apply_pages_dropped,
}
"""Record kind -> what it does to the store."""
