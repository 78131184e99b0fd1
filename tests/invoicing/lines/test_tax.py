"""Tax added to prices and included in prices: totals, and line amounts before tax. Expected numbers by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.config.models import InvoicesConfig
from metering.core.errors import MeteringError
from metering.core.invoice import Line, converted
from metering.core.money import amount_text, apportioned, parse_amount, round_amount
from metering.core.parties import Customer, Discount
from metering.core.plans import Plan
from metering.explain import explain
from metering.explain import text as explain_text
from metering.invoicing.drafts import billed as drafts_billed
from metering.invoicing.lines import tax
from metering.invoicing.printed import sheet
from metering.invoicing.printed.sheet_usage import Background
from metering.invoicing.rated_month import months_of
from metering.reporting import build, gather, paper
from tests.support.card import plan, price, subscription
from tests.support.documents import invoice_of, lines_of, printed
from tests.support.pages_of import Books, books, copied, moment, month

HOUR = 3600
VAT = {"tax_rate_percent": Decimal(21), "tax_name": "VAT"}


def lines(*amounts: str, **row: object) -> list[Line]:
    """September's lines of a customer with these taxes."""
    customer = Customer.model_validate({"id": "acme", "name": "", **row})
    return tax.taxed(lines_of({"amount": amount} for amount in amounts), customer)


def totals_of(found: list[Line], currency: str, mode: str, **row: object) -> dict[str, Any]:
    """The printed totals of the lines."""
    return printed(tax.totals(found, currency, mode, **row))


def told(amounts: list[str], currency: str = "EUR", mode: str = "half_up", **row: object) -> tuple[object, ...]:
    """(subtotal, tax or None, total, whether the lines include it)."""
    found = totals_of(lines(*amounts, **row), currency, mode, is_inclusive=bool(row.get("tax_inclusive")))
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
    own = lines(*(amount_text(each, currency) for each in amounts), tax_rate_percent=rate)
    found = totals_of(own, currency, "half_up", is_inclusive=True)
    total, net = (parse_amount(found[name], currency) for name in ("total", "subtotal"))
    assert total == sum(amounts)
    assert net + parse_amount(found["taxes"][0]["amount"], currency) == total
    # Within half a minor unit of the total without its tax.
    assert abs(net - Fraction(total) / (1 + Fraction(rate) / 100)) <= Fraction(1, 2)


@given(st.lists(cents, min_size=1, max_size=9), rates)
def test_lines_before_tax_sum_to_the_subtotal_and_each_is_less_than_a_cent_from_its_own(amounts, rate):
    own = lines(*(amount_text(each, "USD") for each in amounts), tax_rate_percent=rate)
    document = invoice_of({"lines": printed(own), **totals_of(own, "USD", "half_up", is_inclusive=True)})
    found = [parse_amount(line.amount, "USD") for line in tax.lines_before_tax(document)]
    assert sum(found) == parse_amount(document.subtotal, "USD")
    assert found == tax.nets(own, "USD", "half_up", is_inclusive=True)
    assert all(
        abs(net - Fraction(gross) / (1 + Fraction(rate) / 100)) < 1 for net, gross in zip(found, amounts, strict=True)
    )


def test_what_rounding_down_leaves_goes_to_the_largest_fractions_and_ties_to_the_earlier():
    assert apportioned(3, [Fraction(3, 4), Fraction(3, 2), Fraction(3, 4)]) == [1, 1, 1]
    assert apportioned(2, [Fraction(1, 2), Fraction(1, 2), Fraction(1)]) == [1, 0, 1]
    assert apportioned(-3, [Fraction(-3, 2), Fraction(-3, 2)]) == [-1, -2]


# -- a month


SEVENTH = plan("pro", price(unit_price="0.10"), price(unit_price="0.20", valid_from="2026-09-16"), base_fee="20.00")


def customer(name: str = "one", **row: object) -> Customer:
    return Customer.model_validate({"id": name, "name": name, "currency": "USD", **VAT, **row})


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Books:
    """Project a of one, whose prices include 21 % VAT; b of two, whose prices do not. Prices double on the 16th."""
    rows = (subscription("a", "one", "pro"), subscription("b", "two", "pro"))
    people = (customer("one", tax_inclusive=True), customer("two"))
    with books(
        tmp_path_factory.mktemp("kept"), "2026-10-03", plans=(SEVENTH,), subscriptions=rows, customers=people
    ) as found:
        found.see(*({"id": name, "name": name, "created_at": "2026-01-01T00:00:00Z"} for name in "ab"))
        for name in "ab":
            found.use(name, "2026-09-10T05", compute_unit_seconds=30 * HOUR)
            found.use(name, "2026-09-20T05", compute_unit_seconds=10 * HOUR)
        found.read("2026-09")
    return found


