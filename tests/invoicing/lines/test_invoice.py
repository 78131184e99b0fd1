import json
from decimal import Decimal

import polars as pl
import pytest

from metering.core import meters, money
from metering.core.errors import ConfigError
from metering.core.invoice import Covered
from metering.core.parties import Customer
from metering.invoicing.lines import adjustment
from metering.invoicing.lines import assembly as lines
from metering.rating.columns import CHARGES
from tests.support.card import SEPTEMBER, alone, at, existence, plan, price, rated, rates, segments, subscription
from tests.support.documents import lines_of, printed

HOUR = 3600
NOTHING = pl.DataFrame(schema=CHARGES)


def drafts(owned, plans, usage, customers=(), *, rounding="half_up", prorate="second", **particulars):
    charges, card = rated(owned, plans, usage, rounding=rounding, prorate=prorate, customers=customers)
    return printed(lines.invoices(SEPTEMBER, owned, charges, card, **particulars))


def told(draft):
    return [(line["kind"], line["from"][8:10], line["quantity"], line["amount"]) for line in draft["lines"]]


def test_the_contracts_example_comes_out_to_the_byte():
    graduated = {"model": "graduated", "tiers": [{"up_to": "1000", "unit_price": "0.16"}, {"unit_price": "0.12"}]}
    pro = plan("pro", price(included="100", **graduated), base_fee="20.00")
    owned = segments(
        existence(**{"calm-dawn-12345678": (None, None)}),
        seen=[("calm-dawn-12345678", "org-paid-1", at(1), "acme-cust7-pro-1756684800")],
        plans=[pro],
    )
    seven = Customer(id="cust7", name="Seven Ltd", tax_rate_percent=Decimal("21"), tax_name="VAT")

    [draft] = drafts(
        owned,
        [pro],
        {("calm-dawn-12345678", "compute", at(1)): 100 * HOUR + 123456},
        [seven],
        coverage=Covered(hours=720, covered_hours=720, complete=True),
        as_of=at(2, month=10),
        rate_card_sha256="ab",
    )

    start, end = "2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z"
    assert json.dumps(draft) == json.dumps(
        {
            "number": None,
            "status": "draft",
            "customer": {"id": "cust7", "name": "Seven Ltd"},
            "currency": "USD",
            "period": {"start": start, "end": end},
            "issued_at": None,
            "due_at": None,
            "lines": [
                {
                    "key": f"calm-dawn-12345678/base_fee/pro/{start}/1",
                    "kind": "base_fee",
                    "project_id": "calm-dawn-12345678",
                    "plan": "pro",
                    "meter": None,
                    "description": "Pro",
                    "from": start,
                    "to": end,
                    "quantity": "1",
                    "unit": "month",
                    "unit_price": "20.00",
                    "amount": "20.00",
                    "tax_rate_percent": "21",
                    "tax_name": "VAT",
                },
                {
                    "key": f"calm-dawn-12345678/compute/pro/{start}/1",
                    "kind": "usage",
                    "project_id": "calm-dawn-12345678",
                    "plan": "pro",
                    "meter": "compute",
                    "description": "Compute beyond 100 CU-hours included",
                    "from": start,
                    "to": end,
                    "quantity": "34.293333333333",
                    "unit": "CU-hour",
                    "unit_price": "0.16",
                    "amount": "5.49",
                    "grain": "hourly",
                    "tax_rate_percent": "21",
                    "tax_name": "VAT",
                },
            ],
            "subtotal": "25.49",
            "taxes": [{"name": "VAT", "rate_percent": "21", "base": "25.49", "amount": "5.35"}],
            "total": "30.84",
            "coverage": {"hours": 720, "covered_hours": 720, "complete": True},
            "as_of": "2026-10-02T00:00:00Z",
            "rate_card_sha256": "ab",
        }
    )


def test_a_price_change_splits_the_line_at_its_instant():
    pro = plan(
        "pro", price(unit_price="0.10", included="1"), price(unit_price="0.20", included="1", valid_from="2026-09-16")
    )

    [draft] = drafts(alone(pro), [pro], {("a", "compute", at(1)): 11 * HOUR, ("a", "compute", at(16)): 5 * HOUR})

    assert [(line["key"], line["unit_price"], line["amount"], line["to"]) for line in draft["lines"]] == [
        ("a/compute/pro/2026-09-01T00:00:00Z/1", "0.10", "1.00", "2026-09-16T00:00:00Z"),
        ("a/compute/pro/2026-09-16T00:00:00Z/1", "0.20", "1.00", "2026-10-01T00:00:00Z"),
    ]


