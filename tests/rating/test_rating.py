from fractions import Fraction

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from metering.core import meters
from metering.core.errors import ExactnessError
from metering.core.meters import Divisor, Meter
from metering.rating import charges as rating
from metering.rating.columns import CHARGES
from metering.rating.models import exact_parts
from metering.rating.pieces import priced_pieces
from tests.support.card import at, charged, existence, plan, price, segments, subscription, used_frame

HOUR = 3600
GRADUATED = {"model": "graduated", "tiers": [{"up_to": "1000", "unit_price": "0.16"}, {"unit_price": "0.12"}]}


def one_project(*plans, exists=(None, None), rows=None):
    rows = rows or [subscription("a", "c", plans[0].id)]
    return segments(existence(a=exists), subscriptions=rows, plans=plans)


def told(charges: pl.DataFrame):
    """[(start's day, tier, quantity, amount)]"""
    columns = ("start", "tier", "quantity_num", "quantity_den", "amount_num", "amount_den")
    return [(s.day, t, Fraction(a, b), Fraction(c, d)) for s, t, a, b, c, d in charges.select(columns).iter_rows()]


def test_usage_within_the_allowance_gives_no_charge():
    pro = plan("pro", price(included="100", **GRADUATED))

    charges, _ = charged(one_project(pro), [pro], {("a", "compute", at(1)): 100 * HOUR})

    assert charges.is_empty()
    assert charges.schema == pl.Schema(CHARGES)


def test_one_second_beyond_the_allowance_is_charged_exactly():
    pro = plan("pro", price(included="100", **GRADUATED))

    charges, _ = charged(one_project(pro), [pro], {("a", "compute", at(1)): 100 * HOUR + 1})

    assert told(charges) == [(1, 1, Fraction(1, 3600), Fraction(16, 360000))]


def test_tiers_continue_across_a_price_change():
    dearer = {"model": "graduated", "tiers": [{"up_to": "1000", "unit_price": "0.20"}, {"unit_price": "0.15"}]}
    pro = plan("pro", price(included="100", **GRADUATED), price(included="100", valid_from="2026-09-11", **dearer))

    usage = {("a", "compute", at(1)): 700 * HOUR, ("a", "compute", at(11)): 600 * HOUR}
    charges, _ = charged(one_project(pro), [pro], usage)

    assert told(charges) == [
        (1, 1, Fraction(600), Fraction(96)),
        (11, 1, Fraction(400), Fraction(80)),
        (11, 2, Fraction(200), Fraction(30)),
    ]


def test_each_price_version_has_its_own_allowance_over_the_whole_segment():
    pro = plan(
        "pro", price(included="100", unit_price="1"), price(included="150", unit_price="2", valid_from="2026-09-11")
    )

    usage = {("a", "compute", at(1)): 120 * HOUR, ("a", "compute", at(11)): 100 * HOUR}
    charges, _ = charged(one_project(pro), [pro], usage)

    # 220 used, 120 of them before: 70 of the new ones are beyond 150.
    assert told(charges) == [(1, 1, Fraction(20), Fraction(20)), (11, 1, Fraction(70), Fraction(140))]


def test_a_change_of_plan_starts_tiers_and_a_share_of_the_allowance_anew():
    pro, team = plan("pro", price(included="30", unit_price="1")), plan("team", price(included="30", unit_price="2"))
    rows = [subscription("a", "c", "pro", None, at(11)), subscription("a", "c", "team", at(11))]

    usage = {("a", "compute", at(1)): 15 * HOUR, ("a", "compute", at(11)): 15 * HOUR}
    charges, _ = charged(one_project(pro, team, rows=rows), [pro, team], usage)

    # 10 of 30 days: 10 included of 15; 20 of 30 days: 20 included of 15.
    assert told(charges) == [(1, 1, Fraction(5), Fraction(5))]


def test_a_share_to_the_second_is_exact():
    pro = plan("pro", price(included="1", unit_price="1"))
    rows = [subscription("a", "c", "pro", None, at(11, 0, 0, 1)), subscription("a", "d", "pro", at(11, 0, 0, 1))]

    charges, _ = charged(one_project(pro, rows=rows), [pro], {("a", "compute", at(1)): HOUR})

    assert told(charges) == [(1, 1, 1 - Fraction(864001, 2592000), 1 - Fraction(864001, 2592000))]


