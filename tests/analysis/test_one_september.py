"""One month and one store give one result: report, overview, backtest, cost, reconciliation and forecast agree.

Neon's charge for a bucket belongs to the customer of its usage: to the segment in force at its start, otherwise
to the first one that begins inside it. Neon's plan is scale here: 0.222 per CU-hour.
"""

import os
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.analysis import backtest, reconcile
from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.core.money import exact_sum
from metering.core.period import month_of
from metering.explain import explain
from metering.export import rendering
from metering.invoicing import close, outlook
from metering.invoicing.amending.voiding import void
from metering.invoicing.blockers import Waivers
from metering.invoicing.closing import month_invoices
from metering.invoicing.issued import issued_in, read
from metering.invoicing.rated_month import RatedMonth, months_of
from metering.rendering.figures import money_text
from metering.reporting import build, gather
from metering.store import snapshots
from metering.web import figures
from metering.web.view import opened
from tests.support.books import Books, configured, stamp, when
from tests.support.card import plan, price, toml

TIMES = int(os.environ.get("METERING_EXAMPLES_TIMES", "1"))

SEPTEMBER = month_of(when("2026-09-01"))
NOW = when("2026-10-05")
HEAD = "project_id,customer,plan,valid_from,valid_to\n"
TEN_HOURS = {"compute_unit_seconds": 36_000}
PRO = plan("pro", price(unit_price="0.20"), base_fee="0")
MARKED_UP = plan("pro", price(model="cost_plus", markup_percent="25"), base_fee="0")


def lived(directory, usage, *, rows="", plans=(PRO,), created="2026-01-01", grain="hourly", names=None, more=""):
    """A completely read September: `usage` by project and bucket; `created`: creation time of project a."""
    found = configured(
        directory, toml(*plans), subscriptions=HEAD + rows if rows else "", default_plan="pro", more=more
    )
    books = Books(found.store.directory)
    listed = names or {"a": ("a", created)}
    with books.open() as ledger:
        books.inventory(ledger, listed, at="2026-09-30")
        books.history(ledger, usage, since="2026-09-01", until="2026-10-01", at="2026-10-02T02", grain=grain)
        books.inventory(ledger, listed, at="2026-10-02T03")
    return found, books


def september(*arguments, **keys):
    """The configuration for a September made by `lived`."""
    return lived(*arguments, **keys)[0]


def costs(found):
    """(customer, amount in USD) of every row of September's cost."""
    with snapshots.open_reader(found.store.directory) as reader:
        month = Month(recorded=Recorded(store=reader), terms=terms.of(found), period=SEPTEMBER, now=NOW)
        return [(row.customer, row.amount) for row in month.cost.rows]


def amounts(found):
    """(customer, amount) of every line of September's drafts."""
    with snapshots.open_reader(found.store.directory) as reader:
        drafts = month_invoices(months_of(reader, found, NOW).of(SEPTEMBER).today).printed()["invoices"]
    return [(draft["customer"]["id"], line["amount"]) for draft in drafts for line in draft["lines"]]


@pytest.mark.parametrize(
    ("grain", "bucket"), [("hourly", "2026-09-10T14"), ("daily", "2026-09-10"), ("hourly", "2026-09-10T15")]
)
def test_the_cost_of_the_bucket_in_which_a_project_began_is_its_customers(tmp_path, grain, bucket):
    found = september(tmp_path, {"a": {bucket: TEN_HOURS}}, created="2026-09-10T14:30", grain=grain)

    assert costs(found) == [("a", "2.22")]


def test_the_cost_of_the_bucket_in_which_a_customer_began_is_that_customers_where_nobody_was_before(tmp_path):
    found = september(tmp_path, {"a": {"2026-09-10T14": TEN_HOURS}}, rows="a,acme,pro,2026-09-10T14:59:59Z,\n")

    assert costs(found) == [("acme", "2.22")]


def test_the_cost_of_a_bucket_before_the_customers_first_is_nobodys(tmp_path):
    usage = {"a": {"2026-09-10T13": TEN_HOURS, "2026-09-10T14": TEN_HOURS}}
    found = september(tmp_path, usage, rows="a,acme,pro,2026-09-10T14:00:00Z,\n")

    assert costs(found) == [(None, "2.22"), ("acme", "2.22")]


def test_the_cost_of_a_bucket_in_which_a_project_moved_stays_with_whom_it_began(tmp_path):
    rows = "a,acme,pro,,2026-09-10T14:30:00Z\na,beta,pro,2026-09-10T14:30:00Z,\n"
    found = september(tmp_path, {"a": {"2026-09-10T14": TEN_HOURS, "2026-09-10T15": TEN_HOURS}}, rows=rows)

    assert costs(found) == [("acme", "2.22"), ("beta", "2.22")]


