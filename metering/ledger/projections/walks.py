"""Projects records of the kind `walk`: a read of a list has ended, and is complete or not.

Knows the shape of the record. Must not know what follows for history or the inventory.

    walk  {walk, endpoint, organization, path, grain, period_start, period_end, first_sent_at, kind, reason}; kind is
          empty if nothing broke the read
"""

from collections.abc import Sequence
from dataclasses import asdict

from metering.core.period import parse_time
from metering.ledger.projections import unread
from metering.ledger.projections.pages import HISTORY_ENDPOINTS, WalkRow
from metering.store.database import Store
from metering.store.record import Record
from metering.usage.certification import grain_fault


def apply_walk(store: Store, record: Record) -> tuple[WalkRow, frozenset[str], tuple[int, ...]]:
    """Inserts the row of the walk; returns it with the metrics and the grains that its pages show."""
    facts = store.query("ledger/walk_pages", walk=record.data["walk"]).row(0, named=True)
    metrics, grains = frozenset(facts["metrics"] or ()), tuple(facts["grains"] or ())
    row = _row(record, facts["pages"], facts["first_fault"], grains)
    store.write("insert_walk", **asdict(row))
    if row.is_complete:
        unread.end(store, row)
    return row, metrics, grains


def _row(record: Record, pages: int, first_fault: str | None, grains: Sequence[int]) -> WalkRow:
    """A walk that nothing broke is refused all the same if a page was, or if its buckets certify nothing."""
    data = record.data
    kind, reason = data["kind"], data["reason"]
    if kind == "":
        is_history = data["endpoint"] in HISTORY_ENDPOINTS
        reason = first_fault or (grain_fault(data["grain"], grains) if is_history else "")
        kind = "refused" if reason else ""
    return WalkRow(
        walk=data["walk"],
        seq=record.seq,
        endpoint=data["endpoint"],
        organization=data["organization"],
        grain=data["grain"],
        period_start=data["period_start"] and parse_time(data["period_start"]),
        period_end=data["period_end"] and parse_time(data["period_end"]),
        first_sent_at=parse_time(data["first_sent_at"]),
        pages=pages,
        is_complete=kind == "",
        reason=reason,
        kind=kind,
    )
