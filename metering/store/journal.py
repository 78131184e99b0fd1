"""The journal: every fact that came in or was promised, append-only, fsynced, hash-chained. The truth.

A segment file `journal/0000000001.journal` is named after the sequence number of its first record. It ends with the
month, with the day once it has 64 MB, and at 1 GB; bodies refer to earlier ones of their segment only. Must not know
what the records mean.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from metering.core.errors import JournalDamagedError, MeteringError
from metering.core.files import sync_directory
from metering.core.period import rfc3339
from metering.store import segments
from metering.store.bodies import Bodies, Streams, stream_number
from metering.store.frames import THIRD, Body, TornError, encode
from metering.store.record import GENESIS, Record
from metering.store.segments import FILE_HEADER_BYTES, HINT, MAGIC, write_all

JOURNAL = "journal"
SEGMENT_BYTES = 1024 * 1024 * 1024
_DAYS_PART = 16
"""A segment that has this part of its bytes ends with the day, of which the bodies of the next refer to little."""


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
        self._broken = False
        self.seq, self.hash = 0, GENESIS
        self._day, self.latest_at = "", ""  # of the last record: its day, such as 2026-10-05, and Record.latest_at
        self._is_old = False  # the last segment is of an older format, and gets no more records
        whole = _whole_segments(directory)
        if whole:
            self._file = self._continued(whole[-1])
        else:
            self._file = self._new_segment()

    def _continued(self, path: Path) -> FileIO:
        """Opens the last segment behind its last whole record."""
        end = segments.find_end(path)
        self.seq, self.hash = end.seq, end.hash
        self._bodies, self._streams, self._is_old = end.bodies, end.streams, end.form is not THIRD
        if end.last:
            self._day, self.latest_at = end.last.at[:10], end.last.latest_at
        _cut_torn_tail(path, end.offset)
        if self._is_old and end.last is None:
            path.unlink()  # it has no record, and its name is that of the segment which goes on
            return self._new_segment()
        file = path.open("ab", buffering=0)
        os.fdatasync(file.fileno())  # a record whose process ended before it was durable counts from here on
        return file

    def close(self) -> None:
        """Closes the file; every append was already durable."""
        self._file.close()

    def append(  # noqa: PLR0913 - a fact, when it was, and how what came with it is kept
        self,
        kind: str,
        data: dict[str, Any],
        *,
        at: datetime,
        body: bytes = b"",
        stream: str = "",
        sync: bool = True,
    ) -> Record:
        """Writes one record and, if `sync`, makes it durable before it returns.

        Bodies of one `stream` resemble each other and are stored as what differs; one without a stream is stored whole,
        and nothing refers to it. A failed write is undone: a full disk leaves the file as it was. After a failed fsync
        this process cannot know what the file holds, so it refuses to write again.
        """
        if self._broken:
            raise MeteringError("the journal could not be written earlier", hint="end this process and start it anew")
        text = rfc3339(at)
        if self._is_full(text[:10]):
            self.sync()
            full, self._file = self._file, self._new_segment()
            full.close()
        stored = self._stored(body, stream, text[:10])
        content, record = encode((self.seq, self.hash), kind=kind, at=text, data=data, body=stored)
        offset = self._file.tell()
        self._broken = True  # until the file and this object agree again
        self._write(content)
        if sync:
            self.sync()
        self._bodies.add(offset)
        self._streams.add(record.seq, stored, text[:10])
        self.seq, self.hash, self._day = record.seq, record.hash, text[:10]
        self.latest_at = record.latest_at
        self._broken = False
        return record

    def _stored(self, body: bytes, stream: str, day: str) -> Body:
        return self._streams.stored(body, self.seq + 1, stream_number(stream), day, self._bodies) if body else Body()

    def _is_full(self, day: str) -> bool:
        """Whether the next record, of this day, begins a segment of its own."""
        end = self._file.tell()
        if self._is_old or end <= FILE_HEADER_BYTES:
            return self._is_old
        is_days_end = day != self._day and end >= self._segment_bytes // _DAYS_PART
        return is_days_end or day[:7] != self._day[:7] or end >= self._segment_bytes

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
            write_all(self._file, content)
        except BaseException:
            os.ftruncate(self._file.fileno(), end)
            self._file.seek(end)
            self._broken = False
            raise

    def _new_segment(self) -> FileIO:
        path = self.directory / f"{self.seq + 1:010d}.journal"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
        file = FileIO(descriptor, "ab")
        try:
            write_all(file, MAGIC + self.hash)
            os.fsync(descriptor)
            sync_directory(self.directory)
            self._bodies, self._streams, self._is_old = Bodies(descriptor, self.seq + 1), Streams(), False
        except BaseException:
            # The next try must be able to create the file.
            file.close()
            path.unlink()
            raise
        return file


def read(directory: Path, *, after: int = 0) -> Iterator[Record]:
    """The journal's records with a higher sequence number, each checked; raises JournalDamagedError at a fault."""
    paths = segments.files(directory)
    firsts = [int(path.stem) for path in paths]
    begin = max((i for i, first in enumerate(firsts) if first <= after + 1), default=0)
    if paths and firsts[begin] > after + 1:
        raise JournalDamagedError(f"the journal begins with record {firsts[begin]}", hint=HINT)
    expected = GENESIS if paths and firsts[begin] == 1 else None
    for path in paths[begin:]:
        expected = yield from segments.records(path, behind=after, after=expected)


