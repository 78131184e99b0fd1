"""Rows of list pages that could not be read: what `status` lists, and hours that are not certified for one project.

Knows the tables of sql/migrations/0012_unreadable.sql. Sends nothing, reads no clock; the caller holds the transaction.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from metering.core.frames import UTC_MICROSECONDS
from metering.core.period import Period, merged, without
from metering.ledger.projections.pages import WalkRow
from metering.neon.readable import Unreadable
from metering.store.database import Store
from metering.store.record import Record

_ROWS = pl.Schema(
    {
        "page_seq": pl.UInt64(),
        "walk": pl.UInt32(),
        "endpoint": pl.String(),
        "grain": pl.UInt8(),
        "organization": pl.String(),
        "project_id": pl.String(),
        "fault": pl.String(),
        "ended_seq": pl.UInt64(),
    }
)
_HOURS = pl.Schema(
    {
        "seq": pl.UInt64(),
        "organization": pl.String(),
        "project_id": pl.String(),
        "grain": pl.UInt8(),
        "period_start": UTC_MICROSECONDS,
        "period_end": UTC_MICROSECONDS,
        "fault": pl.String(),
        "ended_seq": pl.UInt64(),
    }
)
LATEST = 2**63


def rows_of(record: Record, unreadable: Iterable[Unreadable]) -> list[dict[str, Any]]:
    """The rows of table `unreadable` of one page."""
    names = ("walk", "endpoint", "organization")
    head = {"page_seq": record.seq, **{name: record.data[name] for name in names}, "grain": record.data.get("grain")}
    return [{**head, "project_id": row.project_id, "fault": row.fault, "ended_seq": None} for row in unreadable]


def insert(store: Store, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts rows of table `unreadable`."""
    if rows:
        store.insert("unreadable", pl.DataFrame(rows, schema=_ROWS, orient="row"))


def end(store: Store, walk: WalkRow) -> None:
    """Ends the unreadable rows of earlier walks over a list: a complete walk has its own.

    Those of reads of single projects end with the next walk over all projects.
    """
    store.write(
        "end_unreadable",
        seq=walk.seq,
        organization=walk.organization,
        endpoint=walk.endpoint,
        grain=walk.grain,
        walk=walk.walk,
    )


def certify(store: Store, walk: WalkRow, grain: int, window: Period) -> None:
    """Writes which hours a walk certifies for its organization, but not for the projects that it could not read.

    Hours that an earlier walk certified for them stay certified. Call it before the walk's own coverage is written.
    """
    organization = walk.organization
    faults = list(store.query("ledger/unreadable_of_walk", walk=walk.walk).iter_rows())
    older = [row for row in _open(store) if row["organization"] == organization and row["grain"] >= grain]
    if not faults and not older:
        return
    known = [
        Period(start=row["period_start"], end=row["period_end"])
        for row in store.query("billing/coverage_of", as_of_seq=LATEST, after=0).iter_rows(named=True)
        if row["organization"] == organization and row["grain"] <= grain
    ]
    rows = []
    for project_id, fault in faults:
        again = [_period(row).overlap(window) for row in older if row["project_id"] == project_id]
        holes = merged([*without(window, known), *(part for part in again if part)])
        rows += [_hours(walk, (project_id, grain, fault), hole) for hole in holes]
    for row in older:
        rest = without(_period(row), [window])
        if rest != [_period(row)]:
            _end_hours(store, row, walk.seq)
            rows += [_hours(walk, (row["project_id"], row["grain"], row["fault"]), part) for part in rest]
    if rows:
        store.insert("unread_hours", pl.DataFrame(rows, schema=_HOURS, orient="row"))


def _open(store: Store) -> Iterable[dict[str, Any]]:
    return store.query("billing/unread_hours", as_of_seq=LATEST).iter_rows(named=True)


def _period(row: dict[str, Any]) -> Period:
    return Period(start=row["period_start"], end=row["period_end"])


def _hours(walk: WalkRow, what: tuple[str, int, str], hole: Period) -> dict[str, Any]:
    project_id, grain, fault = what
    return {
        "seq": walk.seq,
        "organization": walk.organization,
        "project_id": project_id,
        "grain": grain,
        "period_start": hole.start,
        "period_end": hole.end,
        "fault": fault,
        "ended_seq": None,
    }


def _end_hours(store: Store, row: dict[str, Any], seq: int) -> None:
    names = ("organization", "project_id", "grain", "period_start", "period_end")
    store.write("end_unread_hours", seq=seq, **{name: row[name] for name in names})
