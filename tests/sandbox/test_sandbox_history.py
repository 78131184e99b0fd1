from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from metering.sandbox.access import PAID_ORGANIZATION_KEY, PROJECT_KEY
from metering.sandbox.fleet import PAID_ORGANIZATION, SPONSORED_ORGANIZATION, Extras
from metering.sandbox.state import truth_table
from tests.support.sandbox_world import DAY_HOURLY, EIGHT, NOW, Asker, sandbox, sums

BRANCHES = "/consumption_history/v2/branches"
LEGACY = "/consumption_history/projects"
SIX = EIGHT.rsplit(",", 2)[0]


@pytest.fixture(scope="module")
def world() -> Iterator[Asker]:
    with sandbox(projects=80) as asker:
        yield asker


def truth_of(world: Asker, start: datetime, end: datetime, **more: str) -> dict[tuple[str, str], int]:
    rows = truth_table(world.state, start, end, **more)
    paid = (row for row in rows if row["organization"] == PAID_ORGANIZATION)
    return {(str(row["project_id"]), str(row["metric"])): int(row["value"]) for row in paid}


def timeframes(projects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [t for project in projects for period in project["periods"] for t in period["consumption"]]


# -- parameters, as strict as the specification


@pytest.mark.parametrize("name", ["from", "to", "granularity", "org_id", "metrics"])
def test_a_missing_required_parameter_is_a_400_that_names_it(world: Asker, name: str):
    answer = world.history(**{name: None})
    assert answer.status_code == 400
    assert answer.json()["code"] == ""
    assert f'"{name}"' in answer.json()["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("granularity", "weekly"),
        ("from", "2026-11-14"),
        ("from", "2026-11-14T12:00:00"),
        ("to", "2026-11-15T13:00:00 00:00"),
        ("to", "2026-13-15T13:00:00Z"),
        ("org_id", "Org_Paid"),
        ("metrics", "compute_unit_seconds,compute_time_seconds"),
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "ten"),
        ("project_ids", "UPPER-case-1"),
        ("project_ids", ",".join(f"p-{n}" for n in range(101))),
        ("cursor", "no-such-project-1"),
    ],
)
def test_a_bad_parameter_is_a_400_that_names_it(world: Asker, name: str, value: str):
    answer = world.history(**{name: value})
    assert answer.status_code == 400
    assert f'"{name}"' in answer.json()["message"]


def test_lists_may_be_repeated_or_comma_separated_or_both(world: Asker):
    a, b, c = (project["project_id"] for project in world.history(limit="3").json()["projects"])
    commas = world.history(project_ids=f"{a},{b},{c}").json()
    repeated = world.history(project_ids=[a, f"{b},{c}"], metrics=EIGHT.split(",")).json()
    assert commas == repeated
    assert [project["project_id"] for project in commas["projects"]] == [a, b, c]


def test_unknown_project_ids_are_left_out(world: Asker):
    first = world.history(limit="1").json()["projects"][0]["project_id"]
    answer = world.history(project_ids=f"{first},no-such-12345678").json()
    assert [project["project_id"] for project in answer["projects"]] == [first]


@pytest.mark.parametrize(
    ("granularity", "oldest", "too_old"),
    [
        ("hourly", NOW - timedelta(hours=168), NOW - timedelta(hours=168, seconds=1)),
        ("daily", NOW - timedelta(days=60), NOW - timedelta(days=60, seconds=1)),
        ("monthly", NOW - timedelta(days=365), NOW - timedelta(days=365, seconds=1)),
    ],
)
def test_a_range_beyond_the_lookback_from_the_servers_now_is_a_406(
    world: Asker, granularity: str, oldest: datetime, too_old: datetime
):
    params = {"to": "2026-12-01T00:00:00Z", "granularity": granularity, "limit": "1"}
    assert world.history(**{**params, "from": oldest.isoformat().replace("+00:00", "Z")}).status_code == 200
    assert world.history(**{**params, "from": too_old.isoformat().replace("+00:00", "Z")}).status_code == 406


def test_a_range_that_ends_before_it_starts_is_a_406(world: Asker):
    assert world.history(to="2026-11-14T11:00:00Z").status_code == 406


# -- rounding and the running bucket


