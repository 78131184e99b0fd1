"""The one rule for readers: missing is never empty, and older is made new.

What readers see is the published copy of the store. Where the journal has records that the copy lacks, or there is no
copy, it is made from the store and the journal: in memory where the disk takes none. A copy that is older while another
process writes is what readers are meant to see. Must not know what is read.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from metering.core.errors import JournalDamagedError, MeteringError, StoreBusyError, StoreDamagedError
from metering.store import damage, high_water, lock, snapshots
from metering.store.database import SNAPSHOT, Store
from metering.store.journal import JOURNAL


@contextmanager
def open_reader(directory: Path) -> Iterator[Store]:
    """The published copy, read only, made anew where it lacks what the journal holds; empty before the first record.

    Raises StoreDamagedError, JournalDamagedError, MeteringError where the copy cannot be made.
    """
    with damage.watched(directory), ExitStack() as opened:
        yield _complete(directory, opened) or _made(directory, opened)


def make_complete(directory: Path) -> None:
    """Publishes the copy anew where it is missing, unreadable or behind the journal. Raises as `open_reader`."""
    with ExitStack() as opened:
        if _complete(directory, opened) is not None:
            return
    _make(directory)


def _complete(directory: Path, opened: ExitStack) -> Store | None:
    """The readers' copy if it lacks nothing, open until `opened` ends; None where it is to be made.

    A directory without a journal and without a mark never had one: a copy of the readers' file alone is read as it is.
    """
    mark = high_water.marked(directory)
    is_alone = mark is None and not (directory / JOURNAL).is_dir()
    if not is_alone and not (mark and high_water.is_there(directory, mark) and (directory / SNAPSHOT).exists()):
        return None
    with ExitStack() as trial:
        try:
            store = trial.enter_context(snapshots.open_reader(directory))
        except StoreDamagedError:
            if is_alone:
                raise  # nothing is there that it could be made of
            return None
        if mark and int(store.query("store/position").item(0, "seq")) != mark.seq:
            return None
        opened.push(trial.pop_all())
        return store


def _made(directory: Path, opened: ExitStack) -> Store:
    """The copy, made anew and opened; in memory where the disk is full, read only or another user's."""
    try:
        _make(directory)
    except (JournalDamagedError, StoreDamagedError):
        raise
    except (OSError, MeteringError):
        from metering.ledger.ledger import in_memory  # noqa: PLC0415 - as below

        store = in_memory(directory)
        opened.enter_context(closing(store.connection))
        return store
    return opened.enter_context(snapshots.open_reader(directory))


def _make(directory: Path) -> None:
    try:
        lock.refuse_if_held(directory, patience_seconds=0)  # while another process writes, no reader waits
        from metering.ledger.ledger import publish  # noqa: PLC0415 - all projections: only where a copy is to be made

        publish(directory)
    except StoreBusyError as error:
        if not (directory / SNAPSHOT).exists():
            raise StoreDamagedError(
                f"{directory / SNAPSHOT} is missing, and process {error.process_id} is writing",
                hint="it makes a new one when it ends: run this again then",
            ) from None
