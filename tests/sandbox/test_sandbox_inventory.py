from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from metering.sandbox.access import PAID_ORGANIZATION_KEY, PROJECT_KEY, SPONSORED_ORGANIZATION_KEY, Budget
from metering.sandbox.fleet import PAID_ORGANIZATION, SPONSORED_ORGANIZATION
from metering.sandbox.gate import Limits
from metering.sandbox.state import truth
from tests.support.sandbox_world import NOW, Asker, sandbox

ZERO_TIME = "0001-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def world() -> Iterator[Asker]:
    with sandbox(projects=80) as asker:
        yield asker


def listing(world: Asker, **params: str) -> Any:
    return world.get("/projects", **{"org_id": PAID_ORGANIZATION, "limit": "400", **params}).json()


def change(world: Asker, method: str, path: str, body: object, key: str = "sandbox-key") -> httpx.Response:
    return world.client.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})


# -- keys and headers


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "sandbox-key"}])
def test_without_a_good_bearer_key_everything_is_a_401(world: Asker, header: dict[str, str]):
    answer = world.client.get("/projects", headers=header)
    assert answer.status_code == 401
    assert answer.json()["message"] == "supplied credentials do not pass authentication"
    assert answer.json()["code"] == ""
    assert answer.json()["request_id"] == answer.headers["x-neon-ret-request-id"]


def test_every_answer_has_a_request_id_of_its_own_and_the_servers_date(world: Asker):
    first, second = world.get("/auth"), world.get("/auth")
    assert first.headers["x-neon-ret-request-id"] != second.headers["x-neon-ret-request-id"]
    assert first.headers["date"] == "Sun, 15 Nov 2026 12:07:00 GMT"


def test_a_request_id_of_the_clients_own_is_kept(world: Asker):
    answer = world.client.get("/auth", headers={"Authorization": "Bearer sandbox-key", "X-Request-ID": "mine"})
    assert answer.headers["x-neon-ret-request-id"] == "mine"


def test_auth_says_what_kind_of_key_it_is(world: Asker):
    assert world.get("/auth").json()["auth_method"] == "api_key_user"
    assert world.get("/auth", key=PAID_ORGANIZATION_KEY).json() == {
        "account_id": PAID_ORGANIZATION,
        "auth_method": "api_key_org",
    }


def test_the_organizations_of_a_user_carry_a_plan_with_a_version_suffix(world: Asker):
    found = world.get("/users/me/organizations").json()["organizations"]
    assert [(one["id"], one["plan"]) for one in found] == [
        (PAID_ORGANIZATION, "scale_v2"),
        (SPONSORED_ORGANIZATION, "free_v2"),
    ]
    assert world.get(f"/organizations/{PAID_ORGANIZATION}").json() == found[0]


def test_an_organization_key_may_not_list_the_users_organizations(world: Asker):
    answer = world.get("/users/me/organizations", key=PAID_ORGANIZATION_KEY)
    assert answer.status_code == 403
    assert answer.json()["message"] == "not allowed for organization API keys"


def test_an_organization_key_sees_no_other_organization(world: Asker):
    theirs = listing(world, org_id=SPONSORED_ORGANIZATION)["projects"][0]["id"]
    assert world.get(f"/organizations/{SPONSORED_ORGANIZATION}", key=PAID_ORGANIZATION_KEY).status_code == 404
    assert world.get(f"/projects/{theirs}", key=PAID_ORGANIZATION_KEY).status_code == 404
    assert world.get(f"/projects/{theirs}", key=SPONSORED_ORGANIZATION_KEY).status_code == 200


def test_a_project_scoped_key_sees_its_project_and_nothing_else(world: Asker):
    own = next(iter(world.state.fleet.projects))
    other = listing(world)["projects"][0]["id"]
    assert world.get(f"/projects/{own}", key=PROJECT_KEY).status_code == 200
    for path in ("/projects", f"/projects/{other}", "/users/me/organizations"):
        answer = world.get(path, key=PROJECT_KEY)
        assert answer.status_code == 404
        assert "this key is scoped to" in answer.json()["message"]


# -- the list of projects


def test_the_list_always_has_a_cursor_and_ends_with_an_empty_page_that_echoes_it(world: Asker):
    page = listing(world)
    last = page["projects"][-1]["id"]
    assert page["pagination"] == {"cursor": last}
    assert listing(world, cursor=last) == {
        "projects": [],
        "applications": {},
        "integrations": {},
        "pagination": {"cursor": last},
    }


def test_an_organization_without_projects_is_listed_without_pagination():
    with sandbox(projects=0) as empty:
        assert listing(empty) == {"projects": [], "applications": {}, "integrations": {}}


