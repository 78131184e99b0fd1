"""Neon's own bodies and worked examples through the product, where they are at hand (they are not shipped)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk

SHARED = Path(__file__).parents[3] / "shared" / "neon"
EXAMPLES = SHARED / "examples"
Json = dict[str, Any]

needs_examples = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="Neon's example bodies are not shipped")
needs_worked = pytest.mark.skipif(
    not (SHARED / "worked_examples.json").is_file(), reason="Neon's worked examples are not shipped"
)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with served(PlainNeon()) as neon:
        yield Desk(directory=tmp_path, neon=neon, now="2026-09-05T12:00:00Z", default_plan="pro")


def added_up(body: Json) -> dict[tuple[str, str], int]:
    """(project, metric) -> sum, by plain integers over the file."""
    sums: dict[tuple[str, str], int] = {}
    for project in body["projects"]:
        for period in project["periods"]:
            for timeframe in period["consumption"]:
                for metric in timeframe["metrics"]:
                    key = project["project_id"], metric["metric_name"]
                    sums[key] = sums.get(key, 0) + metric["value"]
    return {key: value for key, value in sums.items() if value}


@needs_examples
@pytest.mark.parametrize(
    ("name", "month", "now"),
    [
        ("v2_projects.200.launch-daily.json", "2026-08", "2026-09-05T12:00:00Z"),
        ("v2_projects.200.scale-daily.json", "2026-08", "2026-09-05T12:00:00Z"),
        ("v2_projects.200.multi-period-plan-change.json", "2026-10", "2026-11-12T12:00:00Z"),
        ("v2_projects.200.unknown-metric.json", "2026-11", "2026-12-05T12:00:00Z"),
        ("v2_projects.200.no-usage.json", "2026-08", "2026-09-05T12:00:00Z"),
        ("v2_projects.200.empty-org.json", "2026-08", "2026-09-05T12:00:00Z"),
    ],
)
def test_a_captured_body_lands_to_the_digit(desk: Desk, name: str, month: str, now: str) -> None:
    body = (EXAMPLES / name).read_bytes()
    desk.neon.fleet("org-a").whole["daily"] = body
    desk.now = now
    desk.good("backfill")
    document = desk.good("usage", month)
    found = {(row["project_id"], row["metric"]): int(row["value"]) for row in document["usage"]}
    assert found == added_up(json.loads(body))
    assert document["coverage"]["complete"] is True
    again = desk.good("backfill")
    assert again["changes"] == "0"


@needs_examples
def test_the_captured_inventory_and_counters_are_read(desk: Desk) -> None:
    pages = {name: (EXAMPLES / f"projects_list.200.{name}.json").read_bytes() for name in ("page1", "page2-empty")}
    project = json.loads((EXAMPLES / "project_get.200.with-quota.json").read_bytes())["project"]
    listed = json.loads(pages["page1"])["projects"]
    desk.neon.fleet("org-a").projects.extend([*listed, project])
    desk.now = project["consumption_period_start"].replace("-01T00", "-10T12")
    desk.good("poll")
    rows = {row["quota"]: row for row in desk.good("quota")["quotas"] if row["project_id"] == project["id"]}
    quota = project["settings"]["quota"]
    for name in ("compute_time_seconds", "active_time_seconds", "data_transfer_bytes"):
        expected = project[name] * 10_000 // quota[name]
        assert rows[name]["percent"] == f"{expected // 100}.{expected % 100:02}"


@needs_examples
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("401", 5),
        ("403.plan", 3),
        ("404.org", 3),
        ("404.project-scoped-key", 3),
        ("406.range", 3),
        ("429", 3),
        ("500", 3),
        ("503", 3),
    ],
)
def test_neons_errors_end_a_poll_with_the_contracts_code(desk: Desk, name: str, code: int) -> None:
    found = json.loads((EXAMPLES / "errors" / f"{name}.json").read_bytes())
    status, body = found["status"], found["body"]
    text = body if isinstance(body, str) else json.dumps(body)
    desk.neon.errors["org-a", "history"] = (status, text.encode())
    ran = desk.run("poll")
    assert ran.code == code, ran
    assert "org-a" in ran.err or code == 5
    assert str(status) in ran.err


def worked(case: str) -> Json:
    found = json.loads((SHARED / "worked_examples.json").read_bytes())
    (one,) = (entry for entry in found["cases"] if entry["id"] == case)
    return dict(one)


def sold_at(desk: Desk, *prices: tuple[str, str, str]) -> None:
    """A plan that sells at Neon's prices: (meter, unit price, more keys)."""
    desk.plans = '[[plans]]\nid = "pro"\nname = "Pro"\ncurrency = "USD"\nbase_fee = "0"\n'
    for meter, unit_price, more in prices:
        desk.plans += f'[[plans.prices]]\nmeter = "{meter}"\nvalid_from = 2026-01-01\n'
        desk.plans += f'model = "per_unit"\nunit_price = "{unit_price}"\n{more}\n'


