"""Quotas against a Neon that a test wrote down: it remembers what it was asked to change."""

import json
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.core.errors import CredentialsError, MeteringError, NeonError, UnavailableError, UnreachableError
from metering.core.quotas import QUOTAS
from metering.core.secrets import Secret
from metering.neon.client import Neon, Settings
from metering.provisioning import quotas
from metering.provisioning.drift import Change, drift, remaining, to_send
from metering.store import snapshots
from tests.support.books import Books, configured, stamp, when

NOW = when("2026-09-15T12")
PLANS = """
[[plans]]
id = "pro"
currency = "USD"
[plans.quota]
compute_time_seconds = 36000
data_transfer_bytes = 5000
active_time_seconds = 0
"""


# -- the difference


def told(changes):
    return [(change.quota, change.was, change.wanted) for change in changes]


def test_a_quota_that_neon_lacks_or_has_otherwise_is_a_change():
    held = {"data_transfer_bytes": 7, "logical_size_bytes": 9}

    changes = drift(held, {"compute_time_seconds": 10, "data_transfer_bytes": 8}, {})

    assert told(changes) == [("compute_time_seconds", None, 10), ("data_transfer_bytes", 7, 8)]


def test_an_equal_quota_and_one_that_the_plan_does_not_name_are_left_alone():
    assert drift({"compute_time_seconds": 10, "written_data_bytes": 3}, {"compute_time_seconds": 10}, {}) == []


def test_unlimited_is_only_made_where_the_plan_says_zero():
    plan = {"compute_time_seconds": 0}
    assert told(drift({"compute_time_seconds": 10}, plan, {})) == [("compute_time_seconds", 10, 0)]
    assert drift({"compute_time_seconds": 0}, plan, {}) == []
    assert drift({}, plan, {}) == []


@pytest.mark.parametrize(
    ("was", "wanted", "used", "is_below"),
    [
        (200, 100, 99, False),
        (200, 100, 100, True),
        (None, 100, 100, True),
        (0, 100, 100, True),
        (200, 100, None, False),
        (50, 100, 150, False),  # more room than before, however little
        (200, 0, 500, False),
    ],
)
def test_a_lower_limit_that_usage_reaches_is_told(was, wanted, used, is_below):
    change = Change(quota="compute_time_seconds", was=was, wanted=wanted, used=used)

    assert change.is_below_usage is is_below
    assert (change.warning is not None) is is_below


def test_what_is_sent_keeps_other_quotas_and_never_their_zeros():
    held = {"logical_size_bytes": 9, "written_data_bytes": 0}

    assert to_send(held, drift(held, {"compute_time_seconds": 5}, {})) == {
        "compute_time_seconds": 5,
        "logical_size_bytes": 9,
    }


limits = st.dictionaries(st.sampled_from(sorted(QUOTAS)), st.integers(0, 5), max_size=5)


@given(limits, limits)
def test_what_is_sent_makes_neon_hold_the_plan_and_holds_no_zero_of_its_own(held, plan):
    changes = drift(held, plan, {})
    sent = to_send(held, changes)

    assert all(limit > 0 or plan.get(name) == 0 for name, limit in sent.items())
    for after in (sent, {**held, **sent}):  # whether Neon replaces the object or merges it
        assert remaining(after, changes) == []
        assert drift(after, plan, {}) == []


# -- applying it


def answer(status, body=None, **headers):
    """An answer as it comes over the wire: its body is read once."""
    return httpx.Response(status, stream=httpx.ByteStream(json.dumps(body or {}).encode()), headers=headers)


class FakeNeon:
    """Projects with their quotas and counters; `answers` of changes to be given before it does what it is asked."""

    def __init__(self, projects, counters=None, answers=()):
        self.projects = {name: dict(quota) for name, quota in projects.items()}
        self.counters = counters or {}
        self.answers = list(answers)
        self.asked = []

    def __call__(self, request):
        name = urlsplit(str(request.url)).path.rsplit("/", 1)[-1]
        if name not in self.projects:
            return answer(404, {"message": "project not found"})
        if request.method == "GET":
            self.asked.append(("GET", name))
            return answer(200, {"project": self._body(name, "2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z")})
        body = json.loads(request.content)
        self.asked.append((request.method, name, body))
        if self.answers:
            said = self.answers.pop(0)
            if isinstance(said, Exception):
                raise said
            if said != 200:
                return answer(said, {"message": "later"})
            return answer(200, {"project": self._body(name, *["0001-01-01T00:00:00Z"] * 2)})
        self.projects[name] |= body["project"]["settings"]["quota"]
        return answer(200, {"project": self._body(name, *["0001-01-01T00:00:00Z"] * 2)})

    def _body(self, name, start, end):
        return {
            "id": name,
            "name": name,
            "org_id": "org-1",
            "created_at": "2026-01-01T00:00:00Z",
            "settings": {"quota": self.projects[name]},
            "consumption_period_start": start,
            "consumption_period_end": end,
            **self.counters.get(name, {}),
        }

    def changes(self):
        return [entry for entry in self.asked if entry[0] != "GET"]


