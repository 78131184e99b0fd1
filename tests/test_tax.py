"""Tax on top of prices and within them: totals by hand, and what lines are before tax."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from card import plan, price, subscription
from hypothesis import given
from hypothesis import strategies as st
from pages_of import Books, books, moment, month

from metering import backtest, explain, explain_text, month_report, report_data, tax, terms
from metering.config import Customer, Discount
from metering.errors import MeteringError
from metering.money import amount_text, apportioned, parse_amount
from metering.month import Month

HOUR = 3600
VAT = {"tax_rate_percent": Decimal(21), "tax_name": "VAT"}


def lines(*amounts: str) -> list[dict[str, object]]:
    return [{"amount": amount} for amount in amounts]


def told(amounts: list[str], currency: str = "EUR", mode: str = "half_up", **row: object) -> tuple[object, ...]:
    """(subtotal, tax or None, total, whether the lines include it)."""
    found = tax.totals(lines(*amounts), currency, Customer.model_validate({"id": "acme", "name": "", **row}), mode)
    (tax_row,) = found["taxes"] or [None]
    assert tax_row is None or tax_row["base"] == found["subtotal"]
    amount = tax_row["amount"] if tax_row else None
    return found["subtotal"], amount, found["total"], found.get("tax_inclusive", False)


@pytest.mark.parametrize(
    ("amounts", "currency", "rate", "expected"),
    [
        (["121.00"], "EUR", "21", ("100.00", "21.00", "121.00", True)),
        (["20.00", "5.49"], "EUR", "21", ("21.07", "4.42", "25.49", True)),  # 25.49 x 21 / 121 = 4.4238...
        (["0.03"], "EUR", "20", ("0.02", "0.01", "0.03", True)),  # 0.005 is half a cent: away from zero
        (["-0.03"], "EUR", "20", ("-0.02", "-0.01", "-0.03", True)),
        (["1100"], "JPY", "10", ("1000", "100", "1100", True)),
        (["1.234"], "KWD", "5", ("1.175", "0.059", "1.234", True)),  # 0.058761...
        (["10.00"], "EUR", "0", ("10.00", "0.00", "10.00", True)),
        (["10.00"], "EUR", "100", ("5.00", "5.00", "10.00", True)),
        (["0.00"], "EUR", "21", ("0.00", "0.00", "0.00", True)),
    ],
)
def test_prices_with_tax_sum_to_the_total_and_the_tax_is_within_it(amounts, currency, rate, expected):
    assert told(amounts, currency, tax_rate_percent=Decimal(rate), tax_inclusive=True) == expected


def test_prices_without_tax_sum_to_the_subtotal_and_the_tax_comes_on_top():
    assert told(["20.00", "5.49"], **VAT) == ("25.49", "5.35", "30.84", False)
    assert told(["20.00", "5.49"]) == ("25.49", None, "25.49", False)


def test_the_tax_within_a_total_is_rounded_as_configured():
    assert told(["0.03"], "EUR", "half_even", tax_rate_percent=Decimal(20), tax_inclusive=True)[1] == "0.00"


cents = st.integers(-10_000_000, 10_000_000)
rates = st.decimals("0", "100", places=2)


@given(st.lists(cents, min_size=1, max_size=9), st.sampled_from(["USD", "JPY", "KWD"]), rates)
def test_whatever_the_rate_the_total_is_the_sum_of_the_lines_and_subtotal_and_taxes_make_it(amounts, currency, rate):
    customer = Customer(id="acme", name="", tax_rate_percent=rate, tax_inclusive=True)
    found = tax.totals([{"amount": amount_text(each, currency)} for each in amounts], currency, customer, "half_up")
    total, net = (parse_amount(found[name], currency) for name in ("total", "subtotal"))
    assert total == sum(amounts)
    assert net + parse_amount(found["taxes"][0]["amount"], currency) == total
    # Within half a unit of what the total is without its tax.
    assert abs(net - Fraction(total) / (1 + Fraction(rate) / 100)) <= Fraction(1, 2)


@given(st.lists(cents, min_size=1, max_size=9), rates)
def test_lines_before_tax_sum_to_the_subtotal_and_each_is_less_than_a_cent_from_its_own(amounts, rate):
    customer = Customer(id="acme", name="", tax_rate_percent=rate, tax_inclusive=True)
    printed = [{"amount": amount_text(each, "USD")} for each in amounts]
    document = {"currency": "USD", "lines": printed, **tax.totals(printed, "USD", customer, "half_up")}
    found = [parse_amount(line["amount"], "USD") for line in tax.lines_before_tax(document)]
    assert sum(found) == parse_amount(document["subtotal"], "USD")
    assert found == tax.nets(amounts, "USD", customer, "half_up")
    assert all(
        abs(net - Fraction(own) / (1 + Fraction(rate) / 100)) < 1 for net, own in zip(found, amounts, strict=True)
    )


def test_what_rounding_down_leaves_goes_to_the_largest_fractions_and_ties_to_the_earlier():
    assert apportioned(3, [Fraction(3, 4), Fraction(3, 2), Fraction(3, 4)]) == [1, 1, 1]
    assert apportioned(2, [Fraction(1, 2), Fraction(1, 2), Fraction(1)]) == [1, 0, 1]
    assert apportioned(-3, [Fraction(-3, 2), Fraction(-3, 2)]) == [-1, -2]


# -- a month


SEVENTH = plan("pro", price(unit_price="0.10"), price(unit_price="0.20", valid_from="2026-09-16"), base_fee="20.00")


def customer(name: str = "one", **row: object) -> Customer:
    return Customer.model_validate({"id": name, "name": name, "currency": "USD", **VAT, **row})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Books]:
    """Project a of one, whose prices include 21 % VAT; b of two, whose prices do not. The price doubles on the 16th."""
    rows = (subscription("a", "one", "pro"), subscription("b", "two", "pro"))
    people = (customer("one", tax_inclusive=True), customer("two"))
    with books(tmp_path, "2026-10-03", plans=(SEVENTH,), subscriptions=rows, customers=people) as found:
        found.see(*({"id": name, "name": name, "created_at": "2026-01-01T00:00:00Z"} for name in "ab"))
        for name in "ab":
            found.use(name, "2026-09-10T05", compute_unit_seconds=30 * HOUR)
            found.use(name, "2026-09-20T05", compute_unit_seconds=10 * HOUR)
        found.read("2026-09")
        yield found


def totals(invoice: dict) -> tuple:
    return invoice["subtotal"], [one["amount"] for one in invoice["taxes"]], invoice["total"]


def test_two_dated_prices_with_tax_in_them(desk):
    desk.close("2026-09")
    one, two = desk.invoice("2026-09", "one"), desk.invoice("2026-09", "two")
    # 20.00 + 30 x 0.10 + 10 x 0.20 = 25.00 either way; 25.00 x 21 / 121 = 4.338..., 25.00 x 21 % = 5.25.
    assert [line["amount"] for line in one["lines"]] == [line["amount"] for line in two["lines"]]
    assert (totals(one), one["tax_inclusive"]) == (("20.66", ["4.34"], "25.00"), True)
    assert one["taxes"] == [{"name": "VAT", "rate_percent": "21", "base": "20.66", "amount": "4.34"}]
    assert (totals(two), "tax_inclusive" in two) == (("25.00", ["5.25"], "30.25"), False)
    assert desk.faults() == []


@pytest.mark.parametrize("rate", ["0", "5.5", "19", "100"])
def test_the_rate_changes_nothing_of_what_a_customer_pays_where_prices_include_it(desk, rate):
    desk.customers = (customer(tax_inclusive=True, tax_rate_percent=rate),)
    assert desk.invoice("2026-09", "one")["total"] == "25.00"


def test_discount_and_minimum_count_with_the_tax(desk):
    desk.plans = (SEVENTH.model_copy(update={"minimum": Decimal("30")}),)
    desk.discounts = (Discount.model_validate({"customer": "one", "percent": "10"}),)
    desk.close("2026-09")
    invoice = desk.invoice("2026-09", "one")
    # Up to 30.00 and 10 % off: 27.00, in which 27.00 x 21 / 121 = 4.685... is tax.
    assert [line["amount"] for line in invoice["lines"]] == ["20.00", "3.00", "2.00", "-3.00", "5.00"]
    assert totals(invoice) == ("22.31", ["4.69"], "27.00")
    assert desk.faults() == []


def test_a_credit_note_takes_back_the_tax_within_the_lines(desk):
    desk.close("2026-09")
    note = desk.void(desk.invoice("2026-09", "one")["number"])
    assert (totals(note), note["tax_inclusive"]) == (("-20.66", ["-4.34"], "-25.00"), True)
    desk.close("2026-09")
    assert totals(desk.invoice("2026-09", "one")) == ("20.66", ["4.34"], "25.00")
    assert desk.faults() == []


def late(desk: Books) -> None:
    """September is closed, ten more hours of it arrive, and October is over."""
    desk.close("2026-09")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=10 * HOUR)
    desk.now = moment("2026-11-03")
    desk.read("2026-09", "2026-10")


def test_a_correction_counts_with_the_tax_like_what_it_corrects(desk):
    late(desk)
    desk.close("2026-10")
    invoice = desk.invoice("2026-10", "one")
    assert [line["amount"] for line in invoice["lines"]] == ["20.00", "2.00"]
    assert totals(invoice) == ("18.18", ["3.82"], "22.00")
    assert desk.faults() == []


def test_corrections_of_prices_without_tax_do_not_stand_on_an_invoice_with_it(desk):
    late(desk)
    desk.customers = (customer("one"), customer("two"))
    reason = "its prices are without tax, and corrections of closed months with it; void and close those anew"
    assert desk.shown("2026-10")["parked"] == [{"customer": "one", "reason": reason}]
    assert desk.close("2026-10").parked == {"one": reason}
    with pytest.raises(MeteringError, match="one cannot be released: its prices are without tax"):
        desk.close("2026-10", release={"one": "never mind"})
    # As the reason says: September anew, without tax in it, then October.
    desk.void(desk.invoice("2026-09", "one")["number"])
    desk.close("2026-09")
    assert desk.close("2026-10").parked == {}
    assert totals(desk.invoice("2026-09", "one")) == ("27.00", ["5.67"], "32.67")
    assert totals(desk.invoice("2026-10", "one")) == ("20.00", ["4.20"], "24.20")
    assert desk.faults() == []


def test_revenue_and_margin_are_before_tax(desk):
    desk.close("2026-09")
    facts = month_report.facts(desk.ledger.store, desk.config, month("2026-09"), desk.now)
    found = report_data.build(facts)
    assert [(row["subtotal"], row["tax"], row["total"]) for row in found["totals"]] == [("45.66", "9.59", "55.25")]
    assert found["margin"]["revenue"] == "45.66"
    # 20.00, 3.00 and 2.00 before 21 % are 16.528..., 2.479... and 1.652...: 16.53 + 2.48 + 1.65 = 20.66.
    assert [(row["kind"], row["amount"]) for row in found["billed"]] == [("base_fee", "36.53"), ("usage", "9.13")]
    assert {row["project_id"]: row["amount"] for row in found["projects"]} == {"a": "20.66", "b": "25.00"}
    assert found["checks"]["agree"]


def test_the_overview_of_an_explained_invoice_says_how_the_tax_was_taken_out(desk):
    desk.close("2026-09")
    text = explain_text.table(explain.explain(desk.ledger.store, desk.invoice("2026-09", "one")["number"]))
    assert "              4.34  VAT: 25.00 × 21 ÷ (100 + 21)" in text
    assert "             25.00  total USD: the sum of the lines" in text


def test_backtests_and_outlooks_count_before_tax(desk):
    found = Month(store=desk.ledger.store, terms=terms.of(desk.config), period=month("2026-09"), now=desk.now)
    assert backtest.billed(found) == {("one", "pro", "USD"): 20_66, ("two", "pro", "USD"): 25_00}