def test_the_flat_fee_of_a_tier_is_charged_once_over_two_versions_and_stands_behind_its_usage():
    tiers = {"model": "graduated", "tiers": [{"up_to": "3", "unit_price": "1", "flat_fee": "5"}, {"unit_price": "2"}]}
    pro = plan("pro", price(**tiers), price(valid_from="2026-09-11", **tiers))

    usage = {("a", "compute", at(1)): 2 * HOUR, ("a", "compute", at(11)): 2 * HOUR}
    charges, _ = charged(one_project(pro), [pro], usage)

    assert told(charges) == [
        (1, 1, Fraction(2), Fraction(2)),
        (1, 1, Fraction(1), Fraction(5)),
        (11, 1, Fraction(1), Fraction(1)),
        (11, 2, Fraction(1), Fraction(2)),
    ]
    assert charges["kind"].to_list() == ["usage", "flat_fee", "usage", "usage"]
    assert charges["is_step"].to_list() == [False, False, True, True]
    assert [n / d for n, d in charges.select("before_num", "quantity_den").iter_rows()] == [0, 0, 2, 0]


def test_without_usage_nothing_is_charged_here_whatever_is_due_at_zero():
    tiers = {"model": "graduated", "tiers": [{"unit_price": "1", "flat_fee": "5"}], "flat_fee_at_zero": True}
    pro = plan("pro", price(minimum="3", **tiers))

    charges, _ = charged(one_project(pro), [pro], {})

    assert charges.is_empty()


def test_a_volume_price_that_leaves_a_tier_takes_its_flat_fee_back():
    tiers = [{"up_to": "10", "unit_price": "10", "flat_fee": "3"}, {"unit_price": "5", "flat_fee": "7"}]
    keys = {"model": "volume", "tiers": tiers}
    pro = plan("pro", price(**keys), price(valid_from="2026-09-11", **keys))

    usage = {("a", "compute", at(1)): 10 * HOUR, ("a", "compute", at(11)): 6 * HOUR}
    charges, _ = charged(one_project(pro), [pro], usage)

    assert [(kind, *row) for kind, row in zip(charges["kind"], told(charges), strict=True)] == [
        ("usage", 1, 1, Fraction(10), Fraction(100)),
        ("flat_fee", 1, 1, Fraction(1), Fraction(3)),
        ("usage", 11, 1, Fraction(-10), Fraction(-100)),
        ("flat_fee", 11, 1, Fraction(-1), Fraction(-3)),
        ("usage", 11, 2, Fraction(16), Fraction(80)),
        ("flat_fee", 11, 2, Fraction(1), Fraction(7)),
    ]


def test_a_package_begun_before_a_price_change_is_not_begun_again():
    keys = {"model": "package", "package_size": "10", "package_price": "1.00"}
    pro = plan("pro", price(**keys), price(valid_from="2026-09-11", **keys))

    usage = {("a", "compute", at(1)): 12 * HOUR, ("a", "compute", at(11)): 8 * HOUR}
    charges, _ = charged(one_project(pro), [pro], usage)

    assert told(charges) == [(1, 1, Fraction(12), Fraction(2)), (11, 1, Fraction(8), Fraction(0))]


def test_no_package_is_begun_within_the_allowance():
    keys = {"model": "package", "package_size": "10", "package_price": "1.00", "included": "20"}
    pro = plan("pro", price(**keys), price(valid_from="2026-09-11", **keys))

    usage = {("a", "compute", at(1)): 5 * HOUR, ("a", "compute", at(11)): 16 * HOUR}
    charges, _ = charged(one_project(pro), [pro], usage)

    assert told(charges) == [(11, 1, Fraction(1), Fraction(1))]


