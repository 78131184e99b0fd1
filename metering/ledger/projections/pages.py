"""The ledger rows of pages and walks: proof of what was seen, also where nothing had changed. Parses no page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import polars as pl

from metering.core.frames import UTC_MICROSECONDS
from metering.core.period import parse_time
from metering.store.record import Record

HISTORY_ENDPOINTS = frozenset({"history", "batch"})
"""Full reads of an organization's history, and reads of some of its projects by id."""

PAGE = pl.Schema(
    {
        "seq": pl.UInt64(),
        "walk": pl.UInt32(),
        "endpoint": pl.String(),
        "organization": pl.String(),
        "sent_at": UTC_MICROSECONDS,
        "received_at": UTC_MICROSECONDS,
        "request_id": pl.String(),
        "sha256": pl.String(),
        "bytes": pl.UInt64(),
        "items": pl.UInt32(),
        "changes": pl.UInt32(),
        "metrics": pl.List(pl.String),
        "grains": pl.List(pl.UInt8),
        "fault": pl.String(),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRow:
    """A row of table `page`. `fault` says why nothing was read from it."""

    seq: int
    walk: int
    endpoint: str
    organization: str
    sent_at: datetime
    received_at: datetime
    request_id: str
    sha256: str
    bytes: int
    items: int
    metrics: Sequence[str] = ()
    grains: Sequence[int] = ()
    fault: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkRow:
    """A row of table `walk`: a read that has ended. `kind` and `reason` say why it is not complete."""

    walk: int
    seq: int
    endpoint: str
    organization: str
    grain: int | None
    period_start: datetime | None
    period_end: datetime | None
    first_sent_at: datetime
    pages: int
    is_complete: bool
    reason: str
    kind: str


def page_row(record: Record, body: bytes, *, items: int, fault: str | None) -> PageRow:
    """The row of a page that shows no metrics; `body` is the record's, which is decompressed only once."""
    data = record.data
    return PageRow(
        seq=record.seq,
        walk=data["walk"],
        endpoint=data["endpoint"],
        organization=data["organization"],
        sent_at=parse_time(data["sent_at"]),
        received_at=parse_time(data["received_at"]),
        request_id=data["request_id"],
        sha256=record.sha256,
        bytes=len(body),
        items=items,
        fault=fault,
    )


def page_frame(rows: Iterable[PageRow], changes: Mapping[int, int] | None = None) -> pl.DataFrame:
    """The rows as PAGE; `changes` says how many rows each page changed, by its seq."""
    counts = changes or {}
    return pl.DataFrame([{**asdict(row), "changes": counts.get(row.seq, 0)} for row in rows], schema=PAGE, orient="row")
