"""Contract 5.2 from outside: which value of a bucket counts, and what `usage` and `status` say about it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.plain_neon import Bucket, PlainNeon, served
from tests.support.platform_desk import Desk

Json = dict[str, Any]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with served(PlainNeon()) as neon:
        yield Desk(directory=tmp_path, neon=neon, now="2026-10-05T12:00:00Z")


def values(document: Json) -> dict[tuple[str, str, str], str]:
    """(organization, project, metric) -> value."""
    return {(row["organization"], row["project_id"], row["metric"]): row["value"] for row in document["usage"]}


def compute(document: Json) -> list[str]:
    return [row["value"] for row in document["usage"] if row["metric"] == "compute_unit_seconds"]


def test_usage_has_the_contracts_keys_and_types(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-12345678", "acme-cust7-pro-1756684800")
    fleet.use("calm-dawn-12345678", "2026-10-04T05:00", compute_unit_seconds=123456, unheard_of=7)
    desk.pattern = r"(?P<platform>[^-]+)-(?P<customer>[^-]+)-(?P<plan>[^-]+)-(?P<created>\d+)"
    desk.good("poll")
    document = desk.good("usage", "current")
    assert list(document) == ["period", "as_of", "coverage", "usage"]
    assert document["period"] == {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"}
    assert document["as_of"] == "2026-10-05T12:00:00Z"
    known = {
        "organization": "org-a",
        "project_id": "calm-dawn-12345678",
        "project_name": "acme-cust7-pro-1756684800",
        "customer": "cust7",
        "plan": "pro",
        "metric": "compute_unit_seconds",
        "value": "123456",
        "meter": "compute",
        "quantity": "34.293333333333",
        "unit": "CU-hour",
    }
    strange = {**known, "metric": "unheard_of", "value": "7", "meter": None, "quantity": None, "unit": None}
    assert [{name: row[name] for name in known} for row in document["usage"]] == [known, strange]


def test_a_month_of_before_the_first_poll_is_empty_and_uncovered(desk: Desk) -> None:
    document = desk.good("usage", "2026-09")
    assert document["usage"] == []
    assert document["coverage"]["hours"] == 720
    assert document["coverage"]["covered_hours"] == 0
    assert document["coverage"]["complete"] is False
    assert document["coverage"]["gaps"] == [
        {
            "organization": "org-a",
            "start": "2026-09-01T00:00:00Z",
            "end": "2026-10-01T00:00:00Z",
            "reason": "not_read",
        }
    ]


def test_an_hour_is_certified_one_hour_after_its_end_and_not_a_second_earlier(desk: Desk) -> None:
    desk.neon.fleet("org-a").idle.append("calm-dawn-1")
    desk.now = "2026-10-01T05:59:59Z"
    desk.good("poll")
    assert desk.good("usage", "2026-10")["coverage"]["covered_hours"] == 4
    desk.now = "2026-10-01T06:00:00Z"
    desk.good("poll")
    assert desk.good("usage", "2026-10")["coverage"]["covered_hours"] == 5


def test_the_last_value_observed_counts_up_and_down(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    grown = fleet.use("calm-dawn-1", "2026-10-05T05:00", compute_unit_seconds=100)
    shrunk = fleet.use("calm-dawn-1", "2026-10-05T06:00", compute_unit_seconds=100)
    desk.good("poll")
    assert compute(desk.good("usage", "current")) == ["200"]
    grown.metrics, shrunk.metrics = {"compute_unit_seconds": 1000}, {"compute_unit_seconds": 60}
    desk.good("poll")
    assert compute(desk.good("usage", "current")) == ["1060"]
    again = desk.good("poll")
    assert again["changes"] == "0"
    assert compute(desk.good("usage", "current")) == ["1060"]


def test_a_value_that_a_later_complete_read_omits_is_zero_and_listed_by_status(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    gone = fleet.use("calm-dawn-1", "2026-10-05T05:00", compute_unit_seconds=100, public_network_transfer_bytes=8)
    fleet.use("calm-dawn-1", "2026-10-05T06:00", compute_unit_seconds=5)
    desk.good("poll")
    gone.metrics = {"public_network_transfer_bytes": 8}
    desk.good("poll")
    assert compute(desk.good("usage", "current")) == ["5"]
    listed = desk.good("status")["revised_to_zero"]
    assert [(row["project_id"], row["metric"], row["value"]) for row in listed] == [
        ("calm-dawn-1", "compute_unit_seconds", "100")
    ]


def test_a_broken_walk_is_never_zero_and_leaves_a_gap_with_its_reason(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.use("calm-dawn-1", "2026-10-04T05:00", compute_unit_seconds=100)
    desk.good("poll")
    desk.neon.fail("org-a", "hourly", 500, "broken pipe in the cupboard")
    desk.now = "2026-10-05T18:00:00Z"
    ran = desk.run("poll")
    assert ran.code == 3
    assert "org-a" in ran.err
    assert "500" in ran.err
    document = desk.good("usage", "current")
    assert compute(document) == ["100"]
    gaps = document["coverage"]["gaps"]
    assert [(gap["organization"], gap["start"], gap["end"]) for gap in gaps] == [
        ("org-a", "2026-10-05T11:00:00Z", "2026-10-05T17:00:00Z"),
        ("org-a", "2026-10-05T17:00:00Z", "2026-10-05T18:00:00Z"),
    ]
    assert "500" in gaps[0]["reason"]
    assert gaps[1]["reason"] == "too_recent"


@pytest.mark.parametrize("status", [403, 404])
def test_403_and_404_are_a_gap_and_never_zero(desk: Desk, status: int) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    fleet.use("calm-dawn-1", "2026-10-04T05:00", compute_unit_seconds=100)
    desk.good("poll")
    desk.neon.fail("org-a", "history", status, "not for you")
    desk.now = "2026-10-05T18:00:00Z"
    assert desk.run("poll").code == 3
    document = desk.good("usage", "current")
    assert compute(document) == ["100"]
    assert str(status) in document["coverage"]["gaps"][0]["reason"]


def test_the_reason_of_a_gap_is_that_of_the_walk_that_failed_though_another_went_well(desk: Desk) -> None:
    desk.neon.fail("org-a", "hourly", 500, "hours are out")
    assert desk.run("backfill").code == 3
    gaps = desk.good("usage", "current")["coverage"]["gaps"]
    assert "hours are out" in gaps[0]["reason"]


def test_a_sponsored_organization_is_outside_coverage(desk: Desk) -> None:
    desk.organizations, desk.sponsored = ("org-a", "org-free"), ("org-free",)
    desk.neon.fail("org-free", "history", 403)
    desk.neon.fleet("org-free").project("free-bird-1")
    desk.good("poll")
    document = desk.good("usage", "current")
    assert {gap["organization"] for gap in document["coverage"]["gaps"]} <= {"org-a"}
    assert document["coverage"]["covered_hours"] == 4 * 24 + 11
    assert not [asked for path, asked in desk.neon.asked if "history" in path and asked["org_id"] == "org-free"]


def test_one_missing_hour_makes_the_day_count_from_its_daily_bucket(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    desk.now = "2026-10-03T06:00:00Z"
    for hour in (5, 6):
        fleet.use("calm-dawn-1", f"2026-10-02T{hour:02}:00", compute_unit_seconds=10)
    fleet.use("calm-dawn-1", "2026-10-03T02:00", compute_unit_seconds=3)
    desk.good("poll")
    assert compute(desk.good("usage", "2026-10")) == ["23"]
    # A pause of nine days: the hours from the 3rd on are lost to hourly, the daily buckets heal them.
    fleet.use("calm-dawn-1", "2026-10-02", grain="daily", compute_unit_seconds=21)
    fleet.use("calm-dawn-1", "2026-10-03", grain="daily", compute_unit_seconds=1000)
    fleet.use("calm-dawn-1", "2026-10-11T02:00", compute_unit_seconds=7)
    desk.now = "2026-10-12T06:00:00Z"
    desk.good("poll")
    document = desk.good("usage", "2026-10")
    assert compute(document) == [str(20 + 1000 + 7)]
    assert document["coverage"]["covered_hours"] == 11 * 24 + 5
    by_day = desk.good("usage", "2026-10", "--by", "day")["usage"]
    assert [(row["start"], row["end"], row["value"]) for row in by_day] == [
        ("2026-10-02T00:00:00Z", "2026-10-03T00:00:00Z", "20"),
        ("2026-10-03T00:00:00Z", "2026-10-04T00:00:00Z", "1000"),
        ("2026-10-11T00:00:00Z", "2026-10-12T00:00:00Z", "7"),
    ]
    by_hour = desk.good("usage", "2026-10", "--by", "hour")["usage"]
    assert [(row["start"], row["end"], row["value"]) for row in by_hour] == [
        ("2026-10-02T05:00:00Z", "2026-10-02T06:00:00Z", "10"),
        ("2026-10-02T06:00:00Z", "2026-10-02T07:00:00Z", "10"),
        ("2026-10-03T00:00:00Z", "2026-10-04T00:00:00Z", "1000"),
        ("2026-10-11T02:00:00Z", "2026-10-11T03:00:00Z", "7"),
    ]


def test_a_month_older_than_sixty_days_counts_from_its_monthly_bucket(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.use("calm-dawn-1", "2026-06-01", grain="monthly", compute_unit_seconds=777)
    desk.good("backfill")
    document = desk.good("usage", "2026-06")
    assert compute(document) == ["777"]
    assert document["coverage"]["complete"] is True
    by_day = desk.good("usage", "2026-06", "--by", "day")["usage"]
    assert [(row["start"], row["end"]) for row in by_day] == [("2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z")]


def test_a_bucket_in_two_neon_periods_counts_in_both_parts(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.use("calm-dawn-1", "2026-10-04T05:00", compute_unit_seconds=100)
    late = Bucket(
        grain="hourly",
        project="calm-dawn-1",
        start="2026-10-04T05:00",
        metrics={"compute_unit_seconds": 11},
        period="period-2",
        period_start="2026-10-04T05:30",
    )
    fleet.buckets.append(late)
    desk.good("poll")
    assert compute(desk.good("usage", "current")) == ["111"]


def test_a_project_in_two_organizations_is_a_row_in_each(desk: Desk) -> None:
    desk.organizations = ("org-a", "org-b")
    desk.neon.fleet("org-a").use("calm-dawn-1", "2026-10-03T05:00", compute_unit_seconds=10)
    desk.neon.fleet("org-b").use("calm-dawn-1", "2026-10-04T05:00", compute_unit_seconds=32)
    desk.neon.fleet("org-b").project("calm-dawn-1", "late-name")
    desk.good("poll")
    assert values(desk.good("usage", "current")) == {
        ("org-a", "calm-dawn-1", "compute_unit_seconds"): "10",
        ("org-b", "calm-dawn-1", "compute_unit_seconds"): "32",
    }


def test_a_project_that_the_next_walk_leaves_out_keeps_its_usage(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.use("calm-dawn-1", "2026-10-04T05:00", compute_unit_seconds=100)
    fleet.use("warm-dusk-2", "2026-10-04T05:00", compute_unit_seconds=1)
    desk.good("poll")
    fleet.buckets = [bucket for bucket in fleet.buckets if bucket.project != "calm-dawn-1"]
    desk.good("poll")
    assert values(desk.good("usage", "current"))["org-a", "calm-dawn-1", "compute_unit_seconds"] == "100"


def test_a_known_metric_absent_from_the_whole_organization_is_a_gap(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.use("calm-dawn-1", "2026-10-05T02:00", compute_unit_seconds=100, root_branch_bytes_month=50)
    desk.good("poll")
    fleet.buckets = []
    fleet.use("calm-dawn-1", "2026-10-05T02:00", root_branch_bytes_month=50)
    desk.now = "2026-10-05T18:00:00Z"
    desk.run("poll")
    document = desk.good("usage", "current")
    assert compute(document) == ["100"]
    assert document["coverage"]["gaps"][0]["reason"] == "metric_missing: compute_unit_seconds"


def test_uncertified_hours_count_in_the_running_month_marked_partial_and_in_no_other(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.use("calm-dawn-1", "2026-09-30T20:00", compute_unit_seconds=100)
    fleet.use("calm-dawn-1", "2026-09-30T23:00", compute_unit_seconds=7)
    fleet.use("warm-dusk-2", "2026-09-30T20:00", compute_unit_seconds=1)
    desk.now = "2026-09-30T23:30:00Z"
    desk.good("poll")
    rows = desk.good("usage", "current")["usage"]
    assert [(row["value"], row["partial"]) for row in rows] == [("107", True), ("1", False)]
    desk.now = "2026-10-01T00:30:00Z"
    assert compute(desk.good("usage", "2026-09")) == ["100", "1"]


def test_usage_by_project_shows_only_that_project(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.use("calm-dawn-1", "2026-10-04T05:00", compute_unit_seconds=100)
    fleet.use("warm-dusk-2", "2026-10-04T05:00", compute_unit_seconds=1)
    desk.good("poll")
    rows = desk.good("usage", "current", "--project", "warm-dusk-2")["usage"]
    assert [(row["project_id"], row["value"]) for row in rows] == [("warm-dusk-2", "1")]


def test_a_value_beyond_64_bits_is_kept_to_the_digit(desk: Desk) -> None:
    desk.neon.fleet("org-a").use("calm-dawn-1", "2026-10-04T05:00", root_branch_bytes_month=2**64 + 1)
    desk.neon.fleet("org-a").use("calm-dawn-1", "2026-10-04T06:00", root_branch_bytes_month=1)
    desk.good("poll")
    (row,) = desk.good("usage", "current")["usage"]
    assert (row["value"], row["quantity"]) == ("18446744073709551618", "18446744073.709551618")


def test_a_sum_that_leaves_128_bits_is_an_error_of_ours_and_breaks_no_store(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.project("calm-dawn-1")
    for hour in ("2026-10-01T02:00", "2026-10-01T03:00"):
        fleet.use("calm-dawn-1", hour, compute_unit_seconds=9 * 10**37)
    for command in (("poll",), ("usage", "2026-10"), ("tick",)):
        ran = desk.run(*command)
        assert (ran.code, ran.out) == (1, ""), (command, ran)
        assert "leaves 128 bits" in ran.err
    assert desk.run("rebuild").code == 0
    assert desk.run("verify").code == 0


TWO_UNITS = """
[[meters]]
id = "compute"
metrics = ["compute_unit_seconds"]
unit = "CU-hour"
divisors = [{ valid_from = 2024-03-01, divisor = "3600" }, { valid_from = 2026-10-06, divisor = "3600000" }]
"""
"""What is read from 6 October on counts thousandths of a second."""


def test_a_meter_whose_unit_changed_uses_the_divisor_of_the_day_it_was_read(desk: Desk) -> None:
    desk.more = TWO_UNITS
    fleet = desk.neon.fleet("org-a")
    fleet.use("calm-dawn-1", "2026-10-04T05:00", compute_unit_seconds=3600)
    desk.good("poll")
    fleet.use("calm-dawn-1", "2026-10-06T05:00", compute_unit_seconds=3600000)
    desk.now = "2026-10-06T12:00:00Z"
    desk.good("poll")
    (row,) = desk.good("usage", "current")["usage"]
    assert (row["value"], row["quantity"]) == ("3603600", "2")


def test_hours_of_one_day_that_were_read_in_two_units_are_each_converted_by_their_own(desk: Desk) -> None:
    desk.more = TWO_UNITS
    fleet = desk.neon.fleet("org-a")
    fleet.use("calm-dawn-1", "2026-10-05T05:00", compute_unit_seconds=3600)
    desk.good("poll")
    fleet.use("calm-dawn-1", "2026-10-05T20:00", compute_unit_seconds=3600000)
    desk.now = "2026-10-06T12:00:00Z"  # asks for the hours since noon
    desk.good("poll")
    (row,) = desk.good("usage", "current", "--by", "day")["usage"]
    assert (row["start"], row["value"], row["quantity"]) == ("2026-10-05T00:00:00Z", "3603600", "2")
    desk.run("report", "2026-10", "--format", "json")
    report = json.loads((desk.directory / "var" / "reports" / "2026-10" / "report.json").read_text())
    (meter,) = report["meters"]
    assert (meter["quantity"], [day["quantity"] for day in meter["days"]][4]) == ("2", "2")


def test_a_renamed_project_shows_its_last_name(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    project = fleet.project("calm-dawn-1", "old")
    fleet.use("calm-dawn-1", "2026-10-04T05:00", compute_unit_seconds=3600)
    desk.good("poll")
    project["name"] = "new"
    desk.good("poll")
    assert desk.good("usage", "current")["usage"][0]["project_name"] == "new"


def test_rows_sort_by_organization_project_and_metric_and_equal_facts_give_equal_bytes(desk: Desk) -> None:
    desk.organizations = ("org-b", "org-a")
    for organization in ("org-a", "org-b"):
        fleet = desk.neon.fleet(organization)
        for name in ("zoo-1", "ant-1"):
            fleet.use(name, "2026-10-04T05:00", root_branch_bytes_month=5, compute_unit_seconds=1)
    desk.good("poll")
    first = desk.run("usage", "current").out
    desk.good("poll")
    assert desk.run("usage", "current").out == first
    rows = desk.good("usage", "current")["usage"]
    keys = [(row["organization"], row["project_id"], row["metric"]) for row in rows]
    assert keys == sorted(keys)
    assert len(keys) == 8


def test_after_a_complete_poll_only_the_hour_that_cannot_be_certified_yet_is_a_gap(desk: Desk) -> None:
    desk.good("poll")
    assert desk.good("usage", "current")["coverage"]["gaps"] == [
        {
            "organization": "org-a",
            "start": "2026-10-05T11:00:00Z",
            "end": "2026-10-05T12:00:00Z",
            "reason": "too_recent",
        }
    ]
    assert desk.good("status")["gaps"] == [
        {
            "organization": "org-a",
            "start": "2026-09-01T00:00:00Z",
            "end": "2026-09-28T14:00:00Z",
            "reason": "not_read",
        }
    ]


def test_a_walk_that_breaks_on_its_second_page_keeps_the_first_certifies_nothing_and_heals(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.page_size = 2
    for project in ("p-1", "p-2", "p-3"):
        fleet.use(project, "2026-10-05T05:00", compute_unit_seconds=10)
    desk.neon.fail("org-a", "history after p-2", 500)
    assert desk.run("poll").code == 3
    document = desk.good("usage", "current")
    assert [(row["project_id"], row["partial"]) for row in document["usage"]] == [("p-1", True), ("p-2", True)]
    assert document["coverage"]["covered_hours"] == 0
    desk.neon.errors.clear()
    desk.good("poll")
    document = desk.good("usage", "current")
    assert [(row["project_id"], row["partial"]) for row in document["usage"]] == [
        ("p-1", False),
        ("p-2", False),
        ("p-3", False),
    ]
    assert document["coverage"]["covered_hours"] == 4 * 24 + 11


def test_an_hour_is_covered_where_every_organization_is(desk: Desk) -> None:
    desk.organizations = ("org-a", "org-b")
    desk.neon.fail("org-b", "history", 403)
    assert desk.run("poll").code == 3
    document = desk.good("usage", "current")
    assert document["coverage"]["covered_hours"] == 0
    assert {gap["organization"] for gap in document["coverage"]["gaps"] if gap["reason"] != "too_recent"} == {"org-b"}


def test_a_value_of_an_hour_that_is_not_certified_yet_is_not_taken_back_by_its_absence(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.use("p-1", "2026-10-05T02:00", compute_unit_seconds=1)
    fleet.use("p-1", "2026-10-05T11:00", compute_unit_seconds=10)
    desk.good("poll")
    fleet.buckets.pop()
    desk.good("poll")
    assert compute(desk.good("usage", "current")) == ["11"]
    desk.now = "2026-10-05T13:00:00Z"
    desk.good("poll")
    assert compute(desk.good("usage", "current")) == ["1"]


PAGE = (
    '{"projects":[{"project_id":"p-1","periods":[{"period_id":"x","period_plan":"scale",'
    '"period_start":"2026-09-01T00:00:00Z","consumption":[{"timeframe_start":"2026-10-05T02:00:00Z",'
    '"timeframe_end":"2026-10-05T03:00:00Z","metrics":[{"metric_name":"compute_unit_seconds","value":VALUE}]}]}]}]}'
)


@pytest.mark.parametrize("value", ["-1", "1.0", '"5"', "NaN", "true"])
def test_a_page_with_a_number_that_is_none_refuses_the_page_and_not_the_store(desk: Desk, value: str) -> None:
    fleet = desk.neon.fleet("org-a")
    fleet.use("p-1", "2026-10-05T02:00", compute_unit_seconds=1)
    desk.good("poll")
    fleet.whole["hourly"] = PAGE.replace("VALUE", value).encode()
    ran = desk.run("poll")
    assert ran.code == 3
    assert "refused" in ran.err
    assert compute(desk.good("usage", "current")) == ["1"]
    assert desk.run("verify").code == 0
