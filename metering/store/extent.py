"""Finds the beginning of a backup's journal that existed at a given time, with its bytes and checkpoints.

Checks every record against the hash chain. Writes nothing. Must not know what a record means.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from metering.core.errors import JournalDamagedError, UsageError
from metering.core.period import parse_time, rfc3339
from metering.store import checkpoint, journal
from metering.store import segments as files
from metering.store.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A beginning of a journal: its last record and its time; `dropped`: the last record whose body was dropped."""

    records: int = 0
    latest_at: str = ""
    dropped: int = 0


def extent(directory: Path, *, most: int | None = None, until: datetime | None = None) -> Extent:
    """The journal up to its last record that was written at `until` or before. `most`: its number of records, if known.

    For records that were written while the clock was behind, the latest earlier time counts. Raises
    JournalDamagedError, and UsageError if the first record is later than `until`.
    """
    found, first, last, dropped = Extent(), "", 0, 0
    for record in journal.read(directory):
        last, first = record.seq, first or record.latest_at
        dropped = last if record.is_dropped else dropped
        if until is None or parse_time(record.latest_at) <= until:
            found = Extent(records=last, latest_at=record.latest_at, dropped=dropped)
        if last == most:
            break
    if most is not None and last != most:
        raise JournalDamagedError(f"{directory} ends with record {last} of {most}", hint="take another backup")
    if not found.records:
        what = f"nothing was recorded at {rfc3339(until)} or before" if until else f"{directory} holds no record"
        raise UsageError(what, hint=f"the first record was written at {first}" if first else "")
    return found


def checkpoints(directory: Path, kept: Extent) -> list[Checkpoint]:
    """The checkpoints in the extent. Raises JournalDamagedError if none replaces the dropped bodies."""
    # A checkpoint is named by the record after it.
    found = [one for one in checkpoint.checkpoints(directory) if one.seq < kept.records]
    if kept.dropped and not any(one.seq >= kept.dropped and not one.fault() for one in found):
        raise JournalDamagedError(
            f"pages up to record {kept.dropped} were dropped, and no whole checkpoint of that time stands in for them",
            hint="restore a later moment, or an older backup",
        )
    return found


def segments(directory: Path, kept: Extent) -> list[tuple[Path, int]]:
    """The segments of the extent, in order, each with its valid length."""
    paths = [path for path in files.files(directory) if int(path.stem) <= kept.records]
    return [*((path, path.stat().st_size) for path in paths[:-1]), (paths[-1], _length(paths[-1], kept.records))]


def _length(path: Path, last: int) -> int:
    """The offset of the end of record `last` in a segment."""
    with path.open("rb") as file:
        for _, frame in files.frames(file, path, *files.header(file, path)):
            if frame.seq == last:
                break
        return file.tell()
