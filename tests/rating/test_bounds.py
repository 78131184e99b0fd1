"""Minimums, maximums and fees without usage: once per customer, plan, meter and month."""

from decimal import Decimal
from fractions import Fraction

import pytest

from metering.core.errors import ExactnessError
from metering.invoicing.lines import assembly as invoice
from metering.rating.bounds import kept
from tests.support.card import SEPTEMBER, alone, at, existence, plan, price, rated, segments, subscription
from tests.support.documents import printed

HOUR = 3600
TEAM = plan("team", base_fee="0")
A_B_A = [
    subscription("p", "A", "pro", None, at(11)),
    subscription("p", "B", "pro", at(11), at(21)),
    subscription("p", "A", "pro", at(21)),
]
PRO_TEAM_PRO = [
    subscription("p", "A", "pro", None, at(11)),
    subscription("p", "A", "team", at(11), at(21)),
    subscription("p", "A", "pro", at(21)),
]


def owned(rows, *plans, exists=None, **keys):
    return segments(existence(**(exists or {"p": (None, None)})), subscriptions=rows, plans=plans, **keys)


def billed(rows, plans, usage, *, prorate="second", exists=None, costs=None, **terms):
    """Customer -> [(kind, amount)] of its lines, sorted by key."""
    found = owned(rows, *plans, exists=exists, prorate=prorate)
    charges, card = rated(found, list(plans), usage, costs=costs, prorate=prorate, **terms)
    made = printed(invoice.lines(SEPTEMBER, found, charges, card))
    return {
        customer: [(line["kind"], line["amount"]) for line in sorted(lines, key=lambda line: line["key"])]
        for customer, lines in made.items()
    }


def total(lines):
    return sum((Decimal(amount) for _, amount in lines), Decimal(0))


USE = {("p", "compute", at(day)): 10 * HOUR for day in (1, 11, 21)}


# -- maximum


def test_who_leaves_and_comes_back_pays_the_maximum_once():
    pro = plan("pro", price(unit_price="1", maximum="8"))

    found = billed(A_B_A, [pro], USE)

    assert found == {
        "A": [("usage", "10.00"), ("discount", "-12.00"), ("usage", "10.00")],
        "B": [("usage", "10.00"), ("discount", "-2.00")],
    }


def test_a_gap_of_a_day_between_two_rows_does_not_double_the_maximum():
    pro = plan("pro", price(unit_price="1", maximum="8"))
    rows = [subscription("p", "A", "pro", None, at(11)), subscription("p", "A", "pro", at(12))]

    found = billed(rows, [pro], {("p", "compute", at(1)): 10 * HOUR, ("p", "compute", at(12)): 10 * HOUR})

    assert total(found["A"]) == 8


def test_pro_team_pro_pays_the_maximum_of_pro_once():
    pro = plan("pro", price(unit_price="1", maximum="8"))

    assert total(billed(PRO_TEAM_PRO, [pro, TEAM], {k: v for k, v in USE.items() if k[2] != at(11)})["A"]) == 8


def test_a_customer_of_scope_customer_pays_the_maximum_once_over_all_projects_and_segments():
    pro = plan("pro", price(unit_price="1", maximum="8", scope="customer"))
    rows = [*A_B_A, subscription("q", "A", "pro")]

    found = billed(
        rows, [pro], {**USE, ("q", "compute", at(1)): 10 * HOUR}, exists={"p": (None, None), "q": (None, None)}
    )

    assert (total(found["A"]), total(found["B"])) == (8, 8)


def test_a_maximum_is_never_prorated():
    pro = plan("pro", price(unit_price="1", maximum="8"))
    rows = [subscription("p", "A", "pro", None, at(2))]

    assert total(billed(rows, [pro], {("p", "compute", at(1)): 10 * HOUR})["A"]) == 8