@pytest.fixture
def desk(kept: Books, tmp_path: Path) -> Iterator[Books]:
    with copied(kept, tmp_path) as found:
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
    """Closes September and lands ten more hours of it; October is over."""
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
    # As the reason says: September is closed again, without included tax, then October.
    desk.void(desk.invoice("2026-09", "one")["number"])
    desk.close("2026-09")
    assert desk.close("2026-10").parked == {}
    assert totals(desk.invoice("2026-09", "one")) == ("27.00", ["5.67"], "32.67")
    assert totals(desk.invoice("2026-10", "one")) == ("20.00", ["4.20"], "24.20")
    assert desk.faults() == []


def test_revenue_and_margin_are_before_tax(desk):
    desk.close("2026-09")
    facts = gather.facts(months_of(desk.ledger.store, desk.config, desk.now), month("2026-09"))
    found = build.build(facts)
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
    found = Month(
        recorded=Recorded(store=desk.ledger.store), terms=terms.of(desk.config), period=month("2026-09"), now=desk.now
    )
    assert drafts_billed(found) == {("one", "pro", "USD"): 20_66, ("two", "pro", "USD"): 25_00}


# -- a tax that changes from one month to the next


def dated(*taxes: tuple[object, ...], name: str = "one", **row: object) -> Customer:
    """A customer with taxes of (from, to, rate) and, where given, category, note and tax id."""
    names = ("tax_from", "tax_to", "tax_rate_percent", "tax_category", "tax_note", "tax_id")
    rows = [{"tax_name": "VAT", **dict(zip(names, one, strict=False))} for one in taxes]
    return customer(name, **{**row, "dated": rows, **{key: rows[-1].get(key) for key in names[2:]}})


CHEAPER = dated((None, "2026-10-01", "19"), ("2026-10-01", None, "16"))
RISING = plan("flat", price(unit_price="1.00"), price(unit_price="2.00", valid_from="2026-10-16"))


@pytest.fixture(scope="module")
def kept_moving(tmp_path_factory: pytest.TempPathFactory) -> Books:
    """Project a of one: 19 % until September, 16 % from October; 1.00 per CU-hour, 2.00 from 16 October."""
    rows = (subscription("a", "one", "flat"),)
    with books(
        tmp_path_factory.mktemp("kept_moving"), "2026-10-03", plans=(RISING,), subscriptions=rows, customers=(CHEAPER,)
    ) as found:
        found.see({"id": "a", "name": "a", "created_at": "2026-01-01T00:00:00Z"})
        found.use("a", "2026-09-10T05", compute_unit_seconds=30 * HOUR)
        found.read("2026-09")
    return found


@pytest.fixture
def moving(kept_moving: Books, tmp_path: Path) -> Iterator[Books]:
    with copied(kept_moving, tmp_path) as found:
        yield found


def october_with_late_september(desk: Books, september: int = 50) -> dict:
    """September is closed; so many more hours of it arrive, October has 20 h at 1.00 and 40 h at 2.00, and closes."""
    desk.close("2026-09")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=september * HOUR)
    desk.use("a", "2026-10-10T05", compute_unit_seconds=20 * HOUR)
    desk.use("a", "2026-10-20T05", compute_unit_seconds=40 * HOUR)
    desk.now = moment("2026-11-03")
    desk.read("2026-09", "2026-10")
    desk.close("2026-10")
    return desk.invoice("2026-10", "one")


def test_late_usage_has_the_tax_of_its_month_and_the_rest_of_the_invoice_that_of_its_own(moving):
    """September has 19 %, October 16 %; October's invoice has 50.00 of September and 100.00 of its own."""
    invoice = october_with_late_september(moving)
    assert [
        (line["kind"], line["amount"], line["tax_rate_percent"], line["tax_name"]) for line in invoice["lines"]
    ] == [
        ("adjustment", "50.00", "19", "VAT"),
        ("usage", "20.00", "16", "VAT"),
        ("usage", "80.00", "16", "VAT"),
    ]
    assert invoice["taxes"] == [
        {"name": "VAT", "rate_percent": "19", "base": "50.00", "amount": "9.50"},
        {"name": "VAT", "rate_percent": "16", "base": "100.00", "amount": "16.00"},
    ]
    assert (invoice["subtotal"], invoice["total"]) == ("150.00", "175.50")
    assert moving.faults() == []


