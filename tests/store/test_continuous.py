"""A continuous backup is a whole past of the journal at any moment, and costs what is new."""

import json
import random
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from metering.core.errors import BackupError, JournalDamagedError, MeteringError, UsageError
from metering.store import checkpoint, continuous, copying, lines, restoring
from metering.store.continuous import Source
from metering.store.journal import JOURNAL, Journal, drop_bodies, read, sealed
from metering.store.record import CLOCK_BACK

NOON = datetime(2026, 10, 15, 12, tzinfo=UTC)


class Kept:
    """A journal with a backup: `write` appends a record per hour from noon on and brings the backup up to date."""

    def __init__(self, directory, *, segment_bytes=1 << 20, epoch=""):
        self.directory, self.target = directory / "var", directory / "backup"
        self.target.mkdir(exist_ok=True)
        self.segment_bytes, self.epoch, self.files = segment_bytes, epoch, {}
        self.written = 0

    def record(self, *records):
        self.directory.mkdir(exist_ok=True)
        journal = Journal(self.directory / JOURNAL, segment_bytes=self.segment_bytes)
        for kind, data, at, body in records:
            journal.append(kind, data, at=at, body=body)
        journal.close()
        self.seq, self.latest_at = journal.seq, journal.latest_at

    def hourly(self, count=1, body_bytes=100, salt=""):
        for number in range(self.written, self.written + count):
            body = random.Random(f"{salt}{number}").randbytes(body_bytes)
            self.record(("page", {"n": number}, NOON + timedelta(hours=number), body))
        self.written += count
        return self

    def source(self):
        return Source(
            directory=self.directory, epoch=self.epoch, records=self.seq, latest_at=self.latest_at, files=self.files
        )

    def follow(self, **more):
        return continuous.follow(self.source(), self.target, self.latest_at, **more)

    @property
    def line(self):
        return self.target / lines.name_of(self.epoch)

    def hashes(self):
        return [record.hash for record in read(self.directory / JOURNAL)]


def restored(kept, to, until=None, source=None):
    past = restoring.opened(source or kept.target, until)
    restoring.put(past, to)
    return [record.hash for record in read(to / JOURNAL)]


@pytest.fixture
def kept(tmp_path):
    found = Kept(tmp_path).hourly(3)
    assert found.follow() == 0
    return found


def test_what_is_restored_is_what_was_written(kept, tmp_path):
    assert restored(kept, tmp_path / "new") == kept.hashes()
    assert (tmp_path / "new" / JOURNAL / "backup").exists()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["journal", "lock"]


def test_only_what_is_new_is_written(tmp_path):
    kept = Kept(tmp_path, segment_bytes=2_000).hourly(40)
    kept.follow()
    files = {path: path.stat() for path in kept.line.rglob("*") if path.is_file()}
    kept.hourly()
    kept.follow()
    last = max((kept.line / JOURNAL).glob("*.journal"))
    changed = {path for path, was in files.items() if path.stat().st_mtime_ns != was.st_mtime_ns}
    assert changed - {last} == {kept.line / "manifest.json"}
    assert len(files) > 4
    before = {path: path.stat().st_mtime_ns for path in kept.line.rglob("*")}
    kept.follow()
    assert {path: path.stat().st_mtime_ns for path in kept.line.rglob("*")} == before


def test_bytes_that_were_never_acknowledged_do_not_count_and_are_written_over(kept, tmp_path):
    segment = next((kept.line / JOURNAL).glob("*.journal"))
    with segment.open("ab") as file:
        file.write(b"REC half of a record, then the disk was full")
    assert restored(kept, tmp_path / "new") == kept.hashes()
    kept.hourly()
    kept.follow()
    assert restored(kept, tmp_path / "newer") == kept.hashes()


def test_a_journal_of_many_segments_is_kept_while_it_grows(tmp_path):
    kept = Kept(tmp_path, segment_bytes=1_000)
    for number in range(12):
        kept.hourly(number % 4 + 1)
        kept.follow()
    assert len(list((kept.line / JOURNAL).glob("*.journal"))) > 3
    assert restored(kept, tmp_path / "new") == kept.hashes()


