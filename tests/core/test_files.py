"""A file is written completely or not at all; leftovers of processes that died are removed."""

import fcntl
from pathlib import Path

import pytest

from metering.core.files import sweep, write_whole


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_dead_process_had_begun_is_swept_and_what_is_being_written_stays(tmp_path: Path) -> None:
    left, written, own = tmp_path / ".ab3_9xyz.tmp", tmp_path / ".cd3_9xyz.tmp", tmp_path / ".notes-of-anna.tmp"
    for path in (left, written, own):
        path.write_bytes(b"half")
    with written.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [written.name, own.name]


def test_a_directory_that_is_not_there_has_nothing_to_sweep(tmp_path: Path) -> None:
    sweep(tmp_path / "invoices")


def test_a_file_in_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"report\.json"):
        write_whole(tmp_path / "gone" / "report.json", b"x")
