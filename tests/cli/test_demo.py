"""The demo: everything real, the same numbers for the same seed, the lines that the README shows, and every export."""

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import zipfile
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from metering.cli import cli
from metering.cli.demo import demo as rehearse
from metering.export.rendering import FORMATS

TOP = Path(__file__).parents[2]
README = TOP / "README.md"


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
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("demo") / "first"


@pytest.fixture(scope="module")
def summary(directory):
    return demo(directory)


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


# -- exports: the commands that the manual shows, as a newcomer would type them


def asked(summary, directory, command: str) -> str:
    """Runs one command at the demo's moment, its files in the demo's directory; returns what it prints."""
    arguments = shlex.split(command)[1:]
    if "-o" in arguments:
        at = arguments.index("-o") + 1
        arguments[at] = str(directory / arguments[at])
    environment = {"METERING_NOW": summary["rehearsed moment"], "METERING_CONFIG": str(directory / "config.toml")}
    ran = CliRunner().invoke(cli, arguments, env=environment)
    assert ran.exit_code == 0, (command, ran.output, ran.exception)
    return ran.stdout


def shown() -> list[str]:
    """The commands in docs/exports.md: `metering export …`, up to where its output goes elsewhere."""
    commands = re.findall(r"^\$ (metering export [^|&\n]+)", (TOP / "docs" / "exports.md").read_text(), re.MULTILINE)
    return [command.strip() for command in commands]


def test_the_manual_shows_a_command_for_every_export():
    assert {command.split()[2] for command in shown()} == set(FORMATS)


@pytest.mark.parametrize("command", [command for command in shown() if "-o" in command])
def test_every_export_of_the_manual_runs_on_the_demo(command, summary, directory):
    assert asked(summary, directory, command) == ""
    assert (directory / command.split()[-1]).stat().st_size > 1000


@pytest.fixture(scope="module")
def totals(summary, directory):
    """Number -> total, as `invoices` says."""
    told = json.loads(asked(summary, directory, "metering invoices 2026-09 --format json"))["invoices"]
    return {one["number"]: Decimal(one["total"]) for one in told}


def added(text: str, number: str, *amounts: str) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for row in csv.DictReader(io.StringIO(text, newline="")):
        sums[row[number]] = sums.get(row[number], Decimal(0)) + sum(Decimal(row[amount]) for amount in amounts)
    return sums


def test_the_demos_exports_of_money_add_up_to_its_invoices(summary, directory, totals):
    def text(form: str) -> str:
        return asked(summary, directory, f"metering export {form} 2026-09")

    assert len(totals) == int(summary["invoices of 2026-09"])
    assert added(text("focus"), "InvoiceId", "BilledCost") == totals
    assert added(text("xero"), "*InvoiceNumber", "*UnitAmount", "TaxAmount") == totals
    assert added(text("quickbooks"), "InvoiceNo", "ItemAmount", "ItemTaxAmount") == totals
    items = Counter()
    for line in text("stripe").splitlines():
        params = json.loads(line)["params"]
        items[params["metadata"]["invoice"]] += params["amount"]
    assert items == {number: int(total * 100) for number, total in totals.items()}


def test_beancount_finds_no_fault_in_the_demos_journal(summary, directory, totals):
    from beancount.loader import load_string

    entries, errors, _ = load_string(asked(summary, directory, "metering export beancount 2026-09 --accounts"))
    assert errors == []
    owed = [entry.postings[0].units.number for entry in entries if hasattr(entry, "postings")]
    assert sum(owed) == sum(totals.values())


@pytest.mark.skipif(shutil.which("hledger") is None, reason="hledger is not installed")
def test_hledger_checks_the_demos_journal_strictly(summary, directory):
    journal = asked(summary, directory, "metering export hledger 2026-09 --accounts")
    checked = subprocess.run(
        ["hledger", "-f", "-", "check", "--strict"], input=journal.encode(), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, b"")


@pytest.fixture(scope="module")
def rules():
    from tests.support import official_rules

    with official_rules.ready() as broken:
        yield broken


def test_the_demos_e_invoices_pass_the_official_rules(summary, directory, rules, totals, tmp_path):
    from tests.support.official_rules import facturx

    asked(summary, directory, "metering export ubl 2026-09 -o all.zip")
    with zipfile.ZipFile(directory / "all.zip") as archive:
        ubl = {name: archive.read(name) for name in archive.namelist()}
    asked(summary, directory, "metering export facturx 2026-09 -o all.zip")
    with zipfile.ZipFile(directory / "all.zip") as archive:
        cii = {name: facturx.get_xml_from_pdf(archive.read(name), check_xsd=True)[1] for name in archive.namelist()}
    assert len(ubl) == len(cii) == len(totals)
    assert {name: broken for name, xml in ubl.items() if (broken := rules("ubl", xml, tmp_path))} == {}
    assert {name: broken for name, xml in cii.items() if (broken := rules("cii", xml, tmp_path))} == {}
    kinds = {category for xml in ubl.values() for category in re.findall(rb"<cbc:ID>(S|AE|G)</cbc:ID>", xml)}
    assert kinds == {b"S", b"AE", b"G"}, "with a tax, by reverse charge, and exported"
