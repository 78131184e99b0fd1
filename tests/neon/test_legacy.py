"""Organizations on legacy plans: their history is read, certified, reported and billed under names of its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metering.core.errors import PageRefusedError
from metering.core.meters import PREFIX
from metering.neon import legacy, parse_history, wire
from metering.sandbox.access import PERSONAL_KEY
from metering.sandbox.app import create_app
from metering.sandbox.fleet import PAID_ORGANIZATION, Fleet
from metering.sandbox.gate import Clock
from metering.sandbox.query import LEGACY_METRICS
from metering.sandbox.server import serve
from tests.support.plain_neon import PlainNeon, moment, served
from tests.support.platform_desk import PRO, Desk

METER = """
[[meters]]
id = "legacy_compute"
metrics = ["legacy.compute_time_seconds"]
unit = "CU-hour"
divisors = [{ valid_from = 2024-03-01, divisor = "3600" }]

[[meters]]
id = "legacy_rest"
metrics = ["legacy.active_time_seconds", "legacy.written_data_bytes"]
unit = "piece"
divisors = [{ valid_from = 2024-03-01, divisor = "1" }]
"""
PRICED = (
    METER
    + PRO
    + """
[[plans.prices]]
meter = "legacy_compute"
valid_from = 2026-01-01
model = "per_unit"
unit_price = "0.10"
[[plans.prices]]
meter = "legacy_compute"
valid_from = 2026-09-16
model = "per_unit"
unit_price = "0.20"
"""
)
HOUR = 3600


@pytest.fixture
def neon() -> Iterator[PlainNeon]:
    with served(PlainNeon()) as found:
        found.fleet("org-a").histories = {"legacy"}
        found.fleet("org-a").project("bee-1")
        yield found


@pytest.fixture
def desk(tmp_path: Path, neon: PlainNeon) -> Desk:
    return Desk(
        directory=tmp_path,
        neon=neon,
        now="2026-10-03T12:00:00Z",
        default_plan="pro",
        legacy=["org-a"],
        plans=PRICED,
    )


def used(neon: PlainNeon, start: str, compute: int, grain: str = "daily", **more: int) -> None:
    always = dict.fromkeys(legacy.NAMES[:4], 0)
    neon.fleet("org-a").use_legacy("bee-1", start, grain=grain, **{**always, "compute_time_seconds": compute, **more})


def sums(desk: Desk, month: str = "2026-09") -> dict[str, str]:
    return {row["metric"]: row["value"] for row in desk.good("usage", month)["usage"]}


def test_a_legacy_organization_is_polled_reported_and_billed_at_two_dated_prices(desk: Desk, neon: PlainNeon):
    used(neon, "2026-09-10", 30 * HOUR, active_time_seconds=400, written_data_bytes=2**63)
    used(neon, "2026-09-20", 50 * HOUR)
    report = desk.good("backfill")
    assert (report["outcome"], report["notes"]) == ("complete", [])
    document = desk.good("usage", "2026-09")
    assert document["coverage"]["complete"] is True
    shown = {row["metric"]: (row["value"], row["meter"], row["quantity"], row["unit"]) for row in document["usage"]}
    assert shown == {
        "legacy.compute_time_seconds": ("288000", "legacy_compute", "80", "CU-hour"),
        "legacy.active_time_seconds": ("400", "legacy_rest", "400", "piece"),
        "legacy.written_data_bytes": (str(2**63), "legacy_rest", str(2**63), "piece"),
    }
    closed = desk.good("close", "2026-09")
    (invoice,) = closed["invoices"]
    lines = [(line["from"][:10], line["quantity"], line["amount"]) for line in invoice["lines"] if line["meter"]]
    assert lines == [("2026-09-01", "30", "3.00"), ("2026-09-16", "50", "10.00")]
    assert [row["reason"] for row in closed["unpriced"]] == ["not_in_plan", "not_in_plan"]
    assert desk.run("verify").code == 0
    before = desk.good("usage", "2026-09")
    assert desk.run("rebuild").code == 0
    assert desk.good("usage", "2026-09") == before


def test_a_legacy_metric_that_no_meter_names_is_unpriced_and_parks(desk: Desk, neon: PlainNeon):
    desk.plans = PRO
    used(neon, "2026-09-10", 30 * HOUR)
    (note,) = desk.good("backfill")["notes"]
    assert "legacy.compute_time_seconds, which no meter knows" in note
    closed = desk.good("close", "2026-09", code=3)
    assert [row["customer"] for row in closed["parked"]] == ["bee-1"]
    assert [(row["metric"], row["reason"]) for row in closed["unpriced"]] == [
        ("legacy.compute_time_seconds", "no_meter")
    ]


def test_an_organization_that_leaves_the_legacy_plan_in_mid_month_keeps_both_without_mixing(
    desk: Desk, neon: PlainNeon
):
    fleet = neon.fleet("org-a")
    desk.now = "2026-09-14T12:30:00Z"
    for day in ("2026-09-13", "2026-09-14"):
        used(neon, f"{day}T09:00", 5 * HOUR, grain="hourly")
    used(neon, "2026-09-05", 30 * HOUR)
    desk.good("backfill", "--from", "2026-09-01")
    fleet.histories = {"v2"}
    desk.legacy = []
    desk.now = "2026-09-14T16:30:00Z"
    fleet.use("bee-1", "2026-09-14T13:00", compute_unit_seconds=200 * HOUR)
    fleet.use("bee-1", "2026-09-20", grain="daily", compute_unit_seconds=10 * HOUR)
    assert desk.good("poll")["outcome"] == "complete"
    desk.now = "2026-09-15T12:30:00Z"
    assert desk.good("poll")["outcome"] == "complete"
    assert sums(desk)["legacy.compute_time_seconds"] == str(40 * HOUR)  # nothing was revised to zero
    desk.now = "2026-10-03T12:00:00Z"
    desk.good("backfill", "--from", "2026-09-01")
    assert sums(desk) == {"legacy.compute_time_seconds": str(40 * HOUR), "compute_unit_seconds": str(210 * HOUR)}
    assert desk.good("usage", "2026-09")["coverage"]["complete"] is True
    (invoice,) = desk.good("close", "2026-09")["invoices"]
    lines = {line["meter"]: line["quantity"] for line in invoice["lines"] if line["meter"]}
    assert lines == {"legacy_compute": "40", "compute": "110"}
    assert desk.run("verify").code == 0


def test_what_a_later_legacy_walk_leaves_out_is_a_revision_to_zero_of_legacy_metrics_alone(desk: Desk, neon: PlainNeon):
    fleet = neon.fleet("org-a")
    fleet.histories = {"v2", "legacy"}
    fleet.use("bee-1", "2026-10-03T02:00", compute_unit_seconds=7)
    desk.legacy = []
    desk.good("poll")
    desk.legacy = ["org-a"]
    used(neon, "2026-10-03T03:00", 11, grain="hourly")
    used(neon, "2026-10-03T04:00", 13, grain="hourly")
    desk.good("poll")
    assert sums(desk, "2026-10") == {"compute_unit_seconds": "7", "legacy.compute_time_seconds": "24"}
    del fleet.buckets[-1]
    desk.now = "2026-10-03T13:00:00Z"
    desk.good("poll")
    assert sums(desk, "2026-10") == {"compute_unit_seconds": "7", "legacy.compute_time_seconds": "11"}
    desk.legacy = []
    fleet.buckets.clear()
    fleet.use("bee-1", "2026-10-03T02:00", compute_unit_seconds=9)
    desk.good("poll")
    assert sums(desk, "2026-10") == {"compute_unit_seconds": "9", "legacy.compute_time_seconds": "11"}


FROM_THE_16TH = (
    METER
    + PRO
    + """
