"""How far the open resumable reads have come, and when each project's history was last read.

A resumable read (`sweep` in records and tables) is a full read of history that may span polling runs. Everything here
comes from page records, so a rebuild gives the same rows. Sends nothing, reads no clock; the caller holds the
transaction.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from metering.core.frames import UTC_MICROSECONDS
from metering.core.period import parse_time
from metering.store.database import Store

_READ = pl.Schema({"project_key": pl.UInt32(), "read_at": UTC_MICROSECONDS})
_PAGE = pl.Schema({"walk": pl.UInt32(), "seq": pl.UInt64(), "cursor": pl.String()})


class SweepRows:
    """Writes the tables `sweep`, `sweep_page` and `project_read`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, read_at: Mapping[int, datetime]) -> None:
        """Says when projects were read last; `read_at` has their keys."""
        if not read_at:
            return
        frame = pl.DataFrame({"project_key": read_at.keys(), "read_at": read_at.values()}, schema=_READ)
        with self._store.frames(newly_read=frame):
            self._store.write("insert_project_reads")

    def advance(self, data: Mapping[str, Any], pages: Sequence[tuple[int, str | None]]) -> None:
        """Adds pages of one read, in order: (seq, cursor of the next page). `data` is that of the first page."""
        if not pages:
            return
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
        rows = [(data["walk"], seq, cursor) for seq, cursor in pages]
        self._store.insert("sweep_page", pl.DataFrame(rows, schema=_PAGE, orient="row"))

    def end(self, walk: int) -> None:
        """Forgets a read that has ended, complete or broken."""
        self._store.write("delete_sweep", walk=walk)
        self._store.write("delete_sweep_pages", walk=walk)
