"""Corrections of months with flat fees, minimums and maximums. Expected numbers were computed by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from metering.explain import explain
from metering.invoicing.blockers import Waivers
from metering.invoicing.printed import sheet as invoice_sheet
from metering.invoicing.printed.printable import printable
from tests.support.card import plan, price, subscription
from tests.support.pages_of import Books, books, copied, moment

HOUR = 3600
TIERS = [{"up_to": "10", "unit_price": "0.10", "flat_fee": "2"}, {"unit_price": "0.05", "flat_fee": "5"}]
GRADUATED = {"model": "graduated", "tiers": TIERS}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Books:
    """Projects a and b of customers one and two; each test sets the plan."""
    rows = (subscription("a", "one", "pro"), subscription("b", "two", "pro"))
    with books(tmp_path_factory.mktemp("kept"), "2026-10-03", subscriptions=rows) as found:
        found.see(
            {"id": "a", "name": "a", "created_at": "2026-01-01T00:00:00Z"},
            {"id": "b", "name": "b", "created_at": "2026-01-01T00:00:00Z"},
        )
        found.use("b", "2026-09-10T05", compute_unit_seconds=HOUR)
    return found


@pytest.fixture
def desk(kept: Books, tmp_path: Path) -> Iterator[Books]:
    with copied(kept, tmp_path) as found:
        yield found


def corrected(desk: Books, *late: tuple[str, str, int]) -> None:
    """Closes September, lands more usage of it, and closes October."""
    desk.read("2026-09")
    desk.close("2026-09")
    for project, hour, value in late:
        desk.use(project, hour, compute_unit_seconds=value)
    desk.now = moment("2026-11-03")
    desk.use("b", "2026-10-02T05", compute_unit_seconds=HOUR)
    desk.read("2026-09", "2026-10")
    desk.close("2026-10")


def adjustments(desk: Books, customer: str):
    """(amount, quantity, basis) of the customer's corrections in October."""
    lines = desk.invoice("2026-10", customer)["lines"]
    return [(line["amount"], line["quantity"], line["basis"]) for line in lines if line["kind"] == "adjustment"]


def assert_explained(desk: Books, customer: str) -> None:
    number = desk.invoice("2026-10", customer)["number"]
    for line in explain.explain(desk.ledger.store, number)["lines"]:
        assert explain.explain(desk.ledger.store, number, line["key"])["agrees"], line["key"]
    assert desk.faults() == []


def test_late_usage_that_enters_a_tier_owes_its_flat_fee_with_it(desk):
    desk.plans = (plan("pro", price(**GRADUATED)),)
    desk.use("a", "2026-09-10T05", compute_unit_seconds=10 * HOUR)

    corrected(desk, ("a", "2026-09-30T23", 2 * HOUR))

    # 2.00 + 10 x 0.10 were billed; 5.00 + 2 x 0.05 are added. The fee does not change the quantity.
    assert adjustments(desk, "one") == [("5.10", "2", {"rerated": "8.10", "billed": "3.00"})]
    assert_explained(desk, "one")


def test_late_usage_replaces_the_flat_fee_that_was_due_without_usage(desk):
    desk.plans = (plan("pro", price(flat_fee_at_zero=True, **GRADUATED)),)
    desk.subscriptions = (
        subscription("a", "one", "pro", None, moment("2026-09-16")),
        subscription("b", "two", "pro"),
    )

    corrected(desk, ("a", "2026-09-10T05", HOUR))

    # Half a month without usage: 1.00. Now 2.00 + 0.10.
    assert [line["amount"] for line in desk.invoice("2026-09", "one")["lines"]] == ["1.00"]
    assert adjustments(desk, "one") == [("1.10", "1", {"rerated": "2.10", "billed": "1.00"})]
    assert_explained(desk, "one")


def test_late_usage_within_a_minimum_costs_nothing_and_beyond_it_the_rest(desk):
    desk.plans = (plan("pro", price(unit_price="1", minimum="5")),)

    corrected(desk, ("a", "2026-09-10T05", 7 * HOUR), ("b", "2026-09-30T23", 3 * HOUR))

    assert adjustments(desk, "one") == [("2.00", "7", {"rerated": "7.00", "billed": "5.00"})]
    assert adjustments(desk, "two") == []
    assert_explained(desk, "one")