[[plans.prices]]
meter = "legacy_compute"
valid_from = 2026-09-16
model = "per_unit"
unit_price = "0.10"
[[plans.prices]]
meter = "legacy_compute"
valid_from = 2026-09-16T02:00:00Z
model = "per_unit"
unit_price = "0.20"
"""
)


def told_by_both(desk: Desk, neon: PlainNeon, *hours: str) -> list[Any]:
    """Reads these hours at the legacy endpoint, then at today's, which tells them too; gives the alarms."""
    fleet = neon.fleet("org-a")
    fleet.histories = {"v2", "legacy"}
    desk.now = "2026-09-16T05:30:00Z"
    for hour in hours:
        used(neon, hour, 200 * HOUR, grain="hourly")
        fleet.use("bee-1", hour, compute_unit_seconds=200 * HOUR)
    assert desk.good("poll")["notes"] == []
    desk.legacy = []
    notes = desk.good("poll")["notes"]
    assert desk.good("poll")["notes"] == []  # told once
    alarms: list[Any] = desk.good("status")["alarms"]
    assert notes == [f"{alarm['alarm_id']}: {alarm['summary']}" for alarm in alarms]
    return alarms


def test_hours_that_both_endpoints_tell_stop_the_close_from_when_a_plan_prices_both(desk: Desk, neon: PlainNeon):
    desk.plans = FROM_THE_16TH
    (alarm,) = told_by_both(desk, neon, "2026-09-15T23:00", "2026-09-16T00:00", "2026-09-16T02:00")
    facts = ("double", "org-a", None, "2026-09")
    assert tuple(alarm[name] for name in ("kind", "organization", "other", "month")) == facts
    assert alarm["summary"] == (
        "both endpoints of history tell the usage of org-a in 2026-09, in 2 buckets of 1 projects from "
        "2026-09-16T00:00:00Z, and plans price both: it would be billed twice"
    )
    desk.now = "2026-10-03T12:00:00Z"
    close = ("close", "2026-09", "--allow-incomplete", "read for a day only")
    ran = desk.run(*close)
    assert ran.code == 3 and alarm["alarm_id"] in ran.err
    ran = desk.run("acknowledge", alarm["alarm_id"], "--reason", "x", "--count", "org-a")
    assert ran.code == 2 and "has no two sides" in ran.err
    desk.good("acknowledge", alarm["alarm_id"], "--reason", "both were agreed upon")
    (invoice,) = desk.good(*close)["invoices"]
    lines = [(line["meter"], line["quantity"], line["amount"]) for line in invoice["lines"] if line["meter"]]
    assert lines == [
        ("compute", "500", "80.00"),
        ("legacy_compute", "200", "20.00"),
        ("legacy_compute", "200", "40.00"),
    ]
    assert desk.run("verify").code == 0


