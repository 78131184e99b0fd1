import pytest

from metering.core import meters
from metering.core.meters import Meter
from metering.rating import validation
from tests.support.card import plan, price

TIERS = [{"up_to": "10", "unit_price": "1"}, {"unit_price": "2"}]
PRO = plan("pro")


def told(*plans, catalogue=None):
    return {fault.where: fault.what for fault in validation.faults(list(plans), catalogue or meters.catalogue())}


def test_a_sound_card_has_no_faults():
    assert told(plan("pro", price(unit_price="1"), price("storage", model="graduated", tiers=TIERS))) == {}


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({}, "unit_price"),
        ({"unit_price": "1", "tiers": TIERS}, "tiers"),
        ({"unit_price": "1", "package_size": "1"}, "package_size"),
        ({"unit_price": "1", "markup_percent": "1"}, "markup_percent"),
        ({"model": "graduated"}, "tiers"),
        ({"model": "graduated", "tiers": TIERS, "unit_price": "0"}, "unit_price"),
        ({"model": "graduated", "tiers": TIERS[:1]}, "tiers[0].up_to"),
        ({"model": "volume", "tiers": [*TIERS, TIERS[1]]}, "tiers[1].up_to"),
        ({"model": "volume", "tiers": [TIERS[0], TIERS[0], TIERS[1]]}, "tiers[1].up_to"),
        ({"model": "package", "package_size": "1"}, "package_price"),
        ({"model": "cost_plus"}, "markup_percent"),
        ({"model": "cost_plus", "markup_percent": "5", "included": "1"}, "included"),
        ({"model": "cost_plus", "markup_percent": "5", "scope": "customer"}, "scope"),
        ({"unit_price": "1", "included": "1", "included_per_hour": "1"}, "included_per_hour"),
        ({"unit_price": "1", "minimum": "2", "maximum": "1.99"}, "maximum"),
        ({"unit_price": "1", "meter": "computer"}, "meter"),
    ],
)
def test_each_fault_of_a_price_names_its_key(keys, where):
    assert list(told(PRO, plan("pro", price(**keys)))) == [f"plans[1].prices[0].{where}"]


def test_a_minimum_may_equal_its_maximum():
    assert told(plan("pro", price(unit_price="1", minimum="2", maximum="2.00"))) == {}


def test_two_meters_that_share_a_metric_cannot_both_be_priced():
    found = told(plan("pro", price("storage", unit_price="1"), price("storage_root", unit_price="1")))

    assert found == {"plans[0].prices[1].meter": "storage_root and storage both count root_branch_bytes_month"}


def test_one_meter_has_one_price_from_a_date_and_one_scope():
    versions = [
        price(unit_price="1"),
        price(unit_price="2"),
        price(unit_price="2", valid_from="2026-02-01", scope="customer"),
    ]

    assert list(told(plan("pro", *versions))) == ["plans[0].prices[1].valid_from", "plans[0].prices[2].scope"]


def test_a_currency_must_be_in_use():
    assert list(told(plan("pro", currency="ZZZ"))) == ["plans[0].currency"]


def test_a_meter_counts_a_metric_once_and_has_one_divisor_from_a_date():
    divisor = {"valid_from": "2026-01-01", "divisor": "5"}
    twice = Meter.model_validate({"id": "m", "metrics": ["a", "a"], "unit": "u", "divisors": [divisor, divisor]})

    assert list(told(catalogue=[twice])) == ["meters (m).metrics", "meters (m).divisors"]
