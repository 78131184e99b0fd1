"""A store that may be one of two promises nothing until a person has compared; a number names one document for ever."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.platform_desk import Desk, copied
from tests.support.two_customers import two_customers


@contextmanager
def read(directory: Path, more: str = "") -> Iterator[Desk]:
    """September 2026 of two customers is read, nothing is closed."""
    with two_customers(directory, more=more) as desk:
        desk.good("backfill")
        yield desk


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with read(tmp_path_factory.mktemp("kept")) as found:
        yield found


@pytest.fixture
def desk(kept: Desk, tmp_path: Path) -> Iterator[Desk]:
    with copied(kept, tmp_path / "desk") as found:
        yield found


@pytest.fixture
def witnessed(tmp_path: Path) -> Iterator[Desk]:
    """As `kept`, with a witness on another disk."""
    (tmp_path / "desk").mkdir()
    with read(tmp_path / "desk", f'[store]\nwitness = "{tmp_path / "witness"}"\n') as found:
        yield found


def restored(desk: Desk, backup: Path) -> None:
    shutil.rmtree(desk.directory / "var")
    assert desk.run("restore", str(backup)).code == 0


def a_backup_of(desk: Desk) -> Path:
    desk.run("backup", str(desk.directory / "backups"))
    (found,) = (desk.directory / "backups").iterdir()
    return found


def copy_of(desk: Desk, directory: Path) -> Desk:
    """A plain copy of the whole directory, as a second machine would have it; the same Neon, the same witness."""
    shutil.copytree(desk.directory, directory)
    return replace(desk, directory=directory, environment=dict(desk.environment))


def kinds(desk: Desk) -> list[str]:
    shown = desk.good("close", "2026-09", "--dry-run", code=3)
    return [one["kind"] for one in shown["blocked_by"]]


def test_a_restored_store_closes_nothing_until_a_person_has_compared(desk: Desk) -> None:
    backup = a_backup_of(desk)
    assert desk.good("close", "2026-09")["issued"] == ["INV-2026-000001", "INV-2026-000002"]
    restored(desk, backup)
    ran = desk.run("close", "2026-09")
    assert (ran.code, ran.out) == (3, "")
    assert "restored from a backup" in ran.err or "a backup that was opened" in ran.err
    assert "metering store adopt --i-compared" in ran.err
    assert "witness" in kinds(desk)
    done = desk.good("store", "adopt", "--i-compared", "--number", "INV-2026-000002")
    assert done["numbers_go_on_behind"] == {"invoice 2026": "2"}
    assert desk.good("close", "2026-09")["issued"] == ["INV-2026-000003", "INV-2026-000004"]
    assert desk.run("verify").code == 0, desk.run("verify")
    assert desk.run("rebuild").code == 0
    assert desk.good("close", "2026-09")["issued"] == []


def test_a_restored_store_goes_on_reading_and_telling(desk: Desk) -> None:
    restored(desk, a_backup_of(desk))
    assert desk.run("poll").code == 0
    assert desk.run("tick").code == 0
    assert "restored from a backup" in desk.run("close", "2026-09").err
    found = desk.good("status")["obstacles"]
    assert [one["kind"] for one in found] == ["witness"]


def test_a_backup_is_not_restored_over_anything(desk: Desk) -> None:
    backup = a_backup_of(desk)
    ran = desk.run("restore", str(backup))
    assert (ran.code, ran.out) == (2, "")
    assert "is not empty" in ran.err


def test_a_backup_that_was_changed_is_not_restored(desk: Desk) -> None:
    backup = a_backup_of(desk)
    with (backup / "snapshot.duckdb").open("ab") as file:
        file.write(b"x")
    shutil.rmtree(desk.directory / "var")
    ran = desk.run("restore", str(backup))
    assert (ran.code, ran.out) == (1, "")
    assert "snapshot.duckdb is not as the backup's manifest says" in ran.err
    assert not (desk.directory / "var").exists()


def test_a_journal_that_was_copied_out_of_a_backup_by_hand_is_noticed_too(desk: Desk) -> None:
    backup = a_backup_of(desk)
    shutil.rmtree(desk.directory / "var")
    shutil.copytree(backup / "journal", desk.directory / "var" / "journal")
    assert desk.run("rebuild").code == 0
    assert "witness" in kinds(desk)


def test_reading_a_backup_leaves_it_a_backup(desk: Desk) -> None:
    backup = a_backup_of(desk)
    restored(desk, backup)
    (desk.directory / "var" / "snapshot.duckdb").unlink()
    assert len(desk.good("invoices", "2026-09")["invoices"]) == 2
    assert (desk.directory / "var" / "journal" / "backup").exists()
    assert "witness" in kinds(desk)


def test_void_and_quota_changes_of_a_restored_store_are_refused(desk: Desk) -> None:
    desk.good("close", "2026-09")
    restored(desk, a_backup_of(desk))
    for command in (
        ("void", "INV-2026-000001", "--reason", "x"),
        ("quotas", "apply"),
        ("upgrade", "ant-1", "--plan", "pro"),
    ):
        ran = desk.run(*command)
        assert (ran.code, ran.out) == (1, ""), (command, ran)
        assert "store adopt --i-compared" in ran.err


def test_a_journal_that_was_cut_goes_on_by_a_rebuild_that_tells_and_closes_nothing(desk: Desk) -> None:
    segment = max((desk.directory / "var" / "journal").glob("*.journal"))
    with segment.open("r+b") as file:
        file.truncate(segment.stat().st_size * 3 // 4)
    ran = desk.run("rebuild")
    assert ran.code == 3
    assert "are lost" in ran.err and "store adopt --i-compared" in ran.err
    assert desk.run("backfill").code == 0
    assert "witness" in kinds(desk)
    desk.good("store", "adopt", "--i-compared")
    assert desk.good("close", "2026-09")["issued"] == ["INV-2026-000001", "INV-2026-000002"]
    assert desk.run("verify").code == 0, desk.run("verify")


@pytest.mark.parametrize("others", [[], ["high-water.json"], ["metering.duckdb", "snapshot.duckdb"]])
def test_numbers_of_a_journal_that_was_cut_are_not_given_out_again(desk: Desk, others: list[str]) -> None:
    store = desk.directory / "var"
    segment = max((store / "journal").glob("*.journal"))
    before = segment.stat().st_size
    assert desk.good("close", "2026-09")["issued"] == ["INV-2026-000001", "INV-2026-000002"]
    with segment.open("r+b") as file:
        file.truncate(before)
    for name in others:
        (store / name).unlink()
    ran = desk.run("rebuild")
    assert ran.code == 3
    assert "were written here and are lost" in ran.err
    assert (store / "lost.duckdb").exists() == ("metering.duckdb" not in others)
    done = desk.good("store", "adopt", "--i-compared")
    assert done["numbers_go_on_behind"] == {"invoice 2026": "2"}
    assert desk.good("close", "2026-09")["issued"] == ["INV-2026-000003", "INV-2026-000004"]
    assert desk.run("verify").code == 0, desk.run("verify")
    assert desk.run("rebuild").code == 0


def test_a_journal_of_another_line_is_noticed_though_it_is_longer(desk: Desk) -> None:
    store = desk.directory / "var"
    kept = desk.directory / "kept"
    shutil.copytree(store / "journal", kept)
    assert desk.good("close", "2026-09")["issued"] == ["INV-2026-000001", "INV-2026-000002"]
    other = copy_of(desk, desk.directory.parent / "other")
    shutil.rmtree(other.directory / "var")
    shutil.copytree(kept, other.directory / "var" / "journal")
    assert other.run("rebuild").code == 0
    for _ in range(3):
        assert other.run("backfill").code == 0
    shutil.rmtree(store / "journal")
    shutil.copytree(other.directory / "var" / "journal", store / "journal")
    for command in (("tick",), ("close", "2026-09"), ("invoices", "2026-09"), ("verify",)):
        ran = desk.run(*command)
        assert ran.code == 1, (command, ran)
        assert "is not the one written here" in ran.err or "another journal" in ran.err, (command, ran)
    assert desk.run("rebuild").code == 3
    assert "witness" in kinds(desk)


def test_nothing_is_adopted_where_nothing_stops(desk: Desk) -> None:
    ran = desk.run("store", "adopt", "--i-compared")
    assert (ran.code, ran.out) == (1, "")
    assert "nothing stops this store" in ran.err


@pytest.mark.parametrize("number", ["INV-2026-1x", "XYZ-2026-000001", "INV-26-000001"])
def test_a_number_that_is_none_is_refused(desk: Desk, number: str) -> None:
    restored(desk, a_backup_of(desk))
    ran = desk.run("store", "adopt", "--i-compared", "--number", number)
    assert (ran.code, ran.out) == (2, "")
    assert number in ran.err


def test_of_two_copies_with_one_witness_only_the_first_closes(witnessed: Desk, tmp_path: Path) -> None:
    second = copy_of(witnessed, tmp_path / "second")
    assert witnessed.good("close", "2026-09")["issued"] == ["INV-2026-000001", "INV-2026-000002"]
    assert second.run("poll").code == 0
    ran = second.run("close", "2026-09")
    assert (ran.code, ran.out) == (3, "")
    assert "may be one of two" in ran.err
    done = second.good("store", "adopt", "--i-compared")
    assert done["numbers_go_on_behind"] == {"invoice 2026": "2"}
    assert second.good("close", "2026-09")["issued"] == ["INV-2026-000003", "INV-2026-000004"]
    ran = witnessed.run("void", "INV-2026-000001", "--reason", "x")
    assert (ran.code, ran.out) == (1, "")
    assert "may be one of two" in ran.err


def test_a_store_with_a_witness_closes_voids_and_closes_again(witnessed: Desk, tmp_path: Path) -> None:
    witnessed.good("close", "2026-09")
    witnessed.good("void", "INV-2026-000001", "--reason", "wrong street")
    assert witnessed.good("close", "2026-09")["issued"] == ["INV-2026-000003"]
    said = json.loads((tmp_path / "witness").read_text())
    assert said["numbers"] == {"credit_note 2026": 1, "invoice 2026": 3}
    assert said["intent"] is None


def test_a_witness_that_is_gone_though_recorded_stops_the_close(witnessed: Desk, tmp_path: Path) -> None:
    (tmp_path / "witness").unlink()
    assert witnessed.run("poll").code == 0
    assert "witness" in kinds(witnessed)
    assert not (tmp_path / "witness").exists()
    witnessed.good("store", "adopt", "--i-compared")
    assert len(witnessed.good("close", "2026-09")["issued"]) == 2


def test_a_witness_that_is_no_longer_configured_stops_the_close(witnessed: Desk) -> None:
    witnessed.more = ""
    assert "witness" in kinds(witnessed)
    witnessed.good("store", "adopt", "--i-compared")
    assert len(witnessed.good("close", "2026-09")["issued"]) == 2


def test_a_promise_that_another_copy_began_stops_this_one_and_its_own_does_not(witnessed: Desk, tmp_path: Path) -> None:
    second = copy_of(witnessed, tmp_path / "second")
    path = tmp_path / "witness"
    said = json.loads(path.read_text())
    place = (witnessed.directory / "var" / "journal").stat()
    host = __import__("socket").gethostname()
    said["intent"] = {"seq": said["seq"] + 1, "place": f"{host}:{place.st_dev}:{place.st_ino}"}
    path.write_text(json.dumps(said))  # as a process leaves it that dies between the witness and the journal
    assert "witness" in kinds(second)
    assert len(witnessed.good("close", "2026-09")["issued"]) == 2


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_a_witness_that_cannot_be_read_is_told(witnessed: Desk, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "witness").write_bytes(content)
    ran = witnessed.run("close", "2026-09")
    assert (ran.code, ran.out) == (3, "")
    assert "the witness" in ran.err
