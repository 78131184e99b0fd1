"""A checkpoint: every table of the store at one record, as Parquet; it replaces the records before that one.

`journal/checkpoint-0000012345/` holds a file per table (rows of a project side by side, zstd) and `manifest.json` with
the SHA-256 of each. The next record in the journal names the SHA-256 of the manifest, so that the chain covers every
byte; a directory that no record names is ignored. Knows the tables' columns, not what they mean.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metering.core.errors import JournalDamagedError
from metering.core.files import sync_directory
from metering.store import database, journal, migrations
from metering.store.database import Store
from metering.store.migrations import quoted

RECORD = "checkpoint"
"""The kind of the record that names one."""
MANIFEST = "manifest.json"
_NAME = re.compile(r"checkpoint-[0-9]{10}")
_FIRST_IN_ORDER = ("organization", "project_id", "project_key", "grain", "timeframe_start")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The store as it was at record `seq`."""

    seq: int
    path: Path

    @property
    def sha256(self) -> str:
        """The hash of the manifest, which has those of the files."""
        return file_sha256(self.path / MANIFEST)

    @property
    def bytes(self) -> int:
        """The size of its files."""
        return sum(file.stat().st_size for file in self.path.iterdir())

    def manifest(self) -> dict[str, Any]:
        """Tables with rows and SHA-256, the place in the chain, and the last migration that made the tables."""
        found: dict[str, Any] = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        return found

    def fault(self) -> str:
        """What is wrong with it; empty if every file is as the journal's next record says."""
        following = next(journal.read(self.path.parent, after=self.seq), None)
        if following is None or following.kind != RECORD:
            return f"no record names {self.path.name}"
        if not (self.path / MANIFEST).exists() or self.sha256 != following.data["manifest_sha256"]:
            return f"{self.path.name}/{MANIFEST} is not the one that record {following.seq} names"
        for table, facts in sorted(self.manifest()["tables"].items()):
            file = self.path / f"{table}.parquet"
            if not file.exists():
                return f"{self.path.name}/{file.name} is missing"
            if file_sha256(file) != facts["sha256"]:
                return f"{self.path.name}/{file.name} does not match its hash"
        return ""

    def load(self, into: Store) -> None:
        """Makes the tables, as they were then, in a database without any, and fills them."""
        manifest = self.manifest()
        migrations.migrate_tables(into.connection, manifest["last_migration"])
        into.connection.execute("delete from position")
        for table in sorted(manifest["tables"]):
            # In the order of the records, so that rows that are read together are stored together.
            order = " order by seq" if "seq" in dict(_columns(into, table)) else ""
            into.connection.execute(
                f"insert into {table} by name select * from {_parquet(self.path, table)}{order}"  # noqa: S608
            )


def checkpoints(directory: Path) -> list[Checkpoint]:
    """The checkpoints of a journal directory, in order, whole or not; other names are not ours."""
    found = sorted(path for path in directory.glob("checkpoint-*") if _NAME.fullmatch(path.name) and path.is_dir())
    return [Checkpoint(seq=int(path.name.removeprefix("checkpoint-")), path=path) for path in found]


def base(directory: Path) -> Checkpoint | None:
    """The newest whole checkpoint of a journal directory."""
    return next((found for found in reversed(checkpoints(directory)) if not found.fault()), None)


def write(of: Store, directory: Path) -> Checkpoint:
    """Writes the store's tables, reads them back and compares; the directory gets its name last.

    Raises JournalDamagedError if the files do not hold what the store holds, OSError.
    """
    seq, digest = of.query("store/position").row(0)
    final = directory / f"checkpoint-{seq:010d}"
    building = final.with_suffix(".tmp")
    for leftover in (building, final):
        shutil.rmtree(leftover, ignore_errors=True)
    building.mkdir(mode=0o700)
    facts = {table: _written(of, building, table) for table in database.tables(of)}
    manifest = {
        "seq": str(seq),
        "hash": digest,
        "last_migration": migrations.last_migration(of.connection),
        "tables": facts,
    }
    file = building / MANIFEST
    file.touch(mode=0o600)
    file.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    _sync(file)
    sync_directory(building)
    building.replace(final)
    sync_directory(directory)
    return Checkpoint(seq=seq, path=final)


def remove(unwanted: Checkpoint) -> None:
    """Deletes a checkpoint; renames it first, so that a part of it is never taken for a whole one."""
    aside = unwanted.path.with_suffix(".tmp")
    shutil.rmtree(aside, ignore_errors=True)
    unwanted.path.replace(aside)
    shutil.rmtree(aside)


def file_sha256(path: Path) -> str:
    """The hash of a file of any size, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _written(of: Store, building: Path, table: str) -> dict[str, str]:
    """Writes one table as a durable file and compares it; returns its number of rows and its hash."""
    columns = dict(_columns(of, table))
    first = [name for name in _FIRST_IN_ORDER if name in columns]
    order = ", ".join([*first, *(name for name in columns if name not in first)])
    # Parquet has no integer of 128 bits, and would take a float for it.
    values = ", ".join(f"{name}::decimal(38, 0) as {name}" if columns[name] == "HUGEINT" else name for name in columns)
    file = building / f"{table}.parquet"
    file.touch(mode=0o600)
    of.connection.execute(
        f"copy (select {values} from {table} order by {order}) to {quoted(str(file))}"  # noqa: S608
        " (format parquet, compression zstd)"
    )
    file.chmod(0o600)
    _sync(file)
    back = ", ".join(f"{name}::{kind} as {name}" for name, kind in columns.items())
    print_of_table = of.fingerprint(table)
    if of.fingerprint(f"(select {back} from {_parquet(building, table)})") != print_of_table:  # noqa: S608
        raise JournalDamagedError(f"{file} does not read back as table {table}", hint="look at the disk")
    return {"rows": str(print_of_table[0]), "sha256": file_sha256(file)}


def _columns(of: Store, table: str) -> Iterator[tuple[str, str]]:
    """(name, type) of a table's columns, in their order."""
    rows = of.connection.execute(
        """select column_name, data_type from duckdb_columns() where schema_name = 'main' and table_name = $table
           order by column_index""",
        {"table": table},
    ).fetchall()
    yield from rows


def _parquet(directory: Path, table: str) -> str:
    return f"read_parquet({quoted(str(directory / table))} || '.parquet')"


def _sync(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())
