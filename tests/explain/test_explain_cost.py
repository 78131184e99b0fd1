"""An auditor follows a cost_plus line down to Neon's allowances and tiers, with fractions and the JSON alone."""

import json
from datetime import datetime, timedelta
from fractions import Fraction

from metering.core.period import month_of
from metering.explain import explain
from metering.explain import text as explain_text
from metering.invoicing import close
from metering.store import snapshots
from tests.support.books import Books, configured, when

GB = 10**9
MARKED_UP = """
[[plans]]
id = "pro"
currency = "USD"
"""


def marked_up(meter, percent="25", valid_from="2026-01-01"):
    price = f'meter = "{meter}"\nvalid_from = {valid_from}\nmodel = "cost_plus"\nmarkup_percent = "{percent}"\n'
    return f"[[plans.prices]]\n{price}"


def closed(directory, prices, usage, *, month="2026-09", plan="scale", rows=None):
    """A month closed over hourly usage; {line key: (explanation, its text)}."""
    owners = "".join(rows or [f"{project},{project},pro,,\n" for project in usage])
    found = configured(
        directory, MARKED_UP + prices, subscriptions=f"project_id,customer,plan,valid_from,valid_to\n{owners}"
    )
    books, period = Books(found.store.directory), month_of(when(f"{month}-01"))
    end = period.end.strftime("%Y-%m-%d")
    with books.open() as ledger:
        books.inventory(ledger, dict.fromkeys(usage, "x"), at=end)
        books.history(ledger, usage, since=f"{month}-01", until=end, at=f"{end}T02", plan=plan)
        books.at = period.end + timedelta(days=2)
        close.close(ledger, found, period, books.at)
    with snapshots.open_reader(found.store.directory) as reader:
        numbers = reader.connection.execute("select number from invoice order by number").fetchall()
        told = {}
        for (number,) in numbers:
            for line in explain.explain(reader, number)["lines"]:
                one = explain.explain(reader, number, line["key"])
                told[line["key"]] = (json.loads(json.dumps(one)), explain_text.table(one))
    return told


def audited(told):
    """The line's exact amount from the observations, Neon's prices as told and the markup; nothing of ours."""
    arithmetic = told["arithmetic"]
    spent = {}
    for row in arithmetic["neon"]:
        used = used_of(told, row)
        assert used == Fraction(row["used"])
        charge = row.get("pool", row)
        assert charged(row["price"], charge) == Fraction(charge["amount"])
        part = used / Fraction(charge["used"])
        assert Fraction(charge["amount"]) * part == Fraction(row["amount"])
        spent[row["stretch"]] = spent.get(row["stretch"], 0) + Fraction(row["amount"])
    last = max(row["stretch"] for row in arithmetic["stretches"])
    [tier] = arithmetic["tiers"]
    before = sum(amount for stretch, amount in spent.items() if stretch < last)
    assert (before, sum(spent.values())) == (Fraction(tier["cost_before"]), Fraction(tier["cost_after"]))
    return (sum(spent.values()) - before) * (1 + Fraction(tier["markup_percent"]) / 100)


def used_of(told, row):
    """What the project used in the stretch of a charge, beyond Neon's allowance per hour."""
    free = Fraction(row["price"]["included_per_hour"] or 0)
    hours = {}
    for seen in told["observations"]:
        at = datetime.fromisoformat(seen["timeframe_start"])
        is_inside = datetime.fromisoformat(row["from"]) <= at < datetime.fromisoformat(row["to"])
        is_mine = (seen["project_id"], seen["organization"]) == (row["project_id"], row["organization"])
        if is_inside and is_mine and seen["metric"] in row["metrics"]:
            hours[at] = hours.get(at, 0) + int(seen["value"])
    return sum(max(Fraction(0), value - free) for value in hours.values()) / Fraction(row["divisor"])


def charged(price, charge):
    """Neon's prices are per unit beyond an allowance."""
    assert (price["model"], price["tiers"], price["minimum"], price["maximum"]) == ("per_unit", [], None, None)
    after = max(Fraction(0), Fraction(charge["used_after"]) - Fraction(price["included"]))
    before = max(Fraction(0), Fraction(charge["used_before"]) - Fraction(price["included"]))
    assert (before, after) == (Fraction(charge["billable_before"]), Fraction(charge["billable_after"]))
    return (after - (0 if charge["is_first"] else before)) * Fraction(price["unit_price"])


def assert_audited(told, **amounts):
    for key, (one, _) in told.items():
        assert one["agrees"], key
        assert audited(one) == Fraction(one["arithmetic"]["exact"]), key
    assert {one["line"]["project_id"] or one["customer"]["id"]: one["line"]["amount"] for one, _ in told.values()} == (
        amounts
    )


