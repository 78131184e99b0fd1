r"""One record of the journal and its bytes: encoding, decoding, and the check of one record against the chain.

    "REC " · header length (u32) · body length (u32) · sha256 of the stored body (32 bytes)
    · header (JSON) · body (a zstd frame, or nothing) · hash (32 bytes)

where hash = sha256(previous hash · all bytes of this record before its body). So a body may be dropped later and the
chain still holds: the record then begins with "CUT " and has no body. The header holds `seq`, `kind`, `at` (RFC 3339,
the business clock when it was written), `data` and `sha256` (of the body as it was received). Must not know files,
nor what a record means.
"""

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import msgspec
import zstandard

from metering.core.errors import JournalDamagedError

HASH_BYTES = 32
CLOCK_BACK = "clock_back"
"""The member of a record's data that says, if the clock was behind, after which time the record was written."""
GENESIS = bytes(HASH_BYTES)
"""The hash before the first record."""
_RECORD = b"REC "
_DROPPED = b"CUT "
_HEAD = struct.Struct(">4sII32s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One journalled fact. `data` is JSON, `hash` its place in the chain.

    `packed` is the compressed body; a record that was just appended also has the `plain` one. `sha256` is the hash of
    the body in hexadecimal; it stays when the body is dropped.
    """

    seq: int
    kind: str
    at: str
    data: dict[str, Any]
    packed: bytes
    sha256: str
    hash: bytes
    is_dropped: bool = False
    plain: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def latest_at(self) -> str:
        """When it was written, or after which time, if the clock was behind."""
        return str(self.data.get(CLOCK_BACK, self.at))

    @property
    def body(self) -> bytes:
        """The body as it was received (a page, a closing); empty if there is none. Raises JournalDamagedError."""
        if self.plain is not None:
            return self.plain
        if self.is_dropped:
            raise JournalDamagedError(
                f"the body of record {self.seq} was dropped, and no checkpoint that is whole stands in for it",
                hint="restore the directory journal/checkpoint-… from a backup",
            )
        return zstandard.decompress(self.packed) if self.packed else b""


class TornError(Exception):
    """The bytes end inside a record."""


class ChangedError(Exception):
    """The bytes are not the ones that were written."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A record's bytes, checked against the chain. `head` is the one that the chain covers, of a whole record."""

    head: bytes
    header: bytes
    packed: bytes
    digest: bytes
    is_dropped: bool

    def content(self) -> bytes:
        """The bytes as they were read."""
        first = _DROPPED + self.head[len(_RECORD) :] if self.is_dropped else self.head
        return first + self.header + self.packed + self.digest

    def without_body(self) -> bytes:
        """The bytes of the record once its body is dropped."""
        return _DROPPED + self.head[len(_RECORD) :] + self.header + self.digest

    def record(self) -> Record:
        """The record that the bytes hold."""
        header = msgspec.json.decode(self.header)
        return Record(
            seq=header["seq"],
            kind=header["kind"],
            at=header["at"],
            data=header["data"],
            packed=self.packed,
            sha256=header["sha256"],
            hash=self.digest,
            is_dropped=self.is_dropped,
        )


class Encoder:
    """Encodes records; keeps one compressor for all of them."""

    def __init__(self) -> None:
        self._packer = zstandard.ZstdCompressor(level=3, write_checksum=True)

    def encode(
        self, after: tuple[int, bytes], *, kind: str, at: str, data: dict[str, Any], body: bytes
    ) -> tuple[bytes, Record]:
        """(the bytes to append, the record); `after` is the (seq, hash) of the record before it."""
        seq, previous = after[0] + 1, after[1]
        sha256 = hashlib.sha256(body).hexdigest() if body else ""
        header = msgspec.json.encode({"seq": seq, "kind": kind, "at": at, "data": data, "sha256": sha256})
        packed = self._packer.compress(body) if body else b""
        chained = _HEAD.pack(_RECORD, len(header), len(packed), hashlib.sha256(packed).digest()) + header
        digest = hashlib.sha256(previous + chained).digest()
        record = Record(seq=seq, kind=kind, at=at, data=data, packed=packed, sha256=sha256, hash=digest, plain=body)
        return chained + packed + digest, record


def read_frame(file: BinaryIO, previous: bytes) -> Frame | None:
    """The next record of a file behind the one whose hash is `previous`; None at the end.

    Raises TornError if the file ends inside the record, ChangedError if the record is not as it was written.
    """
    head = file.read(_HEAD.size)
    if not head:
        return None
    magic = head[: len(_RECORD)]
    if magic not in (_RECORD, _DROPPED):
        written = (head + file.read()).rstrip(b"\0")
        raise TornError if _RECORD.startswith(written) else ChangedError
    if len(head) < _HEAD.size:
        raise TornError
    is_dropped = magic == _DROPPED
    _, header_bytes, body_bytes, body_sha256 = _HEAD.unpack(head)
    stored = 0 if is_dropped else body_bytes
    rest = file.read(header_bytes + stored + HASH_BYTES)
    if len(rest) < header_bytes + stored + HASH_BYTES:
        raise TornError
    header, packed, digest = rest[:header_bytes], rest[header_bytes:-HASH_BYTES], rest[-HASH_BYTES:]
    head = _RECORD + head[len(_RECORD) :]
    is_whole = is_dropped or hashlib.sha256(packed).digest() == body_sha256
    if not is_whole or hashlib.sha256(previous + head + header).digest() != digest:
        # Blocks that never reached the disk read as zeros; anything else was written and changed afterwards.
        raise ChangedError if (digest[-1:] + file.read()).strip(b"\0") else TornError
    return Frame(head, header, packed, digest, is_dropped)


def has_record(tail: bytes) -> bool:
    """Whether a whole record follows one that looks torn: then a length in that one was changed, and nothing is torn.

    A record is recognized without the ones before it: its hash continues the hash in the 32 bytes before it.
    """
    at = tail.find(_RECORD, HASH_BYTES)
    while at >= 0:
        head = tail[at : at + _HEAD.size]
        if len(head) == _HEAD.size:
            _, header_bytes, body_bytes, _ = _HEAD.unpack(head)
            behind = at + _HEAD.size + header_bytes
            stop = behind + body_bytes
            digest = hashlib.sha256(tail[at - HASH_BYTES : behind]).digest()
            if stop + HASH_BYTES <= len(tail) and digest == tail[stop : stop + HASH_BYTES]:
                return True
        at = tail.find(_RECORD, at + 1)
    return False
