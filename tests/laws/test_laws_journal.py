"""Laws of the journal: whatever was appended, in whatever order and with whatever happens between, comes back."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.core.errors import JournalDamagedError
from metering.store import journal, segments
from metering.store.journal import FILE_HEADER_BYTES, Journal, read
from tests.support.second_format import write

LAW = settings(max_examples=60, deadline=None)
FIRST_DAY = datetime(2026, 10, 29, tzinfo=UTC)
_ALIKE = b'{"project_id":"quiet-river-1","metrics":[{"name":"compute_unit_seconds","value":7}]},' * 4
_EDGES = [b"", b"\0", b"x", b"1234567", b"\x37\xa4\x30\xec" * 3, _ALIKE, bytes(300_000)]

bodies = st.one_of(
    st.sampled_from(_EDGES),
    st.binary(max_size=400),
    st.builds(
        lambda at, cut, more: _ALIKE[:at] + more + _ALIKE[at + cut :],
        *[st.integers(0, 340)] * 2,
        st.binary(max_size=30),
    ),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["", "a", "a", "a", "b"]), bodies),
        st.sampled_from(["again", "restart", "torn", "next day", "next month", "back a day"]),
    ),
    max_size=40,
)


class Life:
    """A journal, and what it must give back."""

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        self.directory, self.segment_bytes = directory, segment_bytes
        self.now, self.told = FIRST_DAY, list[tuple[int, str, bytes]]()
        self.books = Journal(directory, segment_bytes=segment_bytes)
        self.last = ("a", b"x")

    def take(self, step: str | tuple[str, bytes]) -> None:
        if isinstance(step, tuple):
            self.last = step
        if isinstance(step, tuple) or step == "again":
            stream, body = self.last
            record = self.books.append("page", {"n": len(self.told)}, at=self.now, body=body, stream=stream)
            assert record.body == body
            self.told.append((record.seq, record.sha256, body))
        elif step in {"restart", "torn"}:
            self.books.close()
            if step == "torn":
                last = segments.files(self.directory)[-1]
                last.write_bytes(last.read_bytes() + b"REC \0\0\0")
            self.books = Journal(self.directory, segment_bytes=self.segment_bytes)
        else:
            days = {"next day": 1, "next month": 31, "back a day": -1}
            self.now += timedelta(days=days[step])

    def agrees(self) -> None:
        found = list(read(self.directory))
        assert [(record.seq, record.sha256, record.body) for record in found] == self.told
        for path in segments.files(self.directory):
            alone = segments.records(path)
            assert all(record.body == self.told[record.seq - 1][2] for record in alone), "a segment stands alone"


@contextmanager
def life(segment_bytes: int) -> Iterator[Life]:
    with tempfile.TemporaryDirectory() as name:
        found = Life(Path(name) / "journal", segment_bytes)
        with closing(found.books):
            yield found
        found.books.close()


@LAW
@given(steps, st.sampled_from([FILE_HEADER_BYTES + 1, 2000, journal.SEGMENT_BYTES]))
def test_every_body_comes_back_whatever_comes_before_it_and_a_restart_writes_the_same_bytes(taken, segment_bytes):
    with life(segment_bytes) as one, life(segment_bytes) as other:
        for step in taken:
            one.take(step)
            if step not in {"restart", "torn"}:
                other.take(step)
        one.agrees()
        names = [path.name for path in segments.files(one.directory)]
        for name in names:
            assert (one.directory / name).read_bytes() == (other.directory / name).read_bytes()


@LAW
@given(steps, st.sets(st.integers(1, 40)), st.sets(st.integers(1, 40)))
def test_a_dropped_body_makes_no_body_that_stays_unreadable(taken, first, more):
    with life(2000) as found:
        for step in taken:
            found.take(step)
        for gone in (first, more):
            for segment in journal.sealed(found.directory):
                journal.drop_bodies(segment, lambda record, gone=gone: record.seq in gone)
        for record in read(found.directory):
            told = found.told[record.seq - 1]
            assert (record.seq, record.sha256) == told[:2]
            assert not record.is_dropped or record.seq in first | more
            if not record.is_dropped:
                assert record.body == told[2]


@LAW
@given(steps, st.data())
def test_a_journal_cut_at_any_byte_goes_on_with_the_records_that_are_whole(taken, data):
    with life(journal.SEGMENT_BYTES) as found:
        for step in taken:
            found.take(step)
        found.books.close()
        last = segments.files(found.directory)[-1]
        content = last.read_bytes()
        last.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        found.books = Journal(found.directory)
        del found.told[found.books.seq :]
        found.take("again")
        found.agrees()


@LAW
@given(st.lists(st.tuples(st.sampled_from("ab"), bodies), max_size=8), steps)
def test_a_journal_of_the_second_format_is_read_and_goes_on_in_a_segment_of_its_own(old, taken):
    with tempfile.TemporaryDirectory() as name:
        directory, at = Path(name), FIRST_DAY.strftime("%Y-%m-%dT%H:%M:%SZ")
        file = directory / "0000000001.journal"
        write(file, [("page", at, {"n": n}, body) for n, (_, body) in enumerate(old)])
        content = file.read_bytes()
        found = Life(directory, journal.SEGMENT_BYTES)
        found.told = [(record.seq, record.sha256, record.body) for record in read(directory)]
        assert [body for _, _, body in found.told] == [body for _, body in old]
        for step in taken:
            found.take(step)
        found.agrees()
        found.books.close()
        assert not old or file.read_bytes() == content


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 300), st.integers(0, 3))
def test_any_body_opens_in_a_few_steps_however_many_polls_a_day_has(polls, days):
    with life(journal.SEGMENT_BYTES) as found:
        for number in range(polls):
            found.now = FIRST_DAY + timedelta(days=days * number // polls)
            found.take(("a", _ALIKE + b"%d" % number))
        depth = {0: 0}
        for offset, frame in _frames(found.directory):
            assert offset >= FILE_HEADER_BYTES
            depth[frame.seq] = 1 + (depth[frame.seq - frame.stored.base] if frame.stored.base else 0)
        assert max(depth.values()) <= 10
        assert polls < 2 or max(depth.values()) > 1, "what resembles is stored as a difference"


def _frames(directory: Path) -> Iterator[tuple[int, segments.Frame]]:
    for path in segments.files(directory):
        with path.open("rb") as file:
            yield from segments.frames(file, path, *segments.header(file, path))


def test_a_flipped_byte_of_a_body_that_others_refer_to_is_told_for_them():
    with life(journal.SEGMENT_BYTES) as found:
        for number in count():
            found.take(("a", _ALIKE + b"%d" % (number // 2)))
            if number == 5:
                break
        found.books.close()
        [file] = segments.files(found.directory)
        later = list(read(found.directory))
        at = next(offset for offset, frame in _frames(found.directory) if frame.seq == 2) - 40
        changed = bytearray(file.read_bytes())
        changed[at] ^= 1
        file.write_bytes(changed)
        for record in later[1:]:
            with pytest.raises(
                JournalDamagedError, match=f"the body of record {record.seq} cannot .* of record 1, which"
            ):
                _ = record.body
