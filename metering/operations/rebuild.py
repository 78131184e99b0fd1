"""`rebuild`: derives everything that the store holds from the journal alone, and keeps it."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from metering.core.errors import StoreDamagedError
from metering.ledger import ledger, lineage
from metering.store import database, high_water, journal, lock, snapshots
from metering.store.journal import JOURNAL

PROOF = "proof"
"""Where retention builds a second store; a rebuild makes it begin anew."""
LOST = "lost.duckdb"
"""The store before a rebuild that found less in the journal than it held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """The last record; the last that was written here and is lost, or 0; the last numbers that the old store knew."""

    records: int
    lost: int
    numbers: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What something beside the journal says of its end."""

    seq: int
    hash: str
    numbers: Mapping[str, int]


def rebuild(directory: Path) -> Rebuilt:
    """Builds the database anew from the journal alone and publishes it.

    Begins with the newest whole checkpoint, if there is one. The old database stays in its place until the new one is
    complete, and is kept as `lost.duckdb` where it held records that the journal lacks. The caller holds no lock.
    Raises StoreBusyError, JournalDamagedError.
    """
    with lock.held(directory), closing(journal.Journal(directory / JOURNAL)) as whole:  # repairs a torn tail
        lost, numbers = _lost(directory, whole)
        building = directory / "rebuild"
        for remains in (building, directory / PROOF):
            shutil.rmtree(remains, ignore_errors=True)
        building.mkdir(mode=0o700)
        try:
            target = ledger.open_store(building, directory / JOURNAL)
            with closing(target.connection):
                records, _ = ledger.replay(directory, target)
                given = lineage.numbers(target)
                target.connection.execute("checkpoint")
            _put_in_place(directory, building / database.DATABASE, keeps_old=bool(lost))
        finally:
            shutil.rmtree(building, ignore_errors=True)
        snapshots.publish(database.open_writer(directory), directory)
        if not lost:
            high_water.mark(directory, whole, given)
    return Rebuilt(records=records, lost=lost, numbers=numbers)


def _put_in_place(directory: Path, built: Path, *, keeps_old: bool) -> None:
    path = directory / database.DATABASE
    if keeps_old:
        with suppress(FileNotFoundError):
            path.replace(directory / LOST)
    # Deleted first: the old database without its log is an earlier state, the new one with it is damaged.
    path.with_name(path.name + ".wal").unlink(missing_ok=True)
    built.replace(path)


def _lost(directory: Path, whole: journal.Journal) -> tuple[int, Mapping[str, int]]:
    """The last record that was written here and that the journal lacks, or 0; the numbers that were given out."""
    lost, numbers = 0, dict[str, int]()
    for known in _known(directory):
        if known.seq > whole.seq or high_water.hash_at(directory, known.seq).hex() != known.hash:
            lost = max(lost, known.seq)
            numbers |= {name: max(last, numbers.get(name, 0)) for name, last in known.numbers.items()}
    return lost, numbers


def _known(directory: Path) -> Iterator[_Known]:
    """What the high-water mark, the old store and the readers' copy say; nothing of what cannot be read."""
    if mark := high_water.marked(directory):
        yield _Known(seq=mark.seq, hash=mark.hash, numbers=mark.numbers)
    for name in (database.DATABASE, database.SNAPSHOT):
        with suppress(database.DatabaseError, StoreDamagedError), snapshots.open_file(directory / name) as old:
            seq, digest = old.query("store/position").row(0)
            yield _Known(seq=int(seq), hash=str(digest), numbers=lineage.numbers(old))


def go_on_after_loss(directory: Path, clock: Callable[[], datetime], rebuilt: Rebuilt) -> None:
    """Begins an epoch where a rebuild has found fewer records than were written, or others.

    What the lost records promised is not known here, so the store promises nothing until a person has compared; the
    numbers that they gave out are not given out again.
    """
    if rebuilt.lost:
        with ledger.open_ledger(directory, clock, is_rebuilt=True) as books:
            books.begin_epoch("rebuilt", rebuilt.lost, rebuilt.numbers)