async def at_once(_seconds):
    """Nobody waits in a test."""


class Desk:
    """A store in which inventory listed the fake's projects, and the commands on it."""

    def __init__(self, directory, fake, plans=PLANS, **more):
        self.config = configured(directory, plans, default_plan="pro", **more)
        self.fake = fake
        self.books = Books(self.config.store.directory)
        self.books.at = NOW
        with self.books.open() as ledger:
            self.books.inventory(ledger, dict.fromkeys(fake.projects, "app"))

    def plan(self):
        with snapshots.open_reader(self.config.store.directory) as found:
            return quotas.plan(found, self.config, NOW)

    def neon(self, ledger):
        config = Settings(base_url="http://127.0.0.1/api/v2", max_retries=2)
        return Neon(config, clock=ledger.clock, transport=httpx.MockTransport(self.fake), sleep=at_once)

    def apply(self, *, force=False, key="napi_secret"):
        found = Secret(key) if isinstance(key, str) else key
        with self.books.open() as ledger:
            wanted = [one for one in quotas.standings(ledger.store, self.config, NOW) if one.changes()]
            return quotas.apply(
                ledger,
                self.config,
                {"org-1": found},
                lambda _account: self.neon(ledger),
                wanted,
                reason="test",
                force=force,
            )

    def ledgered(self):
        with snapshots.open_reader(self.config.store.directory) as found:
            return found.connection.execute("select project_id, phase, error from quota_change order by seq").fetchall()


LIMITED = {"compute_time_seconds": 36000, "data_transfer_bytes": 5000}
WANTED = {"active_time_seconds": 0, **LIMITED}
"""What a project gets that had a limit on its active time."""


def test_the_plan_lists_every_difference_and_asks_nobody(tmp_path):
    fake = FakeNeon({"a": {"compute_time_seconds": 36000, "logical_size_bytes": 7}, "b": {"active_time_seconds": 9}})

    document = Desk(tmp_path, fake).plan()

    assert fake.asked == []
    # Inventory listed the projects without settings: what Neon holds is known once a project was read.
    assert {(row["project_id"], row["quota"]) for row in document["changes"]} == {
        (project, quota) for project in "ab" for quota in ("compute_time_seconds", "data_transfer_bytes")
    }


def test_apply_looks_changes_and_looks_again(tmp_path):
    fake = FakeNeon({"a": {"logical_size_bytes": 7, "written_data_bytes": 0, "active_time_seconds": 9}})
    desk = Desk(tmp_path, fake)

    done = desk.apply()

    assert [entry[:2] for entry in fake.asked] == [("GET", "a"), ("PATCH", "a"), ("GET", "a")]
    assert fake.changes()[0][2] == {"project": {"settings": {"quota": {**WANTED, "logical_size_bytes": 7}}}}
    assert [(row["quota"], row["neon"], row["wanted"], row["result"]) for row in done.rows] == [
        ("active_time_seconds", "9", "0", "applied"),
        ("compute_time_seconds", None, "36000", "applied"),
        ("data_transfer_bytes", None, "5000", "applied"),
    ]
    assert done.faults == []
    assert desk.ledgered() == [("a", "sending", ""), ("a", "done", "")]


def test_applied_quotas_are_no_drift_and_applying_again_asks_nothing(tmp_path):
    fake = FakeNeon({"a": {"logical_size_bytes": 7}})
    desk = Desk(tmp_path, fake)
    desk.apply()
    fake.asked.clear()

    assert desk.plan()["changes"] == []
    assert desk.plan()["kept"] == [{"project_id": "a", "quota": "logical_size_bytes", "neon": "7"}]
    assert desk.apply().rows == []
    assert fake.asked == []


