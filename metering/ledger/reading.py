"""The one rule for readers: missing is never empty, and older is made new.

What readers see is the published copy of the store. Where the journal has records that the copy lacks, or there is no
copy, it is made from the store and the journal; where that cannot be, the reader ends with the reason. A copy that is
older while another process writes is what readers are meant to see. Must not know what is read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metering.core.errors import MeteringError, StoreBusyError, StoreDamagedError
from metering.store import damage, high_water, snapshots
from metering.store.database import SNAPSHOT, Store
from metering.store.journal import JOURNAL


@contextmanager
def open_reader(directory: Path) -> Iterator[Store]:
    """The published copy, read only, made anew where it lacks what the journal holds; empty before the first record.

    Raises StoreDamagedError, JournalDamagedError, MeteringError where the copy cannot be made.
    """
    with damage.watched(directory):
        make_complete(directory)
        with snapshots.open_reader(directory) as store:
            yield store


def make_complete(directory: Path) -> None:
    """Publishes the readers' copy anew where it is missing, unreadable or behind the journal. Raises as `open_reader`.

    A directory without a journal and without a mark never had one: a copy of the readers' file alone is read as it is.
    """
    found = high_water.marked(directory)
    if found is None and not (directory / JOURNAL).is_dir():
        return
    if found and high_water.is_there(directory, found) and _position(directory) == found.seq:
        return
    from metering.ledger.ledger import publish  # noqa: PLC0415 - all projections: only where a copy is to be made

    try:
        publish(directory)
    except StoreBusyError as error:
        if not (directory / SNAPSHOT).exists():
            raise StoreDamagedError(
                f"{directory / SNAPSHOT} is missing, and process {error.process_id} is writing",
                hint="it makes a new one when it ends: run this again then",
            ) from None
    except OSError as error:
        raise MeteringError(
            f"the readers' copy lacks records of the journal and cannot be made anew: "
            f"{error.filename or directory}: {error.strerror}",
            hint="run `metering poll` as the user that owns the store directory",
        ) from error


def _position(directory: Path) -> int | None:
    """The last record in the readers' copy; None where it is missing or cannot be read."""
    if not (directory / SNAPSHOT).exists():
        return None
    try:
        with snapshots.open_reader(directory) as store:
            return int(store.query("store/position").item(0, "seq"))
    except StoreDamagedError:
        return None
