"""What stands in deploy/ starts what there is, and the machine's own tools find no fault in it."""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metering.cli import cli
from metering.config import read
from metering.operations import metrics
from tests.support.scribe import Memory, Scribe, inventory_body

TOP = Path(__file__).parents[1]
DEPLOY = TOP / "deploy"
UNITS = sorted([*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")])


def settings(path: Path) -> dict[str, str]:
    """The last value of each key of a unit."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if re.match(r"[A-Z]\w*=", line))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_no_fault_in_the_units(tmp_path):
    for unit in UNITS:
        text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text)
    asked = [str(shutil.which("systemd-analyze")), "verify", *(str(path) for path in sorted(tmp_path.iterdir()))]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    ours = [line for line in (told.stdout + told.stderr).splitlines() if "metering" in line]
    assert (told.returncode, ours) == (0, [])


def test_the_units_call_commands_that_exist_as_a_user_that_stays():
    for unit in DEPLOY.glob("*.service"):
        found = settings(unit)
        _, command, *rest = found["ExecStart"].split()
        assert command in cli.commands
        assert rest == ["--config", "/etc/metering/config.toml"]
        assert found["User"] == "metering"
        assert found["UMask"] == "0077"
        assert found["StateDirectory"] == "metering" and found["StateDirectoryMode"] == "0700"


def test_a_tick_that_meets_another_is_no_failure_and_the_service_has_time_to_end():
    assert settings(DEPLOY / "metering-tick.service")["SuccessExitStatus"] == "75"
    assert settings(DEPLOY / "metering.service")["TimeoutStopSec"] == "20s"
    assert settings(DEPLOY / "metering.service")["RestartPreventExitStatus"] == "2 4"


def test_the_timer_asks_after_the_quarter_hours():
    assert settings(DEPLOY / "metering-tick.timer")["OnCalendar"] == "*:0/15:20"


def crontab() -> list[tuple[list[str], str]]:
    """(the five times, the command) of every line."""
    lines = [line for line in (DEPLOY / "crontab").read_text().splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 5)[:5], line.split(None, 5)[5]) for line in lines]


def test_the_crontab_calls_commands_that_exist():
    found = [name for _, line in crontab() for name in re.findall(r"/opt/metering/bin/metering (\w+)", line)]
    assert found == ["tick", "backup", "metrics"]
    assert set(found) <= cli.commands.keys()
    assert all(re.fullmatch(r"[\d*/,-]+", field) for times, _ in crontab() for field in times)
    assert not any("%" in line for _, line in crontab()), "cron takes % for a line feed"


def test_a_tick_of_cron_that_meets_another_ends_well(tmp_path):
    (_, line), *_ = crontab()
    for code, expected in (("0", 0), ("75", 0), ("3", 1), ("5", 1)):
        fake = line.replace("cd /srv/billing && /opt/metering/bin/metering tick", f"sh -c 'exit {code}'")
        assert fake != line
        assert subprocess.run(["/bin/sh", "-c", fake], check=False).returncode == expected


def test_the_image_starts_a_command_that_exists_as_a_user_without_rights():
    text = (DEPLOY / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["/opt/metering/bin/metering"]' in text
    (command,) = re.findall(r'^CMD \["(\w+)"\]', text, re.MULTILINE)
    assert command in cli.commands
    assert text.index("USER metering") < text.index("ENTRYPOINT")
    assert "--require-hashes" in text


def test_the_image_is_built_from_all_that_the_wheel_needs_and_from_no_secret():
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    taken = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert taken == {
        "config.toml",
        "LICENSE",
        "README.md",
        "metering",
        "pyproject.toml",
        "reports",
        "requirements.lock",
        "sql",
    }
    assert all((TOP / name).exists() for name in taken)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_no_fault_in_the_metrics(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[[organizations]]\nid = "org-a"\napi_key_env = "KEY"\n')
    book = Memory()
    scribe = Scribe(record=book.record)
    scribe.inventory(inventory_body({"id": "a"}))
    scribe.history({"a": [("2026-10-05T03", {"compute_unit_seconds": 7})]})
    scribe.cycle()
    now = datetime(2026, 10, 5, 12, 20, tzinfo=UTC)
    text = metrics.exposition(book.store, read(path, environ={}), now)
    asked = [str(shutil.which("promtool")), "check", "metrics"]
    told = subprocess.run(asked, input=text, capture_output=True, check=False)
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")
