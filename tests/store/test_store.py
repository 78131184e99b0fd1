"""The access to DuckDB: one writer by our own lock, readers beside it, migrations, views, snapshots."""

import os
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pytest

from metering.core.errors import StoreBusyError, StoreDamagedError
from metering.core.files import data_directory
from metering.store import database, lock, migrations, snapshots
from tests.support.quiet_time import stopwatch
from tests.support.scribe import frame

TOP = Path(__file__).parents[2]
HOLD = "import sys; from pathlib import Path; from metering.store import lock\n"
HOLD += "with lock.held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


@contextmanager
def another_process_holds(directory: Path):
    command = [sys.executable, "-c", HOLD, str(directory)]
    with subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


# -- the lock


def test_a_second_writer_is_refused_within_a_second_and_told_who_writes(tmp_path):
    with another_process_holds(tmp_path) as process:
        with stopwatch() as watch, pytest.raises(StoreBusyError) as refused, lock.held(tmp_path):
            pass
        assert watch.seconds < 1
    assert refused.value.process_id == process.pid
    assert refused.value.exit_code == 75
    assert str(process.pid) in str(refused.value)


def test_a_writer_that_was_killed_holds_nothing(tmp_path):
    with another_process_holds(tmp_path) as process:
        process.kill()
        process.wait()
        with lock.held(tmp_path):
            assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_that_was_released_can_be_taken_again(tmp_path):
    for _ in range(2):
        with lock.held(tmp_path):
            pass


def test_a_second_lock_in_the_same_process_is_refused_as_well(tmp_path):
    with lock.held(tmp_path), pytest.raises(StoreBusyError) as refused, lock.held(tmp_path):
        pass
    assert refused.value.process_id == os.getpid()


def test_a_holder_whose_number_cannot_be_read_is_process_0(tmp_path):
    with lock.held(tmp_path):
        (tmp_path / "lock").write_text("nobody")
        with pytest.raises(StoreBusyError) as refused, lock.held(tmp_path):
            pass
    assert refused.value.process_id == 0


# -- files


def test_the_database_and_its_snapshot_are_for_their_owner_alone(tmp_path):
    found = database.open_writer(tmp_path)
    snapshots.publish(found, tmp_path)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    assert modes == {"metering.duckdb": "0o600", "snapshot.duckdb": "0o600"}


def test_a_snapshot_that_was_left_half_written_is_overwritten(tmp_path):
    (tmp_path / "snapshot.duckdb.tmp").write_bytes(b"x" * 10_000_000)
    snapshots.publish(database.open_writer(tmp_path), tmp_path)
    with snapshots.open_reader(tmp_path) as found:
        assert found.query("store/position").rows() == [(0, "0" * 64)]


def test_readers_read_while_a_writer_writes_and_see_what_was_published(tmp_path):
    snapshots.publish(database.open_writer(tmp_path), tmp_path)
    with closing(database.open_writer(tmp_path).connection) as writing:
        writing.execute("update position set seq = 7")
        with snapshots.open_reader(tmp_path) as reading:
            assert reading.query("store/position").item(0, "seq") == 0
        script = "import sys; from pathlib import Path; from metering.store.snapshots import open_reader\n"
        script += "with open_reader(Path(sys.argv[1])) as found: print(found.query('store/position').item(0, 'seq'))"
        command = [sys.executable, "-c", script, str(tmp_path)]
        assert subprocess.run(command, cwd=TOP, check=True, capture_output=True, text=True).stdout == "0\n"


def test_a_reader_keeps_what_it_opened_while_the_next_snapshot_takes_its_place(tmp_path):
    snapshots.publish(database.open_writer(tmp_path), tmp_path)
    with snapshots.open_reader(tmp_path) as reading:
        again = database.open_writer(tmp_path)
        again.connection.execute("update position set seq = 7")
        snapshots.publish(again, tmp_path)
        assert reading.query("store/position").item(0, "seq") == 0
    with snapshots.open_reader(tmp_path) as reading:
        assert reading.query("store/position").item(0, "seq") == 7