@pytest.mark.parametrize(
    ("plans", "hour"),
    [(FROM_THE_16TH, "2026-09-15T23:00"), (METER + PRO, "2026-09-16T02:00")],
    ids=["the hour before", "one has no price"],
)
def test_hours_that_both_endpoints_tell_are_no_alarm_where_only_one_is_priced(
    desk: Desk, neon: PlainNeon, plans: str, hour: str
):
    desk.plans = plans
    assert told_by_both(desk, neon, hour) == []
    assert sums(desk) == {"legacy.compute_time_seconds": str(200 * HOUR), "compute_unit_seconds": str(200 * HOUR)}


def test_check_says_which_endpoint_answers_and_what_to_set(desk: Desk, neon: PlainNeon):
    desk.legacy = []
    found = desk.run("check", "--format", "json")
    assert found.code == 3
    assert 'the legacy endpoint answers: set history = \\"legacy\\"' in found.out
    desk.legacy = ["org-a"]
    assert "available at the legacy endpoint" in desk.run("check", "--format", "table").out
    neon.fleet("org-a").histories = {"v2"}
    assert 'the v2 endpoint answers: set history = \\"v2\\"' in desk.run("check", "--format", "json").out
    neon.fleet("org-a").histories = set()
    assert "answers: set history" not in desk.run("check", "--format", "json").out


