"""`close`, `invoice`, `verify` and `rebuild` from outside: refusals, numbers, and what never changes again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metering.store.lock import held
from tests.support.platform_desk import Desk, copied
from tests.support.two_customers import two_customers

Json = dict[str, Any]
HOUR = 3600


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[Desk]:
    """Nothing is read yet."""
    with two_customers(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """September 2026 is read whole."""
    with two_customers(tmp_path_factory.mktemp("read")) as found:
        found.good("backfill")
        yield found


@pytest.fixture
def desk(read: Desk, tmp_path: Path) -> Iterator[Desk]:
    """A copy of it for each test."""
    with copied(read, tmp_path) as found:
        yield found


def journal(desk: Desk) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((desk.directory / "var" / "journal").iterdir()))


def test_a_month_that_is_not_over_is_refused(desk: Desk) -> None:
    ran = desk.run("close", "current")
    assert (ran.code, ran.out) == (3, "")
    assert "2026-10 is not over" in ran.err


def test_a_month_closes_when_settle_hours_have_passed_and_not_a_second_earlier(desk: Desk) -> None:
    desk.now = "2026-10-02T11:59:59Z"
    ran = desk.run("close", "2026-09")
    assert ran.code == 3
    assert "2026-10-02T12:00:00Z" in ran.err
    desk.now = "2026-10-02T12:00:00Z"
    assert desk.good("close", "2026-09")["issued"] == ["INV-2026-000001", "INV-2026-000002"]


def test_a_gap_is_refused_naming_organization_and_hours(desk: Desk) -> None:
    desk.organizations = ("org-a", "org-unread")
    ran = desk.run("close", "2026-09")
    assert (ran.code, ran.out) == (3, "")
    assert "org-unread: 720 h from 2026-09-01T00:00:00Z to 2026-10-01T00:00:00Z" in ran.err
    assert "--allow-incomplete" in ran.err
    assert desk.good("invoices", "2026-09")["invoices"][0]["status"] == "draft"


def test_a_gap_may_be_accepted_with_a_reason_that_is_recorded(desk: Desk) -> None:
    desk.organizations = ("org-a", "org-unread")
    closed = desk.good("close", "2026-09", "--allow-incomplete", "agreed with finance on the phone")
    assert len(closed["issued"]) == 2
    assert closed["invoices"][0]["coverage"]["complete"] is False
    assert b"agreed with finance on the phone" in journal(desk)
    assert desk.run("close", "2026-09", "--allow-incomplete", " ").code == 2


def test_final_invoices_carry_number_dates_and_lines(desk: Desk) -> None:
    desk.good("close", "2026-09")
    first, second = desk.good("invoices", "2026-09")["invoices"]
    assert (first["customer"]["id"], first["number"]) == ("ant-1", "INV-2026-000001")
    assert (second["customer"]["id"], second["number"]) == ("bee-1", "INV-2026-000002")
    assert first["status"] == "final"
    assert (first["issued_at"], first["due_at"]) == ("2026-10-02T12:00:00Z", "2026-11-01T12:00:00Z")
    assert (first["subtotal"], second["subtotal"]) == ("20.32", "20.16")
    assert desk.good("invoice", "INV-2026-000001") == first


def test_a_second_close_changes_not_one_byte(desk: Desk) -> None:
    desk.good("close", "2026-09")
    before, listed = journal(desk), desk.run("invoices", "2026-09").out
    desk.now = "2026-10-20T00:00:00Z"
    again = desk.good("close", "2026-09")
    assert again["issued"] == []
    assert journal(desk) == before
    assert desk.run("invoices", "2026-09").out == listed


def test_a_dry_run_shows_the_drafts_and_changes_not_one_byte(desk: Desk) -> None:
    before = journal(desk)
    shown = desk.good("close", "2026-09", "--dry-run")
    assert [(one["number"], one["status"], one["total"]) for one in shown["invoices"]] == [
        (None, "draft", "20.32"),
        (None, "draft", "20.16"),
    ]
    assert journal(desk) == before


def test_a_dry_run_tells_why_it_would_be_refused_and_still_shows_the_drafts(desk: Desk) -> None:
    desk.organizations = ("org-a", "org-unread")
    ran = desk.run("close", "2026-09", "--dry-run")
    assert ran.code == 3
    assert "org-unread: 720 h" in ran.err
    assert len(ran.json["invoices"]) == 2
    early = desk.run("close", "current", "--dry-run")
    assert early.code == 3
    assert "2026-10 is not over" in early.err


def test_a_dry_run_needs_no_lock(desk: Desk) -> None:
    with held(desk.directory / "var"):
        assert len(desk.good("close", "2026-09", "--dry-run")["invoices"]) == 2
        assert desk.run("close", "2026-09").code == 75


def test_numbers_go_on_in_the_next_month_and_restart_with_the_year(desk: Desk) -> None:
    desk.good("close", "2026-09")
    fleet = desk.neon.fleet("org-a")
    for now, month, issued in (
        ("2026-11-03T00:00:00Z", "2026-10", ["INV-2026-000003", "INV-2026-000004"]),
        ("2026-12-03T00:00:00Z", "2026-11", ["INV-2026-000005", "INV-2026-000006"]),
        ("2027-01-03T00:00:00Z", "2026-12", ["INV-2027-000001", "INV-2027-000002"]),
    ):
        desk.now = now
        fleet.use("bee-1", f"{month}-10", grain="daily", compute_unit_seconds=1)
        desk.good("backfill")
        assert desk.good("close", month)["issued"] == issued


def test_final_invoices_and_verify_survive_another_configuration(desk: Desk) -> None:
    desk.good("close", "2026-09")
    before = desk.run("invoices", "2026-09").out
    desk.plans = desk.plans.replace("0.16", "99").replace("20.00", "1").replace('"100"', '"5"')
    desk.more = '[invoices]\nnumber = "R{year}{number:03d}"\nrounding = "half_even"\nprorate = "day"\n'
    desk.default_plan = None
    desk.customers = "customer,name,tax_rate_percent\nant-1,Another Name,21\n"
    assert desk.run("invoices", "2026-09").out == before
    verified = desk.run("verify")
    assert verified.code == 0, verified
    assert "2 invoices" in verified.out


def test_final_invoices_survive_late_usage(desk: Desk) -> None:
    desk.good("close", "2026-09")
    before = desk.good("invoices", "2026-09")
    desk.neon.fleet("org-a").use("bee-1", "2026-09-30T20:00", compute_unit_seconds=HOUR)
    desk.now = "2026-10-03T00:00:00Z"
    desk.good("poll")
    assert desk.good("invoices", "2026-09") == before
    assert desk.run("verify").code == 0


def test_a_day_that_is_revised_after_the_close_is_read_by_the_next_backfill_and_corrected(desk: Desk) -> None:
    desk.good("close", "2026-09")
    desk.neon.fleet("org-a").buckets[0].metrics = {"compute_unit_seconds": 151 * HOUR}  # bee-1: it was 101
    desk.now = "2026-10-20T00:00:00Z"
    assert desk.good("backfill", "--from", "2026-09-01", "--to", "2026-10-01")["changes"] == "1"
    (bee,) = [one for one in desk.good("invoices", "2026-10")["invoices"] if one["customer"]["id"] == "bee-1"]
    (line,) = [line for line in bee["lines"] if line["kind"] == "adjustment"]
    assert (line["quantity"], line["amount"], line["from"]) == ("50", "8.00", "2026-09-01T00:00:00Z")
    assert desk.run("verify").code == 0


def test_a_backfill_that_was_interrupted_asks_only_for_what_it_lacks(unread: Desk) -> None:
    def asked(code: int) -> list[str]:
        unread.neon.asked.clear()
        unread.good("backfill", "--from", "2026-07-01", "--to", "2026-10-01", code=code)
        return [question["granularity"] for _, question in unread.neon.asked if "granularity" in question]

    unread.neon.fail("org-a", "monthly", 500)
    assert asked(3) == ["hourly", "daily", "monthly"]
    unread.neon.errors.clear()
    assert asked(0) == ["monthly"]
    assert asked(0) == ["hourly", "daily", "monthly"]


def test_rebuild_gives_the_same_answers_from_the_journal_alone(desk: Desk) -> None:
    desk.good("close", "2026-09")
    commands = (("invoices", "2026-09"), ("usage", "2026-09"), ("quota", "--all"), ("alerts", "list"))
    before = [desk.run(*command).out for command in commands]
    for name in ("metering.duckdb", "snapshot.duckdb"):
        (desk.directory / "var" / name).unlink()
    ran = desk.run("rebuild")
    assert ran.code == 0, ran
    assert [desk.run(*command).out for command in commands] == before
    assert desk.run("verify").code == 0


def test_usage_that_no_meter_knows_parks_its_customer_and_no_other(unread: Desk) -> None:
    desk = unread
    desk.neon.fleet("org-a").use("bee-1", "2026-09-11", grain="daily", unheard_of=6)
    desk.good("backfill")
    ran = desk.run("close", "2026-09")
    assert ran.code == 3
    assert "bee-1 is parked" in ran.err
    assert "unheard_of" in ran.err
    assert [one["customer"]["id"] for one in ran.json["invoices"]] == ["ant-1"]
    before = journal(desk)
    assert desk.run("close", "2026-09").code == 3
    assert journal(desk) == before
    # A meter that knows it lets the customer close.
    desk.more = '[[meters]]\nid = "novel"\nmetrics = ["unheard_of"]\nunit = "thing"\n'
    desk.more += 'divisors = [{ valid_from = 2024-03-01, divisor = "1" }]\n'
    closed = desk.good("close", "2026-09")
    assert closed["issued"] == ["INV-2026-000002"]
    assert closed["unpriced"][0]["reason"] == "not_in_plan"


def test_unassigned_usage_stops_a_close_until_a_reason_is_given_and_unpriced_usage_does_not(unread: Desk) -> None:
    desk = unread
    fleet = desk.neon.fleet("org-a")
    fleet.use("ant-1", "2026-09-11", grain="daily", public_network_transfer_bytes=6)
    desk.subscriptions = "project_id,customer,plan,valid_to\nbee-1,cust7,pro,2026-09-05\n"
    desk.good("backfill")
    refused = desk.run("close", "2026-09")
    assert (refused.code, refused.out) == (3, "")
    # 101 CU-hours at 0.222 USD on Neon's plan scale: 22.422.
    assert "usage of projects that nobody pays for (1 project, Neon cost 22.42 USD): map them" in refused.err
    assert "metering close 2026-09 --allow-unassigned REASON" in refused.err
    closed = desk.good("close", "2026-09", "--allow-unassigned", "our own project")
    assert len(closed["unassigned"]) == 1
    assert [row["reason"] for row in closed["unpriced"]] == ["not_in_plan"]
    assert desk.good("invoices", "2026-09")["unassigned"] == closed["unassigned"]
    assert desk.run("close", "2026-09", "--allow-unassigned", " ").code == 2


def test_an_unknown_invoice_is_named(desk: Desk) -> None:
    ran = desk.run("invoice", "INV-1999-000001")
    assert (ran.code, ran.out) == (1, "")
    assert "INV-1999-000001" in ran.err


def test_a_closed_month_that_nobody_uses_closes_without_invoices(desk: Desk) -> None:
    desk.default_plan = None
    assert desk.good("close", "2026-09", "--allow-unassigned", "nobody pays yet")["invoices"] == []
    before = journal(desk)
    assert desk.good("close", "2026-09")["invoices"] == []
    assert journal(desk) == before


def test_verify_finds_one_changed_byte_of_the_journal(desk: Desk) -> None:
    desk.good("close", "2026-09")
    path = sorted((desk.directory / "var" / "journal").iterdir())[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    ran = desk.run("verify")
    assert ran.code == 1
    assert ran.err


def test_tick_closes_on_the_close_day_and_writes_the_report(desk: Desk) -> None:
    desk.good("close", "2026-08")
    desk.more = '[schedule]\nfirst_month = "2026-09"\n'
    desk.now = "2026-10-02T23:45:00Z"
    assert desk.run("tick").code == 0
    assert desk.good("invoices", "2026-09")["invoices"][0]["status"] == "draft"
    desk.now = "2026-10-03T00:00:00Z"
    ran = desk.run("tick")
    assert (ran.code, ran.out) == (0, "")
    assert desk.good("invoices", "2026-09")["invoices"][0]["status"] == "final"
    reports = desk.directory / "var" / "reports" / "2026-09"
    assert (reports / "report.html").is_file()
    assert sorted(path.name for path in (reports / "invoices").glob("*.html")) == [
        "INV-2026-000003.html",
        "INV-2026-000004.html",
    ]
    before = journal(desk)
    assert desk.run("tick").code == 0
    assert journal(desk) == before


@pytest.mark.parametrize(
    ("schedule", "when"),
    [
        ("", "2026-10-03T00:00:00Z"),
        ("settle_hours = 72", "2026-10-04T00:00:00Z"),
        ("close_day = 1", "2026-10-02T12:00:00Z"),
        ("close_day = 0", "2026-10-02T12:00:00Z"),
    ],
)
def test_status_says_from_when_the_month_is_closed(desk: Desk, schedule: str, when: str) -> None:
    desk.more = f"[schedule]\n{schedule}\n"
    assert desk.good("status")["close_due_from"] == when


def test_report_prints_the_paths_it_wrote(desk: Desk) -> None:
    ran = desk.run("report", "2026-09", "--format", "csv,json,html")
    assert ran.code == 0, ran
    paths = [Path(line) for line in ran.out.splitlines()]
    assert paths
    assert all(path.is_file() for path in paths)
    bad = desk.run("report", "2026-09", "--format", "docx")
    assert bad.code == 2
    assert "docx" in bad.err
