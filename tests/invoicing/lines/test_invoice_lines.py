"""Invoice lines: their texts, their rounding, and when a line is left out."""

from decimal import Decimal
from fractions import Fraction

import pytest

from metering.core.meters import Divisor, Meter
from metering.core.parties import Discount
from metering.invoicing.lines import assembly as invoice
from metering.invoicing.lines.rates import Rates
from tests.support.card import (
    BUILT_IN,
    SEPTEMBER,
    alone,
    at,
    existence,
    plan,
    price,
    rated,
    rates,
    segments,
    subscription,
)
from tests.support.documents import printed

HOUR = 3600
GB = 10**9
GPU = Meter(
    id="gpu", metrics=("gpu_seconds",), unit="GPU-hour", divisors=(Divisor(valid_from=at(1), divisor=Decimal(3600)),)
)


def lines(owned, plans, usage, **terms):
    """The lines of the customer c, in order of their keys."""
    charges, card = rated(owned, plans, usage, **terms)
    found = printed(invoice.lines(SEPTEMBER, owned, charges, card)).get("c", [])
    return sorted(found, key=lambda line: str(line["key"]))


def told(found, *names):
    return [tuple(line[name] for name in names) for line in found]


# -- words


def test_a_line_that_keeps_bounds_says_which_and_has_no_price():
    pro = plan(
        "pro",
        price(unit_price="1", minimum="5.00"),
        price("gpu", unit_price="1", minimum="0.01"),
        price("storage", unit_price="1", maximum="2.00"),
    )

    found = lines(alone(pro), [pro], {("a", "storage", at(1)): 3 * GB}, catalogue=(*BUILT_IN, GPU))

    assert told(found, "description", "kind", "quantity", "unit_price", "amount", "grain") == [
        ("Compute: minimum of 5.00", "minimum", "0", None, "5.00", "hourly"),
        ("gpu: minimum of 0.01", "minimum", "0", None, "0.01", "hourly"),
        ("Storage", "usage", "3", "1", "3.00", "hourly"),
        ("Storage: above the maximum of 2.00", "discount", "0", None, "-1.00", "hourly"),
    ]


@pytest.mark.parametrize(
    ("meter", "used", "said"),
    [
        ("compute", 11 * HOUR, "Compute beyond 10 CU-hours included"),
        ("storage", 11 * GB, "Storage beyond 10 GB-months included"),
        ("public_transfer", 11 * GB, "Public transfer beyond 10 GB included"),
        ("gpu", 11 * HOUR, "gpu beyond 10 GPU-hours included"),
    ],
)
def test_an_allowance_is_told_in_the_meters_unit(meter, used, said):
    pro = plan("pro", price(meter, unit_price="1", included="10"))

    found = lines(alone(pro), [pro], {("a", meter, at(1)): used}, catalogue=(*BUILT_IN, GPU))

    assert told(found, "description", "quantity") == [(said, "1")]


def test_the_allowance_told_is_that_of_the_time_in_the_plan():
    pro, team = plan("pro", price(unit_price="1", included="30")), plan("team", price(unit_price="2", included="30"))
    rows = [subscription("a", "c", "pro", None, at(11)), subscription("a", "c", "team", at(11))]

    usage = {("a", "compute", at(1)): 11 * HOUR, ("a", "compute", at(11)): 21 * HOUR}
    found = lines(alone(pro, team, rows=rows), [pro, team], usage)

    assert told(found, "description", "quantity", "unit_price", "amount") == [
        ("Compute beyond 10 CU-hours included", "1", "1", "1.00"),
        ("Compute beyond 20 CU-hours included", "1", "2", "2.00"),
    ]


def test_cost_plus_says_its_markup_and_the_cost_that_it_is_on():
    pro = plan(
        "pro",
        price(model="cost_plus", markup_percent="25"),
        price("storage", model="cost_plus", markup_percent="0", included="2"),
    )
    compute, storage = ("a", "compute", at(1)), ("a", "storage", at(1))

    costs = {compute: Fraction("1.06"), storage: Fraction("0.70")}
    found = lines(alone(pro), [pro], {compute: 10 * HOUR, storage: 5 * GB}, costs=costs)

    assert told(found, "description", "quantity", "unit_price", "amount") == [
        ("Compute at cost plus 25 %", "10", None, "1.33"),
        ("Storage beyond 2 GB-months included at cost plus 0 %", "3", None, "0.70"),
    ]
    assert told(found, "basis") == [
        ({"cost": "1.06", "markup_percent": "25"},),
        ({"cost": "0.7", "markup_percent": "0"},),
    ]


