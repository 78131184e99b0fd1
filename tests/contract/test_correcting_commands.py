"""void, close --release and close --dry-run as a shell sees them: exit codes, streams, JSON and tables."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from metering.cli import cli
from metering.core.errors import MeteringError
from tests.support.card import plan, price, subscription, toml
from tests.support.pages_of import books, moment

HOUR = 3600
PRO = plan("pro", price(unit_price="1.00"))
CONFIG = f"""
[store]
directory = "."
[[organizations]]
id = "org-1"
api_key_env = "KEY"
[seller]
name = "Acme Platforms Ltd"
[customers]
subscriptions = "subscriptions.csv"
{toml(PRO)}
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """July and August closed at 20.00 for each of two customers; September read, 201 hours for one of them."""
    directory = tmp_path_factory.mktemp("kept")
    (directory / "config.toml").write_text(CONFIG)
    (directory / "subscriptions.csv").write_text("project_id,customer,plan\na,one,pro\nb,two,pro\n")
    rows = (subscription("a", "one", "pro"), subscription("b", "two", "pro"))
    with books(directory, "2026-08-03", plans=(PRO,), subscriptions=rows) as found:
        found.see(*({"id": name, "name": name, "created_at": "2026-01-01T00:00:00Z"} for name in "ab"))
        for name, now, hours in (
            ("2026-07", "2026-08-03", 20),
            ("2026-08", "2026-09-03", 20),
            ("2026-09", "2026-10-03", 201),
        ):
            found.now = moment(now)
            found.use("a", f"{name}-10T05", compute_unit_seconds=hours * HOUR)
            found.use("b", f"{name}-10T05", compute_unit_seconds=20 * HOUR)
            found.read(name)
            if name != "2026-09":
                found.close(name)
    return directory


@pytest.fixture
def desk(kept: Path, tmp_path: Path) -> Path:
    """A copy of it for each test."""
    return Path(shutil.copytree(kept, tmp_path, dirs_exist_ok=True))


def run(desk: Path, *arguments: str):
    """The command at noon of 3 October; (exit code, output, errors without the line that announces the clock)."""
    ran = CliRunner().invoke(
        cli,
        [*arguments, "--config", str(desk / "config.toml")],
        env={"METERING_NOW": "2026-10-03T12:00:00Z"},
        standalone_mode=True,
    )
    if isinstance(ran.exception, MeteringError):
        return ran.exception.exit_code, "", f"{ran.exception} {ran.exception.hint}"
    return ran.exit_code, ran.stdout, "".join(ran.stderr.splitlines(keepends=True)[1:])


WHY = "its total would be 201.00 USD, more than 10 times the usual 20 (median of the last 2)"


def test_a_rehearsed_close_shows_the_differences_and_what_would_be_parked(desk):
    code, out, err = run(desk, "close", "2026-09", "--dry-run")

    assert (code, err) == (3, f"metering: one is parked: {WHY}\n")
    shown = json.loads(out)
    assert shown["issued"] == []
    assert shown["parked"] == [{"customer": "one", "reason": WHY}]
    assert shown["differences"] == [
        {"customer": "one", "currency": "USD", "previous": "20.00", "total": None, "difference": "-20.00"},
        {"customer": "two", "currency": "USD", "previous": "20.00", "total": "20.00", "difference": "0.00"},
    ]
    _, table, _ = run(desk, "close", "2026-09", "--dry-run", "--format", "table")
    columns = ["customer", "currency", "previous", "total", "difference", "draft", "since_draft", "parked"]
    assert table.splitlines()[0].split() == columns


