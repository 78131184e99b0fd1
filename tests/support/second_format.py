"""Writes journals of the format METERJ2, as versions before METERJ3 did: older stores are read for ever."""

import hashlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zstandard

_HEAD = struct.Struct(">4sII32s")


def write(path: Path, records: Iterable[tuple[str, str, dict[str, Any], bytes]], *, before: bytes = bytes(32)) -> bytes:
    """Writes one segment of records (kind, at, data, body) behind the hash `before`; returns the last hash."""
    content, digest = b"METERJ2\n" + before, before
    for seq, (kind, at, data, body) in enumerate(records, start=int(path.stem)):
        sha256 = hashlib.sha256(body).hexdigest() if body else ""
        header = json.dumps({"seq": seq, "kind": kind, "at": at, "data": data, "sha256": sha256}).encode()
        packed = zstandard.ZstdCompressor(level=3, write_checksum=True).compress(body) if body else b""
        chained = _HEAD.pack(b"REC ", len(header), len(packed), hashlib.sha256(packed).digest()) + header
        digest = hashlib.sha256(digest + chained).digest()
        content += chained + packed + digest
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return digest
