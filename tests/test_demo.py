"""The demo: everything real, the same numbers for the same seed, and the lines that the README shows."""

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metering import rehearse

README = Path(__file__).parents[1] / "README.md"


def demo(directory: Path) -> dict[str, str]:
    """Runs a small demo; returns its summary, name -> text, without the paths."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = rehearse.demo(directory, projects=30, seed=1, real_time=lambda: datetime.now(UTC), is_terminal=False)
    assert (code, err.getvalue()) == (0, "")
    summary, _, paths = out.getvalue().partition("\n\nopen:\n")
    for line in paths.splitlines():
        if line.startswith("  "):
            assert Path(line.strip()).is_file(), f"{line.strip()} was not written"
    found = dict(line.split(": ", 1) for line in summary.splitlines())
    moment, config = found["rehearsed moment"], directory / "config.toml"
    assert paths.splitlines()[-1] == f"more: METERING_NOW={moment} metering quota --config {config}"
    assert f"METERING_NOW={moment} metering usage" in config.read_text()
    return found


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    return demo(tmp_path_factory.mktemp("demo") / "first")


def test_the_demo_agrees_with_what_the_sandbox_metered(summary):
    assert summary["usage agrees with what the sandbox metered"] == "yes"
    assert summary["sum of usage × price agrees with the invoices"] == "yes"
    assert int(summary["invoices of 2026-09"]) > 0


def test_every_event_of_the_demo_is_verified_by_an_independent_library(summary):
    verified = re.fullmatch(r"(\d+) by an independent library, 0 refused", summary["events verified"])
    assert verified and int(verified[1]) > 0
    assert summary["events sent"].startswith(f"{verified[1]} (")


def test_a_seed_gives_the_same_numbers_again(summary, tmp_path):
    assert demo(tmp_path / "second") == summary


def test_the_readme_shows_the_lines_that_the_demo_prints(summary):
    block = re.search(r"^\$ make demo\n(.*?)\n\n", README.read_text(), re.MULTILINE | re.DOTALL)
    assert block, "the README shows the demo"
    assert [line.split(": ", 1)[0] for line in block[1].splitlines()] == list(summary)
