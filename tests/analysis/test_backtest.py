"""Backtests and advice for two months of two customers. Expected figures were computed by hand."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from metering.analysis import advice, backtest, plan_file
from metering.billing.terms import months
from metering.cli import cli
from metering.config import read
from metering.core import meters
from metering.core.errors import ConfigError, UsageError
from metering.core.period import month_of
from metering.invoicing import close
from metering.store import snapshots
from tests.support.books import Books, configured, when
from tests.support.card import plan, price, toml

TOP = Path(__file__).parents[2]
AUGUST, SEPTEMBER = month_of(when("2026-08-01")), month_of(when("2026-09-01"))
NOW = when("2026-10-05")
COMPUTE = "compute_unit_seconds"
PLANS = """
[[plans]]
id = "pro"
currency = "USD"
base_fee = "20.00"
[plans.quota]
compute_time_seconds = 720000
[[plans.prices]]
meter = "compute"
valid_from = 2026-01-01
model = "per_unit"
unit_price = "0.20"

[[plans]]
id = "flat"
currency = "USD"
base_fee = "45.00"
prices = []

[[plans]]
id = "euro"
currency = "EUR"
base_fee = "1.00"
prices = []
"""
ROWS = "project_id,customer,plan,valid_from,valid_to\na,acme,pro,,\nb,beta,flat,,\n"
TRIED = toml(plan("pro", price(valid_from="2027-01-01", included="50", unit_price="0.50"), base_fee="10.00"))


def platform(directory):
    return configured(directory, PLANS, subscriptions=ROWS, customers="customer,name\nacme,Acme Ltd\nbeta,Beta\n")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """acme used 100 CU-hours in August and 200 in September, beta 10 and 10; August is closed."""
    found = platform(tmp_path_factory.mktemp("kept"))
    books = Books(found.store.directory)
    with books.open() as ledger:
        for month, until, hours in (("08", "2026-09-01", 100), ("09", "2026-10-01", 200)):
            books.inventory(ledger, {"a": "a", "b": "b"}, at=until)
            day = f"2026-{month}-15"
            usage = {"a": {day: {COMPUTE: hours * 3600}}, "b": {day: {COMPUTE: 36000}}}
            books.history(
                ledger, usage, since=f"2026-{month}-01", until=until, at=f"{until}T02", grain="daily", plan="scale"
            )
        books.at = when("2026-09-03")
        ledger.adopt({}, is_compared=False, is_clock=True)  # the months are closed now, long after their end
        close.close(ledger, found, AUGUST, books.at)
    return found


@pytest.fixture
def ground(kept, tmp_path):
    """A copy of it for each test."""
    shutil.copytree(kept.path.parent, tmp_path, dirs_exist_ok=True)
    return platform(tmp_path)


def tried(directory, text=TRIED, plans=(), name="other.toml"):
    (directory / name).write_text(text)
    return plan_file.read(directory / name, plans, meters.built_in())


def told(found, plans, periods=(AUGUST, SEPTEMBER)):
    with snapshots.open_reader(found.store.directory) as reader:
        return backtest.backtest(reader, found, plans, periods, NOW)


def test_revenue_margin_winners_and_losers(ground, tmp_path):
    document = told(ground, tried(tmp_path))

    # acme: 20 + 20 and 20 + 40 became 10 + 25 and 10 + 75; Neon took 300 x 0.222 for it and 20 x 0.222 for beta.
    assert document["customers"] == [
        {
            "customer": "acme", "name": "Acme Ltd", "currency": "USD", "before": "100.00", "after": "120.00",
            "difference": "20.00", "cost": "66.60", "margin_before": "33.40", "margin_after": "53.40",
            "result": "loses",
        },
        {
            "customer": "beta", "name": "Beta", "currency": "USD", "before": "90.00", "after": "90.00",
            "difference": "0.00", "cost": "4.44", "margin_before": "85.56", "margin_after": "85.56", "result": "same",
        },
    ]  # fmt: skip
    assert [(row["plan"], row["difference"], row["margin_after"]) for row in document["plans"]] == [
        ("flat", "0.00", "85.56"),
        ("pro", "20.00", "53.40"),
    ]
    [total] = document["totals"]
    assert (total["before"], total["after"], total["cost"]) == ("190.00", "210.00", "71.04")
    assert (total["winners"], total["losers"]) == ("0", "1")


def test_one_month_alone(ground, tmp_path):
    [_, acme] = told(ground, tried(tmp_path), (AUGUST,))["customers"]  # customers who would pay more come first

    assert (acme["before"], acme["after"], acme["result"]) == ("40.00", "35.00", "wins")


def test_a_closed_month_is_compared_with_the_terms_it_was_closed_by(ground, tmp_path):
    dearer = ground.model_copy(
        update={"plans": tuple(plan.model_copy(update={"base_fee": 99}) for plan in ground.plans)}
    )

    [_, acme] = told(dearer, tried(tmp_path), (AUGUST,))["customers"]

    assert acme["before"] == "40.00"


def test_the_first_version_of_a_price_counts_backwards_and_a_later_one_from_its_date(ground, tmp_path):
    text = (
        TRIED + '[[plans.prices]]\nmeter = "compute"\nvalid_from = 2027-06-01\nmodel = "per_unit"\nunit_price = "9"\n'
    )

    assert told(ground, tried(tmp_path, text))["customers"][0]["after"] == "120.00"


def test_a_plan_may_extend_one_of_the_configuration(ground, tmp_path):
    plans = tried(tmp_path, '[[plans]]\nid = "pro"\nextends = "flat"\n', ground.plans)

    assert told(ground, plans)["customers"][0]["after"] == "90.00"


def test_a_plan_that_nobody_had_is_refused(ground, tmp_path):
    with pytest.raises(ConfigError, match=r"plans\[0\].id: no plan has the id gold; .*these: euro, flat, pro"):
        told(ground, tried(tmp_path, TRIED.replace('"pro"', '"gold"')))


def test_a_discount_is_given_on_both_sides(ground, tmp_path):
    more = '[[discounts]]\ncustomer = "acme"\npercent = "10"\n'
    found = configured(tmp_path, PLANS, subscriptions=ROWS, more=more)

    document = told(found, tried(tmp_path), (SEPTEMBER,))

    rows = {row["customer"]: row for row in document["customers"]}
    assert (rows["acme"]["before"], rows["acme"]["after"]) == ("54.00", "76.50")
    assert {row["plan"]: row["difference"] for row in document["plans"]}["-"] == "-2.50"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "plans"),
        ("plans = 3", "plans"),
        ("x = ", "other.toml"),
        (TRIED + "[neon]\n", "neon"),
        (TRIED.replace('"0.50"', "0.50"), "plans[0].prices[0].unit_price"),
        (TRIED.replace('"compute"', '"nothing"'), "plans[0].prices[0].meter"),
        (TRIED + TRIED, "plans[1].id"),
    ],
)
def test_every_fault_of_the_file_names_its_key(tmp_path, text, where):
    with pytest.raises(ConfigError) as caught:
        tried(tmp_path, text)
    assert any(where in fault.where for fault in caught.value.faults)


def test_months_reach_from_the_first_coverage_to_the_last_asked(ground):
    with snapshots.open_reader(ground.store.directory) as reader:
        assert months(reader, None, SEPTEMBER, NOW) == [AUGUST, SEPTEMBER]
        assert months(reader, SEPTEMBER, SEPTEMBER, NOW) == [SEPTEMBER]
        with pytest.raises(UsageError, match="2026-09 is after 2026-08"):
            months(reader, SEPTEMBER, AUGUST, NOW)


def test_the_command_prints_json_csv_and_a_table(ground, tmp_path):
    tried(tmp_path)
    given = ["backtest", "--plans", str(tmp_path / "other.toml"), "--config", str(ground.path)]
    clock = {"METERING_NOW": "2026-10-05T00:00:00Z"}

    as_json, as_csv = (CliRunner().invoke(cli, [*given, "--format", form], env=clock) for form in ("json", "csv"))

    assert json.loads(as_json.stdout)["totals"][0]["difference"] == "20.00"
    assert as_csv.stdout.splitlines()[1].startswith("acme,Acme Ltd,USD,100.00,120.00,20.00,")


# -- advice


def advised(found, periods=(AUGUST, SEPTEMBER)):
    with snapshots.open_reader(found.store.directory) as reader:
        return advice.advice(reader, found, periods, NOW)


def test_the_cheapest_plan_by_past_usage(ground):
    customers = {row["customer"]: row for row in advised(ground)["customers"]}

    # acme: pro 40 + 60, flat 45 + 45; beta: pro 22 + 22. In September acme used all of pro's quota.
    assert customers["acme"]["options"] == {"flat": "90.00"}
    assert customers["acme"]["does_not_fit"] == {"pro": ["compute_time_seconds"]}
    assert (customers["acme"]["advice"], customers["acme"]["saves"]) == ("flat", "10.00")
    assert customers["beta"]["options"] == {"flat": "90.00", "pro": "44.00"}
    assert (customers["beta"]["advice"], customers["beta"]["saves"]) == ("pro", "46.00")


def test_who_has_the_cheapest_plan_keeps_it(ground):
    customers = {row["customer"]: row for row in advised(ground, (AUGUST,))["customers"]}

    assert (customers["acme"]["advice"], customers["acme"]["would_pay"]) == ("keep", "40.00")


def test_the_cheapest_of_neons_plans_for_an_organization(ground):
    [organization] = advised(ground)["organizations"]

    # 320 CU-hours at 0.106 on Launch and Agent, at 0.222 on Scale.
    assert organization["options"] == {"launch": "33.92", "scale": "71.04", "agent": "33.92"}
    assert organization["plans"] == ["scale"]
    assert (organization["advice"], organization["saves"]) == ("launch", "37.12")


def test_a_private_link_does_not_fit_launch(tmp_path):
    found = configured(tmp_path, PLANS, subscriptions=ROWS)
    books = Books(found.store.directory)
    with books.open() as ledger:
        books.inventory(ledger, {"a": "a"}, at="2026-10-01")
        usage = {"a": {"2026-09-15": {COMPUTE: 3600, "private_network_transfer_bytes": 10**9}}}
        books.history(ledger, usage, since="2026-09-01", until="2026-10-01", at="2026-10-01T02", grain="daily")

    [organization] = advised(found, (SEPTEMBER,))["organizations"]

    assert organization["does_not_fit"] == ["launch"]
    assert organization["advice"] == "agent"


def test_the_command_advises_on_three_months(ground):
    ran = CliRunner().invoke(
        cli, ["advice", "--config", str(ground.path)], env={"METERING_NOW": "2026-10-05T00:00:00Z"}
    )

    document = json.loads(ran.stdout)
    assert document["period"] == {"start": "2026-07-01T00:00:00Z", "end": "2026-10-01T00:00:00Z"}
    assert document["notes"] == ["2026-07 is not covered completely"]


def test_a_plan_is_written_as_it_is_read():
    shipped = read(TOP / "config.toml", environ={})
    for one in shipped.plans:
        text = plan_file.written(one)
        assert plan_file.parse(text, [], meters.built_in()) == (plan_file.backdated(one),)
    odd = shipped.plans[0].model_copy(update={"name": 'Pro "max" \\ é', "prices": ()})
    assert plan_file.parse(plan_file.written(odd), [], meters.built_in())[0].name == 'Pro "max" \\ é'
