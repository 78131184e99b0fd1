"""Discounts, and plans that extend another plan: from configuration to invoice lines and their corrections."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from metering.config import Config
from metering.config import read as read_config
from metering.core import meters
from metering.core.errors import ConfigError
from metering.core.parties import Customer, Discount
from metering.core.period import parse_month
from metering.explain import explain
from metering.invoicing.lines import discount
from metering.rating import validation
from tests.support.card import plan, price, subscription
from tests.support.documents import lines_of
from tests.support.pages_of import Books, books, copied, moment

HOUR = 3600
SEPTEMBER = parse_month("2026-09", moment("2026-10-01"))


def off(**keys) -> Discount:
    return Discount.model_validate({"customer": "one", **keys})


def told(amounts, *discounts, currency="USD", mode="half_up"):
    own = lines_of({"amount": amount} for amount in amounts)
    found = discount.discount_lines(SEPTEMBER, own, currency, discount.of_customer(discounts, "one", SEPTEMBER), mode)
    return [(line.description, line.amount) for line in found]


def test_discounts_come_one_after_the_other_each_off_what_is_left():
    ten, five, half = off(percent="10"), off(amount="5.00", name="Loyalty"), off(percent="50")

    assert told(["60.00", "40.00"], ten, five, half) == [
        ("Discount: 10 %", "-10.00"),
        ("Loyalty", "-5.00"),
        ("Discount: 50 %", "-42.50"),
    ]
    assert told(["60.00", "40.00"], five, ten) == [("Loyalty", "-5.00"), ("Discount: 10 %", "-9.50")]


def test_an_amount_takes_no_more_than_there_is_and_then_nothing_is_left_to_take():
    assert told(["4.99"], off(amount="5.00"), off(percent="10")) == [("Discount", "-4.99")]
    assert told(["0.00"], off(amount="5.00")) == []
    assert told(["-1.00"], off(percent="10")) == []


@pytest.mark.parametrize(
    ("currency", "total", "mode", "amount"),
    [
        ("USD", "0.50", "half_up", "-0.01"),  # 0.005
        ("USD", "1.50", "half_even", "-0.02"),  # 0.015
        ("USD", "0.50", "half_even", None),  # 0.005
        ("JPY", "50", "half_up", "-1"),  # 0.5
        ("KWD", "0.050", "half_up", "-0.001"),  # 0.0005
    ],
)
def test_a_percentage_is_rounded_once_in_the_currencys_digits(currency, total, mode, amount):
    assert [line[1] for line in told([total], off(percent="1"), currency=currency, mode=mode)] == (
        [amount] if amount else []
    )


@pytest.mark.parametrize(
    ("bounds", "counts"),
    [
        ({"valid_from": "2026-09-01"}, True),
        ({"valid_from": "2026-10-01"}, False),
        ({"valid_to": "2026-09-01"}, False),
        ({"valid_to": "2026-10-01"}, True),
        ({"valid_from": "2026-09-01", "valid_to": "2026-10-01"}, True),
    ],
)
def test_a_discount_counts_from_its_first_month_to_before_its_end(bounds, counts):
    assert bool(told(["10.00"], off(percent="10", **bounds))) is counts


# -- in invoices


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Books:
    """Project a of customer one on a plan of 20.00 and 0.10 a CU-hour; 100 hours in September."""
    rows = (subscription("a", "one", "pro"),)
    plans = (plan("pro", price(unit_price="0.10"), base_fee="20.00"),)
    with books(tmp_path_factory.mktemp("kept"), "2026-10-03", plans=plans, subscriptions=rows) as found:
        found.see({"id": "a", "name": "a", "created_at": "2026-01-01T00:00:00Z"})
        found.use("a", "2026-09-10T05", compute_unit_seconds=100 * HOUR)
        found.read("2026-09")
    return found


@pytest.fixture
def desk(kept: Books, tmp_path: Path) -> Iterator[Books]:
    with copied(kept, tmp_path) as found:
        yield found


def test_a_discount_is_a_line_of_its_own_and_tax_counts_after_it(desk):
    desk.discounts = (off(percent="10", name="Launch"),)
    desk.customers = (
        Customer.model_validate({"id": "one", "name": "One", "tax_rate_percent": "20", "tax_name": "VAT"}),
    )
    invoice = desk.invoice("2026-09", "one")

    assert invoice["lines"][-1] == {
        "key": "one/discount/-/2026-09-01T00:00:00Z/1",
        "kind": "discount",
        "project_id": None,
        "plan": None,
        "meter": None,
        "description": "Launch: 10 %",
        "from": "2026-09-01T00:00:00Z",
        "to": "2026-10-01T00:00:00Z",
        "quantity": "1",
        "unit": "month",
        "unit_price": None,
        "amount": "-3.00",
        "basis": {"of": "30.00", "percent": "10"},
        "tax_rate_percent": "20",
        "tax_name": "VAT",
    }
    assert (invoice["subtotal"], invoice["taxes"][0]["amount"], invoice["total"]) == ("27.00", "5.40", "32.40")


def test_a_discount_counts_after_the_minimum(desk):
    desk.plans = (plan("pro", price(unit_price="0.10"), base_fee="20.00", minimum="50.00"),)
    desk.discounts = (off(percent="10"),)

    assert desk.invoice("2026-09", "one")["subtotal"] == "45.00"


def test_late_usage_is_discounted_as_its_month_was(desk):
    desk.discounts = (off(percent="10", valid_to="2026-10-01"),)
    desk.close("2026-09")
    desk.discounts = ()
    desk.use("a", "2026-09-30T23", compute_unit_seconds=50 * HOUR)
    desk.now = moment("2026-11-03")
    desk.read("2026-09", "2026-10")
    desk.close("2026-10")

    # September was 30.00 - 3.00 and would be 35.00 - 3.50.
    assert [(line["description"], line["amount"]) for line in desk.invoice("2026-10", "one")["lines"]] == [
        ("Pro", "20.00"),
        ("Compute: correction of 2026-09", "5.00"),
        ("Discount: correction of 2026-09", "-0.50"),
    ]
    assert desk.invoice("2026-10", "one")["lines"][2]["key"] == "one/discount/-/2026-09-01T00:00:00Z/adjustment"
    assert desk.faults() == []


def test_a_customer_without_lines_has_nothing_to_discount(desk):
    desk.discounts = (Discount(customer="stranger", amount=Decimal("5.00")),)

    assert [row["customer"]["id"] for row in desk.shown("2026-09")["invoices"]] == ["one"]


# -- in the configuration

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
unit_price = "0.10"
[[plans.prices]]
meter = "compute"
valid_from = 2026-07-01
model = "per_unit"
unit_price = "0.12"
[[plans.prices]]
meter = "storage"
valid_from = 2026-01-01
model = "per_unit"
unit_price = "0.40"
"""