def test_a_base_fee_counts_the_time_that_subscription_and_project_both_existed():
    pro = plan("pro", base_fee="30.00")

    [draft] = drafts(alone(pro, exists=(at(7), at(22))), [pro], {})

    assert told(draft) == [("base_fee", "07", "0.5", "15.00")]


def test_parts_of_one_plans_fee_are_rounded_cumulatively_and_another_plans_is_another_fee():
    pro, team = plan("pro", base_fee="10.00"), plan("team", base_fee="1.00")
    rows = [
        subscription("a", "c", "pro", None, at(11)),
        subscription("a", "d", "pro", at(11), at(21)),
        subscription("a", "c", "pro", at(21), at(26)),
        subscription("a", "c", "team", at(26)),
    ]

    first, second = drafts(alone(pro, team, rows=rows), [pro, team], {})

    assert told(first) == [
        ("base_fee", "01", "0.333333333333", "3.33"),
        ("base_fee", "21", "0.166666666667", "1.66"),
        ("base_fee", "26", "0.166666666667", "0.17"),
    ]
    assert told(second) == [("base_fee", "11", "0.333333333333", "3.34")]


@pytest.mark.parametrize(
    ("prorate", "amounts"),
    [("second", ["15.02", "29.96"]), ("day", ["15.00", "30.00"]), ("none", ["30.00", "60.00"])],
)
def test_a_fee_is_prorated_by_second_or_day_or_not_at_all(prorate, amounts):
    pro, team = plan("pro", base_fee="30.00"), plan("team", base_fee="60.00")
    rows = [subscription("a", "c", "pro", None, at(16, 0, 30)), subscription("a", "c", "team", at(16, 0, 30))]

    [draft] = drafts(alone(pro, team, rows=rows, prorate=prorate), [pro, team], {}, prorate=prorate)

    assert [line["amount"] for line in draft["lines"]] == amounts


def test_without_proration_one_project_pays_one_plans_fee_once():
    pro, team = plan("pro", base_fee="30.00"), plan("team", base_fee="60.00")
    rows = [
        subscription("a", "c", "pro", None, at(11)),
        subscription("a", "c", "team", at(11), at(21)),
        subscription("a", "c", "pro", at(21)),
    ]

    [draft] = drafts(alone(pro, team, rows=rows, prorate="none"), [pro, team], {}, prorate="none")

    assert [(line["plan"], line["amount"]) for line in draft["lines"]] == [("pro", "30.00"), ("team", "60.00")]


def test_a_customers_fee_is_due_once_for_the_union_of_its_projects_time():
    pro = plan("pro", base_fee="30.00", base_fee_scope="customer")
    owned = segments(
        existence(a=(None, at(11)), b=(at(6), at(16)), d=(at(21), at(26))),
        subscriptions=[subscription(name, "c", "pro") for name in "abd"],
        plans=[pro],
    )

    [draft] = drafts(owned, [pro], {})

    assert [(line["key"], line["project_id"], line["amount"]) for line in draft["lines"]] == [
        ("c/base_fee/pro/2026-09-01T00:00:00Z/1", None, "15.00"),
        ("c/base_fee/pro/2026-09-21T00:00:00Z/1", None, "5.00"),
    ]


def test_a_plans_minimum_is_charged_as_its_own_line_per_customer():
    pro = plan("pro", price(unit_price="1"), minimum="50.00")
    owned = segments(
        existence(a=(None, None), b=(None, None), x=(None, None), y=(None, None)),
        subscriptions=[
            *(subscription(name, "c", "pro") for name in "ab"),
            subscription("x", "exactly", "pro"),
            subscription("y", "none", "pro"),
        ],
        plans=[pro],
    )
    usage = {("a", "compute", at(1)): 20 * HOUR, ("b", "compute", at(1)): 5 * HOUR, ("x", "compute", at(1)): 50 * HOUR}

    found = {draft["customer"]["id"]: told(draft) for draft in drafts(owned, [pro], usage)}

    assert found == {
        "c": [("usage", "01", "20", "20.00"), ("usage", "01", "5", "5.00"), ("minimum", "01", "1", "25.00")],
        "exactly": [("usage", "01", "50", "50.00")],
        "none": [("minimum", "01", "1", "50.00")],
    }


