"""One account's cycle on a clock of its own: what overlaps, what is bounded, whom a refused key stops."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.config import Config
from metering.core.errors import MeteringError
from metering.core.secrets import Secret
from metering.neon.client import IN_FLIGHT, Neon, Settings
from metering.store.journal import JOURNAL, read
from metering.usage.coverage import certified_of
from tests.simulate import Machine, Time, refused
from tests.support.large_fleet import LargeFleet, config_for
from tests.support.virtual_time import VirtualTime, looping

START = datetime(2026, 10, 6, 8, 0, 1, tzinfo=UTC)
LATENCY = 0.3


@dataclass(kw_only=True)
class Around:
    """What a Machine needs of a world."""

    time: Time
    wire: httpx.AsyncBaseTransport


@dataclass(kw_only=True)
class Fleet(LargeFleet):
    """Counts what is under way, and answers for single projects too."""

    under_way: int = 0
    most_under_way: int = 0
    waited: float = 0.0
    keys: list[str] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers["Authorization"].removeprefix("Bearer "))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.waited += self.seconds
        try:
            if "/projects/" in request.url.path:
                given = self.before(request)
                await self.time.sleep(self.seconds)
                if given is not None:
                    return given
                project_id = request.url.path.rpartition("/")[2]
                return httpx.Response(200, stream=Counter(f'{{"project":{{"id":"{project_id}"}}}}'.encode()))
            return await super().handle_async_request(request)
        finally:
            self.under_way -= 1


class Counter(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self):
        yield self._body


@contextmanager
def polling(
    directory: Path, *, sizes: dict[str, int], per_minute: int = 6000, quota: dict[str, int] | None = None
) -> Iterator[tuple[Machine, Fleet]]:
    """On a loop of virtual time; unless told otherwise every project has a quota, so that its counters are read."""
    time = VirtualTime(START)
    fleet = Fleet(time=time, sizes=sizes, awake=lambda number, hour: number % 3 == 0, seconds=LATENCY)
    config = config_for(directory, fleet, per_minute=per_minute, poll_minutes=15, sweep_hours=6)
    neon = config.neon.model_copy(update={"requests_per_minute": 6000})
    limits = {"compute_time_seconds": 3600} if quota is None else quota
    plan = config.plans[0].model_copy(update={"quota": limits})
    config = config.model_copy(update={"neon": neon, "plans": (plan,)})
    with looping(time), Machine(Around(time=time, wire=fleet), config) as machine:
        yield machine, fleet


def with_keys(config: Config, directory: Path, **keys: str) -> Config:
    """Each organization's key in a file of its own."""
    rows = []
    for organization in config.organizations:
        path = directory / f"{organization.id}.key"
        path.touch(mode=0o600)
        path.write_text(keys[organization.id[4:5]])
        rows.append(organization.model_copy(update={"api_key_env": None, "api_key_file": path}))
    return config.model_copy(update={"organizations": tuple(rows)})


def test_requests_of_one_account_overlap_and_never_more_than_its_places(tmp_path: Path):
    sizes = {f"org-{letter}-1": 110 for letter in "abcdefghij"}
    with polling(tmp_path, sizes=sizes) as (machine, fleet):
        began = fleet.time.monotonic()
        report = machine.poll()
        took = fleet.time.monotonic() - began
        assert (report.outcome, report.faults) == ("complete", [])
        assert report.requests == len(fleet.keys) == 10 * (2 + 1 + 2 + 110)
        assert set(certified_of(machine.books.store.query("billing/coverage_of", as_of_seq=2**63, after=0))) == set(
            sizes
        )
        assert fleet.most_under_way <= 2 * IN_FLIGHT  # places of history, and of everything else
        ratio = fleet.waited / took
        print(f"one after the other {fleet.waited:.0f} s, side by side {took:.0f} s: {ratio:.1f} times as fast")
        assert ratio > 6


