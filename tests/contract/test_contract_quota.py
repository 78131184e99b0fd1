"""Contract 5.5 from outside: percentages, levels, one alert for each crossing, and signed webhooks."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.inbox import Inbox, receiving
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk

Json = dict[str, Any]
SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four b").decode()
PERIOD = {"consumption_period_start": "2026-10-01T00:00:00Z", "consumption_period_end": "2026-11-01T00:00:00Z"}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with served(PlainNeon()) as neon:
        yield Desk(directory=tmp_path, neon=neon, now="2026-10-16T12:00:00Z", default_plan="pro")


def limit(desk: Desk, **quota: int) -> Json:
    """One project with these quotas; returns its counters, which the test may change."""
    desk.neon.fleet("org-a").project("calm-dawn-1", settings={"quota": quota})
    return desk.neon.counters.setdefault("calm-dawn-1", dict(PERIOD))


def rows(desk: Desk, *more: str) -> dict[str, Json]:
    return {row["quota"]: row for row in desk.good("quota", *more)["quotas"]}


@pytest.mark.parametrize(
    ("used", "percent", "level", "threshold"),
    [
        (0, "0.00", "ok", None),
        (79_999, "79.99", "ok", None),
        (80_000, "80.00", "warning", 80),
        (94_999, "94.99", "warning", 80),
        (95_000, "95.00", "critical", 95),
        (99_999, "99.99", "critical", 95),
        (100_000, "100.00", "exceeded", 100),
        (234_567, "234.56", "exceeded", 100),
    ],
)
def test_percent_is_truncated_and_levels_begin_exactly_at_their_threshold(
    desk: Desk, used: int, percent: str, level: str, threshold: int | None
) -> None:
    limit(desk, written_data_bytes=100_000)["written_data_bytes"] = used
    desk.good("poll")
    row = rows(desk)["written_data_bytes"]
    assert (row["used"], row["limit"], row["percent"]) == (str(used), "100000", percent)
    assert (row["level"], row["threshold_percent"], row["source"]) == (level, threshold, "counter")
    assert row["period"] == {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"}
    assert row["observed_at"] == "2026-10-16T12:00:00Z"


def test_the_row_has_the_contracts_keys(desk: Desk) -> None:
    limit(desk, compute_time_seconds=108_000)["compute_time_seconds"] = 90_000
    desk.good("poll")
    row = rows(desk)["compute_time_seconds"]
    expected = {
        "project_id": "calm-dawn-1",
        "project_name": "calm-dawn-1",
        "customer": "calm-dawn-1",
        "plan": "pro",
        "quota": "compute_time_seconds",
        "used": "90000",
        "limit": "108000",
        "percent": "83.33",
        "threshold_percent": 80,
        "level": "warning",
        "source": "counter",
        "limit_source": "neon",
    }
    assert row.items() >= expected.items()
    # Half of the month is over: twice as much at its end, and the limit after 18.6 days.
    line = {"percent_at_period_end": "166.66", "reaches_100_at": "2026-10-19T14:24:00Z", "method": "linear"}
    assert row["forecast"].items() >= line.items()


def test_a_quota_of_zero_or_none_is_unlimited_and_shown_only_on_request(desk: Desk) -> None:
    limit(desk, compute_time_seconds=0)["compute_time_seconds"] = 5
    desk.good("poll")
    assert rows(desk) == {}
    shown = rows(desk, "--all")
    assert {row["level"] for row in shown.values()} == {"unlimited"}
    assert set(shown) == {
        "active_time_seconds",
        "compute_time_seconds",
        "data_transfer_bytes",
        "logical_size_bytes",
        "written_data_bytes",
    }


def test_the_plans_quota_counts_where_neon_has_none(desk: Desk) -> None:
    desk.plans += "[plans.quota]\ncompute_time_seconds = 1000\n"
    limit(desk)["compute_time_seconds"] = 500
    desk.good("poll")
    row = rows(desk)["compute_time_seconds"]
    assert (row["limit"], row["limit_source"], row["percent"]) == ("1000", "plan", "50.00")


def test_used_is_never_less_than_the_history_of_the_period(desk: Desk) -> None:
    limit(desk, compute_time_seconds=1000)["compute_time_seconds"] = 100
    fleet = desk.neon.fleet("org-a")
    fleet.use("calm-dawn-1", "2026-10-15T05:00", compute_unit_seconds=600)
    fleet.use("calm-dawn-1", "2026-10-16T12:00", compute_unit_seconds=250)
    desk.good("poll")
    row = rows(desk)["compute_time_seconds"]
    assert (row["used"], row["source"], row["level"], row["partial"]) == ("850", "history", "warning", True)
    desk.neon.counters["calm-dawn-1"]["compute_time_seconds"] = 900
    desk.good("poll")
    row = rows(desk)["compute_time_seconds"]
    assert (row["used"], row["source"], row["partial"]) == ("900", "counter", False)


def test_what_history_says_was_observed_when_that_project_was_last_read(desk: Desk) -> None:
    fleet = desk.neon.fleet("org-a")
    for project in ("calm-dawn-1", "late-moon-2"):
        fleet.project(project, settings={"quota": {"compute_time_seconds": 1000}})
        fleet.use(project, "2026-10-16T05:00", compute_unit_seconds=600)
    desk.good("poll")
    fleet.page_size = 1
    desk.neon.fail("org-a", "history after calm-dawn-1", 500)
    desk.now = "2026-10-16T13:00:00Z"
    desk.good("poll", code=3)  # the walk breaks off behind the first project
    observed = {row["project_id"]: (row["source"], row["observed_at"]) for row in desk.good("quota")["quotas"]}
    assert observed == {
        "calm-dawn-1": ("history", "2026-10-16T13:00:00Z"),
        "late-moon-2": ("history", "2026-10-16T12:00:00Z"),
    }


def test_public_and_private_transfer_count_together(desk: Desk) -> None:
    limit(desk, data_transfer_bytes=100)["data_transfer_bytes"] = 1
    desk.neon.fleet("org-a").use(
        "calm-dawn-1", "2026-10-15T05:00", public_network_transfer_bytes=60, private_network_transfer_bytes=30
    )
    desk.good("poll")
    assert rows(desk)["data_transfer_bytes"]["used"] == "90"


def test_history_of_before_the_period_does_not_count(desk: Desk) -> None:
    counters = limit(desk, compute_time_seconds=1000)
    counters.update(compute_time_seconds=1, consumption_period_start="2026-10-12T00:00:00Z")
    fleet = desk.neon.fleet("org-a")
    fleet.use("calm-dawn-1", "2026-10-11T23:00", compute_unit_seconds=500)
    fleet.use("calm-dawn-1", "2026-10-12T00:00", compute_unit_seconds=30)
    desk.good("poll")
    row = rows(desk)["compute_time_seconds"]
    assert (row["used"], row["source"], row["period"]["start"]) == ("30", "history", "2026-10-12T00:00:00Z")


def test_history_of_a_period_that_began_in_an_earlier_month_counts_from_its_start(desk: Desk) -> None:
    began, ends = "2026-08-20T00:00:00Z", "2026-10-20T00:00:00Z"
    limit(desk, compute_time_seconds=1000).update(
        compute_time_seconds=1, consumption_period_start=began, consumption_period_end=ends
    )
    fleet = desk.neon.fleet("org-a")
    for day, used in (("2026-08-19", 500), ("2026-08-20", 1), ("2026-09-10", 20), ("2026-10-05", 300)):
        fleet.use("calm-dawn-1", day, grain="daily", compute_unit_seconds=used)
    desk.good("backfill", "--from", "2026-08-19")
    row = rows(desk)["compute_time_seconds"]
    assert (row["used"], row["source"], row["period"]) == ("321", "history", {"start": began, "end": ends})


def test_a_counter_stuck_at_zero_is_unknown_below_the_first_threshold(desk: Desk) -> None:
    limit(desk, compute_time_seconds=1000)["compute_time_seconds"] = 0
    fleet = desk.neon.fleet("org-a")
    bucket = fleet.use("calm-dawn-1", "2026-10-16T05:00", compute_unit_seconds=799)
    desk.good("poll")
    assert rows(desk)["compute_time_seconds"]["level"] == "unknown"
    bucket.metrics = {"compute_unit_seconds": 800}
    desk.good("poll")
    assert rows(desk)["compute_time_seconds"]["level"] == "warning"


def test_size_is_the_largest_branch_not_the_sum(desk: Desk) -> None:
    limit(desk, logical_size_bytes=1000)
    desk.neon.branches["calm-dawn-1"] = [
        {"id": "br-1", "logical_size": 500},
        {"id": "br-2", "logical_size": 810},
        {"id": "br-3"},
    ]
    desk.good("poll")
    row = rows(desk)["logical_size_bytes"]
    assert (row["used"], row["percent"], row["level"]) == ("810", "81.00", "warning")
    assert row["period"] == {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"}
    assert row["forecast"] is None


@pytest.mark.parametrize("status", [403, 404, 500])
def test_branches_that_cannot_be_read_are_owed_and_take_nothing_from_the_other_counters(
    desk: Desk, status: int
) -> None:
    limit(desk, logical_size_bytes=1000, written_data_bytes=1000)["written_data_bytes"] = 800
    desk.neon.branches["calm-dawn-1"] = [{"id": "br-1", "logical_size": 810}]
    desk.neon.fail("calm-dawn-1", "branches", status)
    ran = desk.run("poll")
    assert ran.code == 3
    assert "org-a, counters of calm-dawn-1" in ran.err
    assert rows(desk)["written_data_bytes"]["level"] == "warning"
    assert rows(desk)["logical_size_bytes"]["level"] == "unknown"


@pytest.mark.parametrize("number", [1.5, "12", -1, True, 2**110, 10**38])
def test_a_counter_or_a_size_that_is_no_number_is_owed_and_stops_nothing_else(desk: Desk, number: Any) -> None:
    limit(desk, written_data_bytes=1000)["written_data_bytes"] = 800
    desk.neon.fleet("org-a").project("bad-1", settings={"quota": {"written_data_bytes": 1000}})
    desk.neon.fleet("org-a").project("bad-2", settings={"quota": {"logical_size_bytes": 1000}})
    desk.neon.counters["bad-1"] = {**PERIOD, "written_data_bytes": number}
    desk.neon.branches["bad-2"] = [{"id": "br-1", "logical_size": number}]
    ran = desk.run("poll")
    assert ran.code == 3
    assert [name for name in ("bad-1", "bad-2", "calm-dawn-1") if name in ran.err] == ["bad-1", "bad-2"]
    levels = {row["project_id"]: row["level"] for row in desk.good("quota")["quotas"]}
    assert levels == {"bad-1": "unknown", "bad-2": "unknown", "calm-dawn-1": "warning"}
    assert desk.run("verify").code == 0


@pytest.mark.parametrize(("status", "code"), [(403, 3), (404, 0)])
def test_a_project_that_may_not_be_read_is_owed_and_one_that_is_gone_is_not(desk: Desk, status: int, code: int) -> None:
    limit(desk, written_data_bytes=1000)["written_data_bytes"] = 800
    desk.neon.fail("calm-dawn-1", "project", status)
    assert desk.run("poll").code == code


def test_other_thresholds_name_other_levels(desk: Desk) -> None:
    desk.more = "[quota]\nthresholds_percent = [50, 70, 90]\n"
    limit(desk, written_data_bytes=100)["written_data_bytes"] = 75
    desk.good("poll")
    row = rows(desk)["written_data_bytes"]
    assert (row["level"], row["threshold_percent"]) == ("warning", 70)


# -- alerts


@pytest.fixture
def inbox(desk: Desk) -> Iterator[Inbox]:
    with receiving() as found:
        desk.more = (
            f'[[webhooks]]\nurl = "{found.url}"\nsecret_env = "HOOK_SECRET"\nallow_private_network = true\n'
            "[schedule]\nclose_day = 0\n"
        )
        desk.environment["HOOK_SECRET"] = SECRET
        yield found


def test_a_jump_sends_the_highest_threshold_once_and_records_the_others_as_superseded(desk: Desk, inbox: Inbox) -> None:
    counters = limit(desk, written_data_bytes=100)
    counters["written_data_bytes"] = 99
    assert desk.run("tick").code == 0
    assert [event[1:] for event in inbox.events()] == [("quota.threshold_reached", 95)]
    alerts = desk.good("alerts", "list")["alerts"]
    assert sorted((row["threshold_percent"], row["status"]) for row in alerts) == [(80, "superseded"), (95, "send")]
    # The same again, later, and after a rebuild: nothing more.
    desk.now = "2026-10-16T12:20:00Z"
    assert desk.run("tick").code == 0
    assert desk.run("rebuild").code == 0
    assert desk.run("tick").code == 0
    assert len(inbox.posts) == 1


def test_exceeded_carries_100_and_a_raised_limit_and_a_new_period_arm_again(desk: Desk, inbox: Inbox) -> None:
    counters = limit(desk, written_data_bytes=100)
    counters["written_data_bytes"] = 100
    desk.run("tick")
    assert [event[1:] for event in inbox.events()] == [("quota.exceeded", 100)]
    desk.neon.fleet("org-a").projects[0]["settings"]["quota"]["written_data_bytes"] = 120
    desk.now = "2026-10-17T13:00:00Z"
    desk.run("tick")
    assert [event[1:] for event in inbox.events()][1:] == [("quota.threshold_reached", 80)]
    counters.update(
        written_data_bytes=118,
        consumption_period_start="2026-11-01T00:00:00Z",
        consumption_period_end="2026-12-01T00:00:00Z",
    )
    desk.now = "2026-11-05T00:00:00Z"
    desk.run("tick")
    assert [event[1:] for event in inbox.events()][2:] == [("quota.threshold_reached", 95)]
    assert len({event[0] for event in inbox.events()}) == 3


def test_the_webhook_is_signed_as_the_standard_says(desk: Desk, inbox: Inbox) -> None:
    limit(desk, compute_time_seconds=100)["compute_time_seconds"] = 80
    desk.run("tick")
    ((headers, body),) = inbox.posts
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"].split() == [f"v1,{signature}"]
    event = json.loads(body)
    assert set(event) == {"type", "timestamp", "data"}
    data = event["data"]
    assert data["alert_id"] == headers["webhook-id"]
    assert data["project"] == {"id": "calm-dawn-1", "name": "calm-dawn-1"}
    assert data["customer"]["id"] == "calm-dawn-1"
    assert data["period"] == {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"}
    assert (
        data.items()
        >= {
            "plan": "pro",
            "quota": "compute_time_seconds",
            "threshold_percent": 80,
            "percent": "80.00",
            "used": "80",
            "limit": "100",
            "observed_at": "2026-10-16T12:00:00Z",
        }.items()
    )
    assert {"unit", "effect_at_limit", "forecast"} <= set(data)


def test_a_webhook_that_fails_is_retried_under_the_same_id_and_is_no_failure_of_the_tick(
    desk: Desk, inbox: Inbox
) -> None:
    limit(desk, written_data_bytes=100)["written_data_bytes"] = 80
    inbox.status = 503
    assert desk.run("tick").code == 0
    depth = desk.good("status")["outbox"]
    assert [(row["endpoint"], row["pending"]) for row in depth] == [(inbox.url, "1")]
    inbox.status = 200
    desk.now = "2026-10-16T12:00:04Z"
    desk.run("tick")
    assert len(inbox.posts) == 1
    desk.now = "2026-10-16T12:05:00Z"
    desk.run("tick")
    assert len(inbox.posts) == 2
    assert len({event[0] for event in inbox.events()}) == 1
    assert desk.good("status")["outbox"] == []


def test_backfill_evaluates_no_quota(desk: Desk, inbox: Inbox) -> None:
    limit(desk, written_data_bytes=100)["written_data_bytes"] = 99
    desk.good("backfill")
    assert inbox.posts == []
    assert desk.good("alerts", "list")["alerts"] == []


def test_resend_sends_the_same_alert_again_and_an_unknown_one_is_named(desk: Desk, inbox: Inbox) -> None:
    limit(desk, written_data_bytes=100)["written_data_bytes"] = 99
    desk.run("tick")
    (alert,) = [row for row in desk.good("alerts", "list")["alerts"] if row["status"] == "send"]
    ran = desk.run("alerts", "resend", alert["alert_id"])
    assert ran.code == 0, ran
    assert [event[0] for event in inbox.events()] == [alert["alert_id"]] * 2
    unknown = desk.run("alerts", "resend", "alert_nobody")
    assert (unknown.code, unknown.out) == (1, "")
    assert "alert_nobody" in unknown.err


def test_alerts_test_tries_every_endpoint_and_says_how_it_went(desk: Desk, inbox: Inbox) -> None:
    told = desk.good("alerts", "test")
    assert [(row["endpoint"], row["outcome"]) for row in told["endpoints"]] == [(inbox.url, "delivered")]
    inbox.status = 500
    assert desk.run("alerts", "test").code == 1


def test_invoices_are_announced_once(desk: Desk, inbox: Inbox) -> None:
    desk.neon.fleet("org-a").project("calm-dawn-1")
    desk.good("backfill")
    desk.good("close", "2026-09")
    desk.good("close", "2026-09")
    desk.run("tick")
    ((_, body),) = inbox.posts
    event = json.loads(body)
    assert event["type"] == "invoice.finalized"
    assert (event["data"]["number"], event["data"]["total"]) == ("INV-2026-000001", "20.00")
