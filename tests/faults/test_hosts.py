"""Machines as they are: streams that are closed or full, another locale, no time-zone database, odd paths."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metering.core.errors import MeteringError
from metering.core.files import database_refuses
from metering.store import backup
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import TOP, Desk

NOT_WRITTEN = "standard output cannot be written"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files of `init`."""
    directory = tmp_path_factory.mktemp("platform")
    assert shell(directory, "metering init .").returncode == 0
    return directory


def shell(directory: Path, line: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """A line typed into a shell, where `metering` is the command."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = line.replace("metering", f'"{sys.executable}" -m metering')
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=directory,
        env={**environ, "PYTHONPATH": str(TOP), "METERING_SERVICE__LISTEN": "", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


# -- standard streams


@pytest.mark.parametrize("line", ["metering status >&-", "metering status >/dev/full", "metering metrics >/dev/full"])
def test_data_that_cannot_be_written_fail_the_command_with_a_sentence(platform: Path, line: str) -> None:
    ran = shell(platform, line)
    assert ran.returncode == 1
    assert NOT_WRITTEN in ran.stderr.decode() and "Traceback" not in ran.stderr.decode()


@pytest.mark.parametrize("how", ["2>&-", "2>/dev/full", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_tick_that_nobody_hears_does_its_work_and_ends_as_ever(platform: Path, how: str) -> None:
    assert shell(platform, f"metering tick {how}").returncode == 5, "the key is missing, as it is with a terminal"
    assert (platform / "var" / "snapshot.duckdb").exists()
    ran = shell(platform, "metering verify")
    assert ran.returncode == 0, "no file of the store was taken for a standard stream"


def test_a_closed_standard_input_is_an_empty_one(platform: Path) -> None:
    ran = shell(platform, "metering price <&-")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


def test_a_reader_that_hangs_up_is_no_traceback(platform: Path) -> None:
    ran = shell(platform, "metering check --format json 2>errors | true; cat errors")
    assert b"Traceback" not in ran.stdout + ran.stderr and NOT_WRITTEN.encode() not in ran.stdout


# -- locale


@pytest.mark.parametrize("name", ["ascii", "latin-1", "utf-16"])
def test_what_is_piped_is_utf_8_whatever_the_locale(tmp_path: Path, name: str) -> None:
    ran = shell(tmp_path, "metering init 'Ü…x'", PYTHONIOENCODING=name, PYTHONUTF8="0")
    assert ran.returncode == 0 and "Ü…x/config.toml" in ran.stdout.decode("utf-8")


def test_a_store_is_read_and_written_in_a_locale_without_utf_8(tmp_path: Path) -> None:
    with served(PlainNeon()) as neon:
        desk = Desk(directory=tmp_path, neon=neon, now="2026-10-15T12:00:00Z", default_plan="pro")
        neon.fleet("org-a").project("calm-dawn-1", name="müller-…-pro")
        desk.good("poll")
        ascii_only = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        for command in (["tick"], ["rebuild"], ["verify"]):
            ran = desk.ran(*command, env=ascii_only)
            assert ran.code == 0, (command, ran)
        ran = desk.ran("usage", "current", env=ascii_only)
        assert ran.code == 0 and json.loads(ran.out)


# -- time zones


def test_the_time_zone_data_are_those_of_the_program(tmp_path: Path) -> None:
    with served(PlainNeon()) as neon:
        desk = Desk(directory=tmp_path, neon=neon, now="2026-10-15T12:00:00Z", default_plan="pro")
        nowhere = {"PYTHONTZPATH": "", "TZ": "Nowhere/At_all"}
        for command in (["tick"], ["tick"], ["verify"], ["usage", "current"]):
            ran = desk.ran(*command, env=nowhere)
            assert ran.code == 0, (command, ran)


def test_time_zone_data_are_installed_on_every_platform() -> None:
    assert '"tzdata>=' in (TOP / "pyproject.toml").read_text()
    assert "\ntzdata==2026.6 \\\n" in (TOP / "requirements.lock").read_text(), "without a condition on the platform"


# -- paths

ODD = 'o\'d "d" %20#;ü $HOME `x` [1] {a}:b&c|~'


def test_a_store_stands_in_a_directory_with_odd_letters(tmp_path: Path) -> None:
    directory = tmp_path / ODD
    directory.mkdir()
    with served(PlainNeon()) as neon:
        desk = Desk(directory=directory, neon=neon, now="2026-10-15T12:00:00Z", default_plan="pro")
        desk.good("poll")
        for command in (("tick",), ("rebuild",), ("verify",), ("backup", str(directory / "copies"))):
            assert desk.run(*command).code == 0, command
        assert "usage" in desk.good("usage", "current")


@pytest.mark.parametrize("name", ["a*b", "a?b", "a\\b", "a\udcffb"], ids=ascii)
def test_a_path_that_the_database_misreads_is_a_fault_before_anything_is_written(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    with served(PlainNeon()) as neon:
        desk = Desk(directory=directory, neon=neon, default_plan="pro")
        ran = desk.run("tick")
    assert ran.code == 4 and ran.err.startswith("metering: store.directory: ")
    assert "name another directory" in ran.err
    assert not (directory / "var").exists()
    with pytest.raises(MeteringError, match=r"holds|is not UTF-8"):
        backup.backup(tmp_path / "var", directory, datetime(2026, 10, 15, tzinfo=UTC))


@pytest.mark.parametrize("name", ["a b", "ü", "a'b", "日本", "a[1]b", "a.b-c_d"])
def test_ordinary_paths_are_taken(name: str) -> None:
    assert database_refuses(Path("/srv") / name / "var") == ""
