"""Contract 5.3 from outside: what `invoices` charges, against numbers made by hand."""

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.support.plain_neon import Bucket, PlainNeon, served
from tests.support.platform_desk import Desk

Json = dict[str, Any]
SEPTEMBER = 30 * 86_400
HOUR = 3600
PATTERN = r"(?P<platform>[^-]+)-(?P<customer>[^-]+)-(?P<plan>[^-]+)-(?P<created>\d+)"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """On 3 October 2026: September's last four days are still to be had by the hour, the others by the day."""
    with served(PlainNeon()) as neon:
        yield Desk(directory=tmp_path, neon=neon, now="2026-10-03T00:00:00Z", default_plan="pro")


def plan(name: str = "pro", prices: str = "", base_fee: str = "0", more: str = "") -> str:
    return (
        f'[[plans]]\nid = "{name}"\nname = "{name.title()}"\ncurrency = "USD"\nbase_fee = "{base_fee}"\n{more}{prices}'
    )


def price(meter: str, rest: str, valid_from: str = "2026-01-01") -> str:
    return f'[[plans.prices]]\nmeter = "{meter}"\nvalid_from = {valid_from}\n{rest}\n'


def per_unit(meter: str, unit_price: str, rest: str = "", valid_from: str = "2026-01-01") -> str:
    return price(meter, f'model = "per_unit"\nunit_price = "{unit_price}"\n{rest}', valid_from)


def drafted(desk: Desk, month: str = "2026-09") -> Json:
    desk.good("backfill")
    found: Json = desk.good("invoices", month)
    return found


def lines(document: Json) -> list[tuple[str, str, str]]:
    """(key, quantity, amount) of every line of every invoice."""
    return [(line["key"], line["quantity"], line["amount"]) for one in document["invoices"] for line in one["lines"]]


def printed(quantity: Fraction) -> str:
    """At most 12 places, half away from zero, without trailing zeros: by Decimal, not by our code."""
    places = (Decimal(quantity.numerator) / Decimal(quantity.denominator)).quantize(Decimal("1e-12"), ROUND_HALF_UP)
    return f"{places:f}".rstrip("0").rstrip(".")


def cents(amount: Fraction) -> str:
    return f"{(Decimal(amount.numerator) / Decimal(amount.denominator)).quantize(Decimal('0.01'), ROUND_HALF_UP)}"


def test_the_contracts_example_to_the_key(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-12345678", "acme-cust7-pro-1756684800")
    fleet.use("calm-dawn-12345678", "2026-09-05", grain="daily", compute_unit_seconds=360_000 + 123_456)
    desk.pattern, desk.default_plan = PATTERN, None
    desk.customers = "customer,name,tax_rate_percent,tax_name\ncust7,Customer Seven,21,VAT\n"
    document = drafted(desk)
    (invoice,) = document.pop("invoices")
    digest = invoice.pop("rate_card_sha256")
    assert len(digest) == 64
    assert (
        document.items()
        >= {
            "period": {"start": "2026-09-01T00:00:00Z", "end": "2026-10-01T00:00:00Z"},
            "unassigned": [],
            "unpriced": [],
        }.items()
    )
    base_fee, usage = invoice.pop("lines")
    assert base_fee == {
        "key": "calm-dawn-12345678/base_fee/pro/2026-09-01T00:00:00Z/1",
        "kind": "base_fee",
        "project_id": "calm-dawn-12345678",
        "plan": "pro",
        "meter": None,
        "description": "Pro",
        "from": "2026-09-01T00:00:00Z",
        "to": "2026-10-01T00:00:00Z",
        "quantity": "1",
        "unit": "month",
        "unit_price": "20.00",
        "amount": "20.00",
        "tax_rate_percent": "21",
        "tax_name": "VAT",
    }
    assert (
        usage.items()
        >= {
            "key": "calm-dawn-12345678/compute/pro/2026-09-01T00:00:00Z/1",
            "kind": "usage",
            "project_id": "calm-dawn-12345678",
            "plan": "pro",
            "meter": "compute",
            "description": "Compute beyond 100 CU-hours included",
            "from": "2026-09-01T00:00:00Z",
            "to": "2026-10-01T00:00:00Z",
            "quantity": "34.293333333333",
            "unit": "CU-hour",
            "unit_price": "0.16",
            "amount": "5.49",
            "grain": "daily",
        }.items()
    )
    coverage = invoice.pop("coverage")
    assert coverage.items() >= {"hours": 720, "covered_hours": 720, "complete": True}.items()
    assert invoice == {
        "number": None,
        "status": "draft",
        "customer": {"id": "cust7", "name": "Customer Seven"},
        "currency": "USD",
        "period": {"start": "2026-09-01T00:00:00Z", "end": "2026-10-01T00:00:00Z"},
        "issued_at": None,
        "due_at": None,
        "subtotal": "25.49",
        "taxes": [{"name": "VAT", "rate_percent": "21", "base": "25.49", "amount": "5.35"}],
        "total": "30.84",
        "as_of": "2026-10-03T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (100 * HOUR, []),
        (100 * HOUR + 9, [("1", "0.0025", "0.00")]),
        (1100 * HOUR, [("1", "1000", "160.00")]),
        (1100 * HOUR + 1, [("1", "1000", "160.00"), ("2", "0.000277777778", "0.00")]),
        (1200 * HOUR, [("1", "1000", "160.00"), ("2", "100", "12.00")]),
    ],
)
def test_tiers_are_bounds_after_the_allowance_and_inclusive(
    desk: Desk, seconds: int, expected: list[tuple[str, str, str]]
) -> None:
    desk.plans = desk.plans.replace('"20.00"', '"0"')
    desk.neon.fleet("org-a").project("calm-dawn-1")
    desk.neon.fleet("org-a").use("calm-dawn-1", "2026-09-05", grain="daily", compute_unit_seconds=seconds)
    found = lines(drafted(desk))
    assert [(key.rsplit("/", 1)[1], quantity, amount) for key, quantity, amount in found] == expected


