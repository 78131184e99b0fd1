"""Where the journal ended when its last writer stopped: the high-water mark, a small file beside the journal.

A journal that was cut, or came from a backup, does not carry the mark: a journal that ends before it has lost records.
Readers compare it to the journal's last file, which costs no reading of records.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from metering.core.errors import JournalDamagedError
from metering.core.files import write_whole
from metering.store.journal import JOURNAL, Journal, read
from metering.store.record import GENESIS

MARK = "high-water.json"
_WAY_OUT = "restore the journal from a backup, or go on with what is left by `metering rebuild`"


class HighWater(msgspec.Struct, frozen=True, kw_only=True):
    """The last record, its hash in hex, its time, its file with the size in bytes; each series' last number."""

    seq: int
    hash: str
    latest_at: str = ""
    segment: str
    bytes: int
    numbers: dict[str, int] = {}


def marked(directory: Path) -> HighWater | None:
    """The mark of a store directory; None where no writer left one, or it cannot be read."""
    try:
        return msgspec.json.decode((directory / MARK).read_bytes(), type=HighWater)
    except (OSError, msgspec.DecodeError):
        return None


def mark(directory: Path, journal: Journal, numbers: Mapping[str, int]) -> None:
    """Notes where the journal ends, durably, and the last number of each series; the caller holds the lock."""
    segment, size = _end(directory)
    found = HighWater(
        seq=journal.seq,
        hash=journal.hash.hex(),
        latest_at=journal.latest_at,
        segment=segment,
        bytes=size,
        numbers=dict(numbers),
    )
    write_whole(directory / MARK, msgspec.json.encode(found) + b"\n")


def is_there(directory: Path, found: HighWater) -> bool:
    """Whether the journal's last file is the one that was marked, at the same length: no record came or went."""
    return _end(directory) == (found.segment, found.bytes)


def _end(directory: Path) -> tuple[str, int]:
    """Name and size of the journal's last file."""
    last = max((directory / JOURNAL).glob("*.journal"), default=None)
    return (last.name, last.stat().st_size) if last else ("", 0)


def refuse_less(directory: Path, seq: int, digest: bytes) -> None:
    """Raises JournalDamagedError where the journal, which ends with record `seq`, lacks what was written here."""
    found = marked(directory)
    if found and found.seq > seq:
        raise JournalDamagedError(
            f"the journal ends with record {seq}, and record {found.seq} was written here: records are lost",
            hint=_WAY_OUT,
        )
    if found and (digest if found.seq == seq else hash_at(directory, found.seq)).hex() != found.hash:
        raise JournalDamagedError(f"record {found.seq} of the journal is not the one written here", hint=_WAY_OUT)


def hash_at(directory: Path, seq: int) -> bytes:
    """The hash of a record that the journal has; reads the file that holds it. Raises JournalDamagedError."""
    return next(read(directory / JOURNAL, after=seq - 1)).hash if seq else GENESIS
