"""The real commands on a disk that is really full: a small file system in memory, filled up to some room."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from metering.core.errors import DISK_HINT
from tests.support.deeds import Strike, Striker, memory, platform

BYTES = 64 * 1024 * 1024


def can_mount() -> bool:
    """Whether this user may mount a file system (root outside of a sandbox)."""
    with tempfile.TemporaryDirectory() as directory:
        if subprocess.run(["mount", "-t", "tmpfs", "none", directory], capture_output=True, check=False).returncode:
            return False
        subprocess.run(["umount", directory], check=True)
        return True


pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or shutil.which("mount") is None or not can_mount(),
    reason="mounting a small file system takes root, and the platform a C compiler",
)


@pytest.fixture(scope="module")
def striker() -> Iterator[Striker]:
    with tempfile.TemporaryDirectory(dir=memory()) as directory, platform(Path(directory)) as found:
        for command in ("poll", "tick"):
            found.without_a_strike(command)
        yield found


@pytest.fixture
def small_disk(striker: Striker) -> Iterator[Path]:
    """A life whose `var` lies on a file system of its own; gives the file that fills it."""
    desk = striker.begin()
    kept, var = desk.directory / "kept", desk.directory / "var"
    var.rename(kept)
    var.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={BYTES}", "none", str(var)], check=True)
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", str(var)], check=True)
        yield var / "ballast"
    finally:
        subprocess.run(["umount", "--lazy", str(var)], check=True)


def fill(ballast: Path, room: int) -> None:
    """Leaves so many bytes."""
    found = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - room)


KIB = 1024
ROOMS = [("poll", 0), ("tick", 64 * KIB), ("tick", 320 * KIB), ("tick", 4096 * KIB)]
MORE = [
    ("poll", 16 * KIB),  # here the next test keeps a tick with as little room
    *((command, room * KIB) for command in ("poll", "tick") for room in (4, 8, 32, 48, 96, 128, 192, 1024, 2048)),
]


@pytest.mark.parametrize(("command", "room"), [*ROOMS, *(pytest.param(*more, marks=pytest.mark.slow) for more in MORE)])
def test_on_a_full_disk_it_says_so_ends_with_1_and_goes_on_once_there_is_room(
    striker: Striker, small_disk: Path, command: str, room: int
) -> None:
    """From a journal that takes no page, over landing and closing, to a readers' copy that does not fit."""
    fill(small_disk, room)
    ran = striker.struck(Strike(deed=command))
    assert ran.code == 1
    assert "No space left on device" in ran.err
    assert f"  {DISK_HINT}\n" in ran.err
    small_disk.unlink()
    assert striker.typed_again(command).code == 0
    assert striker.ends(is_verified=True) == striker.without_a_strike(command)


def test_what_was_received_before_the_disk_was_full_is_in_the_journal_and_reading_goes_on_meanwhile(
    striker: Striker, small_disk: Path
) -> None:
    journal = small_disk.parent / "journal"
    before = sum(path.stat().st_size for path in journal.iterdir())
    fill(small_disk, 16 * 1024)
    assert striker.struck(Strike(deed="tick")).code == 1
    assert sum(path.stat().st_size for path in journal.iterdir()) > before
    for words in (("usage", "2026-09"), ("quota",), ("invoices", "2026-09"), ("status",)):
        assert striker.desk.run(*words).code == 0
    small_disk.unlink()
    assert striker.desk.run("verify").code == 0


ROOMS_OF_A_VOID = [0, 64 * KIB, 320 * KIB, 1024 * KIB, 4096 * KIB]


@pytest.mark.parametrize("room", ROOMS_OF_A_VOID)
def test_a_void_on_a_full_disk_is_told_as_done_once_it_is_and_answers_alike_when_it_is_asked_again(
    striker: Striker, small_disk: Path, room: int
) -> None:
    desk = striker.desk
    number = desk.good("close", "2026-09")["issued"][0]
    words = ("void", number, "--reason", "wrong street")
    fill(small_disk, room)
    first = desk.run(*words)
    small_disk.unlink()
    again = desk.run(*words)
    assert again.code == 0, again
    if first.out:  # only the readers' copy failed
        assert first.out == again.out
        assert "journalled" in first.err
    notes = [one["number"] for one in desk.good("invoices", "2026-09")["invoices"] if one.get("credits") == number]
    assert len(notes) == 1
    assert desk.run("verify").code == 0