def test_the_default_page_holds_ten_and_pages_join_without_loss(world: Asker):
    ten = world.get("/projects", org_id=PAID_ORGANIZATION).json()
    rest = listing(world, cursor=ten["pagination"]["cursor"])
    assert len(ten["projects"]) == 10
    assert ten["projects"] + rest["projects"] == listing(world)["projects"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", "0"), ("limit", "401"), ("timeout", "99"), ("recoverable", "yes"), ("cursor", "no-such-project-1")],
)
def test_a_bad_parameter_of_the_list_is_a_400_that_names_it(world: Asker, name: str, value: str):
    answer = world.get("/projects", **{"org_id": PAID_ORGANIZATION, name: value})
    assert answer.status_code == 400
    assert f'"{name}"' in answer.json()["message"]


def test_a_personal_key_gives_the_organization_and_an_organization_key_need_not(world: Asker):
    assert world.get("/projects").status_code == 400
    assert world.get("/projects", key=PAID_ORGANIZATION_KEY, limit="400").json() == listing(world)


def test_search_finds_by_part_of_a_name_or_an_id(world: Asker):
    one = listing(world)["projects"][3]
    for part in (one["id"][2:9], one["name"].upper()[5:14]):
        assert one["id"] in [project["id"] for project in listing(world, search=part)["projects"]]
    assert listing(world, search="no such thing")["projects"] == []


def test_a_list_item_has_quotas_but_neither_counters_nor_period_bounds(world: Asker):
    items = listing(world)["projects"]
    assert any(item["settings"].get("quota") for item in items)
    for name in ("compute_time_seconds", "data_transfer_bytes", "consumption_period_start"):
        assert all(name not in item for item in items)
    assert {item["effective_project_permission"] for item in items} == {"ADMIN"}


def test_deleted_projects_are_listed_as_recoverable_for_seven_days_only():
    with sandbox() as world:
        gone = listing(world)["projects"][0]["id"]
        change(world, "DELETE", f"/projects/{gone}", None)
        assert gone not in [project["id"] for project in listing(world)["projects"]]
        found = {project["id"]: project for project in listing(world, recoverable="true")["projects"]}
        assert found[gone]["deleted_at"] == "2026-11-15T12:07:00Z"
        assert found[gone]["recoverable_until"] == "2026-11-22T12:07:00Z"
        world.move("2026-11-22T12:06:59Z")
        assert gone in [project["id"] for project in listing(world, recoverable="true")["projects"]]
        world.move("2026-11-22T12:07:00Z")
        assert gone not in [project["id"] for project in listing(world, recoverable="true")["projects"]]


def test_a_walk_goes_on_behind_a_cursor_whose_project_was_deleted():
    with sandbox() as world:
        first = world.get("/projects", org_id=PAID_ORGANIZATION, limit="3").json()
        whole = [project["id"] for project in listing(world)["projects"]]
        change(world, "DELETE", f"/projects/{first['pagination']['cursor']}", None)
        rest = listing(world, cursor=first["pagination"]["cursor"])["projects"]
    assert [project["id"] for project in rest] == whole[3:]


# -- one project


def test_the_period_of_a_project_is_the_month_and_begins_with_the_account_in_its_first(world: Asker):
    project_id = listing(world)["projects"][-1]["id"]
    body = world.get(f"/projects/{project_id}").json()["project"]
    bounds = body["consumption_period_start"], body["consumption_period_end"]
    assert bounds == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    with sandbox(now=datetime(2026, 9, 5, 12, tzinfo=UTC), start=datetime(2026, 9, 2, 18, 4, 52, tzinfo=UTC)) as young:
        project_id = listing(young)["projects"][-1]["id"]
        body = young.get(f"/projects/{project_id}").json()["project"]
    bounds = body["consumption_period_start"], body["consumption_period_end"]
    assert bounds == ("2026-09-02T18:04:52Z", "2026-10-01T00:00:00Z")


def test_the_compute_counter_is_the_history_since_the_period_began_up_to_an_hour_behind(world: Asker):
    always = next(p for p in world.state.projects if p.activity == "always" and p.lives_at(NOW))
    shown = world.get(f"/projects/{always.id}").json()["project"]["compute_time_seconds"]
    november = datetime(2026, 11, 1, tzinfo=UTC)
    until = [
        truth(world.state, always.id, november, NOW - timedelta(hours=age), "compute_unit_seconds") for age in (1, 0)
    ]
    assert until[0] <= shown <= until[1]


