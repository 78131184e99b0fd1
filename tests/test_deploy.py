"""What stands in deploy/ starts what there is, and the machine's own tools find no fault in it."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from metering.cli import cli
from metering.config import read, write_starter
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
        assert rest[-2:] == ["--config", "/etc/metering/config.toml"]
        cli.commands[command].make_context(command, rest)
        assert found["User"] == "metering"
        assert found["UMask"] == "0077"
        assert found["StateDirectory"] == "metering" and found["StateDirectoryMode"] == "0700"


def test_a_tick_that_meets_another_is_no_failure_and_the_service_has_time_to_end():
    assert settings(DEPLOY / "metering-tick.service")["SuccessExitStatus"] == "75"
    assert settings(DEPLOY / "metering.service")["TimeoutStopSec"] == "20s"
    assert settings(DEPLOY / "metering.service")["RestartPreventExitStatus"] == "2 4"


def test_the_units_have_room_for_what_the_readme_promises():
    assert "(100 to 300,000 of them)" in (TOP / "README.md").read_text()
    assert "Peak memory 6.4 GB" in (TOP / "benchmarks" / "README.md").read_text()
    for name in ("metering-tick", "metering"):
        assert settings(DEPLOY / f"{name}.service")["MemoryMax"] == "8G"
    assert settings(DEPLOY / "metering-tick.service")["TimeoutStartSec"] == "2h", "a slot of 15 minutes, and a close"


def test_systemd_watches_the_service():
    found = settings(DEPLOY / "metering.service")
    assert (found["Type"], found["WatchdogSec"]) == ("notify", "3min")


def test_backups_have_a_unit_and_a_timer_and_do_not_fill_the_disk():
    found = settings(DEPLOY / "metering-backup.service")
    directory = found["ExecStart"].split()[2]
    assert "--keep 14" in found["ExecStart"] and found["ReadWritePaths"] == directory
    assert settings(DEPLOY / "metering-backup.timer")["Persistent"] == "true"


KEY_LINES = r"^# (LoadCredential=(\S+):\S+)\n# (Environment=(\S+)=%d/(\S+))$"


def test_a_credential_of_the_unit_is_the_key_without_a_change_of_the_configuration(tmp_path):
    for name in ("metering-tick", "metering"):
        text = (DEPLOY / f"{name}.service").read_text()
        ((_, credential, _, variable, used),) = re.findall(KEY_LINES, text, re.MULTILINE)
        assert credential == used
        path = tmp_path / "config.toml"
        path.write_text('[[organizations]]\nid = "org-a"\napi_key_env = "NEON_API_KEY"\n')
        (found,) = read(path, environ={variable: f"/run/credentials/{name}.service/{used}"}).organizations
        assert str(found.api_key_file) == f"/run/credentials/{name}.service/{used}" and found.api_key_env is None


def test_the_timer_asks_after_the_quarter_hours():
    assert settings(DEPLOY / "metering-tick.timer")["OnCalendar"] == "*:0/15:20"


def crontab() -> list[tuple[list[str], str]]:
    """(the five times, the command) of every line."""
    lines = [line for line in (DEPLOY / "crontab").read_text().splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 5)[:5], line.split(None, 5)[5]) for line in lines]


def test_the_crontab_calls_commands_that_exist():
    found = [name for _, line in crontab() for name in re.findall(r"/opt/metering/bin/metering (\w+)", line)]
    assert found == ["tick", "backup", "metrics"]
    assert any("--keep 14" in line for _, line in crontab())
    assert set(found) <= cli.commands.keys()
    assert all(re.fullmatch(r"[\d*/,-]+", field) for times, _ in crontab() for field in times)
    assert not any("%" in line for _, line in crontab()), "cron takes % for a line feed"


def test_a_tick_of_cron_that_meets_another_ends_well(tmp_path):
    (_, line), *_ = crontab()
    for code, expected in (("0", 0), ("75", 0), ("3", 1), ("5", 1)):
        fake = line.replace("cd /srv/billing && /opt/metering/bin/metering tick", f"sh -c 'exit {code}'")
        assert fake != line
        assert subprocess.run(["/bin/sh", "-c", fake], check=False).returncode == expected


def documented_line(page: str, begin: str) -> str:
    """The one line of a page of the manual that begins so, without its prompt."""
    (line,) = [line for line in (TOP / "docs" / page).read_text().splitlines() if line.startswith(f"$ {begin}")]
    return line.removeprefix("$ ")


def test_the_lines_are_added_to_a_crontab_that_is_there_once(tmp_path):
    fake = tmp_path / "crontab"
    fake.write_text(f'#!/bin/sh\ncd {tmp_path}\ncase "$1" in -l) cat tab ;; *) cat > new; mv new tab ;; esac\n')
    fake.chmod(0o755)
    (tmp_path / "tab").write_text("MAILTO=ops@example.com\n0 4 * * * /usr/local/bin/rotate\n")
    line = documented_line("operations.md", "(crontab -l")
    for _ in range(2):
        asked = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        subprocess.run(["/bin/sh", "-c", line], check=True, cwd=TOP, env=asked)
    found = (tmp_path / "tab").read_text()
    assert found.startswith("MAILTO=ops@example.com\n0 4 * * * /usr/local/bin/rotate\n")
    assert [found.count(command) for _, command in crontab()] == [1, 1, 1]
    assert found.count("\n# ") == (DEPLOY / "crontab").read_text().count("\n# ") + 1


def image(key: str) -> list[str]:
    """What follows a key of the Dockerfile, with its continuation lines joined."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.removeprefix(f"{key} ") for line in text.splitlines() if line.startswith(f"{key} ")]