def test_a_rehearsal_shows_what_changed_since_the_last_one(desk):
    september = ("close", "2026-09", "--dry-run")
    first = json.loads(run(desk, *september)[1])
    assert first["since_draft"] is None
    unchanged = {"appeared": [], "vanished": [], "changed": []}
    two = {"customer": "two", "currency": "USD", "draft": "20.00", "total": "20.00", "difference": "0.00", **unchanged}
    assert json.loads(run(desk, *september)[1])["since_draft"] == {"as_of": "2026-10-03T12:00:00Z", "customers": [two]}
    config = desk / "config.toml"
    config.write_text(config.read_text().replace('"1.00"', '"1.25"'))
    again = json.loads(run(desk, *september)[1])
    [row] = again["since_draft"]["customers"]
    assert (row["draft"], row["total"], row["difference"]) == ("20.00", "25.00", "5.00")
    assert row["changed"] == [
        {
            "key": "b/compute/pro/2026-09-01T00:00:00Z/1",
            "quantity": "20",
            "draft_quantity": "20",
            "amount": "25.00",
            "draft_amount": "20.00",
            "difference": "5.00",
        }
    ]
    # Neither a release nor a closing looks at it.
    kept = next(desk.rglob("drafts/2026-09.json")).read_bytes()
    assert json.loads(run(desk, "close", "2026-09")[1])["invoices"][-1]["total"] == "25.00"
    run(desk, *september, "--release", "one", "--reason", "looked at")
    assert next(desk.rglob("drafts/2026-09.json")).read_bytes() == kept


def test_a_parked_customer_makes_3_until_it_is_released(desk):
    assert run(desk, "close", "2026-09")[0] == 3
    assert run(desk, "close", "2026-09")[0] == 3

    code, out, err = run(desk, "close", "2026-09", "--release", "one", "--reason", "a launch")

    assert (code, err) == (0, "")
    assert json.loads(out)["issued"] == ["INV-2026-000006"]
    assert run(desk, "close", "2026-09")[0] == 0
    assert run(desk, "verify")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [("--release", "one"), ("--reason", "why"), ("--release", "one", "--reason", " ")],
)
def test_a_release_needs_both_who_and_why(desk, arguments):
    assert run(desk, "close", "2026-09", *arguments)[0] == 2


def test_releasing_who_is_not_parked_names_who_is(desk):
    run(desk, "close", "2026-09")

    code, out, err = run(desk, "close", "2026-09", "--release", "two", "--reason", "why")

    assert (code, out) == (1, "")
    assert err.startswith("two is not parked in 2026-09 parked: one")


def test_a_void_prints_the_credit_note_and_both_are_listed(desk):
    code, out, err = run(desk, "void", "INV-2026-000001", "--reason", "wrong price")

    assert (code, err) == (0, "")
    note = json.loads(out)
    assert (note["number"], note["credits"], note["total"]) == ("CN-2026-000001", "INV-2026-000001", "-20.00")
    listed = json.loads(run(desk, "invoices", "2026-07")[1])["invoices"]
    assert [(row["number"], row["status"], row["total"]) for row in listed if row["number"]] == [
        ("CN-2026-000001", "final", "-20.00"),
        ("INV-2026-000001", "void", "20.00"),
        ("INV-2026-000002", "final", "20.00"),
    ]
    assert json.loads(run(desk, "invoice", "CN-2026-000001")[1]) == note
    assert json.loads(run(desk, "invoice", "INV-2026-000001")[1])["status"] == "void"
    assert run(desk, "void", "INV-2026-000001", "--reason", "again")[0] == 1
    assert run(desk, "verify")[0] == 0
    assert run(desk, "rebuild")[0] == 0
    assert json.loads(run(desk, "invoice", "CN-2026-000001")[1]) == note


def test_a_report_counts_neither_the_void_invoice_nor_its_credit_note(desk):
    run(desk, "void", "INV-2026-000001", "--reason", "wrong price")
    run(desk, "close", "2026-07")

    assert run(desk, "report", "2026-07", "--format", "json")[0] == 0
    [path] = (desk / "reports" / "2026-07").rglob("*.json")
    report = json.loads(path.read_text())
    assert report["report"]["documents"] == {"final": 2, "draft": 0, "void": 1, "credit_note": 1}
    assert [(row["currency"], row["invoices"], row["total"]) for row in report["totals"]] == [("USD", 2, "40.00")]


@pytest.mark.parametrize(
    "arguments", [("void",), ("void", "INV-2026-000001"), ("void", "INV-2026-000001", "--reason", " ")]
)
def test_a_void_needs_a_number_and_a_reason(desk, arguments):
    assert run(desk, *arguments)[0] == 2