def test_the_cost_of_a_bucket_in_which_two_began_is_the_first_ones(tmp_path):
    rows = "a,acme,pro,2026-09-10T14:10:00Z,2026-09-10T14:20:00Z\na,beta,pro,2026-09-10T14:30:00Z,\n"
    found = september(tmp_path, {"a": {"2026-09-10T14": TEN_HOURS, "2026-09-10T15": TEN_HOURS}}, rows=rows)

    assert costs(found) == [("acme", "2.22"), ("beta", "2.22")]


def test_a_markup_counts_the_bucket_in_which_the_project_began(tmp_path):
    usage = {"a": {"2026-09-10T14": TEN_HOURS, "2026-09-10T15": TEN_HOURS}}
    found = september(tmp_path, usage, plans=(MARKED_UP,), created="2026-09-10T14:30")

    assert amounts(found) == [("a", "5.55")]  # 20 CU-hours x 0.222 x 1.25


def test_a_markup_by_the_day_counts_the_day_in_which_the_project_began(tmp_path):
    usage = {"a": {"2026-09-10": TEN_HOURS, "2026-09-11": TEN_HOURS}}
    found = september(tmp_path, usage, plans=(MARKED_UP,), created="2026-09-10T14:30", grain="daily")

    assert amounts(found) == [("a", "5.55")]


def test_a_markup_that_begins_inside_a_bucket_counts_it_where_no_price_was_before(tmp_path):
    later = plan("pro", price(model="cost_plus", markup_percent="25", valid_from="2026-09-10T14:30:00Z"), base_fee="0")
    found = september(tmp_path, {"a": {"2026-09-10T14": TEN_HOURS, "2026-09-10T13": TEN_HOURS}}, plans=(later,))

    assert amounts(found) == [("a", "2.78")]  # 10 CU-hours; those of the hour before have no price


def test_the_explanation_of_a_markup_shows_the_bucket_in_which_the_project_began(tmp_path):
    found = september(tmp_path, {"a": {"2026-09-10T14": TEN_HOURS}}, plans=(MARKED_UP,), created="2026-09-10T14:30")
    with snapshots.open_reader(found.store.directory) as reader:
        month = Month(recorded=Recorded(store=reader), terms=terms.of(found), period=SEPTEMBER, now=NOW)
        [draft] = month_invoices(months_of(reader, found, NOW).of(SEPTEMBER).today).printed()["invoices"]
        [line] = [line for line in draft["lines"] if line["kind"] == "usage"]
        told = explain.of_draft(month, draft, line["key"])

    assert [(row["used"], row["amount"]) for row in told["arithmetic"]["neon"]] == [("10", "2.22")]
    assert Fraction(line["amount"]) == Fraction("2.78")


# -- every command that shows a month agrees


LAST_SECOND = when("2026-09-30T23:59:59")


def shown(found, now=NOW):
    """Customer -> (revenue before tax, Neon's cost) and their sums, from every command that shows September."""
    view = opened(found, now)
    with snapshots.open_reader(found.store.directory) as reader:
        rated = RatedMonth(recorded=Recorded(store=reader), config=found, period=SEPTEMBER, now=now)
        return {
            "report": _of_report(build.build(gather.facts(months_of(reader, found, now), SEPTEMBER))),
            "overview": _of_report(view.month("2026-09").get(figures.report)),
            "backtest": _of_backtest(backtest.backtest(reader, found, found.plans, [SEPTEMBER], now)),
            "reconcile": reconcile.by_total(rated.whole, 0)["computed"],
            "forecast": _of_forecast(outlook.outlook(_at_its_end(rated.whole)).document()),
            "cost": money_text(exact_sum(row["BilledCost"] for row in rendering.neon_costs(rated.whole)), "USD"),
        }


def _at_its_end(month):
    """The month in its last second, in which the forecast has no remaining hours."""
    return Month(
        recorded=month.recorded,
        terms=month.terms,
        period=month.period,
        now=LAST_SECOND,
        inventory=(month.projects.existence, month.projects.sightings),
    )


def _of_report(report):
    rows = {row["customer"]: (row["subtotal"], row["neon_cost"]) for row in report["customers"]}
    return rows, (report["margin"]["revenue"], report["margin"]["neon_cost"]), report["costs"]["total"]


def _of_backtest(document):
    rows = {row["customer"]: (row["before"], row["cost"]) for row in document["customers"]}
    return rows, [(total["before"], total["cost"]) for total in document["totals"]]


def _of_forecast(document):
    rows = {row["customer"]: row["so_far"] for row in document["customers"]}
    assert {row["customer"]: row["expected"] for row in document["customers"]} == rows
    return rows, [total["so_far"] for total in document["totals"]], document["neon_cost"]["so_far"]


