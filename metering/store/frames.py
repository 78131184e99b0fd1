r"""The bytes of a record in a segment file: encoding, decoding, and the check of one record against the chain.

    "REC " · seq (u64) · header length (u32) · body length (u32) · stored length (u32) · base (u32) · stream (u32)
    · sha256 of the body (32 bytes, if it has one) · sha256 of the stored bytes (32 bytes, if there are any)
    · header (kind, at, data; see headers.py) · stored bytes · hash (32 bytes)

where hash = sha256(previous hash · all bytes of this record before the stored ones). So the stored bytes may be dropped
later and the chain still holds: the record then begins with "CUT " and has none. The body is as it was received. How
it is stored, `base` says: 0, a zstd frame of its own; otherwise so many records earlier is the body that is the frame's
dictionary, or that equals this one if nothing is stored. Bodies of one stream resemble each other; 0 is none.

Format 2 is only read: "REC " · header length (u32) · stored length (u32) · sha256 of the stored bytes · header (JSON,
with `seq` and the body's `sha256`) · stored bytes, always a frame of its own · hash. Must not know files.
"""

import hashlib
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import msgspec
import zstandard

from metering.store import headers
from metering.store.record import HASH_BYTES, Record

_RECORD = b"REC "
_DROPPED = b"CUT "
_HEAD = struct.Struct(">4sQIIIII")
_HEAD_2 = struct.Struct(">4sII32s")


class TornError(Exception):
    """The bytes end inside a record."""


class ChangedError(Exception):
    """The bytes differ from those that were written."""


class Form(msgspec.Struct, frozen=True):
    """A format of segment files: magic bytes, size of a record's fixed part, and how to read the lengths in it.

    `lengths` returns the lengths of the rest of the head, of the header and of the stored bytes.
    """

    magic: bytes
    fixed: int
    lengths: Callable[[bytes], tuple[int, int, int]]


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A stored body: hash and length of the received body, the stored bytes, and the record to which they refer.

    A body that is about to be stored also has the received bytes.
    """

    sha256: bytes = b""
    size: int = 0
    packed: bytes = b""
    base: int = 0
    stream: int = 0
    plain: bytes = b""


class Frame(msgspec.Struct, frozen=True):
    """A record's bytes, checked against the chain. `head` is that of the whole record, which the chain covers."""

    form: Form
    head: bytes
    header: bytes
    packed: bytes
    digest: bytes
    is_dropped: bool
    seq: int
    stored: Body

    def content(self) -> bytes:
        """The bytes of the record in the file."""
        first = _DROPPED + self.head[len(_RECORD) :] if self.is_dropped else self.head
        return first + self.header + self.packed + self.digest

    def without_body(self) -> bytes:
        """The bytes of the record without its body."""
        return _DROPPED + self.head[len(_RECORD) :] + self.header + self.digest

    def facts(self) -> dict[str, Any]:
        """The header's `kind`, `at` and `data`."""
        facts: dict[str, Any] = msgspec.json.decode(self.header) if self.form is SECOND else headers.unpack(self.header)
        return facts

    def record(self, opener: Callable[[int], bytes] | None = None) -> Record:
        """The record that the bytes hold; `opener` opens a body that refers to another."""
        facts = self.facts()
        return Record(
            seq=self.seq,
            kind=facts["kind"],
            at=facts["at"],
            data=facts["data"],
            packed=self.packed,
            sha256=self.stored.sha256.hex(),
            hash=self.digest,
            size=self.stored.size,
            is_dropped=self.is_dropped,
            opener=opener if self.stored.base else None,
        )


def _lengths(head: bytes) -> tuple[int, int, int]:
    _, _, header, body, stored, _, _ = _HEAD.unpack(head)
    return HASH_BYTES * ((body > 0) + (stored > 0)), header, stored


def _lengths_2(head: bytes) -> tuple[int, int, int]:
    _, header, stored, _ = _HEAD_2.unpack(head)
    return 0, header, stored


THIRD = Form(b"METERJ3\n", _HEAD.size, _lengths)
SECOND = Form(b"METERJ2\n", _HEAD_2.size, _lengths_2)


