"""The journal: appended records are read back, torn tails are cut, changes are detected."""

import hashlib
import struct
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metering.core.errors import JournalDamagedError
from metering.store import journal
from metering.store.journal import FILE_HEADER_BYTES, Journal, read
from metering.store.record import HASH_BYTES

AT = datetime(2026, 10, 1, 12, tzinfo=UTC)
FIRST = "0000000001.journal"
HEAD = struct.Struct(">4sQIIIII")


def written(directory: Path, count: int = 3, segment_bytes: int = journal.SEGMENT_BYTES) -> Path:
    """A journal of `count` records; its first file."""
    books = Journal(directory, segment_bytes=segment_bytes)
    for number in range(1, count + 1):
        books.append("page", {"number": number}, at=AT, body=b"body %d " % number * 5)
    books.close()
    return directory / FIRST


def facts(directory: Path, after: int = 0) -> list[tuple[int, str, dict[str, object], bytes]]:
    return [(record.seq, record.kind, record.data, record.body) for record in read(directory, after=after)]


THREE = [
    (1, "page", {"number": 1}, b"body 1 body 1 body 1 body 1 body 1 "),
    (2, "page", {"number": 2}, b"body 2 body 2 body 2 body 2 body 2 "),
    (3, "page", {"number": 3}, b"body 3 body 3 body 3 body 3 body 3 "),
]


def ends(file: Path) -> list[int]:
    """Offsets of the end of the file header and of each record."""
    content, out = file.read_bytes(), [FILE_HEADER_BYTES]
    while out[-1] < len(content):
        _, _, header, size, stored, _, _ = HEAD.unpack_from(content, out[-1])
        hashes = HASH_BYTES * ((size > 0) + (stored > 0) + 1)
        out.append(out[-1] + HEAD.size + header + stored + hashes)
    return out


def aside(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(directory.glob("torn-*"))]


# -- append and read


def test_what_was_appended_is_read_in_order(tmp_path):
    written(tmp_path)
    assert facts(tmp_path) == THREE


def test_reading_after_a_number_leaves_out_what_is_known(tmp_path):
    written(tmp_path)
    assert facts(tmp_path, after=2) == THREE[2:]
    assert facts(tmp_path, after=3) == []


def test_a_record_says_when_it_was_written_by_the_clock_it_was_given(tmp_path):
    books = Journal(tmp_path)
    record = books.append("cycle", {}, at=datetime.fromisoformat("2026-10-01T14:00:00+02:00"))
    books.close()
    assert record.at == "2026-10-01T12:00:00Z"
    assert [(found.at, found.body, found.hash) for found in read(tmp_path)] == [(record.at, b"", record.hash)]


def test_an_empty_journal_holds_nothing(tmp_path):
    Journal(tmp_path).close()
    assert facts(tmp_path) == []
    assert facts(tmp_path / "nowhere") == []


def test_a_record_that_was_just_appended_has_its_body_without_decompressing_it(tmp_path):
    books, body = Journal(tmp_path), b"a page" * 100
    appended = books.append("page", {}, at=AT, body=body)
    books.close()
    assert appended.body is body
    [found] = read(tmp_path)
    assert (found, found.body, found.plain) == (appended, body, None)


def test_a_journal_goes_on_where_it_ended(tmp_path):
    written(tmp_path, count=2)
    books = Journal(tmp_path)
    assert books.seq == 2
    books.append("page", {"number": 3}, at=AT, body=b"body 3 " * 5)
    assert [record.seq for record in read(tmp_path, after=1)] == [2, 3]
    books.close()
    assert facts(tmp_path) == THREE


def test_the_same_facts_give_the_same_bytes(tmp_path):
    assert written(tmp_path / "a").read_bytes() == written(tmp_path / "b").read_bytes()


def test_nobody_else_may_read_it(tmp_path):
    file = written(tmp_path / "journal")
    file.write_bytes(file.read_bytes()[:-1])
    Journal(tmp_path / "journal").close()
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "journal").iterdir()} == {0o600}
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o700


# -- a torn tail


def test_a_tail_torn_at_any_byte_is_cut_and_set_aside(tmp_path):
    content = written(tmp_path / "whole").read_bytes()
    last = ends(tmp_path / "whole" / FIRST)[-2]
    for length in range(last + 1, len(content)):
        directory = tmp_path / str(length)
        directory.mkdir()
        (directory / FIRST).write_bytes(content[:length])
        books = Journal(directory)
        assert (books.seq, facts(directory)) == (2, THREE[:2]), length
        books.append("page", {"number": 3}, at=AT, body=b"body 3 " * 5)
        books.close()
        assert (directory / FIRST).read_bytes() == content, length
        assert aside(directory) == [content[last:length]], length


