"""Changes inside a month: plans (at any second, several times), customers, trials, prices; from pages to lines,
every number by hand. September 2026 has 2,592,000 seconds."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metering.config.models import InvoicesConfig
from tests.support.card import plan, price, subscription
from tests.support.pages_of import Books, books, moment

HOUR = 3600
PRO = plan("pro", price(unit_price="0.10", included="30"), base_fee="20.00")
PLUS = plan("plus", price(unit_price="0.05", included="60"), base_fee="60.00")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path, "2026-10-03", plans=(PRO, PLUS)) as found:
        found.see({"id": "a", "name": "a", "created_at": "2026-01-01T00:00:00Z"})
        yield found


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def use(desk: Books, **hours: int) -> None:
    """d16h12=40: 40 CU-hours in the hour from 12:00 of the 16th."""
    for when, count in hours.items():
        desk.use("a", f"2026-09-{when[1:3]}T{when[4:6]}", compute_unit_seconds=count * HOUR)
    desk.read("2026-09")


def told(desk: Books, customer: str) -> list[tuple[str, str, str, str]]:
    return [
        (line["plan"], line["kind"], line["quantity"], line["amount"])
        for line in desk.invoice("2026-09", customer)["lines"]
    ]


def test_a_plan_changes_at_a_second_and_the_hour_belongs_to_the_plan_it_began_in(desk):
    change = at("2026-09-16T12:34:56")
    desk.subscriptions = (subscription("a", "one", "pro", None, change), subscription("a", "one", "plus", change, None))
    use(desk, d16h12=40, d16h13=80)

    # 1,341,296 s of pro: 10.3495 of the fee, 15.5242592… of its 30 hours; 1,250,704 s of plus: 28.9514, 28.9514814….
    assert told(desk, "one") == [
        ("plus", "base_fee", "0.482524691358", "28.95"),
        ("pro", "base_fee", "0.517475308642", "10.35"),
        ("plus", "usage", "51.048518518519", "2.55"),
        ("pro", "usage", "24.475740740741", "2.45"),
    ]


def test_a_plan_left_and_taken_again_pays_its_fee_in_parts_that_sum_to_the_whole_time(desk):
    first, second = moment("2026-09-08"), moment("2026-09-15")
    desk.plans = (plan("pro", base_fee="10.00"), plan("plus", base_fee="10.00"))
    desk.subscriptions = (
        subscription("a", "one", "pro", None, first),
        subscription("a", "one", "plus", first, second),
        subscription("a", "one", "pro", second, None),
    )
    use(desk)

    # pro: 7 days 2.3333 -> 2.33; 7 + 16 days 7.6667 -> 7.67, so 5.34; plus: 7 days 2.33.
    assert sorted(told(desk, "one")) == [
        ("plus", "base_fee", "0.233333333333", "2.33"),
        ("pro", "base_fee", "0.233333333333", "2.33"),
        ("pro", "base_fee", "0.533333333333", "5.34"),
    ]


def test_a_project_that_moves_to_another_customer_splits_fee_and_allowance_at_the_instant(desk):
    change = moment("2026-09-11")
    desk.subscriptions = (subscription("a", "one", "pro", None, change), subscription("a", "two", "pro", change, None))
    use(desk, d10h23=15, d11h00=30)

    assert told(desk, "one") == [("pro", "base_fee", "0.333333333333", "6.67"), ("pro", "usage", "5", "0.50")]
    assert told(desk, "two") == [("pro", "base_fee", "0.666666666667", "13.33"), ("pro", "usage", "10", "1.00")]


def test_usage_that_comes_late_corrects_the_customer_whose_it_was_in_that_hour(desk):
    change = moment("2026-09-11")
    desk.subscriptions = (subscription("a", "one", "pro", None, change), subscription("a", "two", "pro", change, None))
    use(desk, d10h23=15, d11h00=30)
    desk.close("2026-09")
    use(desk, d10h22=7)
    desk.now = moment("2026-11-03")
    desk.read("2026-10")
    desk.close("2026-10")

    [line] = desk.invoice("2026-10", "one")["lines"]
    assert (line["kind"], line["quantity"], line["amount"]) == ("adjustment", "7", "0.70")
    assert (line["from"], line["to"]) == ("2026-09-01T00:00:00Z", "2026-09-11T00:00:00Z")
    assert [line["kind"] for line in desk.invoice("2026-10", "two")["lines"]] == ["base_fee"]


def test_a_trial_ends_and_what_follows_is_nobodys(desk):
    desk.subscriptions = (subscription("a", "one", "pro", None, moment("2026-09-16")),)
    use(desk, d15h23=40, d16h00=5)

    assert told(desk, "one") == [("pro", "base_fee", "0.5", "10.00"), ("pro", "usage", "10", "1.00")]
    assert desk.shown("2026-09")["unassigned"] == [
        {"project_id": "a", "metric": "compute_unit_seconds", "value": "18000"}
    ]


@pytest.mark.parametrize(
    ("prorate", "fees", "beyond"),
    [
        ("second", ["10.35", "28.95"], ["24.475740740741", "51.048518518519"]),
        ("day", ["10.00", "30.00"], ["25", "50"]),
        ("none", ["20.00", "60.00"], ["10", "20"]),
    ],
)
def test_proration_by_second_day_or_not_at_all(desk, prorate, fees, beyond):
    change = at("2026-09-16T12:34:56")
    desk.invoices = InvoicesConfig(prorate=prorate)
    desk.subscriptions = (subscription("a", "one", "pro", None, change), subscription("a", "one", "plus", change, None))
    use(desk, d16h12=40, d16h13=80)

    lines = sorted(told(desk, "one"), key=lambda line: (line[0] != "pro", line))
    assert [line[3] for line in lines if line[1] == "base_fee"] == fees
    assert [line[2] for line in lines if line[1] == "usage"] == beyond


def test_a_price_and_a_plan_change_in_one_month_and_a_project_ends_in_it(desk):
    change = moment("2026-09-11")
    desk.plans = (
        plan("pro", price(unit_price="0.10"), price(unit_price="0.20", valid_from="2026-09-06")),
        plan("plus", price(unit_price="0.30"), base_fee="30.00"),
    )
    desk.subscriptions = (subscription("a", "one", "pro", None, change), subscription("a", "one", "plus", change, None))
    desk.see({"id": "a", "name": "a", "created_at": "2026-01-01T00:00:00Z", "deleted_at": "2026-09-20T12:00:00Z"})
    use(desk, d05h23=10, d06h00=10, d10h23=10, d11h00=10, d20h11=10)

    # plus existed for 9.5 of 30 days.
    assert told(desk, "one") == [
        ("plus", "base_fee", "0.316666666667", "9.50"),
        ("plus", "usage", "20", "6.00"),
        ("pro", "usage", "10", "1.00"),
        ("pro", "usage", "20", "4.00"),
    ]
