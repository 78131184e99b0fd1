"""The README's path for a newcomer, walked literally in a shell on the sandbox, command by command."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.quiet_time import PATIENCE_SECONDS

TOP = Path(__file__).parents[2]
EDITOR = """\
import pathlib, sys
path = pathlib.Path(sys.argv[1])
text = path.read_text()
for old, new in (
    ('id = "org-example-12345678"', 'id = "org-paid-11223344"'),
    ('# default_plan = "pro" ', 'default_plan = "pro" '),
    ('name = "" ', 'name = "Acme Platforms Ltd" '),
    ("example = true ", "# example = true "),
):
    assert text.count(old) == 1, old
    text = text.replace(old, new)
path.write_text(text)
"""
"""What the README's table asks a person to write."""


def commands() -> list[str]:
    """Every command of the section, without its remark; the three that install it are done already."""
    section = (TOP / "README.md").read_text().partition("## With your own account\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines)
    found = [re.sub(r"\s+# .*", "", line.removeprefix("$ ")) for line in lines]
    assert found[:3] == [
        "python3 -m venv ~/metering && . ~/metering/bin/activate",
        "pip install --require-hashes -r requirements.lock",
        "pip install --no-deps --no-build-isolation .",
    ]
    return found[3:]


@contextmanager
def sandbox(*arguments: str) -> Iterator[str]:
    """The sandbox as a process of its own; gives its base_url."""
    command = [sys.executable, "-m", "metering", "sandbox", "--port", "0", "--projects", "24", *arguments]
    process = subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().removeprefix("base_url ").strip()
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)


def shell(directory: Path, script: str, url: str, more: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Runs the script with `metering` on the path; it ends at the first command that does not end with 0."""
    bin_directory = directory / "bin"
    bin_directory.mkdir(exist_ok=True)
    command = bin_directory / "metering"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m metering "$@"\n')
    command.chmod(0o755)
    (directory / "editor.py").write_text(EDITOR)
    environment = {
        "PATH": f"{bin_directory}:{os.environ['PATH']}",
        "PYTHONPATH": str(TOP),
        "EDITOR": f"{sys.executable} {directory / 'editor.py'}",
        "METERING_NEON__BASE_URL": url,
        "METERING_NEON__HISTORY_REQUESTS_PER_MINUTE": "60000",
        **more,
    }
    return subprocess.run(
        ["bash", "-e", "-c", script], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "now",
    [
        pytest.param("2026-10-15T10:05:00Z", id="METERING_NOW"),
        pytest.param(None, id="the real clock", marks=pytest.mark.slow),
    ],
)
def test_the_readmes_path_ends_with_a_true_draft_and_closes_nothing(tmp_path: Path, now: str | None) -> None:
    path = commands()
    assert "metering report previous" in path and path[-1] == "metering status"
    script = "\n".join(path).replace("NEON_API_KEY=…", "NEON_API_KEY=sandbox-key")
    at = {"METERING_NOW": now} if now else {}
    with sandbox(*(("--now", now) if now else ())) as url:
        ran = shell(tmp_path, script, url, at)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert [line for line in ran.stderr.splitlines() if "rehearsing at" not in line] == []
        again = shell(
            tmp_path, "cd billing; metering tick; metering status; metering close previous --dry-run", url, at
        )
    assert again.returncode in {0, 3}, again.stderr  # 3 in the first hours of a month: it is not settled
    status, rehearsed = _documents(again.stdout)
    assert {month["state"] for month in status["months"]} <= {"open", "closable"}
    assert all(month["closed_at"] is None for month in status["months"])
    kinds = {reason["kind"] for reason in rehearsed["blocked_by"]}
    assert kinds <= {"not_settled"}
    moment = datetime.fromisoformat(now) if now else datetime.now(UTC)
    directory = tmp_path / "billing/var/reports"
    (month,) = directory.iterdir()
    report = json.loads((month / "report.json").read_text())
    assert month.name < f"{moment:%Y-%m}"
    assert report["report"]["is_draft"] is True
    assert report["coverage"]["complete"] is True
    drafts = sorted((month / "invoices").glob("draft-*.html"))
    assert len(drafts) == report["report"]["documents"]["draft"] > 5
    assert all('data-stamp="Draft"' in draft.read_text() for draft in drafts)
    assert report["unassigned"] == []


def _documents(text: str) -> list[dict]:
    """The JSON documents that stand one after the other."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text.rstrip()):
        document, at = decoder.raw_decode(text, at + len(text[at:]) - len(text[at:].lstrip()))
        found.append(document)
    return found