def read(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return read_config(
        path, environ={}, card_faults=lambda card: validation.faults(card.plans, meters.catalogue(card.meters))
    )


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return [str(fault) for fault in caught.value.faults]


def test_a_plan_that_extends_another_has_its_keys_and_prices_but_its_own(tmp_path):
    own = """
[[plans]]
id = "pro-acme"
extends = "pro"
base_fee = "15.00"
[[plans.prices]]
meter = "compute"
valid_from = 2026-04-01
model = "per_unit"
unit_price = "0.08"
"""
    pro, acme = read(tmp_path, PRO + own).plans

    assert (acme.id, acme.name, acme.currency, acme.base_fee) == ("pro-acme", "Pro", "USD", Decimal("15.00"))
    assert [(row.meter, f"{row.valid_from:%m}", str(row.unit_price)) for row in acme.prices] == [
        ("compute", "04", "0.08"),
        ("compute", "01", "0.10"),
        ("storage", "01", "0.40"),
    ]
    assert len(pro.prices) == 3


def test_a_plan_may_extend_one_that_extends_another_in_any_order(tmp_path):
    least = '[[plans]]\nid = "c"\nextends = "b"\n[[plans]]\nid = "b"\nextends = "pro"\nbase_fee = "1.00"\n'
    third, second, _ = read(tmp_path, least + PRO).plans

    assert (third.base_fee, len(third.prices), second.base_fee) == (Decimal("1.00"), 3, Decimal("1.00"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[plans]]\nid = "b"\nextends = "pr"\n', ["plans[1].extends: there is no plan 'pr'; did you mean pro?"]),
        (
            '[[plans]]\nid = "b"\nextends = "b"\n',
            ["plans[1].extends: 'b' leads back to itself; let one of the plans stand alone"],
        ),
        (
            '[[plans]]\nid = "b"\nextends = "pro"\nbase_fee = "x"\n',
            [
                "plans[1].base_fee: 'x' is not a plain decimal number; "
                'write digits with at most one point, such as "0.16"'
            ],
        ),
    ],
)
def test_what_is_wrong_with_extending_names_its_key(tmp_path, text, expected):
    assert faults(tmp_path, PRO + text) == expected


