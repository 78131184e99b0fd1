"""Power loss: what is lost or changed on the disk is found, and handled as docs/operations.md says.

Torn tails, flipped bits, missing segments: tests/store/test_journal.py.
Damaged databases and logs: tests/ledger/test_ledger.py.
Processes that are killed: tests/ledger/test_ledger.py, tests/faults/test_crashes.py,
tests/operations/test_retention.py.
"""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from metering.core.errors import JournalDamagedError
from metering.core.stop import Stop
from metering.ledger.ledger import open_ledger
from metering.operations import rebuild, retention, verify
from metering.store import checkpoint
from metering.store import database as store
from metering.store.checkpoint import Checkpoint
from tests.support.retained import LATER, lived, tables, tended
from tests.support.scribe import Scribe


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A closed store directory after retention, which has one checkpoint."""
    return tended(lived(tmp_path_factory.mktemp("life")))


@pytest.fixture
def struck(home: Path, tmp_path: Path) -> Path:
    shutil.copytree(home, tmp_path / "var")
    return tmp_path / "var"


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(content)


CHECKPOINT_FAULTS: dict[str, tuple[Callable[[Checkpoint], None], str]] = {
    "a flipped bit": (lambda made: flip(made.path / "page.parquet"), "page.parquet does not match its hash"),
    "a missing file": (lambda made: (made.path / "page.parquet").unlink(), "page.parquet is missing"),
    "a flipped bit of the manifest": (lambda made: flip(made.path / "manifest.json"), "manifest.json is not the one"),
    "no manifest": (lambda made: (made.path / "manifest.json").unlink(), "manifest.json is not the one"),
}


@pytest.mark.parametrize(("damage", "told"), CHECKPOINT_FAULTS.values(), ids=CHECKPOINT_FAULTS)
def test_a_damaged_checkpoint_stops_nobody_who_polls_and_verify_names_it(struck, damage, told):
    before = tables(struck)
    [made] = checkpoint.checkpoints(struck / "journal")
    damage(made)
    with open_ledger(struck, lambda: LATER) as ledger:
        found = verify.verify(struck, ledger.store)
    assert told in found.faults[0]
    assert "no whole checkpoint stands in for the pages dropped up to record 9" in found.faults[1]
    assert tables(struck) == before


@pytest.mark.parametrize(
    "damage", [lambda made: flip(made.path / "page.parquet"), lambda made: shutil.rmtree(made.path)]
)
def test_a_store_that_is_lost_with_its_only_checkpoint_is_not_made_up(struck, damage):
    [made] = checkpoint.checkpoints(struck / "journal")
    damage(made)
    (struck / store.DATABASE).unlink()
    with pytest.raises(JournalDamagedError, match="the body of record 1 was dropped") as refused:
        rebuild.rebuild(struck)
    assert "checkpoint" in refused.value.hint
    with (
        pytest.raises(JournalDamagedError, match="the body of record 1 was dropped"),
        open_ledger(struck, lambda: LATER),
    ):
        pass


def test_the_checkpoint_before_stands_in_for_a_damaged_one(struck):
    with open_ledger(struck, lambda: LATER) as ledger:
        later = LATER + timedelta(days=31)
        assert retention.tend(ledger, 30, later, Stop(), is_new_day=True) == []
    before = tables(struck)
    _, newest = checkpoint.checkpoints(struck / "journal")
    flip(newest.path / "observation.parquet")
    rebuild.rebuild(struck)
    assert tables(struck) == before


def test_a_checkpoint_that_no_record_names_counts_for_nothing(struck):
    [made] = checkpoint.checkpoints(struck / "journal")
    shutil.copytree(made.path, made.path.with_name("checkpoint-0000000005"))
    assert checkpoint.base(struck / "journal") == made
    rebuild.rebuild(struck)
    assert checkpoint.base(struck / "journal") == made


def killed_beside_its_log(struck: Path, tmp_path: Path) -> Path:
    """The directory as it stands while the database's last commit is in its log alone."""
    with open_ledger(struck, lambda: LATER) as ledger:
        Scribe(record=ledger.record, walks=[50]).cycle()
        assert (struck / f"{store.DATABASE}.wal").stat().st_size > 0
        shutil.copytree(struck, tmp_path / "cut")
    return tmp_path / "cut"


def test_a_log_that_is_deleted_or_cut_short_at_any_of_many_bytes_costs_nothing(struck, tmp_path):
    cut = killed_beside_its_log(struck, tmp_path)
    log, before = cut / f"{store.DATABASE}.wal", tables(struck)
    content, database = log.read_bytes(), (cut / store.DATABASE).read_bytes()
    for length in (None, 0, 1, *range(16, len(content), max(1, len(content) // 6))):
        (cut / store.DATABASE).write_bytes(database)
        log.unlink(missing_ok=True)
        if length is not None:
            log.write_bytes(content[:length])
        with open_ledger(cut, lambda: LATER):
            pass
        assert tables(cut) == before, length


def test_a_damaged_store_whose_snapshot_is_older_than_the_checkpoint_begins_with_that(tmp_path):
    home = lived(tmp_path / "var")
    shutil.copy(home / store.SNAPSHOT, tmp_path / "old")
    before = tables(tended(home))
    (tmp_path / "old").replace(home / store.SNAPSHOT)
    (home / store.DATABASE).write_bytes(b"no database")
    with open_ledger(home, lambda: LATER) as ledger:
        assert "it was set aside as damaged.duckdb and made anew" in ledger.store.mended
    assert tables(home) == before