def test_the_rate_of_a_correction_is_frozen_with_its_month_whatever_the_file_says_later(moving):
    moving.close("2026-09")
    moving.customers = (dated((None, "2026-10-01", "7"), ("2026-10-01", None, "16")),)
    moving.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    moving.now = moment("2026-11-03")
    moving.read("2026-09", "2026-10")
    moving.close("2026-10")
    assert [entry["amount"] for entry in moving.invoice("2026-10", "one")["taxes"]] == ["9.50"]
    assert moving.faults() == []


def test_a_new_group_of_a_closed_month_has_the_tax_of_its_closing(moving):
    """At September's close there was no usage of storage, so no billed line has its tax rate."""
    priced = plan("flat", price(unit_price="1.00"), price("storage", unit_price="1.00"))
    moving.plans = (priced,)
    moving.close("2026-09")
    moving.use("a", "2026-09-30T23", compute_unit_seconds=30 * HOUR, root_branch_bytes_month=10**10)
    moving.now = moment("2026-11-03")
    moving.read("2026-09", "2026-10")
    moving.close("2026-10")
    [*lines] = moving.invoice("2026-10", "one")["lines"]
    assert [(line["meter"], line["amount"], line["tax_rate_percent"]) for line in lines] == [
        ("compute", "30.00", "19"),
        ("storage", "10.00", "19"),
    ]


def test_a_credit_note_takes_back_each_tax(moving):
    invoice = october_with_late_september(moving)
    note = moving.void(invoice["number"])
    assert [(entry["rate_percent"], entry["base"], entry["amount"]) for entry in note["taxes"]] == [
        ("19", "-50.00", "-9.50"),
        ("16", "-100.00", "-16.00"),
    ]
    assert (note["subtotal"], note["total"]) == ("-150.00", "-175.50")
    moving.close("2026-10")
    assert totals(moving.invoice("2026-10", "one")) == ("150.00", ["9.50", "16.00"], "175.50")
    assert moving.faults() == []


def test_prices_that_include_two_rates_are_taken_apart_by_each(moving):
    moving.customers = (dated((None, "2026-10-01", "19"), ("2026-10-01", None, "16"), tax_inclusive=True),)
    invoice = october_with_late_september(moving)
    # 50.00 x 19 / 119 = 7.983..., 100.00 x 16 / 116 = 13.793...
    assert [(entry["base"], entry["amount"]) for entry in invoice["taxes"]] == [("42.02", "7.98"), ("86.21", "13.79")]
    assert (invoice["subtotal"], invoice["total"], invoice["tax_inclusive"]) == ("128.23", "150.00", True)
    assert moving.faults() == []
    text = explain_text.table(explain.explain(moving.ledger.store, invoice["number"]))
    assert "              7.98  VAT: 50.00 × 19 ÷ (100 + 19)" in text
    assert "             13.79  VAT: 100.00 × 16 ÷ (100 + 16)" in text


def by_category(invoice: dict) -> list[tuple[str, ...]]:
    names = ("rate_percent", "category", "base", "amount")
    return [tuple(entry[name] for name in names) for entry in invoice["taxes"]]


OWED_BY_BUYER = ("AE", "The buyer owes the tax", "FR32123456789")


@pytest.mark.parametrize("rate", [None, "0"])
def test_a_customer_who_becomes_reverse_charge_pays_the_tax_of_the_earlier_month(moving, rate):
    taxable, owing = (None, "2026-10-01", "19", "S", None, "FR32123456789"), ("2026-10-01", None, rate, *OWED_BY_BUYER)
    moving.customers = (dated(taxable, owing),)
    invoice = october_with_late_september(moving)
    assert [
        (entry["rate_percent"], entry["category"], entry["base"], entry["amount"]) for entry in invoice["taxes"]
    ] == [
        ("19", "S", "50.00", "9.50"),
        ("0", "AE", "100.00", "0.00"),
    ]
    assert [line["tax_category"] for line in invoice["lines"]] == ["S", "AE", "AE"]
    assert (invoice["subtotal"], invoice["total"]) == ("150.00", "159.50")
    assert moving.faults() == []


