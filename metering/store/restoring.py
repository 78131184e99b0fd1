"""`restore`: makes a store directory from a whole or continuous backup, in its last state or that of an earlier time.

The backup is read and checked before anything is written, and the journal is renamed last, so an interrupted restore
leaves no store. The result is marked as a backup: the first write to it begins a new epoch. Must not know where
configuration files belong.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from metering.core.errors import MeteringError, UsageError
from metering.core.files import copy_durably, sync_directory, write_whole
from metering.core.period import parse_time
from metering.store import backup, checkpoint, copying, extent, lines, lock
from metering.store.database import SNAPSHOT
from metering.store.extent import Extent
from metering.store.journal import JOURNAL

_BUILDING = "journal.tmp"
_LOCK = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A backup at a given time: its directory, its extent, and its snapshot if that is the latest state.

    `configuration`: file name -> content, for a continuous backup. `others`: a sentence per line that was not used.
    """

    path: Path
    extent: Extent
    snapshot: Path | None = None
    configuration: dict[str, bytes] = field(default_factory=dict)
    others: tuple[str, ...] = ()


def opened(source: Path, until: datetime | None) -> Past:
    """Reads and checks a backup; of several lines, the most recently written one.

    Raises UsageError if it is not a backup or begins later than `until`, MeteringError if it is damaged.
    """
    try:
        known = json.loads((source / backup.MANIFEST).read_text(encoding="utf-8"))
        is_whole = isinstance(known["sha256"], dict)
    except FileNotFoundError:
        is_whole, known = False, None
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{source / backup.MANIFEST} cannot be read", hint="take another backup") from None
    if is_whole:
        return _whole(source, known["sha256"], until)
    there = lines.lines_of(source) if known is None else {source: lines.manifest_of(source)}
    if not there:
        raise UsageError(f"{source} is no backup", hint="name `backup.directory`, or what `metering backup` made")
    *others, (path, manifest) = there.items()
    assert manifest, "a line has a manifest"
    kept = extent.extent(path / JOURNAL, most=manifest.records, until=until)
    told = tuple(f"{one.name}: {told.records} records, written at {told.written_at}" for one, told in others if told)
    return Past(path=path, extent=kept, configuration=_configuration(path, manifest, kept, until), others=told)


def _whole(source: Path, known: dict[str, str], until: datetime | None) -> Past:
    for name, sha256 in known.items():
        if not (source / name).is_file() or checkpoint.file_sha256(source / name) != sha256:
            raise MeteringError(f"{source / name} is not as the backup's manifest says", hint="take an older backup")
    snapshot = source / SNAPSHOT if until is None and SNAPSHOT in known else None
    return Past(path=source, extent=extent.extent(source / JOURNAL, until=until), snapshot=snapshot)


def _configuration(path: Path, manifest: lines.Manifest, kept: Extent, until: datetime | None) -> dict[str, bytes]:
    """The last configuration that was valid for a record of the extent, or was seen at `until` or before."""
    seen = [
        one
        for one in lines.configurations(path, manifest)
        if one.since <= kept.records or until is None or parse_time(one.at) <= until
    ]
    return {name: lines.kept(path, sha256) for name, sha256 in seen[-1].files.items()} if seen else {}


def lay_out(files: Mapping[str, bytes], directory: Path) -> list[Path]:
    """Writes the files that do not exist yet; returns their paths. Files of other directories go to `elsewhere/`."""
    written = []
    for name, content in files.items():
        is_inside = not Path(name).is_absolute() and ".." not in Path(name).parts
        path = directory / name if is_inside else directory / "elsewhere" / name.strip("/").replace("/", "-")
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(path, content)
            written.append(path)
    return written


def refuse_unless_empty(directory: Path) -> None:
    """Raises UsageError if a directory holds anything but leftovers of an interrupted restore."""
    if directory.exists() and {path.name for path in directory.iterdir()} - {_BUILDING, _LOCK}:
        raise UsageError(f"{directory} is not empty", hint="move it aside: what it holds is not thrown away")


def put(past: Past, directory: Path) -> int:
    """Makes a store directory, which must be empty or missing; returns the number of files.

    Raises UsageError, StoreBusyError, JournalDamagedError or OSError, and then leaves nothing behind.
    """
    refuse_unless_empty(directory)
    is_new = not directory.exists()
    try:
        with lock.held(directory):
            refuse_unless_empty(directory)
            shutil.rmtree(directory / _BUILDING, ignore_errors=True)
            return _put(past, directory)
    except BaseException:
        shutil.rmtree(directory / _BUILDING, ignore_errors=True)
        if is_new and not (directory / JOURNAL).exists():
            with suppress(OSError):
                (directory / _LOCK).unlink()
                directory.rmdir()
        raise


def _put(past: Past, directory: Path) -> int:
    source, building = past.path / JOURNAL, directory / _BUILDING
    building.mkdir(mode=0o700)
    found = extent.segments(source, past.extent)
    for segment, length in found:
        copying.append(segment, building / segment.name, 0, length)
    count = len(found)
    for one in extent.checkpoints(source, past.extent):
        copy = building / one.path.name
        copy.mkdir(mode=0o700)
        for file in sorted(one.path.iterdir()):
            copy_durably(file, copy / file.name)
            count += 1
        sync_directory(copy)
    backup.mark(building, {"restored_from": str(past.path), "records": past.extent.records})
    sync_directory(building)
    building.rename(directory / JOURNAL)
    sync_directory(directory)
    if past.snapshot:
        copy_durably(past.snapshot, directory / SNAPSHOT)
        count += 1
    return count