def test_a_line_groups_minimum_and_maximum_are_lines_of_their_own():
    pro = plan(
        "pro",
        price(unit_price="1", minimum="5.00"),
        price("storage", unit_price="1", maximum="2.00"),
        price("public_transfer", unit_price="1", minimum="1.00", maximum="9.00"),
    )

    usage = {("a", "storage", at(1)): 3 * 10**9, ("a", "public_transfer", at(1)): 4 * 10**9}
    [draft] = drafts(alone(pro), [pro], usage)

    assert [
        (line["key"].split("/")[1], line["key"].split("/")[4], line["kind"], line["amount"]) for line in draft["lines"]
    ] == [
        ("compute", "minimum", "minimum", "5.00"),
        ("public_transfer", "1", "usage", "4.00"),
        ("storage", "1", "usage", "3.00"),
        ("storage", "discount", "discount", "-1.00"),
    ]
    assert draft["total"] == "11.00"


def test_a_tier_above_the_first_is_named():
    tiers = [{"up_to": "10", "unit_price": "1"}, {"up_to": "20.5", "unit_price": "2"}, {"unit_price": "3"}]
    pro = plan("pro", price(model="graduated", tiers=tiers))

    [draft] = drafts(alone(pro), [pro], {("a", "compute", at(1)): 30 * HOUR})

    assert [line["description"] for line in draft["lines"]] == [
        "Compute",
        "Compute, tier 2 above 10 CU-hours",
        "Compute, tier 3 above 20.5 CU-hours",
    ]


def test_lines_are_rounded_first_and_the_subtotal_sums_them():
    pro = plan("pro", price(unit_price="0.004"))
    owned = segments(
        existence(a=(None, None), b=(None, None)),
        subscriptions=[subscription(name, "c", "pro") for name in "ab"],
        plans=[pro],
    )

    [draft] = drafts(owned, [pro], {("a", "compute", at(1)): HOUR, ("b", "compute", at(1)): HOUR})

    assert told(draft) == [("usage", "01", "1", "0.00"), ("usage", "01", "1", "0.00")]
    assert draft["subtotal"] == "0.00"


@pytest.mark.parametrize(
    ("currency", "unit_price", "rounding", "amount"),
    [
        ("USD", "0.005", "half_up", "0.01"),
        ("USD", "0.005", "half_even", "0.00"),
        ("JPY", "0.5", "half_up", "1"),
        ("JPY", "1.5", "half_even", "2"),
        ("KWD", "0.0005", "half_up", "0.001"),
        ("CLF", "0.00005", "half_up", "0.0001"),
    ],
)
def test_amounts_have_the_currencys_digits_and_the_configured_rounding(currency, unit_price, rounding, amount):
    pro = plan("pro", price(unit_price=unit_price), currency=currency)

    [draft] = drafts(alone(pro), [pro], {("a", "compute", at(1)): HOUR}, rounding=rounding)

    assert (draft["currency"], draft["total"]) == (currency, amount)


def test_tax_is_rounded_once_on_the_rounded_base():
    pro = plan("pro", price(unit_price="0.125"), price("storage", unit_price="0.125"))
    customer = Customer(id="c", name="C", tax_rate_percent=Decimal("19.5"))

    [draft] = drafts(alone(pro), [pro], {("a", "compute", at(1)): HOUR, ("a", "storage", at(1)): 10**9}, [customer])

    assert draft["taxes"] == [{"name": "Tax", "rate_percent": "19.5", "base": "0.26", "amount": "0.05"}]
    assert draft["total"] == "0.31"


@pytest.mark.parametrize(("rounding", "tax"), [("half_up", "0.01"), ("half_even", "0.00")])
def test_tax_is_rounded_as_configured(rounding, tax):
    pro = plan("pro", base_fee="0.05")
    customer = Customer(id="c", name="C", tax_rate_percent=Decimal(10))

    [draft] = drafts(alone(pro), [pro], {}, [customer], rounding=rounding)

    assert draft["taxes"][0]["amount"] == tax