def agree(found, now=NOW):
    """Asserts that all results agree; returns each customer's revenue and cost."""
    told = shown(found, now)
    rows, sums, total = told["report"]
    assert told["overview"] == told["report"]
    assert told["backtest"] == (rows, [sums] if rows else [])
    assert told["reconcile"] == told["cost"] == total == sums[1]
    revenue = {customer: subtotal for customer, (subtotal, _) in rows.items()}
    assert told["forecast"] == (revenue, [sums[0]] if rows else [], total)
    return rows


USED = {"a": {"2026-09-10T14": TEN_HOURS, "2026-09-20T10": TEN_HOURS}}
SELLER = '[seller]\nname = "Acme Platforms Ltd"\n'


def test_all_that_show_a_month_agree_on_a_project_that_began_inside_it(tmp_path):
    found = september(tmp_path, USED, created="2026-09-10T14:30")

    assert agree(found) == {"a": ("4.00", "4.44")}


def test_all_that_show_a_month_agree_on_time_in_which_a_project_was_nobodys(tmp_path):
    found = september(tmp_path, USED, rows="a,acme,pro,2026-09-15,\n")
    told = shown(found)

    assert told["report"] == ({"acme": ("2.00", "2.22")}, ("2.00", "4.44"), "4.44")
    assert told["backtest"] == ({"acme": ("2.00", "2.22")}, [("2.00", "4.44")])


def closed(directory, usage=USED, **more):
    found, books = lived(directory, usage, more=SELLER, **more)
    with books.open() as ledger:
        books.at = NOW
        close.close(ledger, found, SEPTEMBER, NOW)
    return found, books


def dearer(found, unit_price="0.50"):
    """Today's configuration with another price of every plan."""
    prices = {"prices": (price(unit_price=unit_price),)}
    return found.model_copy(update={"plans": tuple(one.model_copy(update=prices) for one in found.plans)})


def test_a_closed_month_is_shown_by_the_prices_it_was_closed_by(tmp_path):
    found, _ = closed(tmp_path)

    assert agree(dearer(found)) == {"a": ("4.00", "4.44")}


def test_a_month_closed_in_parts_is_shown_by_the_closing_of_each_customers_invoice(tmp_path):
    usage = {"a": USED["a"], "b": USED["a"]}
    found, books = closed(tmp_path, usage, names={"a": ("a", "2026-01-01"), "b": ("b", "2026-01-01")})
    with books.open() as ledger:
        numbers = {row.customer.id: row.number for row in read(issued_in(ledger.store, SEPTEMBER))}
        void(ledger, numbers["a"], "a wrong price", NOW)
    voided = shown(dearer(found))["backtest"]
    with books.open() as ledger:
        close.close(ledger, dearer(found), SEPTEMBER, NOW)

    assert voided[0] == {"a": ("10.00", "4.44"), "b": ("4.00", "4.44")}
    told = shown(dearer(found, "9.00"))
    assert told["report"][0] == told["backtest"][0] == {"a": ("10.00", "4.44"), "b": ("4.00", "4.44")}


def test_what_inventory_shows_after_a_close_changes_no_september(tmp_path):
    found, books = closed(tmp_path, plans=(plan("pro", price(unit_price="0.20"), base_fee="30.00"),))
    with books.open() as ledger:
        books.inventory(ledger, {}, at="2026-10-06", deleted=[("a", "renamed", "2026-09-25")])

    assert agree(found) == {"a": ("34.00", "4.44")}


def test_the_cost_of_customers_who_pay_in_another_currency_lowers_no_margin(tmp_path):
    euro = plan("euro", price(unit_price="0.20"), base_fee="0", currency="EUR")
    rows = "a,acme,pro,,\nb,beta,euro,,\n"
    names = {"a": ("a", "2026-01-01"), "b": ("b", "2026-01-01")}
    found = september(tmp_path, {"a": USED["a"], "b": USED["a"]}, rows=rows, plans=(PRO, euro), names=names)
    told = shown(found)

    assert told["report"][1] == ("4.00", "4.44")
    assert told["backtest"][1] == [("4.00", None), ("4.00", "4.44")]


# -- the law


