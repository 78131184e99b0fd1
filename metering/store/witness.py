"""The witness: a file on another disk that says where the journal ended, and which numbers were given out.

Two copies of a store cannot both go on: who finds that the file moved on without it knows that it is not alone. The
file is compared and written under its own lock. Must not know what a record means, nor who may do what.
"""

import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import structs

from metering.core.errors import StoreDamagedError
from metering.store import high_water
from metering.store.journal import JOURNAL, Journal
from metering.store.record import GENESIS

_MOST_BYTES = 64 * 1024


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A promise that is being journalled: the record that it will be, and by which directory of which machine."""

    seq: int
    place: str


class Testimony(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says: epoch, last record with its hash in hex, last number of each series."""

    epoch: str
    seq: int
    hash: str
    numbers: dict[str, int] = {}
    intent: Intent | None = None


class Witness:
    """The file, locked."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self._path = descriptor, path

    def says(self) -> Testimony | None:
        """What it says; None where nothing was written yet. Raises StoreDamagedError where it cannot be read."""
        # A line: behind it may be the rest of a longer one, if a writer died before it cut the file.
        text = os.pread(self._descriptor, _MOST_BYTES, 0).partition(b"\n")[0]
        if not text.strip():
            return None
        try:
            return msgspec.json.decode(text, type=Testimony)
        except msgspec.DecodeError as error:
            raise StoreDamagedError(
                f"the witness {self._path} cannot be read: {error}",
                hint="compare what was issued with what the store holds, then `metering store adopt --i-compared`",
            ) from None

    def write(self, said: Testimony) -> None:
        """Replaces what it says, durably."""
        content = msgspec.json.encode(said) + b"\n"
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))
        os.fsync(self._descriptor)


@contextmanager
def held(path: Path) -> Iterator[Witness]:
    """The witness, which nobody else reads or writes meanwhile; begun empty where it is missing. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Witness(descriptor, path)
    finally:
        os.close(descriptor)


@contextmanager
def promised(path: Path, directory: Path, journal: Journal) -> Iterator[Callable[[str, Mapping[str, int]], None]]:
    """Holds the witness while a promise is journalled: it says so before, and what came of it after.

    Gives the function that writes what came of it, from the epoch and the last number of each series. Raises
    StoreDamagedError where the witness objects, OSError where it cannot be written.
    """
    with held(path) as one:
        said = one.says() or Testimony(epoch="", seq=0, hash=GENESIS.hex())
        if against := objection(said, directory, journal.seq, journal.hash.hex()):
            raise StoreDamagedError(f"this store may be one of two: {against}")
        one.write(structs.replace(said, intent=Intent(seq=journal.seq + 1, place=place(directory))))
        yield lambda epoch, numbers: one.write(_now(journal, epoch, numbers))


def tell(
    path: Path, directory: Path, journal: Journal, told: tuple[str, Mapping[str, int]], *, is_forced: bool
) -> None:
    """Writes where the journal ends, with (epoch, numbers), unless the witness objects and is not forced."""
    with held(path) as one:
        said = None if is_forced else one.says()
        if not (said and objection(said, directory, journal.seq, journal.hash.hex())):
            one.write(_now(journal, *told))


def _now(journal: Journal, epoch: str, numbers: Mapping[str, int]) -> Testimony:
    return Testimony(epoch=epoch, seq=journal.seq, hash=journal.hash.hex(), numbers=dict(numbers))


def place(directory: Path) -> str:
    """What tells a store directory from a copy of it: machine, device and inode of its journal."""
    status = (directory / JOURNAL).stat()
    return f"{socket.gethostname()}:{status.st_dev}:{status.st_ino}"


def objection(said: Testimony, directory: Path, seq: int, digest: str) -> str:
    """Why a store that ends with record `seq` is not the one that the witness saw last; empty where it is."""
    if said.seq > seq:
        return f"the witness saw record {said.seq}, and this store ends with {seq}"
    known = digest if said.seq == seq else high_water.hash_at(directory, said.seq).hex()
    if known != said.hash:
        return f"the witness saw another record {said.seq} than the one that is here"
    if said.intent and said.intent.seq > seq and said.intent.place != place(directory):
        return f"the witness waits for record {said.intent.seq}, a promise that another copy of this store began"
    return ""