def sealed(directory: Path) -> list[Segment]:
    """The segments that get no more records, in order: all but the last."""
    return [
        Segment(path=path, first=int(path.stem), last=int(following.stem) - 1)
        for path, following in pairwise(segments.files(directory))
    ]


def records_of(segment: Segment) -> Iterator[Record]:
    """The records of one segment, each checked against the chain; raises JournalDamagedError."""
    return segments.records(segment.path)


def drop_bodies(segment: Segment, is_dropped: Callable[[Record], bool]) -> int:
    """Writes a sealed segment anew without the bodies of these records; returns by how many bytes it has shrunk.

    A body that one which stays refers to stays too. The new file takes the old one's place by rename, once it is
    durable. A process that dies before leaves the old one and a temporary file that the next call overwrites. Raises
    JournalDamagedError, OSError.
    """
    path, before = segment.path, segment.path.stat().st_size
    dropped = _to_drop(segment, is_dropped)
    if not dropped:
        return 0
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    with path.open("rb") as old, FileIO(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as new:
        form, start = segments.header(old, path)
        write_all(new, form.magic + start)
        for _, frame in segments.frames(old, path, form, start):
            write_all(new, frame.without_body() if frame.seq in dropped else frame.content())
        os.fsync(new.fileno())
    after = temporary.stat().st_size
    temporary.replace(path)
    sync_directory(path.parent)
    return before - after


def _to_drop(segment: Segment, is_dropped: Callable[[Record], bool]) -> set[int]:
    """The records that lose their bodies: those asked for that have one which no body that stays needs."""
    path, bases, dropped, last = segment.path, dict[int, int](), set[int](), segment.first - 1
    with path.open("rb") as file, suppress(TornError):
        for _, frame in segments.frames(file, path, *segments.header(file, path)):
            last = frame.seq
            if frame.stored.sha256 and not frame.is_dropped:
                bases[last] = last - frame.stored.base
                if is_dropped(frame.record()):
                    dropped.add(last)
    if last != segment.last:
        raise segments.damaged(path, last + 1)
    needed = set[int]()
    for seq in sorted(bases, reverse=True):
        if seq not in dropped or seq in needed:
            needed.add(bases[seq])
    return dropped - needed


def _whole_segments(directory: Path) -> list[Path]:
    """The segments without a last one whose file header was never finished: that one is deleted."""
    whole = segments.files(directory)
    if whole and segments.is_unbegun(whole[-1]):
        whole.pop().unlink()
        sync_directory(directory)
    return whole


def _cut_torn_tail(path: Path, end: int) -> None:
    """Moves bytes behind the last whole record aside (they were never acknowledged) and cuts the file there."""
    if path.stat().st_size == end:
        return
    with path.open("r+b") as file:
        file.seek(end)
        aside = os.open(path.with_name(f"torn-{path.stem}-{end}.bin"), os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with FileIO(aside, "wb") as copy:
            write_all(copy, file.read())
            os.fsync(aside)
        file.truncate(end)
        os.fsync(file.fileno())
    sync_directory(path.parent)