@pytest.mark.parametrize(
    ("first", "second", "due"),
    [({"maximum": "3"}, {"maximum": "8"}, 8), ({"maximum": "8"}, {"maximum": "3"}, 3), ({"maximum": "3"}, {}, 20)],
)
def test_of_two_versions_the_maximum_in_force_last_counts_for_the_whole_month(first, second, due):
    pro = plan("pro", price(unit_price="1", **first), price(unit_price="1", valid_from="2026-09-11", **second))
    rows = [subscription("p", "A", "pro")]

    found = billed(rows, [pro], {("p", "compute", at(1)): 10 * HOUR, ("p", "compute", at(11)): 10 * HOUR})

    assert total(found["A"]) == due


def test_the_last_version_is_the_last_that_the_customer_held():
    pro = plan("pro", price(unit_price="1", maximum="3"), price(unit_price="1", valid_from="2026-09-11", maximum="8"))
    rows = [subscription("p", "A", "pro", None, at(11)), subscription("p", "B", "pro", at(11))]

    found = billed(rows, [pro], {("p", "compute", at(1)): 10 * HOUR, ("p", "compute", at(11)): 10 * HOUR})

    assert (total(found["A"]), total(found["B"])) == (3, 8)


# -- minimum


@pytest.mark.parametrize(
    ("prorate", "due"), [("second", ("3.33", "1.67")), ("day", ("3.33", "1.67")), ("none", ("5.00", "5.00"))]
)
def test_of_a_minimum_each_customer_owes_its_part_of_the_month_and_without_proration_all_of_it(prorate, due):
    pro = plan("pro", price(unit_price="1", minimum="5"))

    found = billed(A_B_A, [pro], {}, prorate=prorate)

    assert found == {"A": [("minimum", due[0])], "B": [("minimum", due[1])]}


def test_usage_of_one_segment_uses_up_the_minimum_of_all():
    pro = plan("pro", price(unit_price="1", minimum="5"))

    found = billed(A_B_A, [pro], {("p", "compute", at(21)): 3 * HOUR})

    assert found == {"A": [("minimum", "0.33"), ("usage", "3.00")], "B": [("minimum", "1.67")]}


def test_a_day_without_the_plan_owes_no_minimum():
    pro = plan("pro", price(unit_price="1", minimum="30"))
    rows = [subscription("p", "A", "pro", None, at(11)), subscription("p", "A", "pro", at(12))]

    assert billed(rows, [pro], {}) == {"A": [("minimum", "29.00")]}


@pytest.mark.parametrize(("prorate", "due"), [("second", "20.00"), ("day", "20.00"), ("none", "30.00")])
def test_pro_team_pro_owes_the_minimum_of_pro_for_its_time(prorate, due):
    pro = plan("pro", price(unit_price="1", minimum="30"))

    assert billed(PRO_TEAM_PRO, [pro, TEAM], {}, prorate=prorate) == {"A": [("minimum", due)]}


def test_a_customers_minimum_of_scope_customer_counts_time_that_projects_share_once():
    pro = plan("pro", price(unit_price="1", minimum="30", scope="customer"))
    rows = [
        subscription("p", "A", "pro", None, at(11)),
        subscription("q", "A", "pro", at(6), at(16)),
        subscription("r", "A", "pro", at(21), at(26)),
    ]

    found = billed(rows, [pro], {}, exists=dict.fromkeys("pqr", (None, None)))

    assert found == {"A": [("minimum", "20.00")]}


@pytest.mark.parametrize(("prorate", "due"), [("second", "8.00"), ("day", "8.00"), ("none", "8.00")])
def test_two_versions_of_a_minimum_count_each_by_its_part_of_the_month(prorate, due):
    pro = plan("pro", price(unit_price="1", minimum="6"), price(unit_price="1", minimum="9", valid_from="2026-09-11"))

    # 6 for 10 of 30 days and 9 for 20 of them.
    assert billed([subscription("p", "A", "pro")], [pro], {}, prorate=prorate) == {"A": [("minimum", due)]}