def test_pages_of_a_list_are_journalled_in_their_order_whatever_overlaps(tmp_path: Path):
    with polling(tmp_path, sizes={"org-a-1": 350, "org-b-1": 220}) as (machine, fleet):
        chance = iter(range(10**6))
        fleet.before = lambda request: setattr(fleet, "seconds", 0.1 + next(chance) * 7 % 10 / 10)
        assert machine.poll().outcome == "complete"
        machine.die()
        walks: dict[tuple[str, str], list[str]] = {}
        for record in read(tmp_path / JOURNAL):
            if record.kind == "page" and record.data["endpoint"] in {"history", "project"}:
                key = record.data["organization"], record.data["endpoint"]
                walks.setdefault(key, []).append(record.data.get("project_id") or record.data["params"].get("cursor"))
        assert sorted(len(found) for found in walks.values()) == [3, 4, 220, 350]
        for (_, endpoint), found in walks.items():
            is_history = endpoint == "history"
            assert found[is_history:] == sorted(found[is_history:], reverse=is_history)


def test_batches_overlap_and_spend_no_more_than_they_may(tmp_path: Path):
    with polling(tmp_path, sizes={"org-a-1": 1600}, per_minute=1, quota={}) as (machine, fleet):
        for _ in range(2):
            since = fleet.time.monotonic()
            assert machine.poll().faults == []
            assert fleet.spent(since) <= 15
            passed = (fleet.time.server() - START) // timedelta(minutes=15)
            fleet.time.move_to(START + (passed + 1) * timedelta(minutes=15))


@pytest.mark.parametrize("per_minute", [6000, 1])
def test_a_refused_key_stops_the_organizations_that_use_it_and_no_other(tmp_path: Path, per_minute: int):
    sizes = {"org-a-1": 60, "org-b-1": 1500, "org-c-1": 60}
    with polling(tmp_path, sizes=sizes, per_minute=per_minute, quota={}) as (machine, fleet):
        machine.keys = {"org-a-1": Secret("revoked"), "org-b-1": Secret("good"), "org-c-1": Secret("revoked")}
        fleet.before = lambda request: refused(401) if "revoked" in request.headers["Authorization"] else None
        report = machine.poll()
        assert report.outcome == "refused"
        assert [fault.partition(":")[0] for fault in report.faults] == ["organization org-a-1, org-c-1"]
        assert fleet.keys.count("revoked") <= 2
        read_from = {row["organization"] for row in report.organizations if any(w["complete"] for w in row["walks"])}
        assert read_from == {"org-b-1"}
        assert fleet.spent() > 2


def rewritten(path: Path, text: str, fleet: Fleet, *, after: int, old: str) -> Callable[[httpx.Request], object]:
    """From the request of that number on, the old key is refused and its file holds another."""

    def before(request: httpx.Request) -> httpx.Response | None:
        if len(fleet.keys) == after:
            path.write_text(text)
        return refused(401) if len(fleet.keys) >= after and old in request.headers["Authorization"] else None

    return before


@pytest.mark.parametrize("after", [1, 2, 5, 9])
def test_a_token_that_somebody_rewrites_within_a_cycle_is_obeyed(tmp_path: Path, after: int):
    with polling(tmp_path, sizes={"org-a-1": 250}) as (machine, fleet):
        machine.config = with_keys(machine.config, tmp_path, a="token-1")
        machine.keys = {"org-a-1": Secret("token-1")}
        fleet.before = rewritten(tmp_path / "org-a-1.key", "token-2\n", fleet, after=after, old="token-1")
        report = machine.poll()
        assert (report.outcome, report.faults) == ("complete", [])
        assert set(fleet.keys) == {"token-1", "token-2"}
        first_new = fleet.keys.index("token-2")
        assert fleet.keys[first_new:].count("token-1") <= IN_FLIGHT  # those under way at the time
        assert set(certified_of(machine.books.store.query("billing/coverage_of", as_of_seq=2**63, after=0))) == {
            "org-a-1"
        }