def billed(desk: Desk, *buckets: tuple[str, dict[str, int]]) -> Json:
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    for day, metrics in buckets:
        fleet.use("calm-dawn-1", day, grain="daily", **metrics)
    desk.good("backfill")
    (invoice,) = desk.good("invoices", "2026-08")["invoices"]
    return dict(invoice)


OLD_STORAGE = """
[[meters]]
id = "storage_root"
metrics = ["root_branch_bytes_month"]
unit = "GB-month"
divisors = [{ valid_from = 2024-03-01, divisor = "744000000000" }]
"""


@needs_worked
def test_the_worked_compute_example_comes_out_to_the_cent(desk: Desk) -> None:
    case = worked("compute-scale")
    sold_at(desk, ("compute", "0.222", ""))
    invoice = billed(desk, ("2026-08-10", {"compute_unit_seconds": int(case["value"])}))
    assert invoice["total"] == case["expected_cost"]
    assert invoice["lines"][0]["quantity"].startswith("138.888")


@needs_worked
def test_the_worked_storage_examples_come_out_to_the_cent_in_byte_hours_and_in_byte_months(desk: Desk) -> None:
    case = worked("storage-3.36")
    desk.more = OLD_STORAGE
    sold_at(desk, ("storage_root", "0.35", ""))
    invoice = billed(desk, ("2026-08-10", {"root_branch_bytes_month": int(case["value"])}))
    assert (invoice["total"], invoice["lines"][0]["quantity"][:4]) == (case["expected_cost"], case["expected_quantity"])
    desk.more = ""
    desk.neon.fleet("org-a").buckets[0].metrics = {"root_branch_bytes_month": 3360215053}
    desk.environment["METERING_STORE__DIRECTORY"] = str(desk.directory / "months")
    desk.good("backfill")
    assert desk.good("invoices", "2026-08")["invoices"][0]["total"] == case["expected_cost"]


@needs_worked
def test_two_gigabytes_for_a_month_cost_what_neon_prints(desk: Desk) -> None:
    case = worked("storage-2gb-31-days")
    desk.more = OLD_STORAGE
    sold_at(desk, ("storage_root", "0.35", ""))
    per_day = int(case["per_day_value"])
    desk.now = "2026-09-10T12:00:00Z"  # later than hours are kept: August is there by the day alone
    invoice = billed(desk, *((f"2026-08-{day:02}", {"root_branch_bytes_month": per_day}) for day in range(1, 32)))
    assert (invoice["lines"][0]["quantity"], invoice["total"]) == ("2", case["expected_cost"])


@needs_worked
def test_the_worked_branch_example_comes_out_to_the_cent(desk: Desk) -> None:
    case = worked("branches-12-children-launch-one-day")
    sold_at(desk, ("extra_branches", "1.50", 'included_per_hour = "9"'))
    invoice = billed(desk, ("2026-08-10", {"extra_branches_month": int(case["value"])}))
    assert invoice["total"] == case["expected_cost"]
    assert invoice["lines"][0]["quantity"].startswith("0.0967")


@needs_worked
def test_the_transfer_example_bills_what_lies_beyond_500_gb(desk: Desk) -> None:
    sold_at(desk, ("public_transfer", "0.10", 'included = "500"'))
    gigabyte = 10**9
    invoice = billed(
        desk,
        ("2026-08-10", {"public_network_transfer_bytes": 499 * gigabyte}),
        ("2026-08-11", {"public_network_transfer_bytes": 2 * gigabyte}),
    )
    assert (invoice["lines"][0]["quantity"], invoice["total"]) == ("1", "0.10")


@needs_worked
@pytest.mark.parametrize(
    "name", ["plans-launch-1", "plans-launch-2", "plans-launch-3", "plans-scale-1", "plans-scale-2"]
)
def test_the_plans_pages_invoices_come_out_line_by_line(desk: Desk, name: str) -> None:
    case = worked(name)
    sold_at(
        desk,
        ("compute", "0.222" if case["plan"] == "scale" else "0.106", ""),
        ("storage_root", "0.35", ""),
        ("storage_child", "0.35", ""),
        ("instant_restore", "0.20", ""),
    )
    amounts = {key: int(value) for key, value in case["inputs"].items()}
    invoice = billed(
        desk,
        (
            "2026-08-10",
            {
                "compute_unit_seconds": amounts["cu_hours"] * 3600,
                "root_branch_bytes_month": amounts["root_gb_month"] * 10**9,
                "child_branch_bytes_month": amounts["child_gb_month"] * 10**9,
                "instant_restore_bytes_month": amounts["instant_restore_gb_month"] * 10**9,
            },
        ),
    )
    lines = {line["meter"]: line["amount"] for line in invoice["lines"]}
    assert lines == {
        "compute": case["lines"]["compute"],
        "storage_root": case["lines"]["root_storage"],
        "storage_child": case["lines"]["child_storage"],
        "instant_restore": case["lines"]["instant_restore"],
    }
    assert invoice["total"] == case["expected_total"]