def test_a_copy_that_is_told_to_end_is_a_whole_past_and_goes_on_later(tmp_path):
    kept = Kept(tmp_path, segment_bytes=1_000).hourly(20)
    answers = iter([True] * 3)
    lacks = kept.follow(goes_on=lambda: next(answers, False))
    assert 0 < lacks < 20
    assert restored(kept, tmp_path / "part") == kept.hashes()[: 20 - lacks]
    assert kept.follow() == 0
    assert restored(kept, tmp_path / "new") == kept.hashes()


# -- a moment of the past


@pytest.mark.parametrize(("hours", "records"), [(0, 1), (1, 2), (1.5, 2), (9, 3)])
def test_a_moment_of_the_past_has_the_records_written_until_then(kept, tmp_path, hours, records):
    assert restored(kept, tmp_path / "new", NOON + timedelta(hours=hours)) == kept.hashes()[:records]


def test_a_moment_before_the_first_record_is_refused_and_the_first_is_named(kept, tmp_path):
    with pytest.raises(UsageError, match="nothing was recorded at 2026-10-15T11:00:00Z") as refused:
        restored(kept, tmp_path / "new", NOON - timedelta(hours=1))
    assert "2026-10-15T12:00:00Z" in refused.value.hint
    assert not (tmp_path / "new").exists()


def test_a_record_of_a_clock_that_was_behind_counts_after_the_one_before_it(tmp_path):
    kept = Kept(tmp_path)
    behind = {CLOCK_BACK: "2026-10-15T12:00:00Z"}
    kept.record(
        ("a", {}, NOON, b""), ("b", behind, NOON - timedelta(hours=5), b""), ("c", {}, NOON.replace(hour=13), b"")
    )
    kept.follow()
    with pytest.raises(UsageError):
        restored(kept, tmp_path / "early", NOON - timedelta(hours=4))
    assert restored(kept, tmp_path / "new", NOON) == kept.hashes()[:2]


def test_a_clock_that_was_ahead_and_was_adopted_hides_nothing_from_a_later_moment(tmp_path):
    kept = Kept(tmp_path)
    ahead = NOON.replace(year=2027)
    kept.record(("a", {}, NOON, b""), ("b", {}, ahead, b""), ("adopt", {}, NOON.replace(hour=14), b""))
    kept.follow()
    assert len(restored(kept, tmp_path / "before", NOON.replace(hour=13))) == 1
    assert len(restored(kept, tmp_path / "after", NOON.replace(hour=15))) == 3


def test_the_configuration_is_the_one_that_was_in_force(tmp_path):
    kept, file = Kept(tmp_path), tmp_path / "config.toml"
    kept.files = {"config.toml": file}
    for number in range(3):
        file.write_text(f"version {number}")
        kept.hourly(2)
        kept.follow()
    told = [
        restoring.opened(kept.target, NOON + timedelta(hours=hours)).configuration["config.toml"].decode()
        for hours in range(6)
    ]
    assert told == ["version 0", "version 0", "version 1", "version 1", "version 2", "version 2"]
    assert restoring.opened(kept.target, None).configuration["config.toml"] == b"version 2"


def test_a_configuration_that_went_back_to_what_it_was_is_that_again(tmp_path):
    kept, file = Kept(tmp_path), tmp_path / "config.toml"
    kept.files = {"config.toml": file}
    for text in ("a", "b", "a"):
        file.write_text(text)
        kept.hourly()
        kept.follow()
    assert restoring.opened(kept.target, None).configuration["config.toml"] == b"a"
    assert len(list((kept.line / "configuration").glob("*.zst"))) == 2


# -- whose it is


def test_a_directory_that_is_not_there_is_never_made(tmp_path):
    kept = Kept(tmp_path).hourly()
    kept.target.rmdir()
    with pytest.raises(BackupError, match="is not there"):
        kept.follow()
    assert not kept.target.exists()


