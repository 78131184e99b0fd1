r"""One segment file: its header, and its records, each checked against the chain.

A segment starts with `METERJ3\n` and the hash of the record before it (32 bytes); records follow, as frames.py encodes
them. Segments that begin with `METERJ2\n` are of an older version: they stay readable and get no more records.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from metering.core.errors import JournalDamagedError
from metering.store.bodies import Bodies, Streams
from metering.store.frames import SECOND, THIRD, ChangedError, Form, Frame, TornError, has_record, read_frame
from metering.store.record import HASH_BYTES, Record

MAGIC = THIRD.magic
FIRST_MAGIC = b"METERJ1\n"  # the first format, in which a body could not be dropped; no released version wrote it
FILE_HEADER_BYTES = len(MAGIC) + HASH_BYTES
HINT = "restore the journal from a backup; the store still holds what it holds"


def files(directory: Path) -> list[Path]:
    """The segments of a journal, in order."""
    return sorted(directory.glob(f"{'[0-9]' * 10}.journal"))


def damaged(path: Path, seq: int) -> JournalDamagedError:
    """The error for a record that was changed after it was written."""
    return JournalDamagedError(f"record {seq} in {path.name} does not match its hash", hint=HINT)


def is_unbegun(path: Path) -> bool:
    """Whether the file ends inside its header, or the header's block never reached the disk."""
    with path.open("rb") as file:
        head = file.read(FILE_HEADER_BYTES + 1)
    return len(head) < FILE_HEADER_BYTES or not head.strip(b"\0")


def header(file: BinaryIO, path: Path) -> tuple[Form, bytes]:
    """(format of the segment, hash before its first record); raises JournalDamagedError."""
    head = file.read(FILE_HEADER_BYTES)
    if head.startswith(FIRST_MAGIC):
        raise JournalDamagedError(
            f"{path.name} is of the first format, which this version does not read",
            hint="move the store directory aside and run `metering backfill`",
        )
    form = next((form for form in (THIRD, SECOND) if head.startswith(form.magic)), None)
    if form is None or len(head) < FILE_HEADER_BYTES:
        raise JournalDamagedError(f"{path.name} does not begin like a journal segment", hint=HINT)
    return form, head[len(form.magic) :]


def frames(file: BinaryIO, path: Path, form: Form, previous: bytes) -> Iterator[tuple[int, Frame]]:
    """The offset and the bytes of each record behind the header to the end; raises TornError, JournalDamagedError."""
    seq, offset = int(path.stem), FILE_HEADER_BYTES
    try:
        while (frame := read_frame(file, previous, form)) is not None:
            if frame.seq != seq:
                raise ChangedError
            yield offset, frame
            previous, seq, offset = frame.digest, seq + 1, file.tell()
    except ChangedError:
        raise damaged(path, seq) from None


def records(path: Path, *, behind: int = 0, after: bytes | None = None) -> Generator[Record, None, bytes]:
    """The segment's records behind a number, each checked against the chain; returns the last hash.

    `after` is the hash that the segment must continue. Raises JournalDamagedError.
    """
    seq = int(path.stem)
    with path.open("rb") as file:
        form, digest = header(file, path)
        if after is not None and digest != after:
            raise JournalDamagedError(f"{path.name} does not continue the segment before it", hint=HINT)
        bodies = Bodies(file.fileno(), seq)
        try:
            for offset, frame in frames(file, path, form, digest):
                bodies.add(offset)
                seq, digest = frame.seq + 1, frame.digest
                if frame.seq > behind:
                    yield frame.record(bodies.body)
        except TornError:
            raise JournalDamagedError(f"{path.name} ends inside record {seq}", hint=HINT) from None
    return digest


@dataclass(slots=True, kw_only=True)
class End:
    """The end of the last segment, and what its next record needs: format, previous hash, last record."""

    form: Form
    hash: bytes
    offset: int
    seq: int
    bodies: Bodies
    streams: Streams = field(default_factory=Streams)
    last: Record | None = None


def find_end(path: Path) -> End:
    """Reads the last segment to its last whole record; raises JournalDamagedError."""
    with path.open("rb") as file:
        form, start = header(file, path)
        first = int(path.stem)
        end = End(form=form, hash=start, offset=file.tell(), seq=first - 1, bodies=Bodies(file.fileno(), first))
        last: Frame | None = None
        try:
            for offset, frame in frames(file, path, form, start):
                end.bodies.add(offset)
                note(end.streams, frame)
                last, end.seq, end.hash, end.offset = frame, frame.seq, frame.digest, file.tell()
        except TornError:
            file.seek(end.offset)
            if has_record(file.read(), form):
                raise damaged(path, end.seq + 1) from None
        end.last = last.record(end.bodies.body) if last else None
    return end


def note(streams: Streams, frame: Frame) -> None:
    """Adds a record that was read to the bodies and streams."""
    stored = frame.stored
    if frame.is_dropped:
        streams.forget(stored.stream)
    elif stored.stream:
        streams.add(frame.seq, stored, "" if stored.base else str(frame.facts()["at"])[:10])


def write_all(file: FileIO, content: bytes) -> None:
    """Writes all bytes without a buffer: a buffer would later write the rest of a failed write."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