def test_without_proration_a_version_that_was_not_held_counts_nothing():
    pro = plan("pro", price(unit_price="1", minimum="6"), price(unit_price="1", minimum="9", valid_from="2026-09-11"))
    rows = [subscription("p", "A", "pro", None, at(6)), subscription("p", "B", "pro", at(6))]

    found = billed(rows, [pro], {}, prorate="none")

    assert found == {"A": [("minimum", "6.00")], "B": [("minimum", "8.00")]}


def test_a_version_without_a_minimum_takes_its_time_out_of_it():
    pro = plan("pro", price(unit_price="1", minimum="6"), price(unit_price="1", valid_from="2026-09-11"))

    assert billed([subscription("p", "A", "pro")], [pro], {}) == {"A": [("minimum", "2.00")]}


def test_a_minimum_counts_from_the_first_version_on():
    pro = plan("pro", price(unit_price="1", minimum="6", valid_from="2026-09-11"))

    assert billed([subscription("p", "A", "pro")], [pro], {}) == {"A": [("minimum", "4.00")]}


def test_a_minimum_above_the_last_maximum_is_capped_by_it():
    pro = plan("pro", price(unit_price="1", minimum="90"), price(unit_price="1", maximum="8", valid_from="2026-09-11"))

    assert billed([subscription("p", "A", "pro")], [pro], {}) == {"A": [("minimum", "8.00")]}


def test_cost_plus_keeps_its_bounds_over_segments():
    pro = plan("pro", price(model="cost_plus", markup_percent="0", minimum="6", maximum="8"))
    first, last = ("p", "compute", at(1)), ("p", "compute", at(21))

    dear = billed(A_B_A, [pro], {first: HOUR, last: HOUR}, costs={first: Fraction(7), last: Fraction(7)})
    cheap = billed(A_B_A, [pro], {first: HOUR, last: HOUR}, costs={first: Fraction(1), last: Fraction(1)})

    assert (total(dear["A"]), total(cheap["A"]), total(cheap["B"])) == (8, 4, 2)


def test_an_allowance_per_hour_keeps_its_bounds_over_segments():
    pro = plan("pro", price(unit_price="1", included_per_hour="1800", maximum="8", minimum="3"))

    found = billed(A_B_A, [pro], USE)

    assert (total(found["A"]), total(found["B"])) == (8, 8)


@pytest.mark.parametrize(("rounding", "due"), [("half_up", "0.03"), ("half_even", "0.02")])
def test_a_minimum_is_rounded_once_from_the_whole_time(rounding, due):
    pro = plan("pro", price(unit_price="1", minimum="0.0375"))

    # 20 of 30 days in two segments: 0.025.
    assert billed(A_B_A, [pro], {}, rounding=rounding)["A"] == [("minimum", due)]


def test_a_line_says_what_its_bound_and_its_group_came_to():
    pro = plan("pro", price(unit_price="1", minimum="6"), price("storage", unit_price="1", maximum="2"))
    found = alone(pro)
    charges, card = rated(found, [pro], {("a", "compute", at(1)): HOUR, ("a", "storage", at(1)): 3 * 10**9})

    by_key = {line["key"]: line for line in printed(invoice.lines(SEPTEMBER, found, charges, card))["c"]}

    least = by_key["a/compute/pro/2026-09-01T00:00:00Z/minimum"]
    most = by_key["a/storage/pro/2026-09-01T00:00:00Z/discount"]
    assert (least["basis"], least["amount"]) == ({"minimum": "6.00", "charged": "1.00"}, "5.00")
    assert (most["basis"], most["amount"]) == ({"maximum": "2.00", "charged": "3.00"}, "-1.00")