def test_neons_rate_and_two_markups_inside_the_month(tmp_path):
    prices = marked_up("compute") + marked_up("compute", "50", "2026-09-16")
    usage = {"a": {"2026-09-10T05": {"compute_unit_seconds": 36_000}, "2026-09-20T05": {"compute_unit_seconds": 7_200}}}
    told = closed(tmp_path, prices, usage)
    for one, _ in told.values():
        assert audited(one) == Fraction(one["arithmetic"]["exact"])
    # 10 hours x 0.222 x 1.25, and 2 x 0.222 x 1.5.
    assert [one["line"]["amount"] for one, _ in told.values()] == ["2.78", "0.67"]
    second = told["a/compute/pro/2026-09-16T00:00:00Z/1"][0]["arithmetic"]
    assert [(row["stretch"], row["used_before"], row["used"]) for row in second["neon"]] == [
        (1, "0", "10"),
        (2, "10", "2"),
    ]


def test_an_allowance_that_all_projects_of_the_organization_fill_together(tmp_path):
    # In July 2026 Neon gave 500 GB per organization: of 600 GB 100 are charged at 0.10, a used two thirds of them.
    usage = {
        "a": {"2026-07-10T05": {"public_network_transfer_bytes": 400 * GB}},
        "b": {"2026-07-11T05": {"public_network_transfer_bytes": 200 * GB}},
    }
    told = closed(tmp_path, marked_up("public_transfer"), usage, month="2026-07")
    assert_audited(told, a="8.33", b="4.17")
    [row] = told["a/public_transfer/pro/2026-07-01T00:00:00Z/1"][0]["arithmetic"]["neon"]
    assert (row["pool"]["used"], row["pool"]["billable_after"], row["pool"]["amount"]) == ("600", "100", "10")
    assert row["amount"] == "20/3"
    text = told["a/public_transfer/pro/2026-07-01T00:00:00Z/1"][1]
    assert "its part: 10 × 400 ÷ 600 = 20/3 = 6.666666666667" in text


def test_an_allowance_per_project_and_one_per_hour(tmp_path):
    # From August on 500 GB per project; of 30 branches 24 are free in each hour of Scale.
    usage = {
        "a": {
            "2026-09-10T05": {"public_network_transfer_bytes": 300 * GB, "extra_branches_month": 30},
            "2026-09-20T05": {"public_network_transfer_bytes": 300 * GB, "extra_branches_month": 20},
        }
    }
    told = closed(tmp_path, marked_up("public_transfer") + marked_up("extra_branches", "0"), usage)
    by_meter = {one["line"]["meter"]: one for one, _ in told.values()}
    assert all(one["agrees"] and audited(one) == Fraction(one["arithmetic"]["exact"]) for one in by_meter.values())
    # 100 GB x 0.10 x 1.25; 6 branch-hours / 744 x 1.50.
    assert by_meter["public_transfer"]["line"]["amount"] == "12.50"
    assert Fraction(by_meter["extra_branches"]["arithmetic"]["exact"]) == Fraction(6, 744) * Fraction(3, 2)


def test_a_meter_of_two_metrics_is_charged_by_two_prices_of_neons(tmp_path):
    usage = {"a": {"2026-09-10T05": {"root_branch_bytes_month": 10 * GB, "child_branch_bytes_month": 2 * GB}}}
    told = closed(tmp_path, marked_up("storage"), usage)
    assert_audited(told, a="5.25")
    [(one, _)] = told.values()
    assert [(row["meter"], row["used"], row["amount"]) for row in one["arithmetic"]["neon"]] == [
        ("storage_child", "2", "0.7"),
        ("storage_root", "10", "3.5"),
    ]


def test_neons_allowance_goes_on_where_another_customer_comes(tmp_path):
    # One allowance of 500 GB per project of Neon's runs through the change of customer on the 16th.
    usage = {
        "a": {
            "2026-09-10T05": {"public_network_transfer_bytes": 400 * GB},
            "2026-09-20T05": {"public_network_transfer_bytes": 300 * GB},
        },
        "b": {"2026-09-20T05": {"public_network_transfer_bytes": 600 * GB}},
    }
    rows = ["a,one,pro,,2026-09-16\n", "a,two,pro,2026-09-16,\n", "b,two,pro,,\n"]
    told = closed(tmp_path, marked_up("public_transfer", "0"), usage, rows=rows)
    # One has 400 GB free of charge; of two's 300 GB of a 200 are charged, of b's 600 GB 100.
    assert all(one["agrees"] and audited(one) == Fraction(one["arithmetic"]["exact"]) for one, _ in told.values())
    assert {(one["customer"]["id"], key.split("/")[0]): one["line"]["amount"] for key, (one, _) in told.items()} == {
        ("one", "a"): "0.00",
        ("two", "a"): "20.00",
        ("two", "b"): "10.00",
    }