def test_a_price_change_splits_the_line_at_its_instant(desk: Desk) -> None:
    desk.plans = plan(prices=per_unit("compute", "0.16") + per_unit("compute", "0.20", valid_from="2026-09-16"))
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    fleet.use("calm-dawn-1", "2026-09-15", grain="daily", compute_unit_seconds=10 * HOUR)
    fleet.use("calm-dawn-1", "2026-09-16", grain="daily", compute_unit_seconds=5 * HOUR)
    document = drafted(desk)
    assert lines(document) == [
        ("calm-dawn-1/compute/pro/2026-09-01T00:00:00Z/1", "10", "1.60"),
        ("calm-dawn-1/compute/pro/2026-09-16T00:00:00Z/1", "5", "1.00"),
    ]
    spans = [(line["from"], line["to"]) for line in document["invoices"][0]["lines"]]
    assert spans == [
        ("2026-09-01T00:00:00Z", "2026-09-16T00:00:00Z"),
        ("2026-09-16T00:00:00Z", "2026-10-01T00:00:00Z"),
    ]


def test_a_price_change_inside_an_hour_leaves_that_hour_at_the_old_price(desk: Desk) -> None:
    desk.plans = plan(
        prices=per_unit("compute", "1.00") + per_unit("compute", "2.00", valid_from="2026-09-29T10:30:00Z")
    )
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    fleet.use("calm-dawn-1", "2026-09-29T10:00", compute_unit_seconds=3 * HOUR)
    fleet.use("calm-dawn-1", "2026-09-29T11:00", compute_unit_seconds=4 * HOUR)
    assert [amount for _, _, amount in lines(drafted(desk))] == ["3.00", "8.00"]


def test_tiers_continue_across_a_price_change(desk: Desk) -> None:
    def tiers(low: str, high: str) -> str:
        return (
            'model = "graduated"\nincluded = "10"\n'
            f'tiers = [{{ up_to = "20", unit_price = "{low}" }}, {{ unit_price = "{high}" }}]'
        )

    desk.plans = plan(prices=price("compute", tiers("1", "2")) + price("compute", tiers("3", "4"), "2026-09-16"))
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    fleet.use("calm-dawn-1", "2026-09-10", grain="daily", compute_unit_seconds=25 * HOUR)
    fleet.use("calm-dawn-1", "2026-09-20", grain="daily", compute_unit_seconds=20 * HOUR)
    # Before: 25 - 10 = 15 in the first tier. After: from 15 to 35, which is 5 in the first tier and 15 in the second.
    assert lines(drafted(desk)) == [
        ("calm-dawn-1/compute/pro/2026-09-01T00:00:00Z/1", "15", "15.00"),
        ("calm-dawn-1/compute/pro/2026-09-16T00:00:00Z/1", "5", "15.00"),
        ("calm-dawn-1/compute/pro/2026-09-16T00:00:00Z/2", "15", "60.00"),
    ]


def changed_plan(desk: Desk, prorate: str = "second") -> Json:
    """From pro to max at 10:30:15 on the 28th, with usage before, in and after that hour."""
    desk.more = f'[invoices]\nprorate = "{prorate}"\n'
    included = 'included = "100"'
    desk.plans = plan(prices=per_unit("compute", "0.16", included), base_fee="20.00")
    desk.plans += plan("max", prices=per_unit("compute", "0.10", included), base_fee="50.00")
    desk.subscriptions = (
        "project_id,customer,plan,valid_from,valid_to\n"
        "calm-dawn-1,cust7,pro,2026-01-01,2026-09-28T10:30:15Z\n"
        "calm-dawn-1,cust7,max,2026-09-28T10:30:15Z,\n"
    )
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    fleet.use("calm-dawn-1", "2026-09-05", grain="daily", compute_unit_seconds=200 * HOUR)
    fleet.use("calm-dawn-1", "2026-09-28T10:00", compute_unit_seconds=10 * HOUR)
    fleet.use("calm-dawn-1", "2026-09-28T11:00", compute_unit_seconds=130 * HOUR)
    return drafted(desk)


