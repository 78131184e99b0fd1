import hashlib
from decimal import Decimal

import polars as pl
import pytest

from metering.core import meters
from metering.core.meters import Meter
from metering.rating import segments as ratecard
from tests.support.card import PATTERN, SEPTEMBER, at, existence, organization, plan, price, segments, subscription

MONTH = SEPTEMBER.seconds
TIERS = [{"up_to": "10", "unit_price": "1"}, {"unit_price": "2"}]
PRO, TEAM = plan("pro"), plan("team")


def told(*plans, catalogue=None):
    return {fault.where: fault.what for fault in ratecard.faults(list(plans), catalogue or meters.catalogue())}


def rows(frame):
    return frame.select("project_id", "segment_no", "customer", "plan", "start", "end", "share_num").rows()


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


def test_a_subscription_alone_decides_for_its_project_and_open_time_is_unassigned():
    frame = segments(
        existence(a=(None, None)),
        seen=[("a", "org-1", at(1), "acme-cust7-team-1")],
        subscriptions=[subscription("a", "c1", "pro", at(5), at(10)), subscription("a", "c2", "team", at(20))],
        organizations=[organization(default_plan="pro")],
        plans=[PRO, TEAM],
    )

    assert rows(frame) == [
        ("a", 1, "c1", "pro", at(5), at(10), 9 * 86400),
        ("a", 2, "c2", "team", at(20), at(1, month=10), 11 * 86400),
    ]


def test_a_project_is_mapped_by_its_whole_name_else_by_its_organization_else_not():
    frame = segments(
        existence(a=(None, None), b=(None, None), c=(None, None), d=(None, None), e=(None, None)),
        seen=[
            ("a", "org-1", at(1), "acme-cust7-team-1"),
            ("b", "org-1", at(1), "acme-cust7-team-1-copy"),
            ("c", "org-2", at(1), "something else"),
            ("d", "org-1", at(1), "acme-cust7-gone-1"),
            ("e", "org-1", at(1), None),
        ],
        organizations=[organization(default_plan="pro"), organization("org-2")],
        plans=[PRO, TEAM],
    )

    assert [row[:4] for row in rows(frame)] == [
        ("a", 1, "cust7", "team"),
        ("b", 1, "b", "pro"),
        ("e", 1, "e", "pro"),
    ]


def test_a_rename_is_a_dated_change_and_the_first_name_counts_backwards():
    frame = segments(
        existence(a=(None, None)),
        seen=[
            ("a", "org-1", at(11, 0, 15), "acme-c1-pro-1"),
            ("a", "org-1", at(21), "acme-c2-pro-1"),
        ],
        plans=[PRO],
    )

    assert rows(frame) == [
        ("a", 1, "c1", "pro", at(1), at(21), 20 * 86400),
        ("a", 2, "c2", "pro", at(21), at(1, month=10), 10 * 86400),
    ]


def test_a_move_between_organizations_changes_the_default_plan_when_it_is_seen():
    frame = segments(
        existence(a=(None, None)),
        seen=[("a", "org-1", at(1), "x"), ("a", "org-2", at(16), "x")],
        organizations=[organization(default_plan="pro"), organization("org-2", default_plan="team")],
        plans=[PRO, TEAM],
    )

    assert [(row[3], row[4], row[5]) for row in rows(frame)] == [
        ("pro", at(1), at(16)),
        ("team", at(16), at(1, month=10)),
    ]


def test_adjacent_equal_rows_are_one_segment():
    frame = segments(
        existence(a=(None, None)),
        subscriptions=[
            subscription("a", "c", "pro", None, at(10)),
            subscription("a", "c", "pro", at(10), at(20)),
            subscription("a", "c", "pro", at(21)),
        ],
        plans=[PRO],
    )

    assert [row[4:6] for row in rows(frame)] == [(at(1), at(20)), (at(21), at(1, month=10))]


def test_who_joins_in_mid_month_has_the_full_allowance():
    frame = segments(
        existence(a=(at(16), None), b=(None, at(2)), c=(at(1, month=10), None), d=(None, at(1))),
        subscriptions=[subscription(name, "c", "pro") for name in "abcd"],
        plans=[PRO],
    )

    assert rows(frame) == [
        ("a", 1, "c", "pro", at(16), at(1, month=10), MONTH),
        ("b", 1, "c", "pro", at(1), at(2), MONTH),
    ]