def test_an_empty_directory_where_the_backup_was_is_not_taken_for_a_new_one(kept):
    shutil.move(kept.target, kept.target.with_name("unmounted"))
    kept.target.mkdir()
    kept.hourly()
    with pytest.raises(BackupError, match="is gone") as refused:
        kept.follow()
    assert "metering backup --begin" in refused.value.hint
    assert [path.name for path in kept.target.iterdir()] == ["lock"]
    assert kept.follow(begins=True) == 0


def test_a_backup_that_is_begun_anew_leaves_the_old_one_beside_it(kept, tmp_path):
    (kept.line / "manifest.json").unlink()
    with pytest.raises(BackupError):
        kept.follow()
    assert kept.follow(begins=True) == 0
    assert (kept.target / "replaced-1-line-first" / JOURNAL / "0000000001.journal").exists()
    assert restored(kept, tmp_path / "new") == kept.hashes()


def test_the_backup_of_another_store_is_left_alone(kept, tmp_path):
    (tmp_path / "b").mkdir()
    other = Kept(tmp_path / "b")
    other.target = kept.target
    other.record(("other", {}, NOON, b""))
    before = {path: path.read_bytes() for path in kept.target.rglob("*") if path.is_file()}
    with pytest.raises(BackupError, match="another store"):
        other.follow()
    with pytest.raises(BackupError, match="another store"):
        other.follow(begins=True)
    assert {path: path.read_bytes() for path in kept.target.rglob("*") if path.is_file()} == before


def copy_of(kept, directory):
    directory.mkdir()
    shutil.copytree(kept.directory, directory / "var")
    copy = Kept(directory)
    copy.target, copy.written, copy.seq, copy.latest_at = kept.target, kept.written, kept.seq, kept.latest_at
    return copy


def test_of_two_copies_only_the_first_goes_on_in_the_backup(kept, tmp_path):
    copy = copy_of(kept, tmp_path / "copy")
    kept.hourly()
    kept.follow()
    before = (kept.line / "manifest.json").read_bytes()
    with pytest.raises(BackupError, match="this store ends before them"):
        copy.follow()
    copy.hourly(3, salt="other")
    with pytest.raises(BackupError, match="goes on otherwise"):
        copy.follow()
    assert (kept.line / "manifest.json").read_bytes() == before
    assert kept.hourly().follow() == 0


def test_a_store_of_a_new_epoch_has_a_line_of_its_own_beside_the_old_one(kept, tmp_path):
    copy = copy_of(kept, tmp_path / "copy")
    kept.hourly()
    kept.follow()
    old = {path: path.read_bytes() for path in kept.line.rglob("*") if path.is_file()}
    copy.epoch = "1f2e3d4c"
    copy.hourly(salt="other")
    assert copy.follow() == 0
    assert {path: path.read_bytes() for path in kept.line.rglob("*") if path.is_file()} == old
    assert restored(copy, tmp_path / "new") == copy.hashes()
    past = restoring.opened(kept.target, None)
    assert past.path.name == "line-1f2e3d4c"
    assert past.others == ("line-first: 4 records, written at 2026-10-15T15:00:00Z",)
    assert restored(kept, tmp_path / "older", source=kept.line) == kept.hashes()


# -- what retention does


def test_a_segment_that_was_written_anew_is_copied_anew(tmp_path):
    kept = Kept(tmp_path, segment_bytes=3_000).hourly(30)
    kept.follow()
    drop_bodies(sealed(kept.directory / JOURNAL)[0], lambda record: True)
    kept.hourly()
    kept.follow()
    for segment in (kept.directory / JOURNAL).glob("*.journal"):
        assert (kept.line / JOURNAL / segment.name).read_bytes() == segment.read_bytes()


def test_the_last_segment_may_be_written_anew_while_the_backup_is_behind(tmp_path):
    kept = Kept(tmp_path, segment_bytes=3_000).hourly(5, body_bytes=500)
    kept.follow()
    kept.hourly(30, body_bytes=500)
    for segment in sealed(kept.directory / JOURNAL):
        drop_bodies(segment, lambda record: True)
    kept.follow()
    for segment in (kept.directory / JOURNAL).glob("*.journal"):
        assert (kept.line / JOURNAL / segment.name).read_bytes() == segment.read_bytes()


