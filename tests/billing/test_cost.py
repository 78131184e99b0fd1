import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest

from metering.billing import cost
from metering.core import meters, money
from metering.core.frames import Moment
from metering.core.period import month_of
from metering.rating import charges as rating
from metering.rating import validation
from metering.rating.pieces import priced_pieces
from tests.support.card import SEPTEMBER, at, existence, organization, plan, price, segments, subscription, used_frame

PRICE_LIST = cost.price_list()
SHARED = Path(__file__).parents[3] / "shared" / "neon" / "worked_examples.json"
METERS = {meter.id: meter for meter in meters.built_in()}
MARCH, JUNE = month_of(at(1, month=3)), month_of(at(1, month=6))


def periods(*rows):
    """(project, organization, Neon's plan, start, end) each; null is open."""
    schema = {
        "project_id": pl.String, "organization": pl.String, "neon_plan": pl.String,
        "start": Moment, "end": Moment,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def billed(rows, usage, *, month=SEPTEMBER, organizations=(), ours=None):
    """(rows of cost, our_segments); usage by (project, meter, start) in 1/denominator of the meter's unit."""
    owned, _ = cost.segments(month, periods(*rows), list(organizations), PRICE_LIST)
    ours = ours if ours is not None else segments(existence(), plans=[], month=month)
    pieces, prices = cost.pieces(owned, cost.cuts_of(ours), PRICE_LIST)
    numbers = {tuple(row[1:]): row[0] for row in pieces.select("piece_no", "project_id", "meter", "start").iter_rows()}
    used = used_frame({numbers[key]: value for key, value in usage.items()})
    charges = rating.charges(pieces, used, prices, owned)
    return cost.by_piece(charges, pieces, used), pieces, ours


def rows(*arguments, **keys):
    found = billed(*arguments, **keys)
    made = cost.rows(*found)
    assert cost.total(*found[:2]) == sum(round(Decimal(row.amount) * 100) for row in made)
    return made


def amounts(plan_id, quantities, month=SEPTEMBER):
    """{meter: amount} that Neon charges one project for quantities in billing units."""
    usage = {
        ("a", meter, month.start): int(Fraction(text) * meters.denominator(METERS[meter]))
        for meter, text in quantities.items()
    }
    return {row.meter: row.amount for row in rows([("a", "org-1", plan_id, None, None)], usage, month=month)}


@pytest.mark.parametrize(
    ("plan_id", "quantities", "lines"),
    [
        ("launch", ("10", "2", "1", "1"), ("1.06", "0.70", "0.35", "0.20")),
        ("launch", ("120", "20", "5", "10"), ("12.72", "7.00", "1.75", "2.00")),
        ("launch", ("250", "40", "10", "20"), ("26.50", "14.00", "3.50", "4.00")),
        ("scale", ("1700", "100", "25", "50"), ("377.40", "35.00", "8.75", "10.00")),
        ("scale", ("2600", "150", "40", "75"), ("577.20", "52.50", "14.00", "15.00")),
    ],
)
def test_the_invoices_that_neon_prints_as_examples_come_out_to_the_cent(plan_id, quantities, lines):
    names = ("compute", "storage_root", "storage_child", "instant_restore")

    assert amounts(plan_id, dict(zip(names, quantities, strict=True))) == dict(zip(names, lines, strict=True))


def test_half_a_million_compute_unit_seconds_on_scale():
    [row] = rows([("a", "org-1", "scale", None, None)], {("a", "compute", at(1)): 500_000})

    assert (row.amount, row.exact, row.quantity) == ("30.83", "30.833333333333", "138.888888888889")


@pytest.mark.parametrize(
    ("byte_months", "amount"),
    [(3_360_215_053, "1.18"), (1_999_999_999, "0.70"), (2_000_000_000, "0.70"), (1_000_000_000, "0.35")],
)
def test_storage_counts_in_byte_months(byte_months, amount):
    [row] = rows([("a", "org-1", "launch", None, None)], {("a", "storage_root", at(1)): byte_months})

    assert row.amount == amount


def test_twelve_child_branches_of_a_day_on_launch():
    owned, _ = cost.segments(SEPTEMBER, periods(("a", "org-1", "launch", None, None)), [], PRICE_LIST)
    pieces, _ = cost.pieces(owned, NO_CUTS, PRICE_LIST)
    [(allowance, by)] = pieces.filter(pl.col("meter") == "extra_branches").select("hourly_num", "hourly_den").rows()
    assert (allowance, by) == (9, 1)

    [row] = rows([("a", "org-1", "launch", None, None)], {("a", "extra_branches", at(1)): 24 * max(0, 12 - allowance)})

    assert (row.amount, row.exact, row.quantity) == ("0.15", "0.145161290323", "0.096774193548")


NO_CUTS = pl.DataFrame(schema={"project_id": pl.String, "cut_at": Moment})


@pytest.mark.skipif(not SHARED.exists(), reason="the research beside this checkout is not part of it")
def test_the_researched_examples_come_out_to_the_printed_cent():
    names = {
        "cu_hours": "compute",
        "root_gb_month": "storage_root",
        "child_gb_month": "storage_child",
        "instant_restore_gb_month": "instant_restore",
    }
    cases = [case for case in json.loads(SHARED.read_text())["cases"] if case["id"].startswith("plans-")]
    assert len(cases) == 5
    for case in cases:
        found = amounts(case["plan"], {names[key]: value for key, value in case["inputs"].items()})
        assert sum(money.parse_amount(amount, "USD") for amount in found.values()) == money.parse_amount(
            case["expected_total"], "USD"
        )


def test_compute_is_charged_by_the_price_of_its_day():
    november = month_of(at(1, month=11).replace(year=2025))
    before, after = november.start, november.start.replace(day=7)

    found = rows(
        [("a", "org-1", "launch", None, None)],
        {("a", "compute", before): 3600 * 100, ("a", "compute", after): 3600 * 100},
        month=november,
    )

    assert [(row.quantity, row.amount) for row in found] == [("200", "24.60")]


@pytest.mark.parametrize(
    ("plan_id", "month", "gigabytes", "amount"),
    [
        ("launch", SEPTEMBER, 500, None),
        ("launch", SEPTEMBER, 501, "0.10"),
        ("scale", SEPTEMBER, 510, "1.00"),
        ("launch", MARCH, 101, "0.10"),
        ("agent", SEPTEMBER, 101, "0.10"),
        ("agent", JUNE, 501, "0.10"),
    ],
)
def test_public_transfer_beyond_the_allowance_of_its_time_and_plan(plan_id, month, gigabytes, amount):
    usage = {("a", "public_transfer", month.start): gigabytes * 10**9}

    found = rows([("a", "org-1", plan_id, None, None)], usage, month=month)

    assert [row.amount for row in found] == ([amount] if amount else [])


def test_two_days_of_499_and_2_gigabytes_are_one_beyond():
    assert amounts("launch", {"public_transfer": "501"}) == {"public_transfer": "0.10"}


def test_before_august_2026_an_organization_shared_one_transfer_allowance():
    two = [("a", "org-1", "launch", None, None), ("b", "org-1", "launch", None, None)]
    shared = {("a", "public_transfer", JUNE.start): 400 * 10**9, ("b", "public_transfer", JUNE.start): 200 * 10**9}
    alone = {("a", "public_transfer", at(1)): 400 * 10**9, ("b", "public_transfer", at(1)): 200 * 10**9}

    june = rows(two, shared, month=JUNE)

    assert [(row.project_id, row.amount, row.quantity) for row in june] == [
        ("a", "6.67", "66.666666666667"),
        ("b", "3.33", "33.333333333333"),
    ]
    assert rows(two, alone) == []


def test_snapshots_are_free_before_may_2026():
    april = month_of(at(1, month=4))
    usage = {("a", "snapshots", april.start): 10 * 10**9}

    assert [row.amount for row in rows([("a", "o", "scale", None, None)], usage, month=april)] == ["0.00"]
    assert amounts("scale", {"snapshots": "10"}) == {"snapshots": "0.90"}


def test_private_transfer_and_branches_differ_by_plan():
    assert amounts("scale", {"private_transfer": "100"}) == {"private_transfer": "1.00"}
    hourly = {
        plan_id: [str(entry.included_per_hour) for entry in own.prices if entry.meter == "extra_branches"]
        for plan_id, own in {own.id: own for own in PRICE_LIST}.items()
    }
    assert hourly == {"free": [], "launch": ["9"], "scale": ["24"], "agent": ["24"], "enterprise": ["24"]}


def test_an_unknown_plan_is_reported_and_never_guessed():
    owned, unknown = cost.segments(
        SEPTEMBER,
        periods(
            ("a", "org-1", "business", None, None), ("b", "org-1", None, None, None), ("d", "org-2", "x", None, None)
        ),
        [organization("org-2", plan="scale")],
        PRICE_LIST,
    )

    assert unknown == [("org-1", "business"), ("org-1", None)]
    assert owned.select("project_id", "plan").rows() == [("d", "scale")]


def test_a_sponsored_organization_costs_nothing():
    usage_rows = [("a", "org-free", "agent", None, None)]

    owned, unknown = cost.segments(
        SEPTEMBER, periods(*usage_rows), [organization("org-free", plan="agent", sponsored=True)], PRICE_LIST
    )

    assert (owned.height, unknown) == (0, [])


def test_a_plan_change_of_neons_prices_each_part_by_its_own_plan():
    found = rows(
        [("a", "org-1", "launch", None, at(16)), ("a", "org-1", "scale", at(16), None)],
        {("a", "compute", at(1)): 3600 * 10, ("a", "compute", at(16)): 3600 * 10},
    )

    assert [(row.quantity, row.amount) for row in found] == [("20", "3.28")]


def test_cost_goes_to_our_customer_of_its_time_and_keeps_one_allowance():
    pro = plan("pro")
    ours = segments(
        existence(a=(None, None)),
        subscriptions=[subscription("a", "c", "pro", None, at(11)), subscription("a", "d", "pro", at(11), at(21))],
        plans=[pro],
    )
    usage = {("a", "public_transfer", at(day)): 400 * 10**9 for day in (1, 11, 21)}

    found = rows([("a", "org-1", "launch", None, None)], usage, ours=ours)

    assert [(row.customer, row.plan, row.quantity, row.amount) for row in found] == [
        (None, None, "400", "40.00"),
        ("d", "pro", "300", "30.00"),
    ]


def test_cents_of_many_projects_sum_to_the_organizations_rounded_charge():
    names = [f"p{i}" for i in range(7)]
    usage = {(name, "compute", at(1)): 117 for name in names}

    found = rows([(name, "org-1", "launch", None, None) for name in names], usage)

    assert [row.amount for row in found] == ["0.01"] * 2 + ["0.00"] * 5
    assert {row.exact for row in found} == {"0.003445"}


def test_cost_plus_takes_the_cost_of_the_same_time_and_metrics():
    pro = plan("pro", price("storage", model="cost_plus", markup_percent="10"), price(unit_price="1"))
    ours = segments(existence(a=(None, None)), subscriptions=[subscription("a", "c", "pro", at(11))], plans=[pro])
    our_pieces, prices = priced_pieces(ours, [pro], meters.built_in())
    usage = {
        ("a", "storage_root", at(1)): 5 * 10**9,
        ("a", "storage_root", at(11)): 2 * 10**9,
        ("a", "storage_child", at(11)): 10**9,
        ("a", "compute", at(11)): 3600,
    }

    by_piece, cost_pieces, _ = billed([("a", "org-1", "launch", None, None)], usage, ours=ours)
    found = cost.for_cost_plus(by_piece, cost_pieces, our_pieces, prices, meters.built_in())

    number = our_pieces.filter(pl.col("meter") == "storage")["piece_no"].item()
    assert found == {number: Fraction("1.05")}


def test_the_price_list_is_a_sound_card_but_for_the_scope_that_neon_changed():
    faults = [fault for fault in validation.faults(PRICE_LIST, meters.built_in()) if not fault.where.endswith(".scope")]

    assert faults == []
    assert {own.currency for own in PRICE_LIST} == {"USD"}