def test_a_word_that_is_no_history_is_a_fault_of_its_key(desk: Desk):
    desk.legacy = []
    path = desk.write()
    path.write_text(path.read_text().replace("sponsored = false", 'sponsored = false\nhistory = "v1"'))
    ran = desk.run("status", "--config", str(path), config=False)
    assert ran.code == 4
    assert "organizations[0].history" in ran.err


def body(**bucket: Any) -> bytes:
    times = {"timeframe_start": "2026-09-10T03:00:00Z", "timeframe_end": "2026-09-10T04:00:00Z"}
    period = {"period_id": "not-a-uuid", "period_plan": "pro", "period_start": "2026-09-01T00:00:00Z"}
    periods = [{**period, "consumption": [{**times, **bucket}]}]
    page = {"projects": [{"project_id": "bee-1", "periods": periods}], "pagination": {"cursor": "bee-1"}}
    return json.dumps(page).encode()


def test_a_legacy_page_is_read_under_names_of_its_own():
    found = parse_history.history(legacy.retold(body(active_time_seconds=5, compute_time_seconds=2**64 - 1, novelty=9)))
    assert found.projects == ("bee-1",)
    assert found.buckets.others == [(0, "legacy.active_time_seconds", 5), (0, "legacy.compute_time_seconds", 2**64 - 1)]
    assert found.buckets.start == [moment("2026-09-10T03:00")]
    assert wire.envelope(legacy.retold(body())).cursor == "bee-1"


@pytest.mark.parametrize("value", [-1, 1.5, "7", True, 1e3, [], 2**127])
def test_what_is_no_whole_number_of_zero_or_more_refuses_the_page(value: Any):
    with pytest.raises(PageRefusedError):
        parse_history.history(legacy.retold(body(compute_time_seconds=value)))


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"{}",
        b'{"projects": 1}',
        b'{"projects": [{"project_id": "a", "periods": [{"period_id": "p", "consumption": [3]}]}]}',
        body(compute_time_seconds=1)
        .replace(b'"active', b'"x')
        .replace(b"}]}]}]", b', "compute_time_seconds": 2}]}]}]'),
        body(compute_time_seconds=1).replace(b"1}", b"NaN}"),
    ],
)
def test_what_is_no_legacy_page_is_refused(text: bytes):
    with pytest.raises(PageRefusedError):
        parse_history.history(legacy.retold(text))


def test_a_page_of_today_may_not_use_the_names_of_the_legacy_plans(desk: Desk, neon: PlainNeon):
    neon.fleet("org-a").histories = {"v2"}
    desk.legacy = []
    neon.fleet("org-a").use("bee-1", "2026-10-03T02:00", **{"legacy.compute_time_seconds": 3})
    assert desk.good("poll", code=3)["outcome"] == "partial"
    assert sums(desk, "2026-10") == {}


def test_the_sandbox_has_an_organization_on_a_legacy_plan(tmp_path: Path):
    now = moment("2026-10-03T12:00")
    fleet = Fleet.around(now, seed=3, projects=6)
    app = create_app(fleet, Clock.at(now), faults=[f"legacy-history:{PAID_ORGANIZATION}"])
    with serve(app) as server:
        neon = PlainNeon(url=server.url)
        desk = Desk(
            directory=tmp_path,
            neon=neon,
            now="2026-10-03T12:00:00Z",
            organizations=[PAID_ORGANIZATION],
            default_plan="pro",
            plans=PRICED,
            environment={"NEON_API_KEY": PERSONAL_KEY},
        )
        assert 'set history = \\"legacy\\"' in desk.run("check", "--format", "json").out
        desk.legacy = [PAID_ORGANIZATION]
        assert desk.good("poll")["outcome"] == "complete"
        assert set(sums(desk, "2026-10")) <= {PREFIX + name for name in LEGACY_METRICS}
        assert len(sums(desk, "2026-10")) >= 3
