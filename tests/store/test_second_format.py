"""Journals of the format METERJ2, which older versions wrote: read, verified, continued, backed up, thinned out."""

from pathlib import Path

import pytest

from metering.core.errors import JournalDamagedError
from metering.ledger import ledger
from metering.operations import rebuild
from metering.store import backup, restoring
from metering.store.journal import Journal, read
from tests.support.pages_of import moment
from tests.support.retained import DROPPED, agreed, bodies, lived, tended
from tests.support.second_format import write

NOW = moment("2026-11-20")
PAGE = {
    **{"walk": 90, "endpoint": "inventory", "organization": "org-1", "path": "projects", "params": {}},
    **{"sent_at": "2026-11-20T00:00:00Z", "received_at": "2026-11-20T00:00:00Z", "request_id": "one"},
}


@pytest.fixture(scope="module")
def of_today(tmp_path_factory) -> Path:
    return lived(tmp_path_factory.mktemp("today"))


def older(today: Path, directory: Path) -> Path:
    """The same life with its journal in the second format, segment by segment, and no database."""
    before = bytes(32)
    kept = sorted((today / "journal").glob("*.journal"))
    records = list(read(today / "journal"))
    for path, following in zip(kept, [*kept[1:], None], strict=True):
        until = int(following.stem) if following else len(records) + 1
        mine = [(r.kind, r.at, r.data, r.body) for r in records if int(path.stem) <= r.seq < until]
        before = write(directory / "journal" / path.name, mine, before=before)
    return directory


@pytest.fixture
def home(of_today, tmp_path) -> Path:
    return older(of_today, tmp_path / "var")


def facts(directory: Path) -> list[tuple[object, ...]]:
    return [(r.seq, r.kind, r.at, r.data, r.sha256, r.size, r.body) for r in read(directory / "journal")]


def pages(directory: Path) -> dict[int, bytes]:
    return {record.seq: record.body for record in read(directory / "journal") if record.size and not record.is_dropped}


def begins(directory: Path) -> list[bytes]:
    return [path.read_bytes()[:8] for path in sorted((directory / "journal").glob("*.journal"))]


def test_every_record_reads_as_it_does_today_and_gives_a_store_that_verifies(of_today, home):
    assert facts(home) == facts(of_today)
    rebuild.rebuild(home)
    assert agreed(home).invoices == agreed(of_today).invoices > 0


def test_it_goes_on_in_a_segment_of_todays_format_and_stays_as_it_was(home):
    before = {path: path.read_bytes() for path in (home / "journal").glob("*.journal")}
    with ledger.open_ledger(home, lambda: NOW) as books:
        seq = books.record("page", PAGE, body=b"no page")
    assert begins(home) == [b"METERJ2\n", b"METERJ2\n", b"METERJ3\n"]
    assert all(path.read_bytes() == content for path, content in before.items())
    assert [(record.seq, record.body) for record in read(home / "journal", after=seq - 1)] == [(seq, b"no page")]
    agreed(home)


def test_its_torn_tail_is_cut_and_a_segment_of_it_without_a_record_is_begun_anew(home):
    whole, last = list(read(home / "journal")), max((home / "journal").glob("*.journal"))
    last.write_bytes(last.read_bytes() + b"REC \0\0\0\7")
    write(home / "journal" / f"{len(whole) + 1:010d}.journal", [], before=whole[-1].hash)
    with pytest.raises(JournalDamagedError, match="ends inside record"):
        list(read(home / "journal"))  # that was the last segment's tail before the next one was begun
    last.write_bytes(last.read_bytes()[:-8])
    books = Journal(home / "journal")
    books.append("cycle", {}, at=NOW)
    books.close()
    assert begins(home) == [b"METERJ2\n", b"METERJ2\n", b"METERJ3\n"]
    assert [record.seq for record in read(home / "journal")] == [*range(1, len(whole) + 2)]


def test_a_changed_byte_of_it_is_found(home):
    last = max((home / "journal").glob("*.journal"))
    content = bytearray(last.read_bytes())
    for at in (50, len(content) // 2, len(content) - 1):
        content[at] ^= 4
        last.write_bytes(content)
        with pytest.raises(JournalDamagedError):
            list(read(home / "journal"))
        content[at] ^= 4


def test_it_is_backed_up_and_restores_to_a_store_that_verifies(home, tmp_path):
    rebuild.rebuild(home)
    made = backup.backup(home, tmp_path / "backups", NOW)
    restoring.put(restoring.opened(made.path, None), tmp_path / "restored")
    assert facts(tmp_path / "restored") == facts(home)
    agreed(tmp_path / "restored")


def test_its_old_pages_go_as_todays_do_and_the_rest_stays(home):
    rebuild.rebuild(home)
    before = pages(home)
    tended(home)
    assert bodies(home) == DROPPED
    assert {seq: body for seq, body in before.items() if seq in pages(home)} == pages(home)
    assert begins(home)[0] == b"METERJ2\n"
    rebuild.rebuild(home)
    agreed(home)
