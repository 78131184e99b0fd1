"""An auditor's test: every explained line is computed again from its JSON alone, and one is traced to its raw page."""

import hashlib
import json
from collections import defaultdict
from datetime import datetime, timedelta
from fractions import Fraction

import pytest
from click.testing import CliRunner

from metering.cli import cli
from metering.core.errors import MeteringError
from metering.core.period import month_of
from metering.explain import explain
from metering.explain import text as explain_text
from metering.invoicing import close
from metering.invoicing.amending.voiding import void
from metering.invoicing.blockers import Waivers
from metering.store import journal, snapshots
from tests.support.books import Books, configured, when

SEPTEMBER = month_of(when("2026-09-01"))
CLOSED_AT = "2026-10-03"
PRO = """
[[plans]]
id = "pro"
currency = "USD"
base_fee = "20.00"
[[plans.prices]]
meter = "compute"
valid_from = 2026-01-01
"""
TIERS = """[
    { up_to = "1000", unit_price = "0.16", flat_fee = "1.5" },
    { up_to = "2000", unit_price = "0.12" },
    { unit_price = "0.07" },
]"""


def hours(value, first="2026-09-01T00", count=720):
    """The same value in hour after hour."""
    return {
        (when(first) + timedelta(hours=n)).strftime("%Y-%m-%dT%H"): value
        if isinstance(value, dict)
        else {COMPUTE: value}
        for n in range(count)
    }


COMPUTE = "compute_unit_seconds"


def closed(directory, plans, usage, *, projects=None, late=None, deleted=(), **more):
    """September closed over hourly usage; returns (configuration, {line key: explanation})."""
    found = configured(directory, plans, **more)
    books = Books(found.store.directory)
    with books.open() as ledger:
        books.inventory(ledger, projects or dict.fromkeys(usage, "acme"), at="2026-10-01", deleted=deleted)
        books.history(ledger, usage, since="2026-09-01", until="2026-10-01", at="2026-10-01T02")
        if late:
            books.history(ledger, {**usage, **late}, since="2026-09-01", until="2026-10-01", at="2026-10-01T03")
        books.at = when(CLOSED_AT)
        close.close(ledger, found, SEPTEMBER, books.at, waivers=Waivers(unassigned="ours"))
    with snapshots.open_reader(found.store.directory) as reader:
        numbers = reader.connection.execute("select number from invoice order by number").fetchall()
        told = {}
        for (number,) in numbers:
            for line in explain.explain(reader, number)["lines"]:
                told[line["key"]] = explain.explain(reader, number, line["key"])
    # What an auditor gets is text.
    return found, json.loads(json.dumps(told))


def one_subscription(plan="pro", customer="acme", project="a"):
    return f"project_id,customer,plan,valid_from,valid_to\n{project},{customer},{plan},,\n"


# -- the auditor: fractions and the JSON, nothing of ours


def audited(told):
    """The line's amount in minor units, computed from the explanation alone."""
    arithmetic = told["arithmetic"]
    by_model = {
        "base_fee": audited_fee,
        "plan_minimum": audited_minimum,
        "bounds": audited_bounds,
        "flat_fee_at_zero": audited_idle_fee,
    }
    return by_model.get(arithmetic["model"], audited_usage)(told)


def cents(exact, rounding):
    """Rounds to the currency's digits, half away from zero or half to even."""
    scaled = abs(exact) * 10 ** rounding["digits"]
    whole, rest = scaled.numerator // scaled.denominator, scaled % 1
    up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and (rounding["mode"] == "half_up" or whole % 2 == 1))
    return (whole + up) * (-1 if exact < 0 else 1)


def minor(text, rounding):
    found = Fraction(text) * 10 ** rounding["digits"]
    assert found.denominator == 1
    return int(found)