def test_a_customer_who_stops_being_reverse_charge_pays_no_tax_for_the_earlier_month(moving):
    owing, taxable = (None, "2026-10-01", None, *OWED_BY_BUYER), ("2026-10-01", None, "20", "S", None, "FR32123456789")
    moving.customers = (dated(owing, taxable),)
    september = moving.invoice("2026-09", "one")
    assert (by_category(september), september["total"]) == ([("0", "AE", "30.00", "0.00")], "30.00")
    invoice = october_with_late_september(moving)
    assert [
        (entry["rate_percent"], entry["category"], entry["base"], entry["amount"]) for entry in invoice["taxes"]
    ] == [
        ("20", "S", "100.00", "20.00"),
        ("0", "AE", "50.00", "0.00"),
    ]
    assert [line.get("tax_note") for line in invoice["lines"]] == ["The buyer owes the tax", None, None]
    assert moving.faults() == []


def test_an_invoice_of_reverse_charge_alone_has_no_tax_and_says_why(moving):
    moving.customers = (dated((None, None, None, *OWED_BY_BUYER)),)
    invoice = october_with_late_september(moving)
    assert invoice["taxes"] == [
        {"name": "Reverse charge", "rate_percent": "0", "category": "AE", "base": "150.00", "amount": "0.00"}
    ]
    assert (invoice["subtotal"], invoice["total"]) == ("150.00", "150.00")
    assert {(line["tax_rate_percent"], line["tax_category"]) for line in invoice["lines"]} == {(None, "AE")}


def test_outside_the_scope_of_tax_does_not_stand_beside_anything_else(moving):
    """EN 16931 (BR-O-11 to BR-O-14): an invoice with category O has no other category."""
    moving.customers = (dated((None, "2026-10-01", "19", "S"), ("2026-10-01", None, None, "O")),)
    moving.close("2026-09")
    moving.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    moving.use("a", "2026-10-10T05", compute_unit_seconds=20 * HOUR)
    moving.now = moment("2026-11-03")
    moving.read("2026-09", "2026-10")
    reason = moving.close("2026-10").parked["one"]
    assert reason.startswith("some of its lines are outside the scope of tax (category O) and others are not")
    assert moving.shown("2026-10")["parked"] == [{"customer": "one", "reason": reason}]
    with pytest.raises(MeteringError, match="one cannot be released: some of its lines are outside the scope"):
        moving.close("2026-10", release={"one": "never mind"})
    # As the reason says: September is closed again, including the late usage, then October.
    moving.void(moving.invoice("2026-09", "one")["number"])
    moving.close("2026-09")
    assert moving.close("2026-10").parked == {}
    assert totals(moving.invoice("2026-09", "one")) == ("80.00", ["15.20"], "95.20")
    assert totals(moving.invoice("2026-10", "one")) == ("20.00", ["0.00"], "20.00")
    assert moving.faults() == []


def test_outside_the_scope_in_both_months_is_no_contradiction(moving):
    moving.customers = (dated((None, None, None, "O")),)
    assert totals(october_with_late_september(moving)) == ("150.00", ["0.00"], "150.00")


def test_a_day_that_no_dated_tax_reaches_parks_the_customer(moving):
    moving.customers = (dated(("2026-01-01", "2026-09-10", "19")),)
    reason = "customers.csv has no tax for 2026-09-30: the dates tax_from and tax_to do not reach there"
    assert moving.close("2026-09").parked == {"one": reason}
    moving.customers = (dated(("2026-01-01", "2026-10-01", "19")),)
    assert moving.close("2026-09").parked == {}
    assert totals(moving.invoice("2026-09", "one")) == ("30.00", ["5.70"], "35.70")


def test_dated_taxes_travel_through_the_frozen_terms_and_change_no_hash_where_there_are_none(moving):
    found = terms.of(moving.config)
    assert terms.from_document(terms.document(found)).customers[0].dated == CHEAPER.dated
    moving.customers = (customer("one"),)
    keys = terms.document(terms.of(moving.config))["customers"][0].keys()
    assert not keys & {"dated", "tax_from", "tax_to", "tax_category", "tax_note", "tax_inclusive"}