def test_a_volume_price_may_give_money_back_after_a_price_change():
    keys = {"model": "volume", "tiers": [{"up_to": "10", "unit_price": "10"}, {"unit_price": "5"}]}
    pro = plan("pro", price(**keys), price(valid_from="2026-09-11", **keys))

    usage = {("a", "compute", at(1)): 10 * HOUR, ("a", "compute", at(11)): 6 * HOUR}
    charges, _ = charged(one_project(pro), [pro], usage)

    assert told(charges) == [
        (1, 1, Fraction(10), Fraction(100)),
        (11, 1, Fraction(-10), Fraction(-100)),
        (11, 2, Fraction(16), Fraction(80)),
    ]


def test_customer_scope_fills_one_allowance_by_all_projects_of_the_customer_in_the_plan():
    pro = plan("pro", price(included="10", unit_price="1", scope="customer"))
    owned = segments(
        existence(a=(None, None), b=(at(16), None), x=(None, None)),
        subscriptions=[subscription("a", "c", "pro"), subscription("b", "c", "pro"), subscription("x", "d", "pro")],
        plans=[pro],
    )

    usage = {
        ("a", "compute", at(1)): 7 * HOUR,
        ("b", "compute", at(16)): (7 * HOUR, "daily"),
        ("x", "compute", at(1)): 7 * HOUR,
    }
    charges, _ = charged(owned, [pro], usage)

    assert told(charges) == [(1, 1, Fraction(4), Fraction(4))]
    names = ("piece_no", "project_id", "segment_no", "customer", "plan", "meter", "price_no", "start", "end", "grain")
    assert charges.select(names).rows() == [
        (1, None, 0, "c", "pro", "compute", 1, at(1), at(1, month=10), "daily"),
    ]


@pytest.mark.parametrize(
    ("grains", "coarsest"),
    [
        (("hourly", "hourly"), "hourly"),
        (("daily", "hourly"), "daily"),
        (("hourly", "monthly"), "monthly"),
        (("monthly", "daily"), "monthly"),
    ],
)
def test_a_customers_charge_is_as_coarse_as_the_coarsest_of_its_projects(grains, coarsest):
    pro = plan("pro", price(unit_price="1", scope="customer"))
    owned = segments(
        existence(a=(None, None), b=(None, None)),
        subscriptions=[subscription(name, "c", "pro") for name in "ab"],
        plans=[pro],
    )

    usage = {(name, "compute", at(1)): (HOUR, grain) for name, grain in zip("ab", grains, strict=True)}
    charges, _ = charged(owned, [pro], usage)

    assert charges["grain"].to_list() == [coarsest]


@pytest.mark.parametrize(
    ("end", "share"),
    [(at(1, month=10), (1, 1)), (at(11), (240, 720)), (at(11, 0, 30), (865800, 2592000)), (at(1, 1), (1, 720))],
)
def test_a_charge_bears_its_share_of_the_month_in_hours_where_they_are_whole(end, share):
    pro, team = plan("pro", price(unit_price="1")), plan("team")
    rows = [subscription("a", "c", "pro", None, end), subscription("a", "c", "team", end)]

    charges, _ = charged(one_project(pro, team, rows=rows), [pro, team], {("a", "compute", at(1)): HOUR})

    assert charges.select("share_num", "share_den").rows() == [share]


def test_a_customers_allowance_has_the_share_of_the_union_of_its_projects_time():
    pro, team = plan("pro", price(included="30", unit_price="1", scope="customer")), plan("team")
    owned = segments(
        existence(a=(None, None), b=(None, None)),
        subscriptions=[
            subscription("a", "c", "pro", None, at(11)),
            subscription("a", "c", "team", at(11)),
            subscription("b", "c", "pro", None, at(6)),
            subscription("b", "c", "team", at(6)),
        ],
        plans=[pro, team],
    )

    charges, _ = charged(owned, [pro, team], {("a", "compute", at(1)): 8 * HOUR, ("b", "compute", at(1)): 8 * HOUR})

    assert told(charges) == [(1, 1, Fraction(6), Fraction(6))]


def test_a_customers_pool_that_is_cut_has_a_charge_on_either_side_and_fills_one_allowance():
    pro = plan("pro", price(included="10", unit_price="1", scope="customer"))
    owned = segments(
        existence(a=(None, None), b=(None, None)),
        subscriptions=[subscription(name, "c", "pro") for name in "ab"],
        plans=[pro],
    )
    pieces, prices = priced_pieces(owned, [pro], meters.built_in(), {"c": [at(11)]})

    charges = rating.charges(pieces, used_frame(dict.fromkeys(pieces["piece_no"], 6 * HOUR)), prices, owned)

    assert told(charges) == [(1, 1, Fraction(2), Fraction(2)), (11, 1, Fraction(12), Fraction(12))]


