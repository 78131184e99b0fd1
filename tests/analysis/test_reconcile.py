"""Reconciliation with invoices of Neon's that were written by hand from its price list: the causes must be found."""

import json

import pytest
from click.testing import CliRunner

from metering.analysis import reconcile
from metering.analysis.neon_invoice import parse
from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.cli import cli
from metering.core.period import month_of
from metering.store import snapshots
from tests.support.books import Books, configured, when

SEPTEMBER = month_of(when("2026-09-01"))
GB = 10**9
FREE = '[[plans]]\nid = "pro"\ncurrency = "USD"\nprices = []\n'
DAYS = [f"2026-09-{day:02d}" for day in range(1, 31)]


@pytest.fixture
def ground(tmp_path):
    """Two projects on Neon's scale plan: compute, storage, transfer beyond the allowance; one deleted on the 11th."""
    found = configured(tmp_path, FREE, default_plan="pro")
    books = Books(found.store.directory)
    big = {
        "compute_unit_seconds": 36000,  # 10 CU-hours a day: 300 x 0.222 = 66.60
        "root_branch_bytes_month": GB,  # 30 GB-months x 0.35 = 10.50
        "public_network_transfer_bytes": 20 * GB,  # 600 GB, 500 included: 100 x 0.10 = 10.00
        "extra_branches_month": 24 * 30,  # 30 branches, 24 included: 6 x 24 x 30 / 744 x 1.50 = 8.71
    }
    gone = {
        "compute_unit_seconds": 3600,  # 10 CU-hours: 2.22
        "public_network_transfer_bytes": 10 * GB,  # 100 GB, all included
    }
    with books.open() as ledger:
        books.inventory(ledger, {"a": "a"}, at="2026-10-01", deleted=[("b", "b", "2026-09-11")])
        usage = {"a": dict.fromkeys(DAYS, big), "b": dict.fromkeys(DAYS[:10], gone)}
        books.history(ledger, usage, since="2026-09-01", until="2026-10-01", at="2026-10-01T02", grain="daily")
    return found


def told(ground, text=None, total=None, **more):
    found = ground.model_copy(update=more)
    now = when("2026-10-03")
    with snapshots.open_reader(found.store.directory) as reader:
        month = Month(recorded=Recorded(store=reader), terms=terms.of(found), period=SEPTEMBER, now=now)
        if text is None:
            return reconcile.by_total(month, total)
        return reconcile.by_lines(month, parse(text, "neon.csv"), "neon.csv")


def causes_of(document):
    assert sum(int(row["amount"].replace(".", "")) for row in document["causes"]) == int(
        document["difference"].replace(".", "")
    )
    return {row["cause"]: row["amount"] for row in document["causes"] if row["amount"] != "0.00"}


OURS = 6660 + 1050 + 1000 + 871 + 222


def test_the_same_total_has_no_difference(ground):
    document = told(ground, total=OURS)

    assert document["computed"] == "98.03"
    assert document["difference"] == "0.00"
    assert causes_of(document) == {}


def test_some_cents_are_rounding(ground):
    assert causes_of(told(ground, total=OURS + 7)) == {"rounding": "0.07"}  # at most 2 for each of 4 meters


def test_one_cent_more_than_rounding_may_be_the_branches_of_coarse_buckets(ground):
    # Days are known, hours are not: without an allowance the branches would cost 34.84 more.
    assert causes_of(told(ground, total=OURS + 9)) == {"granularity": "0.09"}
    assert causes_of(told(ground, total=OURS + 3484)) == {"granularity": "34.84"}
    assert causes_of(told(ground, total=OURS + 3493)) == {"unknown": "34.93"}


def test_transfer_pooled_in_the_organization(ground):
    # 600 + 100 GB less 500: 20.00 instead of 10.00.
    document = told(ground, "meter,amount\ncompute,68.82\nstorage,10.50\ntransfer,20.00\nextra branches,8.71\n")

    assert causes_of(document) == {"allowance scope": "10.00"}
    [line] = [line for line in document["lines"] if line["meter"] == "public_transfer"]
    assert line["because"] == ["the included transfer counts once per organization"]