def test_the_line_of_a_bound_spans_the_groups_time():
    pro = plan("pro", price(unit_price="1", minimum="30"))
    found = owned(PRO_TEAM_PRO, pro, TEAM)
    charges, card = rated(found, [pro, TEAM], {})

    [line] = printed(invoice.lines(SEPTEMBER, found, charges, card))["A"]

    assert (line["from"], line["to"]) == ("2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z")
    assert line["key"] == "p/compute/pro/2026-09-01T00:00:00Z/minimum"


def test_a_minimum_that_leaves_128_bits_is_refused_and_a_maximum_is_none():
    least, most = plan("pro", price(unit_price="1", minimum="1" + "0" * 30)), "1" + "0" * 40

    with pytest.raises(ExactnessError, match="128 bits"):
        billed([subscription("p", "A", "pro")], [least], {})
    capped = plan("pro", price(unit_price="1", maximum=most))
    assert billed([subscription("p", "A", "pro")], [capped], {("p", "compute", at(1)): 30 * HOUR})["A"] == [
        ("usage", "30.00")
    ]


# -- flat fees due at zero

FLAT = {
    "model": "graduated",
    "tiers": [{"up_to": "10", "unit_price": "1", "flat_fee": "6"}, {"unit_price": "2", "flat_fee": "3"}],
    "flat_fee_at_zero": True,
}


@pytest.mark.parametrize(
    ("prorate", "due"), [("second", ("4.00", "2.00")), ("day", ("4.00", "2.00")), ("none", ("6.00", "6.00"))]
)
def test_a_flat_fee_at_zero_is_due_by_time(prorate, due):
    pro = plan("pro", price(**FLAT))

    found = billed(A_B_A, [pro], {}, prorate=prorate)

    assert found == {"A": [("flat_fee", due[0])], "B": [("flat_fee", due[1])]}


def test_a_flat_fee_at_zero_is_not_due_where_any_segment_entered_a_tier():
    pro = plan("pro", price(**FLAT))

    found = billed(A_B_A, [pro], {("p", "compute", at(21)): HOUR})

    assert found == {"A": [("usage", "1.00"), ("flat_fee", "6.00")], "B": [("flat_fee", "2.00")]}


def test_a_flat_fee_at_zero_looks_at_the_quantity_beyond_the_allowance():
    pro = plan("pro", price(included="30", **FLAT))
    rows = [subscription("p", "A", "pro")]

    at_bound = billed(rows, [pro], {("p", "compute", at(1)): 30 * HOUR})
    beyond = billed(rows, [pro], {("p", "compute", at(1)): 30 * HOUR + 1})

    assert at_bound == {"A": [("flat_fee", "6.00")]}
    assert beyond == {"A": [("usage", "0.00"), ("flat_fee", "6.00")]}


def test_two_versions_of_a_flat_fee_at_zero_are_due_each_for_its_time():
    dearer = {**FLAT, "tiers": [{"unit_price": "1", "flat_fee": "9"}]}
    pro = plan("pro", price(**FLAT), price(valid_from="2026-09-11", **dearer))

    assert billed([subscription("p", "A", "pro")], [pro], {}) == {"A": [("flat_fee", "2.00"), ("flat_fee", "6.00")]}


def test_a_flat_fee_at_zero_fills_the_minimum_and_keeps_the_maximum():
    pro = plan("pro", price(**FLAT, minimum="7", maximum="8"))

    assert billed(A_B_A, [pro], {}) == {
        "A": [("flat_fee", "4.00"), ("minimum", "0.67")],
        "B": [("flat_fee", "2.00"), ("minimum", "0.33")],
    }


def test_a_price_without_tiers_of_its_own_owes_no_flat_fee_at_zero():
    pro = plan("pro", price(model="cost_plus", markup_percent="5", flat_fee_at_zero=True))

    assert billed([subscription("p", "c", "pro")], [pro], {}) == {}