def test_a_tail_whose_end_reads_as_zeros_is_torn_too(tmp_path):
    content = written(tmp_path / "whole").read_bytes()
    last = ends(tmp_path / "whole" / FIRST)[-2]
    for length in range(last, len(content)):
        directory = tmp_path / str(length)
        directory.mkdir()
        (directory / FIRST).write_bytes(content[:length].ljust(len(content) + 100, b"\0"))
        Journal(directory).close()
        assert facts(directory) == THREE[:2], length


def test_a_whole_journal_has_nothing_set_aside(tmp_path):
    written(tmp_path)
    Journal(tmp_path).close()
    assert aside(tmp_path) == []


@pytest.mark.parametrize("length", [0, 1, FILE_HEADER_BYTES - 1])
def test_a_segment_that_was_not_begun_is_begun_again(tmp_path, length):
    file = written(tmp_path, count=1)
    content = file.read_bytes()
    file.write_bytes(content[:length])
    assert written(tmp_path, count=1).read_bytes() == content


def test_a_segment_whose_header_reads_as_zeros_is_begun_again(tmp_path):
    file = written(tmp_path, count=1)
    content = file.read_bytes()
    file.write_bytes(bytes(FILE_HEADER_BYTES))
    assert written(tmp_path, count=1).read_bytes() == content


