from fractions import Fraction
from typing import get_args

import pytest

from metering.core.plans import ModelName
from metering.rating.exact import NOTHING, difference
from metering.rating.models import MODELS, description, exact_parts, follows_cost, offer, tiers_of
from tests.support.card import price

TIERS = [{"up_to": "10", "unit_price": "2", "flat_fee": "5"}, {"unit_price": "1"}]
KEYS = {
    "per_unit": {"unit_price": "0.16"},
    "graduated": {"tiers": TIERS},
    "volume": {"tiers": TIERS},
    "package": {"package_size": "10", "package_price": "3.50"},
    "cost_plus": {"markup_percent": "12.5"},
}


def parts(model, after, before=None, **keys):
    """[(kind, tier, quantity, amount, before)]"""
    found = exact_parts(
        price(model=model, **KEYS[model]), share=Fraction(1), after=Fraction(after), before=before, **keys
    )
    return [(part.kind, part.tier, part.quantity, part.amount, part.before) for part in found]


def test_every_model_that_a_price_may_name_has_an_entry():
    assert list(MODELS) == list(get_args(ModelName)) == list(KEYS)


@pytest.mark.parametrize("model", KEYS)
def test_a_price_with_what_its_model_needs_has_tiers_with_a_rate(model):
    assert set(MODELS[model].needs) == set(KEYS[model])
    assert all(tier.rate > 0 for tier in tiers_of(price(model=model, **KEYS[model])))


@pytest.mark.parametrize(
    ("model", "words"),
    {
        "per_unit": "0.16 each",
        "graduated": "5 and 2 each up to 10, then 1 each",
        "volume": "5 and 2 each up to 10, then 1 each",
        "package": "3.50 per 10 begun",
        "cost_plus": "Neon’s cost + 12.5 %",
    }.items(),
)
def test_every_model_words_what_its_prices_offer(model, words):
    assert offer(price(model=model, **KEYS[model])) == words


def test_an_offer_groups_thousands_and_leaves_out_a_fee_of_zero():
    tiers = [{"up_to": "12500", "unit_price": "1234.5", "flat_fee": "0"}, {"unit_price": "1000", "flat_fee": "2000"}]

    assert offer(price(model="graduated", tiers=tiers)) == "1,234.5 each up to 12,500, then 2,000 and 1,000 each"


def test_vectors_over_other_tiers_have_no_difference():
    tiers = tiers_of(price(model="graduated", **KEYS["graduated"]))

    with pytest.raises(ValueError, match="shorter than"):
        difference(tiers, [NOTHING, NOTHING], [NOTHING])


def test_tiers_follow_each_other_and_the_last_has_no_end():
    three = price(model="graduated", tiers=[TIERS[0], {"up_to": "20", "unit_price": "3"}, TIERS[1]])

    assert [(f"{tier.low}", tier.up_to and f"{tier.up_to}") for tier in tiers_of(three)] == [
        ("0", "10"), ("10", "20"), ("20", None),
    ]  # fmt: skip


def test_the_end_of_a_tier_belongs_to_it():
    assert parts("graduated", 10) == [("usage", 1, 10, 20, 0), ("flat_fee", 1, 1, 5, 0)]
    assert parts("volume", 10) == [("usage", 1, 10, 20, 0), ("flat_fee", 1, 1, 5, 0)]


def test_one_unit_further_is_in_the_next_tier():
    assert parts("graduated", 11) == [("usage", 1, 10, 20, 0), ("flat_fee", 1, 1, 5, 0), ("usage", 2, 1, 1, 0)]
    assert parts("volume", 11) == [("usage", 2, 11, 11, 0)]


def test_usage_names_the_price_of_a_unit_and_a_flat_fee_itself():
    found = exact_parts(price(model="graduated", **KEYS["graduated"]), share=Fraction(1), after=Fraction(11))

    assert [(part.kind, part.unit_price) for part in found] == [("usage", 2), ("flat_fee", 5), ("usage", 1)]


def test_a_step_over_the_end_of_a_volume_tier_takes_back_what_stood_there():
    assert parts("volume", 12, before=Fraction(4)) == [
        ("usage", 1, -4, -8, 4), ("flat_fee", 1, -1, -5, 1), ("usage", 2, 12, 12, 0),
    ]  # fmt: skip


def test_a_package_is_charged_whole_once_it_is_begun():
    assert parts("package", 10) == [("usage", 1, 10, Fraction("3.5"), 0)]
    assert parts("package", Fraction(101, 10)) == [("usage", 1, Fraction(101, 10), 7, 0)]
    assert parts("package", 20, before=Fraction(15)) == [("usage", 1, 5, 0, 15)]


def test_a_price_that_follows_cost_charges_the_cost_of_the_step_with_its_markup():
    costs = (Fraction(8), Fraction(10))

    assert parts("cost_plus", 7, before=Fraction(5), costs=costs) == [("usage", 1, 2, Fraction("2.25"), 5)]
    assert parts("cost_plus", 5, before=Fraction(5), costs=costs) == [("usage", 1, 0, Fraction("2.25"), 5)]


def test_the_fee_at_zero_is_due_by_its_part_and_only_of_the_first_tier():
    assert parts("graduated", 0, idle=Fraction(1, 2)) == [("flat_fee", 1, Fraction(1, 2), Fraction(5, 2), 0)]
    assert parts("graduated", 1, idle=Fraction(1, 2)) == [("usage", 1, 1, 2, 0), ("flat_fee", 1, 1, 5, 0)]
    assert parts("per_unit", 0, idle=Fraction(1, 2)) == []


def test_only_the_price_by_cost_says_so_and_needs_the_cost():
    prices = {model: price(model=model, **keys) for model, keys in KEYS.items()}

    assert [model for model, one in prices.items() if follows_cost(one)] == ["cost_plus"]
    assert [description(one) for one in prices.values()] == ["", "", "", "", " at cost plus 12.5 %"]