def test_a_cost_without_a_quantity_has_no_price_of_a_unit():
    pro = plan("pro", price(model="cost_plus", markup_percent="25"))

    found = lines(alone(pro), [pro], {}, costs={("a", "compute", at(1)): Fraction(4)})

    assert told(found, "quantity", "unit_price", "amount") == [("0", None, "5.00")]


@pytest.mark.parametrize(
    ("keys", "grain", "extra"),
    [
        ({"unit_price": "1"}, "hourly", {}),
        ({"unit_price": "1"}, "daily", {}),
        ({"unit_price": "1", "included_per_hour": "1"}, "hourly", {}),
        ({"unit_price": "1", "included_per_hour": "1"}, "daily", {"reduced_grain": True}),
        (
            {"model": "package", "package_size": "2.50", "package_price": "1"},
            "daily",
            {"package_size": "2.50", "packages": "1"},
        ),
    ],
)
def test_a_line_has_a_key_more_only_where_there_is_something_to_say(keys, grain, extra):
    pro = plan("pro", price(**keys))

    [line] = lines(alone(pro), [pro], {("a", "compute", at(1)): (HOUR, grain)})

    always = {"key", "kind", "project_id", "plan", "meter", "description", "from", "to", "quantity", "unit"}
    always |= {"unit_price", "amount", "grain", "tax_rate_percent", "tax_name"}
    assert {name: value for name, value in line.items() if name not in always} == extra
    assert line["grain"] == grain


def test_the_minimum_of_a_package_is_no_package():
    pro = plan("pro", price(model="package", package_size="10", package_price="1", minimum="2"))

    first, second = lines(alone(pro), [pro], {("a", "compute", at(1)): HOUR})

    assert (first["kind"], first["package_size"], second["kind"]) == ("usage", "10", "minimum")
    assert "package_size" not in second


def test_a_customers_line_bears_its_name_and_the_parts_of_its_projects():
    pro = plan("pro", price(unit_price="1", scope="customer"), price("storage", unit_price="1"))
    owned = segments(
        existence(a=(None, None), b=(None, None)),
        subscriptions=[subscription("a", "c", "pro"), subscription("b", "c", "pro")],
        plans=[pro],
    )
    usage = {("a", "compute", at(1)): HOUR, ("b", "compute", at(1)): 2 * HOUR, ("b", "storage", at(1)): GB}
    members = [("a", HOUR), ("b", 2 * HOUR)]

    whole = lines(owned, [pro], usage)
    shared = lines(owned, [pro], usage, pools={("c", "pro", "compute", 1, at(1)): members})

    assert told(whole, "key", "project_id", "quantity", "amount") == [
        ("b/storage/pro/2026-09-01T00:00:00Z/1", "b", "1", "1.00"),
        ("c/compute/pro/2026-09-01T00:00:00Z/1", None, "3", "3.00"),
    ]
    assert [line.get("projects") for line in whole] == [None, None]
    assert [line.get("projects") for line in shared] == [
        None,
        [
            {"project_id": "a", "quantity": "1", "amount": "1.00"},
            {"project_id": "b", "quantity": "2", "amount": "2.00"},
        ],
    ]


# -- rounding


@pytest.mark.parametrize(
    ("rounding", "amounts"),
    [("half_up", ["3.33", "3.33", "3.35", "-0.01"]), ("half_even", ["3.32", "3.32", "3.35"])],
)
def test_rounded_lines_together_keep_the_maximum(rounding, amounts):
    tiers = [
        {"up_to": "1", "unit_price": "3.325"},
        {"up_to": "2", "unit_price": "3.325"},
        {"unit_price": "3.35"},
    ]
    pro = plan("pro", price(model="graduated", tiers=tiers, maximum="10"))

    found = lines(alone(pro), [pro], {("a", "compute", at(1)): 3 * HOUR}, rounding=rounding)

    assert [line["amount"] for line in found] == amounts


def test_an_amount_beyond_128_bits_of_cents_is_printed_to_the_cent():
    pro = plan("pro", price(unit_price="1"))

    [line] = lines(alone(pro), [pro], {("a", "compute", at(1)): 2**122})

    assert line["amount"] == "1476919995316573192115341178089271.75"