def test_time_that_several_projects_share_counts_once_for_the_customers_allowance():
    pro, team = plan("pro", price(included="30", unit_price="1", scope="customer")), plan("team")
    held = {"a": (at(1), at(6)), "b": (at(3), at(4)), "d": (at(2), at(11)), "e": (at(21), at(26))}
    rows = [
        subscription(name, "c", *row)
        for name, (start, end) in held.items()
        for row in (("team", None, start), ("pro", start, end), ("team", end))
    ]
    owned = segments(existence(**dict.fromkeys(held, (None, None))), subscriptions=rows, plans=[pro, team])

    charges, _ = charged(owned, [pro, team], {("a", "compute", at(1)): 16 * HOUR})

    # From the 1st to the 11th and from the 21st to the 26th: 15 of 30 days, 15 of 30 included.
    assert told(charges) == [(1, 1, Fraction(1), Fraction(1))]


def test_cost_plus_adds_the_markup_to_the_cost_of_the_same_usage():
    pro = plan("pro", price(model="cost_plus", markup_percent="25"))

    key = ("a", "compute", at(1))
    charges, _ = charged(one_project(pro), [pro], {key: 10 * HOUR}, {key: Fraction(106, 100)})

    assert told(charges) == [(1, 1, Fraction(10), Fraction(1325, 1000))]


def test_cost_plus_charges_nothing_for_usage_that_costs_nothing():
    pro = plan("pro", price(model="cost_plus", markup_percent="25"))

    charges, _ = charged(one_project(pro), [pro], {("a", "compute", at(1)): 10 * HOUR})

    assert told(charges) == [(1, 1, Fraction(10), Fraction(0))]


def test_cost_plus_counts_its_allowance_by_the_share_of_time_and_across_versions():
    keys = {"model": "cost_plus", "markup_percent": "0", "included": "9"}
    pro, team = plan("pro", price(**keys), price(valid_from="2026-09-06", **keys)), plan("team")
    rows = [subscription("a", "c", "pro", None, at(11)), subscription("a", "c", "team", at(11))]

    first, second = ("a", "compute", at(1)), ("a", "compute", at(6))
    usage, costs = {first: HOUR * 4, second: HOUR * 2}, {first: Fraction(4), second: Fraction(2)}
    charges, _ = charged(one_project(pro, team, rows=rows), [pro, team], usage, costs)

    # 10 of 30 days: 3 included, once.
    assert told(charges) == [(1, 1, Fraction(1), Fraction(4)), (6, 1, Fraction(2), Fraction(2))]


@pytest.mark.parametrize("value", [2**62, 2**63, 2**64, 2**100])
def test_a_value_beyond_64_bits_is_exact(value):
    pro = plan("pro", price(unit_price="0.16"))

    charges, _ = charged(one_project(pro), [pro], {("a", "compute", at(1)): value})

    assert told(charges) == [(1, 1, Fraction(value, 3600), Fraction(value * 16, 360000))]


def test_a_sum_that_could_leave_128_bits_is_refused_with_the_largest_value_and_their_number():
    pro = plan("pro", price(unit_price="1"), price(unit_price="2", valid_from="2026-09-11"))

    with pytest.raises(ExactnessError) as refused:
        charged(one_project(pro), [pro], {("a", "compute", at(1)): 2**125, ("a", "compute", at(11)): 1})

    assert str(refused.value) == f"usage of {2**125} over 2 pieces could leave 128 bits"
    assert refused.value.hint == "find the value with `metering usage`"