def test_a_held_snapshot_stays_what_it_was_and_one_taken_later_beside_it_is_the_next(tmp_path):
    assert snapshots.hold(tmp_path).query("billing/freshness").is_empty()
    snapshots.publish(database.open_writer(tmp_path), tmp_path)
    first = snapshots.hold(tmp_path)
    again = database.open_writer(tmp_path)
    again.connection.execute("update position set seq = 7")
    snapshots.publish(again, tmp_path)
    second = snapshots.hold(tmp_path)
    assert (first.query("store/position").item(0, "seq"), second.query("store/position").item(0, "seq")) == (0, 7)
    (tmp_path / database.SNAPSHOT).write_bytes(b"not a database")
    with pytest.raises(StoreDamagedError):
        snapshots.hold(tmp_path)
    assert second.query("store/position").item(0, "seq") == 7


def test_before_anything_was_published_a_reader_finds_an_empty_store(tmp_path):
    with snapshots.open_reader(tmp_path) as found:
        assert found.query("billing/freshness").is_empty()
    assert list(tmp_path.iterdir()) == []


def test_a_reader_cannot_write(tmp_path):
    snapshots.publish(database.open_writer(tmp_path), tmp_path)
    with snapshots.open_reader(tmp_path) as found, pytest.raises(duckdb.Error, match="read-only"):
        found.connection.execute("update position set seq = 7")


# -- migrations


def test_migrations_are_recorded_in_order_and_running_them_again_is_harmless(tmp_path):
    snapshots.publish(database.open_writer(tmp_path), tmp_path)
    with closing(database.open_writer(tmp_path).connection) as connection:
        names = connection.execute("select name from migration where name <> 'views' order by seq").fetchall()
    assert [name for (name,) in names] == sorted(path.name for path in (data_directory("sql") / "migrations").iterdir())


def test_a_migration_that_was_killed_anywhere_is_gone_on_with(tmp_path):
    names = [path.name for path in sorted((TOP / "sql" / "migrations").glob("*.sql"))]
    (tmp_path / "whole").mkdir()
    with closing(database.open_writer(tmp_path / "whole").connection) as whole:
        expected = whole.execute("select sql from duckdb_tables() order by sql").fetchall()
    for name in names:
        directory = tmp_path / name
        directory.mkdir()
        with closing(duckdb.connect(str(directory / database.DATABASE))) as killed:
            migrations.migrate_tables(killed, last=name)
            killed.execute("begin")
            killed.execute("create table half (number integer)")  # the next one, before its commit
        with closing(database.open_writer(directory).connection) as found:
            assert found.execute("select sql from duckdb_tables() order by sql").fetchall() == expected


def test_a_store_made_by_a_newer_version_is_refused(tmp_path):
    with closing(database.open_writer(tmp_path).connection) as connection:
        connection.execute("insert into migration values ('9999_tomorrow.sql', 'x', 99)")
    with pytest.raises(StoreDamagedError, match=r"newer version \(it knows 9999_tomorrow.sql\)"):
        database.open_writer(tmp_path)


def test_a_store_made_by_another_migration_of_the_same_name_is_refused(tmp_path):
    with closing(database.open_writer(tmp_path).connection) as connection:
        connection.execute("update migration set sha256 = 'x' where name like '0001%'")
    with pytest.raises(StoreDamagedError, match=r"0001_\w+\.sql is not the one"):
        database.open_writer(tmp_path)


def test_a_store_that_was_refused_stays_open_in_no_process(tmp_path):
    with closing(database.open_writer(tmp_path).connection) as connection:
        connection.execute("insert into migration values ('9999_tomorrow.sql', 'x', 99)")
    with pytest.raises(StoreDamagedError):
        database.open_writer(tmp_path)
    script = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('delete from migration where seq = 99')"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "metering.duckdb")], check=True)
    database.open_writer(tmp_path).connection.close()


# -- views


