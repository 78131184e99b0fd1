"""`close MONTH --supplement` from outside: what a close left to nobody is billed once, less what was billed before."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_contract_invoices import HOUR

from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk, copied

Json = dict[str, Any]
HEAD = "project_id,customer,plan,valid_from,valid_to\n"
ANT = "ant-1,ant,pro,,\n"
# September costs 20 a month and 0.10 an hour beyond 100, from the 16th on 0.20: two price versions.
PRO = """
[[plans]]
id = "pro"
name = "Pro"
currency = "USD"
base_fee = "20.00"
[[plans.prices]]
meter = "compute"
valid_from = 2026-01-01
model = "per_unit"
included = "100"
unit_price = "0.10"
[[plans.prices]]
meter = "compute"
valid_from = 2026-09-16
model = "per_unit"
included = "100"
unit_price = "0.20"
"""
POOL = """
[[plans]]
id = "team"
name = "Team"
currency = "USD"
base_fee = "30.00"
base_fee_scope = "customer"
minimum = "50.00"
[[plans.prices]]
meter = "compute"
scope = "customer"
valid_from = 2026-01-01
model = "graduated"
tiers = [{ up_to = "150", unit_price = "0.10" }, { unit_price = "0.05" }]
[[plans.prices]]
meter = "compute"
scope = "customer"
valid_from = 2026-09-16
model = "graduated"
tiers = [{ up_to = "150", unit_price = "0.20" }, { unit_price = "0.10" }]
"""


@contextmanager
def october(directory: Path) -> Iterator[Desk]:
    """On 3 October 2026: ant-1 and lone-1 used 120 hours on the 10th and 30 on the 20th; lone-1 is nobody's."""
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        for project in ("ant-1", "lone-1"):
            fleet.project(project)
            fleet.use(project, "2026-09-10", grain="daily", compute_unit_seconds=120 * HOUR)
            fleet.use(project, "2026-09-20", grain="daily", compute_unit_seconds=30 * HOUR)
        yield Desk(
            directory=directory, neon=neon, now="2026-10-03T00:00:00Z", plans=PRO + POOL, subscriptions=HEAD + ANT
        )


