r"""The journal: everything that came in or was promised, append-only, fsynced, hash-chained. The truth.

A segment file `journal/0000000001.journal` is named after its first record's sequence number; it ends when it is full,
and with the month. It starts with `METERJ2\n` and the 32-byte hash that the chain had before it. A record is

    "REC " · header length (u32) · body length (u32) · sha256 of the body as it stands here (32 bytes)
    · header (JSON) · body (a zstd frame, or nothing) · hash (32 bytes)

where hash = sha256(previous hash · everything of this record before its body). So a body may be dropped, long after,
and the chain still holds: the record then begins with "CUT " and has none. The header holds `seq`, `kind`, `at` (RFC
3339, when it was written by the business clock), `data` and `sha256` (of the body as it came). Knows nothing of what
the records mean.
"""

import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import zstandard

from metering.core.errors import JournalDamagedError, MeteringError
from metering.core.files import sync_directory
from metering.core.period import rfc3339

JOURNAL = "journal"


MAGIC = b"METERJ2\n"
FIRST_MAGIC = b"METERJ1\n"
"""Of the first format, in which a body could not be dropped; no version that was released wrote it."""
RECORD = b"REC "
DROPPED = b"CUT "
HASH_BYTES = 32
FILE_HEADER_BYTES = len(MAGIC) + HASH_BYTES
SEGMENT_BYTES = 64 * 1024 * 1024
GENESIS = bytes(HASH_BYTES)
_HEAD = struct.Struct(">4sII32s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One journalled fact. `data` is JSON, `body` the bytes as they came (a page), `hash` its place in the chain.

    `sha256` is the body's, in hexadecimal; it stays when the body is dropped.
    """

    seq: int
    kind: str
    at: str
    data: dict[str, Any]
    packed: bytes
    sha256: str
    hash: bytes
    is_dropped: bool = False

    @property
    def body(self) -> bytes:
        """The body, unpacked. Raises JournalDamagedError where it was dropped."""
        if self.is_dropped:
            raise JournalDamagedError(
                f"the body of record {self.seq} was dropped, and no checkpoint that is whole stands in for it",
                hint="restore the directory journal/checkpoint-… from a backup",
            )
        return zstandard.decompress(self.packed) if self.packed else b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A segment that gets no more records: its file and the numbers of its first and last record."""

    path: Path
    first: int
    last: int


class Journal:
    """Open for appending. Opening repairs a torn tail (a record that was being written when the power went).

    Raises JournalDamagedError where a record changed after it was written, or is missing.
    """

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        assert segment_bytes > FILE_HEADER_BYTES, "a segment holds at least one record"
        self._segment_bytes = segment_bytes
        if not directory.is_dir():
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_directory(directory.parent)
        self.directory = directory
        self._packer = zstandard.ZstdCompressor(level=3, write_checksum=True)
        self._broken = False
        segments = _whole_segments(directory)
        self._month = ""
        """Of the last record, such as 2026-10."""
        if not segments:
            self.seq, self.hash = 0, GENESIS
            self._file = self._new_segment()
            return
        start, end, last = _find_end(segments[-1])
        self.seq = last.seq if last else int(segments[-1].stem) - 1
        self.hash = last.hash if last else start
        self._month = last.at[:7] if last else ""
        _cut_torn_tail(segments[-1], end)
        self._file = segments[-1].open("ab", buffering=0)
        self.sync()  # a record that was written, but not yet durable when its process ended, counts from here on

    def close(self) -> None:
        """Closes the file; every append was already durable."""
        self._file.close()

    def append(self, kind: str, data: dict[str, Any], *, at: datetime, body: bytes = b"", sync: bool = True) -> Record:
        """Writes one record and, unless told otherwise, makes it durable before it returns.

        A failed write is taken back (a full disk leaves the file as it was); after a failed fsync nothing that
        this process believes about the file can be trusted, so it refuses to go on.
        """
        if self._broken:
            raise MeteringError("the journal could not be written earlier", hint="end this process and start it anew")
        seq, text = self.seq + 1, rfc3339(at)
        if self._is_full(text[:7]):
            self.sync()
            full, self._file = self._file, self._new_segment()
            full.close()
        sha256 = hashlib.sha256(body).hexdigest() if body else ""
        header = msgspec.json.encode({"seq": seq, "kind": kind, "at": text, "data": data, "sha256": sha256})
        packed = self._packer.compress(body) if body else b""
        chained = _HEAD.pack(RECORD, len(header), len(packed), hashlib.sha256(packed).digest()) + header
        digest = hashlib.sha256(self.hash + chained).digest()
        self._broken = True  # until the file and what is known of it agree again
        self._write(chained + packed + digest)
        if sync:
            self.sync()
        self.seq, self.hash, self._month = seq, digest, text[:7]
        self._broken = False
        return Record(seq=seq, kind=kind, at=text, data=data, packed=packed, sha256=sha256, hash=digest)

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

    def read(self, after: int = 0) -> Iterator[Record]:
        """The records with a higher sequence number, in order, each checked against the chain."""
        return read(self.directory, after=after)

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
            # A segment that was never begun must not stand in the way of the next try.
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

    The new file takes the old one's place by rename, once it is durable: a process that dies on the way leaves the old
    one, beside a piece that the next call writes over. Raises JournalDamagedError, OSError.
    """
    path, before = segment.path, segment.path.stat().st_size
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    with path.open("rb") as old, FileIO(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as new:
        previous = _file_header(old, path)
        _write_all(new, MAGIC + previous)
        for seq in range(segment.first, segment.last + 1):
            raw = _next_raw(old, path, previous, seq)
            if raw is None:
                raise _damaged(path, seq)
            is_cut = raw.packed and is_dropped(_record(raw, path, seq))
            _write_all(new, raw.without_body() if is_cut else raw.content())
            previous = raw.digest
        os.fsync(new.fileno())
    after = temporary.stat().st_size
    if after < before:
        temporary.replace(path)
        sync_directory(path.parent)
    else:
        temporary.unlink()
    return before - after


_HINT = "restore the journal from a backup; the store still holds what it holds"


def _write_all(file: FileIO, content: bytes) -> None:
    """Writes without a buffer: what a failed write left in one would be written later, behind our back."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


class _TornError(Exception):
    """The file ends inside a record."""


def _segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("??????????.journal"))