def test_a_customer_without_lines_gets_no_invoice_and_one_unknown_has_its_id_as_name():
    pro = plan("pro", price(unit_price="1"))
    owned = segments(
        existence(a=(None, None), b=(None, None)),
        subscriptions=[subscription("a", "c", "pro"), subscription("b", "idle", "pro")],
        plans=[pro],
    )

    [draft] = drafts(owned, [pro], {("a", "compute", at(1)): HOUR})

    assert draft["customer"] == {"id": "c", "name": "c"}
    assert draft["taxes"] == []


def test_invoices_sort_by_customer_and_lines_by_key():
    pro = plan("pro", price(unit_price="1"), price("storage", unit_price="1"), base_fee="1")
    owned = segments(
        existence(z=(None, None), b=(None, None)),
        subscriptions=[subscription("b", "zoe", "pro"), subscription("z", "ann", "pro")],
        plans=[pro],
    )

    found = drafts(owned, [pro], {("z", "storage", at(1)): 10**9, ("z", "compute", at(1)): HOUR})

    assert [draft["customer"]["id"] for draft in found] == ["ann", "zoe"]
    keys = [line["key"] for line in found[0]["lines"]]
    assert keys == sorted(keys)
    assert len(keys) == 3


def test_two_currencies_for_one_customer_are_refused_by_name():
    pro, euro = plan("pro", base_fee="1"), plan("euro", base_fee="1", currency="EUR")
    rows = [subscription("a", "c", "pro", None, at(11)), subscription("a", "c", "euro", at(11))]

    with pytest.raises(ConfigError) as refused:
        drafts(alone(pro, euro, rows=rows), [pro, euro], {})

    assert str(refused.value) == (
        "customer c: plan 'pro' is in USD, other charges of 'c' are in EUR; an invoice has one currency"
    )


CURRENCIES = {"dollar": "USD", "euro": "EUR", "pound": "GBP", "franc": "CHF"}
OFFERS = [plan(name, base_fee="1", currency=currency) for name, currency in CURRENCIES.items()]


def held(**plans_of_customers):
    """Segments in which each customer has each of its plans for one day, in order."""
    rows = [
        subscription(f"of-{customer}", customer, name, at(day), at(day + 1))
        for customer, names in plans_of_customers.items()
        for day, name in enumerate(names.split(), start=1)
    ]
    exist = existence(**{f"of-{customer}": (None, None) for customer in plans_of_customers})
    return segments(exist, subscriptions=rows, plans=OFFERS)


def conflicts(owned, *customers, currencies=None):
    return lines.conflicts(owned, rates(OFFERS, {}, meters.built_in(), customers=customers), currencies or {})


def test_a_customers_second_currency_is_told_once_by_the_first_plan_that_has_it():
    owned = held(one="pound franc euro", two="euro", three="dollar dollar")

    assert conflicts(owned) == {"one": "plan 'franc' is in CHF, other charges of 'one' are in EUR"}


def test_a_customers_own_currency_goes_before_that_of_its_plans_and_after_that_of_its_corrections():
    owned, one = held(one="euro"), Customer(id="one", name="One", currency="USD")

    assert conflicts(owned, one) == {"one": "plan 'euro' is in EUR, other charges of 'one' are in USD"}
    assert conflicts(owned, one, currencies={"one": "EUR"}) == {
        "one": "'one' pays in USD, corrections of closed months are in EUR"
    }
    assert conflicts(owned, one, currencies={"one": "GBP"}) == {
        "one": "'one' pays in USD, corrections of closed months are in GBP"
    }
    assert conflicts(owned, Customer(id="one", name="One", currency="EUR"), currencies={"one": "EUR"}) == {}
    assert conflicts(owned, Customer(id="one", name="One")) == {}


def test_all_contradictions_of_currency_come_at_once_by_customer():
    owned = held(zoe="dollar euro", ann="franc pound")

    with pytest.raises(ConfigError) as refused:
        drafts(owned, OFFERS, {})

    assert [fault.where for fault in refused.value.faults] == ["customer ann", "customer zoe"]


