r"""The journal's files: every fact that came in or was promised, append-only, fsynced, hash-chained. The truth.

A segment file `journal/0000000001.journal` is named after the sequence number of its first record. It starts with
`METERJ2\n` and the 32-byte hash that the chain has before it; records follow, as record.py encodes them. It ends when
it is full, and with the month. Must not know what the records mean.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from metering.core.errors import JournalDamagedError, MeteringError
from metering.core.files import sync_directory
from metering.core.period import rfc3339
from metering.store.record import (
    GENESIS,
    HASH_BYTES,
    ChangedError,
    Encoder,
    Frame,
    Record,
    TornError,
    has_record,
    read_frame,
)

JOURNAL = "journal"
MAGIC = b"METERJ2\n"
FIRST_MAGIC = b"METERJ1\n"  # the first format, in which a body could not be dropped; no released version wrote it
FILE_HEADER_BYTES = len(MAGIC) + HASH_BYTES
SEGMENT_BYTES = 64 * 1024 * 1024
_HINT = "restore the journal from a backup; the store still holds what it holds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A segment that gets no more records: its file and the numbers of its first and last record."""

    path: Path
    first: int
    last: int


class Journal:
    """A journal open for appending. Opening repairs a torn tail: a record that was being written when the power failed.

    Raises JournalDamagedError if a record was changed after it was written, or is missing.
    """

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        assert segment_bytes > FILE_HEADER_BYTES, "a segment holds at least one record"
        self._segment_bytes = segment_bytes
        if not directory.is_dir():
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_directory(directory.parent)
        self.directory = directory
        self._encoder = Encoder()
        self._broken = False
        segments = _whole_segments(directory)
        self._month, self.latest_at = "", ""  # of the last record: its month, such as 2026-10, and Record.latest_at
        if not segments:
            self.seq, self.hash = 0, GENESIS
            self._file = self._new_segment()
            return
        start, end, last = _find_end(segments[-1])
        self.seq = last.seq if last else int(segments[-1].stem) - 1
        self.hash = last.hash if last else start
        self._month, self.latest_at = (last.at[:7], last.latest_at) if last else ("", "")
        _cut_torn_tail(segments[-1], end)
        self._file = segments[-1].open("ab", buffering=0)
        self.sync()  # a record that was written, but not yet durable when its process ended, counts from here on

    def close(self) -> None:
        """Closes the file; every append was already durable."""
        self._file.close()

    def append(self, kind: str, data: dict[str, Any], *, at: datetime, body: bytes = b"", sync: bool = True) -> Record:
        """Writes one record and, if `sync`, makes it durable before it returns.

        A failed write is undone: a full disk leaves the file as it was. After a failed fsync this process cannot know
        what the file holds, so it refuses to write again.
        """
        if self._broken:
            raise MeteringError("the journal could not be written earlier", hint="end this process and start it anew")
        text = rfc3339(at)
        if self._is_full(text[:7]):
            self.sync()
            full, self._file = self._file, self._new_segment()
            full.close()
        content, record = self._encoder.encode((self.seq, self.hash), kind=kind, at=text, data=data, body=body)
        self._broken = True  # until the file and this object agree again
        self._write(content)
        if sync:
            self.sync()
        self.seq, self.hash, self._month = record.seq, record.hash, text[:7]
        self.latest_at = record.latest_at
        self._broken = False
        return record

    def _is_full(self, month: str) -> bool:
        """Whether the next record, of this month, begins a segment of its own."""
        end = self._file.tell()
        return end >= self._segment_bytes or (end > FILE_HEADER_BYTES and month != self._month)

    def sync(self) -> None:
        """Makes everything appended so far durable."""
        try:
            os.fdatasync(self._file.fileno())
        except BaseException:
            self._broken = True
            raise

    def _write(self, content: bytes) -> None:
        end = self._file.tell()
        try:
            _write_all(self._file, content)
        except BaseException:
            os.ftruncate(self._file.fileno(), end)
            self._file.seek(end)
            self._broken = False
            raise

    def _new_segment(self) -> FileIO:
        path = self.directory / f"{self.seq + 1:010d}.journal"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        file = FileIO(descriptor, "ab")
        try:
            _write_all(file, MAGIC + self.hash)
            os.fsync(descriptor)
            sync_directory(self.directory)
        except BaseException:
            # The next try must be able to create the file.
            file.close()
            path.unlink()
            raise
        return file


def read(directory: Path, *, after: int = 0) -> Iterator[Record]:
    """The journal's records with a higher sequence number, each checked; raises JournalDamagedError at a fault."""
    segments = _segments(directory)
    firsts = [int(path.stem) for path in segments]
    begin = max((i for i, first in enumerate(firsts) if first <= after + 1), default=0)
    if segments and firsts[begin] > after + 1:
        raise JournalDamagedError(f"the journal begins with record {firsts[begin]}", hint=_HINT)
    expected = GENESIS if segments and firsts[begin] == 1 else None
    for path in segments[begin:]:
        with path.open("rb") as file:
            start = _file_header(file, path)
            if expected is not None and start != expected:
                raise JournalDamagedError(f"{path.name} does not continue the segment before it", hint=_HINT)
            expected = start
            for record in _records(file, path, start, int(path.stem)):
                expected = record.hash
                if record.seq > after:
                    yield record