def test_late_usage_above_a_maximum_costs_nothing(desk):
    desk.plans = (plan("pro", price(unit_price="1", maximum="8")),)
    desk.use("a", "2026-09-10T05", compute_unit_seconds=10 * HOUR)

    corrected(desk, ("a", "2026-09-30T23", 10 * HOUR))

    assert [invoice["customer"]["id"] for invoice in desk.shown("2026-10")["invoices"]] == ["two"]
    assert desk.faults() == []


def test_a_project_that_only_late_usage_showed_keeps_the_maximum_and_owes_no_minimum(desk):
    desk.plans = (plan("pro", price(unit_price="1", minimum="9", maximum="18")),)
    desk.subscriptions = (*desk.subscriptions, subscription("c", "one", "pro"), subscription("d", "one", "pro"))

    corrected(desk, ("c", "2026-09-30T23", 20 * HOUR), ("d", "2026-09-30T23", HOUR))

    # Fees and minimums never change after a close; usage does.
    assert sorted(adjustments(desk, "one")) == [
        ("1.00", "1", {"rerated": "1.00", "billed": "0.00"}),
        ("18.00", "20", {"rerated": "18.00", "billed": "0.00"}),
    ]
    assert_explained(desk, "one")


def test_a_minimum_keeps_the_time_of_the_close_when_late_usage_shows_that_a_project_lived_longer(desk):
    desk.plans = (plan("pro", price(unit_price="1", minimum="30")),)
    desk.see(
        {"id": "a", "name": "a", "created_at": "2026-01-01T00:00:00Z", "deleted_at": "2026-09-11T00:00:00Z"},
        {"id": "b", "name": "b", "created_at": "2026-01-01T00:00:00Z"},
    )

    corrected(desk, ("a", "2026-09-20T05", 12 * HOUR))

    # 10 of 30 days were held at the close: 10.00.
    assert adjustments(desk, "one") == [("2.00", "12", {"rerated": "12.00", "billed": "10.00"})]
    assert_explained(desk, "one")


def test_a_void_takes_back_what_its_lines_were_computed_from(desk):
    desk.plans = (plan("pro", price(**GRADUATED, minimum="5"), base_fee="3"),)
    desk.subscriptions = (
        subscription("a", "one", "pro", None, moment("2026-09-16")),
        subscription("a", "two", "pro", moment("2026-09-16"), None),
        subscription("b", "two", "pro"),
    )
    desk.read("2026-09")
    desk.close("2026-09")

    note = desk.void(desk.invoice("2026-09", "two")["number"])

    found = {line["key"]: line for line in note["lines"]}
    fee = found["a/base_fee/pro/2026-09-16T00:00:00Z/1"]
    assert (fee["before"], fee["after"]) == (
        {"quantity": "-0.5", "amount": "-1.50"},
        {"quantity": "-1", "amount": "-3.00"},
    )
    flat = found["b/compute/pro/2026-09-01T00:00:00Z/1/flat"]
    assert (flat["quantity"], flat["unit_price"], flat["amount"]) == ("-1", "2", "-2.00")
    least = found["b/compute/pro/2026-09-01T00:00:00Z/minimum"]
    assert (least["amount"], least["basis"]) == ("-2.90", {"minimum": "-5.00", "charged": "-2.10"})
    assert desk.faults() == []


def test_paper_says_the_packages_and_both_ends_of_a_difference(desk):
    packed = {"model": "package", "package_size": "10", "package_price": "1.00"}
    desk.plans = (plan("pro", price(**packed), price(valid_from="2026-09-16", **packed), base_fee="20"),)
    desk.subscriptions = (
        subscription("a", "two", "pro", None, moment("2026-09-11")),
        subscription("a", "one", "pro", moment("2026-09-11"), None),
    )
    desk.use("a", "2026-09-12T05", compute_unit_seconds=17 * HOUR)
    desk.use("a", "2026-09-20T05", compute_unit_seconds=5 * HOUR)
    desk.read("2026-09")
    desk.close("2026-09", waivers=Waivers(unassigned="b is ours"))

    number = desk.invoice("2026-09", "one")["number"]
    sheet = invoice_sheet.sheet(*printable(desk.ledger.store, desk.config, number, desk.now))

    found = {line["description"]: line["notes"][1:] for group in sheet["groups"] for line in group["lines"][:2]}
    later = sheet["groups"][0]["lines"][2]["notes"][1:]
    # Another customer had the project for 10 of 30 days; 17 CU-hours begin two packages of ten, 22 begin three.
    assert found == {"Pro": ["20.00 for 1 less 6.67 for 0.333333333333"], "Compute": ["2 × 10 begun"]}
    assert later == ["1 × 10 begun", "3.00 for 22 less 2.00 for 17"]
