"""What stands around the program: the index of the decisions, the type marker in the wheel, the examples, the site."""

import csv
import io
import json
import re
import subprocess
import sys
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest

from examples.import_lines import COLUMNS, convert
from examples.usage_from_snapshot import usage
from metering.cli.demo import demo
from metering.config import read as read_config
from metering.core.errors import ConfigError
from tests.manual import Reader

TOP = Path(__file__).parents[1]
DECISIONS = (TOP / "DECISIONS.md").read_text()


def test_every_decision_stands_in_the_index_once():
    index = re.findall(r"^- \[(.+)\]\(#\S+\)$", DECISIONS, re.MULTILINE)
    entries = re.findall(r"^## \d{4}-\d\d-\d\d (.+)$", DECISIONS, re.MULTILINE)
    assert len(entries) > 50
    assert sorted(index) == sorted(entries)


@pytest.fixture(scope="module")
def built_wheel(tmp_path_factory) -> list[str]:
    """The names of the files in the wheel."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(build, cwd=TOP, check=True, capture_output=True)
    (wheel,) = directory.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_the_wheel_tells_type_checkers_that_it_has_types(built_wheel):
    assert "metering/py.typed" in built_wheel
    assert "metering/config.toml" in built_wheel


def test_the_wheel_has_every_statement(built_wheel):
    written = {f"metering/{path.relative_to(TOP)}" for path in (TOP / "sql").rglob("*.sql")}
    assert "metering/sql/writes/move_position.sql" in written
    assert {name for name in built_wheel if name.endswith(".sql")} == written


def test_the_manual_builds_as_a_site_without_a_dead_link(tmp_path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=TOP, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {page.stem for page in (tmp_path / "site").glob("*.html")}
    assert {page.stem for page in (TOP / "docs").glob("*.md")} | {"readme", "SECURITY", "DECISIONS"} <= pages


def test_every_page_of_the_manual_is_linked_from_its_index():
    linked = set(re.findall(r"\]\((\w+\.md)\)", (TOP / "docs" / "index.md").read_text()))
    assert linked == {page.name for page in (TOP / "docs").glob("*.md")} - {"index.md"}


def test_every_word_of_the_glossary_has_one_sentence():
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", (TOP / "docs" / "glossary.md").read_text(), re.MULTILINE)
    words = [word for word, meaning in rows if word not in {"Word", "---"}]
    assert len(words) > 40
    assert len(set(words)) == len(words)
    assert [word for word, meaning in rows if word != "Word" and not meaning.endswith(".")] == []


def test_the_version_of_the_changelog_is_that_of_the_program():
    from metering import __version__

    text = (TOP / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (\d+\.\d+\.\d+)", text, re.MULTILINE)[0] == __version__
    headings = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert headings <= {"Added", "Changed", "Fixed", "Security"}


# -- examples


def test_the_examples_platform_has_no_fault_and_bills_nobody_for_its_own_project():
    read = read_config(TOP / "examples" / "platform" / "config.toml", environ={"NEON_API_KEY": "key"})
    assert [plan.id for plan in read.plans] == ["hobby", "pro"]
    assert [(row.project_id, row.customer, row.plan) for row in read.subscription_rows][2:] == [
        ("bold-sea-12345678", "north", "pro"),
        ("own-lab-12345678", None, None),
    ]


def test_a_plan_that_the_examples_platform_lacks_is_a_fault(tmp_path):
    for file in (TOP / "examples" / "platform").iterdir():
        (tmp_path / file.name).write_text(file.read_text().replace("acme,pro", "acme,por"))
    with pytest.raises(ConfigError, match="did you mean pro"):
        read_config(tmp_path / "config.toml", environ={"NEON_API_KEY": "key"})


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Somebody with a demo of 30 projects."""
    directory = tmp_path_factory.mktemp("examples")
    shell = {"PATH": "/usr/bin:/bin", "HOME": "/"}
    Reader(directory=directory, environment=shell).types("metering demo --projects 30")
    moment = demo.ENDS_AT.strftime("%Y-%m-%dT%H:%M:%SZ")
    at = {**shell, "METERING_NOW": moment, "METERING_CONFIG": "metering-demo/config.toml"}
    return Reader(directory=directory, environment=at)


def test_usage_read_from_the_snapshot_is_what_the_command_says(reader):
    told = json.loads(reader.types("metering usage 2026-09 --format json"))["usage"]
    expected: dict[tuple[str, str], int] = {}
    for row in told:
        key = (row["project_id"], row["metric"])
        expected[key] = expected.get(key, 0) + int(row["value"])
    found = usage(reader.directory / "metering-demo" / "var" / "snapshot.duckdb", "2026-09")
    assert len(found) > 20
    assert {(project, metric): value for project, metric, value in found if value} == {
        key: value for key, value in expected.items() if value
    }


def test_imported_lines_add_up_to_the_invoices(reader):
    told = reader.types("metering invoices 2026-09 --format json")
    told = told[told.index("{") :]
    target = io.StringIO(newline="")
    count = convert(io.StringIO(told), target)
    header, *rows = csv.reader(io.StringIO(target.getvalue(), newline=""))
    assert tuple(header) == COLUMNS
    assert count == len(rows) > 10
    assert sum(Decimal(row[-1]) for row in rows) == sum(
        Decimal(one["subtotal"]) for one in json.loads(told)["invoices"]
    )


def test_the_importer_refuses_a_document_whose_lines_do_not_add_up():
    line = {"kind": "usage", "description": "Compute", "amount": "1.00"}
    document = {"number": "INV-1", "customer": {"id": "a"}, "currency": "USD", "lines": [line], "subtotal": "1.01"}
    with pytest.raises(ValueError, match=r"INV-1: its lines do not add up to 1\.01"):
        convert(io.StringIO(json.dumps({"invoices": [document]})), io.StringIO())