def sealed(directory: Path) -> list[Segment]:
    """The segments that get no more records, in order: all but the last."""
    return [
        Segment(path=path, first=int(path.stem), last=int(following.stem) - 1)
        for path, following in pairwise(_segments(directory))
    ]


def records_of(segment: Segment) -> Iterator[Record]:
    """The records of one segment, each checked against the chain; raises JournalDamagedError."""
    with segment.path.open("rb") as file:
        yield from _records(file, segment.path, _file_header(file, segment.path), segment.first)


def drop_bodies(segment: Segment, is_dropped: Callable[[Record], bool]) -> int:
    """Writes a sealed segment anew without the bodies of these records; returns by how many bytes it has shrunk.

    The new file takes the old one's place by rename, once it is durable. A process that dies before leaves the old one
    and a temporary file that the next call overwrites. Raises JournalDamagedError, OSError.
    """
    path, before = segment.path, segment.path.stat().st_size
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    with path.open("rb") as old, FileIO(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as new:
        start, last = _file_header(old, path), segment.first - 1
        _write_all(new, MAGIC + start)
        for frame, record in _frames(old, path, start, segment.first):
            _write_all(new, frame.without_body() if frame.packed and is_dropped(record) else frame.content())
            last = record.seq
        if last != segment.last:
            raise _damaged(path, last + 1)
        os.fsync(new.fileno())
    after = temporary.stat().st_size
    if after < before:
        temporary.replace(path)
        sync_directory(path.parent)
    else:
        temporary.unlink()
    return before - after


def _write_all(file: FileIO, content: bytes) -> None:
    """Writes without a buffer, which would write later what a failed write left in it."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _segments(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"{'[0-9]' * 10}.journal"))


def _whole_segments(directory: Path) -> list[Path]:
    """The segments without a last one whose file header was never finished: that one is deleted."""
    segments = _segments(directory)
    if segments and _is_unbegun(segments[-1]):
        segments.pop().unlink()
        sync_directory(directory)
    return segments


def _is_unbegun(path: Path) -> bool:
    """Whether the file ends inside its header, or the header's block never reached the disk."""
    with path.open("rb") as file:
        head = file.read(FILE_HEADER_BYTES + 1)
    return len(head) < FILE_HEADER_BYTES or not head.strip(b"\0")


def _file_header(file: BinaryIO, path: Path) -> bytes:
    head = file.read(FILE_HEADER_BYTES)
    if head.startswith(FIRST_MAGIC):
        raise JournalDamagedError(
            f"{path.name} is of the first format, which this version does not read",
            hint="move the store directory aside and run `metering backfill`",
        )
    if len(head) < FILE_HEADER_BYTES or not head.startswith(MAGIC):
        raise JournalDamagedError(f"{path.name} does not begin like a journal segment", hint=_HINT)
    return head[len(MAGIC) :]


def _records(file: BinaryIO, path: Path, previous: bytes, first: int) -> Iterator[Record]:
    """The records to the end of the file, each checked against the chain."""
    seq = first
    try:
        for _, record in _frames(file, path, previous, first):
            yield record
            seq = record.seq + 1
    except TornError:
        raise JournalDamagedError(f"{path.name} ends inside record {seq}", hint=_HINT) from None


def _frames(file: BinaryIO, path: Path, previous: bytes, first: int) -> Iterator[tuple[Frame, Record]]:
    """Each record with its bytes to the end of the file; raises TornError, JournalDamagedError."""
    seq = first
    try:
        while (frame := read_frame(file, previous)) is not None:
            record = frame.record()
            if record.seq != seq:
                raise ChangedError
            yield frame, record
            previous, seq = record.hash, seq + 1
    except ChangedError:
        raise _damaged(path, seq) from None


def _damaged(path: Path, seq: int) -> JournalDamagedError:
    return JournalDamagedError(f"record {seq} in {path.name} does not match its hash", hint=_HINT)


def _find_end(path: Path) -> tuple[bytes, int, Record | None]:
    """(hash before the segment, offset behind its last whole record, that record)."""
    with path.open("rb") as file:
        start = _file_header(file, path)
        last, end = None, file.tell()
        try:
            for _, record in _frames(file, path, start, int(path.stem)):
                last, end = record, file.tell()
        except TornError:
            file.seek(end)
            if has_record(file.read()):
                raise _damaged(path, last.seq + 1 if last else int(path.stem)) from None
        return start, end, last


def _cut_torn_tail(path: Path, end: int) -> None:
    """Moves bytes behind the last whole record aside (they were never acknowledged) and cuts the file there."""
    if path.stat().st_size == end:
        return
    with path.open("r+b") as file:
        file.seek(end)
        aside = os.open(path.with_name(f"torn-{path.stem}-{end}.bin"), os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with FileIO(aside, "wb") as copy:
            _write_all(copy, file.read())
            os.fsync(aside)
        file.truncate(end)
        os.fsync(file.fileno())
    sync_directory(path.parent)