def test_a_plan_change_at_a_second_shares_fee_and_allowance_by_the_second(desk: Desk) -> None:
    document = changed_plan(desk)
    first = Fraction(27 * 86_400 + 10 * HOUR + 30 * 60 + 15, SEPTEMBER)
    pro, after = 210 - 100 * first, 130 - 100 * (1 - first)
    assert lines(document) == [
        ("calm-dawn-1/base_fee/max/2026-09-28T10:30:15Z/1", printed(1 - first), cents(50 * (1 - first))),
        ("calm-dawn-1/base_fee/pro/2026-09-01T00:00:00Z/1", printed(first), cents(20 * first)),
        ("calm-dawn-1/compute/max/2026-09-28T10:30:15Z/1", printed(after), cents(after / 10)),
        ("calm-dawn-1/compute/pro/2026-09-01T00:00:00Z/1", printed(pro), cents(pro * Fraction(16, 100))),
    ]
    assert [(line["from"], line["to"]) for line in document["invoices"][0]["lines"]] == [
        ("2026-09-28T10:30:15Z", "2026-10-01T00:00:00Z"),
        ("2026-09-01T00:00:00Z", "2026-09-28T10:30:15Z"),
    ] * 2


def test_by_the_day_the_change_counts_from_its_midnight(desk: Desk) -> None:
    document = changed_plan(desk, "day")
    first = Fraction(27, 30)
    amounts = {key.split("/")[1] + " " + key.split("/")[2]: amount for key, _, amount in lines(document)}
    assert amounts == {
        "base_fee max": "5.00",
        "base_fee pro": "18.00",
        "compute max": cents((130 - 100 * (1 - first)) / 10),
        "compute pro": cents((210 - 100 * first) * Fraction(16, 100)),
    }


def test_without_proration_each_plan_has_its_full_fee_and_allowance(desk: Desk) -> None:
    amounts = {"/".join(key.split("/")[1:3]): amount for key, _, amount in lines(changed_plan(desk, "none"))}
    assert amounts == {
        "base_fee/max": "50.00",
        "base_fee/pro": "20.00",
        "compute/max": "3.00",
        "compute/pro": "17.60",
    }


