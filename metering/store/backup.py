"""`backup DIR`: a consistent, verified copy of the journal and the snapshot, made while the service runs.

It takes no lock: the journal only grows, so a copy is a complete beginning of it (a record that was being written is
cut off), and the snapshot is replaced by rename, never written to. restoring.py makes a store of it.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from metering.core.errors import JournalDamagedError, MeteringError, StoreDamagedError
from metering.core.files import copy_durably, database_refuses, sync_directory
from metering.core.period import rfc3339
from metering.store import checkpoint, database, journal, snapshots
from metering.store.journal import JOURNAL

MANIFEST = "manifest.json"
_LEAVING = ".deleted"
"""What the name of a backup ends with while it is being deleted."""
_NAME = re.compile(r"metering-\d{8}T\d{6}Z")
MARK = "backup"
"""A file in a backup's journal: who opens it for writing goes on beside the store that it was made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A finished copy: its directory, its last record and its size."""

    path: Path
    records: int
    bytes: int


def is_one(directory: Path) -> bool:
    """Whether the journal of a store directory is a backup's, into which nothing was written yet."""
    return (directory / JOURNAL / MARK).exists()


def unmark(directory: Path) -> None:
    """The directory is a store from here on, and no longer a backup."""
    (directory / JOURNAL / MARK).unlink()
    sync_directory(directory / JOURNAL)


def mark(journal_directory: Path, facts: dict[str, object]) -> None:
    """Says, durably, that this journal is a backup's."""
    _write_json(journal_directory / MARK, facts)


def backup(directory: Path, target: Path, now: datetime) -> Backup:
    """Copies the store directory into a new directory under `target`, verifies the copy, and names it last.

    Raises MeteringError if there is nothing to copy, the name is taken or the target cannot be written;
    JournalDamagedError and StoreDamagedError if the copy is damaged.
    """
    try:
        return _made(directory, target, now)
    except OSError as error:
        raise MeteringError(
            f"the backup was not made: {error.filename or target}: {error.strerror}",
            hint="what was begun lies beside the finished ones as a .tmp directory, and may be deleted",
        ) from None


def _made(directory: Path, target: Path, now: datetime) -> Backup:
    if why := database_refuses(target):
        raise MeteringError(why, hint="name another directory")
    if not (directory / JOURNAL).is_dir():
        raise MeteringError(f"{directory} has no journal", hint="nothing was polled here yet")
    final = target / f"metering-{now:%Y%m%dT%H%M%SZ}"
    if final.exists():
        raise MeteringError(f"{final} exists already")
    building = target / (final.name + ".tmp")
    shutil.rmtree(building, ignore_errors=True)
    target.mkdir(parents=True, exist_ok=True)
    building.mkdir(mode=0o700)
    (building / JOURNAL).mkdir(mode=0o700)
    snapshot = directory / database.SNAPSHOT
    if snapshot.exists():
        copy_durably(snapshot, building / database.SNAPSHOT)
    # Before and after the segments: retention may replace bodies by a checkpoint meanwhile.
    _copy_checkpoints(directory / JOURNAL, building / JOURNAL)
    for segment in sorted((directory / JOURNAL).glob("*.journal")):
        copy_durably(segment, building / JOURNAL / segment.name)
    _copy_checkpoints(directory / JOURNAL, building / JOURNAL)
    records = _verified(building)
    mark(building / JOURNAL, {"made_at": rfc3339(now), "records": records})
    files = sorted(path for path in building.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    hashes = {str(path.relative_to(building)): checkpoint.file_sha256(path) for path in files}
    _write_json(building / MANIFEST, {"made_at": rfc3339(now), "records": records, "sha256": hashes})
    sync_directory(building / JOURNAL)
    sync_directory(building)
    building.rename(final)
    sync_directory(target)
    return Backup(path=final, records=records, bytes=size)


def prune(target: Path, keep: int) -> list[Path]:
    """Deletes all but the newest `keep` finished backups under `target`; returns what it deleted, oldest first.

    A backup gets another name before it is deleted, so that half of one is never taken for a backup.
    """
    finished = sorted(path for path in target.iterdir() if _NAME.fullmatch(path.name) and (path / MANIFEST).is_file())
    old = finished[: max(0, len(finished) - keep)]
    try:
        for path in old:
            path.rename(path.with_name(f"{path.name}{_LEAVING}"))
        for path in target.glob(f"metering-*Z{_LEAVING}"):
            shutil.rmtree(path)
    except OSError as error:
        raise MeteringError(f"an old backup was not deleted: {error.filename or target}: {error.strerror}") from None
    return old


def _copy_checkpoints(source: Path, target: Path) -> None:
    """Copies the checkpoints that are not copied yet."""
    for found in checkpoint.checkpoints(source):
        copied = target / found.path.name
        if not copied.exists():
            copied.mkdir(mode=0o700)
            for file in sorted(found.path.iterdir()):
                copy_durably(file, copied / file.name)
            sync_directory(copied)


def _write_json(path: Path, document: dict[str, object]) -> None:
    path.touch(mode=0o600)
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(document, indent=2, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _verified(building: Path) -> int:
    """Verifies the copy; returns its last record. The snapshot must be an earlier state of it, and wholly readable."""
    journal.Journal(building / JOURNAL).close()
    hashes, dropped = {}, 0
    for record in journal.read(building / JOURNAL):
        hashes[record.seq] = record.hash.hex()
        dropped = record.seq if record.is_dropped else dropped
    base = checkpoint.base(building / JOURNAL)
    if dropped and (base is None or base.seq < dropped):
        raise JournalDamagedError(f"no whole checkpoint stands in for the pages dropped up to record {dropped}")
    last = max(hashes, default=0)
    if (building / database.SNAPSHOT).exists():
        with snapshots.open_reader(building) as copied:
            ((seq, digest),) = copied.connection.execute("select seq, hash from position").fetchall()
            if seq and hashes.get(seq) != digest:
                raise StoreDamagedError(f"the snapshot holds record {seq}, which the copied journal does not")
            for (table,) in copied.connection.execute("select table_name from duckdb_tables()").fetchall():
                copied.connection.execute(f"select sum(hash(t)::hugeint) from {table} as t").fetchall()  # noqa: S608
    return last