def audited_fee(told):
    arithmetic = told["arithmetic"]
    due = seconds = 0
    amount = None
    for span in arithmetic["spans"]:
        length = parsed(span["counted_to"]) - parsed(span["counted_from"])
        assert Fraction(span["seconds"]) == length.total_seconds()
        seconds += int(length.total_seconds())
        exact = Fraction(arithmetic["base_fee"]) * Fraction(seconds, int(arithmetic["month_seconds"]))
        assert exact == Fraction(span["exact_so_far"])
        amount = cents(exact, arithmetic["rounding"]) - due
        due += amount
    return amount


def audited_minimum(told):
    arithmetic = told["arithmetic"]
    charged = sum(minor(line["amount"], arithmetic["rounding"]) for line in arithmetic["lines"])
    share = Fraction(int(arithmetic["seconds"]), int(arithmetic["of_seconds"]))
    return cents(Fraction(arithmetic["minimum"]) * share, arithmetic["rounding"]) - charged


def audited_bounds(told):
    """What the sum of the lines lacks to the minimums by their time, then to the maximum."""
    arithmetic = told["arithmetic"]
    rounding = arithmetic["rounding"]
    charged = due = sum(minor(line["amount"], rounding) for line in arithmetic["lines"])
    parts = [Fraction(row["minimum"]) * int(row["seconds"]) / int(row["of_seconds"]) for row in arithmetic["minimums"]]
    if parts:
        due = max(due, cents(sum(parts), rounding))
    if arithmetic["maximum"] is not None:
        due = min(due, minor(arithmetic["maximum"], rounding))
    return due - charged


def audited_idle_fee(told):
    arithmetic = told["arithmetic"]
    share = Fraction(int(arithmetic["seconds"]), int(arithmetic["of_seconds"]))
    return cents(Fraction(arithmetic["flat_fee"]) * share, arithmetic["rounding"])


def parsed(text):
    return datetime.fromisoformat(text)


def audited_usage(told):
    arithmetic = told["arithmetic"]
    price, quantities = arithmetic["price"], []
    for stretch in arithmetic["stretches"]:
        quantities.append(audited_stretch(told, stretch))
    after, before = sum(quantities), sum(quantities[:-1])
    assert (after, before) == (Fraction(arithmetic["used_after"]), Fraction(arithmetic["used_before"]))
    share = Fraction(1)
    if arithmetic["allowance"]:
        share = Fraction(int(arithmetic["allowance"]["share_seconds"]), int(arithmetic["allowance"]["month_seconds"]))
    allowance = Fraction(price["included"]) * share
    is_flat = told["line"]["kind"] == "flat_fee"
    now, then = (by_tier(price, max(Fraction(0), used - allowance), is_flat) for used in (after, before))
    lines = [(q1 - q0, a1 - a0) for (q1, a1), (q0, a0) in zip(now, then, strict=True)]
    rounding = arithmetic["rounding"]
    quantity, amount = lines[arithmetic["tier"] - 1]
    assert quantity == Fraction(arithmetic["quantity"])
    assert amount == Fraction(arithmetic["exact"])
    return cents(amount, rounding)