def close_september(desk: Desk) -> None:
    desk.good("backfill")
    assert desk.run("close", "2026-09").code == 3
    desk.good("close", "2026-09", "--allow-unassigned", "not sold yet")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with october(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with october(tmp_path_factory.mktemp("closed")) as found:
        close_september(found)
        yield found


@pytest.fixture
def closed(kept: Desk, tmp_path: Path) -> Iterator[Desk]:
    """The same with September closed."""
    with copied(kept, tmp_path) as found:
        yield found


def supplement(desk: Desk, *more: str) -> list[Json]:
    """The supplementary invoices that are new."""
    done = desk.good("close", "2026-09", "--supplement", *more)
    return [one for one in done["invoices"] if one["number"] in done["issued"]]


def standing(desk: Desk) -> dict[str, Decimal]:
    """Customer -> what stands of September; every line is explained, the store verified and rebuilt to the same."""
    out: dict[str, Decimal] = {}
    found = desk.good("invoices", "2026-09")["invoices"]
    for one in found:
        if one["number"] and one.get("kind") != "credit_note":
            for line in one["lines"]:
                told = desk.good("explain", one["number"], line["key"])
                assert told["agrees"], told
            assert sum(Decimal(line["amount"]) for line in one["lines"]) == Decimal(one["subtotal"])
        if one["number"] and one["status"] == "final" and one.get("kind") != "credit_note":
            customer = one["customer"]["id"]
            out[customer] = out.get(customer, Decimal(0)) + Decimal(one["subtotal"])
    assert desk.run("verify").code == 0, desk.run("verify")
    assert desk.run("rebuild").code == 0
    assert desk.good("invoices", "2026-09")["invoices"] == found
    return out


def lines_of(document: Json) -> dict[str, tuple[str, str]]:
    return {line["key"]: (line["quantity"], line["amount"]) for line in document["lines"]}


def test_a_project_that_was_nobodys_is_billed_to_a_new_customer_with_its_base_fee(closed: Desk) -> None:
    closed.subscriptions = HEAD + ANT + "lone-1,bee,pro,,\n"
    (found,) = supplement(closed)
    assert (found["number"], found["kind"], found["supplements"]) == ("INV-2026-000002", "supplement", [])
    # 20 for the month, 20 hours beyond the 100 included at 0.10, then 30 at 0.20.
    assert lines_of(found) == {
        "lone-1/base_fee/pro/2026-09-01T00:00:00Z/1": ("1", "20.00"),
        "lone-1/compute/pro/2026-09-01T00:00:00Z/1": ("20", "2.00"),
        "lone-1/compute/pro/2026-09-16T00:00:00Z/1": ("30", "6.00"),
    }
    assert standing(closed) == {"ant": Decimal("28.00"), "bee": Decimal("28.00")}


def test_a_second_supplement_changes_nothing(closed: Desk) -> None:
    closed.subscriptions = HEAD + ANT + "lone-1,bee,pro,,\n"
    assert len(supplement(closed)) == 1
    before = closed.good("invoices", "2026-09")
    records = closed.good("status")["store"]["records"] if "store" in closed.good("status") else None
    assert supplement(closed) == []
    assert closed.good("close", "2026-09")["issued"] == []
    assert closed.good("invoices", "2026-09") == before
    if records is not None:
        assert closed.good("status")["store"]["records"] == records


def test_with_nothing_mapped_a_supplement_issues_nothing(closed: Desk) -> None:
    assert supplement(closed) == []


def test_a_dry_run_shows_the_supplement_and_issues_nothing(closed: Desk) -> None:
    closed.subscriptions = HEAD + ANT + "lone-1,bee,pro,,\n"
    shown = closed.good("close", "2026-09", "--supplement", "--dry-run")
    (draft,) = [one for one in shown["invoices"] if one["number"] is None]
    assert (draft["kind"], draft["status"], draft["subtotal"]) == ("supplement", "draft", "28.00")
    assert len(closed.good("invoices", "2026-09")["invoices"]) == 1


def test_lines_of_a_whole_customer_are_differences_with_both_ends(desk: Desk) -> None:
    desk.subscriptions = HEAD + "ant-1,ant,team,,\n"
    close_september(desk)
    # ant alone: 30 base fee, 120 hours at 0.10, then 30 at 0.20 up to 150: 48.00, so 2.00 to the minimum of 50.
    (first,) = desk.good("invoices", "2026-09")["invoices"]
    assert first["subtotal"] == "50.00"
    desk.subscriptions += "lone-1,ant,team,,\n"
    (found,) = supplement(desk)
    assert found["supplements"] == ["INV-2026-000001"]
    by_key = {line["key"]: line for line in found["lines"]}
    # Together 240 hours before the 16th: 150 at 0.10 and 90 at 0.05; 60 after it at 0.10: 55.50, no minimum.
    tier = by_key["ant/compute/team/2026-09-01T00:00:00Z/1"]
    assert (tier["quantity"], tier["unit_price"], tier["amount"]) == ("30", "0.10", "3.00")
    assert (tier["before"], tier["after"]) == (
        {"quantity": "120", "amount": "12.00"},
        {"quantity": "150", "amount": "15.00"},
    )
    assert tier["projects"] == [
        {"project_id": "ant-1", "quantity": "-45", "amount": "-4.50"},
        {"project_id": "lone-1", "quantity": "75", "amount": "7.50"},
    ]
    assert {key: line["amount"] for key, line in by_key.items()} == {
        "ant/compute/team/2026-09-01T00:00:00Z/1": "3.00",
        "ant/compute/team/2026-09-01T00:00:00Z/2": "4.50",
        "ant/compute/team/2026-09-16T00:00:00Z/1": "-6.00",
        "ant/compute/team/2026-09-16T00:00:00Z/2": "6.00",
        "ant/minimum/team/2026-09-01T00:00:00Z/1": "-2.00",
    }
    assert standing(desk) == {"ant": Decimal("55.50")}


def test_the_page_of_a_difference_does_not_call_usage_free(desk: Desk, tmp_path: Path) -> None:
    desk.subscriptions = HEAD + "ant-1,ant,team,,\n"
    close_september(desk)
    desk.subscriptions += "lone-1,ant,team,,\n"
    supplement(desk)
    page = tmp_path / "page.html"
    assert desk.run("invoice", "INV-2026-000002", "--html", str(page)).code == 0
    text = page.read_text()
    assert "Supplementary invoice" in text and "15.00 for 150 less 12.00 for 120" in text
    assert "Included or free" not in text


def test_time_that_was_billed_stays_where_it_was_billed(closed: Desk) -> None:
    closed.subscriptions = HEAD + "ant-1,bee,pro,,\nlone-1,bee,pro,,\n"
    (found,) = supplement(closed)
    assert {line["project_id"] for line in found["lines"]} == {"lone-1"}
    assert standing(closed) == {"ant": Decimal("28.00"), "bee": Decimal("28.00")}


def test_the_part_of_a_month_that_was_nobodys_is_billed(desk: Desk) -> None:
    desk.subscriptions = HEAD + ANT + "lone-1,bee,pro,2026-09-16,\n"
    close_september(desk)
    before = {one["customer"]["id"]: one["subtotal"] for one in desk.good("invoices", "2026-09")["invoices"]}
    assert before == {"ant": "28.00", "bee": "10.00"}  # half a fee; 30 hours of the 100 included
    desk.subscriptions = HEAD + ANT + "lone-1,cat,pro,,2026-09-16\nlone-1,bee,pro,2026-09-16,\n"
    (found,) = supplement(desk)
    # Half a fee; 120 hours, of which the first 50 (half of 100) are included.
    assert (found["customer"]["id"], found["subtotal"]) == ("cat", "17.00")
    assert standing(desk)["cat"] == Decimal("17.00")


def test_who_had_the_rest_of_a_projects_month_gets_its_share_of_fee_and_allowance(desk: Desk) -> None:
    desk.plans = desk.plans.replace("20.00", "19.99")
    desk.subscriptions = HEAD + ANT + "lone-1,bee,pro,2026-09-16,\n"
    desk.neon.fleet("org-a").use("lone-1", "2026-09-25", grain="daily", compute_unit_seconds=50 * HOUR)
    close_september(desk)
    before = {one["customer"]["id"]: one["subtotal"] for one in desk.good("invoices", "2026-09")["invoices"]}
    assert before["bee"] == "10.00"  # half of 19.99 is 9.995; 80 hours of the 100 included
    desk.subscriptions = HEAD + ANT + "lone-1,cat,pro,,2026-09-16\nlone-1,bee,pro,2026-09-16,\n"
    bee, cat = supplement(desk)
    # The whole fee is 19.99, so bee's half is a cent less; it has 50 hours included, so 30 at 0.20 are due.
    assert (bee["customer"]["id"], bee["subtotal"]) == ("bee", "5.99")
    assert (cat["customer"]["id"], cat["subtotal"]) == ("cat", "17.00")
    assert standing(desk) == {"ant": Decimal("27.99"), "bee": Decimal("15.99"), "cat": Decimal("17.00")}
    assert supplement(desk) == []


def test_plans_are_those_of_the_closing_and_a_plan_that_did_not_exist_is_todays(closed: Desk) -> None:
    closed.plans = closed.plans.replace('base_fee = "20.00"', 'base_fee = "99.00"') + PRO.replace(
        '"pro"', '"new"'
    ).replace("20.00", "7.00")
    closed.neon.fleet("org-a").project("mole-1")
    closed.subscriptions = HEAD + ANT + "lone-1,bee,new,,2026-09-16\nlone-1,bee,pro,2026-09-16,\n"
    (found,) = supplement(closed)
    fees = {line["plan"]: line["amount"] for line in found["lines"] if line["kind"] == "base_fee"}
    assert fees == {"new": "3.50", "pro": "10.00"}
    standing(closed)


def test_an_adjustment_sees_the_supplement(closed: Desk) -> None:
    closed.subscriptions = HEAD + ANT + "lone-1,bee,pro,,\n"
    supplement(closed)
    for bucket in closed.neon.fleet("org-a").buckets:
        if bucket.project == "lone-1" and bucket.start == "2026-09-20":
            bucket.metrics = {"compute_unit_seconds": 40 * HOUR}
    closed.now = "2026-11-03T00:00:00Z"
    closed.good("backfill")
    drafts = {one["customer"]["id"]: one for one in closed.good("invoices", "2026-10")["invoices"]}
    adjusted = [line for line in drafts["bee"]["lines"] if line["kind"] == "adjustment"]
    assert [(line["quantity"], line["amount"]) for line in adjusted] == [("10", "2.00")]
    assert not [line for line in drafts["ant"]["lines"] if line["kind"] == "adjustment"]


def test_a_void_invoice_is_issued_anew_less_its_supplement(desk: Desk) -> None:
    desk.subscriptions = HEAD + "ant-1,ant,team,,\n"
    close_september(desk)
    desk.subscriptions += "lone-1,ant,team,,\n"
    supplement(desk)
    desk.good("void", "INV-2026-000001", "--reason", "wrong street")
    done = desk.good("close", "2026-09")
    (anew,) = [one for one in done["invoices"] if one["number"] in done["issued"]]
    assert anew["subtotal"] == "50.00"
    assert standing(desk) == {"ant": Decimal("55.50")}
    assert supplement(desk) == []


def test_a_void_supplement_is_issued_anew_by_the_next_one(closed: Desk) -> None:
    closed.subscriptions = HEAD + ANT + "lone-1,bee,pro,,\n"
    supplement(closed)
    closed.good("void", "INV-2026-000002", "--reason", "it is cat's")
    closed.subscriptions = HEAD + ANT + "lone-1,cat,pro,,\n"
    assert closed.good("close", "2026-09")["issued"] == []
    (found,) = supplement(closed)
    assert (found["customer"]["id"], found["subtotal"]) == ("cat", "28.00")
    assert standing(closed) == {"ant": Decimal("28.00"), "cat": Decimal("28.00")}


def test_a_month_that_is_not_closed_has_no_supplement(desk: Desk) -> None:
    desk.good("backfill")
    ran = desk.run("close", "2026-09", "--supplement")
    assert (ran.code, ran.out) == (1, "")
    assert "2026-09 is not closed" in ran.err and "metering close 2026-09" in ran.err


def test_a_supplement_takes_no_release(desk: Desk) -> None:
    ran = desk.run("close", "2026-09", "--supplement", "--release", "ant", "--reason", "x")
    assert (ran.code, ran.out) == (2, "")


def test_a_reason_given_with_a_supplement_is_recorded_and_one_without_keeps_the_closes(desk: Desk) -> None:
    desk.neon.fleet("org-a").project("more-1")
    desk.neon.fleet("org-a").use("more-1", "2026-09-10", grain="daily", compute_unit_seconds=HOUR)
    close_september(desk)
    desk.subscriptions = HEAD + ANT + "lone-1,bee,pro,,\n"
    assert desk.good("close", "2026-09", "--supplement")["allow_unassigned"] == "not sold yet"
    desk.subscriptions += "more-1,cat,pro,2026-09-16,\n"
    assert desk.good("close", "2026-09", "--supplement", "--allow-unassigned", "half")["allow_unassigned"] == "half"


def test_a_project_of_our_own_that_is_sold_later_is_billed_by_a_supplement(desk: Desk) -> None:
    desk.subscriptions = HEAD + ANT + "lone-1,,,,\n"
    desk.good("backfill")
    desk.good("close", "2026-09")
    desk.subscriptions = HEAD + ANT + "lone-1,,,,2026-09-16\nlone-1,bee,pro,2026-09-16,\n"
    (found,) = supplement(desk)
    assert found["subtotal"] == "10.00"
    standing(desk)


def test_exports_page_and_report_show_the_supplement(closed: Desk, tmp_path: Path) -> None:
    closed.subscriptions = HEAD + ANT + "lone-1,bee,pro,,\n"
    supplement(closed)
    page = tmp_path / "page.html"
    assert closed.run("invoice", "INV-2026-000002", "--html", str(page)).code == 0
    assert "Supplementary invoice" in page.read_text()
    out = tmp_path / "xero.csv"
    assert closed.run("export", "xero", "2026-09", "-o", str(out)).code == 0
    assert "INV-2026-000002" in out.read_text()
    costs = tmp_path / "focus.csv"
    assert closed.run("export", "focus", "2026-09", "-o", str(costs)).code == 0
    with costs.open(newline="") as file:
        found = [row for row in csv.DictReader(file) if row["InvoiceId"] == "INV-2026-000002"]
    assert {(row["x_DocumentKind"], row["ChargeClass"]) for row in found} == {("supplement", "Correction")}
    assert sum(Decimal(row["BilledCost"]) for row in found) == Decimal("28.00")
    report = next(tmp_path.rglob("reports/2026-09/report.html")).read_text()
    assert "INV-2026-000002" in report
