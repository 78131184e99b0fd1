"""The ledger rows of pages and walks: proof of what was seen, also where nothing had changed. Parses no page."""

from collections.abc import Collection
from typing import Any

import polars as pl

from metering.core.frames import UTC_MICROSECONDS
from metering.core.period import parse_time
from metering.store.record import Record

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
WALK = pl.Schema(
    {
        "walk": pl.UInt32(),
        "seq": pl.UInt64(),
        "endpoint": pl.String(),
        "organization": pl.String(),
        "grain": pl.UInt8(),
        "period_start": UTC_MICROSECONDS,
        "period_end": UTC_MICROSECONDS,
        "first_sent_at": UTC_MICROSECONDS,
        "pages": pl.UInt32(),
        "is_complete": pl.Boolean(),
        "reason": pl.String(),
        "kind": pl.String(),
    }
)


def page_row(record: Record, body: bytes, *, items: int, fault: str | None) -> dict[str, Any]:
    """A row of PAGE that shows no metrics and changed nothing; `body` is the record's, already unpacked."""
    return {
        "seq": record.seq,
        "walk": record.data["walk"],
        "endpoint": record.data["endpoint"],
        "organization": record.data["organization"],
        "sent_at": parse_time(record.data["sent_at"]),
        "received_at": parse_time(record.data["received_at"]),
        "request_id": record.data["request_id"],
        "sha256": record.sha256,
        "bytes": len(body),
        "items": items,
        "changes": 0,
        "metrics": [],
        "grains": [],
        "fault": fault,
    }


def page_frame(rows: Collection[dict[str, Any]]) -> pl.DataFrame:
    """The rows as PAGE."""
    return pl.DataFrame(list(rows), schema=PAGE, orient="row")


def walk_frame(row: dict[str, Any]) -> pl.DataFrame:
    """One row as WALK."""
    return pl.DataFrame([row], schema=WALK, orient="row")