def test_an_hourly_allowance_on_coarser_data_marks_the_line():
    pro = plan("pro", price("extra_branches", unit_price="1.50", included_per_hour="9"))

    [draft] = drafts(alone(pro), [pro], {("a", "extra_branches", at(1)): (72, "daily")})
    [line] = draft["lines"]

    assert (line["amount"], line["grain"], line["reduced_grain"]) == ("0.15", "daily", True)
    assert line["description"] == "Extra branches beyond 9 included each hour"


def test_a_package_line_shows_its_package():
    pro = plan("pro", price(model="package", package_size="10", package_price="1.00"))

    [draft] = drafts(alone(pro), [pro], {("a", "compute", at(1)): 11 * HOUR})
    [line] = draft["lines"]

    assert (line["quantity"], line["unit_price"], line["package_size"], line["amount"]) == ("11", "1.00", "10", "2.00")


def usage_line(project, amount, quantity="1"):
    meter, kind, start = "compute", "usage", "2026-09-01T00:00:00Z"
    return {
        "key": f"{project}/{meter}/pro/{start}/1", "kind": kind, "project_id": project, "plan": "pro", "meter": meter,
        "description": "Compute", "from": start, "to": "2026-10-01T00:00:00Z", "quantity": quantity, "unit": "CU-hour",
        "unit_price": "1", "amount": amount,
    }  # fmt: skip


def adjustments(billed, now, currency="USD"):
    return printed(adjustment.adjustments(lines_of(billed), lines_of(now), currency))


def test_an_adjustment_is_what_it_would_cost_now_less_what_was_billed():
    billed = [usage_line("a", "10.00", "10"), usage_line("b", "4.00", "4"), usage_line("d", "2.00", "2")]
    now = [usage_line("a", "12.50", "12.5"), usage_line("b", "4.00", "4"), usage_line("e", "0.40", "0.4")]

    found = adjustments(billed, now)

    assert [(line["key"], line["quantity"], line["amount"]) for line in found] == [
        ("a/compute/pro/2026-09-01T00:00:00Z/adjustment", "2.5", "2.50"),
        ("d/compute/pro/2026-09-01T00:00:00Z/adjustment", "-2", "-2.00"),
        ("e/compute/pro/2026-09-01T00:00:00Z/adjustment", "0.4", "0.40"),
    ]
    assert {line["kind"] for line in found} == {"adjustment"}
    assert found[0]["description"] == "Compute: correction of 2026-09"


def test_an_adjustment_made_before_counts_as_billed_and_base_fees_never_change():
    billed = [usage_line("a", "10.00", "10"), {**usage_line("a", "20.00"), "kind": "base_fee", "meter": None}]
    now = [usage_line("a", "12.50", "12.5")]
    first = adjustments(billed, now)

    assert adjustments([*billed, *first], now) == []
    [back] = adjustments([*billed, *first], billed)
    assert (back["quantity"], back["amount"]) == ("-2.5", "-2.50")


def test_an_adjustment_goes_to_the_next_invoice_even_of_a_customer_without_a_plan():
    [line] = adjustment.adjustments(lines_of([usage_line("a", "10.00")]), lines_of([usage_line("a", "9.00")]), "EUR")
    card = rates([], {}, meters.built_in())
    empty = segments(existence(), plans=[])

    found = lines.invoices(SEPTEMBER, empty, NOTHING, card, corrections={"c": [line]}, currencies={"c": "EUR"})
    [draft] = printed(found)

    assert (draft["currency"], draft["total"], draft["lines"][0]["kind"]) == ("EUR", "-1.00", "adjustment")


def test_every_line_sums_to_the_total():
    pro = plan("pro", price(unit_price="0.333"), price("storage", unit_price="0.1"), base_fee="9.99", minimum="20")

    [draft] = drafts(alone(pro, exists=(at(3), None)), [pro], {("a", "compute", at(3)): 7777})

    total = sum(money.parse_amount(line["amount"], "USD") for line in draft["lines"])
    # The project exists for 28 of 30 days, so 28/30 of the minimum of 20 is due.
    assert money.amount_text(total, "USD") == draft["subtotal"] == "18.67"
