"""Splits of a customer's line among its projects: exact sums, for examples and as a property."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.core.money import parse_amount
from metering.core.parties import Customer
from metering.invoicing.printed import sheet
from metering.invoicing.printed.printable import printable
from metering.invoicing.rated_month import months_of
from metering.rating import pools
from metering.reporting import build, gather
from tests.support.card import plan, price, subscription
from tests.support.pages_of import Books, books, moment, month

HOUR = 3600


def parts(members, quantity, amount, currency="USD"):
    return [(one.project_id, one.quantity, one.amount) for one in pools.parts(members, quantity, amount, currency)]


@pytest.mark.parametrize(
    ("members", "quantity", "amount", "currency", "expected"),
    [
        ([("a", 1), ("b", 1)], "6", 600, "USD", [("a", "3", "3.00"), ("b", "3", "3.00")]),
        ([("a", 1), ("b", 1)], "1", 1, "USD", [("a", "0.5", "0.01"), ("b", "0.5", "0.00")]),
        ([("a", 1), ("b", 1), ("c", 1)], "0.1", 10, "JPY", [
            ("a", "0.033333333334", "4"), ("b", "0.033333333333", "3"), ("c", "0.033333333333", "3")]),
        ([("a", 1), ("b", 2)], "3", 1000, "KWD", [("a", "1", "0.333"), ("b", "2", "0.667")]),
        ([("a", 1), ("b", 3)], "-4", -10, "USD", [("a", "-1", "-0.03"), ("b", "-3", "-0.07")]),
        ([("a", 0), ("b", 0)], "0", 501, "USD", [("a", "0", "2.51"), ("b", "0", "2.50")]),
        ([("a", 0), ("b", 5)], "5", 50, "USD", [("b", "5", "0.50")]),
    ],
)  # fmt: skip
def test_parts_are_in_proportion_to_usage_and_the_last_digit_goes_to_the_largest_remainder(
    members, quantity, amount, currency, expected
):
    assert parts(members, quantity, amount, currency) == expected


def test_one_cent_over_a_thousand_projects_is_one_cent_of_the_first():
    members = [(f"p-{number:04}", 7) for number in range(1000)]
    found = parts(members, "0.000000000001", 1)
    assert found == [("p-0000", "0.000000000001", "0.01")]


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 10**30), min_size=1, max_size=12),
    st.integers(-(10**15), 10**15),
    st.integers(-(10**9), 10**9),
)
def test_the_parts_sum_to_the_line(members, units, amount):
    quantity = f"{'-' * (units < 0)}{abs(units) // 10**12}.{abs(units) % 10**12:012}"
    found = pools.parts(sorted(members.items()), quantity, amount, "USD")
    assert sum(parse_amount(part.amount, "USD") for part in found) == amount
    assert sum(Fraction(part.quantity) for part in found) == Fraction(quantity)


# -- months

TIERS = [{"up_to": "20", "unit_price": "1.00"}, {"unit_price": "0.10"}]
POOLED = plan("pro", price(model="graduated", scope="customer", included="10", tiers=TIERS))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Books]:
    """Projects a, b and c of the customer one, under one allowance."""
    rows = tuple(subscription(name, "one", "pro") for name in "abc")
    with books(tmp_path, "2026-10-03", plans=(POOLED,), subscriptions=rows) as found:
        found.see(*({"id": name, "name": name, "created_at": "2026-01-01T00:00:00Z"} for name in "abc"))
        yield found


def used(desk: Books, **hours: int) -> None:
    for name, count in hours.items():
        desk.use(name, "2026-09-10T05", compute_unit_seconds=count * HOUR)
    desk.read("2026-09")


def split_lines(invoice) -> list[tuple]:
    return [
        (line["amount"], [(part["project_id"], part["quantity"], part["amount"]) for part in line.get("projects", [])])
        for line in invoice["lines"]
    ]


def test_every_tier_is_shared_by_what_the_projects_used(desk):
    used(desk, a=7, b=14, c=21)
    desk.close("2026-09")
    # 42 hours less 10: 20 at 1.00 and 12 at 0.10, in parts of 1 : 2 : 3. 2000 cents are 333.3, 666.7 and 1000.
    assert split_lines(desk.invoice("2026-09", "one")) == [
        ("20.00", [("a", "3.333333333333", "3.33"), ("b", "6.666666666667", "6.67"), ("c", "10", "10.00")]),
        ("1.20", [("a", "2", "0.20"), ("b", "4", "0.40"), ("c", "6", "0.60")]),
    ]
    assert desk.faults() == []


def test_a_price_change_shares_each_version_by_what_was_used_under_it(desk):
    versions = [
        price(scope="customer", unit_price="1.00"),
        price(scope="customer", unit_price="2.00", valid_from="2026-09-16"),
    ]
    desk.plans = (plan("pro", *versions),)
    desk.use("b", "2026-09-20T05", compute_unit_seconds=2 * HOUR)
    used(desk, a=1)
    assert split_lines(desk.invoice("2026-09", "one")) == [
        ("1.00", [("a", "1", "1.00")]),
        ("4.00", [("b", "2", "4.00")]),
    ]


def test_a_minimum_without_usage_is_shared_equally(desk):
    desk.plans = (plan("pro", price(scope="customer", unit_price="1.00", minimum="5.00")),)
    desk.use("z", "2026-09-10T05", compute_unit_seconds=1)
    desk.read("2026-09")
    assert split_lines(desk.invoice("2026-09", "one")) == [
        ("5.00", [("a", "0", "1.67"), ("b", "0", "1.67"), ("c", "0", "1.66")])
    ]


def test_a_month_of_which_nothing_is_billed_has_no_line_to_share(desk):
    used(desk, a=10)
    assert desk.shown("2026-09")["invoices"] == []


def test_a_line_of_one_project_has_no_parts(desk):
    desk.plans = (plan("pro", price(unit_price="1.00")),)
    used(desk, a=1)
    assert split_lines(desk.invoice("2026-09", "one")) == [("1.00", [])]


def test_a_correction_is_shared_as_the_line_would_have_been_and_a_credit_note_takes_every_part_back(desk):
    used(desk, a=10, b=10)
    desk.close("2026-09")
    assert split_lines(desk.invoice("2026-09", "one")) == [("10.00", [("a", "5", "5.00"), ("b", "5", "5.00")])]
    desk.use("a", "2026-09-10T05", compute_unit_seconds=2 * HOUR)
    desk.use("b", "2026-09-10T05", compute_unit_seconds=12 * HOUR)
    desk.now = moment("2026-11-03")
    desk.read("2026-09", "2026-10")
    assert desk.close("2026-10").parked == {"one": "its total would be -6.00 USD"}
    desk.close("2026-10", release={"one": "a credit is right"})
    # 14 less 10 are 4 hours now, 2 : 12 of them: 0.57 of a and 3.43 of b, where 5.00 each were billed.
    (line,) = desk.invoice("2026-10", "one")["lines"]
    assert (line["amount"], line["quantity"]) == ("-6.00", "-6")
    assert [(part["project_id"], part["quantity"], part["amount"]) for part in line["projects"]] == [
        ("a", "-4.428571428571", "-4.43"),
        ("b", "-1.571428571429", "-1.57"),
    ]
    note = desk.void(desk.invoice("2026-10", "one")["number"])
    assert split_lines(note) == [("6.00", [("a", "4.428571428571", "4.43"), ("b", "1.571428571429", "1.57")])]
    assert desk.faults() == []


@pytest.mark.parametrize("is_inclusive", [False, True])
def test_the_report_gives_each_project_its_part_before_tax(desk, is_inclusive):
    desk.customers = (Customer(id="one", name="One", tax_rate_percent="21", tax_inclusive=is_inclusive),)
    used(desk, a=7, b=14, c=21)
    desk.close("2026-09")
    found = build.build(gather.facts(months_of(desk.ledger.store, desk.config, desk.now), month("2026-09")))
    amounts = {row["project_id"]: row["amount"] for row in found["projects"]}
    # 21.20 with 21 % in it is 17.52 before: 20.00 is 16.53 (16.528...) and 1.20 is 0.99 (0.991...); of the first c has
    # 8.264... and the cent that is left, of the second 0.495... and the cent.
    assert amounts == (
        {"a": "2.91", "b": "5.84", "c": "8.77"} if is_inclusive else {"a": "3.53", "b": "7.07", "c": "10.60"}
    )
    assert found["customers"][0]["projects"] == found["plans"][0]["projects"] == 3


def test_a_query_gives_every_project_its_amount(desk):
    desk.plans = (plan("pro", *POOLED.prices, base_fee="1.00"),)
    used(desk, a=7, b=14, c=21)
    desk.close("2026-09")
    rows = desk.ledger.store.connection.execute(
        "select project_id, sum(amount)::varchar from project_amounts group by project_id order by project_id"
    ).fetchall()
    assert rows == [("a", "4.5300"), ("b", "8.0700"), ("c", "11.6000")]


def quantities(desk: Books, customer: str) -> list[tuple]:
    """(project, used, billed) of the printed sheet."""
    number = desk.invoice("2026-09", customer)["number"]
    found = sheet.sheet(*printable(desk.ledger.store, desk.config, number, desk.now))
    return [(row["project"], row["used"], row["billed"]) for row in found["quantities"]]


def test_the_sheet_sets_each_projects_part_beside_what_it_used(desk):
    used(desk, a=7, b=14, c=21)
    desk.close("2026-09")
    assert quantities(desk, "one") == [("a", "7.000", "5.333"), ("b", "14.000", "10.667"), ("c", "21.000", "16.000")]


def test_what_a_project_used_that_moved_to_another_customer_is_shown_to_neither(desk):
    change = moment("2026-09-15")
    desk.subscriptions = (
        subscription("a", "one", "pro", None, change),
        subscription("a", "two", "pro", change, None),
        subscription("b", "one", "pro"),
    )
    desk.use("a", "2026-09-20T05", compute_unit_seconds=20 * HOUR)
    used(desk, a=20, b=20)
    desk.close("2026-09")
    assert [row[0] for row in quantities(desk, "one")] == ["b"]
    assert quantities(desk, "two") == []
