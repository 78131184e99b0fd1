"""Stores and opens the bodies of a segment: whole, as a difference to an earlier body, or as a reference to one.

Bodies of one stream (the answers to one request, cycle after cycle) resemble each other. A body that equals the one
before it is a reference to that; another is compressed with an earlier one of its stream as dictionary. The n-th
difference to a whole body refers to the one whose number is n without its lowest bit (7 to 6, 6 to 4, 8 to the whole
one), so that a body opens in as many steps as n has bits. What a body needs lies in its segment.
"""

import hashlib
import os
import weakref
from array import array
from collections import OrderedDict
from dataclasses import dataclass, field

import zstandard
from msgspec import structs

from metering.core.errors import JournalDamagedError
from metering.store.frames import THIRD, Body, body_of, is_stored

DIFFERENCES = 15
"""Number of differences after which the first body of a new day is stored whole."""
_STREAMS = 1 << 16
"""Number of streams that are remembered, the most recently written ones."""
_LEVEL = 6
_LARGE = 1 << 21
"""Of a larger base the compressor would remember the end alone: it gets a larger table, which costs time."""
_HASH_LOG = 24


class Bodies:
    """The bodies of one segment file, by record number. Keeps the opened file, even if it is replaced later."""

    def __init__(self, descriptor: int, first: int) -> None:
        self._descriptor = os.dup(descriptor)
        weakref.finalize(self, os.close, self._descriptor)
        self._first, self._offsets = first, array("Q")

    def add(self, offset: int) -> None:
        """Adds the offset of the next record."""
        self._offsets.append(offset)

    def body(self, seq: int) -> bytes:
        """The body of a record that was added. Raises JournalDamagedError where what it needs is not whole."""
        needed, at = list[bytes](), seq
        while True:
            body = self._stored(at, of=seq)
            needed += [body.packed] if body.packed else []
            if not body.base:
                break
            at -= body.base
        try:
            plain = zstandard.decompress(needed.pop())
            for difference in reversed(needed):
                plain = zstandard.ZstdDecompressor(dict_data=_dictionary(plain)).decompress(difference)
        except (zstandard.ZstdError, IndexError):
            raise _damaged(at, seq) from None
        return plain

    def _stored(self, seq: int, of: int) -> Body:
        """The body as it is stored, with its bytes checked."""
        if seq < self._first:
            raise _damaged(seq, of)
        offset = self._offsets[seq - self._first]
        fixed = os.pread(self._descriptor, THIRD.fixed, offset)
        more, header, stored = THIRD.lengths(fixed) if len(fixed) == THIRD.fixed else (0, 0, 0)
        head = fixed + os.pread(self._descriptor, more, offset + THIRD.fixed)
        packed = os.pread(self._descriptor, stored, offset + len(head) + header)
        if len(head) != THIRD.fixed + more or len(packed) != stored or not is_stored(head, packed):
            raise _damaged(seq, of)
        found_seq, body = body_of(head)
        if found_seq != seq or not body.size or head.startswith(b"CUT "):
            raise _damaged(seq, of)
        return structs.replace(body, packed=packed)


def _damaged(seq: int, of: int) -> JournalDamagedError:
    return JournalDamagedError(
        f"the body of record {of} cannot be opened: the body of record {seq}, which it refers to, is damaged",
        hint="restore the journal from a backup; the store still holds what it holds",
    )


@dataclass(slots=True)
class _Stream:
    """The last body of a stream, and its hash.

    `path` has the whole body's record, those that the last body needs besides, and its own. `differences` are counted
    from the whole body, which is of a `day`.
    """

    path: list[int]
    day: str
    sha256: bytes
    differences: int = 0


@dataclass(slots=True)
class Streams:
    """The bodies to which the next body of each stream may refer; reading the segment again gives the same state."""

    _last: OrderedDict[int, _Stream] = field(default_factory=OrderedDict)

    def stored(self, content: bytes, seq: int, stream: int, day: str, bodies: Bodies) -> Body:
        """The shortest way to store the body of the record `seq`."""
        sha256 = hashlib.sha256(content).digest()
        body = Body(sha256=sha256, size=len(content), stream=stream, plain=content)
        last = self._last.get(stream) if stream else None
        try:
            if last and last.sha256 == sha256 and bodies.body(last.path[-1]) == content:
                return structs.replace(body, base=seq - last.path[-1])
            if last and (last.day == day or last.differences < DIFFERENCES):
                base = last.path[(last.differences + 1).bit_count() - 1]
                return structs.replace(body, packed=_difference(content, bodies.body(base)), base=seq - base)
        except JournalDamagedError:
            pass  # nothing new may refer to a body that cannot be opened; reading it reports the damage
        packed = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(content)
        return structs.replace(body, packed=packed)

    def add(self, seq: int, body: Body, day: str) -> None:
        """Adds a record that was written or read."""
        if not body.stream:
            return
        last = self._last.pop(body.stream, None)
        if not body.base:
            last = _Stream(path=[seq], day=day, sha256=body.sha256)
        elif last and body.sha256 != last.sha256:
            del last.path[last.path.index(seq - body.base) + 1 :]
            last.path.append(seq)
            last.sha256, last.differences = body.sha256, last.differences + 1
        if last:
            self._last[body.stream] = last
        if len(self._last) > _STREAMS:
            self._last.popitem(last=False)

    def forget(self, stream: int) -> None:
        """Forgets a stream, so that no later body refers to its last one."""
        self._last.pop(stream, None)


def stream_number(name: str) -> int:
    """The number of a stream in records; 0 is none. A collision of two streams only costs space."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) or 1 if name else 0


def _difference(content: bytes, base: bytes) -> bytes:
    """The content compressed with the whole base as dictionary."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL,
        source_size=len(content),
        dict_size=len(base),
        window_log=max(zstandard.WINDOWLOG_MIN, (len(content) + len(base)).bit_length()),
        write_checksum=True,
        **({"hash_log": min(len(base).bit_length(), _HASH_LOG)} if len(base) > _LARGE else {}),
    )
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=_dictionary(base)).compress(content)


def _dictionary(body: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(body, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