def test_a_file_that_still_holds_the_refused_key_is_read_and_the_account_stopped(tmp_path: Path):
    with polling(tmp_path, sizes={"org-a-1": 50}) as (machine, fleet):
        machine.config = with_keys(machine.config, tmp_path, a="token-1")
        machine.keys = {"org-a-1": Secret("token-1")}
        fleet.before = lambda request: refused(401)
        report = machine.poll()
        assert (report.outcome, fleet.keys) == ("refused", ["token-1"])
        assert report.faults[0].startswith("account main: GET projects was answered 401")


def test_a_file_that_became_readable_by_others_is_refused_by_us(tmp_path: Path):
    with polling(tmp_path, sizes={"org-a-1": 50}) as (machine, fleet):
        machine.config = with_keys(machine.config, tmp_path, a="token-2")
        (tmp_path / "org-a-1.key").chmod(0o644)
        machine.keys = {"org-a-1": Secret("token-1")}
        fleet.before = lambda request: refused(401)
        report = machine.poll()
        assert (report.outcome, fleet.keys) == ("refused", ["token-1"])
        assert "can be read by group or others" in report.faults[0]


def test_a_new_key_that_is_refused_as_well_is_not_read_for_ever(tmp_path: Path):
    with polling(tmp_path, sizes={"org-a-1": 50}) as (machine, fleet):
        machine.config = with_keys(machine.config, tmp_path, a="token-2")
        machine.keys = {"org-a-1": Secret("token-1")}
        fleet.before = lambda request: refused(401)
        assert machine.poll().outcome == "refused"
        assert fleet.keys == ["token-1", "token-2"]


def test_keys_that_are_rotated_together_are_each_read_from_their_own_file(tmp_path: Path):
    with polling(tmp_path, sizes={"org-a-1": 50, "org-b-1": 50}) as (machine, fleet):
        machine.config = with_keys(machine.config, tmp_path, a="new-a", b="new-b")
        machine.keys = {"org-a-1": Secret("old"), "org-b-1": Secret("old")}
        fleet.before = lambda request: refused(401) if request.headers["Authorization"] == "Bearer old" else None
        assert machine.poll().outcome == "complete"
        assert set(fleet.keys) == {"old", "new-a", "new-b"}


@settings(max_examples=40, deadline=None)
@given(
    per_minute=st.sampled_from([1, 3, 30, 300]),
    statuses=st.lists(st.sampled_from([200, 200, 200, 429, 500, 503]), min_size=1, max_size=20),
    callers=st.integers(1, 30),
    latency=st.sampled_from([0.0, 0.3, 7.0, 29.0]),
)
def test_no_minute_holds_more_than_the_limit_and_the_burst_however_many_ask(
    per_minute: int, statuses: list[int], callers: int, latency: float
):
    time, sent, under_way, most = VirtualTime(START), list[float](), 0, 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        sent.append(time.monotonic())
        under_way += 1
        most = max(most, under_way)
        await time.sleep(latency)
        under_way -= 1
        status = statuses[len(sent) % len(statuses)]
        return httpx.Response(200, stream=Counter(b'{"projects": []}')) if status == 200 else refused(status)

    async def ask(neon: Neon) -> None:
        for _ in range(4):
            try:
                await neon.get("consumption_history/v2/projects", {}, Secret("key"), history=True)
            except MeteringError:
                return

    async def run() -> None:
        config = Settings(history_requests_per_minute=per_minute, max_retries=2)
        transport = httpx.MockTransport(answer)
        neon = Neon(config, clock=time.local, transport=transport, sleep=time.sleep, monotonic=time.monotonic)
        await asyncio.gather(*(ask(neon) for _ in range(callers)))
        assert len(sent) == neon.requests
        most_sent = max(sum(1 for other in sent if at <= other < at + 60) for at in sent)
        assert most_sent <= per_minute + neon.history_budget.burst
        await neon.close()

    with looping(time):
        asyncio.run(run())
    assert most <= IN_FLIGHT
