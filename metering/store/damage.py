"""Damage of database files while they are used: which file has it, and how it is set aside.

DuckDB writes blocks of 256 KiB behind three headers of 4 KiB, each with a checksum of 8 bytes before its bytes
(storage format of DuckDB 1 and 2, `src/common/checksum.cpp`). A file may be checked without opening it. Must not know
what tables mean.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import duckdb
import polars as pl
import pyarrow as pa

from metering.core.errors import MeteringError, StoreDamagedError
from metering.core.files import copy_durably, sync_directory
from metering.store.database import DAMAGED, DATABASE, REBUILD_HINT, SNAPSHOT

DAMAGED_SNAPSHOT = "damaged-snapshot.duckdb"
_HEADER, _HEADERS, _BLOCK = 4096, 3, 256 * 1024
_SEED, _FACTOR = 5381, 0xBF58476D1CE4E5B9
_AT_ONCE = 64


def has_damage(path: Path) -> bool:
    """Whether a block of the file is not as DuckDB wrote it, or the file is too short to be one. Raises OSError."""
    with path.open("rb") as file:
        heads = file.read(_HEADER * _HEADERS)
        if len(heads) < _HEADER * _HEADERS or not _agree(heads, _HEADER):
            return True
        while blocks := file.read(_BLOCK * _AT_ONCE):
            if not _agree(blocks, _BLOCK):
                return True
    return False


def _agree(content: bytes, size: int) -> bool:
    """Whether each whole block of this size has the checksum of its bytes; one that was never written is empty."""
    words = pl.Series(pa.Array.from_buffers(pa.uint64(), len(content) // 8, [None, pa.py_buffer(content)]))
    mixed, each = words * _FACTOR, size // 8  # wraps, as C's does
    return all(
        cast("int", mixed[at + 1 : at + each].bitwise_xor()) ^ _SEED == words[at] or words[at : at + each].max() == 0
        for at in range(0, len(content) // size * each, each)
    )


def damaged_files(directory: Path) -> list[str]:
    """The names of the store's files that have damage."""
    files = (directory / name for name in (DATABASE, SNAPSHOT))
    return [path.name for path in files if path.exists() and has_damage(path)]


@contextmanager
def watched(directory: Path) -> Iterator[None]:
    """Turns whatever the engine says of a damaged file into a StoreDamagedError that names the directory."""
    try:
        yield
    except (duckdb.Error, MeteringError) as error:
        names = damaged_files(directory) if isinstance(error, duckdb.Error | StoreDamagedError) else []
        if not names and isinstance(error.__cause__, duckdb.Error):
            names = damaged_files(directory)
        if not names:
            raise
        found = StoreDamagedError(
            f"{' and '.join(names)} in {directory} is damaged: {str(error).splitlines()[0]}",
            hint=REBUILD_HINT,
        )
        found.directory = directory
        raise found from error


def set_aside(directory: Path) -> str:
    """Sets damaged files aside; the caller holds the lock and has nothing open. Returns what was done, as a sentence.

    A readers' copy that is whole takes the place of a damaged database: the journal has the records that it lacks.
    """
    names = damaged_files(directory)
    if SNAPSHOT in names:
        (directory / SNAPSHOT).replace(directory / DAMAGED_SNAPSHOT)
    if DATABASE in names:
        copy = directory / (DATABASE + ".copy")
        if (directory / SNAPSHOT).exists():
            copy_durably(directory / SNAPSHOT, copy)
        # The old log goes first: it belongs to the old database.
        (directory / (DATABASE + ".wal")).unlink(missing_ok=True)
        (directory / DATABASE).replace(directory / DAMAGED)
        if copy.exists():
            copy.replace(directory / DATABASE)
    if names:
        sync_directory(directory)
    return f"damaged blocks: set aside and made anew: {', '.join(names)}" if names else ""
