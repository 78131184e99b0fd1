"""How each journal record becomes rows: the one code path for a live poll, a restart and a rebuild.

Every record is landed in a transaction that also moves the store's position, so that the store is at any moment what
some beginning of the journal gives. Reads no clock, asks no network; the same records give the same rows.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

from metering.core.errors import StoreDamagedError
from metering.core.period import parse_time
from metering.ledger.projections import alarms, alerts, invoices, quota_changes, retention, stripe, unread
from metering.ledger.projections.history import HISTORY_ENDPOINTS, HistoryRows, grain_fault, read_page
from metering.ledger.projections.inventory import InventoryRows
from metering.ledger.projections.pages import walk_frame
from metering.ledger.projections.rollup import roll_daily
from metering.neon.legacy import PATH as LEGACY_PATH
from metering.store.database import Store
from metering.store.record import Record

RECORDS_AT_ONCE = 1000
"""So many records share a transaction while the store catches up; a crash then costs no more than doing them again."""

PROJECTIONS: dict[str, Callable[[Store, dict[str, Any]], None]] = {
    **alarms.KINDS,
    **alerts.KINDS,
    **quota_changes.KINDS,
    **invoices.KINDS,
    **stripe.KINDS,
    **retention.KINDS,
}
"""Record kind -> what it does to the store, of all that no page brought."""


def is_small(kind: str, data: Mapping[str, Any]) -> bool:
    """Whether a record is one of the many small pages about one project: its quota counters, its branches."""
    return bool(kind == "page" and data["endpoint"] in {"project", "branches"})


def land_promise(store: Store, record: Record) -> None:
    """Lands one record that comes from no page (an alert, an invoice, …) by itself; leaves out every other."""
    if record.kind in PROJECTIONS:
        PROJECTIONS[record.kind](store, _plain(record))


class Landing:
    """Applies records to a store, in the journal's order. `flush` makes what was gathered durable."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._history = HistoryRows(store)
        self._inventory = InventoryRows(store)
        self._landed = int(store.query("store/position").item(0, "seq"))
        self._taken: Record | None = None
        self.is_broken = False

    @property
    def waiting(self) -> int:
        """How many pages other than history's wait to be landed together."""
        return self._inventory.waiting

    def apply(self, record: Record) -> None:
        """Lands one record. A page may wait in a batch; everything else is committed on return.

        Raises what the database raises (a full disk); this object then takes nothing more.
        """
        self._refuse_once_broken()
        before = self._taken.seq if self._taken else self._landed
        assert record.seq == before + 1, f"record {record.seq} was to follow {before}"
        if record.kind == "page":
            self._gather(record)
            self._taken = record
            return
        with self._whole():
            self._inventory.land()
            self._history.land(ending=record.data["walk"] if record.kind == "walk" else None)
            self._write(record)
            self._advance(record)

    def _gather(self, page: Record) -> None:
        if page.data["endpoint"] not in HISTORY_ENDPOINTS:
            self._inventory.gather(page)
            return
        parsed = read_page(page)
        if not self._history.gather(parsed):
            self.flush()
            self._history.gather(parsed)

    def flush(self) -> None:
        """Commits the pages gathered so far, in one transaction."""
        if self._taken is None:
            return
        with self._whole():
            self._inventory.land()
            self._history.land()
            self._advance(self._taken)

    def apply_all(self, records: Iterable[Record]) -> Record | None:
        """Lands many records, many in each transaction; returns the last."""
        last = None
        waiting = iter(records)
        while chunk := list(islice(waiting, RECORDS_AT_ONCE)):
            with self._whole():
                for record in chunk:
                    self.apply(record)
                self.flush()
            last = chunk[-1]
        return last

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """One transaction. What was gathered is gone when it fails, so that nothing may be landed behind it."""
        self._refuse_once_broken()
        try:
            with self.store.transaction():
                yield
        except BaseException:
            self.is_broken = True
            raise

    def _refuse_once_broken(self) -> None:
        if self.is_broken:
            raise StoreDamagedError(
                "the store could not take an earlier record",
                hint="start again: it takes what it lacks from the journal",
            )

    def _advance(self, record: Record) -> None:
        self.store.write("move_position", seq=record.seq, hash=record.hash.hex())
        self._landed, self._taken = record.seq, None

    def _write(self, record: Record) -> None:
        if record.kind == "walk":
            self._walk(record)
        elif record.kind == "cycle":
            self._cycle(record)
        elif record.kind == "not_counted":
            self._history.take_off(record)
        elif record.kind in PROJECTIONS:
            PROJECTIONS[record.kind](self.store, _plain(record))
        else:
            raise AssertionError(f"no rows are known for a record of kind {record.kind!r}")

    def _walk(self, record: Record) -> None:
        """The walk's row, and what follows from its having reached its end, or not."""
        data = record.data
        facts = self.store.query("ledger/walk_pages", walk=data["walk"]).row(0, named=True)
        metrics, grains = list(facts["metrics"] or ()), list(facts["grains"] or ())
        is_history = data["endpoint"] in HISTORY_ENDPOINTS
        kind, reason = data["kind"], data["reason"]
        if kind == "":
            reason = facts["first_fault"] or (grain_fault(data["grain"], grains) if is_history else "")
            kind = "refused" if reason else ""
        row = {
            "walk": data["walk"],
            "seq": record.seq,
            "endpoint": data["endpoint"],
            "organization": data["organization"],
            "grain": data["grain"],
            "period_start": data["period_start"] and parse_time(data["period_start"]),
            "period_end": data["period_end"] and parse_time(data["period_end"]),
            "first_sent_at": parse_time(data["first_sent_at"]),
            "pages": facts["pages"],
            "is_complete": kind == "",
            "reason": reason,
            "kind": kind,
        }
        self.store.insert("walk", walk_frame(row))
        if row["is_complete"]:
            unread.end(self.store, row)
        if is_history:
            self._history.end_walk(row, metrics, grains, is_legacy=data.get("path") == LEGACY_PATH)
        elif data["endpoint"] == "inventory" and row["is_complete"]:
            self._inventory.end_walk(record)

    def _cycle(self, record: Record) -> None:
        data = record.data
        self._history.end_cycle()
        self.store.write(
            "insert_cycle",
            seq=record.seq,
            command=data["command"],
            started_at=parse_time(data["started_at"]),
            ended_at=parse_time(data["ended_at"]),
            requests=data["requests"],
            pages=data["pages"],
            changes=data["changes"],
            outcome=data["outcome"],
            faults=json.dumps(data["faults"]),
        )
        roll_daily(self.store, record.seq, parse_time(data["ended_at"]))


def _plain(record: Record) -> dict[str, Any]:
    return {"seq": record.seq, "kind": record.kind, "at": record.at, "data": record.data, "body": record.body}