def test_a_counter_restarts_with_the_month():
    with sandbox() as world:
        always = next(p for p in world.state.projects if p.activity == "always")
        world.move("2026-11-30T23:59:00Z")
        before = world.get(f"/projects/{always.id}").json()["project"]["compute_time_seconds"]
        world.move("2026-12-01T02:00:00Z")
        after = world.get(f"/projects/{always.id}").json()["project"]
    assert after["consumption_period_start"] == "2026-12-01T00:00:00Z"
    assert 0 < after["compute_time_seconds"] < before // 100


def test_an_unknown_project_is_a_404_in_the_apis_form(world: Asker):
    answer = world.get("/projects/no-such-12345678")
    assert answer.status_code == 404
    assert set(answer.json()) == {"request_id", "code", "message"}


# -- changes


def test_a_patch_changes_the_named_quotas_only_and_answers_with_zero_time_bounds():
    with sandbox() as world:
        project_id = listing(world)["projects"][0]["id"]
        path = f"/projects/{project_id}"
        change(world, "PATCH", path, {"project": {"settings": {"quota": {"compute_time_seconds": 3600}}}})
        body = {"project": {"settings": {"quota": {"data_transfer_bytes": 0}}}}
        answer = change(world, "PATCH", path, body).json()
        assert answer["operations"] == []
        assert answer["project"]["consumption_period_start"] == ZERO_TIME
        assert answer["project"]["consumption_period_end"] == ZERO_TIME
        shown = world.get(path).json()["project"]
        assert shown["settings"]["quota"] == {"compute_time_seconds": 3600, "data_transfer_bytes": 0}
        assert shown["settings"]["allowed_ips"] == {"ips": [], "protected_branches_only": False}
        assert shown["consumption_period_start"] == "2026-11-01T00:00:00Z"


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"project": {"settings": {"quota": {"compute_time_seconds": -1}}}},
        {"project": {"settings": {"quota": {"compute_time_seconds": "3600"}}}},
        {"project": {"settings": {"quota": {"compute_time_seconds": True}}}},
        {"project": {"settings": {"quota": {"compute_time_seconds": 2**63}}}},
        {"project": {"name": ""}},
    ],
)
def test_a_bad_patch_is_a_400_and_changes_nothing(world: Asker, body: object):
    path = f"/projects/{listing(world)['projects'][0]['id']}"
    before = world.get(path).json()
    assert change(world, "PATCH", path, body).status_code == 400
    assert world.get(path).json() == before


def test_a_rename_shows_at_once():
    with sandbox() as world:
        path = f"/projects/{listing(world)['projects'][0]['id']}"
        change(world, "PATCH", path, {"project": {"name": "acme-cust9-pro-1"}})
        assert world.get(path).json()["project"]["name"] == "acme-cust9-pro-1"


def test_a_delete_answers_with_the_last_counters_and_zero_time_bounds():
    with sandbox() as world:
        always = next(p for p in world.state.projects if p.activity == "always")
        counter = world.get(f"/projects/{always.id}").json()["project"]["compute_time_seconds"]
        body = change(world, "DELETE", f"/projects/{always.id}", None).json()["project"]
        assert body["compute_time_seconds"] == counter > 0
        assert body["consumption_period_end"] == ZERO_TIME
        assert change(world, "DELETE", f"/projects/{always.id}", None).status_code == 404


# -- branches


def branches(world: Asker, project_id: str, **params: str) -> Any:
    return world.get(f"/projects/{project_id}/branches", **params).json()


def test_without_a_limit_branches_end_with_a_next_that_leads_to_an_empty_page(world: Asker):
    project_id = next(p.id for p in world.state.projects if not p.children and p.lives_at(NOW))
    page = branches(world, project_id)
    assert len(page["branches"]) == 1
    following = branches(world, project_id, cursor=page["pagination"]["next"])
    assert following["branches"] == []
    assert "next" not in following["pagination"]


def test_with_a_limit_the_last_page_of_branches_has_pagination_without_next(world: Asker):
    project_id = next(p.id for p in world.state.projects if p.children >= 3 and p.lives_at(NOW))
    whole = branches(world, project_id, limit="100")
    assert "next" not in whole["pagination"]
    walked, cursor = [], {}
    while True:
        page = branches(world, project_id, limit="2", **cursor)
        walked += page["branches"]
        if "next" not in page["pagination"]:
            break
        cursor = {"cursor": page["pagination"]["next"]}
    assert walked == whole["branches"]


def test_logical_size_is_absent_on_some_branches(world: Asker):
    found = [b for p in world.state.projects if p.lives_at(NOW) for b in branches(world, p.id, limit="100")["branches"]]
    assert any("logical_size" not in branch for branch in found)
    assert all("logical_size" in branch for branch in found if branch["default"])


def test_a_bad_branch_cursor_is_a_400(world: Asker):
    project_id = listing(world)["projects"][0]["id"]
    for cursor in ("nonsense", "e30="):
        assert world.get(f"/projects/{project_id}/branches", cursor=cursor).status_code == 400