def test_every_view_and_every_column_of_a_view_is_described():
    found = database.in_memory()
    bare = frame(found, "select view_name from duckdb_views() where not internal and coalesce(comment, '') = ''")
    assert bare["view_name"].to_list() == []
    columns = """
        select table_name || '.' || column_name as name from duckdb_columns()
        where table_name in (select view_name from duckdb_views() where not internal) and coalesce(comment, '') = ''
        """
    assert frame(found, columns)["name"].to_list() == []


def test_views_that_are_of_an_older_version_are_made_anew(tmp_path):
    with closing(database.open_writer(tmp_path).connection) as connection:
        connection.execute("create or replace view coverage_hour as select 1 as old")
        connection.execute("update migration set sha256 = 'x' where name = 'views'")
    with closing(database.open_writer(tmp_path).connection) as connection:
        assert connection.execute("select count(hour_start) from coverage_hour").fetchall() == [(0,)]


def test_a_views_comments_are_read_from_its_text():
    text = "-- What it is,\n-- and why.\ncreate view v as\nselect\n    a,   -- the first\n"
    text += "    b as c -- the second\nfrom t\n"
    assert migrations.comments(text) == ("What it is, and why.", {"a": "the first", "c": "the second"})


# -- frames and transactions


def test_a_frame_is_appended_by_column_name():
    found = database.in_memory()
    found.insert("walk_project", pl.DataFrame({"project_key": [7], "walk": [1]}))
    assert frame(found, "select walk, project_key from walk_project").rows() == [(1, 7)]


def test_what_fails_in_a_transaction_is_told_and_leaves_nothing():
    found = database.in_memory()
    keys = pl.DataFrame({"project_key": [7, 7], "organization": ["a", "a"], "project_id": ["b", "b"]})

    def failing() -> None:
        with found.transaction():
            found.connection.execute("update position set seq = 7")
            found.insert("project", keys)

    with pytest.raises(duckdb.ConstraintException, match="duplicate key"):
        failing()
    assert found.query("store/position").item(0, "seq") == 0
    with found.transaction():
        found.insert("project", keys.head(1))
    assert frame(found, "select * from project").height == 1


def test_a_transaction_within_another_ends_with_the_outer_one():
    found = database.in_memory()

    def failing() -> None:
        with found.transaction():
            with found.transaction():
                found.connection.execute("update position set seq = 7")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert found.query("store/position").item(0, "seq") == 0


def test_the_session_is_in_utc_whatever_the_machine_says(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        found = database.in_memory()
        assert frame(found, "select date_trunc('day', timestamptz '2026-10-05 01:00+00')::varchar as day").item() == (
            "2026-10-05 00:00:00+00"
        )
    finally:
        monkeypatch.undo()
        time.tzset()


def schema(of: database.Store) -> list[list[tuple[object, ...]]]:
    """Tables, views, columns, indexes and migrations, with their comments."""
    questions = (
        "select table_name, sql, comment from duckdb_tables() where not internal order by all",
        "select view_name, sql, comment from duckdb_views() where not internal order by all",
        "select table_name, column_name, data_type, is_nullable, column_default, comment from duckdb_columns()"
        " where not internal order by all",
        "select index_name, sql from duckdb_indexes() order by all",
        "select * from migration order by all",
        "select * from position",
    )
    return [of.connection.execute(question).fetchall() for question in questions]


def test_the_stores_that_a_process_makes_after_its_first_are_as_if_each_were_migrated(tmp_path):
    with closing(duckdb.connect(str(tmp_path / "migrated"))) as migrated:
        migrated.execute("set TimeZone = 'UTC'")
        migrations.migrate(migrated)
    with closing(duckdb.connect(str(tmp_path / "migrated"))) as migrated:
        expected = schema(database.Store(migrated))
    for name in ("first", "second"):
        directory = tmp_path / name
        directory.mkdir()
        database.create(directory)
        assert (directory / database.DATABASE).stat().st_mode & 0o777 == 0o600
        with closing(database.open_writer(directory).connection) as made:
            assert schema(database.Store(made)) == expected