def test_a_charge_of_half_a_cent_from_a_price_of_many_digits_is_rounded_like_any_other():
    pro = plan("pro", price(unit_price="0.00000000000000000000000000000000005"))

    [line] = lines(alone(pro), [pro], {("a", "compute", at(1)): HOUR * 10**32})

    assert line["amount"] == "0.01"


# -- base fees


@pytest.mark.parametrize(("rounding", "amounts"), [("half_up", ["0.01", "0.00"]), ("half_even", ["0.00", "0.01"])])
def test_a_part_of_a_fee_that_rounds_to_nothing_is_printed_with_its_time(rounding, amounts):
    pro = plan("pro", base_fee="0.01")
    rows = [subscription("a", "c", "pro", None, at(16)), subscription("a", "d", "pro", at(16))]
    owned = alone(pro, rows=rows)
    charges, card = rated(owned, [pro], {}, rounding=rounding)

    found = printed(invoice.lines(SEPTEMBER, owned, charges, card))

    assert [told(found[name], "quantity", "amount") for name in "cd"] == [[("0.5", amount)] for amount in amounts]


@pytest.mark.parametrize(("rounding", "amount"), [("half_up", "0.01"), ("half_even", "0.00")])
def test_a_customers_fee_is_rounded_as_configured(rounding, amount):
    pro = plan("pro", base_fee="0.01", base_fee_scope="customer")
    owned = alone(pro, exists=(at(16), None))

    assert told(lines(owned, [pro], {}, rounding=rounding), "amount") == [(amount,)]


def test_the_order_of_rows_changes_no_line():
    tiers = [{"up_to": "1", "unit_price": "1"}, {"unit_price": "2"}]
    plans = [
        plan("own", price(model="graduated", tiers=tiers, minimum="90")),
        plan("each", base_fee="10.05"),
        plan("all", base_fee="10.05", base_fee_scope="customer"),
        plan("any", base_fee="20.05", base_fee_scope="customer"),
    ]
    held = [
        *[("a", "c", "each", 1, 3), ("a", "c", "all", 3, 5), ("a", "c", "each", 5, 7), ("a", "d", "all", 7, 10)],
        *[("a", "d", "any", 10, 12), ("a", "d", "own", 12, 14)],
        *[("b", "d", "all", 1, 4), ("b", "d", "each", 4, 8), ("b", "d", "any", 8, 9)],
        *[("e", "c", "any", 1, 4), ("e", "c", "all", 4, 7), ("e", "c", "any", 7, 10)],
        *[("f", "c", "all", 2, 11), ("f", "c", "each", 11, 20)],
    ]
    rows = [subscription(*who, at(start), at(end)) for *who, start, end in held]
    owned = segments(existence(**dict.fromkeys("abef", (None, None))), subscriptions=rows, plans=plans)
    charges, card = rated(owned, plans, {("a", "compute", at(12)): 3 * HOUR})

    for seed in range(5):
        shuffled = [frame.sample(fraction=1, shuffle=True, seed=seed) for frame in (owned, charges)]
        found = printed(invoice.lines(SEPTEMBER, *shuffled, card))
        amounts = {
            name: sorted((*str(line["key"]).split("/")[:3], line["from"][8:10], line["amount"]) for line in found[name])
            for name in "cd"
        }
        assert amounts == {
            "c": [
                ("a", "base_fee", "each", "01", "0.67"),
                ("a", "base_fee", "each", "05", "0.67"),
                ("c", "base_fee", "all", "02", "3.02"),
                ("c", "base_fee", "any", "01", "2.01"),
                ("c", "base_fee", "any", "07", "2.00"),
                ("f", "base_fee", "each", "11", "3.02"),
            ],
            "d": [
                ("a", "compute", "own", "12", "1.00"),
                ("a", "compute", "own", "12", "1.00"),
                ("a", "compute", "own", "12", "4.00"),
                ("b", "base_fee", "each", "04", "1.34"),
                ("d", "base_fee", "all", "01", "1.01"),
                ("d", "base_fee", "all", "07", "1.00"),
                ("d", "base_fee", "any", "08", "0.67"),
                ("d", "base_fee", "any", "10", "1.34"),
            ],
        }


def test_a_fee_counts_to_the_second():
    pro = plan("pro", base_fee="2592000.00")  # a dollar for each second of September

    found = lines(alone(pro, exists=(at(7), at(7, 0, 0, 59))), [pro], {})

    assert told(found, "quantity", "amount") == [("0.000022762346", "59.00")]


