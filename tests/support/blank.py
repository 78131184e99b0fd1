"""A migrated store in memory, copied from one that each process makes once: a third of the time of migrating anew."""

import tempfile
from functools import cache
from pathlib import Path

import duckdb

from metering.store import database
from metering.store.database import Store
from metering.store.migrations import quoted


@cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    directory = tempfile.TemporaryDirectory(prefix="metering-blank-")
    database.create(Path(directory.name))
    return directory


def blank_store() -> Store:
    """As `database.in_memory`."""
    connection = duckdb.connect(":memory:")
    database.prepare(connection)
    file = Path(_directory().name) / database.DATABASE
    connection.execute(f"attach {quoted(str(file))} as blank (read_only)")
    connection.execute("copy from database blank to memory")
    connection.execute("detach blank")
    return Store(connection)