def test_pages_that_were_dropped_need_a_checkpoint_of_that_time(tmp_path):
    kept = Kept(tmp_path, segment_bytes=1_000).hourly(20)
    drop_bodies(sealed(kept.directory / JOURNAL)[0], lambda record: True)
    kept.follow()
    with pytest.raises(JournalDamagedError, match="no whole checkpoint of that time"):
        restored(kept, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_checkpoints_come_and_go_with_those_of_the_store(kept):
    made = kept.directory / JOURNAL / "checkpoint-0000000002"
    made.mkdir()
    (made / "page.parquet").write_bytes(b"PAR1")
    (made / "manifest.json").write_text("{}")
    kept.follow()
    assert [one.seq for one in checkpoint.checkpoints(kept.line / JOURNAL)] == [2]
    shutil.rmtree(made)
    kept.follow()
    assert checkpoint.checkpoints(kept.line / JOURNAL) == []


# -- damage


def told_or(whole, kept):
    try:
        return restoring.opened(kept.target, None) == whole
    except MeteringError:
        return True


def test_a_flipped_bit_anywhere_in_a_backup_is_told_or_changes_nothing(kept, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("a = 1")
    kept.files = {"config.toml": config}
    kept.follow()
    whole = restoring.opened(kept.target, None)
    for path in [path for path in kept.line.rglob("*") if path.is_file() and path.name != "backup"]:
        content = path.read_bytes()
        for place in range(0, len(content), max(1, len(content) // 24)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            assert told_or(whole, kept), (path, place)
        path.write_bytes(content)


def test_a_backup_that_lost_bytes_is_told_when_it_is_brought_up_to_date(kept):
    segment = next((kept.line / JOURNAL).glob("*.journal"))
    copying.cut(segment, segment.stat().st_size - 10)
    kept.hourly()
    with pytest.raises(BackupError, match="backup"):
        kept.follow()


def test_a_failed_write_is_told_with_its_file(kept):
    (kept.target / "lock").unlink()
    (kept.target / "lock").mkdir()  # as root's, nothing else is refused
    with pytest.raises(BackupError, match="lock: Is a directory"):
        kept.follow()


def test_what_is_no_backup_is_said_to_be_none(tmp_path):
    with pytest.raises(UsageError, match="is no backup"):
        restoring.opened(tmp_path, None)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(UsageError, match="cannot be read"):
        restoring.opened(tmp_path, None)


def test_a_restore_that_was_killed_is_begun_anew(kept, tmp_path):
    (tmp_path / "new" / "journal.tmp").mkdir(parents=True)
    (tmp_path / "new" / "journal.tmp" / "0000000001.journal").write_bytes(b"half")
    assert restored(kept, tmp_path / "new") == kept.hashes()


def test_names_from_outside_stay_inside(tmp_path):
    written = restoring.lay_out({"config.toml": b"a", "../x": b"b", "/etc/acme/y.csv": b"c"}, tmp_path / "to")
    assert [str(path.relative_to(tmp_path)) for path in written] == [
        "to/config.toml",
        "to/elsewhere/..-x",
        "to/elsewhere/etc-acme-y.csv",
    ]
    assert restoring.lay_out({"config.toml": b"other"}, tmp_path / "to") == []


def test_the_files_of_a_backup_are_their_owner_s_alone(kept):
    for path in kept.line.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_manifest_says_how_far_it_is_and_is_json(kept):
    found = json.loads((kept.line / "manifest.json").read_text())["line"]
    assert (found["records"], found["segment"]) == (3, "0000000001.journal")
    state = continuous.state_of(kept.directory)
    assert state == continuous.State(
        directory=str(kept.target), line="line-first", records=3, written_at="2026-10-15T14:00:00Z"
    )
    assert replace(kept.source(), records=0).records == 0