def test_a_project_that_lived_for_ten_days_pays_a_third_of_the_fee_and_has_the_full_allowance(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    gone = fleet.project("calm-dawn-1", created="2026-09-11", deleted_at="2026-09-30T00:00:00Z")
    fleet.projects.remove(gone)
    gone["deleted_at"] = "2026-09-21T00:00:00Z"
    fleet.deleted.append(gone)
    fleet.use("calm-dawn-1", "2026-09-12", grain="daily", compute_unit_seconds=101 * HOUR)
    document = drafted(desk)
    assert lines(document) == [
        ("calm-dawn-1/base_fee/pro/2026-09-11T00:00:00Z/1", printed(Fraction(1, 3)), "6.67"),
        ("calm-dawn-1/compute/pro/2026-09-11T00:00:00Z/1", "1", "0.16"),
    ]
    assert {line["to"] for line in document["invoices"][0]["lines"]} == {"2026-09-21T00:00:00Z"}


def test_usage_of_the_hour_in_which_a_project_was_created_belongs_to_its_first_plan(desk: Desk) -> None:
    desk.plans = plan(prices=per_unit("compute", "1.00"))
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1", created="2026-09-29T10:30:00Z")
    fleet.use("calm-dawn-1", "2026-09-29T10:00", compute_unit_seconds=2 * HOUR)
    document = drafted(desk)
    assert lines(document) == [("calm-dawn-1/compute/pro/2026-09-29T10:30:00Z/1", "2", "2.00")]
    assert document["unassigned"] == []


def test_a_project_that_only_history_knows_exists_to_the_end_of_its_last_usage(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.use("calm-dawn-1", "2026-09-29T10:00", compute_unit_seconds=2 * HOUR)
    fleet.use("calm-dawn-1", "2026-09-29T12:00", compute_unit_seconds=2 * HOUR)
    # 3 hours of 720: 20 / 240 = 0.0833...
    assert lines(drafted(desk)) == [
        ("calm-dawn-1/base_fee/pro/2026-09-29T10:00:00Z/1", printed(Fraction(3, 720)), "0.08")
    ]


def test_a_project_used_before_and_after_a_month_existed_in_it(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.use("calm-dawn-1", "2026-08-20", grain="daily", compute_unit_seconds=HOUR)
    fleet.use("calm-dawn-1", "2026-10-02T05:00", compute_unit_seconds=HOUR)
    assert lines(drafted(desk)) == [("calm-dawn-1/base_fee/pro/2026-09-01T00:00:00Z/1", "1", "20.00")]


def test_time_that_subscriptions_leave_open_is_unassigned_and_free_of_the_fee(desk: Desk) -> None:
    desk.subscriptions = "project_id,customer,plan,valid_from\ncalm-dawn-1,cust7,pro,2026-09-16\n"
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    fleet.use("calm-dawn-1", "2026-09-15", grain="daily", compute_unit_seconds=7)
    fleet.use("calm-dawn-1", "2026-09-16", grain="daily", compute_unit_seconds=101 * HOUR)
    document = drafted(desk)
    assert document["unassigned"] == [{"project_id": "calm-dawn-1", "metric": "compute_unit_seconds", "value": "7"}]
    assert lines(document) == [
        ("calm-dawn-1/base_fee/pro/2026-09-16T00:00:00Z/1", "0.5", "10.00"),
        ("calm-dawn-1/compute/pro/2026-09-16T00:00:00Z/1", "1", "0.16"),
    ]


def test_an_hourly_allowance_comes_off_each_hour_and_is_never_pooled(desk: Desk) -> None:
    desk.plans = plan(prices=per_unit("extra_branches", "1.50", 'included_per_hour = "9"'))
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    for hour in range(24):
        fleet.use("calm-dawn-1", f"2026-09-28T{hour:02}:00", extra_branches_month=12)
    fleet.use("calm-dawn-1", "2026-09-29T00:00", extra_branches_month=4)
    document = drafted(desk)
    assert lines(document) == [
        ("calm-dawn-1/extra_branches/pro/2026-09-01T00:00:00Z/1", printed(Fraction(72, 744)), "0.15")
    ]
    assert "reduced_grain" not in document["invoices"][0]["lines"][0]


def test_an_hour_in_two_neon_periods_has_one_hourly_allowance(desk: Desk) -> None:
    desk.plans = plan(prices=per_unit("extra_branches", "744", 'included_per_hour = "9"'))
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    for period, value in (("period-1", 5), ("period-2", 6)):
        metrics = {"extra_branches_month": value}
        fleet.buckets.append(
            Bucket(grain="hourly", project="calm-dawn-1", start="2026-09-28T10:00", metrics=metrics, period=period)
        )
    assert [amount for _, _, amount in lines(drafted(desk))] == ["2.00"]


def test_a_daily_bucket_has_the_allowance_of_its_hours_and_says_so(desk: Desk) -> None:
    desk.plans = plan(prices=per_unit("extra_branches", "1.50", 'included_per_hour = "9"'))
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    fleet.use("calm-dawn-1", "2026-09-10", grain="daily", extra_branches_month=288)
    fleet.use("calm-dawn-1", "2026-09-11", grain="daily", extra_branches_month=24)
    document = drafted(desk)
    assert [amount for _, _, amount in lines(document)] == ["0.15"]
    (line,) = document["invoices"][0]["lines"]
    assert (line["grain"], line["reduced_grain"], line["quantity"]) == ("daily", True, printed(Fraction(72, 744)))


def test_the_name_maps_then_the_organizations_plan_and_a_pattern_with_an_unknown_plan_maps_nothing(desk: Desk) -> None:
    desk.pattern = PATTERN
    fleet = desk.neon.fleet("org-a")
    for project, name in (
        ("p-named", "acme-cust7-pro-1"),
        ("p-plain", "just a name"),
        ("p-strange", "acme-cust8-gold-1"),
        ("p-longer", "acme-cust9-pro-1-and-more"),
    ):
        fleet.project(project, name)
        fleet.use(project, "2026-09-10", grain="daily", compute_unit_seconds=1)
    document = drafted(desk)
    assert [one["customer"]["id"] for one in document["invoices"]] == ["cust7", "p-longer", "p-plain"]
    assert [row["project_id"] for row in document["unassigned"]] == ["p-strange"]


def test_without_a_default_plan_an_unmapped_project_is_unassigned(desk: Desk) -> None:
    desk.default_plan = None
    desk.neon.fleet("org-a").project("calm-dawn-1")
    desk.neon.fleet("org-a").use("calm-dawn-1", "2026-09-10", grain="daily", compute_unit_seconds=1)
    document = drafted(desk)
    assert document["invoices"] == []
    assert document["unassigned"] == [{"project_id": "calm-dawn-1", "metric": "compute_unit_seconds", "value": "1"}]


def test_a_rename_counts_from_the_poll_that_first_shows_it(desk: Desk) -> None:
    desk.pattern = PATTERN
    project = desk.neon.fleet("org-a").project("calm-dawn-1", "acme-alpha-pro-1")
    desk.now = "2026-09-16T00:00:00Z"
    desk.run("poll")
    project["name"] = "acme-beta-pro-1"
    desk.now = "2026-09-21T00:00:00Z"
    desk.run("poll")
    desk.now = "2026-10-03T00:00:00Z"
    assert lines(drafted(desk)) == [
        ("calm-dawn-1/base_fee/pro/2026-09-01T00:00:00Z/1", printed(Fraction(20, 30)), "13.33"),
        ("calm-dawn-1/base_fee/pro/2026-09-21T00:00:00Z/1", printed(Fraction(10, 30)), "6.67"),
    ]


def test_unpriced_usage_names_its_reason(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    fleet.use("calm-dawn-1", "2026-09-10", grain="daily", public_network_transfer_bytes=5, unheard_of=6)
    assert drafted(desk)["unpriced"] == [
        {
            "project_id": "calm-dawn-1",
            "metric": "public_network_transfer_bytes",
            "value": "5",
            "reason": "not_in_plan",
        },
        {"project_id": "calm-dawn-1", "metric": "unheard_of", "value": "6", "reason": "no_meter"},
    ]


@pytest.mark.parametrize(
    ("currency", "amount", "tax", "total"),
    [("JPY", "1", "0", "1"), ("USD", "1.25", "0.25", "1.50"), ("KWD", "1.251", "0.250", "1.501")],
)
def test_amounts_have_the_currencys_digits(desk: Desk, currency: str, amount: str, tax: str, total: str) -> None:
    # 1.2505 in the main unit: half a cent and half a fils are decided away from zero.
    desk.plans = plan(prices=per_unit("compute", "1.2505")).replace("USD", currency)
    desk.customers = "customer,name,tax_rate_percent\ncalm-dawn-1,Calm,20\n"
    desk.neon.fleet("org-a").project("calm-dawn-1")
    desk.neon.fleet("org-a").use("calm-dawn-1", "2026-09-10", grain="daily", compute_unit_seconds=HOUR)
    (invoice,) = drafted(desk)["invoices"]
    assert (invoice["subtotal"], invoice["taxes"][0]["amount"], invoice["total"]) == (amount, tax, total)


def test_half_even_rounds_to_the_even_cent(desk: Desk) -> None:
    desk.more = '[invoices]\nrounding = "half_even"\n'
    desk.plans = plan(prices=per_unit("compute", "0.125") + per_unit("public_transfer", "0.135"))
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    fleet.use(
        "calm-dawn-1", "2026-09-10", grain="daily", compute_unit_seconds=HOUR, public_network_transfer_bytes=10**9
    )
    assert [amount for _, _, amount in lines(drafted(desk))] == ["0.12", "0.14"]


def test_the_plans_minimum_is_a_line_of_its_own(desk: Desk) -> None:
    desk.plans = plan(prices=per_unit("compute", "1.00"), base_fee="5.00", more='minimum = "30.00"\n')
    desk.neon.fleet("org-a").project("calm-dawn-1")
    desk.neon.fleet("org-a").use("calm-dawn-1", "2026-09-10", grain="daily", compute_unit_seconds=2 * HOUR)
    document = drafted(desk)
    kinds = [(line["kind"], line["amount"]) for line in document["invoices"][0]["lines"]]
    assert kinds == [("base_fee", "5.00"), ("usage", "2.00"), ("minimum", "23.00")]
    assert document["invoices"][0]["total"] == "30.00"


def test_scope_customer_fills_one_allowance_from_all_projects(desk: Desk) -> None:
    desk.plans = plan(prices=per_unit("compute", "1.00", 'scope = "customer"\nincluded = "10"'))
    desk.subscriptions = "project_id,customer,plan\np-1,cust7,pro\np-2,cust7,pro\n"
    fleet = desk.neon.fleet("org-a")
    for project in ("p-1", "p-2"):
        fleet.project(project)
        fleet.use(project, "2026-09-10", grain="daily", compute_unit_seconds=8 * HOUR)
    document = drafted(desk)
    assert lines(document) == [("cust7/compute/pro/2026-09-01T00:00:00Z/1", "6", "6.00")]
    assert document["invoices"][0]["lines"][0]["project_id"] is None


def test_a_base_fee_per_customer_is_due_once_for_all_projects(desk: Desk) -> None:
    desk.plans = plan(base_fee="20.00", more='base_fee_scope = "customer"\n')
    desk.subscriptions = "project_id,customer,plan\np-1,cust7,pro\np-2,cust7,pro\n"
    desk.neon.fleet("org-a").project("p-1")
    desk.neon.fleet("org-a").project("p-2")
    assert lines(drafted(desk)) == [("cust7/base_fee/pro/2026-09-01T00:00:00Z/1", "1", "20.00")]


def test_a_flat_fee_due_without_usage_is_a_line_of_its_own(desk: Desk) -> None:
    desk.plans = plan(
        prices=price(
            "compute",
            'model = "graduated"\nincluded = "10"\nflat_fee_at_zero = true\n'
            'tiers = [{ unit_price = "1.00", flat_fee = "2.50" }]',
        )
    )
    desk.neon.fleet("org-a").project("calm-dawn-1")
    assert lines(drafted(desk)) == [("calm-dawn-1/compute/pro/2026-09-01T00:00:00Z/1/flat", "1", "2.50")]


def test_a_customer_without_any_line_gets_no_invoice(desk: Desk) -> None:
    desk.plans = plan(prices=per_unit("compute", "1.00", 'included = "10"'))
    desk.neon.fleet("org-a").project("calm-dawn-1")
    desk.neon.fleet("org-a").use("calm-dawn-1", "2026-09-10", grain="daily", compute_unit_seconds=10 * HOUR)
    assert drafted(desk)["invoices"] == []


def test_a_customer_whose_lines_cost_nothing_gets_an_invoice_over_zero(desk: Desk) -> None:
    desk.plans = plan(prices=per_unit("compute", "0"))
    desk.neon.fleet("org-a").project("calm-dawn-1")
    desk.neon.fleet("org-a").use("calm-dawn-1", "2026-09-10", grain="daily", compute_unit_seconds=HOUR)
    assert drafted(desk)["invoices"][0]["total"] == "0.00"


def test_volume_package_and_cost_plus(desk: Desk) -> None:
    desk.plans = plan(
        prices=price(
            "public_transfer",
            'model = "volume"\ntiers = [{ up_to = "10", unit_price = "0.30" }, { unit_price = "0.20" }]',
        )
        + price("private_transfer", 'model = "package"\npackage_size = "10"\npackage_price = "1.00"')
        + price("compute", 'model = "cost_plus"\nmarkup_percent = "25"')
    )
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    bucket = fleet.use(
        "calm-dawn-1",
        "2026-09-10",
        grain="daily",
        public_network_transfer_bytes=10 * 10**9 + 1,
        private_network_transfer_bytes=20 * 10**9 + 1,
        compute_unit_seconds=10 * HOUR,
    )
    bucket.plan = "launch"
    # 10.000000001 * 0.20 = 2.00; three packages; 10 CU-hours at Neon's 0.106 and a quarter more: 1.325
    assert [(key.split("/")[1], amount) for key, _, amount in lines(drafted(desk))] == [
        ("compute", "1.33"),
        ("private_transfer", "3.00"),
        ("public_transfer", "2.00"),
    ]


def test_a_transferred_project_is_charged_for_its_usage_in_both_organizations_and_one_fee(desk: Desk) -> None:
    desk.organizations = ("org-a", "org-b")
    desk.plans = plan(prices=per_unit("compute", "1.00"), base_fee="20.00")
    desk.neon.fleet("org-a").use("calm-dawn-1", "2026-09-10", grain="daily", compute_unit_seconds=2 * HOUR)
    desk.neon.fleet("org-b").use("calm-dawn-1", "2026-09-20", grain="daily", compute_unit_seconds=3 * HOUR)
    desk.neon.fleet("org-b").project("calm-dawn-1")
    assert lines(drafted(desk)) == [
        ("calm-dawn-1/base_fee/pro/2026-09-01T00:00:00Z/1", "1", "20.00"),
        ("calm-dawn-1/compute/pro/2026-09-01T00:00:00Z/1", "5", "5.00"),
    ]


def test_a_project_of_a_sponsored_organization_pays_its_base_fee(desk: Desk) -> None:
    desk.organizations, desk.sponsored = ("org-free",), ("org-free",)
    desk.neon.fleet("org-free").project("calm-dawn-1")
    assert lines(drafted(desk)) == [("calm-dawn-1/base_fee/pro/2026-09-01T00:00:00Z/1", "1", "20.00")]


def test_invoices_sort_by_customer_and_lines_by_key(desk: Desk) -> None:
    desk.subscriptions = "project_id,customer,plan\nzoo-1,beta,pro\nant-1,beta,pro\nbee-1,alpha,pro\n"
    for project in ("zoo-1", "bee-1", "ant-1"):
        desk.neon.fleet("org-a").project(project)
        desk.neon.fleet("org-a").use(project, "2026-09-10", grain="daily", compute_unit_seconds=200 * HOUR)
    document = drafted(desk)
    assert [one["customer"]["id"] for one in document["invoices"]] == ["alpha", "beta"]
    keys = [line["key"] for line in document["invoices"][1]["lines"]]
    assert keys == sorted(keys)
    assert len(keys) == 4


def test_a_daily_bucket_belongs_to_the_plan_in_force_at_its_start(desk: Desk) -> None:
    desk.plans = plan(prices=per_unit("compute", "1.00")) + plan("max", prices=per_unit("compute", "2.00"))
    desk.subscriptions = (
        "project_id,customer,plan,valid_from,valid_to\n"
        "calm-dawn-1,cust7,pro,,2026-09-10T00:00:01Z\n"
        "calm-dawn-1,cust7,max,2026-09-10T00:00:01Z,\n"
    )
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    fleet.use("calm-dawn-1", "2026-09-10", grain="daily", compute_unit_seconds=3 * HOUR)
    fleet.use("calm-dawn-1", "2026-09-11", grain="daily", compute_unit_seconds=5 * HOUR)
    assert [(key.split("/")[2], amount) for key, _, amount in lines(drafted(desk))] == [
        ("max", "10.00"),
        ("pro", "3.00"),
    ]


def test_parts_of_one_fee_are_rounded_so_that_they_sum_to_the_whole(desk: Desk) -> None:
    desk.plans = plan(base_fee="10.00")
    desk.subscriptions = (
        "project_id,customer,plan,valid_from,valid_to\n"
        "p-1,ant,pro,,2026-09-11\np-1,bee,pro,2026-09-11,2026-09-21\np-1,cow,pro,2026-09-21,\n"
    )
    desk.neon.fleet("org-a").project("p-1")
    found = [(one["customer"]["id"], one["total"]) for one in drafted(desk)["invoices"]]
    assert found == [("ant", "3.33"), ("bee", "3.34"), ("cow", "3.33")]


def test_adjacent_equal_subscriptions_are_one_segment(desk: Desk) -> None:
    desk.subscriptions = (
        "project_id,customer,plan,valid_from,valid_to\n"
        "p-1,ant,pro,,2026-09-11T07:08:09Z\np-1,ant,pro,2026-09-11T07:08:09Z,\n"
    )
    fleet = desk.neon.fleet("org-a")
    fleet.project("p-1")
    for day in ("2026-09-10", "2026-09-20"):
        fleet.use("p-1", day, grain="daily", compute_unit_seconds=60 * HOUR)
    assert lines(drafted(desk)) == [
        ("p-1/base_fee/pro/2026-09-01T00:00:00Z/1", "1", "20.00"),
        ("p-1/compute/pro/2026-09-01T00:00:00Z/1", "20", "3.20"),
    ]


def test_back_to_an_earlier_plan_is_a_new_segment_with_its_own_tiers(desk: Desk) -> None:
    desk.plans = plan(prices=per_unit("compute", "1.00", 'included = "30"'), base_fee="30.00") + plan("max")
    desk.subscriptions = (
        "project_id,customer,plan,valid_from,valid_to\n"
        "p-1,ant,pro,,2026-09-11\np-1,ant,max,2026-09-11,2026-09-21\np-1,ant,pro,2026-09-21,\n"
    )
    fleet = desk.neon.fleet("org-a")
    fleet.project("p-1")
    for day in ("2026-09-10", "2026-09-20", "2026-09-25"):
        fleet.use("p-1", day, grain="daily", compute_unit_seconds=12 * HOUR)
    # Ten days of thirty: 10 of 30 hours are included in each of the two segments.
    assert lines(drafted(desk)) == [
        ("p-1/base_fee/pro/2026-09-01T00:00:00Z/1", printed(Fraction(1, 3)), "10.00"),
        ("p-1/base_fee/pro/2026-09-21T00:00:00Z/1", printed(Fraction(1, 3)), "10.00"),
        ("p-1/compute/pro/2026-09-01T00:00:00Z/1", "2", "2.00"),
        ("p-1/compute/pro/2026-09-21T00:00:00Z/1", "2", "2.00"),
    ]


def test_an_hourly_allowance_is_never_prorated(desk: Desk) -> None:
    desk.plans = plan(prices=per_unit("extra_branches", "744", 'included_per_hour = "9"'))
    desk.plans += plan("max", prices=per_unit("extra_branches", "744", 'included_per_hour = "5"'))
    desk.subscriptions = (
        "project_id,customer,plan,valid_from,valid_to\n"
        "p-1,ant,pro,,2026-09-29T10:59:59Z\np-1,ant,max,2026-09-29T10:59:59Z,\n"
    )
    fleet = desk.neon.fleet("org-a")
    fleet.project("p-1")
    for hour in (9, 10, 11):
        fleet.use("p-1", f"2026-09-29T{hour:02}:00", extra_branches_month=12)
    assert [(key.split("/")[2], amount) for key, _, amount in lines(drafted(desk))] == [
        ("max", "7.00"),
        ("pro", "6.00"),
    ]


def test_a_project_that_inventory_lost_exists_to_its_last_usage(desk: Desk) -> None:
    desk.neon.fail("org-a", "recoverable", 403)
    fleet = desk.neon.fleet("org-a")
    fleet.project("p-1")
    fleet.use("p-1", "2026-09-15", grain="daily", compute_unit_seconds=1)
    desk.now = "2026-09-20T00:00:00Z"
    desk.run("poll")
    fleet.projects.clear()
    desk.now = "2026-10-03T00:00:00Z"
    assert lines(drafted(desk)) == [("p-1/base_fee/pro/2026-09-01T00:00:00Z/1", "0.5", "10.00")]


def test_a_project_that_could_not_be_fetched_in_time_is_not_deleted(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.project("p-1")
    fleet.project("p-2")
    desk.now = "2026-09-20T00:00:00Z"
    desk.run("poll")
    fleet.projects.pop(0)
    fleet.unavailable = ["p-1"]
    desk.now = "2026-10-03T00:00:00Z"
    assert [amount for _, _, amount in lines(drafted(desk))] == ["20.00", "20.00"]


def test_two_currencies_of_one_customer_stop_nobody_else(desk: Desk) -> None:
    desk.pattern = PATTERN
    desk.plans = plan(base_fee="1.00") + plan("euro", base_fee="2.00").replace("USD", "EUR")
    for project, name in (("p-1", "x-ant-pro-1"), ("p-2", "x-ant-euro-1"), ("p-3", "x-bee-pro-1")):
        desk.neon.fleet("org-a").project(project, name)
    assert [one["customer"]["id"] for one in drafted(desk)["invoices"]] == ["bee"]
    ran = desk.run("close", "2026-09", "--allow-incomplete", "none")
    assert ran.code == 3
    assert "ant" in ran.err


def test_one_customers_dated_price_is_a_plan_that_extends_another(desk: Desk) -> None:
    # Pro at 0.20 for all; cust8 pays 0.15 from the 16th on, and what it extends until then.
    desk.plans = plan(prices=per_unit("compute", "0.20", 'included = "10"'), base_fee="20.00")
    own = per_unit("compute", "0.15", 'included = "10"', valid_from="2026-09-16")
    desk.plans += f'[[plans]]\nid = "pro-cust8"\nextends = "pro"\nname = "Pro for cust8"\n{own}'
    desk.subscriptions = "project_id,customer,plan\np-1,cust7,pro\np-2,cust8,pro-cust8\n"
    for project in ("p-1", "p-2"):
        desk.neon.fleet("org-a").project(project)
        desk.neon.fleet("org-a").use(project, "2026-09-10", grain="daily", compute_unit_seconds=30 * HOUR)
        desk.neon.fleet("org-a").use(project, "2026-09-20", grain="daily", compute_unit_seconds=40 * HOUR)
    assert lines(drafted(desk)) == [
        ("p-1/base_fee/pro/2026-09-01T00:00:00Z/1", "1", "20.00"),
        ("p-1/compute/pro/2026-09-01T00:00:00Z/1", "60", "12.00"),
        ("p-2/base_fee/pro-cust8/2026-09-01T00:00:00Z/1", "1", "20.00"),
        ("p-2/compute/pro-cust8/2026-09-01T00:00:00Z/1", "20", "4.00"),
        ("p-2/compute/pro-cust8/2026-09-16T00:00:00Z/1", "40", "6.00"),
    ]


def test_a_price_version_goes_on_with_what_all_projects_of_the_customer_used(desk: Desk) -> None:
    def tiers(low: str, high: str) -> str:
        return (
            'model = "graduated"\nscope = "customer"\nincluded = "10"\n'
            f'tiers = [{{ up_to = "20", unit_price = "{low}" }}, {{ unit_price = "{high}" }}]'
        )

    desk.plans = plan(prices=price("compute", tiers("1", "2")) + price("compute", tiers("3", "4"), "2026-09-16"))
    desk.subscriptions = "project_id,customer,plan\np-1,cust7,pro\np-2,cust7,pro\np-3,cust7,pro\n"
    fleet = desk.neon.fleet("org-a")
    for project, day, hours in (("p-1", 5, 10), ("p-2", 6, 15), ("p-2", 20, 5), ("p-3", 21, 15)):
        fleet.use(project, f"2026-09-{day:02}", grain="daily", compute_unit_seconds=hours * HOUR)
    for project in ("p-1", "p-2", "p-3"):
        fleet.project(project)
    document = drafted(desk)
    # Together 25 until the 16th: 15 beyond the allowance. 20 more: 5 in the first tier and 15 in the second.
    assert lines(document) == [
        ("cust7/compute/pro/2026-09-01T00:00:00Z/1", "15", "15.00"),
        ("cust7/compute/pro/2026-09-16T00:00:00Z/1", "5", "15.00"),
        ("cust7/compute/pro/2026-09-16T00:00:00Z/2", "15", "60.00"),
    ]
    shares = [line["projects"] for line in document["invoices"][0]["lines"]]
    assert [[(part["project_id"], part["quantity"], part["amount"]) for part in parts] for parts in shares] == [
        [("p-1", "6", "6.00"), ("p-2", "9", "9.00")],
        [("p-2", "1.25", "3.75"), ("p-3", "3.75", "11.25")],
        [("p-2", "3.75", "15.00"), ("p-3", "11.25", "45.00")],
    ]


def test_a_trial_ends_at_its_second_and_the_plan_that_follows_begins(desk: Desk) -> None:
    desk.plans = plan("trial") + plan(prices=per_unit("compute", "0.16"), base_fee="20.00")
    end = "2026-09-28T10:30:15Z"
    desk.subscriptions = f"project_id,customer,plan,valid_from,valid_to\np-1,c,trial,,{end}\np-1,c,pro,{end},\n"
    desk.neon.fleet("org-a").project("p-1")
    desk.neon.fleet("org-a").use("p-1", "2026-09-28T10:00", compute_unit_seconds=10 * HOUR)
    desk.neon.fleet("org-a").use("p-1", "2026-09-28T11:00", compute_unit_seconds=25 * HOUR)
    document = drafted(desk)
    share = Fraction(SEPTEMBER - (27 * 86_400 + 10 * HOUR + 30 * 60 + 15), SEPTEMBER)
    assert lines(document) == [
        (f"p-1/base_fee/pro/{end}/1", printed(share), cents(20 * share)),
        (f"p-1/compute/pro/{end}/1", "25", "4.00"),
    ]
    # The hour in which the trial ended is the trial's, which has no price for it.
    assert [(row["metric"], row["value"], row["reason"]) for row in document["unpriced"]] == [
        ("compute_unit_seconds", str(10 * HOUR), "not_in_plan")
    ]


@pytest.mark.parametrize(
    ("prorate", "fees"),
    [("second", [["11.17"], ["8.83"]]), ("day", [["11.33"], ["8.67"]]), ("none", [["20.00"], []])],
)
def test_a_project_that_moves_to_another_customer_leaves_each_its_part(
    desk: Desk, prorate: str, fees: list[list[str]]
) -> None:
    desk.more = f'[invoices]\nprorate = "{prorate}"\n'
    desk.plans = plan(prices=per_unit("compute", "1.00", 'included = "30"'), base_fee="20.00")
    at = "2026-09-18T00:00:00Z" if prorate == "day" else "2026-09-17T18:00:00Z"
    desk.subscriptions = f"project_id,customer,plan,valid_from,valid_to\np-1,ant,pro,,{at}\np-1,bee,pro,{at},\n"
    desk.neon.fleet("org-a").project("p-1")
    desk.neon.fleet("org-a").use("p-1", "2026-09-10", grain="daily", compute_unit_seconds=40 * HOUR)
    desk.neon.fleet("org-a").use("p-1", "2026-09-20", grain="daily", compute_unit_seconds=40 * HOUR)
    document = drafted(desk)
    found = [[line["amount"] for line in one["lines"] if line["kind"] == "base_fee"] for one in document["invoices"]]
    assert [one["customer"]["id"] for one in document["invoices"]] == ["ant", "bee"]
    # 16.75 of 30 days (17 by the day): the fee, and as much of the allowance; or all of both for each.
    shares = {"second": Fraction(67, 120), "day": Fraction(17, 30), "none": Fraction(1)}
    first = shares[prorate]
    second = first if prorate == "none" else 1 - first
    assert [line[1] for line in lines(document) if "/compute/" in line[0]] == [
        printed(40 - 30 * first),
        printed(40 - 30 * second),
    ]
    assert found == fees
