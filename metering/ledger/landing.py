"""Projects each journal record into rows: the one code path for a live poll, a restart and a rebuild.

Every record is projected in a transaction that also moves the store's position, so that the store is always what some
beginning of the journal gives. Reads no clock, uses no network; the same records give the same rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from metering.core.errors import StoreDamagedError
from metering.ledger.projections import alarms, alerts, cycles, invoices, lineage, quota_changes, retention, stripe
from metering.ledger.projections.deeds import apply_deed
from metering.ledger.projections.history import HistoryRows
from metering.ledger.projections.history_pages import read_page
from metering.ledger.projections.inventory import InventoryRows
from metering.ledger.projections.keys import RowKeys
from metering.ledger.projections.not_counted import apply_not_counted
from metering.ledger.projections.pages import HISTORY_ENDPOINTS
from metering.ledger.projections.walks import apply_walk
from metering.neon.legacy import PATH as LEGACY_PATH
from metering.store.database import Store
from metering.store.record import Record

RECORDS_AT_ONCE = 1000
"""So many records share a transaction while the store catches up; after a crash only they are projected again."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What projections write to: the store, and the pages that wait to be written together."""

    store: Store
    keys: RowKeys
    history: HistoryRows
    inventory: InventoryRows


PROMISES: dict[str, Callable[[Store, Record], None]] = {
    **alarms.KINDS,
    **alerts.KINDS,
    **quota_changes.KINDS,
    **invoices.KINDS,
    **stripe.KINDS,
    **retention.KINDS,
    **lineage.KINDS,
}
"""Record kind -> its projection, for all records that come from no page: each needs nothing but the store."""


def _alone(project: Callable[[Store, Record], None]) -> Callable[[Rows, Record], None]:
    return lambda rows, record: project(rows.store, record)


def _end_walk(rows: Rows, record: Record) -> None:
    row, metrics, grains = apply_walk(rows.store, record)
    if row.endpoint in HISTORY_ENDPOINTS:
        rows.history.end_walk(row, metrics, grains, is_legacy=record.data.get("path") == LEGACY_PATH)
    elif row.endpoint == "inventory" and row.is_complete:
        rows.inventory.end_walk(record)


PROJECTIONS: dict[str, Callable[[Rows, Record], None]] = {
    **{kind: _alone(project) for kind, project in PROMISES.items()},
    "walk": _end_walk,
    "cycle": _alone(cycles.apply_cycle),
    "not_counted": lambda rows, record: apply_not_counted(rows.store, record, rows.keys),
}
"""Record kind -> its projection, for every kind but `page`: pages are gathered and written together."""


def is_small(kind: str, data: Mapping[str, Any]) -> bool:
    """Whether a record is one of the many small pages about one project: its quota counters, its branches."""
    return bool(kind == "page" and data["endpoint"] in {"project", "branches"})


def land_promise(store: Store, record: Record) -> None:
    """Projects one record that comes from no page (an alert, an invoice, …); leaves out every other."""
    if record.kind in PROMISES:
        PROMISES[record.kind](store, record)
    apply_deed(store, record)


class Landing:
    """Applies records to a store, in the journal's order. `flush` makes what was gathered durable."""

    def __init__(self, store: Store) -> None:
        self.store = store
        keys = RowKeys(store)
        self._rows = Rows(store, keys, HistoryRows(store, keys), InventoryRows(store))
        self._landed = int(store.query("store/position").item(0, "seq"))
        self._taken: tuple[int, bytes] | None = None  # (seq, hash) of the last page that waits
        self.is_broken = False

    @property
    def waiting(self) -> int:
        """How many pages other than history's wait to be written together."""
        return self._rows.inventory.waiting

    def apply(self, record: Record) -> None:
        """Projects one record. A page may wait in a batch; everything else is committed on return.

        Raises what the database raises (a full disk); this object then takes no further record.
        """
        self._refuse_once_broken()
        before = self._taken[0] if self._taken else self._landed
        assert record.seq == before + 1, f"record {record.seq} was to follow {before}"
        if record.kind == "page":
            self._gather(record)
            self._taken = record.seq, record.hash
            return
        with self._whole():
            self._land(ending=record.data["walk"] if record.kind == "walk" else None)
            PROJECTIONS[record.kind](self._rows, record)
            apply_deed(self.store, record)
            self._advance(record.seq, record.hash)

    def _gather(self, page: Record) -> None:
        if page.data["endpoint"] not in HISTORY_ENDPOINTS:
            self._rows.inventory.gather(page)
            return
        parsed = read_page(page)
        if not self._rows.history.gather(parsed):
            self.flush()
            self._rows.history.gather(parsed)

    def flush(self) -> None:
        """Commits the pages gathered so far, in one transaction."""
        if self._taken is None:
            return
        with self._whole():
            self._land()
            self._advance(*self._taken)

    def _land(self, *, ending: int | None = None) -> None:
        self._rows.inventory.land()
        self._rows.history.land(ending=ending)

    def apply_all(self, records: Iterable[Record]) -> Record | None:
        """Projects many records, many in each transaction; returns the last."""
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
        """One transaction. If it fails, the gathered pages are lost, so nothing may be projected behind them."""
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

    def _advance(self, seq: int, digest: bytes) -> None:
        self.store.write("move_position", seq=seq, hash=digest.hex())
        self._landed, self._taken = seq, None