def test_a_deleted_project_that_was_not_billed(ground):
    document = told(ground, "meter,amount\ncompute,66.60\nstorage_root,10.50\ntransfer,10.00\nextra_branches,8.71\n")

    assert causes_of(document) == {"deleted projects": "-2.22"}


def test_storage_divided_by_744_once_more(ground):
    document = told(ground, "meter,amount\ncompute,68.82\nstorage,0.01\ntransfer,10.00\nextra_branches,8.71\n")

    assert causes_of(document) == {"unit change": "-10.49"}


def test_an_organization_is_compared_with_its_own_lines(ground):
    own = "org-1,compute,68.82\norg-1,storage,10.50\norg-1,egress,10.00\norg-1,branches,8.71\n"

    document = told(ground, f"org,item,cost\n{own}org-9,compute,5.00\n")

    assert causes_of(document) == {"unknown": "5.00"}
    assert [(line["organization"], line["meter"]) for line in document["lines"] if line["causes"]] == [
        ("org-9", "compute")
    ]


def test_what_we_do_not_meter_is_unknown_and_named(ground):
    text = "item,cost\ncompute,68.82\nstorage,10.50\negress,10.00\nbranches,8.71\nSupport,29.00\n"

    document = told(ground, text)

    assert causes_of(document) == {"unknown": "29.00"}
    assert document["notes"] == ["no meter of ours is billed as 'Support'"]


def test_a_month_under_two_plans_that_was_billed_by_one(tmp_path):
    found = configured(tmp_path, FREE, default_plan="pro")
    books = Books(found.store.directory)
    bucket = {"compute_unit_seconds": 36000}
    with books.open() as ledger:
        books.inventory(ledger, {"a": "a"}, at="2026-10-01")
        first, second = (dict.fromkeys(days, bucket) for days in (DAYS[:10], DAYS[10:]))
        books.history(ledger, {"a": first}, since="2026-09-01", until="2026-09-11", at="2026-10-01T02", grain="daily",
                      plan="launch", period_start="2026-01-01")  # fmt: skip
        books.history(ledger, {"a": second}, since="2026-09-11", until="2026-10-01", at="2026-10-01T03", grain="daily",
                      plan="scale", period_start="2026-09-11")  # fmt: skip

    # 100 CU-hours at 0.106 and 200 at 0.222 are 55.00; all of them at 0.222 are 66.60.
    document = told(found, total=6660)

    assert document["computed"] == "55.00"
    assert causes_of(document) == {"plan change": "11.60"}
    assert document["lines"][0]["because"] == ["the whole month is billed by the plan scale"]


def test_hours_that_are_not_covered_are_told(tmp_path):
    found = configured(tmp_path, FREE, default_plan="pro")
    books = Books(found.store.directory)
    with books.open() as ledger:
        books.inventory(ledger, {"a": "a"}, at="2026-10-01")
        books.history(ledger, {"a": {}}, since="2026-09-02", until="2026-10-01", at="2026-10-01T02", grain="daily")

    document = told(found, total=100)

    assert document["notes"] == ["only 696 of 720 hours are covered: our cost is too low"]
    assert causes_of(document) == {"unknown": "1.00"}


def test_the_command_reads_a_file_or_a_total(ground, tmp_path):
    file = tmp_path / "neon.csv"
    file.write_text("meter,amount\ncompute,68.82\nstorage,10.50\ntransfer,20.00\nextra branches,8.71\n")
    clock = {"METERING_NOW": "2026-10-03T00:00:00Z"}
    given = ["reconcile", "2026-09", "--config", str(ground.path)]

    by_file = CliRunner().invoke(cli, [*given, "--invoice", str(file)], env=clock)
    by_total = CliRunner().invoke(cli, [*given, "--total", "$98.03", "--format", "table"], env=clock)

    assert causes_of(json.loads(by_file.stdout)) == {"allowance scope": "10.00"}
    assert by_total.stdout.splitlines()[-1].split()[:4] == ["total", "98.03", "98.03", "0.00"]
    assert CliRunner().invoke(cli, given, env=clock).exit_code == 2
