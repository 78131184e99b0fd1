"""Journal and store together: a fact is journalled, then projected; on opening, the store takes what it lacks.

`open_ledger` is the only way to write. Everything that the store holds comes from the journal (from its newest
checkpoint and the records after that), so a store that is lost, stale or damaged costs time and no data.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from metering.core.errors import StoreDamagedError
from metering.ledger.landing import Landing, is_small
from metering.store import checkpoint, lock, snapshots
from metering.store import database as door
from metering.store.database import Store
from metering.store.journal import JOURNAL, Journal, read
from metering.store.record import GENESIS, Record

PAGES_AT_ONCE = 100
"""So many pages other than history's wait at most; pages of history count their buckets."""


class Ledger:
    """Open for writing; the caller holds the lock. `clock` gives the business time of each record."""

    def __init__(self, directory: Path, clock: Callable[[], datetime]) -> None:
        self.directory = directory
        self.clock = clock
        self._failure: Exception | None = None
        with ExitStack() as opened:
            self.journal = opened.enter_context(closing(Journal(directory / JOURNAL)))
            self.store: Store = open_store(directory, directory / JOURNAL)
            opened.enter_context(closing(self.store.connection))
            self.landing = Landing(self.store)
            self._catch_up()
            opened.pop_all()

    def record(self, kind: str, data: dict[str, Any], *, body: bytes = b"") -> int:
        """Journals a fact, durably, and projects it. Returns its sequence number.

        Pages may wait in memory until `flush` or the next record of another kind: the journal has them. Pages about one
        project (its counters, its branches) are many and can be read again at any time, so they share one fsync.
        """
        try:
            return self._record(kind, data, body)
        except Exception as error:
            # Readings run side by side: the first error says why, the later ones only follow from it.
            self._failure = self._failure or error
            raise self._failure from None

    def _record(self, kind: str, data: dict[str, Any], body: bytes) -> int:
        is_shared = is_small(kind, data)
        record = self.journal.append(kind, data, at=self.clock(), body=body, sync=not is_shared)
        self.landing.apply(record)
        if self.landing.waiting >= PAGES_AT_ONCE:
            self.flush()
        return record.seq

    def flush(self) -> None:
        """Makes durable, then projects, the pages that wait."""
        self.journal.sync()
        self.landing.flush()

    def close(self) -> None:
        """Projects the pages that wait and publishes the readers' copy. Closes everything even if that fails.

        A store that failed to take a record raised its error then: it is only closed.
        """
        with closing(self.store.connection), closing(self.journal):
            if not self.landing.is_broken:
                self.flush()
                snapshots.publish(self.store, self.directory)

    def _catch_up(self) -> None:
        """Takes from the journal what the store lacks; refuses a store that was made from another journal."""
        seq, digest = self.store.query("store/position").row(0)
        if seq > self.journal.seq:
            raise StoreDamagedError(
                f"the store holds record {seq}, the journal ends at {self.journal.seq}",
                hint="the journal lost records: restore it from a backup",
            )
        if seq == self.journal.seq:
            _refuse_stranger(digest, self.journal.hash)
            return
        self.landing.apply_all(lacking(self.store, self.directory / JOURNAL))


def open_store(directory: Path, of: Path) -> Store:
    """Opens the database of a directory; if it is missing or older than the newest checkpoint, begins with that one.

    `of` is the journal's directory. Records after the checkpoint are not projected yet.
    """
    newest, mended = max((found.seq for found in checkpoint.checkpoints(of)), default=0), ""
    if (directory / door.DATABASE).exists():
        opened = door.open_writer(directory)
        if opened.query("store/position").item(0, "seq") >= newest:
            return opened
        opened.connection.close()
        mended = opened.mended
    if found := checkpoint.base(of):
        door.create(directory, found.load)
    begun = door.open_writer(directory)
    begun.mended = begun.mended or mended
    return begun


def lacking(store: Store, directory: Path) -> Iterator[Record]:
    """The records that a store lacks; refuses a store that was made from another journal."""
    seq, digest = store.query("store/position").row(0)
    records = read(directory, after=max(0, seq - 1))
    _refuse_stranger(digest, next(records).hash if seq else GENESIS)
    return records


def _refuse_stranger(digest: str, expected: bytes) -> None:
    if digest != expected.hex():
        raise StoreDamagedError("the store was made from another journal", hint="run `metering rebuild`")


@contextmanager
def open_ledger(directory: Path, clock: Callable[[], datetime]) -> Iterator[Ledger]:
    """Takes the lock, opens journal and store, replays what the store lacks; publishes the snapshot at the end.

    Raises StoreBusyError (another process writes), JournalDamagedError, StoreDamagedError.
    """
    with lock.held(directory):
        ledger = Ledger(directory, clock)
        try:
            yield ledger
        finally:
            ledger.close()


def replay(directory: Path, target: Store) -> tuple[int, str]:
    """Projects into a store every record that it lacks; returns the last record's (seq, hash)."""
    Landing(target).apply_all(lacking(target, directory / JOURNAL))
    seq, digest = target.query("store/position").row(0)
    return int(seq), str(digest)
