"""Journal and store together: after any damage to the store or the process, the journal restores it."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metering.core.errors import StoreDamagedError
from metering.ledger.landing import RECORDS_AT_ONCE, Landing
from metering.ledger.ledger import Ledger, open_ledger
from metering.operations import rebuild, verify
from metering.store import database as store
from metering.store import snapshots
from tests.support import lived
from tests.support.blank import blank_store
from tests.support.quiet_time import PATIENCE_SECONDS
from tests.support.scribe import Memory, Scribe, count, rows, values

TOP = Path(__file__).parents[2]
DATABASE = "metering.duckdb"


@contextmanager
def opened(directory: Path) -> Iterator[Ledger]:
    with open_ledger(directory, lambda: lived.START) as ledger:
        yield ledger


def live(directory: Path, *, cycles: int, seed: int = 1) -> None:
    with opened(directory) as ledger:
        for number in range(cycles):
            first = int(ledger.store.query("polling/next_walk").item())
            lived.a_cycle(ledger.record, first, seed=seed * 1000 + number)


def tables(directory: Path) -> dict[str, list[tuple[object, ...]]]:
    with snapshots.open_reader(directory) as found:
        return {name: rows(found, name) for name in store.tables(found)}


def faults(directory: Path) -> list[str]:
    with opened(directory) as ledger:
        return verify.verify(directory, ledger.store).faults


def test_what_was_recorded_is_in_the_snapshot_once_the_ledger_is_closed(tmp_path):
    with opened(tmp_path) as ledger:
        Scribe(record=ledger.record).history({"a": [("2026-10-05T03", {"compute_unit_seconds": 5})]})
    with snapshots.open_reader(tmp_path) as found:
        assert values(found) == {("a", "2026-10-05T03"): 5}


def test_pages_that_waited_when_the_ledger_was_closed_are_landed(tmp_path):
    with opened(tmp_path) as ledger:
        scribe = Scribe(record=ledger.record)
        scribe.page(scribe.begin(), {"a": [("2026-10-05T03", {"compute_unit_seconds": 5})]})
        assert count(ledger.store, "page") == 0
    with snapshots.open_reader(tmp_path) as found:
        assert values(found) == {("a", "2026-10-05T03"): 5}


def test_a_lived_in_store_agrees_with_its_journal_and_with_every_check(tmp_path):
    live(tmp_path, cycles=4)
    assert faults(tmp_path) == []


def test_a_store_that_was_deleted_is_the_same_table_by_table_on_the_next_opening(tmp_path):
    live(tmp_path, cycles=3)
    before = tables(tmp_path)
    (tmp_path / DATABASE).unlink()
    with opened(tmp_path):
        pass
    assert tables(tmp_path) == before


def test_rebuild_gives_the_same_table_by_table(tmp_path):
    live(tmp_path, cycles=3)
    before = tables(tmp_path)
    assert rebuild.rebuild(tmp_path).records == before["position"][0][0]
    assert tables(tmp_path) == before
    files = ["high-water.json", "journal", "lock", DATABASE, "snapshot.duckdb"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_a_rebuild_over_the_remains_of_another_rebuild_starts_from_nothing(tmp_path):
    live(tmp_path, cycles=1)
    (tmp_path / "rebuild").mkdir()
    (tmp_path / "rebuild" / DATABASE).write_bytes(b"half")
    (tmp_path / "rebuild" / f"{DATABASE}.wal").write_bytes(b"half")
    rebuild.rebuild(tmp_path)
    assert faults(tmp_path) == []


def test_a_store_behind_its_journal_takes_what_it_lacks(tmp_path):
    live(tmp_path, cycles=1)
    shutil.copy(tmp_path / DATABASE, tmp_path / "old")
    live(tmp_path, cycles=2, seed=2)
    after = tables(tmp_path)
    (tmp_path / "old").replace(tmp_path / DATABASE)
    with opened(tmp_path):
        pass
    assert tables(tmp_path) == after


def test_a_store_ahead_of_its_journal_is_refused(tmp_path):
    live(tmp_path, cycles=1)
    shutil.copytree(tmp_path / "journal", tmp_path / "old")
    live(tmp_path, cycles=1, seed=2)
    shutil.rmtree(tmp_path / "journal")
    (tmp_path / "old").rename(tmp_path / "journal")
    (tmp_path / "high-water.json").unlink()  # which would say that the journal has more records
    with pytest.raises(StoreDamagedError, match="the journal ends at") as refused, opened(tmp_path):
        pass
    assert "backup" in refused.value.hint


@pytest.mark.parametrize("more", [0, 1])
def test_a_store_of_another_journal_is_refused_whether_as_long_or_shorter(tmp_path, more):
    live(tmp_path / "one", cycles=1, seed=1)
    with opened(tmp_path / "one") as ledger:
        length = ledger.journal.seq
    with opened(tmp_path / "two") as ledger:
        for _ in range(length + more):
            Scribe(record=ledger.record).cycle()
    (tmp_path / "one" / DATABASE).replace(tmp_path / "two" / DATABASE)
    with pytest.raises(StoreDamagedError, match="another journal"), opened(tmp_path / "two"):
        pass


DAMAGES = {
    "no database": lambda content: b"this is no database" * 1000,
    "empty": lambda content: b"",
    "cut short": lambda content: content[: len(content) // 2],
    "a block half overwritten": lambda content: content[:12288] + bytes(4096) + content[16384:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_database_is_set_aside_told_and_made_anew_from_snapshot_and_journal(tmp_path, damage):
    live(tmp_path, cycles=2)
    database, snapshot = tmp_path / DATABASE, tmp_path / "snapshot.duckdb"
    shutil.copy(snapshot, tmp_path / "old")
    live(tmp_path, cycles=1, seed=2)
    before = tables(tmp_path)
    (tmp_path / "old").replace(snapshot)  # the readers' copy is now behind the journal
    broken = damage(database.read_bytes())
    database.write_bytes(broken)
    with opened(tmp_path) as ledger:
        assert "metering.duckdb cannot be opened: " in ledger.store.mended
        assert ledger.store.mended.endswith("it was set aside as damaged.duckdb and made anew")
    assert (tmp_path / "damaged.duckdb").read_bytes() == broken
    assert tables(tmp_path) == before
    with opened(tmp_path) as ledger:
        assert ledger.store.mended == ""


def test_a_database_whose_log_is_damaged_is_made_anew_as_well(tmp_path):
    live(tmp_path, cycles=1)
    with opened(tmp_path) as ledger:
        Scribe(record=ledger.record).cycle()
        shutil.copytree(tmp_path, tmp_path / "cut", ignore=shutil.ignore_patterns("cut"))
    before = tables(tmp_path)
    log = tmp_path / "cut" / f"{DATABASE}.wal"
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    with opened(tmp_path / "cut") as ledger:
        assert "Failure while replaying WAL" in ledger.store.mended
    assert tables(tmp_path / "cut") == before


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_database_whose_log_was_cut_short_anywhere_or_lost_takes_what_it_lacks_from_the_journal(tmp_path, kept):
    """DuckDB opens such a database without an error, with fewer commits."""
    live(tmp_path, cycles=1)
    with opened(tmp_path) as ledger:
        for _ in range(5):
            Scribe(record=ledger.record).cycle()
        shutil.copytree(tmp_path, tmp_path / "cut", ignore=shutil.ignore_patterns("cut"))
    before = tables(tmp_path)
    log = tmp_path / "cut" / f"{DATABASE}.wal"
    content = log.read_bytes()
    log.write_bytes(content[: len(content) * kept // 4])
    if not kept:
        log.unlink()
    with opened(tmp_path / "cut"):
        pass
    assert tables(tmp_path / "cut") == before


@pytest.mark.parametrize("is_there", [True, False])
def test_where_the_snapshot_is_damaged_too_or_missing_the_way_out_is_named_and_works(tmp_path, is_there):
    live(tmp_path, cycles=1)
    before = tables(tmp_path)
    for name in (DATABASE, "snapshot.duckdb"):
        (tmp_path / name).write_bytes(b"this is no database" * 1000)
    if not is_there:
        (tmp_path / "snapshot.duckdb").unlink()
    with pytest.raises(StoreDamagedError, match="cannot be opened") as refused, opened(tmp_path):
        pass
    assert "metering rebuild" in refused.value.hint
    rebuild.rebuild(tmp_path)
    assert tables(tmp_path) == before


def test_a_database_that_somebody_else_has_open_is_not_set_aside(tmp_path):
    live(tmp_path, cycles=1)
    command = f"import duckdb; c = duckdb.connect({str(tmp_path / DATABASE)!r}); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StoreDamagedError, match="Could not set lock"), opened(tmp_path):
            pass
        other.communicate("\n", timeout=PATIENCE_SECONDS)
    assert not (tmp_path / "damaged.duckdb").exists()
    assert faults(tmp_path) == []


def test_verify_names_a_row_that_the_journal_does_not_give(tmp_path):
    live(tmp_path, cycles=1)
    with opened(tmp_path) as ledger:
        ledger.store.connection.execute("update observation set compute_unit_seconds = 7")
        found = verify.verify(tmp_path, ledger.store).faults
    assert len(found) == 1
    assert found[0].startswith("table observation:")
    assert found[0].endswith("some differ")


def test_after_a_failure_the_next_opening_takes_everything_that_was_journalled(tmp_path):
    def failing() -> None:
        with opened(tmp_path) as ledger:
            scribe = Scribe(record=ledger.record)
            scribe.page(scribe.begin(), {"a": [("2026-10-05T03", {"compute_unit_seconds": 5})]})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert faults(tmp_path) == []


def test_catching_up_with_many_records_at_once_is_the_same_as_one_by_one():
    one_by_one = Memory()
    scribe = Scribe(record=one_by_one.record)
    for number in range(RECORDS_AT_ONCE // 2):
        scribe.counters(f"project-{number % 7}", compute_time_seconds=number)
        scribe.cycle()
    lived.a_cycle(one_by_one.record, scribe.begin(), seed=1)
    assert len(one_by_one.records) > RECORDS_AT_ONCE
    at_once = blank_store()
    assert Landing(at_once).apply_all(one_by_one.records) == one_by_one.records[-1]
    for table in store.tables(at_once):
        assert rows(at_once, table) == rows(one_by_one.store, table)


# -- killed


def killed(directory: Path, *, until_death: int | None, seconds: float) -> int:
    """Runs a life in a process of its own until it kills itself or is killed; returns the last acknowledged record."""
    command = [
        sys.executable,
        "-m",
        "tests.support.lived",
        str(directory),
        *([str(until_death)] if until_death else []),
    ]
    with subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline())]
        if until_death is None:
            try:
                process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]
        assert process.wait() == -signal.SIGKILL
    return acknowledged[-1]


def survive(directory: Path, kills: int, chance: random.Random) -> str:
    """Kills processes at random times or after a number of records, and checks what is left; returns the figures."""
    lost = contradicted = 0
    for number in range(kills):
        until_death = chance.randrange(1, 40) if number % 2 else None
        acknowledged = killed(directory, until_death=until_death, seconds=chance.random() / 5)
        with opened(directory) as ledger:
            lost += max(0, acknowledged - ledger.journal.seq)
            held = ledger.store.query("store/position").item(0, "seq")
            contradicted += held != ledger.journal.seq
            if number % 10 == 9 or number == kills - 1:
                contradicted += bool(verify.verify(directory, ledger.store).faults)
    return f"{kills} kills: {lost} acknowledged records lost, {contradicted} stores that disagree with their journal"


def test_nothing_acknowledged_is_lost_by_ten_kills(tmp_path):
    assert survive(tmp_path, 10, random.Random(20261005)) == (
        "10 kills: 0 acknowledged records lost, 0 stores that disagree with their journal"
    )


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_a_thousand_kills(tmp_path, capsys):
    """`METERING_KILLS=1000 pytest -m slow tests/ledger/test_ledger.py -s` prints the figure."""
    kills = int(os.environ.get("METERING_KILLS", "1000"))
    # A new directory from time to time: the cost of verifying grows with the journal.
    chance = random.Random()
    figures = [survive(tmp_path / str(number), 50, chance) for number in range(-(-kills // 50))]
    with capsys.disabled():
        print(f"\n{len(figures)} x {figures[0]}")
    assert {figure.partition(": ")[2] for figure in figures} == {
        "0 acknowledged records lost, 0 stores that disagree with their journal"
    }
