"""Damage of database files while they are used: which file has it, and how it is set aside.

DuckDB writes blocks of 256 KiB behind three headers of 4 KiB, each with a checksum before its bytes (storage format of
DuckDB 1 and 2, `src/common/checksum.cpp`). A file may be checked without opening it. Must not know what tables mean.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl

from metering.core.errors import MeteringError, StoreDamagedError
from metering.core.files import copy_durably, sync_directory
from metering.store.database import DAMAGED, DATABASE, REBUILD_HINT, SNAPSHOT

DAMAGED_SNAPSHOT = "damaged-snapshot.duckdb"
_HEADER, _HEADERS, _BLOCK = 4096, 3, 256 * 1024
_CHECKSUM_BYTES = 8
_SEED, _FACTOR = 5381, 0xBF58476D1CE4E5B9
_AT_ONCE = 64


def has_damage(path: Path) -> bool:
    """Whether a block of the file is not as DuckDB wrote it, or the file is too short to be one. Raises OSError."""
    size = path.stat().st_size
    if size < _HEADER * _HEADERS:
        return True
    with path.open("rb") as file:
        heads = [file.read(_HEADER) for _ in range(_HEADERS)]
        if any(not _agrees(heads[i : i + 1]) for i in range(_HEADERS)):
            return True
        while blocks := [block for _ in range(_AT_ONCE) if len(block := file.read(_BLOCK)) == _BLOCK]:
            if not _agrees(blocks):
                return True
    return False


def _agrees(blocks: list[bytes]) -> bool:
    """Whether each block has the checksum of its bytes; one that was never written is empty."""
    blocks = [block for block in blocks if block.strip(b"\0")]
    if not blocks:
        return True
    words = (len(blocks[0]) - _CHECKSUM_BYTES) // 8
    bodies = pl.Series([block[_CHECKSUM_BYTES:] for block in blocks], dtype=pl.Binary)
    numbers = bodies.bin.reinterpret(dtype=pl.Array(pl.UInt64, words), endianness="little")
    product = pl.col("word") * pl.lit(_FACTOR, dtype=pl.UInt64)  # wraps, as C's does
    rows = pl.DataFrame({"block": range(len(blocks)), "word": numbers}).lazy().explode("word")
    sums = rows.group_by("block", maintain_order=True).agg(product.bitwise_xor()).collect()["word"]
    said = [int.from_bytes(block[:_CHECKSUM_BYTES], "little") for block in blocks]
    return [one ^ _SEED for one in sums] == said


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
