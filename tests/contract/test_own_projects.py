"""Projects of the operator's own: known, billed to nobody, and nothing that stops a close."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk

HOUR = 3600
HEAD = "project_id,customer,plan,valid_from,valid_to\n"
PLANS = """
[[plans]]
id = "pro"
name = "Pro"
currency = "USD"
base_fee = "30.00"
[[plans.prices]]
meter = "compute"
valid_from = 2026-01-01
model = "per_unit"
unit_price = "0.10"
[[plans.prices]]
meter = "compute"
valid_from = 2026-09-20
model = "per_unit"
unit_price = "0.20"
"""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """p-1 and lab used 100 CU-hours on the 10th and on the 21st, by the day; everything is read on 3 October."""
    with served(PlainNeon()) as neon:
        desk = Desk(directory=tmp_path, neon=neon, plans=PLANS)
        for project in ("p-1", "lab"):
            neon.fleet("org-a").project(project, f"{project} by name")
            for day in (10, 21):
                use = {"grain": "daily", "compute_unit_seconds": 100 * HOUR}
                neon.fleet("org-a").use(project, f"2026-09-{day}", **use)
        desk.now = "2026-10-03T12:00:00Z"
        yield desk


def told(desk: Desk, rows: str) -> Desk:
    desk.subscriptions = HEAD + rows
    desk.good("backfill")
    return desk


def test_a_project_of_our_own_is_billed_to_nobody_and_stops_no_close(desk):
    told(desk, "p-1,acme,pro,,\nlab,,,,\n")

    done = desk.good("close", "2026-09")

    assert [invoice["customer"]["id"] for invoice in done["invoices"]] == ["acme"]
    assert done["invoices"][0]["total"] == "60.00"  # 30.00 + 100 x 0.10 + 100 x 0.20
    assert done["unassigned"] == []
    assert done["unpriced"] == []
    [own] = done["not_billed"]
    assert (own["reason"], own["projects"], own["worth"]) == ("own", "1", [])
    assert own["usage"] == [{"metric": "compute_unit_seconds", "value": "720000"}]
    assert own["neon_cost"] not in {None, "0.00"}
    rows = [row for row in desk.good("usage", "2026-09")["usage"] if row["project_id"] == "lab"]
    assert [(row["customer"], row["plan"], row["value"]) for row in rows] == [(None, None, "720000")]
    assert desk.run("verify").code == 0


def test_time_that_rows_leave_open_stays_unassigned_beside_our_own(desk):
    told(desk, "p-1,acme,pro,,\nlab,,,,2026-09-15\n")

    refused = desk.run("close", "2026-09")

    assert refused.code == 3
    assert "usage of projects that nobody pays for (1 project" in refused.err
    drafts = desk.good("invoices", "2026-09")
    assert drafts["unassigned"] == [{"project_id": "lab", "metric": "compute_unit_seconds", "value": "360000"}]


@pytest.mark.parametrize(("moment", "total"), [("2026-09-21", "30.00"), ("2026-09-22", "9.00")])
def test_our_own_project_that_a_customer_takes_over_is_billed_from_that_instant(desk, moment, total):
    # The day belongs to whoever has the project at its start: 100 x 0.20 + 30.00 x 10/30, or 30.00 x 9/30 alone.
    told(desk, f"p-1,,,,\nlab,,,,{moment}\nlab,acme,pro,{moment},\n")

    done = desk.good("close", "2026-09")

    assert [invoice["total"] for invoice in done["invoices"]] == [total]
    assert done["unassigned"] == []


@pytest.mark.parametrize(("row", "empty"), [("lab,,pro,,", "customer"), ("lab,acme,,,", "plan")])
def test_a_customer_without_a_plan_and_a_plan_without_a_customer_are_faults(desk, row, empty):
    desk.subscriptions = HEAD + row + "\n"

    ran = desk.run("check")

    assert ran.code == 4
    assert f"subscriptions.csv row 1 (line 2), {empty}: is empty; write both, or leave both empty" in ran.err


def test_a_project_of_our_own_stays_it_in_a_month_closed_before_its_row_was_taken_out(desk):
    told(desk, "p-1,acme,pro,,\nlab,,,,\n")
    desk.good("close", "2026-09")
    before = desk.run("invoices", "2026-09").out

    desk.subscriptions = HEAD + "p-1,acme,pro,,\n"

    assert desk.run("invoices", "2026-09").out == before
    assert desk.run("verify").code == 0
    assert desk.run("rebuild").code == 0
    assert desk.run("invoices", "2026-09").out == before


def test_an_upgrade_of_our_own_project_is_refused_before_anything_is_changed(desk):
    rows = "p-1,acme,pro,,\nlab,,,,\n"
    told(desk, rows)

    ran = desk.run("upgrade", "lab", "--plan", "pro")

    assert ran.code == 1
    assert "lab is a project of our own: subscriptions.csv row 2 (line 3) has no customer and no plan" in ran.err
    assert "end that row with valid_to, add a row with its customer and a plan" in ran.err
    assert desk.neon.changed == []
    assert (desk.directory / "subscriptions.csv").read_text() == HEAD + rows


@pytest.mark.parametrize(("now", "code"), [("2026-10-03T11:59:59Z", 1), ("2026-10-03T12:00:00Z", 0)])
def test_a_project_that_was_our_own_upgrades_from_the_instant_that_a_customer_has_it(desk, now, code):
    told(desk, "lab,,,,2026-10-03T12:00:00Z\nlab,acme,pro,2026-10-03T12:00:00Z,\n")
    desk.plans = PLANS + PLANS.replace('"pro"', '"team"').replace('"Pro"', '"Team"')
    desk.now = now

    ran = desk.run("upgrade", "lab", "--plan", "team")

    assert ran.code == code, ran
    written = (desk.directory / "subscriptions.csv").read_text()
    assert ("lab,acme,team,2026-10-03T12:00:00Z," in written) == (code == 0)
