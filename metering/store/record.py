"""One journalled fact, as it is read or was just appended. Must not know its bytes, files, nor what it means."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zstandard

from metering.core.errors import JournalDamagedError

HASH_BYTES = 32
CLOCK_BACK = "clock_back"
"""The member of a record's data that says, if the clock was behind, after which time the record was written."""
GENESIS = bytes(HASH_BYTES)
"""The hash before the first record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One journalled fact. `data` is JSON, `hash` its place in the chain.

    `packed` is the body as it is stored, `size` the length of the body as it was received, `sha256` that body's hash in
    hexadecimal; it stays when the body is dropped. `opener` gives a body that refers to earlier ones, by `seq`; a
    record that was just appended has the `plain` body.
    """

    seq: int
    kind: str
    at: str
    data: dict[str, Any]
    packed: bytes
    sha256: str
    hash: bytes
    size: int = 0
    is_dropped: bool = False
    plain: bytes | None = field(default=None, repr=False, compare=False)
    opener: Callable[[int], bytes] | None = field(default=None, repr=False, compare=False)

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
        if self.opener is not None:
            return self.opener(self.seq)
        return zstandard.decompress(self.packed) if self.packed else b""
