"""What is missing, older or cut is made anew or told; an empty answer means that there is nothing."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metering.store.lock import held
from tests.support.platform_desk import Desk, copied
from tests.support.two_customers import closed_september

NUMBERS = ["INV-2026-000001", "INV-2026-000002"]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """September 2026 is closed for two customers."""
    with closed_september(tmp_path_factory.mktemp("closed")) as desk:
        yield desk


@pytest.fixture
def desk(closed: Desk, tmp_path: Path) -> Iterator[Desk]:
    """A copy of it for each test."""
    with copied(closed, tmp_path) as found:
        yield found


def var(desk: Desk) -> Path:
    return desk.directory / "var"


def numbers(desk: Desk) -> list[str]:
    return [one["number"] for one in desk.good("invoices", "2026-09")["invoices"]]


def last_segment(desk: Desk) -> Path:
    return max((var(desk) / "journal").glob("*.journal"))


@pytest.mark.parametrize("lost", [["snapshot.duckdb"], ["snapshot.duckdb", "metering.duckdb"]])
def test_a_reader_makes_the_copy_that_is_missing(desk: Desk, lost: list[str]) -> None:
    for name in lost:
        (var(desk) / name).unlink()
    assert numbers(desk) == NUMBERS
    assert (var(desk) / "snapshot.duckdb").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("usage", "2026-09"),
        ("quota",),
        ("status",),
        ("alerts", "list"),
        ("invoice", "INV-2026-000001"),
        ("explain", "INV-2026-000001"),
        ("export", "focus", "2026-09"),
        ("export", "ubl", "2026-09", "--number", "INV-2026-000001"),
    ],
)
def test_every_reading_command_answers_alike_with_and_without_the_copy(desk: Desk, arguments: tuple[str, ...]) -> None:
    before = desk.run(*arguments)
    (var(desk) / "snapshot.duckdb").unlink()
    after = desk.run(*arguments)
    assert (after.code, _told(arguments, after.out)) == (before.code, _told(arguments, before.out))


def _told(arguments: tuple[str, ...], out: str) -> Any:
    """`status` prints the size of the files, which a copy that was made anew may change."""
    return [line for line in out.splitlines() if "bytes" not in line] if arguments == ("status",) else out


def test_a_copy_that_is_older_than_the_journal_is_made_anew(desk: Desk) -> None:
    older = (var(desk) / "snapshot.duckdb").read_bytes()
    desk.good("void", "INV-2026-000001", "--reason", "wrong street")
    (var(desk) / "snapshot.duckdb").write_bytes(older)
    assert "CN-2026-000001" in numbers(desk)


def test_a_report_is_written_of_what_the_journal_holds(desk: Desk) -> None:
    shutil.rmtree(var(desk) / "reports")
    (var(desk) / "snapshot.duckdb").unlink()
    assert desk.run("report", "2026-09").code == 0
    assert "INV-2026-000002" in (var(desk) / "reports/2026-09/report.html").read_text()


def test_a_report_is_not_overwritten_by_one_of_fewer_records(desk: Desk) -> None:
    older = (var(desk) / "snapshot.duckdb").read_bytes()
    desk.good("void", "INV-2026-000001", "--reason", "wrong street")
    assert desk.run("close", "2026-09").code == 0
    newer = (var(desk) / "reports/2026-09/report.json").read_bytes()
    (var(desk) / "snapshot.duckdb").write_bytes(older)
    with held(var(desk)):  # whose copy is older as long as it writes
        ran = desk.run("report", "2026-09")
    assert (ran.code, ran.out) == (1, "")
    assert "run it again" in ran.err
    assert (var(desk) / "reports/2026-09/report.json").read_bytes() == newer


def test_an_export_is_not_overwritten_by_one_of_fewer_records(desk: Desk) -> None:
    older, file = (var(desk) / "snapshot.duckdb").read_bytes(), desk.directory / "focus.csv"
    desk.good("void", "INV-2026-000001", "--reason", "wrong street")
    words = ("export", "focus", "2026-09", "-o", str(file))
    assert desk.run(*words).code == 0
    newer = file.read_bytes()
    (var(desk) / "snapshot.duckdb").write_bytes(older)
    with held(var(desk)):  # whose copy is older as long as it writes
        ran = desk.run(*words)
        assert (ran.code, ran.out) == (1, "")
        assert "run it again" in ran.err
        assert file.read_bytes() == newer
        file.write_text("a person's own notes")
        assert desk.run(*words).code == 0
    assert desk.run(*words).code == 0
    assert file.read_bytes() == newer


def test_final_figures_are_not_overwritten_by_drafts(desk: Desk) -> None:
    file = desk.directory / "focus.csv"
    words = ("export", "focus", "2026-09", "-o", str(file))
    assert desk.run(*words).code == 0
    final = file.read_bytes()
    assert desk.run(*words, "--drafts").code == 0  # of a closed month there are none
    (var(desk) / "exports.json").write_text(
        (var(desk) / "exports.json").read_text().replace("focus 2026-09", "focus 2026-10")
    )
    file.write_bytes(final)
    ran = desk.run("export", "focus", "2026-10", "--drafts", "-o", str(file))
    assert (ran.code, ran.out) == (1, "")
    assert "is final" in ran.err and file.read_bytes() == final


def test_while_another_process_writes_an_older_copy_answers_and_a_missing_one_is_told(desk: Desk) -> None:
    with held(var(desk)):
        assert numbers(desk) == NUMBERS
        (var(desk) / "snapshot.duckdb").unlink()
        ran = desk.run("invoices", "2026-09")
    assert (ran.code, ran.out) == (1, "")
    assert "snapshot.duckdb is missing" in ran.err and "run this again" in ran.err


def test_a_copy_that_cannot_be_read_is_made_anew(desk: Desk) -> None:
    (var(desk) / "snapshot.duckdb").write_bytes(b"no database")
    assert numbers(desk) == NUMBERS


def test_the_readers_file_alone_is_read_as_it_is(desk: Desk) -> None:
    for path in var(desk).iterdir():
        if path.name != "snapshot.duckdb":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert numbers(desk) == NUMBERS


def test_a_directory_that_holds_nothing_answers_that_there_is_nothing(desk: Desk) -> None:
    shutil.rmtree(var(desk))
    assert numbers(desk) == []
    assert not var(desk).exists()


@pytest.mark.parametrize("command", [("invoices", "2026-09"), ("verify",), ("poll",), ("close", "2026-09")])
def test_a_journal_that_was_cut_is_told_by_every_command(desk: Desk, command: tuple[str, ...]) -> None:
    segment = last_segment(desk)
    with segment.open("r+b") as file:
        file.truncate(segment.stat().st_size // 2)
    for name in ("snapshot.duckdb", "metering.duckdb"):
        (var(desk) / name).unlink()
    ran = desk.run(*command)
    assert (ran.code, ran.out) == (1, "")
    assert "records are lost" in ran.err and "backup" in ran.err


def test_a_journal_that_is_gone_is_told_and_none_is_begun_in_its_place(desk: Desk) -> None:
    shutil.rmtree(var(desk) / "journal")
    for command in (("invoices", "2026-09"), ("poll",)):
        ran = desk.run(*command)
        assert (ran.code, ran.out) == (1, "")
        assert "records are lost" in ran.err
    assert not (var(desk) / "journal").exists()


def test_names_in_the_journals_directory_that_are_not_ours_are_left_alone(desk: Desk) -> None:
    journal = var(desk) / "journal"
    (journal / "checkpoint-x").mkdir()
    (journal / "checkpoint-of-anna").mkdir()
    (journal / "a-notebook.journal").write_text("not ours")
    for command in (("poll",), ("verify",), ("rebuild",), ("backup", str(desk.directory / "backups"))):
        ran = desk.run(*command)
        assert ran.code == 0, (command, ran)
    assert (journal / "checkpoint-x").is_dir()
