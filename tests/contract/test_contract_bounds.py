"""Contract 5.3 from outside: bounds by the month, minimums by time, flat fees as lines; closed, explained, verified."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_contract_invoices import HOUR, per_unit, plan, price

from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk

Json = dict[str, Any]
A_B_A = (
    "project_id,customer,plan,valid_from,valid_to\n"
    "p,A,pro,,2026-09-11\np,B,pro,2026-09-11,2026-09-21\np,A,pro,2026-09-21,\n"
)
PRO_TEAM_PRO = A_B_A.replace("p,B,pro", "p,A,team")
GAP = "project_id,customer,plan,valid_from,valid_to\np,A,pro,,2026-09-11\np,A,pro,2026-09-12,\n"
LAST_SECOND = (
    "project_id,customer,plan,valid_from,valid_to\n"
    "p,A,base,,2026-09-30T23:59:59Z\np,A,last,2026-09-30T23:59:59Z,2026-10-01\n"
)
FLAT = 'model = "graduated"\nflat_fee_at_zero = true\ntiers = [{ unit_price = "1", flat_fee = "6" }]'


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """On 3 October 2026, with the one project p; the seller is named, since September is closed."""
    with served(PlainNeon()) as neon:
        neon.fleet("org-a").project("p")
        yield Desk(
            directory=tmp_path, neon=neon, now="2026-10-03T00:00:00Z", more='[seller]\nname = "Acme Platforms Ltd"\n'
        )


def closed(desk: Desk) -> dict[str, str]:
    """Customer -> subtotal of September, closed; every line is explained, and the store verified."""
    desk.good("backfill")
    desk.good("close", "2026-09")
    found = desk.good("invoices", "2026-09")["invoices"]
    for invoice in found:
        assert sum(Decimal(line["amount"]) for line in invoice["lines"]) == Decimal(invoice["subtotal"])
        for line in invoice["lines"]:
            assert desk.good("explain", invoice["number"], line["key"])["agrees"], line["key"]
    assert desk.run("verify").code == 0
    return {invoice["customer"]["id"]: invoice["subtotal"] for invoice in found}


def used(desk: Desk, *days: int) -> None:
    for day in days:
        desk.neon.fleet("org-a").use("p", f"2026-09-{day:02}", grain="daily", compute_unit_seconds=10 * HOUR)


TEAM = plan("team")


@pytest.mark.parametrize(
    ("rows", "bound", "days", "due"),
    [
        (A_B_A, 'maximum = "8"', (2, 12, 22), {"A": "8.00", "B": "8.00"}),
        (GAP, 'maximum = "8"', (2, 22), {"A": "8.00"}),
        (PRO_TEAM_PRO, 'maximum = "8"', (2, 22), {"A": "8.00"}),
        (A_B_A, 'minimum = "5"', (), {"A": "3.33", "B": "1.67"}),
        (GAP, 'minimum = "30"', (), {"A": "29.00"}),
        (PRO_TEAM_PRO, 'minimum = "5"', (), {"A": "3.33"}),
        (A_B_A, 'minimum = "5"\nscope = "customer"', (), {"A": "3.33", "B": "1.67"}),
        (A_B_A, 'maximum = "8"\nscope = "customer"', (2, 12, 22), {"A": "8.00", "B": "8.00"}),
    ],
)
def test_bounds_count_once_per_customer_plan_and_month(
    desk: Desk, rows: str, bound: str, days: tuple[int, ...], due: dict[str, str]
) -> None:
    desk.plans = plan(prices=per_unit("compute", "1", bound)) + TEAM
    desk.subscriptions = rows
    used(desk, *days)
    assert closed(desk) == due


@pytest.mark.parametrize(("prorate", "due"), [("day", ("3.33", "1.67")), ("none", ("5.00", "5.00"))])
def test_a_minimum_goes_with_time_as_base_fees_do(desk: Desk, prorate: str, due: tuple[str, str]) -> None:
    desk.plans = plan(prices=per_unit("compute", "1", 'minimum = "5"'))
    desk.subscriptions = A_B_A
    desk.more += f'[invoices]\nprorate = "{prorate}"\n'
    assert closed(desk) == dict(zip("AB", due, strict=True))


def test_a_plan_and_a_price_held_for_the_last_second_owe_no_minimum(desk: Desk) -> None:
    last = plan("last", per_unit("compute", "1", 'minimum = "7.00"'), more='minimum = "93.00"\n')
    desk.plans = last + plan("base", base_fee="30.00")
    desk.subscriptions = LAST_SECOND
    assert closed(desk) == {"A": "30.00"}


@pytest.mark.parametrize(("days", "due"), [((), {"A": "4.00", "B": "2.00"}), ((22,), {"A": "16.00", "B": "2.00"})])
def test_a_flat_fee_due_without_usage_goes_with_time(desk: Desk, days: tuple[int, ...], due: dict[str, str]) -> None:
    desk.plans = plan(prices=price("compute", FLAT))
    desk.subscriptions = A_B_A
    used(desk, *days)
    assert closed(desk) == due


def test_a_tiers_flat_fee_is_a_line_and_the_usage_beside_it_multiplies_out(desk: Desk) -> None:
    desk.plans = plan(prices=price("compute", FLAT.replace('"1"', '"0.15"')))
    desk.subscriptions = "project_id,customer,plan\np,A,pro\n"
    desk.neon.fleet("org-a").use("p", "2026-09-05", grain="daily", compute_unit_seconds=3_489_080)
    assert closed(desk) == {"A": "151.38"}
    (invoice,) = desk.good("invoices", "2026-09")["invoices"]
    names = ("key", "kind", "quantity", "unit", "unit_price", "amount")
    assert [tuple(line[name] for name in names) for line in invoice["lines"]] == [
        ("p/compute/pro/2026-09-01T00:00:00Z/1", "usage", "969.188888888889", "CU-hour", "0.15", "145.38"),
        ("p/compute/pro/2026-09-01T00:00:00Z/1/flat", "flat_fee", "1", None, "6", "6.00"),
    ]
