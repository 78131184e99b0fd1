"""A backup is a verified earlier state of the store, and restores to an equal store."""

import json
from datetime import UTC, datetime

import pytest

from metering.core.errors import JournalDamagedError, MeteringError
from metering.ledger import ledger
from metering.operations import verify
from metering.store import backup, snapshots

NOW = datetime(2026, 10, 15, 9, 5, tzinfo=UTC)


def cycle(books, number):
    books.record(
        "cycle",
        {
            "command": "poll",
            "started_at": "2026-10-15T09:00:00Z",
            "ended_at": "2026-10-15T09:01:00Z",
            "requests": number,
            "pages": 0,
            "changes": 0,
            "outcome": "complete",
            "faults": [],
        },
    )


def test_a_backup_restores_to_an_equal_store(tmp_path):
    home = tmp_path / "var"
    with ledger.open_ledger(home, lambda: NOW) as books:
        for number in range(5):
            cycle(books, number)

    made = backup.backup(home, tmp_path / "backups", NOW)

    restored = tmp_path / "restored"
    made.path.rename(restored)
    assert made.records == 5
    with ledger.open_ledger(restored, lambda: NOW) as books:
        assert verify.verify(restored, books.store).faults == []
        assert books.store.query("operations/last_cycle")["requests"].item() == 4


def test_a_backup_is_made_while_a_writer_holds_the_store(tmp_path):
    home = tmp_path / "var"
    with ledger.open_ledger(home, lambda: NOW) as books:
        cycle(books, 1)
    with ledger.open_ledger(home, lambda: NOW) as books:
        cycle(books, 2)

        made = backup.backup(home, tmp_path / "backups", NOW)

        assert made.records == 2
        with snapshots.open_reader(made.path) as copied:
            assert copied.query("operations/last_cycle")["requests"].item() == 1


def test_a_record_that_is_being_written_is_left_out(tmp_path):
    home = tmp_path / "var"
    with ledger.open_ledger(home, lambda: NOW) as books:
        cycle(books, 1)
    segment = next((home / "journal").glob("*.journal"))
    segment.write_bytes(segment.read_bytes() + b"REC \0\0\1")

    assert backup.backup(home, tmp_path / "backups", NOW).records == 1


def test_a_damaged_journal_is_not_backed_up_silently(tmp_path):
    home = tmp_path / "var"
    with ledger.open_ledger(home, lambda: NOW) as books:
        cycle(books, 1)
        cycle(books, 2)
    segment = next((home / "journal").glob("*.journal"))
    content = bytearray(segment.read_bytes())
    content[80] ^= 1
    segment.write_bytes(content)

    with pytest.raises(JournalDamagedError):
        backup.backup(home, tmp_path / "backups", NOW)
    assert not list((tmp_path / "backups").glob("metering-*Z"))


def test_the_manifest_names_every_file_and_nothing_is_overwritten(tmp_path):
    home = tmp_path / "var"
    with ledger.open_ledger(home, lambda: NOW) as books:
        cycle(books, 1)

    made = backup.backup(home, tmp_path / "backups", NOW)

    manifest = json.loads((made.path / "manifest.json").read_text())
    assert sorted(manifest["sha256"]) == ["journal/0000000001.journal", "journal/backup", "snapshot.duckdb"]
    with pytest.raises(MeteringError, match="exists already"):
        backup.backup(home, tmp_path / "backups", NOW)


def test_a_store_that_is_not_there_is_told(tmp_path):
    with pytest.raises(MeteringError, match="has no journal"):
        backup.backup(tmp_path / "var", tmp_path / "backups", NOW)


def made_on(home, target, days):
    return [backup.backup(home, target, datetime(2026, 10, day, 9, 5, tzinfo=UTC)).path for day in days]


def test_only_the_newest_backups_stay(tmp_path):
    home, target = tmp_path / "var", tmp_path / "backups"
    with ledger.open_ledger(home, lambda: NOW) as books:
        cycle(books, 1)
    paths = made_on(home, target, (1, 2, 3, 4))
    assert backup.prune(target, 4) == []
    assert backup.prune(target, 2) == paths[:2]
    assert sorted(target.iterdir()) == paths[2:]


def test_what_is_no_finished_backup_is_neither_counted_nor_deleted(tmp_path):
    home, target = tmp_path / "var", tmp_path / "backups"
    with ledger.open_ledger(home, lambda: NOW) as books:
        cycle(books, 1)
    kept = made_on(home, target, (1,))
    for name in ("metering-20261002T000000Z", "metering-20261003T000000Z.tmp", "metering-old", "notes"):
        (target / name).mkdir()
    assert backup.prune(target, 1) == []
    assert len(list(target.iterdir())) == 5 and kept[0].exists()


def test_a_deletion_that_was_killed_is_finished_by_the_next(tmp_path):
    home, target = tmp_path / "var", tmp_path / "backups"
    with ledger.open_ledger(home, lambda: NOW) as books:
        cycle(books, 1)
    first, second = made_on(home, target, (1, 2))
    first.rename(target / f"{first.name}.deleted")
    assert backup.prune(target, 1) == []
    assert list(target.iterdir()) == [second]
