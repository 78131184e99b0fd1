"""The readers' copy of the database, `snapshot.duckdb`: published by the writer, opened by everybody else.

It is replaced by rename, so that readers neither wait nor block. Must not know what the tables mean.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from metering.core.errors import StoreDamagedError
from metering.core.files import copy_durably, sync_directory
from metering.store.damage import has_damage
from metering.store.database import (
    DATABASE,
    REBUILD_HINT,
    SNAPSHOT,
    Store,
    cannot_open,
    disk_errors,
    in_memory,
    prepare,
)
from metering.store.migrations import is_older, quoted


def publish(store: Store, directory: Path) -> None:
    """Closes the database and puts a copy in the readers' place by rename. A damaged one never gets there."""
    with disk_errors():
        store.connection.execute("checkpoint")
        store.connection.close()
    temporary = directory / (SNAPSHOT + ".tmp")
    copy_durably(directory / DATABASE, temporary)
    if has_damage(temporary):
        temporary.unlink()
        raise StoreDamagedError(f"{directory / DATABASE} has damaged blocks", hint=REBUILD_HINT)
    temporary.replace(directory / SNAPSHOT)
    sync_directory(directory)


@contextmanager
def open_reader(directory: Path) -> Iterator[Store]:
    """The last published snapshot, read only; an empty store if none was published yet. Raises StoreDamagedError."""
    path = directory / SNAPSHOT
    if not path.exists():
        with closing(in_memory().connection) as connection:
            yield Store(connection)
        return
    with open_file(path) as store:
        yield store


@contextmanager
def open_file(path: Path) -> Iterator[Store]:
    """A database file of ours, read only. Raises StoreDamagedError."""
    try:
        opened = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise cannot_open(path, error) from None
    with closing(opened) as connection:
        prepare(connection)
        _refuse_older(connection, path)
        yield Store(connection)


def hold(directory: Path) -> Store:
    """The snapshot as it is now, for as long as the store is kept, however often it is replaced meanwhile.

    If a process opens a path that it has open already, DuckDB returns the open database, even if the file was replaced.
    A file that is attached to a database in memory is not shared like that. Empty if none was published. Raises
    StoreDamagedError.
    """
    path = directory / SNAPSHOT
    if not path.exists():
        return in_memory()
    connection = duckdb.connect(":memory:")
    try:
        connection.execute(f"attach {quoted(str(path))} as snapshot (read_only)")
        connection.execute("use snapshot")
        prepare(connection)
        _refuse_older(connection, path)
    except duckdb.Error as error:
        connection.close()
        raise cannot_open(path, error) from None
    except StoreDamagedError:
        connection.close()
        raise
    return Store(connection)


def beside(held: Store) -> Store:
    """Another connection to a held store, for another thread."""
    (database,) = held.connection.execute("select current_database()").fetchall()[0]
    connection = held.connection.cursor()
    connection.execute(f"use {database}")
    prepare(connection)
    return Store(connection)


def _refuse_older(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """A reader cannot migrate: an older version's copy waits for the next writing command."""
    if is_older(connection):
        raise StoreDamagedError(f"{path} was made by an older version", hint="`metering poll` makes a new one")