def test_a_flat_fee_at_zero_multiplies_out_with_its_part_of_the_month():
    pro = plan("pro", price(**FLAT))
    found = owned(A_B_A, pro)
    charges, card = rated(found, [pro], {})

    [line] = printed(invoice.lines(SEPTEMBER, found, charges, card))["B"]

    assert (line["key"], line["quantity"], line["unit_price"], line["amount"], line["description"]) == (
        "p/compute/pro/2026-09-11T00:00:00Z/1/flat",
        "0.333333333333",
        "6",
        "2.00",
        "Compute: flat fee for 0.333333333333 of a month",
    )


# -- minimums of plans


def test_a_plan_held_for_the_last_second_owes_nothing_of_its_minimums():
    last = plan("last", price(unit_price="1", minimum="7.00"), minimum="93.00")
    base = plan("base", base_fee="30.00")
    rows = [
        subscription("p", "A", "base", None, at(30, 23, 59, 59)),
        subscription("p", "A", "last", at(30, 23, 59, 59)),
    ]

    assert billed(rows, [last, base], {}) == {"A": [("base_fee", "30.00")]}


@pytest.mark.parametrize(("prorate", "due"), [("second", "20.00"), ("day", "20.00"), ("none", "30.00")])
def test_a_plans_minimum_goes_with_the_time_that_the_customer_held_it(prorate, due):
    pro = plan("pro", minimum="30")

    assert billed(PRO_TEAM_PRO, [pro, TEAM], {}, prorate=prorate) == {"A": [("minimum", due)]}


def test_a_plans_minimum_counts_time_that_projects_share_once():
    pro = plan("pro", minimum="30")
    rows = [
        subscription("p", "A", "pro", None, at(11)),
        subscription("q", "A", "pro", at(6), at(16)),
        subscription("r", "A", "pro", at(8), at(9)),
    ]

    assert billed(rows, [pro], {}, exists=dict.fromkeys("pqr", (None, None))) == {"A": [("minimum", "15.00")]}


def test_a_part_of_a_plans_minimum_says_of_which():
    pro = plan("pro", minimum="30", base_fee="6")
    found = alone(pro, exists=(at(16), None))
    charges, card = rated(found, [pro], {})

    own = printed(invoice.lines(SEPTEMBER, found, charges, card))["c"]
    line = next(line for line in own if line["kind"] == "minimum")

    assert line["description"] == "Pro: minimum of 30.00 a month, 15.00 for 0.5 of it"
    assert (line["quantity"], line["unit_price"], line["amount"]) == ("0.5", None, "12.00")
    assert line["basis"] == {"minimum": "15.00", "charged": "3.00"}


@pytest.mark.parametrize(
    ("amount", "least", "most", "due"),
    [(1, 2, 3, 2), (2, 2, 3, 2), (3, 2, 3, 3), (4, 2, 3, 3), (4, None, None, 4), (1, 5, 3, 3), (-1, None, 3, -1)],
)
def test_the_maximum_caps_after_the_minimum(amount, least, most, due):
    assert kept(amount, least, most) == due


def test_by_the_day_every_instant_of_a_minimum_counts_as_the_midnight_before():
    pro = plan("pro", price(unit_price="1", minimum="30"), price("storage", unit_price="1", minimum="3"))
    rows = [subscription("p", "A", "pro", None, at(11, 18)), subscription("p", "B", "pro", at(11, 18))]

    found = billed(rows, [pro], {}, prorate="day")

    assert found == {"A": [("minimum", "10.00"), ("minimum", "1.00")], "B": [("minimum", "20.00"), ("minimum", "2.00")]}


def test_by_the_day_a_minimum_of_some_hours_of_one_day_is_nothing():
    pro = plan("pro", price(unit_price="1", minimum="30"))
    rows = [subscription("p", "A", "pro", at(11, 6), at(11, 18)), subscription("p", "B", "pro", at(11, 18))]

    assert billed(rows, [pro], {}, prorate="day") == {"B": [("minimum", "20.00")]}
