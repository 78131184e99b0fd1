"""The header of a journal record as bytes: JSON, compressed for the many records of polling.

Headers of promises and of decisions by persons stay legible text in the file. The dictionary holds the words of polling
headers. It is a part of the format METERJ3 and must never change, because reading those headers needs it.
"""

import threading
from typing import Any

import msgspec
import zstandard

_WORDS = (
    b'{"kind":"cycle","at":"2026-10-15T10:05:00Z","data":{"command":"tick","'
    b'started_at":"2026-10-15T10:05:00Z","ended_at":"2026-10-15T10:05:00Z","requests":17,"pages":17,"changes":5,"outcom'
    b'e":"complete","faults":[]}}"endpoint":"batch","endpoint":"branches","organization":"org-","path":"projects/","pat'
    b'h":"projects/quiet-river-12345678/branches","params":{"limit":"100","project_ids":""},"endpoint":"recoverable","p'
    b'arams":{"org_id":"org-","limit":"400","recoverable":"true"},{"kind":"walk","at":"2026-10-15T10:05:00Z","data":{"w'
    b'alk":8,"endpoint":"inventory","organization":"org-","path":"projects","grain":null,"period_start":null,"period_en'
    b'd":null,"first_sent_at":"2026-10-15T10:05:00Z","kind":"","reason":""}}{"kind":"page","at":"2026-10-15T10:05:00Z",'
    b'"data":{"walk":1,"endpoint":"project","organization":"org-","path":"projects/","params":{},"sent_at":"2026-10-15T'
    b'10:05:00Z","received_at":"2026-10-15T10:05:00Z","request_id":"","by_rows":true,"project_id":""}}{"kind":"page","a'
    b't":"2026-11-10T12:00:00Z","data":{"walk":9,"endpoint":"history","organization":"org-","path":"consumption_history'
    b'/v2/projects","params":{"org_id":"org-","from":"2026-08-18T00:00:00Z","to":"2026-10-09T00:00:00Z","granularity":"'
    b'hourly","metrics":"compute_unit_seconds,root_branch_bytes_month,child_branch_bytes_month,instant_restore_bytes_mo'
    b"nth,snapshot_storage_bytes_month,public_network_transfer_bytes,private_network_transfer_bytes,extra_branches_mont"
    b'h","limit":"100","cursor":""},"sent_at":"2026-11-10T12:00:00Z","received_at":"2026-11-10T12:00:00Z","request_id":'
    b'"","by_rows":true,"grain":0,"period_start":"2026-08-18T00:00:00Z","period_end":"2026-10-09T00:00:00Z"}}'
)
_COMPRESSED = frozenset({"page", "walk", "cycle"})
_LEVEL = 12
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # every zstd frame begins with it, so that it need not be stored


class _Packers(threading.local):
    """A compressor and a decompressor per thread, because they must not be shared."""

    def __init__(self) -> None:
        words = zstandard.ZstdCompressionDict(_WORDS, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        words.precompute_compress(level=_LEVEL)
        self.compress = zstandard.ZstdCompressor(level=_LEVEL, dict_data=words).compress
        self.decompress = zstandard.ZstdDecompressor(dict_data=words).decompress


_PACKERS = _Packers()


def pack(kind: str, at: str, data: dict[str, Any]) -> bytes:
    """The stored bytes of a header; equal headers give equal bytes."""
    text = msgspec.json.encode({"kind": kind, "at": at, "data": data})
    return _PACKERS.compress(text)[len(_ZSTD_MAGIC) :] if kind in _COMPRESSED else text


def unpack(packed: bytes) -> dict[str, Any]:
    """The header with the members `kind`, `at` and `data`."""
    is_text = packed.startswith(b"{")  # a frame behind its magic number never begins so: two bits are reserved
    header: dict[str, Any] = msgspec.json.decode(packed if is_text else _PACKERS.decompress(_ZSTD_MAGIC + packed))
    return header