def test_a_rate_written_in_two_ways_is_one_rate():
    own = [*lines("10.00", tax_rate_percent="21"), *lines("10.00", tax_rate_percent="21.00")]
    assert totals_of(own, "EUR", "half_up")["taxes"] == [
        {"name": "Tax", "rate_percent": "21", "base": "20.00", "amount": "4.20"}
    ]


def test_two_names_or_categories_of_one_rate_are_two_taxes():
    own = [
        *lines("0.02", tax_rate_percent="20", tax_name="TVA"),
        *lines("0.02", tax_rate_percent="20", tax_name="VAT"),
        *lines("0.02", tax_rate_percent="20", tax_name="VAT", tax_category="S"),
    ]
    found = totals_of(own, "EUR", "half_up")
    assert [(entry["name"], entry.get("category")) for entry in found["taxes"]] == [
        ("TVA", None),
        ("VAT", None),
        ("VAT", "S"),
    ]
    # 20 % of 0.02 is 0.004 each time; of 0.06 at once it would be 0.01.
    assert (found["subtotal"], found["total"]) == ("0.06", "0.06")


@given(
    st.lists(st.tuples(cents, st.sampled_from([None, "0", "7", "16", "19.5"])), min_size=1, max_size=12),
    st.sampled_from(["half_up", "half_even"]),
)
def test_each_tax_is_its_rate_of_the_sum_of_its_lines_rounded_once(amounts, mode):
    own = [line for one, rate in amounts for line in lines(amount_text(one, "EUR"), tax_rate_percent=rate)]
    found = totals_of(own, "EUR", mode)
    for entry in found["taxes"]:
        base = sum(one for one, rate in amounts if rate == entry["rate_percent"])
        assert parse_amount(entry["base"], "EUR") == base
        assert parse_amount(entry["amount"], "EUR") == round_amount(
            Fraction(base, 100) * Fraction(entry["rate_percent"]) / 100, "EUR", mode
        )
    assert {entry["rate_percent"] for entry in found["taxes"]} == {rate for _, rate in amounts if rate}
    assert parse_amount(found["subtotal"], "EUR") == sum(one for one, _ in amounts)
    taxes = sum(parse_amount(entry["amount"], "EUR") for entry in found["taxes"])
    assert parse_amount(found["total"], "EUR") == parse_amount(found["subtotal"], "EUR") + taxes


def test_paper_has_a_row_for_each_tax_and_each_reason_once(moving):
    moving.customers = (dated((None, "2026-10-01", "19", "S"), ("2026-10-01", None, None, *OWED_BY_BUYER)),)
    printed = sheet.sheet(converted(october_with_late_september(moving)), Background(seller={}))
    assert [(row["what"], row["amount"]) for row in printed["sums"]["taxes"]] == [
        ("VAT 19 % of 50.00", "9.50"),
        ("Reverse charge 0 % of 100.00", "0.00"),
    ]
    assert printed["untaxed"] == ["The buyer owes the tax"]


# -- a tax that changes inside a month


def halves(**row: object) -> Customer:
    """19 % up to 15 September, 16 % from the 16th on."""
    return dated((None, "2026-09-16", "19"), ("2026-09-16", None, "16"), **row)


@contextmanager
def september(
    directory: Path, *plans: Plan, customers: tuple[Customer, ...] = (), rows: tuple | None = None, **more: object
) -> Iterator[Books]:
    """Projects a and b of customer one on the first plan, in November; the test sets the usage and reads it."""
    names = sorted({row.project_id for row in rows}) if rows else ["a", "b"]
    found = rows or tuple(subscription(name, "one", plans[0].id) for name in names)
    people = customers or (halves(),)
    with books(directory, "2026-10-03", plans=plans, subscriptions=found, customers=people, **more) as desk:
        desk.see(*({"id": name, "name": name, "created_at": "2026-01-01T00:00:00Z"} for name in names))
        yield desk


def billed(desk: Books, name: str = "one") -> list[tuple[str, ...]]:
    """(kind, from, to, quantity, amount, rate) of the closed September; also checks `verify` and `explain`."""
    desk.close("2026-09")
    assert desk.faults() == []
    invoice = desk.invoice("2026-09", name)
    for line in invoice["lines"]:
        assert explain.explain(desk.ledger.store, invoice["number"], line["key"])["agrees"] is True, line["key"]
    assert len({line["key"] for line in invoice["lines"]}) == len(invoice["lines"])
    names = ("kind", "quantity", "amount", "tax_rate_percent")
    return [(line["from"][8:10], line["to"][8:10], *(line[name] for name in names)) for line in invoice["lines"]]


