"""The database: opened and migrated by its one writer, queried and written by file name, one transaction at a time.

The database is an index of the journal: it may be deleted at any time and is built anew. The session zone is UTC. Only
the holder of the lock file opens `metering.duckdb`; snapshots.py has the copy for readers. Knows nothing of what the
tables mean.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from metering.core.errors import ExactnessError, MeteringError, StoreDamagedError
from metering.core.exhaustion import hint_for, is_exhausted
from metering.core.files import copy_durably, data_directory, sync_directory
from metering.store.migrations import migrate

DATABASE = "metering.duckdb"
SNAPSHOT = "snapshot.duckdb"
DatabaseError = duckdb.Error
DAMAGED = "damaged.duckdb"
REBUILD_HINT = "`metering rebuild` builds it anew from the journal"
_DAMAGE = re.compile("Corrupt|not a valid DuckDB|replaying WAL|Could not read enough bytes")
"""DuckDB's words for bytes that it did not write; a lock, a missing right and a full disk have other words."""


class Store:
    """An open database. Values cross the border as polars frames; HUGEINT arrives as Decimal(38, 0)."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, mended: str = "") -> None:
        self.connection = connection
        self.mended = mended
        """What was repaired to open it, as a sentence; usually empty."""
        self._is_in_transaction = False

    def query(self, name: str, **parameters: Any) -> pl.DataFrame:
        """Runs `sql/queries/NAME.sql` with named parameters."""
        with disk_errors():
            frame: pl.DataFrame = self.connection.sql(self._parsed("queries", name), params=parameters or None).pl()
        return frame

    def write(self, name: str, **parameters: Any) -> None:
        """Runs `sql/writes/NAME.sql` with named parameters."""
        self.connection.execute(self._parsed("writes", name), parameters or None)

    def write_each(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Runs `sql/writes/NAME.sql` once for each row of parameters, of which there is at least one."""
        self.connection.executemany(self._parsed("writes", name), rows)

    def check(self, name: str) -> pl.DataFrame:
        """Runs `sql/checks/NAME.sql`; rows are faults."""
        frame: pl.DataFrame = self.connection.sql(self._parsed("checks", name)).pl()
        return frame

    def _parsed(self, folder: str, name: str) -> duckdb.Statement:
        """The statement in `sql/FOLDER/NAME.sql`, parsed once by a process."""
        if (folder, name) not in _PARSED:
            (_PARSED[folder, name],) = self.connection.extract_statements(statement(folder, name))
        return _PARSED[folder, name]

    def fingerprint(self, relation: str) -> tuple[Any, ...]:
        """(number of rows, two sums over their hashes); the order of the rows does not matter."""
        (found,) = self.connection.execute(
            f"select count(*), bit_xor(hash(t)), sum(hash(t)::hugeint) from {relation} as t"  # noqa: S608 - of ours
        ).fetchall()
        return tuple(found)

    def insert(self, table: str, frame: pl.DataFrame) -> None:
        """Appends the frame's rows by column name."""
        self._write("insert into", table, frame)

    def replace(self, table: str, frame: pl.DataFrame) -> None:
        """Appends the frame's rows by column name; a row replaces the one with its primary key."""
        self._write("insert or replace into", table, frame)

    def _write(self, verb: str, table: str, frame: pl.DataFrame) -> None:
        if frame.is_empty():
            return
        assert table.isidentifier()
        with self.frames(incoming=frame):
            self.connection.execute(f"{verb} {table} by name select * from incoming")  # noqa: S608 - a table of ours

    def insert_from(self, table: str, name: str, **parameters: Any) -> None:
        """Appends the rows of `sql/queries/NAME.sql` by column name; they never leave the database."""
        assert table.isidentifier()
        self.connection.execute(f"insert into {table} by name {statement('queries', name)}", parameters)

    @contextmanager
    def frames(self, **frames: pl.DataFrame) -> Iterator[None]:
        """Makes frames visible to queries under their names."""
        for name, frame in frames.items():
            self.connection.register(name, frame)
        try:
            yield
        except BaseException:
            with suppress(duckdb.Error):  # a failed transaction refuses this too, and the first error is to be raised
                self._forget(frames)
            raise
        self._forget(frames)

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            self.connection.unregister(name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits everything or nothing. A transaction inside another is a part of it."""
        if self._is_in_transaction:
            yield
            return
        self.connection.execute("begin")
        self._is_in_transaction = True
        try:
            with disk_errors():
                yield
                self.connection.execute("commit")
        except BaseException:
            with suppress(duckdb.Error):  # the failure may have ended the transaction already
                self.connection.execute("rollback")
            raise
        finally:
            self._is_in_transaction = False


_PARSED: dict[tuple[str, str], duckdb.Statement] = {}


def open_writer(directory: Path) -> Store:
    """Opens and migrates the database; the caller holds the lock. Raises StoreDamagedError.

    A database whose bytes are damaged (a checkpoint cut in two, a bad block) is set aside as `damaged.duckdb`, and the
    readers' copy takes its place; the journal has the records that the copy lacks.
    """
    path = directory / DATABASE
    try:
        return Store(_opened(path))
    except duckdb.Error as error:
        damage = cannot_open(path, error)
        if is_exhausted(error):
            raise
        if not _DAMAGE.search(str(error)) or not (directory / SNAPSHOT).exists():
            raise damage from None
    _replace_by_snapshot(directory)
    try:
        return Store(_opened(path), mended=f"{damage}; it was set aside as {DAMAGED} and made anew")
    except duckdb.Error:
        raise damage from None


def _opened(path: Path) -> duckdb.DuckDBPyConnection:
    if not path.exists():
        create(path.parent)
    connection = duckdb.connect(str(path))
    with ExitStack() as opened:
        opened.enter_context(closing(connection))
        path.chmod(0o600)
        prepare(connection)
        migrate(connection)
        connection.execute(statement("queries", "store/position")).fetchall()  # a missing block shows when it is read
        opened.pop_all()
    return connection


def _replace_by_snapshot(directory: Path) -> None:
    """Puts the readers' copy in the database's place. Deletes the old log first: it belongs to the old database."""
    path, copy = directory / DATABASE, directory / (DATABASE + ".copy")
    copy_durably(directory / SNAPSHOT, copy)
    (directory / (DATABASE + ".wal")).unlink(missing_ok=True)
    path.replace(directory / DAMAGED)
    copy.replace(path)
    sync_directory(directory)


def create(directory: Path, begin: Callable[[Store], None] | None = None) -> None:
    """Puts a migrated database in place by rename: a process that dies here leaves what was there before.

    `begin` may fill the database, which has no tables yet, before it is migrated.
    """
    path = directory / DATABASE
    temporary = path.with_name(path.name + ".new")
    for leftover in (temporary, temporary.with_name(temporary.name + ".wal")):
        leftover.unlink(missing_ok=True)
    if begin is None and _BLANK:
        _write(temporary, _BLANK[0])
    else:
        _make(temporary, begin)
    if begin is None and not _BLANK:
        _BLANK.append(temporary.read_bytes())
    # The old log is deleted first: the old database without it is an earlier state, the new one with it is damaged.
    path.with_name(path.name + ".wal").unlink(missing_ok=True)
    temporary.replace(path)
    sync_directory(path.parent)


_BLANK: list[bytes] = []
"""The bytes of a migrated database without rows: a process that makes several migrates once, which takes 0.1 s."""


def _make(file: Path, begin: Callable[[Store], None] | None) -> None:
    with closing(duckdb.connect(str(file))) as connection:
        file.chmod(0o600)
        prepare(connection)
        if begin is not None:
            begin(Store(connection))
        migrate(connection)
        connection.execute("checkpoint")


def _write(file: Path, content: bytes) -> None:
    """Writes a durable file that only its owner may read."""
    file.touch(mode=0o600)
    with file.open("wb") as written:
        written.write(content)
        written.flush()
        os.fsync(written.fileno())


def cannot_open(path: Path, error: duckdb.Error) -> StoreDamagedError:
    """The error for a database file that DuckDB does not open."""
    text = f"{path} cannot be opened: {str(error).splitlines()[0]}"
    return StoreDamagedError(text, hint=hint_for(text) if is_exhausted(error) else REBUILD_HINT)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turns DuckDB's errors about the disk, and about sums that are too large, into errors of ours with a hint."""
    try:
        yield
    except duckdb.OutOfRangeException as error:
        raise ExactnessError(
            "a sum of what was used leaves 128 bits",
            hint="the table observation_other of snapshot.duckdb holds the value that is beyond belief",
        ) from error
    except (duckdb.IOException, duckdb.FatalException, duckdb.TransactionException) as error:
        first = str(error).splitlines()[0]
        if _DAMAGE.search(first) and not is_exhausted(error):
            raise StoreDamagedError(f"the store cannot be read: {first}", hint=REBUILD_HINT) from error
        raise MeteringError(f"the store cannot be written: {first}", hint=hint_for(first)) from error


def in_memory(begin: Callable[[Store], None] | None = None) -> Store:
    """A migrated store without a file; `begin` may fill it before, as in `create`."""
    connection = duckdb.connect(":memory:")
    prepare(connection)
    if begin is not None:
        begin(Store(connection))
    migrate(connection)
    return Store(connection)


def tables(of: Store) -> list[str]:
    """The tables that the journal gives, by name."""
    rows = of.connection.execute(
        "select table_name from duckdb_tables() where schema_name = 'main' and not internal order by table_name"
    ).fetchall()
    return [name for (name,) in rows if name != "migration"]


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Sets what every connection of ours has: the time zone, no extensions from the network, no progress bar."""
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set autoinstall_known_extensions = false")
    connection.execute("set autoload_known_extensions = false")
    connection.execute("set enable_progress_bar = false")  # a long query would print one
    # Sums by project go to a plain array instead of a hash table where the fleet has up to 2^18 / 4 projects.
    connection.execute("set perfect_ht_threshold = 18")


@cache
def statement(folder: str, name: str) -> str:
    """The statement in `sql/FOLDER/NAME.sql`, read once."""
    return (data_directory("sql") / folder / f"{name}.sql").read_text(encoding="utf-8")