def test_a_fault_of_the_extended_plan_is_told_once(tmp_path):
    wrong = PRO.replace('unit_price = "0.40"', 'unit_price = "-1"')

    assert faults(tmp_path, wrong + '[[plans]]\nid = "b"\nextends = "pro"\n') == [
        'plans[0].prices[2].unit_price: is -1, below zero; write "0" or more'
    ]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            'percent = "10"\namount = "5"',
            "discounts[0].percent: and amount are both given; give either percent or amount",
        ),
        ("", "discounts[0].percent: is missing; give either percent or amount"),
        ('percent = "100.1"', 'discounts[0].percent: is 100.1; write a percentage from "0" to "100"'),
        ('amount = "0"', "discounts[0].amount: is 0; write a number above zero"),
        (
            'percent = "1"\nvalid_from = 2026-07-02',
            "discounts[0].valid_from: 2026-07-02T00:00:00Z is not the beginning of a month; "
            "write its first day, such as 2026-07-01",
        ),
        (
            'percent = "1"\nvalid_from = 2026-07-01\nvalid_to = 2026-07-01',
            "discounts[0].valid_to: 2026-07-01T00:00:00Z is no later than valid_from; "
            "write a time after valid_from, 2026-07-01T00:00:00Z",
        ),
    ],
)
def test_a_faulty_discount_names_its_key(tmp_path, keys, expected):
    assert faults(tmp_path, f'[[discounts]]\ncustomer = "one"\n{keys}\n') == [expected]


# -- explained


def explained(desk: Books, name: str) -> dict[str, dict]:
    number = desk.invoice(name, "one")["number"]
    lines = desk.invoice(name, "one")["lines"]
    return {line["key"]: explain.explain(desk.ledger.store, number, line["key"]) for line in lines}


def test_a_discount_is_explained_step_by_step_and_so_is_its_correction(desk):
    desk.discounts = (off(amount="5.00", name="Loyalty"), off(percent="15"))
    desk.close("2026-09")
    desk.use("a", "2026-09-30T23", compute_unit_seconds=HOUR)
    desk.now = moment("2026-11-03")
    desk.read("2026-09", "2026-10")
    desk.close("2026-10")

    told = explained(desk, "2026-09")["one/discount/-/2026-09-01T00:00:00Z/2"]
    assert told["agrees"]
    assert told["steps"] == [
        "a/base_fee/pro/2026-09-01T00:00:00Z/1: 20.00",
        "a/compute/pro/2026-09-01T00:00:00Z/1: 10.00",
        "one/discount/-/2026-09-01T00:00:00Z/1: -5.00",
        "together 25.00",
        "15 % of 25.00 off: -3.75",
        "rounded once, half away from zero, to 2 digits: -3.75 USD",
    ]
    # September would be 30.10 - 5.00 - 3.765: 0.02 more off.
    late = explained(desk, "2026-10")["one/discount/-/2026-09-01T00:00:00Z/adjustment"]
    assert (late["agrees"], late["line"]["amount"]) == (True, "-0.02")
    assert all(row["agrees"] for row in explained(desk, "2026-10").values())