def test_a_change_inside_the_month_cuts_usage_like_a_price_and_fees_by_time(tmp_path):
    """Tiers and the allowance continue across the change: 20 h before it, 30 h after it; 10 h are included."""
    tiers = [{"up_to": "30", "unit_price": "1.00"}, {"unit_price": "2.00"}]
    flat = plan("flat", price(model="graduated", tiers=tiers, included="10"), base_fee="10.01")
    with september(tmp_path, flat, rows=(subscription("a", "one", "flat"),)) as desk:
        desk.use("a", "2026-09-15T23", compute_unit_seconds=20 * HOUR)
        desk.use("a", "2026-09-16T00", compute_unit_seconds=30 * HOUR)
        desk.read("2026-09")
        assert billed(desk) == [
            ("01", "16", "base_fee", "0.5", "5.01", "19"),
            ("16", "01", "base_fee", "0.5", "5.00", "16"),
            ("01", "16", "usage", "10", "10.00", "19"),
            ("16", "01", "usage", "20", "20.00", "16"),
            ("16", "01", "usage", "10", "20.00", "16"),
        ]
        assert desk.invoice("2026-09", "one")["taxes"] == [
            {"name": "VAT", "rate_percent": "19", "base": "15.01", "amount": "2.85"},
            {"name": "VAT", "rate_percent": "16", "base": "45.00", "amount": "7.20"},
        ]


def test_two_price_versions_and_a_tax_change_in_one_month(tmp_path):
    """1.00 up to the 10th, 2.00 from then on; the tax changes on the 16th."""
    flat = plan("flat", price(unit_price="1.00"), price(unit_price="2.00", valid_from="2026-09-11"))
    with september(tmp_path, flat, rows=(subscription("a", "one", "flat"),)) as desk:
        for day in ("05", "12", "20"):
            desk.use("a", f"2026-09-{day}T05", compute_unit_seconds=10 * HOUR)
        desk.read("2026-09")
        assert billed(desk) == [
            ("01", "11", "usage", "10", "10.00", "19"),
            ("11", "16", "usage", "10", "20.00", "19"),
            ("16", "01", "usage", "10", "20.00", "16"),
        ]


def test_a_customers_pool_goes_on_across_the_change_and_is_split_over_its_projects(tmp_path):
    pool = plan(
        "flat", price(unit_price="1.00", scope="customer", included="10"), base_fee="3", base_fee_scope="customer"
    )
    with september(tmp_path, pool) as desk:
        desk.use("a", "2026-09-03T05", compute_unit_seconds=8 * HOUR)
        desk.use("b", "2026-09-04T05", compute_unit_seconds=8 * HOUR)
        desk.use("b", "2026-09-20T05", compute_unit_seconds=4 * HOUR)
        desk.read("2026-09")
        assert billed(desk) == [
            ("01", "16", "base_fee", "0.5", "1.50", "19"),
            ("16", "01", "base_fee", "0.5", "1.50", "16"),
            ("01", "16", "usage", "6", "6.00", "19"),
            ("16", "01", "usage", "4", "4.00", "16"),
        ]
        lines = [line for line in desk.invoice("2026-09", "one")["lines"] if line["kind"] == "usage"]
        assert [[(part["project_id"], part["amount"]) for part in line["projects"]] for line in lines] == [
            [("a", "3.00"), ("b", "3.00")],
            [("b", "4.00")],
        ]


def test_bounds_and_discounts_are_shared_over_the_taxes_by_what_they_act_on(tmp_path):
    """30 h at 1.00 are 10.00 and 20.00; at most 20.01: -3.33 and -6.66. Then 10 % of 20.01 off: -0.67 and -1.33."""
    flat = plan("flat", price(unit_price="1.00", maximum="20.01"))
    row = subscription("a", "one", "flat")
    discounts = (Discount.model_validate({"customer": "one", "percent": "10"}),)
    with september(tmp_path, flat, rows=(row,), discounts=discounts) as desk:
        desk.use("a", "2026-09-05T05", compute_unit_seconds=10 * HOUR)
        desk.use("a", "2026-09-25T05", compute_unit_seconds=20 * HOUR)
        desk.read("2026-09")
        assert billed(desk) == [
            ("01", "16", "usage", "10", "10.00", "19"),
            ("01", "16", "discount", "0", "-3.33", "19"),
            ("16", "01", "usage", "20", "20.00", "16"),
            ("16", "01", "discount", "0", "-6.66", "16"),
            ("01", "16", "discount", "0.333333333333", "-0.67", "19"),
            ("16", "01", "discount", "0.666666666667", "-1.33", "16"),
        ]
        invoice = desk.invoice("2026-09", "one")
        # 6.00 x 19 %, 12.01 x 16 % = 1.9216.
        assert totals(invoice) == ("18.01", ["1.14", "1.92"], "21.07")