def test_the_image_starts_a_command_that_exists_as_a_numbered_user_without_rights():
    assert image("ENTRYPOINT") == ['["/opt/metering/bin/metering"]']
    command, *rest = json.loads(image("CMD")[0])
    cli.commands[command].make_context(command, rest)
    assert image("USER") == ["10001:10001"], "runAsNonRoot of Kubernetes cannot judge a name"
    assert all("@sha256:" in base for base in image("FROM")) and "--require-hashes" in image("RUN")[0]


def test_the_image_listens_where_it_can_be_reached_and_only_behind_a_token(tmp_path):
    environ = dict(part.split("=", 1) for part in image("ENV")[0].split())
    path = tmp_path / "config.toml"
    path.write_text("")
    found = read(path, environ=environ)
    assert found.service.listen == "0.0.0.0:9187"
    assert found.open_to_others is not None, "without a token `run` refuses"
    write_starter(tmp_path / "volume")
    assert read(tmp_path / "volume" / "config.toml", environ=environ).open_to_others is None


def test_the_image_is_healthy_as_long_as_it_lives():
    (check,) = image("HEALTHCHECK")
    program, *_ = json.loads(check[check.index("[") :])
    assert program == "/opt/metering/bin/python" and "127.0.0.1:9187/livez" in check


def manifests() -> dict[str, dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    return {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


def test_the_manifest_runs_one_pod_as_a_numbered_user_with_a_disk_that_it_may_write():
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    assert manifests()["Deployment"]["spec"]["strategy"]["type"] == "Recreate"
    assert pod["securityContext"]["runAsUser"] == 10001 and pod["securityContext"]["fsGroup"] == 10001
    (container,) = pod["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    places = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert {one["name"] for one in pod["volumes"]} == set(places)
    (secrets,) = [one["secret"] for one in pod["volumes"] if one["name"] == "secrets"]
    assert secrets["defaultMode"] == 0o440 and places["secrets"]["readOnly"] is True


def test_the_configuration_of_the_manifest_has_no_fault_and_names_the_secrets_that_are_mounted(tmp_path):
    found = manifests()
    path = tmp_path / "config.toml"
    path.write_text(found["ConfigMap"]["data"]["config.toml"])
    config = read(path, environ={"METERING_SERVICE__LISTEN": "0.0.0.0:9187", "METERING_SERVICE__ALLOW_REMOTE": "true"})
    assert config.open_to_others is None
    named = {config.organizations[0].api_key_file, config.dashboard.token_file}
    assert named == {Path("/run/secrets/metering") / name for name in found["Secret"]["stringData"]}


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