def _whole_segments(directory: Path) -> list[Path]:
    """The segments, less a last one whose file header was never finished: it holds nothing yet."""
    segments = _segments(directory)
    if segments and _is_unbegun(segments[-1]):
        segments[-1].unlink()
        sync_directory(directory)
        segments.pop()
    return segments


def _is_unbegun(path: Path) -> bool:
    """Cut inside the file header, or a header whose block never reached the disk."""
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
    seq = first
    while True:
        try:
            record = _next_record(file, path, previous, seq)
        except _TornError:
            raise JournalDamagedError(f"{path.name} ends inside record {seq}", hint=_HINT) from None
        if record is None:
            return
        yield record
        previous, seq = record.hash, seq + 1


def _next_record(file: BinaryIO, path: Path, previous: bytes, seq: int) -> Record | None:
    raw = _next_raw(file, path, previous, seq)
    return None if raw is None else _record(raw, path, seq)


@dataclass(frozen=True, slots=True)
class _Raw:
    """A record as it stands in the file. `head` is what the chain covers of a whole one, whether its body is or not."""

    head: bytes
    header: bytes
    packed: bytes
    digest: bytes
    is_dropped: bool

    def content(self) -> bytes:
        """Its bytes, as they were read."""
        first = DROPPED + self.head[len(RECORD) :] if self.is_dropped else self.head
        return first + self.header + self.packed + self.digest

    def without_body(self) -> bytes:
        """Its bytes once the body is gone."""
        return DROPPED + self.head[len(RECORD) :] + self.header + self.digest


def _next_raw(file: BinaryIO, path: Path, previous: bytes, seq: int) -> _Raw | None:
    head = file.read(_HEAD.size)
    if not head:
        return None
    magic = head[: len(RECORD)]
    if magic not in (RECORD, DROPPED):
        written = (head + file.read()).rstrip(b"\0")
        raise _TornError if RECORD.startswith(written) else _damaged(path, seq)
    if len(head) < _HEAD.size:
        raise _TornError
    is_dropped = magic == DROPPED
    _, header_bytes, body_bytes, body_sha256 = _HEAD.unpack(head)
    stored = 0 if is_dropped else body_bytes
    rest = file.read(header_bytes + stored + HASH_BYTES)
    if len(rest) < header_bytes + stored + HASH_BYTES:
        raise _TornError
    header, packed, digest = rest[:header_bytes], rest[header_bytes:-HASH_BYTES], rest[-HASH_BYTES:]
    head = RECORD + head[len(RECORD) :]
    is_whole = is_dropped or hashlib.sha256(packed).digest() == body_sha256
    if not is_whole or hashlib.sha256(previous + head + header).digest() != digest:
        # Blocks that never reached the disk read as zeros; anything else was written and changed afterwards.
        raise _damaged(path, seq) if (digest[-1:] + file.read()).strip(b"\0") else _TornError
    return _Raw(head, header, packed, digest, is_dropped)


def _record(raw: _Raw, path: Path, seq: int) -> Record:
    header = msgspec.json.decode(raw.header)
    if header["seq"] != seq:
        raise _damaged(path, seq)
    return Record(
        seq=seq,
        kind=header["kind"],
        at=header["at"],
        data=header["data"],
        packed=raw.packed,
        sha256=header["sha256"],
        hash=raw.digest,
        is_dropped=raw.is_dropped,
    )


def _damaged(path: Path, seq: int) -> JournalDamagedError:
    return JournalDamagedError(f"record {seq} in {path.name} does not match its hash", hint=_HINT)


def _find_end(path: Path) -> tuple[bytes, int, Record | None]:
    """(hash before the segment, offset behind its last whole record, that record)."""
    with path.open("rb") as file:
        start = previous = _file_header(file, path)
        seq, last, end = int(path.stem), None, file.tell()
        while True:
            try:
                record = _next_record(file, path, previous, seq)
            except _TornError:
                if _has_record_behind(file, end):
                    raise _damaged(path, seq) from None
                return start, end, last
            if record is None:
                return start, end, last
            previous, seq, last, end = record.hash, seq + 1, record, file.tell()


def _has_record_behind(file: BinaryIO, end: int) -> bool:
    """Whether a whole record follows a torn-looking one: then a length in it was changed, and nothing is torn.

    A record can be recognized alone: the 32 bytes before it are the hash that its own hash continues.
    """
    file.seek(end)
    tail = file.read()
    at = tail.find(RECORD, HASH_BYTES)
    while at >= 0:
        head = tail[at : at + _HEAD.size]
        if len(head) == _HEAD.size:
            _, header_bytes, body_bytes, _ = _HEAD.unpack(head)
            behind = at + _HEAD.size + header_bytes
            stop = behind + body_bytes
            digest = hashlib.sha256(tail[at - HASH_BYTES : behind]).digest()
            if stop + HASH_BYTES <= len(tail) and digest == tail[stop : stop + HASH_BYTES]:
                return True
        at = tail.find(RECORD, at + 1)
    return False


def _cut_torn_tail(path: Path, end: int) -> None:
    """Moves bytes behind the last whole record aside (they were never acknowledged) and cuts the file there."""
    size = path.stat().st_size
    if size == end:
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