def test_minimums_are_shared_by_what_was_charged_and_without_any_charge_by_time(tmp_path):
    """A price's minimum of 9.00 without usage is split by days; the plan's of 15.00 then lacks 6.00, split like it."""
    flat = plan("flat", price(unit_price="1.00", minimum="9.00"), minimum="15.00")
    change = dated((None, "2026-09-11", "19"), ("2026-09-11", None, "16"))
    with september(tmp_path, flat, rows=(subscription("a", "one", "flat"),), customers=(change,)) as desk:
        desk.read("2026-09")
        assert billed(desk) == [
            ("01", "11", "minimum", "0", "3.00", "19"),
            ("11", "01", "minimum", "0", "6.00", "16"),
            ("01", "11", "minimum", "0.333333333333", "2.00", "19"),
            ("11", "01", "minimum", "0.666666666667", "4.00", "16"),
        ]


def test_a_flat_fee_due_without_usage_is_shared_by_time_and_over_a_customers_projects(tmp_path):
    tiers = [{"unit_price": "1.00", "flat_fee": "9.00"}]
    flat = plan("flat", price(model="graduated", tiers=tiers, flat_fee_at_zero=True, scope="customer"))
    change = dated((None, "2026-09-11", "19"), ("2026-09-11", None, "16"))
    with september(tmp_path, flat, customers=(change,)) as desk:
        desk.read("2026-09")
        assert billed(desk) == [
            ("01", "11", "flat_fee", "0.333333333333", "3.00", "19"),
            ("11", "01", "flat_fee", "0.666666666667", "6.00", "16"),
        ]
        lines = desk.invoice("2026-09", "one")["lines"]
        assert [line["unit_price"] for line in lines] == [None, None]
        assert [[(part["project_id"], part["amount"]) for part in line["projects"]] for line in lines] == [
            [("a", "1.50"), ("b", "1.50")],
            [("a", "3.00"), ("b", "3.00")],
        ]


def test_a_part_that_comes_to_nothing_stays_with_its_quantity(tmp_path):
    """0.01 for ten and twenty days: the larger part gets the cent, the smaller one has a quantity and no amount."""
    tiers = [{"unit_price": "1.00", "flat_fee": "0.01"}]
    flat = plan("flat", price(model="graduated", tiers=tiers, flat_fee_at_zero=True, scope="customer"))
    change = dated((None, "2026-09-11", "19"), ("2026-09-11", None, "16"))
    with september(tmp_path, flat, customers=(change,)) as desk:
        desk.read("2026-09")
        assert billed(desk) == [
            ("01", "11", "flat_fee", "0.333333333333", "0.00", "19"),
            ("11", "01", "flat_fee", "0.666666666667", "0.01", "16"),
        ]


@pytest.mark.parametrize("prorate", ["second", "day", "none"])
def test_a_base_fee_is_shared_by_time_however_it_is_prorated(tmp_path, prorate):
    flat = plan("flat", base_fee="10")
    invoices = InvoicesConfig(prorate=prorate)
    with september(tmp_path, flat, rows=(subscription("a", "one", "flat"),), invoices=invoices) as desk:
        desk.read("2026-09")
        assert [(row[4], row[5]) for row in billed(desk)] == [("5.00", "19"), ("5.00", "16")]


def test_a_line_that_ends_at_the_midnight_of_the_change_has_the_tax_before_it_and_one_second_more_is_cut(tmp_path):
    flat = plan("flat", base_fee="30")
    ending = (
        subscription("a", "one", "flat", "2026-09-01T00:00:00Z", "2026-09-16T00:00:00Z"),
        subscription("b", "one", "flat", "2026-09-01T00:00:00Z", "2026-09-16T00:00:01Z"),
        subscription("c", "one", "flat", "2026-09-16T00:00:00Z", "2026-09-17T00:00:00Z"),
    )
    with september(tmp_path, flat, rows=ending) as desk:
        desk.read("2026-09")
        assert [(row[0], row[1], row[4], row[5]) for row in billed(desk)] == [
            ("01", "16", "15.00", "19"),
            ("01", "16", "15.00", "19"),
            ("16", "16", "0.00", "16"),
            ("16", "17", "1.00", "16"),
        ]


