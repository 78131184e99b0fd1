"""Keeps a continuous backup up to date: after each writing command, copies the new bytes to another disk.

A segment of the journal only grows: its new bytes are appended and made durable, and are valid once the manifest counts
them. So a backup that is interrupted at any point is a complete earlier state of the store. The cost depends on the new
bytes, not on the size of the store. A sealed segment that was rewritten is copied again. The caller holds the store's
lock. Must not know what a record means, nor who is notified of a failure.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import structs

from metering.core import signals
from metering.core.errors import BackupError, MeteringError
from metering.core.files import copy_durably, sweep, sync_directory, write_whole
from metering.store import backup, checkpoint, copying, journal, lines, lock, segments
from metering.store.journal import JOURNAL
from metering.store.lines import CONFIGURATION, Manifest

STATE = "backup.json"
PATIENCE_SECONDS = 2
_LOCK = "lock"
_TAIL_BYTES = 32
"""Number of bytes before the end that are compared: a record ends with its hash."""
_BEHIND = "the backup is not up to date"
_BEGIN = "`metering backup --begin` begins a new one beside it"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The store's note of its backup: its place, its number of records, and the time of the last update."""

    directory: str
    line: str
    records: int
    written_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The store to back up: directory, epoch, last record and its time; `files`: configuration files, name -> path."""

    directory: Path
    epoch: str
    records: int
    latest_at: str
    files: Mapping[str, Path]

    @property
    def journal(self) -> Path:
        """The directory of the journal."""
        return self.directory / JOURNAL

    def segments(self) -> list[tuple[Path, int]]:
        """The segments in order, each with its last record."""
        paths = segments.files(self.journal)
        lasts = [*(int(path.stem) - 1 for path in paths[1:]), self.records]
        return list(zip(paths, lasts, strict=True))


def state_of(directory: Path) -> State | None:
    """The note of a store directory; None if it never had a backup, or the note cannot be read."""
    try:
        return msgspec.json.decode((directory / STATE).read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return None


def follow(
    source: Source, target: Path, now: str, *, goes_on: Callable[[], bool] = lambda: True, begins: bool = False
) -> int:
    """Brings the backup up to date; returns the number of records that it still lacks once `goes_on()` is false.

    `begins`: begins a new backup; an existing one stays beside it under another name. Raises BackupError.
    """
    if source.records == 0:
        return 0
    try:
        if not target.is_dir():
            hint = "mount its disk; where there never was one, make the directory: it is never made by itself"
            raise BackupError(f"{_BEHIND}: {target} is not there", hint=hint)
        with lock.shared(target / _LOCK, PATIENCE_SECONDS):
            line = _Line(source=source, path=target / lines.name_of(source.epoch), now=now, goes_on=goes_on)
            manifest = line.copied(line.found(begins=begins))
        state = State(directory=str(target), line=line.path.name, records=manifest.records, written_at=now)
        if state != state_of(source.directory):
            write_whole(source.directory / STATE, msgspec.json.encode(state) + b"\n")
    except OSError as error:
        what = f"{error.filename or target}: {error.strerror or error}"
        hint = "free space or mend the disk: the next command that writes goes on with it"
        raise BackupError(f"{_BEHIND}: {what}", hint=hint) from None
    except BackupError:
        raise
    except MeteringError as error:
        raise BackupError(f"{_BEHIND}: {error}", hint=error.hint) from None
    return source.records - manifest.records


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """The line of the store's epoch, to be brought up to date."""

    source: Source
    path: Path
    now: str
    goes_on: Callable[[], bool]

    # -- does it belong to this store

    def found(self, *, begins: bool) -> Manifest:
        """The manifest of this store's line, which is begun if missing. Raises BackupError if it is another store's."""
        origin = next(journal.read(self.source.journal)).hash.hex()
        there = lines.lines_of(self.path.parent)
        if any(other.origin != origin for other in there.values()):
            raise BackupError(
                f"{_BEHIND}: {self.path.parent} holds the backup of another store",
                hint="name another directory; to go on where that store ended, `metering restore` it",
            )
        known = there.get(self.path)
        if known is not None and not begins:
            self._refuse_copy(known)
            return known
        if not begins:
            self._refuse_gone(is_empty=not there)
        self._begin()
        return self._said(Manifest(origin=origin, began_at=self.now, written_at=self.now))

    def _refuse_gone(self, *, is_empty: bool) -> None:
        """Refuses to begin a line where a backup was: its disk may be missing, and the mount point be empty."""
        state = state_of(self.source.directory)
        is_known = state is not None and state.directory == str(self.path.parent)
        if (is_known and (is_empty or (state and state.line == self.path.name))) or self._has_segments():
            raise BackupError(
                f"{_BEHIND}: the manifest of {self.path} is gone",
                hint=f"mount its disk; if it was replaced or is lost, {_BEGIN}",
            )

    def _has_segments(self) -> bool:
        return bool(segments.files(self.path / JOURNAL))

    def _begin(self) -> None:
        if self._has_segments():
            taken = len(list(self.path.parent.glob(f"replaced-*-{self.path.name}")))
            self.path.rename(self.path.with_name(f"replaced-{taken + 1}-{self.path.name}"))
        elif self.path.exists():
            shutil.rmtree(self.path)
        for directory in (JOURNAL, CONFIGURATION):
            (self.path / directory).mkdir(parents=True, mode=0o700)
        backup.mark(self.path / JOURNAL, {"began_at": self.now})
        for synced in (self.path / JOURNAL, self.path, self.path.parent):
            sync_directory(synced)

    def _refuse_copy(self, known: Manifest) -> None:
        """Raises BackupError where the line holds records that this store does not have."""
        if self._is_continued(known):
            return
        mine, kept = (_hash_of(place, known.records) for place in (self.source.journal, self.path / JOURNAL))
        if not kept:
            raise BackupError(f"{_BEHIND}: {self.path} does not hold what its manifest says", hint=_BEGIN)
        if not mine:
            raise BackupError(
                f"{_BEHIND}: {self.path} holds {known.records} records, and this store ends before them",
                hint="it was put back from an older copy: move it aside, and `metering restore` the backup",
            )
        if mine != kept:
            raise BackupError(
                f"{_BEHIND}: {self.path} goes on otherwise than this store, which is a copy or has one",
                hint="let one of them go on alone, or give the other a backup.directory of its own",
            )

    def _is_continued(self, known: Manifest) -> bool:
        """Whether the last segment of the line is a beginning of the store's segment."""
        if not known.segment:
            return True
        mine, kept = (
            copying.bytes_before(place / known.segment, known.length, _TAIL_BYTES)
            for place in (self.source.journal, self.path / JOURNAL)
        )
        return known.length > 0 and len(mine) == _TAIL_BYTES and mine == kept

    # -- copying

    def copied(self, manifest: Manifest) -> Manifest:
        """Copies what is new and updates the manifest; finally removes what is not needed any more."""
        for found in checkpoint.checkpoints(self.source.journal):
            self._copy_checkpoint(found.path)
        manifest = self._configured(manifest)
        for segment, last in self.source.segments():
            if segment.name >= manifest.segment and self.goes_on():
                manifest = self._appended(manifest, segment, last)
        self._tidy(manifest)
        return manifest

    def _said(self, manifest: Manifest, **changes: object) -> Manifest:
        """The manifest with these changes; writes it if it differs."""
        changed = structs.replace(manifest, **changes)
        if changed == manifest and manifest.turn:
            return manifest
        turn = max((one.turn for one in lines.lines_of(self.path.parent).values()), default=0) + 1
        changed = structs.replace(changed, turn=turn, written_at=self.now)
        lines.write(self.path, changed)
        return changed

    def _configured(self, manifest: Manifest) -> Manifest:
        """Copies changed files of the configuration, and logs which files are valid from the next record on."""
        place = self.path / CONFIGURATION
        files = {name: lines.keep(path, place) for name, path in self.source.files.items() if path.is_file()}
        if files == manifest.files:
            return manifest
        entry = lines.Configuration(at=self.now, since=manifest.records + 1, files=files)
        row = lines.sealed(entry)
        copying.write_at(place / lines.LOG, manifest.log_length, row)
        return self._said(manifest, files=files, log_length=manifest.log_length + len(row))

    def _appended(self, manifest: Manifest, segment: Path, last: int) -> Manifest:
        """Copies the new bytes of a segment; `last` is its last record."""
        copy, size = self.path / JOURNAL / segment.name, segment.stat().st_size
        is_known = segment.name == manifest.segment
        if is_known and (size, last) == (manifest.length, manifest.records):
            return manifest
        if is_known and not self._is_continued(manifest):
            # It was rewritten. Length -1 makes the whole file valid: the old one, and after the rename the new one.
            if manifest.length >= 0:
                copying.cut(copy, manifest.length)
                manifest = self._said(manifest, length=-1)
            copying.replace(segment, copy)
        elif not copying.append(segment, copy, manifest.length if is_known else 0, size, self._ends_late):
            return manifest
        latest_at = self.source.latest_at if last == self.source.records else ""
        return self._said(manifest, segment=segment.name, length=size, records=last, latest_at=latest_at)

    def _ends_late(self) -> bool:
        """Whether copying a file may continue: to its end, unless SIGTERM was received and the time is over."""
        return not signals.is_asked() or self.goes_on()

    def _copy_checkpoint(self, found: Path) -> None:
        """Copies a checkpoint file by file, and renames its directory when it is complete."""
        copy = self.path / JOURNAL / found.name
        if copy.exists():
            return
        building = copy.with_suffix(".tmp")
        building.mkdir(mode=0o700, exist_ok=True)
        for file in sorted(found.iterdir()):
            if not self.goes_on():
                return
            done = building / file.name
            if not done.exists() or done.stat().st_size != file.stat().st_size:
                copy_durably(file, done)
        sync_directory(building)
        building.rename(copy)
        sync_directory(copy.parent)

    def _tidy(self, manifest: Manifest) -> None:
        """Copies rewritten sealed segments again, and removes checkpoints that the store no longer has."""
        kept = self.path / JOURNAL
        sizes = {copy.name: copy.stat().st_size for copy in segments.files(kept)}
        for segment, _ in self.source.segments():
            is_sealed = segment.name < manifest.segment
            if is_sealed and self.goes_on() and segment.stat().st_size != sizes.get(segment.name):
                copying.replace(segment, kept / segment.name)
        if manifest.records == self.source.records:
            wanted = {found.seq for found in checkpoint.checkpoints(self.source.journal)}
            for found in checkpoint.checkpoints(kept):
                if found.seq not in wanted:
                    checkpoint.remove(found)
        for directory in (self.path, self.path / CONFIGURATION):
            sweep(directory)


def _hash_of(directory: Path, seq: int) -> bytes:
    """The hash of a record; empty if the journal ends before it."""
    return next((record.hash for record in journal.read(directory, after=seq - 1)), b"")
