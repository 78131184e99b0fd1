import json
from itertools import pairwise

import httpx
import pytest

from metering.core.errors import UsageError
from metering.sandbox.faults import Mishaps, parse
from metering.sandbox.fleet import PAID_ORGANIZATION
from tests.support.sandbox_world import V2, sandbox, sums


@pytest.mark.parametrize(
    "text",
    ["", "noise", "429:0", "429:1.5", "429:-0.1", "429:x", "429:NaN", "200:0.5", "600", "missing-metric", "slow:0.5:x"],
)
def test_a_fault_that_cannot_be_is_a_wrong_usage(text: str):
    with pytest.raises(UsageError):
        parse(text)


def test_the_same_seed_and_the_same_calls_meet_the_same_faults():
    first, again, other = (Mishaps(["500:0.3"], seed=seed) for seed in (1, 1, 2))
    struck = [[one.status(number) is not None for number in range(200)] for one in (first, again, other)]
    assert struck[0] == struck[1] != struck[2]
    assert 30 < sum(struck[0]) < 90


def test_a_chance_of_one_strikes_always():
    always = Mishaps(["503"])
    assert all(always.status(number) for number in range(100))


def test_a_status_fault_answers_in_the_apis_form_and_does_nothing():
    with sandbox(projects=4, faults=("503",)) as world:
        path = f"/projects/{next(iter(world.state.fleet.projects))}"
        answer = world.client.delete(path, headers={"Authorization": "Bearer sandbox-key"})
        assert answer.status_code == 503
        assert set(answer.json()) == {"request_id", "code", "message"}
        assert world.state.project(path.rsplit("/", 1)[1]).deleted_at is None


def test_a_429_has_no_retry_after_unless_asked():
    with sandbox(projects=4, faults=("429:1",)) as world:
        assert "retry-after" not in world.get("/auth").headers
    with sandbox(projects=4, faults=("429:1:7",)) as world:
        assert world.get("/auth").headers["retry-after"] == "7"


def test_truncate_ends_the_connection_in_the_middle_of_the_body():
    with sandbox(projects=4, faults=("truncate",)) as world, pytest.raises(httpx.RemoteProtocolError):
        world.history()


def test_html200_is_a_page_of_a_gateway():
    with sandbox(projects=4, faults=("html200",)) as world:
        answer = world.history()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_slow_sends_the_whole_body_in_pieces():
    with sandbox(projects=4) as world:
        whole = world.history().content
    with sandbox(projects=4, faults=("slow:1:0",)) as world:
        assert world.history().content == whole


def test_duplicate_project_begins_each_following_page_with_the_project_before():
    with sandbox(projects=40, faults=("duplicate-project",)) as world:
        first = world.history(limit="5").json()["projects"]
        second = world.history(limit="5", cursor=first[-1]["project_id"]).json()["projects"]
        assert second[0] == first[-1]
        assert len(second) == 6


def test_loop_cursor_hands_back_the_cursor_that_it_was_given():
    with sandbox(projects=40, faults=("loop-cursor",)) as world:
        for path in (V2, "/projects"):
            first = world.history(path, limit="5").json()
            cursor = first["pagination"]["cursor"]
            assert world.history(path, limit="5", cursor=cursor).json()["pagination"] == {"cursor": cursor}


def test_unavailable_project_moves_the_last_one_of_the_list_aside():
    with sandbox(projects=12) as world:
        whole = [p["id"] for p in world.get("/projects", org_id=PAID_ORGANIZATION).json()["projects"]]
    with sandbox(projects=12, faults=("unavailable-project",)) as world:
        page = world.get("/projects", org_id=PAID_ORGANIZATION).json()
    assert [p["id"] for p in page["projects"]] == whole[:-1]
    assert page["unavailable_project_ids"] == whole[-1:]


def test_missing_metric_and_new_metric_change_every_bucket():
    with sandbox(projects=12) as world:
        whole = sums(world.walk())
    faults = ("missing-metric:root_branch_bytes_month", "new-metric:example_future_metric")
    with sandbox(projects=12, faults=faults) as world:
        found = sums(world.walk())
    assert {metric for _, metric in whole} - {metric for _, metric in found} == {"root_branch_bytes_month"}
    new = [value for (_, metric), value in found.items() if metric == "example_future_metric"]
    assert new
    assert all(value % 9007199254740993 == 0 for value in new)


def test_a_retry_is_a_new_draw():
    with sandbox(projects=4, faults=("500:0.5",)) as world:
        statuses = [world.get("/auth").status_code for _ in range(40)]
    assert set(statuses) == {200, 500}
    assert any(a == 500 and b == 200 for a, b in pairwise(statuses))
