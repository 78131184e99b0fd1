"""Retention: which raw pages go and which stay, what stands in for them, and that a death on the way costs nothing."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from metering.core.errors import JournalDamagedError
from metering.core.files import data_directory
from metering.core.stop import Stop
from metering.explain import explain
from metering.explain import text as explain_text
from metering.ledger import landing
from metering.ledger.projections import deeds as deeds_of
from metering.operations import rebuild, retention, verify
from metering.store import backup, checkpoint, database, journal, snapshots
from tests.support import deeds
from tests.support.pages_of import Books, books, copied, moment
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk
from tests.support.retained import DROPPED, HOUR, MAPPED, PRO, A, B, agreed, bodies, life, lived, tables, tend, tended

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Books:
    (found,) = life(tmp_path_factory.mktemp("kept"))
    return found


@pytest.fixture
def desk(kept: Books, tmp_path: Path) -> Iterator[Books]:
    with copied(kept, tmp_path) as found:
        yield found


# -- what goes


def test_old_pages_of_closed_months_go_and_their_headers_and_hashes_stay(desk):
    before = {record.seq: record for record in journal.read(desk.directory / "journal")}

    assert tend(desk) == []

    assert bodies(desk.directory) == DROPPED
    for record in journal.read(desk.directory / "journal"):
        if record.seq in before:
            was = before[record.seq]
            assert (record.kind, record.at, record.data, record.sha256, record.hash) == (
                (was.kind, was.at, was.data, was.sha256, was.hash)
            )
    assert [record.kind for record in journal.read(desk.directory / "journal", after=max(before))] == [
        "checkpoint",
        "pages_dropped",
    ]


def test_zero_keeps_everything_and_makes_no_checkpoint(desk):
    assert tend(desk, days=0) == []
    assert all(bodies(desk.directory).values())
    assert list((desk.directory / "journal").glob("checkpoint-*")) == []


@pytest.mark.parametrize(("seconds", "is_kept"), [(0, True), (1, False)])
def test_a_page_that_is_exactly_as_old_as_pages_are_kept_stays(desk, seconds, is_kept):
    desk.now = moment("2026-10-03") + timedelta(days=400, seconds=seconds)
    tend(desk, days=400)
    assert bodies(desk.directory)[9] is is_kept


def test_a_segment_that_holds_anything_younger_stays_whole(desk):
    desk.now = moment("2026-11-20")
    # October's segment ends on 3 October; November's gets records still.
    tend(desk, days=1)
    assert bodies(desk.directory) == DROPPED


def later(desk: Books, text: str = "2028-01-05") -> None:
    """A page in a later month, so that the segments before it are sealed; then the moment to look."""
    desk.now = moment(text)
    desk.see(A, B)


@pytest.fixture
def young(tmp_path: Path) -> Iterator[Books]:
    """Inventory of 3 October 2026; nothing read or closed yet."""
    with books(tmp_path / "var", "2026-10-03", plans=(PRO,), subscriptions=MAPPED) as found:
        found.see(A, B)
        found.use("a", "2026-09-10T05", compute_unit_seconds=100 * HOUR)
        found.use("b", "2026-09-10T05", compute_unit_seconds=10 * HOUR)
        yield found


def test_pages_of_an_open_month_stay_however_old(young):
    young.read("2026-09")
    later(young)
    tend(young)
    assert all(bodies(young.directory).values())


def test_pages_of_a_month_with_a_parked_customer_stay(young):
    young.use("b", "2026-09-11T05", nobody_knows=1)
    young.read("2026-09")
    assert list(young.close("2026-09").parked) == ["two"]
    later(young)
    tend(young)
    assert all(bodies(young.directory).values())


def test_pages_of_a_month_with_a_void_invoice_stay(young):
    young.read("2026-09")
    young.void(young.close("2026-09").issued[0])
    later(young)
    tend(young)
    assert all(bodies(young.directory).values())


def test_pages_of_a_month_with_an_adjustment_to_come_stay(young):
    young.read("2026-09")
    young.close("2026-09")
    young.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    young.now = moment("2026-10-05")
    young.read("2026-09")
    later(young)
    tend(young)
    assert all(bodies(young.directory).values())


def test_a_page_across_two_months_goes_once_both_are_closed(young):
    young.read("2026-09", "2026-10", until="2026-10-01T01")
    young.close("2026-09")
    later(young)
    tend(young)
    assert bodies(young.directory)[9] is True
    young.read("2026-10")
    young.close("2026-10")
    young.now += timedelta(days=1)
    tend(young)
    assert bodies(young.directory)[9] is False


def test_pages_of_a_history_that_nobody_ended_stay(desk):
    desk.now = moment("2026-11-21")
    with_body = {"walk": 99, "endpoint": "history", "organization": "org", "path": "history", "params": {}}
    times = {"sent_at": "2026-11-21T00:00:00Z", "received_at": "2026-11-21T00:00:00Z", "request_id": "99"}
    span = {"grain": 0, "period_start": "2026-10-01T00:00:00Z", "period_end": "2026-11-01T00:00:00Z"}
    seq = desk.ledger.record("page", {**with_body, **times, **span}, body=b'{"projects": []}')
    later(desk)
    tend(desk)
    assert bodies(desk.directory)[seq] is True
    assert bodies(desk.directory)[18] is False


# -- checkpoints


def test_a_checkpoint_is_made_a_month_after_the_first_page_and_not_a_second_earlier(desk):
    desk.now = moment("2026-11-03") - timedelta(seconds=1)
    tend(desk)
    assert checkpoint.checkpoints(desk.directory / "journal") == []
    desk.now += timedelta(seconds=1)
    tend(desk)
    [made] = checkpoint.checkpoints(desk.directory / "journal")
    assert made.fault() == ""
    assert retention.CHECKPOINT_DAYS == 31


def test_no_checkpoint_is_made_of_a_store_that_is_not_what_the_journal_gives(desk):
    desk.ledger.store.connection.execute("update observation set compute_unit_seconds = 7")
    [fault] = tend(desk)
    assert fault.startswith("table observation is not what the journal gives")
    assert checkpoint.checkpoints(desk.directory / "journal") == []
    assert all(bodies(desk.directory).values())


def test_two_checkpoints_are_kept_and_the_one_before_stands_in_where_it_can(desk):
    for months in range(3):
        desk.now = moment("2026-11-20") + timedelta(days=31 * months)
        assert tend(desk) == []
    first, last = checkpoint.checkpoints(desk.directory / "journal")
    assert first.seq < last.seq
    (last.path / "page.parquet").unlink()
    assert checkpoint.base(desk.directory / "journal") == first


def test_a_proof_goes_on_in_the_next_tick_where_the_last_one_stopped(desk):
    stop = Stop()
    stop.ask()
    assert tend(desk, stop=stop) == []
    assert checkpoint.checkpoints(desk.directory / "journal") == []
    assert (desk.directory / "proof").is_dir()
    # Not the first tick of its day, but something is under way.
    assert retention.tend(desk.ledger, 30, desk.now, Stop(), is_new_day=False) == []
    assert len(checkpoint.checkpoints(desk.directory / "journal")) == 1
    assert not (desk.directory / "proof").exists()


def test_the_same_store_gives_the_same_checkpoint_byte_for_byte(desk, tmp_path_factory):
    directory = tmp_path_factory.mktemp("other")
    one = checkpoint.write(desk.ledger.store, directory)
    files = {file.name: file.read_bytes() for file in one.path.iterdir()}
    again = checkpoint.write(desk.ledger.store, directory)
    assert {file.name: file.read_bytes() for file in again.path.iterdir()} == files


# -- what a dropped page still tells


@pytest.fixture
def dropped(tmp_path: Path) -> Path:
    """A closed store directory, after retention."""
    return tended(lived(tmp_path / "var"))


def test_verify_agrees_and_says_what_it_cannot_derive_again(dropped):
    [note] = agreed(dropped).notes
    assert note.startswith("the bodies of 5 pages, up to record 9, were dropped under store.keep_pages_days")
    assert "the checkpoint at record" in note


def test_every_table_that_no_page_fills_is_derived_from_the_first_record_on():
    promises = {projection.__module__ for projection in [*landing.PROMISES.values(), deeds_of.apply_deed]}
    sources = "".join(Path(sys.modules[name].__file__).read_text() for name in promises)
    folder = data_directory("sql") / "writes"
    texts = [(folder / f"{name}.sql").read_text() for name in re.findall(r"write(?:_each)?\(\s*\"([\w/]+)\"", sources)]
    written = {table for text in texts for table in re.findall(r"insert (?:or \w+ )?into (\w+)", text)}
    assert written | set(re.findall(r"store\.insert\(\"(\w+)\"", sources)) == verify.PROMISED


def test_explain_names_the_page_and_says_that_and_when_its_body_went(dropped):
    with snapshots.open_reader(dropped) as found:
        numbers = [row[0] for row in found.connection.execute("select number from invoice order by seq").fetchall()]
        lines = {number: explain.explain(found, number)["lines"] for number in numbers}
        usage = [
            (number, line["key"]) for number, listed in lines.items() for line in listed if line["kind"] == "usage"
        ]
        told = {key: explain.explain(found, number, key) for number, key in usage}
    september = told["a/compute/pro/2026-09-01T00:00:00Z/1"]
    october = told["b/compute/pro/2026-10-01T00:00:00Z/1"]
    [page] = september["observations"]
    assert page["body_dropped_at"] == "2026-11-20T00:00:00Z"
    assert (page["request_id"], len(page["sha256"])) == ("5", 64)
    assert [row["body_dropped_at"] for row in october["observations"]] == [None]
    assert "its body was dropped 2026-11-20T00:00:00Z under store.keep_pages_days" in explain_text.table(september)
    assert "dropped" not in explain_text.table(october)


def test_rebuild_and_a_deleted_store_give_every_table_as_it_was(dropped):
    before = tables(dropped)
    rebuild.rebuild(dropped)
    assert tables(dropped) == before
    (dropped / database.DATABASE).unlink()
    agreed(dropped)
    assert tables(dropped) == before


def test_a_store_that_is_older_than_the_checkpoint_begins_with_it(tmp_path):
    old = tmp_path / "old"
    for desk in life(tmp_path / "var"):
        desk.ledger.store.connection.execute("checkpoint")
        shutil.copy(desk.directory / database.DATABASE, old)
        tend(desk)
    old.replace(tmp_path / "var" / database.DATABASE)
    agreed(tmp_path / "var")


def test_a_backup_has_the_checkpoint_and_restores_to_an_equal_store(dropped, tmp_path):
    made = backup.backup(dropped, tmp_path / "backups", moment("2026-12-01"))
    named = json.loads((made.path / "manifest.json").read_text())["sha256"]
    assert sum(name.startswith("journal/checkpoint-") for name in named) > 20
    (made.path / database.SNAPSHOT).unlink()
    agreed(made.path)
    assert tables(made.path) == tables(dropped)


def test_a_backup_without_the_checkpoint_that_it_needs_is_refused(dropped, tmp_path):
    [made] = checkpoint.checkpoints(dropped / "journal")
    (made.path / "page.parquet").unlink()
    with pytest.raises(JournalDamagedError, match="no whole checkpoint stands in for the pages dropped up to record 9"):
        backup.backup(dropped, tmp_path / "backups", moment("2026-12-01"))
    assert not list((tmp_path / "backups").glob("metering-*Z"))


# -- killed on the way


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> Path:
    """The life before retention, and beside it the library that strikes."""
    directory = tmp_path_factory.mktemp("life")
    deeds.built(directory)
    return lived(directory / "var").parent


def struck(before: Path, home: Path, *, at: int, how: str) -> int:
    """Retention in a process of its own that is killed at a call that changes the disk; how many calls there were."""
    shutil.copytree(before / "var", home)
    orders = {"LD_PRELOAD": str(before / "strike.so"), "STRIKE_UNDER": f"{home.resolve()}/", "STRIKE_HOW": how}
    count = home.parent / "calls"
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.retained", str(home)],
        cwd=TOP,
        env={**os.environ, **orders, "STRIKE_AT": str(at), "STRIKE_COUNT": str(count)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if at else 0), done.stderr
    return 0 if at else int(count.read_text())


def survives(before: Path, home: Path, *, at: int, how: str) -> None:
    struck(before, home, at=at, how=how)
    tended(home)
    assert bodies(home) == DROPPED, (at, how)
    found = tables(home)
    assert agreed(home).notes != [], (at, how)
    rebuild.rebuild(home)
    assert tables(home) == found, (at, how)
    left = {path.name for path in (home / "journal").iterdir() if not path.name.startswith("checkpoint-")}
    assert {name for name in left if not name.endswith(".journal")} <= {"0000000001.tmp"}
    shutil.rmtree(home)


needs_a_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to build the striker with")


@needs_a_compiler
def test_retention_that_was_killed_at_a_call_that_changes_the_disk_is_made_up_for_by_the_next_tick(before, tmp_path):
    """Some of the calls, and those at the end, where segments are written anew; the slow test takes them all."""
    calls = struck(before, tmp_path / "whole", at=0, how="before")
    assert calls > 100
    for at in (random.Random(3).randrange(1, calls - 20), calls - 10):
        survives(before, tmp_path / str(at), at=at, how=random.Random(at).choice(["before", "half", "after"]))


@needs_a_compiler
@pytest.mark.slow
def test_retention_survives_a_kill_at_every_call_that_changes_the_disk(before, tmp_path):
    calls = struck(before, tmp_path / "whole", at=0, how="before")
    for at in range(1, calls + 1):
        survives(before, tmp_path / str(at), at=at, how=("before", "half", "after")[at % 3])


# -- by the command


def test_a_tick_drops_what_is_due_and_verify_rebuild_and_status_go_on(tmp_path):
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        fleet.project("bee-1")
        fleet.use("bee-1", "2026-09-10", grain="daily", compute_unit_seconds=101 * HOUR)
        desk = Desk(directory=tmp_path, neon=neon, now="2026-09-20T12:00:00Z", default_plan="pro")
        desk.environment["METERING_STORE__KEEP_PAGES_DAYS"] = "30"
        desk.good("poll")
        desk.now = "2026-10-03T12:00:00Z"
        desk.good("backfill")
        assert desk.run("tick").code == 0
        desk.good("close", "2026-09")
        assert desk.good("invoices", "2026-09")["invoices"][0]["status"] == "final"
        desk.now = "2026-11-20T12:00:00Z"
        desk.run("tick")
        shown = bodies(tmp_path / "var")
        assert not shown[min(shown)]
        assert shown[max(shown)]
        ran = desk.run("verify")
        assert ran.code == 0, ran.err
        assert "were dropped under store.keep_pages_days" in ran.out
        assert ran.out.endswith("everything agrees\n")
        invoices = desk.run("invoices", "2026-09").out
        assert desk.run("rebuild").code == 0
        assert desk.run("invoices", "2026-09").out == invoices