def test_what_neon_has_already_is_not_sent(tmp_path):
    fake = FakeNeon({"a": {"compute_time_seconds": 36000, "data_transfer_bytes": 5000}})

    done = Desk(tmp_path, fake).apply()

    assert fake.changes() == []
    assert {row["result"] for row in done.rows} == {"unchanged"}


def test_the_zero_dates_of_a_change_are_not_believed(tmp_path):
    fake = FakeNeon({"a": {}}, {"a": {"compute_time_seconds": 10}})
    desk = Desk(tmp_path, fake)

    desk.apply()

    with snapshots.open_reader(desk.config.store.directory) as found:
        [row] = found.query("quotas/quota_counters").to_dicts()
    assert stamp(row["period_start"]) == "2026-09-01T00:00:00Z"
    assert row["compute_time_seconds"] == 10
    assert json.loads(row["limits"]) == LIMITED


def test_a_limit_that_usage_reaches_is_refused_with_the_whole_project_and_done_when_forced(tmp_path):
    fake = FakeNeon({"a": {}, "b": {}}, {"a": {"compute_time_seconds": 36000}, "b": {"compute_time_seconds": 35999}})
    desk = Desk(tmp_path, fake)

    done = desk.apply()

    assert [entry[:2] for entry in fake.changes()] == [("PATCH", "b")]
    assert {row["result"] for row in done.rows if row["project_id"] == "a"} == {"refused"}
    assert "a, compute_time_seconds: refused without --force: 36000 of 36000 CU-seconds are used" in done.faults[0]

    forced = desk.apply(force=True)

    assert {row["result"] for row in forced.rows} == {"applied"}
    assert fake.projects["a"]["compute_time_seconds"] == 36000


def test_history_counts_where_a_counter_is_stuck(tmp_path):
    fake = FakeNeon({"a": {}}, {"a": {"compute_time_seconds": 0}})
    desk = Desk(tmp_path, fake)
    with desk.books.open() as ledger:
        used = {"2026-09-14T10": {"compute_unit_seconds": 40000}}
        desk.books.history(ledger, {"a": used}, since="2026-09-01", until="2026-09-15", at="2026-09-15T12")

    done = desk.apply()

    assert fake.changes() == []
    assert {row["result"] for row in done.rows} == {"refused"}


@pytest.mark.parametrize("status", [423, 503])
def test_a_change_is_asked_for_again_where_neon_says_that_nothing_happened(tmp_path, status):
    fake = FakeNeon({"a": {}}, answers=[status, status])

    done = Desk(tmp_path, fake).apply()

    assert len(fake.changes()) == 3
    assert {row["result"] for row in done.rows} == {"applied"}


@pytest.mark.parametrize("said", [500, 502, 504, 429, 400, httpx.ReadTimeout("slow"), httpx.ReadError("gone")])
def test_a_change_is_never_sent_blindly_again(tmp_path, said):
    fake = FakeNeon({"a": {}}, answers=[said])
    desk = Desk(tmp_path, fake)

    done = desk.apply()

    assert len(fake.changes()) == 1
    assert {row["result"] for row in done.rows} == {"failed"}
    assert [phase for _, phase, _ in desk.ledgered()] == ["sending", "failed"]
    assert desk.apply().faults == []  # the next run looks first, and finishes it
    assert fake.projects["a"] == LIMITED


def test_an_answer_that_neon_does_not_keep_is_no_success(tmp_path):
    fake = FakeNeon({"a": {}}, answers=[200])

    done = Desk(tmp_path, fake).apply()

    assert {row["result"] for row in done.rows} == {"failed"}
    assert "does not show the new limit of compute_time_seconds, data_transfer_bytes" in done.faults[0]


def test_one_project_that_is_gone_does_not_stop_the_others(tmp_path):
    fake = FakeNeon({"a": {}, "b": {}})
    desk = Desk(tmp_path, fake)
    del fake.projects["a"]

    done = desk.apply()

    assert {(row["project_id"], row["result"]) for row in done.rows} == {("a", "failed"), ("b", "applied")}