def test_an_allowance_of_many_digits_and_its_share_of_odd_seconds_are_exact_in_columns():
    included = "0.1234567890123456789012347"
    pro, team = plan("pro", price(included=included, unit_price="1")), plan("team")
    end = at(11, 0, 0, 1)
    rows = [subscription("a", "c", "pro", None, end), subscription("a", "c", "team", end)]

    charges, _ = charged(one_project(pro, team, rows=rows), [pro, team], {("a", "compute", at(1)): HOUR})

    left = 1 - Fraction(included) * Fraction(864001, 2592000)
    assert told(charges) == [(1, 1, left, left)]
    assert charges["quantity_den"].to_list() == [10**25 * 2592000], "a fraction in its lowest terms has a smaller one"


@pytest.mark.parametrize("value", [2**126, 2**127 - 1])
def test_a_value_that_could_leave_128_bits_is_refused_and_never_wrapped(value):
    pro = plan("pro", price(unit_price="0.16"))

    with pytest.raises(ExactnessError):
        charged(one_project(pro), [pro], {("a", "compute", at(1)): value})


def test_a_charge_that_does_not_fit_names_its_project_and_meter():
    pro = plan("pro", price(unit_price="0.123456789012345678901234767890123456789"))

    with pytest.raises(ExactnessError) as refused:
        charged(one_project(pro), [pro], {("a", "compute", at(1)): 2**100 + 1})

    assert str(refused.value) == "a charge of a for compute needs more than 128 bits"
    assert refused.value.hint == "shorten the price's digits, or look at the usage value"


def test_a_customers_charge_that_does_not_fit_names_the_customer():
    pro = plan("pro", price(unit_price="0.123456789012345678901234767890123456789", scope="customer"))

    with pytest.raises(ExactnessError, match=r"^a charge of c for compute needs"):
        charged(one_project(pro), [pro], {("a", "compute", at(1)): 2**100 + 1})


@pytest.mark.parametrize(("value", "fits"), [(2**104 - 16, True), (2**104, False)])
def test_a_charge_fits_below_two_to_the_126(value, fits):
    pro = plan("pro", price(unit_price=str(2**26)))  # 2**104 seconds are 2**126 / 225 dollars

    if fits:
        charges, _ = charged(one_project(pro), [pro], {("a", "compute", at(1)): value})
        assert told(charges) == [(1, 1, Fraction(value, 3600), Fraction(value * 2**26, 3600))]
    else:
        with pytest.raises(ExactnessError, match="128 bits"):
            charged(one_project(pro), [pro], {("a", "compute", at(1)): value})


def test_a_price_with_more_digits_than_128_bits_takes_the_exact_path():
    pro = plan("pro", price(unit_price="0.0000000000000000000000000000000000001"))

    charges, _ = charged(one_project(pro), [pro], {("a", "compute", at(1)): HOUR})

    assert told(charges) == [(1, 1, Fraction(1), Fraction(1, 10**37))]


def test_a_flat_fee_beyond_128_bits_is_refused():
    keys = {"model": "graduated", "tiers": [{"unit_price": "1", "flat_fee": "1" + "0" * 40}]}
    pro = plan("pro", price(**keys))

    with pytest.raises(ExactnessError, match="128 bits"):
        charged(one_project(pro), [pro], {("a", "compute", at(1)): HOUR})


def test_a_price_beyond_128_bits_charges_nothing_without_usage():
    pro = plan("pro", price(unit_price="1" + "0" * 40))

    charges, _ = charged(one_project(pro), [pro], {("a", "compute", at(1)): 0})

    assert charges.is_empty()


@pytest.mark.parametrize("value", [-1, -(2**120)])
def test_a_value_below_zero_charges_nothing(value):
    pro = plan("pro", price(unit_price="0.123456789"))

    charges, _ = charged(one_project(pro), [pro], {("a", "compute", at(1)): value})

    assert charges.is_empty()


EDGES = {
    "per unit": {"unit_price": "0.16"},
    "long price": {"unit_price": "0.000000000000000001"},
    "allowance": {"unit_price": "3", "included": "100000000000000000000000000.5"},
    "graduated": {
        "model": "graduated",
        "tiers": [
            {"up_to": "1000000000000000000000000", "unit_price": "0.16", "flat_fee": "99999999999999999999"},
            {"unit_price": "0.12", "flat_fee": "0.01"},
        ],
    },
    "volume": {
        "model": "volume",
        "tiers": [{"up_to": "2000000000000000000000000", "unit_price": "9"}, {"unit_price": "7"}],
    },
    "package": {"model": "package", "package_size": "0.003", "package_price": "7.77"},
    "large package": {"model": "package", "package_size": "30000000000000000000", "package_price": "7000000000000.77"},
}