def test_from_and_to_are_rounded_down(world: Asker):
    exact = world.history().json()
    assert world.history(**{"from": "2026-11-14T12:59:59Z", "to": "2026-11-15T13:59:59Z"}).json() == exact


def test_to_at_the_last_second_of_a_day_loses_that_day(world: Asker):
    found = world.walk(**{"from": "2026-11-10T00:00:00Z", "to": "2026-11-14T23:59:59Z", "granularity": "daily"})
    assert max(t["timeframe_start"] for t in timeframes(found)) == "2026-11-13T00:00:00Z"


def test_the_running_bucket_comes_only_when_to_is_the_start_of_the_next(world: Asker):
    day = {"from": "2026-11-14T00:00:00Z", "granularity": "daily"}
    until_now = world.walk(**day, to="2026-11-15T12:07:00Z")
    until_tomorrow = world.walk(**day, to="2026-11-16T00:00:00Z")
    assert {t["timeframe_start"] for t in timeframes(until_now)} == {"2026-11-14T00:00:00Z"}
    assert {t["timeframe_start"] for t in timeframes(until_tomorrow)} == {
        "2026-11-14T00:00:00Z",
        "2026-11-15T00:00:00Z",
    }


def test_the_running_bucket_grows_until_it_is_whole():
    with sandbox() as world:
        always = next(p for p in world.state.projects if p.activity == "always")
        seen = []
        for minute in ("00", "15", "30", "45", "59"):
            world.move(f"2026-11-15T14:{minute}:00Z")
            hour = {"from": "2026-11-15T14:00:00Z", "to": "2026-11-15T15:00:00Z", "project_ids": always.id}
            seen.append(sums(world.walk(**hour)).get((always.id, "compute_unit_seconds"), 0))
        world.move("2026-11-16T14:00:00Z")
        final = sums(world.walk(**hour))[always.id, "compute_unit_seconds"]
    assert seen == [0, final // 4, final // 2, final * 3 // 4, final * 3 // 4]


# -- the order and the ends of pages


def test_projects_come_newest_first_and_timeframes_ascend(world: Asker):
    found = world.walk(limit="7")
    created = [world.state.consumption(project["project_id"]).project.created_at for project in found]
    assert created == sorted(created, reverse=True)
    for project in found:
        starts = [t["timeframe_start"] for period in project["periods"] for t in period["consumption"]]
        assert starts == sorted(starts)


def test_the_default_page_holds_ten_projects(world: Asker):
    assert len(world.history(limit=None).json()["projects"]) == 10


def test_a_last_page_that_is_not_full_has_no_pagination(world: Asker):
    assert "pagination" not in world.history(limit="100").json()


def test_a_full_last_page_has_a_cursor_and_an_empty_page_follows_without_one(world: Asker):
    count = len(world.walk(limit="100"))
    last = world.history(limit=str(count)).json()
    assert last["pagination"] == {"cursor": last["projects"][-1]["project_id"]}
    assert world.history(limit=str(count), cursor=last["pagination"]["cursor"]).json() == {"projects": []}


def test_the_size_of_pages_changes_nothing(world: Asker):
    assert world.walk(limit="1") == world.walk(limit="7") == world.walk(limit="100")


def test_a_project_created_during_a_walk_appears_only_before_the_cursor():
    with sandbox(projects=200) as world:
        first = world.history(limit="5").json()
        before = [project["project_id"] for project in world.walk()]
        world.move("2026-11-20T11:00:00Z")
        after = [project["project_id"] for project in world.walk()]
        rest = world.walk(cursor=first["pagination"]["cursor"])
        walked = [project["project_id"] for project in first["projects"] + rest]
    assert len(after) > len(before)
    assert walked == before


# -- what is missing, late, revised


def test_a_project_without_usage_in_the_window_has_no_periods(world: Asker):
    empty = [project for project in world.walk() if project["periods"] == []]
    assert empty
    activity = Counter(world.state.consumption(project["project_id"]).project.activity for project in empty)
    assert activity["dormant"] > 0


def test_a_zero_is_left_out_or_present_in_one_and_the_same_answer(world: Asker):
    lists = [t["metrics"] for t in timeframes(world.walk())]
    assert any(metric["value"] == 0 for metrics in lists for metric in metrics)
    assert any(len(metrics) < 8 for metrics in lists)


def test_metrics_stand_in_no_fixed_order_and_never_twice(world: Asker):
    orders = [tuple(metric["metric_name"] for metric in t["metrics"]) for t in timeframes(world.walk())]
    assert len({order for order in orders if len(order) == 4}) > 1
    assert all(len(set(order)) == len(order) for order in orders)


def test_values_are_integers(world: Asker):
    assert all(type(m["value"]) is int for t in timeframes(world.walk()) for m in t["metrics"])


def test_an_hour_may_be_late_but_is_there_an_hour_after_its_end():
    with sandbox(projects=200) as world:
        world.move("2026-11-15T12:00:00Z")
        hour = {"from": "2026-11-15T11:00:00Z", "to": "2026-11-15T12:00:00Z"}
        at_the_end = sums(world.walk(**hour))
        world.move("2026-11-15T12:50:00Z")
        after_fifty_minutes = sums(world.walk(**hour))
        world.move("2026-11-15T13:00:00Z")
        after_an_hour = sums(world.walk(**hour))
    assert set(at_the_end) < set(after_fifty_minutes)
    assert after_fifty_minutes == after_an_hour


def test_an_hour_may_be_revised_up_or_down_or_away_and_is_final_twenty_hours_after_its_end():
    with sandbox(projects=200) as world:
        day = {"from": "2026-11-14T12:00:00Z", "to": "2026-11-15T12:00:00Z"}
        world.move("2026-11-15T13:00:00Z")
        early = sums(world.walk(**day))
        world.move("2026-11-16T08:00:00Z")
        final = sums(world.walk(**day))
        world.move("2026-11-16T20:00:00Z")
        later = sums(world.walk(**day))
        expected = truth_of(world, datetime(2026, 11, 14, 12, tzinfo=UTC), datetime(2026, 11, 15, 12, tzinfo=UTC))
    assert any(final[key] > early[key] for key in early if key in final)
    assert any(final[key] < early[key] for key in early if key in final)
    assert set(early) - set(final)
    assert final == later == expected


# -- truth


def test_a_week_of_final_hours_sums_to_the_truth(world: Asker):
    found = sums(world.walk(**{"from": "2026-11-09T00:00:00Z", "to": "2026-11-14T00:00:00Z"}))
    assert found == truth_of(world, datetime(2026, 11, 9, tzinfo=UTC), datetime(2026, 11, 14, tzinfo=UTC))


def test_daily_and_monthly_buckets_sum_to_their_own_truth(world: Asker):
    october, november = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
    month = {"from": "2026-10-01T00:00:00Z", "to": "2026-11-01T00:00:00Z"}
    daily = sums(world.walk(**month, granularity="daily"))
    monthly = sums(world.walk(**month, granularity="monthly"))
    assert daily == truth_of(world, october, november, granularity="daily")
    assert monthly == truth_of(world, october, november, granularity="monthly")
    assert daily != monthly


def test_polling_through_a_plan_change_inside_an_hour_arrives_at_the_truth():
    """Polled every six hours for the last 24 around 2026-10-10T10:30Z; the latest value of a bucket counts."""
    latest: dict[tuple[str, str, str, str], int] = {}
    with sandbox(projects=24) as world:
        moment = datetime(2026, 10, 10, tzinfo=UTC)
        while moment <= datetime(2026, 10, 12, 6, tzinfo=UTC):
            world.move(f"{moment:%Y-%m-%dT%H:%M:%SZ}")
            start, end = moment - timedelta(hours=24), moment + timedelta(hours=1)
            window = {"from": f"{start:%Y-%m-%dT%H:%M:%SZ}", "to": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
            seen = {}
            for project in world.walk(**window):
                for period in project["periods"]:
                    for t in period["consumption"]:
                        for m in t["metrics"]:
                            key = project["project_id"], period["period_id"], t["timeframe_start"], m["metric_name"]
                            seen[key] = m["value"]
            latest = {key: 0 if key[2] >= window["from"] else value for key, value in latest.items()} | seen
            moment += timedelta(hours=6)
        expected = truth_of(world, datetime(2026, 10, 10, tzinfo=UTC), datetime(2026, 10, 11, tzinfo=UTC))
    found: Counter[tuple[str, str]] = Counter()
    for (project_id, _, start_text, metric), value in latest.items():
        if start_text.startswith("2026-10-10"):
            found[project_id, metric] += value
    assert {key: value for key, value in found.items() if value} == expected


# -- billing periods


def test_a_plan_change_inside_an_hour_shows_the_same_bucket_under_two_periods():
    with sandbox(now=datetime(2026, 10, 12, 9, tzinfo=UTC), start=datetime(2026, 9, 2, 18, 4, 52, tzinfo=UTC)) as world:
        found = world.walk(**{"from": "2026-10-10T10:00:00Z", "to": "2026-10-10T11:00:00Z"})
        two = next(project["periods"] for project in found if len(project["periods"]) == 2)
        assert {period["period_id"] for project in found for period in project["periods"]} == {
            two[0]["period_id"],
            two[1]["period_id"],
        }
    assert [(p["period_plan"], p["period_start"], p.get("period_end")) for p in two] == [
        ("launch", "2026-10-01T00:00:00Z", "2026-10-10T10:30:00Z"),
        ("scale", "2026-10-10T10:30:00Z", None),
    ]
    assert [p["consumption"][0]["timeframe_start"] for p in two] == ["2026-10-10T10:00:00Z"] * 2


def test_the_first_period_begins_inside_a_month_and_its_buckets_are_whole_utc_days(world: Asker):
    found = world.walk(**{"from": "2026-09-16T13:00:00Z", "to": "2026-11-16T00:00:00Z", "granularity": "daily"})
    periods = [period for project in found for period in project["periods"]]
    first = min(periods, key=lambda period: str(period["period_start"]))
    assert first["consumption"][0]["timeframe_start"].endswith("T00:00:00Z")
    assert first["period_start"] == "2026-09-02T18:04:52Z"
    assert first["period_end"] == "2026-10-01T00:00:00Z"


def test_the_running_period_has_no_end(world: Asker):
    periods = [period for project in world.walk() for period in project["periods"]]
    assert periods
    assert all("period_end" not in period for period in periods)


# -- deletion and transfer


def test_a_deleted_project_stays_in_history(world: Asker):
    start, end = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
    paid = [p for p in world.state.projects if p.organization == PAID_ORGANIZATION and p.activity != "dormant"]
    gone = [p for p in paid if p.deleted_at and start < p.deleted_at < end]
    october = {"from": "2026-10-01T00:00:00Z", "to": "2026-11-01T00:00:00Z", "granularity": "daily"}
    listed = {project["project_id"]: project["periods"] for project in world.walk(**october)}
    assert gone
    assert all(listed[project.id] for project in gone)


def test_a_project_deleted_over_the_api_keeps_what_it_used_and_uses_no_more():
    with sandbox() as world:
        always = next(p for p in world.state.projects if p.activity == "always")
        headers = {"Authorization": "Bearer sandbox-key"}
        assert world.client.delete(f"/projects/{always.id}", headers=headers).status_code == 200
        world.move("2026-11-17T12:00:00Z")
        assert world.get(f"/projects/{always.id}").status_code == 404
        found = world.walk(**{"from": "2026-11-15T00:00:00Z", "to": "2026-11-17T00:00:00Z"})
        hours = [t["timeframe_start"] for t in timeframes([p for p in found if p["project_id"] == always.id])]
    assert max(hours) == "2026-11-15T12:00:00Z"


def test_after_a_transfer_the_new_organization_shows_only_what_was_used_there():
    now, start = datetime(2026, 10, 13, 12, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC)
    window = {"from": "2026-10-08T00:00:00Z", "to": "2026-10-12T00:00:00Z"}
    with sandbox(now=now, start=start, extras=Extras(transfers=6, plan_changes=False)) as world:
        moved = next(p for p in world.state.projects if len(p.homes) == 2 and p.activity != "dormant")
        found = world.walk(**window, project_ids=moved.id)
        truth = truth_of(world, datetime(2026, 10, 8, tzinfo=UTC), datetime(2026, 10, 12, tzinfo=UTC))
    assert moved.homes[1] == (datetime(2026, 10, 11, 15, 20, tzinfo=UTC), PAID_ORGANIZATION)
    assert min(t["timeframe_start"] for t in timeframes(found)) == "2026-10-11T15:00:00Z"
    assert sums(found) == {key: value for key, value in truth.items() if key[0] == moved.id}


# -- who may ask


def test_the_sponsored_organization_answers_403_for_history(world: Asker):
    answer = world.history(org_id=SPONSORED_ORGANIZATION)
    assert answer.status_code == 403
    assert "plan" in answer.json()["message"]


def test_an_organization_that_is_not_ones_own_is_a_404(world: Asker):
    assert world.history(org_id="org-foreign-99999999").status_code == 404
    assert world.history(key=PAID_ORGANIZATION_KEY, org_id=SPONSORED_ORGANIZATION).status_code == 404


def test_an_organization_key_still_needs_org_id(world: Asker):
    assert world.history(key=PAID_ORGANIZATION_KEY).status_code == 200
    assert world.history(key=PAID_ORGANIZATION_KEY, org_id=None).status_code == 400


def test_a_project_scoped_key_gets_404_for_history(world: Asker):
    answer = world.history(key=PROJECT_KEY)
    assert answer.status_code == 404
    assert answer.json()["message"] == "not allowed to perform actions outside the project this key is scoped to"


# -- the two other history endpoints


def test_branch_history_needs_project_ids_and_knows_six_metrics(world: Asker):
    assert '"project_ids"' in world.history(BRANCHES, metrics=SIX).json()["message"]
    answer = world.history(BRANCHES, metrics="extra_branches_month", project_ids="some-project-12345678")
    assert '"metrics"' in answer.json()["message"]
    assert world.history(BRANCHES, metrics=SIX, project_ids="a-b-12345678", limit="1000").status_code == 200
    assert world.history(BRANCHES, metrics=SIX, project_ids="a-b-12345678", limit="1001").status_code == 400


def test_the_branches_of_a_project_sum_to_the_project(world: Asker):
    project = next(p for p in world.state.projects if p.activity == "moderate" and p.children and p.lives_at(NOW))
    window = {**DAY_HOURLY, "to": "2026-11-14T15:00:00Z", "metrics": SIX, "project_ids": project.id}
    whole = sums(world.walk(**window))
    page = world.history(BRANCHES, **window).json()
    branches = [{**branch, "project_id": project.id} for branch in page["branches"]]
    assert len({branch["branch_id"] for branch in page["branches"]}) > 1
    assert sums(branches) == whole


def test_branch_pages_may_split_a_project_and_lose_nothing(world: Asker):
    ids = [p.id for p in world.state.projects if p.organization == PAID_ORGANIZATION and p.children][:3]
    window = {"metrics": SIX, "project_ids": ",".join(ids)}
    whole = world.history(BRANCHES, **window, limit="1000").json()["branches"]
    walked, cursor = [], None
    while True:
        page = world.history(BRANCHES, **window, limit="2", cursor=cursor).json()
        walked += page["branches"]
        if "pagination" not in page:
            break
        cursor = page["pagination"]["cursor"]
    assert walked == whole
    assert [b["project_id"] for b in whole] == sorted(b["project_id"] for b in whole)


def test_the_legacy_endpoint_is_403_on_launch_and_has_no_transfer_on_scale():
    with sandbox(projects=8, extras=Extras(plan_changes=False)) as world:
        assert world.history(LEGACY, metrics=None).status_code == 403
    with sandbox(projects=8) as world:
        frames = timeframes(world.history(LEGACY, metrics=None).json()["projects"])
        refused = world.history(LEGACY, metrics="data_transfer_bytes")
    assert frames
    assert set(frames[0]) == {
        "timeframe_start",
        "timeframe_end",
        "active_time_seconds",
        "compute_time_seconds",
        "written_data_bytes",
        "synthetic_storage_size_bytes",
    }
    assert {frame["synthetic_storage_size_bytes"] for frame in frames} == {0}
    assert refused.status_code == 400


def test_the_legacy_endpoint_takes_the_organization_from_an_organization_key(world: Asker):
    assert world.history(LEGACY, key=PAID_ORGANIZATION_KEY, org_id=None, metrics=None).status_code == 200


def test_the_account_endpoint_is_gone(world: Asker):
    assert world.history("/consumption_history/account").status_code == 404


def test_an_organization_without_projects_gives_an_empty_page():
    with sandbox(projects=0) as world:
        assert world.history().json() == {"projects": []}
