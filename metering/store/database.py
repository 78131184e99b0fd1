"""The door to DuckDB: migrate, query and write by file name, insert frames, one transaction, a snapshot for readers.

The database is an index of the journal: it may be deleted at any time and is built anew. The session zone is UTC.
Only the holder of the lock file opens `metering.duckdb`; everybody else reads `snapshot.duckdb`, a copy that is
replaced by rename, so that readers neither wait nor block. Knows nothing of what the tables mean.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from graphlib import TopologicalSorter
from itertools import takewhile
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from metering.core.errors import DISK_HINT, ExactnessError, MeteringError, StoreDamagedError
from metering.core.files import data_directory, sync_directory

DATABASE = "metering.duckdb"
SNAPSHOT = "snapshot.duckdb"
DatabaseError = duckdb.Error
DAMAGED = "damaged.duckdb"
_REBUILD = "`metering rebuild` builds it anew from the journal"
_DAMAGE = re.compile("Corrupt|not a valid DuckDB|replaying WAL|Could not read enough bytes")
"""How DuckDB says that bytes are not what it wrote; a lock, a missing right and a full disk are told otherwise."""
VIEWS = "views"
"""The row of table `migration` that says which views the database has."""
_COLUMN = re.compile(r"(\w+),? +-- (.+)$")


class Store:
    """An open database. Values cross the border as polars frames; HUGEINT arrives as Decimal(38, 0)."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, mended: str = "") -> None:
        self.connection = connection
        self.mended = mended
        """What had to be put right to open it, as a sentence; empty as a rule."""
        self._is_in_transaction = False

    def query(self, name: str, **parameters: Any) -> pl.DataFrame:
        """Runs `sql/queries/NAME.sql` with named parameters."""
        with _faults_told():
            frame: pl.DataFrame = self.connection.sql(_text("queries", name), params=parameters or None).pl()
        return frame

    def write(self, name: str, **parameters: Any) -> None:
        """Runs `sql/writes/NAME.sql` with named parameters."""
        self.connection.execute(_text("writes", name), parameters or None)

    def write_each(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Runs `sql/writes/NAME.sql` once for each row of parameters, of which there is at least one."""
        self.connection.executemany(_text("writes", name), rows)

    def check(self, name: str) -> pl.DataFrame:
        """Runs `sql/checks/NAME.sql`; rows are faults."""
        frame: pl.DataFrame = self.connection.sql(_text("checks", name)).pl()
        return frame

    def fingerprint(self, relation: str) -> tuple[Any, ...]:
        """(rows, two sums over the hashes of the rows): the same for the same rows, in whatever order they lie."""
        (found,) = self.connection.execute(
            f"select count(*), bit_xor(hash(t)), sum(hash(t)::hugeint) from {relation} as t"  # noqa: S608 - of ours
        ).fetchall()
        return tuple(found)

    def insert(self, table: str, frame: pl.DataFrame) -> None:
        """Appends the frame's rows by column name."""
        self._write("insert into", table, frame)

    def replace(self, table: str, frame: pl.DataFrame) -> None:
        """The same; a row takes the place of the one with its primary key."""
        self._write("insert or replace into", table, frame)

    def _write(self, verb: str, table: str, frame: pl.DataFrame) -> None:
        if frame.is_empty():
            return
        assert table.isidentifier()
        with self.frames(incoming=frame):
            self.connection.execute(f"{verb} {table} by name select * from incoming")  # noqa: S608 - a table of ours

    def insert_from(self, table: str, name: str, **parameters: Any) -> None:
        """Appends by column name what `sql/queries/NAME.sql` finds; the rows never leave the database."""
        assert table.isidentifier()
        statement = f"insert into {table} by name {_text('queries', name)}"
        self.connection.execute(statement, parameters)

    @contextmanager
    def frames(self, **frames: pl.DataFrame) -> Iterator[None]:
        """Makes frames visible to queries under their names."""
        for name, frame in frames.items():
            self.connection.register(name, frame)
        try:
            yield
        except BaseException:
            with suppress(duckdb.Error):  # in a failed transaction even this is refused: what failed is to be heard
                self._forget(frames)
            raise
        self._forget(frames)

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            self.connection.unregister(name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it, or nothing. A transaction inside another is a part of it."""
        if self._is_in_transaction:
            yield
            return
        self.connection.execute("begin")
        self._is_in_transaction = True
        try:
            with _faults_told():
                yield
                self.connection.execute("commit")
        except BaseException:
            with suppress(duckdb.Error):  # what failed may have ended it already
                self.connection.execute("rollback")
            raise
        finally:
            self._is_in_transaction = False


def open_writer(directory: Path) -> Store:
    """Opens and migrates the database; the caller holds the lock. Raises StoreDamagedError.

    One whose bytes are damaged (a checkpoint cut in two, a bad block) is set aside as `damaged.duckdb` and the readers'
    copy takes its place: what that lacks, the journal has.
    """
    path = directory / DATABASE
    try:
        return Store(_opened(path))
    except duckdb.Error as error:
        damage = _damaged(path, error)
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
        _prepare(connection)
        migrate(connection)
        connection.execute(_text("queries", "store/position")).fetchall()  # a missing block is missed when it is read
        opened.pop_all()
    return connection


def _replace_by_snapshot(directory: Path) -> None:
    """Puts the readers' copy in the database's place. The old log goes first: beside another database it is poison."""
    path, copy = directory / DATABASE, directory / (DATABASE + ".copy")
    _copy(directory / SNAPSHOT, copy)
    (directory / (DATABASE + ".wal")).unlink(missing_ok=True)
    path.replace(directory / DAMAGED)
    copy.replace(path)
    sync_directory(directory)


def create(directory: Path, begin: Callable[[Store], None] | None = None) -> None:
    """A migrated database, put in place whole: a process that dies here leaves what was there before.

    `begin` makes what it begins with (in a database without tables), which is then migrated.
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
    # The old log goes first: without it the old database is an earlier state, beside the new one it is poison.
    path.with_name(path.name + ".wal").unlink(missing_ok=True)
    temporary.replace(path)
    sync_directory(path.parent)


_BLANK: list[bytes] = []
"""The file of a database without rows: a process that makes several migrates once, which takes 0.1 s."""


def _make(file: Path, begin: Callable[[Store], None] | None) -> None:
    with closing(duckdb.connect(str(file))) as connection:
        file.chmod(0o600)
        _prepare(connection)
        if begin is not None:
            begin(Store(connection))
        migrate(connection)
        connection.execute("checkpoint")


def _write(file: Path, content: bytes) -> None:
    """A durable file that is its owner's alone."""
    file.touch(mode=0o600)
    with file.open("wb") as written:
        written.write(content)
        written.flush()
        os.fsync(written.fileno())


def _damaged(path: Path, error: duckdb.Error) -> StoreDamagedError:
    return StoreDamagedError(f"{path} cannot be opened: {str(error).splitlines()[0]}", hint=_REBUILD)


@contextmanager
def _faults_told() -> Iterator[None]:
    """What the disk refuses or has lost, and sums too large, as errors of ours with the way out; others pass."""
    try:
        yield
    except duckdb.OutOfRangeException as error:
        raise ExactnessError(
            "a sum of what was used leaves 128 bits",
            hint="the table observation_other of snapshot.duckdb holds the value that is beyond belief",
        ) from error
    except (duckdb.IOException, duckdb.FatalException, duckdb.TransactionException) as error:
        first = str(error).splitlines()[0]
        if _DAMAGE.search(first):
            raise StoreDamagedError(f"the store cannot be read: {first}", hint=_REBUILD) from error
        raise MeteringError(f"the store cannot be written: {first}", hint=DISK_HINT) from error


@contextmanager
def open_reader(directory: Path) -> Iterator[Store]:
    """The last published snapshot, read only; an empty store where none was published yet. Raises StoreDamagedError."""
    path = directory / SNAPSHOT
    if not path.exists():
        with closing(in_memory().connection) as connection:
            yield Store(connection)
        return
    try:
        opened = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise _damaged(path, error) from None
    with closing(opened) as connection:
        _prepare(connection)
        _refuse_old(connection, path)
        yield Store(connection)


def hold(directory: Path) -> Store:
    """The snapshot as it stands now, for as long as the store is kept, however often it is replaced meanwhile.

    DuckDB hands a process that opens a path again the database it has open already, whatever stands there by now; a
    file attached to a database in memory is not shared so. Empty where none was published. Raises StoreDamagedError.
    """
    path = directory / SNAPSHOT
    if not path.exists():
        return in_memory()
    connection = duckdb.connect(":memory:")
    try:
        connection.execute(f"attach {quoted(str(path))} as snapshot (read_only)")
        connection.execute("use snapshot")
        _prepare(connection)
        _refuse_old(connection, path)
    except duckdb.Error as error:
        connection.close()
        raise _damaged(path, error) from None
    except StoreDamagedError:
        connection.close()
        raise
    return Store(connection)


def beside(held: Store) -> Store:
    """Another connection to what the store shows, for another thread."""
    (database,) = held.connection.execute("select current_database()").fetchall()[0]
    connection = held.connection.cursor()
    connection.execute(f"use {database}")
    _prepare(connection)
    return Store(connection)


def _refuse_old(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """A reader cannot migrate: an older version's copy waits for the next writing command."""
    done = {name for (name,) in connection.execute("select name from migration").fetchall()}
    if {file.name for file in (data_directory("sql") / "migrations").glob("*.sql")} - done:
        raise StoreDamagedError(f"{path} was made by an older version", hint="`metering poll` makes a new one")


def in_memory(begin: Callable[[Store], None] | None = None) -> Store:
    """A migrated store that no file keeps; `begin` as of `create`."""
    connection = duckdb.connect(":memory:")
    _prepare(connection)
    if begin is not None:
        begin(Store(connection))
    migrate(connection)
    return Store(connection)


def publish(store: Store, directory: Path) -> None:
    """Closes the database and puts a copy in the readers' place by rename."""
    with _faults_told():
        store.connection.execute("checkpoint")
        store.connection.close()
    temporary = directory / (SNAPSHOT + ".tmp")
    _copy(directory / DATABASE, temporary)
    temporary.replace(directory / SNAPSHOT)
    sync_directory(directory)


def _copy(file: Path, to: Path) -> None:
    """A durable copy that is its owner's alone."""
    to.touch(mode=0o600)
    shutil.copyfile(file, to)
    with to.open("rb") as written:
        os.fsync(written.fileno())


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Runs the migrations that this database lacks, then (re)creates the views."""
    done = migrate_tables(connection)
    if done or _views_of(connection) != _views_sha256():
        _create_views(connection)
        connection.execute("checkpoint")


def migrate_tables(connection: duckdb.DuckDBPyConnection, last: str | None = None) -> bool:
    """Runs the migrations that this database lacks, up to the one named `last`; whether there were any."""
    connection.execute(
        "create table if not exists migration (name varchar primary key, sha256 varchar not null, seq integer not null)"
    )
    done = dict(connection.execute("select name, sha256 from migration").fetchall())
    files = _files("migrations")
    known = {file.name for file in files}
    if unknown := sorted((set(done) | {last or VIEWS}) - {VIEWS} - known):
        raise StoreDamagedError(
            f"the store was made by a newer version (it knows {unknown[0]})", hint="install that version again"
        )
    for file in files:
        if file.name in done and done[file.name] != _sha256(file):
            raise StoreDamagedError(f"migration {file.name} is not the one that made this store")
    pending = [file for file in files if file.name not in done and (last is None or file.name <= last)]
    for file in pending:
        connection.execute("begin")
        connection.execute(file.read_text())
        connection.execute(
            "insert into migration select $name, $sha256, count(*) + 1 from migration where name <> $views",
            {"name": file.name, "sha256": _sha256(file), "views": VIEWS},
        )
        connection.execute("commit")
    return bool(pending)


def last_migration(store: Store) -> str:
    """The name of the last migration that made this store's tables."""
    (row,) = store.connection.execute("select max(name) from migration where name <> $v", {"v": VIEWS}).fetchall()
    return str(row[0])


def tables(of: Store) -> list[str]:
    """The tables that the journal gives, by name."""
    rows = of.connection.execute(
        "select table_name from duckdb_tables() where schema_name = 'main' and not internal order by table_name"
    ).fetchall()
    return [name for (name,) in rows if name != "migration"]


def _views_of(connection: duckdb.DuckDBPyConnection) -> str | None:
    found = connection.execute("select sha256 from migration where name = $views", {"views": VIEWS}).fetchall()
    return str(found[0][0]) if found else None


def _views_sha256() -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in _files("views"))).hexdigest()


def _create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates every view of sql/views anew; the comments in the file become the comments in the database."""
    texts = {file.stem: file.read_text() for file in _files("views")}
    connection.execute("begin")
    for name in TopologicalSorter(
        {name: _views_in(text, texts) - {name} for name, text in texts.items()}
    ).static_order():
        connection.execute(texts[name])
        about, columns = comments(texts[name])
        connection.execute(f"comment on view {name} is {quoted(about)}")
        for column, what in columns.items():
            connection.execute(f"comment on column {name}.{column} is {quoted(what)}")
    connection.execute(
        "insert or replace into migration values ($name, $sha256, 0)", {"name": VIEWS, "sha256": _views_sha256()}
    )
    connection.execute("commit")


def _views_in(text: str, names: Iterable[str]) -> set[str]:
    """The views that a statement reads."""
    words = set(re.findall(r"\w+", re.sub(r"--.*", "", text)))
    return words & set(names)


def comments(view: str) -> tuple[str, dict[str, str]]:
    """(what a view's text says about it, about each column): its first comment, and those behind its last columns."""
    lines = view.splitlines()
    about = " ".join(line.removeprefix("--").strip() for line in takewhile(lambda line: line.startswith("--"), lines))
    last = max(number for number, line in enumerate(lines) if line.startswith("select"))
    found = (_COLUMN.search(line) for line in lines[last:])
    return about, {match[1]: match[2] for match in found if match}


def quoted(text: str) -> str:
    """As a string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _files(folder: str) -> list[Path]:
    return sorted((data_directory("sql") / folder).glob("*.sql"))


def _prepare(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set autoinstall_known_extensions = false")
    connection.execute("set autoload_known_extensions = false")
    connection.execute("set enable_progress_bar = false")  # a long query would print one, whoever reads along
    # Sums by project go to a plain array instead of a hash table where the fleet has up to 2^18 / 4 projects.
    connection.execute("set perfect_ht_threshold = 18")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@cache
def _text(folder: str, name: str) -> str:
    """The statement in `sql/FOLDER/NAME.sql`, read once."""
    return (data_directory("sql") / folder / f"{name}.sql").read_text()