MOMENTS = st.integers(0, 30 * 86_400 - 1).map(lambda second: SEPTEMBER.start + timedelta(seconds=second))
HOURS = st.integers(0, 30 * 24 - 1).map(lambda hour: f"{SEPTEMBER.start + timedelta(hours=hour):%Y-%m-%dT%H}")
BUCKETS = st.dictionaries(HOURS, st.integers(1, 2_000_000), min_size=1, max_size=4)
TIERS = [{"up_to": "90", "unit_price": "0.16"}, {"unit_price": "0.12"}]
PLANS = (
    plan(
        "pro",
        price(model="graduated", included="3", minimum="0.75", tiers=TIERS),
        price(valid_from="2026-09-12T10:30:00Z", included="5", maximum="40.00", unit_price="0.21"),
        price("public_transfer", included="1", unit_price="0.10", scope="customer"),
        base_fee="20.00",
        minimum="25.00",
    ),
    plan("plus", price(model="cost_plus", markup_percent="25"), base_fee="7.00", base_fee_scope="customer"),
)  # fmt: skip
DISCOUNT = '[[discounts]]\ncustomer = "beta"\npercent = "12.5"\n'
TAXED = "customer,name,tax_rate_percent,tax_name,tax_inclusive\nacme,Acme,21,VAT,true\nbeta,Beta,19,VAT,\n"


@dataclass(frozen=True, kw_only=True)
class Life:
    """A project's month: its start and end, its customers by time, and its usage."""

    created: datetime | None
    deleted: datetime | None
    cuts: list[datetime]
    owners: list[tuple[str, str] | None]
    compute: dict[str, int]
    transfer: dict[str, int]

    def rows(self, project):
        """Its rows of subscriptions.csv."""
        bounds = ["", *(stamp(cut) for cut in self.cuts), ""]
        spans = zip(self.owners, pairwise(bounds), strict=False)
        return "".join(f"{project},{who[0]},{who[1]},{start},{end}\n" for who, (start, end) in spans if who)

    def usage(self):
        """Its buckets within its life."""
        first = self.created and f"{self.created:%Y-%m-%dT%H}"
        last = self.deleted and f"{self.deleted:%Y-%m-%dT%H}"
        found = {}
        for metric, values in (("compute_unit_seconds", self.compute), (TRANSFER, self.transfer)):
            for hour, value in values.items():
                if (not first or hour >= first) and (not last or hour <= last):
                    found.setdefault(hour, {})[metric] = value
        return found


TRANSFER = "public_network_transfer_bytes"
OWNERS = st.sampled_from([("acme", "pro"), ("beta", "pro"), ("beta", "plus"), ("acme", "plus"), None])


@st.composite
def lives(draw):
    ends = sorted(draw(st.lists(MOMENTS, min_size=2, max_size=2, unique=True)))
    cuts = sorted(draw(st.lists(MOMENTS, max_size=2, unique=True)))
    return Life(
        created=ends[0] if draw(st.booleans()) else None,
        deleted=ends[1] if draw(st.booleans()) else None,
        cuts=cuts,
        owners=draw(st.lists(OWNERS, min_size=len(cuts) + 1, max_size=len(cuts) + 1)),
        compute=draw(BUCKETS),
        transfer={hour: value * 10**4 for hour, value in draw(BUCKETS).items()},
    )


def world(directory, found):
    """The lives of projects p0, p1, …, in a store."""
    rows = HEAD + "".join(life.rows(f"p{number}") for number, life in enumerate(found))
    config = configured(
        directory, toml(*PLANS), subscriptions=rows, customers=TAXED, more=SELLER + DISCOUNT, default_plan="pro"
    )
    books = Books(config.store.directory)
    begun = {f"p{n}": (f"p{n}", f"{life.created or SEPTEMBER.start:%Y-%m-%dT%H:%M}") for n, life in enumerate(found)}
    gone = {f"p{n}": life.deleted for n, life in enumerate(found) if life.deleted}
    with books.open() as ledger:
        books.inventory(ledger, begun, at="2026-09-30")
        usage = {f"p{number}": life.usage() for number, life in enumerate(found)}
        books.history(ledger, usage, since="2026-09-01", until="2026-10-01", at="2026-10-02T02")
        left = {project: told for project, told in begun.items() if project not in gone}
        deleted = [(project, project, f"{moment:%Y-%m-%dT%H:%M}") for project, moment in gone.items()]
        books.inventory(ledger, left, at="2026-10-02T03", deleted=deleted)
    return config, books


@settings(max_examples=2 * TIMES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(lives(), min_size=1, max_size=3))
def test_whatever_happens_in_a_month_all_that_show_it_agree_to_the_minor_unit(found):
    with tempfile.TemporaryDirectory() as directory:
        config, books = world(Path(directory), found)
        drafts = agree(config)
        waived = Waivers(unassigned="somebody else's")
        with books.open() as ledger:
            books.at = NOW
            issued = close.close(ledger, config, SEPTEMBER, NOW, waivers=waived).issued
        assert agree(dearer(config)) == drafts
        with books.open() as ledger:
            if issued:
                void(ledger, issued[0], "a wrong price", NOW)
                close.close(ledger, dearer(config), SEPTEMBER, NOW, waivers=waived)
        told = shown(config)
        assert told["overview"] == told["report"]
        assert told["backtest"][0] == told["report"][0]
