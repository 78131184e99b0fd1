"""Brings a database to the tables and views of this version: runs the migrations it lacks, then creates the views.

Table `migration` names every file that was run, with its hash. Knows the files of `sql/migrations` and `sql/views`.
Must not know what the tables mean.
"""

import hashlib
import re
from collections.abc import Iterable
from graphlib import TopologicalSorter
from itertools import takewhile
from pathlib import Path

import duckdb

from metering.core.errors import StoreDamagedError
from metering.core.files import data_directory

VIEWS = "views"
"""The row of table `migration` that has the hash of the views."""
_COLUMN = re.compile(r"(\w+),? +-- (.+)$")


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Runs the migrations that this database lacks, then creates the views if any are missing or old."""
    done = migrate_tables(connection)
    if done or _views_of(connection) != _sha256(*_files("views")):
        _create_views(connection)
        connection.execute("checkpoint")


def migrate_tables(connection: duckdb.DuckDBPyConnection, last: str | None = None) -> bool:
    """Runs the migrations that this database lacks, up to the one named `last`; returns whether there were any."""
    connection.execute(
        "create table if not exists migration (name varchar primary key, sha256 varchar not null, seq integer not null)"
    )
    done = dict(connection.execute("select name, sha256 from migration").fetchall())
    known = _files("migrations")
    if unknown := sorted((set(done) | {last or VIEWS}) - {VIEWS} - {file.name for file in known}):
        raise StoreDamagedError(
            f"the store was made by a newer version (it knows {unknown[0]})", hint="install that version again"
        )
    for file in known:
        if file.name in done and done[file.name] != _sha256(file):
            raise StoreDamagedError(f"migration {file.name} is not the one that made this store")
    pending = [file for file in known if file.name not in done and (last is None or file.name <= last)]
    for file in pending:
        connection.execute("begin")
        connection.execute(file.read_text(encoding="utf-8"))
        connection.execute(
            "insert into migration select $name, $sha256, count(*) + 1 from migration where name <> $views",
            {"name": file.name, "sha256": _sha256(file), "views": VIEWS},
        )
        connection.execute("commit")
    return bool(pending)


def last_migration(connection: duckdb.DuckDBPyConnection) -> str:
    """The name of the last migration that was run."""
    (row,) = connection.execute("select max(name) from migration where name <> $views", {"views": VIEWS}).fetchall()
    return str(row[0])


def is_older(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the database lacks a migration."""
    done = {name for (name,) in connection.execute("select name from migration").fetchall()}
    return not done.issuperset(file.name for file in _files("migrations"))


def _views_of(connection: duckdb.DuckDBPyConnection) -> str | None:
    found = connection.execute("select sha256 from migration where name = $views", {"views": VIEWS}).fetchall()
    return str(found[0][0]) if found else None


def _create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates every view of sql/views anew; the comments in the file become the comments in the database."""
    found = _files("views")
    texts = {file.stem: file.read_text(encoding="utf-8") for file in found}
    connection.execute("begin")
    for name in TopologicalSorter(
        {name: _names_in(text, texts) - {name} for name, text in texts.items()}
    ).static_order():
        connection.execute(texts[name])
        about, columns = comments(texts[name])
        connection.execute(f"comment on view {name} is {quoted(about)}")
        for column, what in columns.items():
            connection.execute(f"comment on column {name}.{column} is {quoted(what)}")
    connection.execute(
        "insert or replace into migration values ($name, $sha256, 0)", {"name": VIEWS, "sha256": _sha256(*found)}
    )
    connection.execute("commit")


def comments(view: str) -> tuple[str, dict[str, str]]:
    """(comment on the view, comments on its columns): the first lines, and those behind the last select's columns."""
    lines = view.splitlines()
    about = " ".join(line.removeprefix("--").strip() for line in takewhile(lambda line: line.startswith("--"), lines))
    last = max(number for number, line in enumerate(lines) if line.startswith("select"))
    found = (_COLUMN.search(line) for line in lines[last:])
    return about, {match[1]: match[2] for match in found if match}


def quoted(literal: str) -> str:
    """The text as a string literal of SQL."""
    return "'" + literal.replace("'", "''") + "'"


def _names_in(text: str, names: Iterable[str]) -> set[str]:
    """Which of these names a statement contains outside its comments."""
    return set(re.findall(r"\w+", re.sub(r"--.*", "", text))) & set(names)


def _files(folder: str) -> list[Path]:
    """The files of `sql/FOLDER`, sorted by name."""
    return sorted((data_directory("sql") / folder).glob("*.sql"))


def _sha256(*some: Path) -> str:
    """The hash of the files' bytes, in hexadecimal."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in some)).hexdigest()