def test_a_change_of_the_note_or_the_tax_id_cuts_nothing(tmp_path):
    flat = plan("flat", base_fee="10")
    first, second = (None, "2026-09-16", "0", "AE", "before", "FR1"), ("2026-09-16", None, "0", "AE", "after", "FR2")
    with september(tmp_path, flat, rows=(subscription("a", "one", "flat"),), customers=(dated(first, second),)) as desk:
        desk.read("2026-09")
        assert billed(desk) == [("01", "01", "base_fee", "1", "10.00", "0")]
        assert desk.invoice("2026-09", "one")["lines"][0]["tax_note"] == "after"


def test_late_usage_of_a_cut_month_is_corrected_at_the_tax_of_each_part(tmp_path):
    flat = plan("flat", price(unit_price="1.00"), minimum="5.00")
    with september(tmp_path, flat, rows=(subscription("a", "one", "flat"),)) as desk:
        desk.use("a", "2026-09-05T05", compute_unit_seconds=10 * HOUR)
        desk.read("2026-09")
        billed(desk)
        desk.use("a", "2026-09-06T05", compute_unit_seconds=2 * HOUR)
        desk.use("a", "2026-09-26T05", compute_unit_seconds=3 * HOUR)
        desk.now = moment("2026-11-03")
        desk.read("2026-09", "2026-10")
        desk.close("2026-10")
        found = desk.invoice("2026-10", "one")
        own = [line for line in found["lines"] if line["kind"] == "adjustment"]
        assert [(line["from"][8:10], line["amount"], line["tax_rate_percent"]) for line in own] == [
            ("01", "2.00", "19"),
            ("16", "3.00", "16"),
        ]
        for line in own:
            assert explain.explain(desk.ledger.store, found["number"], line["key"])["agrees"] is True
        assert desk.faults() == []


def test_a_month_inside_and_outside_the_scope_of_tax_is_parked(tmp_path):
    flat = plan("flat", base_fee="10")
    change = dated((None, "2026-09-16", "19"), ("2026-09-16", None, None, "O"))
    with september(tmp_path, flat, rows=(subscription("a", "one", "flat"),), customers=(change,)) as desk:
        desk.read("2026-09")
        assert desk.close("2026-09").parked["one"].startswith("some of its lines are outside the scope of tax")


def test_the_report_sums_base_and_tax_of_each_rate(moving):
    """Customer one has two taxes (September's and October's), customer two has 21 %: each rate is summed separately."""
    moving.subscriptions = (*moving.subscriptions, subscription("b", "two", "flat"))
    moving.customers = (CHEAPER, customer("two"))
    moving.see(*({"id": name, "name": name, "created_at": "2026-01-01T00:00:00Z"} for name in "ab"))
    moving.use("b", "2026-10-20T05", compute_unit_seconds=50 * HOUR)
    october_with_late_september(moving)
    facts = gather.facts(months_of(moving.ledger.store, moving.config, moving.now), month("2026-10"))
    found = build.build(facts)
    names = ("currency", "name", "rate_percent", "category", "base", "amount")
    assert [tuple(row[name] for name in names) for row in found["taxes"]] == [
        ("USD", "VAT", "21", None, "100.00", "21.00"),
        ("USD", "VAT", "19", None, "50.00", "9.50"),
        ("USD", "VAT", "16", None, "100.00", "16.00"),
    ]
    assert [(row["subtotal"], row["tax"]) for row in found["totals"]] == [("250.00", "46.50")]
    rows = paper.paper(found)["sections"][0]["parts"][0]["foot"]
    assert [(row[0], row[3]) for row in rows] == [
        ("Revenue before tax", "250.00"),
        ("Tax", "46.50"),
        ("VAT 21 % of 100.00", "21.00"),
        ("VAT 19 % of 50.00", "9.50"),
        ("VAT 16 % of 100.00", "16.00"),
        ("Invoiced", "296.50"),
    ]