def audited_stretch(told, stretch):
    """The stretch's quantity from the observations; its own sums must say the same."""
    [*rows] = [row for row in told["observations"] if row["stretch"] == stretch["stretch"]]
    total = Fraction(0)
    for value in stretch["values"]:
        mine = [row for row in rows if row["metric"] in value["metrics"]]
        assert sum(int(row["value"]) for row in mine) == int(value["value"])
        units = Fraction(value["value"])
        if "included_per_hour" in value:
            per_hour = defaultdict(int)
            for row in mine:
                per_hour[row["project_id"], row["timeframe_start"], row["timeframe_end"]] += int(row["value"])
            units = sum(
                max(
                    Fraction(0),
                    used - Fraction(value["included_per_hour"]) * ((parsed(end) - parsed(start)) // timedelta(hours=1)),
                )
                for (_, start, end), used in per_hour.items()
            )
            assert units == Fraction(value["beyond"])
        total += units / Fraction(value["divisor"])
    assert total == Fraction(stretch["quantity"])
    return total


def by_tier(price, quantity, is_flat):
    """[(quantity, amount)] of every tier, or of its flat fee."""
    if price["model"] == "package":
        packages = -(-quantity // Fraction(price["package_size"]))
        return [(quantity, packages * Fraction(price["package_price"]))]
    tiers = price["tiers"] or [{"up_to": None, "unit_price": price["unit_price"], "flat_fee": "0"}]
    out, low = [], Fraction(0)
    for tier in tiers:
        high = Fraction(tier["up_to"]) if tier["up_to"] is not None else None
        entered = quantity > low
        inside = max(Fraction(0), (quantity if high is None else min(quantity, high)) - low)
        if price["model"] == "volume":
            is_here = entered and (high is None or quantity <= high)
            entered, inside = is_here, quantity if is_here else Fraction(0)
        fees = Fraction(1 if entered else 0)
        out.append(
            (fees, fees * Fraction(tier["flat_fee"])) if is_flat else (inside, inside * Fraction(tier["unit_price"]))
        )
        low = high if high is not None else low
    return out


def assert_audited(told, *models):
    """Every line agrees, and the auditor comes to its amount; `models` are among them."""
    assert told
    for key, one in told.items():
        assert one["agrees"], key
        assert audited(one) == minor(one["line"]["amount"], one["arithmetic"]["rounding"]), key
    assert set(models) <= {one["arithmetic"]["model"] for one in told.values()}


# -- the cases


def test_base_fee_and_per_unit(tmp_path):
    _, told = closed(
        tmp_path, PRO + 'model = "per_unit"\nunit_price = "0.35"\n', {"a": hours(7)}, subscriptions=one_subscription()
    )

    assert_audited(told, "base_fee", "per_unit")
    assert told["a/compute/pro/2026-09-01T00:00:00Z/1"]["line"]["amount"] == "0.49"  # 5040 s = 1.4 h


def test_graduated_over_several_tiers_with_an_allowance(tmp_path):
    plans = PRO + f'model = "graduated"\nincluded = "100"\ntiers = {TIERS}\n'

    _, told = closed(tmp_path, plans, {"a": hours(4 * 3600 + 1)}, subscriptions=one_subscription())

    assert_audited(told, "graduated")
    assert sorted(key.split("/", 1)[1] for key in told if "compute" in key) == [
        f"compute/pro/2026-09-01T00:00:00Z/{tier}" for tier in ("1", "1/flat", "2", "3")
    ]


def test_a_price_change_inside_the_month_goes_on_from_what_was_used_before(tmp_path):
    plans = (
        PRO
        + f'model = "graduated"\nincluded = "100"\ntiers = {TIERS}\n'
        + '[[plans.prices]]\nmeter = "compute"\nvalid_from = 2026-09-11T06:30:00Z\nmodel = "graduated"\n'
        + 'included = "150"\ntiers = [{ up_to = "500", unit_price = "0.20" }, { unit_price = "0.1" }]\n'
    )

    _, told = closed(tmp_path, plans, {"a": hours(3601)}, subscriptions=one_subscription())

    assert_audited(told, "graduated")
    later = told["a/compute/pro/2026-09-11T06:30:00Z/1"]
    assert [stretch["is_of_this_line"] for stretch in later["arithmetic"]["stretches"]] == [False, True]
    assert {row["stretch"] for row in later["observations"]} == {1, 2}


def test_a_plan_change_at_any_second_shares_fee_and_allowance(tmp_path):
    plans = (
        PRO
        + 'model = "per_unit"\nincluded = "10"\nunit_price = "0.35"\n'
        + """
[[plans]]
id = "team"
currency = "USD"
base_fee = "50.00"
[[plans.prices]]
meter = "compute"
valid_from = 2026-01-01
model = "per_unit"
included = "30"
unit_price = "0.30"
"""
    )
    rows = (
        "project_id,customer,plan,valid_from,valid_to\n"
        "a,acme,pro,,2026-09-11T06:30:01Z\na,acme,team,2026-09-11T06:30:01Z,2026-09-21\na,acme,pro,2026-09-21,\n"
    )

    _, told = closed(tmp_path, plans, {"a": hours(3601)}, subscriptions=rows)

    assert_audited(told, "base_fee", "per_unit")
    assert told["a/compute/team/2026-09-11T06:30:01Z/1"]["arithmetic"]["allowance"]["share_seconds"] == "840599"
    fees = [Fraction(one["line"]["amount"]) for one in told.values() if one["arithmetic"]["model"] == "base_fee"]
    assert len(fees) == 3


def test_an_allowance_per_hour_is_never_pooled(tmp_path):
    plans = """
[[plans]]
id = "pro"
currency = "USD"
[[plans.prices]]
meter = "extra_branches"
valid_from = 2026-01-01
model = "per_unit"
included_per_hour = "9"
unit_price = "1.50"
"""
    usage = {**hours({"extra_branches_month": 4}), **hours({"extra_branches_month": 12}, "2026-09-05T00", 100)}

    _, told = closed(tmp_path, plans, {"a": usage}, subscriptions=one_subscription())

    assert_audited(told, "per_unit")
    [one] = told.values()
    assert one["arithmetic"]["stretches"][0]["values"][0]["beyond"] == "300"
    assert one["line"]["amount"] == "0.60"  # 300 / 744 x 1.50


@pytest.mark.parametrize("value", [36000, 36001])
def test_a_started_package_is_a_full_package(tmp_path, value):
    plans = PRO + 'model = "package"\nincluded = "1"\npackage_size = "10"\npackage_price = "3.00"\n'

    _, told = closed(
        tmp_path, plans, {"a": {"2026-09-02T00": {COMPUTE: value + 3600}}}, subscriptions=one_subscription()
    )

    assert_audited(told, "package")
    assert told["a/compute/pro/2026-09-01T00:00:00Z/1"]["line"]["amount"] == {36000: "3.00", 36001: "6.00"}[value]


def test_volume_prices_all_by_the_tier_that_holds_it(tmp_path):
    plans = PRO + f'model = "volume"\nincluded = "0.5"\ntiers = {TIERS}\n'

    _, told = closed(tmp_path, plans, {"a": hours(5555)}, subscriptions=one_subscription())

    assert_audited(told, "volume")


def test_scope_customer_adds_up_all_projects_of_a_customer(tmp_path):
    plans = PRO + f'model = "graduated"\nscope = "customer"\nincluded = "100"\ntiers = {TIERS}\n'
    rows = (
        "project_id,customer,plan,valid_from,valid_to\na,acme,pro,,2026-09-21\nb,acme,pro,2026-09-11,\nx,other,pro,,\n"
    )

    _, told = closed(tmp_path, plans, {"a": hours(3601), "b": hours(7200), "x": hours(9)}, subscriptions=rows)

    assert_audited(told, "graduated")
    pooled = told["acme/compute/pro/2026-09-01T00:00:00Z/1"]
    assert {row["project_id"] for row in pooled["observations"]} == {"a", "b"}
    assert pooled["arithmetic"]["allowance"]["share"] == "1"
    assert len(pooled["line"]["projects"]) == 2
    for one in (one for one in told.values() if "projects" in one["line"]):
        assert audited_parts(one) == {part["project_id"]: part["amount"] for part in one["line"]["projects"]}


def audited_parts(told):
    """What each project has in a customer's line, from the observations: by largest remainder, ties to the first."""
    [stretch] = [row for row in told["arithmetic"]["stretches"] if row["is_of_this_line"]]
    used = defaultdict(int)
    for row in told["observations"]:
        if row["stretch"] == stretch["stretch"]:
            used[row["project_id"]] += int(row["value"])
    digits = told["arithmetic"]["rounding"]["digits"]
    whole = minor(told["line"]["amount"], told["arithmetic"]["rounding"])
    exact = {project: Fraction(whole * value, sum(used.values())) for project, value in sorted(used.items())}
    parts = {project: part.numerator // part.denominator for project, part in exact.items()}
    left = whole - sum(parts.values())
    for project in sorted(exact, key=lambda project: (parts[project] - exact[project], project))[:left]:
        parts[project] += 1
    return {project: f"{part / 10**digits:.{digits}f}" for project, part in parts.items()}


@pytest.mark.parametrize("bounds", ['minimum = "9.99"', 'maximum = "0.30"', 'minimum = "3"\nmaximum = "3"'])
def test_a_minimum_and_a_maximum_of_a_price_over_a_price_change(tmp_path, bounds):
    rest = f'model = "graduated"\ntiers = {TIERS}\n{bounds}\n'
    plans = PRO + rest + f'[[plans.prices]]\nmeter = "compute"\nvalid_from = 2026-09-11\n{rest}'

    _, told = closed(tmp_path, plans, {"a": hours(7)}, subscriptions=one_subscription())

    assert_audited(told, "graduated")
    assert [one["arithmetic"]["model"] for one in told.values()].count("bounds") == 1


def test_a_plans_minimum_is_what_its_lines_lack(tmp_path):
    plans = (
        PRO.replace('base_fee = "20.00"', 'base_fee = "20.00"\nminimum = "50"')
        + 'model = "per_unit"\nunit_price = "0.35"\n'
    )

    _, told = closed(tmp_path, plans, {"a": hours(7)}, subscriptions=one_subscription())

    assert_audited(told, "plan_minimum")
    assert told["acme/minimum/pro/2026-09-01T00:00:00Z/1"]["line"]["amount"] == "29.51"


def test_a_base_fee_of_a_customer_counts_the_union_of_its_projects_time(tmp_path):
    plans = (
        PRO.replace('base_fee = "20.00"', 'base_fee = "20.00"\nbase_fee_scope = "customer"')
        + 'model = "per_unit"\nunit_price = "0.35"\n'
    )
    rows = (
        "project_id,customer,plan,valid_from,valid_to\n"
        "a,acme,pro,,2026-09-11\nb,acme,pro,2026-09-05,2026-09-15\na,acme,pro,2026-09-20,\n"
    )

    _, told = closed(tmp_path, plans, {"a": hours(7), "b": hours(7)}, subscriptions=rows)

    assert_audited(told, "base_fee")


def test_a_meter_of_two_metrics_adds_their_values(tmp_path):
    plans = PRO.replace('meter = "compute"', 'meter = "storage"') + 'model = "per_unit"\nunit_price = "0.35"\n'
    usage = hours({"root_branch_bytes_month": 10**9 + 1, "child_branch_bytes_month": 7})

    _, told = closed(tmp_path, plans, {"a": usage}, subscriptions=one_subscription())

    assert_audited(told, "per_unit")
    one = told["a/storage/pro/2026-09-01T00:00:00Z/1"]
    assert [row["metrics"] for row in one["arithmetic"]["stretches"][0]["values"]] == [
        ["child_branch_bytes_month"],
        ["root_branch_bytes_month"],
    ]


def test_a_revised_hour_tells_every_value_that_was_seen_and_its_page(tmp_path):
    plans = PRO + 'model = "per_unit"\nunit_price = "0.35"\n'
    later = {**hours(3600), "2026-09-02T05": {COMPUTE: 1800}}
    del later["2026-09-02T06"]

    _, told = closed(tmp_path, plans, {"a": hours(3600)}, late={"a": later}, subscriptions=one_subscription())

    assert_audited(told, "per_unit")
    rows = {row["timeframe_start"]: row for row in told["a/compute/pro/2026-09-01T00:00:00Z/1"]["observations"]}
    lowered, gone, still = (rows[f"2026-09-02T0{hour}:00:00Z"] for hour in (5, 6, 7))
    assert (lowered["value"], lowered["revision"], lowered["earlier"][0]["value"]) == ("1800", 2, "3600")
    assert (gone["value"], gone["revision"]) == ("0", 2)
    assert (still["value"], still["revision"], still["earlier"]) == ("3600", 1, [])


def test_an_observation_leads_to_the_raw_page_in_the_journal(tmp_path):
    plans = PRO + 'model = "per_unit"\nunit_price = "0.35"\n'
    late = {"a": {**hours(3600), "2026-09-02T05": {COMPUTE: 1800}}}

    found, told = closed(tmp_path, plans, {"a": hours(3600)}, late=late, subscriptions=one_subscription())

    row = next(
        row
        for row in told["a/compute/pro/2026-09-01T00:00:00Z/1"]["observations"]
        if row["timeframe_start"] == "2026-09-02T05:00:00Z"
    )
    for seen in (row, *row["earlier"]):
        record = next(r for r in journal.read(found.store.directory / "journal") if r.seq == seen["seq"])
        assert hashlib.sha256(record.body).hexdigest() == seen["sha256"]
        assert record.data["request_id"] == seen["request_id"]
        assert record.data["received_at"] == seen["received_at"]
        page = json.loads(record.body)
        [bucket] = [
            bucket
            for project in page["projects"]
            for period in project["periods"]
            for bucket in period["consumption"]
            if project["project_id"] == row["project_id"] and bucket["timeframe_start"] == row["timeframe_start"]
        ]
        assert {"metric_name": COMPUTE, "value": int(seen["value"])} in bucket["metrics"]


def test_daily_buckets_are_told_as_such(tmp_path):
    found = configured(tmp_path, PRO + 'model = "per_unit"\nunit_price = "0.35"\n', subscriptions=one_subscription())
    books = Books(found.store.directory)
    days = {f"2026-09-{day:02d}": {COMPUTE: 3600} for day in range(1, 31)}
    with books.open() as ledger:
        books.inventory(ledger, {"a": "acme"}, at="2026-10-01")
        books.history(ledger, {"a": days}, since="2026-09-01", until="2026-10-01", at="2026-10-01T02", grain="daily")
        books.at = when(CLOSED_AT)
        close.close(ledger, found, SEPTEMBER, books.at)
    with snapshots.open_reader(found.store.directory) as reader:
        told = {"1": explain.explain(reader, "INV-2026-000001", "2")}

    assert_audited(told, "per_unit")
    assert {row["grain"] for row in told["1"]["observations"]} == {"daily"}
    assert len(told["1"]["observations"]) == 30


def test_cost_plus_shows_what_neon_charges(tmp_path):
    plans = PRO + 'model = "cost_plus"\nmarkup_percent = "25"\n'

    _, told = closed(tmp_path, plans, {"a": hours(3600)}, subscriptions=one_subscription())

    one = told["a/compute/pro/2026-09-01T00:00:00Z/1"]
    [tier] = one["arithmetic"]["tiers"]
    assert one["agrees"]
    assert Fraction(tier["cost_after"]) == 720 * Fraction("0.222")
    assert Fraction(one["arithmetic"]["exact"]) == 720 * Fraction("0.222") * Fraction(5, 4)
    assert one["line"]["amount"] == "199.80"


def test_the_terms_frozen_at_closing_explain_the_line_whatever_the_configuration_says_now(tmp_path):
    plans = PRO + 'model = "per_unit"\nunit_price = "0.35"\n'
    found, before = closed(tmp_path, plans, {"a": hours(7)}, subscriptions=one_subscription())
    books = Books(found.store.directory)
    books.walks = 100
    with books.open() as ledger:
        books.history(ledger, {"a": hours(8)}, since="2026-09-01", until="2026-10-01", at="2026-10-04")

    with snapshots.open_reader(found.store.directory) as reader:
        after = {key: explain.explain(reader, "INV-2026-000001", key) for key in before}

    assert after == before


def test_lines_are_named_by_key_or_number_and_unknown_ones_are_refused(tmp_path):
    found, told = closed(
        tmp_path, PRO + 'model = "per_unit"\nunit_price = "0.35"\n', {"a": hours(7)}, subscriptions=one_subscription()
    )

    with snapshots.open_reader(found.store.directory) as reader:
        whole = explain.explain(reader, "INV-2026-000001")
        assert [line["line"] for line in whole["lines"]] == [1, 2]
        assert explain.explain(reader, "INV-2026-000001", "2") == told[whole["lines"][1]["key"]]
        for name in ("0", "3", "nothing"):
            with pytest.raises(MeteringError, match="has no line"):
                explain.explain(reader, "INV-2026-000001", name)
        with pytest.raises(MeteringError, match="INV-2026-000009"):
            explain.explain(reader, "INV-2026-000009")


def test_the_text_fits_110_columns_and_says_every_step(tmp_path):
    plans = PRO + f'model = "graduated"\nincluded = "100"\ntiers = {TIERS}\n'
    _, told = closed(tmp_path, plans, {"a": hours(4 * 3600 + 1)}, subscriptions=one_subscription())

    for one in told.values():
        assert all(len(line) <= 110 for line in explain_text.table(one).splitlines())
    text = explain_text.table(told["a/compute/pro/2026-09-01T00:00:00Z/3"])
    for words in (
        "compute_unit_seconds: 720 buckets, together 10368720",
        "10368720 ÷ 3600 = 2880.2 CU-hour",
        "allowance: 100 CU-hour × 2592000 of 2592000 seconds of the month = 100",
        "tier 3 (above 2000, without end): 780.2 CU-hour",
        "780.2 × 0.07 = 54.614",
        "rounded once, half away from zero, to 2 digits: 54.61 USD",
        "agrees with the printed line",
    ):
        assert words in text


def test_an_adjustment_shows_both_ratings_and_every_step_of_the_second(tmp_path):
    plans = PRO.replace("20.00", "100.00") + f'model = "volume"\ntiers = {TIERS}\n'
    found = configured(tmp_path, plans, subscriptions=one_subscription())
    books = Books(found.store.directory)
    with books.open() as ledger:
        books.inventory(ledger, {"a": "acme"}, at="2026-10-01")
        books.history(ledger, {"a": hours(5000)}, since="2026-09-01", until="2026-10-01", at="2026-10-01T02")
        books.at = when(CLOSED_AT)
        close.close(ledger, found, SEPTEMBER, books.at)
        # 1000 CU-hours become 1000.0002...: the cheaper tier prices all of it.
        late = {**hours(5000), "2026-09-30T23": {COMPUTE: 5001}}
        books.history(ledger, {"a": late}, since="2026-09-01", until="2026-10-01", at="2026-10-04")
        october = hours(0, "2026-10-01T00", 744)
        books.inventory(ledger, {"a": "acme"}, at="2026-11-01")
        books.history(ledger, {"a": october}, since="2026-10-01", until="2026-11-01", at="2026-11-01T02")
        books.at = when("2026-11-03")
        close.close(ledger, found, month_of(when("2026-10-01")), books.at)
    with snapshots.open_reader(found.store.directory) as reader:
        number = "INV-2026-000002"
        [line] = [one for one in explain.explain(reader, number)["lines"] if one["kind"] == "adjustment"]
        told = json.loads(json.dumps(explain.explain(reader, number, line["key"])))

    assert told["agrees"]
    adjustment = told["adjustment"]
    assert [one["amount"] for one in adjustment["billed"]["lines"]] == ["160.00", "1.50"]  # 1000 x 0.16
    assert {one["number"] for one in adjustment["billed"]["lines"]} == {"INV-2026-000001"}
    again = {one["line"]["key"]: one for one in adjustment["rerated"]["lines"]}
    assert_audited(again, "volume")
    rounding = {"digits": 2}
    rerated = sum(audited(one) for one in again.values())
    assert rerated == 12000
    assert minor(line["amount"], rounding) == rerated - 16150
    [last] = [
        row
        for row in again["a/compute/pro/2026-09-01T00:00:00Z/2"]["observations"]
        if row["timeframe_start"] == "2026-09-30T23:00:00Z"
    ]
    assert (last["value"], last["revision"], last["earlier"][0]["value"]) == ("5001", 2, "5000")
    text = explain_text.table(told)
    assert "2026-09 rated again: 120.00" in text
    assert "120.00 − 161.50 = -41.50" in text
    assert all(len(row) <= 110 for row in text.splitlines())


def test_a_credit_note_names_what_it_cancels_and_the_void_invoice_stays_explained(tmp_path):
    plans = PRO + 'model = "per_unit"\nunit_price = "0.35"\n'
    found, before = closed(tmp_path, plans, {"a": hours(7)}, subscriptions=one_subscription())
    books = Books(found.store.directory)
    books.at = when("2026-10-05")
    with books.open() as ledger:
        note = void(ledger, "INV-2026-000001", "wrong price", books.at).invoice

    with snapshots.open_reader(found.store.directory) as reader:
        told = explain.explain(reader, note.number)
        after = {key: explain.explain(reader, "INV-2026-000001", key) for key in before}

    assert (told["credits"], told["reason"]) == ("INV-2026-000001", "wrong price")
    assert "cancels INV-2026-000001" in told["steps"][0]
    assert "credits INV-2026-000001: wrong price" in explain_text.table(told)
    assert all(one["agrees"] and one["status"] == "void" for one in after.values())


def test_the_command_prints_json_when_piped_and_a_table_when_asked(tmp_path):
    found, told = closed(
        tmp_path, PRO + 'model = "per_unit"\nunit_price = "0.35"\n', {"a": hours(7)}, subscriptions=one_subscription()
    )
    key = "a/compute/pro/2026-09-01T00:00:00Z/1"

    piped = CliRunner().invoke(cli, ["explain", "INV-2026-000001", key, "--config", str(found.path)])
    table = CliRunner().invoke(
        cli, ["explain", "INV-2026-000001", "2", "--format", "table", "--config", str(found.path)]
    )

    assert json.loads(piped.stdout) == told[key]
    assert table.stdout == explain_text.table(told[key]) + "\n"
    assert (piped.exit_code, table.exit_code, piped.stderr) == (0, 0, "")


def test_a_draft_is_explained_by_its_customer_and_month(tmp_path):
    plans = PRO + 'model = "per_unit"\nunit_price = "0.35"\n'
    found = configured(tmp_path, plans, subscriptions=one_subscription())
    books = Books(found.store.directory)
    with books.open() as ledger:
        books.inventory(ledger, {"a": "acme"}, at="2026-10-01")
        books.history(ledger, {"a": hours(3600)}, since="2026-09-01", until="2026-10-01", at="2026-10-01T02")

    def run(*arguments):
        environment = {"METERING_NOW": "2026-10-02T00:00:00Z"}
        given = ["explain", *arguments, "--month", "2026-09", "--config", str(found.path)]
        return CliRunner().invoke(cli, given, env=environment)

    overview, line = json.loads(run("acme").stdout), json.loads(run("acme", "2").stdout)
    assert (overview["number"], overview["status"], overview["closing"]) == (None, "draft", None)
    assert [one["amount"] for one in overview["lines"]] == ["20.00", "252.00"]
    assert line["agrees"]
    assert audited(line) == 252_00
    assert len(line["observations"]) == 720
    assert run("acme", "--format", "table").stdout.startswith("No number yet (draft) for acme (acme)\n")
    nobody = run("nobody").exception
    assert (str(nobody), nobody.hint) == (
        "'nobody' has no draft in 2026-09",
        "`metering invoices 2026-09` lists them; one that is issued has a number to explain",
    )
    with pytest.raises(MeteringError, match="the draft has no line '3'"):
        raise run("acme", "3").exception