@pytest.mark.parametrize(
    ("prorate", "shares"),
    [
        ("second", [9 * 86400 + 5400, MONTH - 9 * 86400 - 5400]),
        ("day", [9 * 86400, MONTH - 9 * 86400]),
        ("none", [MONTH, MONTH]),
    ],
)
def test_an_allowance_is_shared_by_second_or_day_or_not_at_all(prorate, shares):
    frame = segments(
        existence(a=(None, None)),
        subscriptions=[
            subscription("a", "c", "pro", None, at(10, 1, 30)),
            subscription("a", "c", "team", at(10, 1, 30)),
        ],
        plans=[PRO, TEAM],
        prorate=prorate,
    )

    assert frame["share_num"].to_list() == shares
    assert frame["share_den"].to_list() == [MONTH, MONTH]


def test_a_fraction_of_a_second_does_not_count():
    born = at(16).replace(microsecond=999_999)

    frame = segments(existence(a=(born, None)), subscriptions=[subscription("a", "c", "pro")], plans=[PRO])

    assert frame["start"].to_list() == [at(16)]


def test_check_lists_names_whose_plan_does_not_exist():
    names = ["acme-c1-pro-1", "acme-c1-gone-1", "else", None]

    assert ratecard.unknown_plans(names, PATTERN, [PRO]) == [("acme-c1-gone-1", "gone")]


def test_a_price_version_counts_until_the_next_one_begins():
    pro = plan(
        "pro",
        price(unit_price="3", valid_from="2026-09-21"),
        price(unit_price="1", valid_from="2026-09-05"),
        price(unit_price="2", valid_from="2026-09-11"),
    )
    owned = segments(existence(a=(at(8), None)), subscriptions=[subscription("a", "c", "pro")], plans=[pro])

    pieces, prices = ratecard.pieces(owned, [pro], meters.catalogue())

    found = [(prices[row[0]].unit_price, *row[1:]) for row in pieces.select("price_no", "start", "end").rows()]
    assert found == [
        (Decimal(1), at(8), at(11)),
        (Decimal(2), at(11), at(21)),
        (Decimal(3), at(21), at(1, month=10)),
    ]


def test_time_before_the_first_version_has_no_piece():
    pro = plan(
        "pro", price(unit_price="1", valid_from="2026-09-30"), price("storage", unit_price="1", valid_from="2026-10-01")
    )
    owned = segments(existence(a=(None, None)), subscriptions=[subscription("a", "c", "pro")], plans=[pro])

    pieces, _ = ratecard.pieces(owned, [pro], meters.catalogue())

    assert pieces.select("meter", "start", "end").rows() == [("compute", at(30), at(1, month=10))]


def test_an_hourly_allowance_comes_as_whole_numbers_with_its_denominator():
    pro = plan("pro", price("extra_branches", unit_price="1.50", included_per_hour="9.5"))
    owned = segments(existence(a=(None, None)), subscriptions=[subscription("a", "c", "pro")], plans=[pro])

    pieces, _ = ratecard.pieces(owned, [pro], meters.catalogue())

    assert pieces.select("denominator", "hourly_num", "hourly_den").rows() == [(1488, 19, 2)]
    assert pieces.schema == pl.Schema(ratecard.PIECES)


def test_the_canonical_card_is_read_back_and_does_not_depend_on_order_or_quotas():
    one = price(unit_price="0.10", valid_from="2026-02-01")
    two = price(model="graduated", tiers=TIERS)
    card = ratecard.Card(plans=(plan("pro", one, two), TEAM), meters=meters.catalogue())
    same = ratecard.Card(
        plans=(TEAM, plan("pro", two, one, quota={"compute_time_seconds": 5})), meters=meters.catalogue()
    )

    data = ratecard.canonical(card)

    assert data == ratecard.canonical(same) == ratecard.canonical(ratecard.from_canonical(data))
    assert b'"unit_price":"0.10"' in data
    assert ratecard.sha256(card) == hashlib.sha256(data).hexdigest()


def test_the_canonical_card_tells_rounding_and_every_price_apart():
    first = ratecard.Card(plans=(plan("pro", price(unit_price="1")),), meters=meters.catalogue())
    others = [
        ratecard.Card(plans=first.plans, meters=first.meters, rounding="half_even"),
        ratecard.Card(plans=first.plans, meters=first.meters, prorate="day"),
        ratecard.Card(plans=(plan("pro", price(unit_price="2")),), meters=first.meters),
    ]

    assert len({ratecard.sha256(card) for card in [first, *others]}) == 4