@pytest.mark.parametrize("name", EDGES)
def test_near_the_edge_of_128_bits_a_charge_is_exact_or_refused(name):
    first, second = price(**EDGES[name]), price(valid_from="2026-09-11", **EDGES[name])
    pro = plan("pro", first, second)
    owned = one_project(pro)

    for bits in range(88, 126):
        before, after = 2**bits - 1, 2**bits - 1 + 2 ** (bits - 2)
        try:
            charges, _ = charged(
                owned, [pro], {("a", "compute", at(1)): before, ("a", "compute", at(11)): after - before}
            )
        except ExactnessError:
            continue
        usage = {"share": Fraction(1), "after": Fraction(before, 3600)}
        step = {"share": Fraction(1), "after": Fraction(after, 3600), "before": Fraction(before, 3600)}
        expected = [
            (day, part.tier, part.quantity, part.amount)
            for day, keys in ((1, usage), (11, step))
            for part in exact_parts(first, **keys)
        ]
        assert told(charges) == expected


def test_a_single_second_before_it_makes_a_charge_a_step():
    pro = plan("pro", price(unit_price="1"), price(unit_price="2", valid_from="2026-09-11"))

    charges, _ = charged(one_project(pro), [pro], {("a", "compute", at(1)): 1, ("a", "compute", at(11)): 1})

    assert charges.select("is_step", "before_num").rows() == [(False, 0), (True, 1)]


def test_the_order_of_the_pieces_changes_no_charge():
    versions = [price(valid_from=f"2026-09-{day:02}", unit_price=str(day)) for day in range(2, 12)]
    pro = plan("pro", price(included="3", unit_price="1"), *versions)
    owned = one_project(pro)
    pieces, prices = priced_pieces(owned, [pro], meters.built_in())
    used = used_frame(dict.fromkeys(pieces["piece_no"], HOUR))

    assert len(pieces) == 11
    assert_frame_equal(
        rating.charges(pieces.reverse(), used, prices, owned), rating.charges(pieces, used, prices, owned)
    )


def test_usage_without_a_piece_is_not_charged_and_a_piece_without_usage_has_none():
    pro = plan("pro", price(unit_price="1"))
    owned = one_project(pro)
    pieces, prices = priced_pieces(owned, [pro], meters.built_in())

    assert rating.charges(pieces, used_frame({}), prices, owned).is_empty()
    assert rating.charges(pieces, used_frame({99: HOUR}), prices, owned).is_empty()


BOUNDED = {
    "per unit": {"unit_price": "0.25", "included": "2"},
    "graduated": {
        "model": "graduated",
        "tiers": [
            {"up_to": "3", "unit_price": "2", "flat_fee": "5"},
            {"up_to": "4.5", "unit_price": "0"},
            {"unit_price": "0.125", "flat_fee": "0.01"},
        ],
    },
    "volume": {
        "model": "volume",
        "included": "1",
        "tiers": [{"up_to": "3", "unit_price": "2", "flat_fee": "5"}, {"unit_price": "1", "flat_fee": "7"}],
    },
    "package": {"model": "package", "package_size": "1.5", "package_price": "3", "included": "1"},
}


