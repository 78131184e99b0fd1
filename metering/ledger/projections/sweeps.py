"""How far the open sweeps have come, and when each project's history was last read.

A sweep is a full walk of history that may span cycles. Everything here comes from page records, so a rebuild gives the
same rows. Asks nothing, reads no clock; the caller holds the transaction.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from metering.core.errors import PageRefusedError
from metering.core.frames import UTC_MICROSECONDS
from metering.core.period import parse_time
from metering.neon import readable, wire
from metering.store.database import Store
from metering.store.record import Record

_READ = pl.Schema({"project_key": pl.UInt32(), "read_at": UTC_MICROSECONDS})
_PAGE = pl.Schema({"walk": pl.UInt32(), "seq": pl.UInt64(), "cursor": pl.String()})


def cursor_of(record: Record) -> str | None:
    """Where a page leads to, however faulty its numbers are; None where it is the last."""
    read = readable.envelope if record.data.get("by_rows") else wire.envelope
    try:
        page = read(record.body)
    except PageRefusedError:
        return None
    return page.cursor if page.items else None


class SweepRows:
    """Writes the tables `sweep`, `sweep_page` and `project_read`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, read_at: Mapping[int, datetime]) -> None:
        """The projects (by key) were read at these moments."""
        if not read_at:
            return
        frame = pl.DataFrame({"project_key": read_at.keys(), "read_at": read_at.values()}, schema=_READ)
        with self._store.frames(newly_read=frame):
            self._store.write("insert_project_reads")

    def advance(self, found: Sequence[tuple[Record, str | None]]) -> None:
        """Pages of one sweep, in order, each with the cursor that it leads to."""
        if not found:
            return
        data = found[0][0].data
        self._store.write(
            "insert_sweep",
            walk=data["walk"],
            organization=data["organization"],
            grain=data["grain"],
            period_start=parse_time(data["period_start"]),
            period_end=parse_time(data["period_end"]),
            first_sent_at=parse_time(data["sent_at"]),
            params=json.dumps({name: value for name, value in data["params"].items() if name != "cursor"}),
        )
        rows: list[Any] = [(data["walk"], record.seq, cursor) for record, cursor in found]
        self._store.insert("sweep_page", pl.DataFrame(rows, schema=_PAGE, orient="row"))

    def end(self, walk: int) -> None:
        """The walk has ended, whole or broken."""
        self._store.write("delete_sweep", walk=walk)
        self._store.write("delete_sweep_pages", walk=walk)