@pytest.mark.parametrize(
    ("silent", "failed", "told"),
    [("abc", "abcd", 4), ("ab", "ab", 2), ("abd", "abd", 3)],
)
def test_three_projects_in_a_row_without_an_answer_end_their_account(tmp_path, silent, failed, told):
    fake = FakeNeon({name: {} for name in "abcd"})
    desk = Desk(tmp_path, fake)
    desk.fake = lambda request: answer(500) if request.url.path[-1] in silent else fake(request)

    done = desk.apply()

    assert {row["project_id"] for row in done.rows if row["result"] == "failed"} == set(failed)
    assert {row["project_id"] for row in done.rows if row["result"] == "applied"} == set("abcd") - set(failed)
    assert len(done.faults) == told
    assert ("3 projects in a row got no answer; 1 more were not tried" in done.faults[-1]) is (silent == "abc")


def test_projects_of_an_organization_that_is_configured_no_more_are_told(tmp_path):
    fake = FakeNeon({"a": {"active_time_seconds": 9}, "b": {"active_time_seconds": 9}})
    desk = Desk(tmp_path, fake)
    (only,) = desk.config.organizations
    another = desk.config.model_copy(update={"organizations": (only.model_copy(update={"id": "org-2"}),)})

    with desk.books.open() as ledger:
        wanted = quotas.standings(ledger.store, desk.config, NOW)
        keys = {"org-2": Secret("napi_secret")}
        done = quotas.apply(ledger, another, keys, lambda _account: desk.neon(ledger), wanted, reason="test")

    assert done.faults == ["organization org-1 is not configured: 2 projects stay as they are"]
    assert {(row["project_id"], row["result"]) for row in done.rows} == {("a", "failed"), ("b", "failed")}
    assert fake.asked == []


def test_a_refused_key_stops_its_account(tmp_path):
    desk = Desk(tmp_path, FakeNeon({"a": {}}))

    done = desk.apply(key=CredentialsError("NEON_API_KEY is not set", hint="export it"))

    assert done.is_refused
    assert "NEON_API_KEY is not set" in done.faults[0]


def test_a_project_without_a_plan_is_named_and_left_alone(tmp_path):
    fake = FakeNeon({"a": {"compute_time_seconds": 1}})
    desk = Desk(tmp_path, fake, subscriptions="project_id,customer,plan,valid_from,valid_to\na,acme,pro,2027-01-01,\n")

    assert desk.plan()["unassigned"] == ["a"]
    assert desk.plan()["changes"] == []


def test_a_rebuild_gives_the_same_changes(tmp_path):
    from metering.operations import rebuild

    desk = Desk(tmp_path, FakeNeon({"a": {}}))
    desk.apply()
    before = desk.ledgered()

    rebuild.rebuild(desk.config.store.directory)

    assert desk.ledgered() == before != []


# -- the door


def changed(answers, **config):
    """What a change comes to against answers given in turn, and how often it was asked."""
    import asyncio

    asked = []

    def handler(request):
        asked.append(request)
        return answers[len(asked) - 1]

    async def run():
        neon = Neon(
            Settings(base_url="http://127.0.0.1/api/v2", max_retries=2, **config),
            clock=lambda: NOW,
            transport=httpx.MockTransport(handler),
            sleep=at_once,
        )
        try:
            return await neon.change("PATCH", "projects/a", {"x": 1}, Secret("napi_secret"))
        finally:
            await neon.close()

    try:
        return asyncio.run(run()), asked
    except MeteringError as error:
        return error, asked


def test_a_change_carries_its_body_and_key():
    found, [request] = changed([answer(201, {"project": {}})])

    assert json.loads(request.content) == {"x": 1}
    assert (request.method, request.headers["authorization"]) == ("PATCH", "Bearer napi_secret")
    assert found.received_at - found.sent_at == timedelta(0)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, CredentialsError), (403, UnavailableError), (404, UnavailableError), (406, NeonError)]
)
def test_a_refusal_says_what_neon_said_and_never_the_key(status, kind):
    error, asked = changed([answer(status, {"limits": [{"name": "napi_secret"}]})])

    assert isinstance(error, kind)
    assert str(error).endswith(f'was answered {status} {{"limits": [{{"name": "***"}}]}}')
    assert len(asked) == 1


def test_a_change_that_stays_locked_is_given_up():
    error, asked = changed([answer(423) for _ in range(3)])

    assert isinstance(error, UnreachableError)
    assert len(asked) == 3
    assert "nothing happened" in error.hint
