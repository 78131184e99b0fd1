"""The value of unbilled usage; every expected number was computed by hand."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from metering.core.meters import Divisor, Meter, built_in
from metering.rating.card import Card
from metering.rating.unbilled import Usage, valued
from tests.support.card import plan, price

AT = datetime(2026, 9, 30, 23, 59, 59, tzinfo=UTC)
HOURS_100 = Usage(project_id="p-1", metric="compute_unit_seconds", value=360000)


def card(*plans, rounding="half_up"):
    return Card(plans=plans, meters=built_in(), rounding=rounding, prorate="second")


def found(rows, by_card, **defaults):
    return [row for _, row in valued(rows, by_card, AT, defaults)]


def worth(rows, *plans, **defaults):
    return [(row.worth, row.currency, row.priced_as) for row in found(rows, card(*plans), **defaults)]


PRO = plan("pro", price(unit_price="0.16", included="50"))
BASIC = plan("basic", price(unit_price="0.20", included="90"))


def test_the_plan_that_charges_least_says_it_with_its_allowance():
    assert worth([HOURS_100], PRO, BASIC) == [("2.00", "USD", "basic")]  # 10 x 0.20, where pro would be 50 x 0.16


def test_the_organizations_default_plan_comes_first():
    assert worth([HOURS_100], PRO, BASIC, **{"p-1": "pro"}) == [("8.00", "USD", "pro")]


def test_a_default_plan_without_a_price_for_it_does_not_say_it():
    storage = plan("storage", price(meter="storage", unit_price="0.35"))
    assert worth([HOURS_100], storage, PRO, **{"p-1": "storage"}) == [("8.00", "USD", "pro")]


def test_what_no_plan_prices_and_no_meter_knows_has_no_worth():
    unknown = Usage(project_id="p-1", metric="vector_index_seconds", value=5)
    assert worth([unknown], PRO) == [(None, None, None)]
    assert worth([HOURS_100], plan("storage", price(meter="storage", unit_price="0.35"))) == [(None, None, None)]


def test_the_price_in_force_at_that_moment_counts():
    dated = plan(
        "dated",
        price(unit_price="1.00"),
        price(unit_price="2.00", valid_from="2026-09-30T23:59:59Z"),
        price(unit_price="3.00", valid_from="2026-10-01"),
    )
    assert worth([HOURS_100], dated) == [("200.00", "USD", "dated")]


@pytest.mark.parametrize(
    "untold", [price(model="cost_plus", markup_percent="25"), price(unit_price="1", included_per_hour="9")]
)
def test_what_a_sum_does_not_tell_is_passed_over(untold):
    assert worth([HOURS_100], plan("a", untold)) == [(None, None, None)]


def test_neons_currency_is_preferred_since_two_cannot_be_compared():
    yen = plan("yen", price(unit_price="0.01"), currency="JPY")
    assert worth([HOURS_100], yen, PRO) == [("8.00", "USD", "pro")]
    assert worth([HOURS_100], yen) == [("1", "JPY", "yen")]


def test_metrics_of_one_meter_share_one_allowance_and_its_cents():
    storage = plan("s", price(meter="storage", unit_price="1.00", included="1"))
    rows = [
        Usage(project_id="p-1", metric="root_branch_bytes_month", value=2000000000),
        Usage(project_id="p-1", metric="child_branch_bytes_month", value=1000000000),
    ]
    rated = found(rows, card(storage))
    assert [row.worth for row in rated] == ["1.33", "0.67"]  # 2.00 by 2 : 1
    assert [row.quantity for row in rated] == ["2", "1"]


@pytest.mark.parametrize(("value", "told"), [(1199, "0.00"), (1200, "0.01")])
def test_the_quantity_is_not_rounded_before_the_amount_is(value, told):
    third = plan("third", price(unit_price="0.015"))
    rows = [Usage(project_id="p-1", metric="compute_unit_seconds", value=value)]
    assert worth(rows, third) == [(told, "USD", "third")]  # a third of an hour at 0.015 is half a cent


def test_thirds_of_two_metrics_fill_a_package_and_begin_no_other():
    thirds = Meter(id="thirds", metrics=("a", "b"), unit="piece", divisors=(Divisor(valid_from=AT, divisor="3"),))
    packed = plan("packed", price(meter="thirds", model="package", package_size="1", package_price="1.00"))
    rows = [Usage(project_id="p-1", metric=metric, value=value) for metric, value in (("a", 2), ("b", 1))]
    rated = found(rows, replace(card(packed), meters=(thirds,)))
    assert [(row.quantity, row.worth) for row in rated] == [
        ("0.666666666667", "0.67"),
        ("0.333333333333", "0.33"),
    ]
    rows[1] = replace(rows[1], value=2)
    rated = found(rows, replace(card(packed), meters=(thirds,)))
    assert [row.worth for row in rated] == ["1.00", "1.00"]  # 4/3: a second one is begun


def test_rounding_is_the_cards():
    half = plan("half", price(unit_price=Decimal("0.00005")))
    (row,) = found([HOURS_100], card(half, rounding="half_even"))
    assert row.worth == "0.00"  # 100 x 0.00005 is half a cent
    (row,) = found([HOURS_100], card(half))
    assert row.worth == "0.01"
