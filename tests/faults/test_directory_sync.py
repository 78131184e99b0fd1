"""File systems on which directories cannot be synced: going on where that is all, stopping where the disk fails."""

import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk

SOURCE = Path(__file__).with_name("no_directory_sync.c")

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to build the file system with")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("library") / "no_directory_sync.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(made), str(SOURCE), "-ldl"], check=True)
    return made


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        fleet.project("ant-1")
        fleet.use("ant-1", "2026-09-02", compute_unit_seconds=360_000)
        yield Desk(directory=tmp_path, neon=neon, now="2026-10-05T12:00:00Z", default_plan="pro")


@pytest.mark.parametrize(
    ("number", "commands"),
    [(errno.EINVAL, ["poll", "rebuild"]), (errno.ENOTSUP, ["backfill"])],
    ids=["EINVAL", "ENOTSUP"],
)
def test_commands_go_on_where_directories_cannot_be_synced(
    desk: Desk, library: Path, number: int, commands: list[str]
) -> None:
    for command in commands:
        ran = desk.ran(command, env={"LD_PRELOAD": str(library), "NO_DIRECTORY_SYNC": str(number)})
        assert ran.code == 0, ran


def test_check_says_once_that_directories_cannot_be_synced(desk: Desk, library: Path) -> None:
    said = "cannot sync directories: after a power cut it may lack files that were just made"
    ran = desk.ran("check", env={"LD_PRELOAD": str(library), "NO_DIRECTORY_SYNC": str(errno.EINVAL)})
    assert ran.out.count(said) == 1
    assert said not in desk.ran("check").out


def test_a_disk_that_fails_stops_the_command_and_is_named(desk: Desk, library: Path) -> None:
    ran = desk.ran("poll", env={"LD_PRELOAD": str(library), "NO_DIRECTORY_SYNC": str(errno.EIO)})
    assert ran.code == 1
    assert f"{desk.directory}" in ran.err
    assert "Input/output error" in ran.err
