"""Projects records of retention into rows, live and in a rebuild alike.

Knows the tables of sql/migrations/0008_retention.sql and two kinds of record. Must not decide anything.

    checkpoint      {up_to, manifest_sha256}
    pages_dropped   {ranges: [[first, last]], keep_pages_days}
"""

from collections.abc import Callable

from metering.core.period import parse_time
from metering.store.database import Store
from metering.store.record import Record


def apply_checkpoint(store: Store, record: Record) -> None:
    """Inserts a checkpoint that was written and compared."""
    said = {name: record.data[name] for name in ("up_to", "manifest_sha256")}
    store.write("insert_checkpoint", seq=record.seq, at=parse_time(record.at), **said)


def apply_pages_dropped(store: Store, record: Record) -> None:
    """Inserts the ranges of records whose bodies are dropped."""
    data = record.data
    for first, last in data["ranges"]:
        store.write(
            "insert_dropped_pages",
            seq=record.seq,
            at=parse_time(record.at),
            first=first,
            last=last,
            keep_pages_days=data["keep_pages_days"],
        )


KINDS: dict[str, Callable[[Store, Record], None]] = {
    "checkpoint": apply_checkpoint,
    "pages_dropped": apply_pages_dropped,
}
"""Record kind -> its projection."""