def test_a_customer_of_some_hours_of_a_day_owes_nothing_by_the_day_and_the_next_one_owes_the_rest():
    pro = plan("pro", base_fee="30.00")
    rows = [
        subscription("a", "c", "pro", None, at(11, 6)),
        subscription("a", "d", "pro", at(11, 6), at(11, 12)),
        subscription("a", "e", "pro", at(11, 12)),
    ]
    owned = alone(pro, rows=rows, prorate="day")
    charges, card = rated(owned, [pro], {}, prorate="day")

    found = printed(invoice.lines(SEPTEMBER, owned, charges, card))

    assert {name: told(own, "amount") for name, own in found.items()} == {"c": [("10.00",)], "e": [("20.00",)]}


def test_a_customers_fee_is_one_line_for_times_that_touch():
    pro = plan("pro", base_fee="30.00", base_fee_scope="customer")
    owned = segments(
        existence(a=(None, at(11)), b=(at(11), at(16))),
        subscriptions=[subscription("a", "c", "pro"), subscription("b", "c", "pro")],
        plans=[pro],
    )

    assert told(lines(owned, [pro], {}), "from", "to", "quantity", "amount") == [
        ("2026-09-01T00:00:00Z", "2026-09-16T00:00:00Z", "0.5", "15.00")
    ]


# -- a plan's minimum


def test_what_lacks_to_a_plans_minimum_is_a_line_of_the_whole_month():
    pro = plan("pro", base_fee="49.99", minimum="50.00")

    _, line = lines(alone(pro), [pro], {})

    assert line == {
        "key": "c/minimum/pro/2026-09-01T00:00:00Z/1",
        "kind": "minimum",
        "project_id": None,
        "plan": "pro",
        "meter": None,
        "description": "Pro: minimum of 50.00 a month",
        "from": "2026-09-01T00:00:00Z",
        "to": "2026-10-01T00:00:00Z",
        "quantity": "1",
        "unit": "month",
        "unit_price": None,
        "amount": "0.01",
        "basis": {"minimum": "50.00", "charged": "49.99"},
        "tax_rate_percent": None,
        "tax_name": None,
    }


@pytest.mark.parametrize(("rounding", "amounts"), [("half_up", [("0.01",)]), ("half_even", [])])
def test_a_minimum_is_rounded_as_configured(rounding, amounts):
    pro = plan("pro", minimum="0.005")

    assert told(lines(alone(pro), [pro], {}, rounding=rounding), "amount") == amounts


# -- discounts


def off(customer="c", **keys):
    return Discount.model_validate({"customer": customer, **keys})


@pytest.mark.parametrize(("rounding", "amount"), [("half_up", "-0.03"), ("half_even", "-0.02")])
def test_a_customers_discounts_are_off_its_own_lines_and_rounded_as_configured(rounding, amount):
    pro = plan("pro", base_fee="0.50")
    owned = segments(
        existence(a=(None, None), b=(None, None)),
        subscriptions=[subscription("a", "c", "pro"), subscription("b", "d", "pro")],
        plans=[pro],
    )
    given = [off(percent="5"), off("d", amount="0.10"), off(percent="50", valid_to="2026-09-01")]
    charges, card = rated(owned, [pro], {}, rounding=rounding, discounts=given)

    found = printed(invoice.lines(SEPTEMBER, owned, charges, card))

    assert told(found["c"], "kind", "amount") == [("base_fee", "0.50"), ("discount", amount)]
    assert told(found["d"], "kind", "amount") == [("base_fee", "0.50"), ("discount", "-0.10")]


def test_a_discount_of_a_customer_without_lines_makes_none():
    pro = plan("pro", price(unit_price="1"))
    owned = alone(pro)
    charges, card = rated(owned, [pro], {}, discounts=[off(percent="5"), off("nobody", percent="5")])

    assert printed(invoice.lines(SEPTEMBER, owned, charges, card)) == {}


def test_what_stands_in_two_currencies_gets_no_discount():
    pro, euro = plan("pro", base_fee="30"), plan("euro", base_fee="30", currency="EUR")
    rows = [subscription("a", "c", "pro", None, at(16)), subscription("a", "c", "euro", at(16))]

    found = lines(alone(pro, euro, rows=rows), [pro, euro], {}, discounts=[off(percent="5")])

    assert [line["kind"] for line in found] == ["base_fee", "base_fee"]


def test_rates_round_half_up_and_prorate_by_the_second_unless_told_otherwise():
    assert rates([], {}, []) == Rates(
        plans={}, prices={}, meters={}, rounding="half_up", prorate="second", discounts=(), pools={}
    )