# -- transfer


def transfer(world: Asker, source: str, target: str, *ids: str, key: str = "sandbox-key") -> httpx.Response:
    body = {"destination_org_id": target, "project_ids": list(ids)}
    return change(world, "POST", f"/organizations/{source}/projects/transfer", body, key)


def test_a_transfer_moves_projects_from_the_sponsored_to_the_paid_organization():
    with sandbox() as world:
        ids = [project["id"] for project in listing(world, org_id=SPONSORED_ORGANIZATION)["projects"][:2]]
        answer = transfer(world, SPONSORED_ORGANIZATION, PAID_ORGANIZATION, *ids)
        assert (answer.status_code, answer.json()) == (200, {})
        assert set(ids) <= {project["id"] for project in listing(world)["projects"]}
        left = {project["id"] for project in listing(world, org_id=SPONSORED_ORGANIZATION)["projects"]}
        assert not left & set(ids)
        assert world.get(f"/projects/{ids[0]}").json()["project"]["org_id"] == PAID_ORGANIZATION


def test_a_transfer_to_a_plan_that_does_not_fit_is_a_406_with_limits(world: Asker):
    project_id = listing(world)["projects"][0]["id"]
    answer = transfer(world, PAID_ORGANIZATION, SPONSORED_ORGANIZATION, project_id)
    assert answer.status_code == 406
    assert answer.json() == {"limits": [{"name": "subscription_type", "expected": "scale", "actual": "free"}]}


def test_a_transfer_needs_a_personal_key_and_projects_of_the_source(world: Asker):
    project_id = listing(world)["projects"][0]["id"]
    refused = transfer(world, PAID_ORGANIZATION, SPONSORED_ORGANIZATION, project_id, key=PAID_ORGANIZATION_KEY)
    assert refused.status_code == 403
    assert transfer(world, SPONSORED_ORGANIZATION, PAID_ORGANIZATION, project_id).status_code == 404
    assert transfer(world, PAID_ORGANIZATION, "org-nowhere-1", project_id).status_code == 404
    assert transfer(world, PAID_ORGANIZATION, SPONSORED_ORGANIZATION).status_code == 400


# -- budgets and the count


def test_the_history_budget_is_shared_by_its_endpoints_and_spares_the_others():
    with sandbox(projects=4, limits=Limits(history_requests_per_minute=1, history_burst=3)) as world:
        paths = ("/consumption_history/v2/projects", "/consumption_history/projects")
        statuses = [world.history(path, metrics=None).status_code for path in paths * 2]
        assert statuses == [400, 200, 400, 429]
        refused = world.history()
        assert refused.status_code == 429
        assert "retry-after" not in refused.headers
        assert world.get("/auth").status_code == 200


def test_a_budget_refills_with_time():
    budget = Budget(60, 2)
    second = 1_000_000_000
    assert [budget.takes(at) for at in (0, 0, 0, second - 1, second, second)] == [True, True, False, False, True, False]


def test_requests_are_counted_by_endpoint():
    with sandbox(projects=4) as world:
        project_id = next(iter(world.state.fleet.projects))
        for path in ("/projects/" + project_id, "/auth", "/auth"):
            world.get(path)
        counted = world.client.get(world.root_url + "/_sandbox/requests").json()
    assert counted == {"total": 3, "endpoints": {"GET /auth": 2, "GET /projects/{project_id}": 1}}


def test_the_clock_is_read_and_moved_over_http_and_a_bad_time_is_refused():
    with sandbox(projects=4) as world:
        url = world.root_url + "/_sandbox/now"
        assert world.client.get(url).json() == {"now": "2026-11-15T12:07:00Z"}
        world.move("2026-12-24T18:00:00Z")
        assert world.client.get(url).json() == {"now": "2026-12-24T18:00:00Z"}
        for body in ({"now": "tomorrow"}, {"now": "2026-12-24T18:00:00"}, {}, []):
            assert world.client.put(url, json=body).status_code == 400


def test_the_truth_is_told_over_http():
    with sandbox(projects=4) as world:
        params = {"from": "2026-10-01T00:00:00Z", "to": "2026-11-01T00:00:00Z"}
        rows = world.client.get(world.root_url + "/_sandbox/truth", params=params).json()["totals"]
    assert rows
    assert set(rows[0]) == {"organization", "project_id", "metric", "value"}


def test_an_unknown_path_is_a_404_in_the_apis_form(world: Asker):
    answer = world.get("/no/such/path")
    assert answer.status_code == 404
    assert answer.json() == {"code": "", "message": "Not Found"}
