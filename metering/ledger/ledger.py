"""Journal and store together: a fact is journalled, then projected; on opening, the store takes what it lacks.

`open_ledger` is the only way to write. Everything that the store holds comes from the journal (from its newest
checkpoint and the records after that), so a store that is lost, stale or damaged costs time and no data.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType
from typing import Any

from metering.core.author import Author
from metering.core.errors import MeteringError, StoreDamagedError, UnpublishedError
from metering.core.exhaustion import hint_for
from metering.ledger import lineage
from metering.ledger.landing import Landing, is_small
from metering.ledger.projections import deeds
from metering.ledger.streams import Streams
from metering.store import backup, checkpoint, damage, high_water, lock, snapshots, witness
from metering.store import database as door
from metering.store.database import Store
from metering.store.journal import JOURNAL, Journal, read
from metering.store.record import CLOCK_BACK, GENESIS, Record

PAGES_AT_ONCE = 100
"""So many pages other than history's wait at most; pages of history count their buckets."""


class Ledger:
    """Open for writing; the caller holds the lock. `clock` gives the business time of each record.

    `witness_path` is the file that promises are compared with. `is_rebuilt`: the journal may have lost records.
    """

    def __init__(
        self,
        directory: Path,
        clock: Callable[[], datetime],
        witness_path: Path | None = None,
        *,
        is_rebuilt: bool = False,
        by: Author | None = None,
    ) -> None:
        self.directory = directory
        self.clock = clock
        self.witness = witness_path
        self._by = by
        self._failure: Exception | None = None
        is_whole = not is_rebuilt and not backup.is_one(directory)
        with ExitStack() as opened:
            if is_whole and not (directory / JOURNAL).is_dir():
                high_water.refuse_less(
                    directory, 0, GENESIS
                )  # before an empty journal is begun in the lost one's place
            self.journal = opened.enter_context(closing(Journal(directory / JOURNAL)))
            if is_whole:
                high_water.refuse_less(directory, self.journal.seq, self.journal.hash)
            self.store: Store = open_store(directory, directory / JOURNAL)
            opened.enter_context(closing(self.store.connection))
            self.landing = Landing(self.store)
            self._streams = Streams(lambda walk: int(self.store.query("ledger/pages_of_walk", walk=walk).item()))
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

    def obstacles(self) -> list[lineage.Obstacle]:
        """Why nothing may be promised now."""
        return lineage.obstacles(self.store, self.directory, self.clock(), self.witness, self.journal.latest_at)

    def refuse(self, kind: str) -> None:
        """Raises MeteringError where records of this kind are forbidden now: before what they tell of is done."""
        if kind in lineage.FORBIDDEN_BY:
            lineage.refuse(self.obstacles(), kind)

    def begin_epoch(
        self, because: str, lost_up_to: int | None = None, numbers: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        """From here on this is another store than the one that its last records were written in.

        `numbers` are the last ones of each series that lost records gave out.
        """
        known = {"epoch": token_hex(4), "because": because, "lost_up_to": lost_up_to, "numbers": dict(numbers)}
        self._write("epoch", known, b"")

    def _record(self, kind: str, data: dict[str, Any], body: bytes) -> int:
        if backup.is_one(self.directory):
            self.begin_epoch("backup")
            backup.unmark(self.directory)
        self.refuse(kind)
        if kind not in lineage.FORBIDDEN_BY or self.witness is None:
            return self._write(kind, data, body)
        with witness.promised(self.witness, self.directory, self.journal) as testify:
            seq = self._write(kind, data, body)
            testify(lineage.of(self.store).epoch, lineage.numbers(self.store))
        return seq

    def _write(self, kind: str, data: dict[str, Any], body: bytes) -> int:
        is_shared, now = is_small(kind, data), self.clock()
        if self._by is not None and deeds.told(kind, data) is not None:
            data = {**data, deeds.BY: self._by.document()}
        if kind != "adopt" and lineage.is_behind(now, self.journal.latest_at):
            data = {**data, CLOCK_BACK: self.journal.latest_at}
        stream = self._streams.of(kind, data)
        record = self.journal.append(kind, data, at=now, body=body, stream=stream, sync=not is_shared)
        try:
            self.landing.apply(record)
        except MeteringError as error:
            if kind not in lineage.FORBIDDEN_BY:
                raise
            what = f"it is done and journalled (record {record.seq}), and {error}: the same command then answers"
            raise MeteringError(what, hint=hint_for(what)) from error
        if self.landing.waiting >= PAGES_AT_ONCE:
            self.flush()
        return record.seq

    def flush(self) -> None:
        """Makes durable, then projects, the pages that wait."""
        self.journal.sync()
        self.landing.flush()

    def close(self) -> None:
        """Projects the pages that wait and publishes the readers' copy. Closes everything even if that fails.

        A store that failed to take a record raised its error then: it is only closed. Raises UnpublishedError.
        """
        with closing(self.store.connection), closing(self.journal):
            if not self.landing.is_broken:
                self.flush()
                self._testify()
                self._publish()

    def _publish(self) -> None:
        numbers = lineage.numbers(self.store)
        try:
            snapshots.publish(self.store, self.directory)
            high_water.mark(self.directory, self.journal, numbers)
        except StoreDamagedError:
            raise
        except (OSError, MeteringError) as error:
            what = f"{error.filename or self.directory}: {error.strerror}" if isinstance(error, OSError) else str(error)
            raise UnpublishedError(
                f"what was done is journalled, and readers do not see it yet: {what}",
                hint=hint_for(what),
            ) from error

    def adopt(self, numbers: Mapping[str, int], *, is_compared: bool, is_clock: bool) -> None:
        """Goes on, by a person's word, behind the numbers given for each series; the witness follows.

        A store that was copied begins an epoch: what it tells from here on has ids of its own.
        """
        if is_compared and lineage.of(self.store).is_adopted and not backup.is_one(self.directory):
            self.begin_epoch("copied")
        self.record("adopt", {"compared": is_compared, "clock": is_clock, "numbers": dict(numbers)})
        if is_compared:
            self._testify(is_forced=True)

    def _testify(self, *, is_forced: bool = False) -> None:
        """Tells the witness where the journal ends; the first time, it is recorded that there is one.

        A witness that cannot be written is no reason to stop reading: the next promise is refused.
        """
        known, path = lineage.of(self.store), self.witness
        is_sound = is_forced or not lineage.against(self.store, self.directory, path)
        if not is_sound:
            return
        if known.witness != (path and str(path)):
            self._write("witness", {"path": path and str(path)}, b"")
        if path is not None:
            with suppress(OSError, StoreDamagedError):
                now = known.epoch, lineage.numbers(self.store)
                witness.tell(path, self.directory, self.journal, now, is_forced=is_forced)

    def _catch_up(self) -> None:
        """Takes from the journal what the store lacks; refuses a store that was made from another journal."""
        seq, digest = self.store.query("store/position").row(0)
        if seq > self.journal.seq:
            raise StoreDamagedError(
                f"the store holds record {seq}, the journal ends at {self.journal.seq}",
                hint="the journal lost records: restore it from a backup",
            )
        _make_deeds(self.store, self.directory / JOURNAL)
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


def _make_deeds(store: Store, directory: Path) -> None:
    """Makes the deeds that a store of an older version lacks; the headers of records are never dropped."""
    if lacks := store.query("ledger/deeds_lacking")["up_to"].to_list():
        with store.transaction():
            for record in takewhile(lambda record: record.seq <= lacks[0], read(directory)):
                deeds.apply_deed(store, record)
            store.write("delete_deeds_lacking")


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
def open_ledger(
    directory: Path,
    clock: Callable[[], datetime],
    witness_path: Path | None = None,
    *,
    is_rebuilt: bool = False,
    by: Author | None = None,
) -> Iterator[Ledger]:
    """Takes the lock, opens journal and store, replays what the store lacks; publishes the snapshot at the end.

    `by` is kept in each record that tells what somebody did.
    Raises StoreBusyError (another process writes), JournalDamagedError, StoreDamagedError.
    """
    with damage.watched(directory), lock.held(directory):
        ledger = Ledger(directory, clock, witness_path, is_rebuilt=is_rebuilt, by=by)
        try:
            yield ledger
        finally:
            ledger.close()


def mend(directory: Path) -> str:
    """Sets damaged files aside and makes them anew; returns what was done as a sentence, empty where nothing was."""
    with lock.held(directory):
        done = damage.set_aside(directory)
        if done:
            Ledger(directory, _no_clock).close()
    return done


def publish(directory: Path) -> None:
    """Takes what the store lacks of the journal and publishes the readers' copy; records nothing."""
    with open_ledger(directory, _no_clock):
        pass


def in_memory(directory: Path) -> Store:
    """All that the journal gives, in memory; writes nothing."""
    base = checkpoint.base(directory / JOURNAL)
    store = door.in_memory(base.load if base else None)
    replay(directory, store)
    return store


def _no_clock() -> datetime:
    raise AssertionError("nothing is recorded here")


def replay(directory: Path, target: Store) -> tuple[int, str]:
    """Projects into a store every record that it lacks; returns the last record's (seq, hash)."""
    _make_deeds(target, directory / JOURNAL)
    Landing(target).apply_all(lacking(target, directory / JOURNAL))
    seq, digest = target.query("store/position").row(0)
    return int(seq), str(digest)