@pytest.mark.parametrize("name", BOUNDED)
def test_a_second_before_at_and_behind_every_bound_columns_charge_what_fractions_do(name):
    versions = [price(**BOUNDED[name]), price(valid_from="2026-09-11", **BOUNDED[name])]
    pro = plan("pro", *versions)
    ends = [0, *(int(hour * HOUR) + second for hour in (1, 2, 2.5, 3, 4, 4.5, 5.5) for second in (-1, 0, 1))]
    steps = {f"p{i:03}": ends for i, ends in enumerate((low, high) for low in ends for high in ends if low <= high)}
    rows = [subscription(project, "c", "pro") for project in steps]
    owned = segments(existence(**dict.fromkeys(steps, (None, None))), subscriptions=rows, plans=[pro])

    usage = {}
    for project, (before, after) in steps.items():
        usage |= {(project, "compute", at(1)): before, (project, "compute", at(11)): after - before}
    charges, _ = charged(owned, [pro], usage)

    expected = []
    for project, (low, high) in steps.items():
        before, after = Fraction(low, HOUR), Fraction(high, HOUR)
        for day, keys in ((1, {"after": before}), (11, {"after": after, "before": before})):
            parts = exact_parts(versions[0], share=Fraction(1), **keys)
            expected += [(project, day, p.kind, p.tier, p.quantity, p.amount, p.before) for p in parts]
    names = ("quantity_num", "quantity_den", "amount_num", "amount_den", "before_num")
    numbers = [
        (Fraction(quantity, whole), Fraction(*amount), Fraction(before, whole))
        for quantity, whole, *amount, before in charges.select(names).iter_rows()
    ]
    heads = charges.select("project_id", pl.col("start").dt.day(), "kind", "tier").rows()
    assert [(*head, *row) for head, row in zip(heads, numbers, strict=True)] == expected
    assert charges.filter(pl.col("kind") == "usage")["quantity_den"].unique().to_list() == [HOUR]


def test_what_fits_is_rated_in_columns_and_the_rest_one_by_one():
    pro = plan("pro", price(unit_price="0.16"), price("storage", unit_price="1" + "0" * 35))

    usage = {("a", "compute", at(1)): 2 * HOUR, ("a", "storage", at(1)): 2 * HOUR}
    charges, _ = charged(one_project(pro), [pro], usage)

    # Columns keep the scale of the price; a fraction is in its lowest terms.
    assert charges.select("meter", "quantity_den", "amount_den").rows() == [
        ("compute", HOUR, HOUR * 25),
        ("storage", 1_250_000, 1),
    ]


FAR = "1" + "0" * 40


@pytest.mark.parametrize(
    ("keys", "amount"),
    [
        ({"model": "graduated", "tiers": [{"up_to": FAR, "unit_price": "2"}, {"unit_price": "1"}]}, 6),
        ({"model": "volume", "tiers": [{"up_to": FAR, "unit_price": "2"}, {"unit_price": "1"}]}, 6),
        ({"model": "package", "package_size": FAR, "package_price": "5"}, 5),
    ],
)
def test_a_bound_beyond_128_bits_changes_no_amount(keys, amount):
    pro = plan("pro", price(**keys))

    charges, _ = charged(one_project(pro), [pro], {("a", "compute", at(1)): 3 * HOUR})

    assert told(charges) == [(1, 1, Fraction(3), Fraction(amount))]


def test_an_allowance_that_leaves_128_bits_only_in_its_share_includes_the_usage():
    pro, team = plan("pro", price(unit_price="1", included="5" + "0" * 34)), plan("team")
    end = at(30, 19)  # 715 of 720 hours
    rows = [subscription("a", "c", "pro", None, end), subscription("a", "c", "team", end)]

    charges, _ = charged(one_project(pro, team, rows=rows), [pro, team], {("a", "compute", at(1)): HOUR})

    assert charges.is_empty()


def test_a_charge_that_is_rated_alone_says_what_stood_before():
    keys = {"unit_price": "0." + "0" * 36 + "1"}
    pro = plan("pro", price(**keys), price(valid_from="2026-09-11", **keys))

    usage = {("a", "compute", at(1)): HOUR // 4, ("a", "compute", at(11)): HOUR}
    charges, _ = charged(one_project(pro), [pro], usage)

    names = ("quantity_num", "before_num", "quantity_den")
    assert charges.select(names).rows() == [(1, 0, 4), (4, 1, 4)]


def test_a_package_may_be_the_smallest_unit_that_the_meter_knows():
    tenths = Meter(id="tenths", metrics=("a",), unit="piece", divisors=(Divisor(valid_from=at(1), divisor="10"),))
    pro = plan("pro", price("tenths", model="package", package_size="0.1", package_price="3"))

    charges, _ = charged(one_project(pro), [pro], {("a", "tenths", at(1)): 5}, catalogue=[tenths])

    assert told(charges) == [(1, 1, Fraction(1, 2), Fraction(15))]