def test_reading_without_repair_refuses_a_torn_tail(tmp_path):
    file = written(tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(JournalDamagedError, match="ends inside record 3"):
        facts(tmp_path)


# -- damage


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_a_flipped_bit_in_any_byte_of_a_middle_record_is_found(tmp_path, bit):
    file = written(tmp_path)
    content = file.read_bytes()
    _, start, stop, _ = ends(file)
    for at in range(start, stop):
        changed = bytearray(content)
        changed[at] ^= bit
        file.write_bytes(changed)
        with pytest.raises(JournalDamagedError):
            facts(tmp_path)
        with pytest.raises(JournalDamagedError):
            Journal(tmp_path)
        assert file.read_bytes() == changed, "damage is left for a person to look at"
    assert aside(tmp_path) == []


def test_a_flipped_bit_in_any_byte_of_the_file_header_is_found(tmp_path):
    file = written(tmp_path)
    content = file.read_bytes()
    for at in range(FILE_HEADER_BYTES):
        changed = bytearray(content)
        changed[at] ^= 0x04
        file.write_bytes(changed)
        with pytest.raises(JournalDamagedError):
            facts(tmp_path)
        with pytest.raises(JournalDamagedError):
            Journal(tmp_path)


def test_a_flipped_bit_in_any_byte_of_the_last_record_is_never_read_as_a_fact(tmp_path):
    file = written(tmp_path)
    content = file.read_bytes()
    for at in range(ends(file)[-2], len(content)):
        changed = bytearray(content)
        changed[at] ^= 0x10
        file.write_bytes(changed)
        with pytest.raises(JournalDamagedError):
            facts(tmp_path)


def test_a_record_taken_out_of_the_middle_is_found(tmp_path):
    file = written(tmp_path)
    content = file.read_bytes()
    _, start, stop, _ = ends(file)
    file.write_bytes(content[:start] + content[stop:])
    with pytest.raises(JournalDamagedError, match="record 2"):
        facts(tmp_path)


def test_records_of_another_journal_do_not_continue_this_one(tmp_path):
    ours, other = written(tmp_path / "ours", count=2), tmp_path / "other"
    books = Journal(other)
    books.append("page", {"number": 7}, at=AT)
    books.append("page", {"number": 2}, at=AT, body=b"body 2 " * 5)
    books.close()
    _, start, _ = ends(other / FIRST)
    ours.write_bytes(ours.read_bytes()[: ends(ours)[1]] + (other / FIRST).read_bytes()[start:])
    with pytest.raises(JournalDamagedError):
        facts(tmp_path / "ours")


# -- segments


@pytest.fixture
def segments(tmp_path) -> list[Path]:
    """Three segments of one record each."""
    written(tmp_path, segment_bytes=FILE_HEADER_BYTES + 1)
    return sorted(tmp_path.glob("*.journal"))


def test_a_full_segment_is_followed_by_one_named_after_its_first_record(tmp_path, segments):
    assert [path.name for path in segments] == [FIRST, "0000000002.journal", "0000000003.journal"]
    assert facts(tmp_path) == THREE
    assert facts(tmp_path, after=2) == THREE[2:]
    books = Journal(tmp_path)
    assert books.seq == 3
    books.close()


def test_a_segment_begins_with_the_hash_that_the_chain_had(segments):
    before = segments[0].read_bytes()[-HASH_BYTES:]
    assert segments[1].read_bytes()[:FILE_HEADER_BYTES] == b"METERJ3\n" + before


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_segment_is_found(tmp_path, segments, missing):
    segments[missing].unlink()
    with pytest.raises(JournalDamagedError):
        facts(tmp_path)


def test_a_segment_that_nothing_was_written_to_yet_is_no_fault(tmp_path, segments):
    segments[2].write_bytes(segments[2].read_bytes()[:FILE_HEADER_BYTES])
    assert facts(tmp_path) == THREE[:2]
    books = Journal(tmp_path)
    assert books.seq == 2
    books.append("page", {"number": 3}, at=AT, body=b"body 3 " * 5)
    books.close()
    assert facts(tmp_path) == THREE


def test_a_torn_record_that_is_not_the_last_is_damage(tmp_path, segments):
    segments[0].write_bytes(segments[0].read_bytes()[:-1])
    with pytest.raises(JournalDamagedError, match="ends inside record 1"):
        facts(tmp_path)


# -- a full disk

FULL_DISK = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from metering.store import journal

at, directory = datetime(2026, 10, 1, tzinfo=UTC), Path(sys.argv[1])
books = journal.Journal(directory, segment_bytes=int(sys.argv[2]))
books.append("page", {"number": "before"}, at=at)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
kept = failed = 0
for number in range(40):
    try:
        books.append("page", {"number": number}, at=at)
        kept += 1
    except OSError:
        failed += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
books.append("page", {"number": "after"}, at=at)
books.close()
print(kept, failed, len(list(journal.read(directory))))
"""


def full_disk(directory: Path, segment_bytes: int, limit: int) -> list[int]:
    """(kept, failed, read at the end) of 40 appends under a file-size limit, one append before it and one after it."""
    command = [sys.executable, "-c", FULL_DISK, str(directory), str(segment_bytes), str(limit)]
    top = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=top, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return [int(text) for text in done.stdout.split()]


@pytest.mark.parametrize("limit", [1000, 1001, 1013, 1050])
def test_a_full_disk_takes_back_what_did_not_fit_and_the_journal_goes_on_with_room(tmp_path, limit):
    kept, failed, found = full_disk(tmp_path, 1 << 26, limit)
    assert kept > 0
    assert failed == 40 - kept
    assert found == kept + 2
    assert [record.data["number"] for record in read(tmp_path)] == ["before", *range(kept), "after"]


def test_a_full_disk_at_a_new_segment_leaves_no_half_of_one(tmp_path):
    # 30 bytes of room: not even the header of the next segment fits.
    assert full_disk(tmp_path, FILE_HEADER_BYTES + 1, 30) == [0, 40, 2]
    assert [path.name for path in sorted(tmp_path.iterdir())] == [FIRST, "0000000002.journal"]


# -- bodies that are dropped


@pytest.fixture
def months(tmp_path) -> Path:
    """Two records of October, two of November; so two segments."""
    books = Journal(tmp_path)
    for number, month in enumerate((10, 10, 11, 11), start=1):
        books.append("page", {"number": number}, at=AT.replace(month=month), body=b"body %d " % number * 5)
    books.close()
    return tmp_path


def test_a_segment_ends_with_its_month(months):
    assert [(found.path.name, found.first, found.last) for found in journal.sealed(months)] == [(FIRST, 1, 2)]
    assert sorted(path.name for path in months.iterdir()) == [FIRST, "0000000003.journal"]
    books = Journal(months)
    books.append("page", {"number": 5}, at=AT.replace(month=11))
    books.append("page", {"number": 6}, at=AT.replace(month=12))
    books.close()
    assert sorted(path.name for path in months.iterdir()) == [FIRST, "0000000003.journal", "0000000006.journal"]


def test_a_dropped_body_leaves_header_and_hashes_and_the_chain_holds(months):
    before = list(read(months))
    [segment] = journal.sealed(months)
    size = (months / FIRST).stat().st_size

    freed = journal.drop_bodies(segment, lambda record: record.seq == 2)

    after = list(read(months))
    assert freed == size - (months / FIRST).stat().st_size == len(before[1].packed)
    assert [record.is_dropped for record in after] == [False, True, False, False]
    assert [(r.seq, r.data, r.sha256, r.hash) for r in after] == [(r.seq, r.data, r.sha256, r.hash) for r in before]
    assert after[0].body == before[0].body
    with pytest.raises(JournalDamagedError, match="the body of record 2 was dropped"):
        _ = after[1].body
    assert (months / FIRST).stat().st_mode & 0o777 == 0o600


def test_dropping_again_changes_nothing_and_more_may_go_later(months):
    [segment] = journal.sealed(months)
    journal.drop_bodies(segment, lambda record: record.seq == 2)
    content = (months / FIRST).read_bytes()
    assert journal.drop_bodies(segment, lambda record: record.seq == 2) == 0
    assert (months / FIRST).read_bytes() == content
    assert journal.drop_bodies(segment, lambda _: True) > 0
    assert [record.is_dropped for record in read(months)] == [True, True, False, False]
    assert sorted(path.name for path in months.iterdir()) == [FIRST, "0000000003.journal"]


def test_a_flipped_bit_in_any_byte_of_a_segment_without_bodies_is_found(months):
    [segment] = journal.sealed(months)
    journal.drop_bodies(segment, lambda _: True)
    content = segment.path.read_bytes()
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 0x02
        segment.path.write_bytes(changed)
        with pytest.raises(JournalDamagedError):
            list(read(months))


def test_a_damaged_segment_is_not_written_anew(months):
    [segment] = journal.sealed(months)
    content = bytearray(segment.path.read_bytes())
    content[-1] ^= 1
    segment.path.write_bytes(content)
    with pytest.raises(JournalDamagedError):
        journal.drop_bodies(segment, lambda _: True)
    assert segment.path.read_bytes() == content


def test_a_journal_of_the_first_format_is_refused_with_the_way_out(tmp_path):
    (tmp_path / FIRST).write_bytes(b"METERJ1\n" + bytes(32) + b"REC ")
    with pytest.raises(JournalDamagedError, match="is of the first format") as refused:
        Journal(tmp_path)
    assert "backfill" in refused.value.hint


# -- bodies that refer to earlier ones


def noise(hashes: int) -> bytes:
    """Bytes that do not compress, 32 for each hash."""
    return b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(hashes))


def test_a_page_of_twelve_megabytes_that_hardly_changed_costs_what_changed(tmp_path):
    rows = noise(190_000).hex().encode()[:12_000_000]
    books = Journal(tmp_path)
    books.append("page", {}, at=AT, body=rows, stream="a")
    before = (tmp_path / FIRST).stat().st_size
    changed = rows[:6_000_000] + b"something new" + rows[6_000_000:]
    books.append("page", {}, at=AT, body=changed, stream="a")
    books.close()
    assert (tmp_path / FIRST).stat().st_size - before < 1500
    assert [record.body for record in read(tmp_path)] == [rows, changed]


def test_a_segment_that_is_large_ends_with_the_day_and_the_next_day_needs_nothing_of_it(tmp_path):
    books = Journal(tmp_path, segment_bytes=16 * 1000)
    for day in (1, 1, 2, 2, 3):
        books.append("page", {}, at=AT.replace(day=day), body=b"a page" * 300 + b"%d" % books.seq, stream="a")
        if books.seq == 2:
            books.append("page", {}, at=AT, body=noise(40))
    books.close()
    first, last = sorted(tmp_path.glob("*.journal"))
    assert last.name == "0000000004.journal"
    first.unlink()
    assert [record.body[-1:] for record in read(tmp_path, after=3)] == [b"3", b"4", b"5"]


def test_a_body_that_cannot_be_opened_any_more_is_no_base_of_a_new_one(tmp_path):
    books = Journal(tmp_path)
    for number in range(3):
        books.append("page", {}, at=AT, body=b"a page" * 300 + b"%d" % (number // 2), stream="a")
        if number == 1:
            file = tmp_path / FIRST
            content = bytearray(file.read_bytes())
            content[ends(file)[1] - HASH_BYTES - 1] ^= 1  # the last stored byte of the first record
            file.write_bytes(content)
    books.close()
    content[ends(file)[1] - HASH_BYTES - 1] ^= 1
    file.write_bytes(bytes(content[: ends(file)[2]]) + file.read_bytes()[ends(file)[2] :])
    first, same, whole = read(tmp_path)
    assert (first.packed != b"", same.packed, whole.opener) == (True, b"", None)
    assert whole.body == b"a page" * 300 + b"1"
