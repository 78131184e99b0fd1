"""One month and one store give one result: report, overview, backtest, cost, reconciliation and forecast agree.

What Neon charges for a bucket belongs to whoever the bucket's usage belongs to: to what is in force at its start, else
to the first that begins inside it. Neon's plan is scale here: 0.222 per CU-hour.
"""

from fractions import Fraction

import pytest
from books import Books, configured, when
from card import plan, price, toml

from metering import close, explain, store, terms
from metering.month import Month
from metering.period import month_of

SEPTEMBER = month_of(when("2026-09-01"))
NOW = when("2026-10-05")
HEAD = "project_id,customer,plan,valid_from,valid_to\n"
TEN_HOURS = {"compute_unit_seconds": 36_000}
PRO = plan("pro", price(unit_price="0.20"), base_fee="0")
MARKED_UP = plan("pro", price(model="cost_plus", markup_percent="25"), base_fee="0")


def lived(directory, usage, *, rows="", plans=(PRO,), created="2026-01-01", grain="hourly", names=None):
    """September read as a whole: `usage` by project and bucket; `created`: when project a was."""
    found = configured(directory, toml(*plans), subscriptions=HEAD + rows if rows else "", default_plan="pro")
    books = Books(found.store.directory)
    listed = names or {"a": ("a", created)}
    with books.open() as ledger:
        books.inventory(ledger, listed, at="2026-09-30")
        books.history(ledger, usage, since="2026-09-01", until="2026-10-01", at="2026-10-02T02", grain=grain)
        books.inventory(ledger, listed, at="2026-10-02T03")
    return found


def costs(found):
    """(customer, amount in USD) of every row of September's cost."""
    with store.open_reader(found.store.directory) as reader:
        month = Month(store=reader, terms=terms.of(found), period=SEPTEMBER, now=NOW)
        return [(row["customer"], row["amount"]) for row in month.cost.rows]


def amounts(found):
    """(customer, amount) of every line of September's drafts."""
    with store.open_reader(found.store.directory) as reader:
        drafts = close.month_invoices(reader, found, SEPTEMBER, NOW)["invoices"]
    return [(draft["customer"]["id"], line["amount"]) for draft in drafts for line in draft["lines"]]


@pytest.mark.parametrize(
    ("grain", "bucket"), [("hourly", "2026-09-10T14"), ("daily", "2026-09-10"), ("hourly", "2026-09-10T15")]
)
def test_the_cost_of_the_bucket_in_which_a_project_began_is_its_customers(tmp_path, grain, bucket):
    found = lived(tmp_path, {"a": {bucket: TEN_HOURS}}, created="2026-09-10T14:30", grain=grain)

    assert costs(found) == [("a", "2.22")]


def test_the_cost_of_the_bucket_in_which_a_customer_began_is_that_customers_where_nobody_was_before(tmp_path):
    found = lived(tmp_path, {"a": {"2026-09-10T14": TEN_HOURS}}, rows="a,acme,pro,2026-09-10T14:59:59Z,\n")

    assert costs(found) == [("acme", "2.22")]


def test_the_cost_of_a_bucket_before_the_customers_first_is_nobodys(tmp_path):
    usage = {"a": {"2026-09-10T13": TEN_HOURS, "2026-09-10T14": TEN_HOURS}}
    found = lived(tmp_path, usage, rows="a,acme,pro,2026-09-10T14:00:00Z,\n")

    assert costs(found) == [(None, "2.22"), ("acme", "2.22")]


def test_the_cost_of_a_bucket_in_which_a_project_moved_stays_with_whom_it_began(tmp_path):
    rows = "a,acme,pro,,2026-09-10T14:30:00Z\na,beta,pro,2026-09-10T14:30:00Z,\n"
    found = lived(tmp_path, {"a": {"2026-09-10T14": TEN_HOURS, "2026-09-10T15": TEN_HOURS}}, rows=rows)

    assert costs(found) == [("acme", "2.22"), ("beta", "2.22")]


def test_the_cost_of_a_bucket_in_which_two_began_is_the_first_ones(tmp_path):
    rows = "a,acme,pro,2026-09-10T14:10:00Z,2026-09-10T14:20:00Z\na,beta,pro,2026-09-10T14:30:00Z,\n"
    found = lived(tmp_path, {"a": {"2026-09-10T14": TEN_HOURS, "2026-09-10T15": TEN_HOURS}}, rows=rows)

    assert costs(found) == [("acme", "2.22"), ("beta", "2.22")]


def test_a_markup_counts_the_bucket_in_which_the_project_began(tmp_path):
    usage = {"a": {"2026-09-10T14": TEN_HOURS, "2026-09-10T15": TEN_HOURS}}
    found = lived(tmp_path, usage, plans=(MARKED_UP,), created="2026-09-10T14:30")

    assert amounts(found) == [("a", "5.55")]  # 20 CU-hours x 0.222 x 1.25


def test_a_markup_by_the_day_counts_the_day_in_which_the_project_began(tmp_path):
    usage = {"a": {"2026-09-10": TEN_HOURS, "2026-09-11": TEN_HOURS}}
    found = lived(tmp_path, usage, plans=(MARKED_UP,), created="2026-09-10T14:30", grain="daily")

    assert amounts(found) == [("a", "5.55")]


def test_a_markup_that_begins_inside_a_bucket_counts_it_where_no_price_was_before(tmp_path):
    later = plan("pro", price(model="cost_plus", markup_percent="25", valid_from="2026-09-10T14:30:00Z"), base_fee="0")
    found = lived(tmp_path, {"a": {"2026-09-10T14": TEN_HOURS, "2026-09-10T13": TEN_HOURS}}, plans=(later,))

    assert amounts(found) == [("a", "2.78")]  # 10 CU-hours; those of the hour before have no price


def test_the_explanation_of_a_markup_shows_the_bucket_in_which_the_project_began(tmp_path):
    found = lived(tmp_path, {"a": {"2026-09-10T14": TEN_HOURS}}, plans=(MARKED_UP,), created="2026-09-10T14:30")
    with store.open_reader(found.store.directory) as reader:
        month = Month(store=reader, terms=terms.of(found), period=SEPTEMBER, now=NOW)
        [draft] = close.month_invoices(reader, found, SEPTEMBER, NOW)["invoices"]
        [line] = [line for line in draft["lines"] if line["kind"] == "usage"]
        told = explain.of_draft(month, draft, line["key"])

    assert [(row["used"], row["amount"]) for row in told["arithmetic"]["neon"]] == [("10", "2.22")]
    assert Fraction(line["amount"]) == Fraction("2.78")