def encode(after: tuple[int, bytes], *, kind: str, at: str, data: dict[str, Any], body: Body) -> tuple[bytes, Record]:
    """(the bytes to append, the record); `after` is the (seq, hash) of the record before it."""
    seq, previous = after[0] + 1, after[1]
    header = headers.pack(kind, at, data)
    fixed = _HEAD.pack(_RECORD, seq, len(header), body.size, len(body.packed), body.base, body.stream)
    stored_sha256 = hashlib.sha256(body.packed).digest() if body.packed else b""
    chained = fixed + body.sha256 + stored_sha256 + header
    digest = hashlib.sha256(previous + chained).digest()
    record = Record(
        seq=seq,
        kind=kind,
        at=at,
        data=data,
        packed=body.packed,
        sha256=body.sha256.hex(),
        hash=digest,
        size=body.size,
        plain=body.plain,
    )
    return chained + body.packed + digest, record


def read_frame(file: BinaryIO, previous: bytes, form: Form) -> Frame | None:
    """The next record of a file behind the one whose hash is `previous`; None at the end.

    Raises TornError if the file ends inside the record, ChangedError if the record is not as it was written.
    """
    fixed = file.read(form.fixed)
    if not fixed:
        return None
    magic = fixed[: len(_RECORD)]
    if magic not in (_RECORD, _DROPPED):
        written = (fixed + file.read()).rstrip(b"\0")
        raise TornError if _RECORD.startswith(written) else ChangedError
    if len(fixed) < form.fixed:
        raise TornError
    is_dropped = magic == _DROPPED
    more, header_bytes, stored = form.lengths(fixed)
    length = more + header_bytes + (0 if is_dropped else stored) + HASH_BYTES
    rest = file.read(length)
    if len(rest) < length:
        raise TornError
    behind = more + header_bytes
    head = _RECORD + fixed[len(_RECORD) :] + rest[:more]
    header, packed, digest = rest[more:behind], rest[behind:-HASH_BYTES], rest[-HASH_BYTES:]
    if not is_stored(head, packed) or hashlib.sha256(previous + head + header).digest() != digest:
        # Blocks that never reached the disk read as zeros; anything else was written and changed afterwards.
        raise ChangedError if (digest[-1:] + file.read()).strip(b"\0") else TornError
    seq, body = _body_2(header, packed) if form is SECOND else body_of(head)
    return Frame(form, head, header, packed, digest, is_dropped, seq, body)


def is_stored(head: bytes, packed: bytes) -> bool:
    """Whether the stored bytes match the hash at the end of a head. A dropped body has none."""
    return not packed or hashlib.sha256(packed).digest() == head[-HASH_BYTES:]


def body_of(head: bytes) -> tuple[int, Body]:
    """(seq, body without its stored bytes) of a record's head."""
    _, seq, _, size, _, base, stream = _HEAD.unpack_from(head)
    return seq, Body(sha256=head[_HEAD.size :][:HASH_BYTES] if size else b"", size=size, base=base, stream=stream)


def _body_2(header: bytes, packed: bytes) -> tuple[int, Body]:
    facts = msgspec.json.decode(header)
    size = zstandard.frame_content_size(packed) if packed else 0
    return facts["seq"], Body(sha256=bytes.fromhex(facts["sha256"]), size=size)


def has_record(tail: bytes, form: Form) -> bool:
    """Whether a whole record follows one that looks torn: then a length in that one was changed, and nothing is torn.

    A record is recognized without the ones before it: its hash continues the hash in the 32 bytes before it.
    """
    at = tail.find(_RECORD, HASH_BYTES)
    while at >= 0:
        fixed = tail[at : at + form.fixed]
        if len(fixed) == form.fixed:
            more, header_bytes, stored = form.lengths(fixed)
            behind = at + form.fixed + more + header_bytes
            stop = behind + stored
            digest = hashlib.sha256(tail[at - HASH_BYTES : behind]).digest()
            if stop + HASH_BYTES <= len(tail) and digest == tail[stop : stop + HASH_BYTES]:
                return True
        at = tail.find(_RECORD, at + 1)
    return False
