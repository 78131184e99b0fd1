"""The door to Neon, with a world of functions: answers, a clock that only sleeping moves, and no network."""

import asyncio
import gzip
import json
import pickle
import traceback
import zlib
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.core.deadline import Deadline
from metering.core.errors import (
    CredentialsError,
    MeteringError,
    NeonError,
    StoppedError,
    UnavailableError,
    UnreachableError,
)
from metering.core.http import retry_after
from metering.core.secrets import Secret
from metering.core.stop import PAGE_SECONDS, Stop
from metering.neon.body import MAX_BODY_BYTES
from metering.neon.client import Answer, Neon, RateBudget, Settings
from metering.neon.walk import walk
from metering.neon.wire import Envelope

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CANARY = "napi_canary0123456789abcdefghijklmnop"
KEY = Secret(CANARY)
HISTORY = "consumption_history/v2/projects"

Respond = Callable[[httpx.Request], httpx.Response]


class World:
    """Answers in turn (the last one for ever), and time that passes only while somebody sleeps."""

    def __init__(self, *answers: Exception | Respond, **config: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.sleeps: list[float] = []
        self.at = 0.0
        settings = {"requests_per_minute": 600, "history_requests_per_minute": 600, "max_retries": 3, **config}
        self.neon = Neon(
            Settings(**settings),
            clock=lambda: NOW + timedelta(seconds=self.at),
            transport=httpx.MockTransport(self._answer),
            sleep=self.sleep,
            monotonic=lambda: self.at,
        )

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.at += seconds

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request)

    def get(self, path: str = "projects", *, history: bool = False, **params: str) -> Answer:
        return asyncio.run(self.neon.get(path, params, KEY, history=history))

    def walk(self, path: str = "projects", **params: str) -> list[Answer]:
        async def collected() -> list[Answer]:
            return [answer async for answer in walk(lambda asked: self.neon.get(path, asked, KEY), path, params, KEY)]

        return asyncio.run(collected())

    def refused(self, kind: type[MeteringError]) -> MeteringError:
        with pytest.raises(kind) as error:
            self.get()
        assert type(error.value) is kind
        return error.value


def ok(body: object = None, **headers: str) -> Respond:
    return raw(json.dumps({"projects": []} if body is None else body).encode(), **headers)


def raw(body: bytes, status: int = 200, **headers: str) -> Respond:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx.Response(status, headers=named, stream=httpx.ByteStream(body))


def no(status: int, message: str = "no", **headers: str) -> Respond:
    return raw(json.dumps({"code": "", "message": message}).encode(), status, **headers)


def zipped(content: bytes) -> Respond:
    return raw(content, content_encoding="gzip")


# -- one answer


def test_an_answer_says_what_was_asked_when_and_what_came():
    world = World(ok({"projects": []}, x_neon_ret_request_id="r-1", date="Fri, 20 Nov 2026 11:59:58 GMT"))
    answer = world.get(org_id="org-1", limit="400")
    assert answer == Answer(
        path="projects",
        params={"org_id": "org-1", "limit": "400"},
        sent_at=NOW,
        received_at=NOW,
        request_id="r-1",
        server_date=datetime(2026, 11, 20, 11, 59, 58, tzinfo=UTC),
        body=b'{"projects": []}',
        page=Envelope(items=(), cursor=None),
    )


def test_a_request_carries_the_key_and_asks_for_json():
    world = World(ok())
    world.get("/projects", org_id="org-1")
    (request,) = world.requests
    assert str(request.url) == "https://console.neon.tech/api/v2/projects?org_id=org-1"
    assert request.headers["authorization"] == f"Bearer {CANARY}"
    assert request.headers["accept"] == "application/json"
    assert request.headers["accept-encoding"] == "gzip"
    assert request.headers["user-agent"].startswith("metering/")


@pytest.mark.parametrize("date", ["", "soon", "Fri, 31 Dec 9999 23:59:59 -2359"])
def test_a_date_header_of_nonsense_is_no_date(date):
    assert World(ok(date=date)).get().server_date is None


def test_the_client_ignores_proxies_and_other_settings_of_the_environment():
    client = World(ok()).neon._client
    assert client.trust_env is False
    assert client.follow_redirects is False


def test_a_proxy_in_the_environment_is_never_asked(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    client = Neon(Settings(), clock=lambda: NOW)._client
    assert client._mounts == {}


# -- retry


@pytest.mark.parametrize("status", [408, 423, 425, 429, 500, 502, 503, 504, 520, 599])
def test_what_may_pass_is_asked_again(status):
    world = World(no(status), no(status), ok())
    assert world.get().body == b'{"projects": []}'
    assert len(world.requests) == 3


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("late"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
    ],
)
def test_a_broken_connection_is_asked_again(fault):
    assert World(fault, ok()).get().body == b'{"projects": []}'


def test_retries_end_and_say_what_came_last():
    world = World(httpx.ConnectError("refused"), no(503, "try later"), max_retries=2)
    error = world.refused(UnreachableError)
    assert str(error) == "GET projects failed 3 times, last with 503 try later"
    assert error.exit_code == 3
    assert len(world.requests) == 3


def test_after_three_requests_that_nobody_answered_the_rest_are_not_sent():
    world = World(httpx.ConnectError("refused"), max_retries=1)
    for _ in range(3):
        assert "failed 2 times" in str(world.refused(UnreachableError))
    assert "was not asked" in str(world.refused(UnreachableError))
    assert len(world.requests) == 6


def test_any_answer_shows_that_somebody_is_there():
    lost = httpx.ConnectError("refused")
    world = World(lost, lost, no(503), lost, lost, ok(), max_retries=0)
    for _ in range(5):
        world.refused(UnreachableError)
    assert world.get().body


def test_after_sixteen_requests_of_a_budget_that_were_only_put_off_the_rest_of_it_are_not_sent():
    world = World(no(503), max_retries=1)
    for _ in range(16):
        assert "failed 2 times" in str(world.refused(UnreachableError))
    assert "was not asked: all requests before it failed" in str(world.refused(UnreachableError))
    assert len(world.requests) == 32
    with pytest.raises(UnreachableError, match="failed 2 times"):
        world.get(history=True)


@pytest.mark.parametrize("status", [200, 404])
def test_one_answer_for_good_among_them_lets_the_others_be_sent(status):
    world = World(*[no(500)] * 15, no(status), *[no(500)] * 15, ok(), max_retries=0)
    put_off, said = pytest.raises(UnreachableError), nullcontext() if status == 200 else pytest.raises(UnavailableError)
    for ends in [*[put_off] * 15, said, *[put_off] * 15]:
        with ends:
            world.get()
    assert world.get().body


def test_without_retries_a_fault_is_told_at_once():
    world = World(no(500), max_retries=0)
    assert "failed 1 times" in str(world.refused(UnreachableError))
    assert world.sleeps == []


def test_waits_grow_twofold_with_jitter_up_to_half_a_minute():
    world = World(no(500), max_retries=9)
    world.refused(UnreachableError)
    bounds = [(seconds / 2, seconds) for seconds in (0.5, 1, 2, 4, 8, 16, 30, 30, 30)]
    assert len(world.sleeps) == 9
    assert all(low <= slept <= high for slept, (low, high) in zip(world.sleeps, bounds, strict=True))


def test_two_clients_do_not_retry_in_step():
    waits = [World(no(500), max_retries=4) for _ in range(2)]
    for world in waits:
        world.refused(UnreachableError)
    assert waits[0].sleeps != waits[1].sleeps


# -- Retry-After


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("+7", 7.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("900", 900.0),
        ("901", 900.0),
        ("9" * 5000, 900.0),
        ("-" + "9" * 5000, 0.0),
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("Sat, 20 Nov 2027 12:00:00 GMT", 900.0),
        ("Fri, 20 Nov 2026 12:00:30", 30.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("soon", None),
        ("1.5", None),
        ("--5", None),
        ("²", None),
        ("٣", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_between_0_and_15_minutes(text, seconds):
    wait = retry_after(text, NOW, timedelta(minutes=15))
    assert wait == (None if seconds is None else timedelta(seconds=seconds))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_retry_after_never_raises(text):
    wait = retry_after(text, NOW, timedelta(minutes=15))
    assert wait is None or timedelta(0) <= wait <= timedelta(minutes=15)


@pytest.mark.parametrize("status", [429, 503])
def test_the_server_says_how_long_to_wait(status):
    world = World(no(status, retry_after="7"), ok())
    world.get()
    assert world.sleeps[0] == 7.0


def test_a_date_to_wait_for_is_by_the_servers_clock():
    # Ours stands still at a rehearsed moment, far from the server's.
    dates = {"date": "Wed, 01 Jan 2031 00:00:00 GMT", "retry_after": "Wed, 01 Jan 2031 00:00:09 GMT"}
    world = World(no(503, **dates), ok())
    world.get()
    assert world.sleeps == [9.0]


@pytest.mark.parametrize("wait", ["901", "86400", "9" * 40, "Sat, 20 Nov 2027 12:00:00 GMT"])
def test_a_longer_wait_than_a_run_may_take_gives_that_budget_up_at_once(wait):
    world = World(no(503, "down", retry_after=wait), ok())
    with pytest.raises(UnreachableError) as error:
        world.get(HISTORY, history=True)
    said = str(error.value)
    assert said.startswith(f"GET {HISTORY} was not asked again after 503 down: Neon asks to wait ")
    assert said.endswith(" s, longer than this run may")
    with pytest.raises(UnreachableError) as error:
        world.get(HISTORY, history=True)
    assert str(error.value).startswith(f"GET {HISTORY} was not asked: Neon asks to wait ")
    assert (len(world.requests), world.sleeps) == (1, [])
    assert world.get().page == Envelope(items=(), cursor=None)  # the rest of the API has a budget of its own


@pytest.mark.parametrize(("wait", "is_waited_for"), [("99", True), ("100", False), ("101", False)])
def test_a_wait_that_outlasts_the_run_is_not_begun(wait, is_waited_for):
    world = World(no(503, retry_after=wait), ok())
    world.neon.end_by(Deadline(100, monotonic=lambda: world.at))
    if is_waited_for:
        world.get()
    else:
        world.refused(UnreachableError)
    assert world.sleeps == ([float(wait)] if is_waited_for else [])


def test_after_the_deadline_nothing_is_asked():
    world = World(ok())
    world.neon.end_by(Deadline(0, monotonic=lambda: world.at))
    assert str(world.refused(UnreachableError)) == "GET projects was not asked: the time of this run is over"
    assert world.requests == []


class Silent(httpx.AsyncBaseTransport):
    """Takes every request and never answers."""

    def __init__(self) -> None:
        self.asked, self.dropped = asyncio.Event(), 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.dropped += 1
            raise
        raise AssertionError


def test_an_answer_that_does_not_come_before_the_deadline_is_dropped():
    silent = Silent()

    async def ask() -> None:
        client = Neon(Settings(), clock=lambda: NOW, transport=silent)
        client.end_by(Deadline(0.05))
        await client.get("projects", {}, KEY)

    with pytest.raises(UnreachableError, match="GET projects was left: the time of this run is over"):
        asyncio.run(ask())
    assert silent.dropped == 1


def test_an_answer_in_hand_gets_a_few_seconds_once_a_stop_is_asked_for():
    silent, at = Silent(), 0.0
    stop = Stop(monotonic=lambda: at)

    async def ask() -> None:
        nonlocal at
        client = Neon(Settings(), clock=lambda: NOW, transport=silent, stop=stop)
        asking = asyncio.ensure_future(client.get("projects", {}, KEY))
        await silent.asked.wait()
        stop.ask()
        at = PAGE_SECONDS - 0.1
        await asyncio.sleep(0.6)
        assert not asking.done()
        at = PAGE_SECONDS
        await asking

    with pytest.raises(StoppedError):
        asyncio.run(ask())
    assert silent.dropped == 1


def test_a_change_that_neon_puts_off_for_longer_is_left_at_once():
    world = World(no(503, "down", retry_after="86400"), ok())
    with pytest.raises(UnreachableError) as error:
        asyncio.run(world.neon.change("PATCH", "projects/a", {}, KEY))
    assert str(error.value) == "PATCH projects/a failed 1 times, last with 503 down: Neon asks to wait 86400 s"
    assert error.value.hint == "nothing happened; run the command again later"
    assert (len(world.requests), world.sleeps) == (1, [])


# -- rate budget


class Bucket:
    """A budget on a clock of its own."""

    def __init__(self, per_minute: int) -> None:
        self.at = 0.0
        self.budget = RateBudget(per_minute, monotonic=lambda: self.at, sleep=self.sleep)
        self.taken: list[float] = []

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.at += seconds

    async def take(self) -> None:
        await self.budget.take()
        self.taken.append(self.at)


def most_within_a_minute(taken: Iterable[float]) -> int:
    moments = list(taken)
    return max(sum(1 for other in moments if moment <= other < moment + 60) for moment in moments)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([1, 3, 30, 50, 300, 700]),
    st.lists(
        st.one_of(
            st.just("take"),
            st.just("slow"),
            st.just("recover"),
            st.integers(min_value=1, max_value=60_000).map(lambda milliseconds: milliseconds / 1000),
        ),
        min_size=1,
        max_size=200,
    ),
)
def test_no_minute_holds_more_than_the_limit_and_the_burst(per_minute, steps):
    bucket = Bucket(per_minute)

    async def run() -> None:
        for step in steps:
            if step == "take":
                await bucket.take()
            elif step == "slow":
                bucket.budget.slow_down()
            elif step == "recover":
                bucket.budget.recover()
            else:
                bucket.at += step

    asyncio.run(run())
    if bucket.taken:
        assert most_within_a_minute(bucket.taken) <= per_minute + bucket.budget.burst


@pytest.mark.parametrize(("per_minute", "burst"), [(1, 1), (3, 1), (15, 5), (30, 10), (700, 10)])
def test_the_burst_is_a_third_of_a_minute_and_at_most_ten(per_minute, burst):
    assert Bucket(per_minute).budget.burst == burst


def test_thirty_a_minute_are_ten_at_once_and_then_one_every_two_seconds():
    bucket = Bucket(30)

    async def run() -> None:
        for _ in range(13):
            await bucket.take()

    asyncio.run(run())
    assert bucket.taken == pytest.approx([0.0] * 10 + [2.0, 4.0, 6.0])


def test_many_callers_share_one_budget():
    bucket = Bucket(60)

    async def run() -> None:
        await asyncio.gather(*(bucket.take() for _ in range(40)))

    asyncio.run(run())
    assert bucket.taken == pytest.approx([0.0] * 10 + [float(second) for second in range(1, 31)])


def test_a_429_halves_the_rate_down_to_a_tenth_and_answers_bring_it_back():
    budget = Bucket(60).budget
    rates = []
    for _ in range(5):
        budget.slow_down()
        rates.append(budget.rate)
    assert rates == pytest.approx([0.5, 0.25, 0.125, 0.1, 0.1])
    for _ in range(45):
        budget.recover()
    assert budget.rate == pytest.approx(1.0)
    budget.recover()
    assert budget.rate == 1.0


def test_a_429_leaves_nothing_of_the_burst():
    bucket = Bucket(60)

    async def run() -> None:
        bucket.budget.slow_down()
        await bucket.take()

    asyncio.run(run())
    assert bucket.taken == [2.0]


def test_a_429_while_somebody_waits_makes_the_wait_longer():
    bucket = Bucket(60)

    async def run() -> None:
        bucket.budget.tokens = 0.0
        slept = bucket.sleep

        async def slowed(seconds: float) -> None:
            bucket.budget._sleep = slept
            bucket.budget.slow_down()
            await slept(seconds)

        bucket.budget._sleep = slowed
        await bucket.take()

    asyncio.run(run())
    assert bucket.taken == [2.0]


def test_a_storm_of_429_slows_the_account_and_calm_speeds_it_up():
    storm = World(no(429), history_requests_per_minute=60, max_retries=4)
    with pytest.raises(UnreachableError):
        storm.get(HISTORY, history=True)
    assert storm.neon.history_budget.rate == pytest.approx(0.1)
    assert storm.neon.other_budget.rate == 10.0
    storm.answers = [ok()]
    storm.get(HISTORY, history=True)
    assert storm.neon.history_budget.rate == pytest.approx(0.12)


def test_retries_are_paid_for_from_the_budget_too():
    world = World(no(500), ok(), requests_per_minute=60)
    world.get()
    assert (world.neon.other_budget.spent, world.neon.history_budget.spent, world.neon.requests) == (2, 0, 2)


# -- deadline


def test_a_request_that_drips_beyond_its_time_is_given_up():
    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:
                yield b" "
                await asyncio.sleep(0.2)

    world = World(lambda request: httpx.Response(200, stream=Drip()), timeout_seconds=1, max_retries=0)
    assert "TimeoutError" in str(world.refused(UnreachableError))


# -- what is final


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, CredentialsError, 5),
        (403, UnavailableError, 3),
        (404, UnavailableError, 3),
        (400, NeonError, 1),
        (406, NeonError, 1),
        (409, NeonError, 1),
        (422, NeonError, 1),
        (501, NeonError, 1),
        (204, NeonError, 1),
        (206, NeonError, 1),
    ],
)
def test_what_will_not_change_is_told_at_once(status, kind, code):
    world = World(no(status, "not for you"))
    error = world.refused(kind)
    assert str(error) == f"GET projects was answered {status}: not for you"
    assert error.exit_code == code
    assert getattr(error, "status", status) == status
    assert (len(world.requests), world.sleeps) == (1, [])


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message": 5}', b"\xff\xfe"])
def test_the_status_counts_however_the_body_looks(body):
    assert str(World(raw(body, 401)).refused(CredentialsError)) == "GET projects was answered 401"


@pytest.mark.parametrize(
    "content",
    [b"", b"not gzip", gzip.compress(b"x" * 100)[:20], gzip.compress(bytes(10**7))],
    ids=["empty", "not packed", "cut short", "a bomb"],
)
def test_the_status_counts_however_the_body_is_packed(content):
    world = World(raw(content, 403, content_encoding="gzip"))
    assert str(world.refused(UnavailableError)) == "GET projects was answered 403"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status):
    world = World(raw(b"", status, location="https://elsewhere.example.com/"))
    assert str(world.refused(NeonError)) == f"GET projects was answered {status}"
    assert [request.url.host for request in world.requests] == ["console.neon.tech"]


# -- bodies


BODY = b'{"projects": [{"id": "a"}]}'


def test_a_gzip_body_is_unpacked():
    assert World(zipped(gzip.compress(BODY))).get().body == BODY


def test_a_deflate_body_is_unpacked():
    assert World(raw(zlib.compress(BODY), content_encoding="deflate")).get().body == BODY


def test_a_gzip_body_cut_short_at_any_byte_is_asked_for_again():
    packed = gzip.compress(BODY)
    for length in range(len(packed)):
        world = World(zipped(packed[:length]), zipped(packed))
        assert world.get().body == BODY, length
        assert len(world.requests) == 2, length


def test_what_stands_behind_a_gzip_body_makes_it_unreadable():
    packed = gzip.compress(BODY)
    for more in (b"x", packed):
        assert World(zipped(packed + more), zipped(packed)).get().body == BODY


def test_a_changed_byte_in_a_gzip_body_is_noticed():
    packed = bytearray(gzip.compress(BODY))
    packed[-8] ^= 1
    assert World(zipped(bytes(packed)), zipped(gzip.compress(BODY))).get().body == BODY


def test_a_gzip_bomb_is_refused_before_it_is_unpacked():
    bomb = gzip.compress(bytes(MAX_BODY_BYTES + 1), compresslevel=1)
    error = World(zipped(bomb)).refused(NeonError)
    assert str(error) == f"the answer is larger than {MAX_BODY_BYTES} bytes"


def test_an_encoding_that_was_not_asked_for_is_refused():
    assert "'br'" in str(World(raw(BODY, content_encoding="br")).refused(NeonError))


@pytest.mark.parametrize("body", [b"", b"  ", b"<!doctype html><p>later</p>", b"null", b'"text"', b"\xef\xbb\xbf{}"])
def test_a_200_that_is_no_json_is_asked_for_again(body):
    world = World(raw(body, content_type="text/html"), ok())
    assert world.get().body == b'{"projects": []}'


def test_a_200_cut_short_at_any_byte_is_asked_for_again():
    body = b'{"projects": [{"id": "a", "settings": {"quota": {}}}], "pagination": {"cursor": "a"}}'
    for length in range(len(body)):
        world = World(raw(body[:length]), raw(body))
        assert world.get().body == body, length


def test_a_200_that_stays_unreadable_is_told():
    error = World(raw(b"<html>", content_type="text/html"), max_retries=1).refused(UnreachableError)
    assert str(error) == "GET projects failed 2 times, last with 200 with an unreadable body (not JSON)"


def test_a_whole_page_with_a_faulty_number_is_handed_on_as_it_came():
    body = b'{"projects": [{"project_id": "a", "periods": 1.5}]}'
    assert World(raw(body)).get().body == body


# -- walks


def listed(*ids: str, cursor: str | None = None, key: str = "id", field: str = "cursor") -> Respond:
    more = {} if cursor is None else {"pagination": {field: cursor}}
    return ok({"projects" if field == "cursor" else "branches": [{key: name} for name in ids], **more})


def test_history_ends_with_the_page_that_has_no_cursor():
    pages = [listed("a", "b", cursor="b", key="project_id"), listed("c", key="project_id")]
    world = World(*pages)
    assert len(world.walk(HISTORY, org_id="org-1", limit="2")) == 2
    assert [dict(request.url.params) for request in world.requests] == [
        {"org_id": "org-1", "limit": "2"},
        {"org_id": "org-1", "limit": "2", "cursor": "b"},
    ]


def test_inventory_ends_with_the_empty_page_that_echoes_its_cursor():
    world = World(listed("a", cursor="a"), listed(cursor="a"))
    assert len(world.walk()) == 2


def test_branches_go_by_next():
    world = World(listed("br-1", cursor="n", field="next"), listed("br-2", field="next"))
    assert len(world.walk("projects/a/branches")) == 2
    assert world.requests[1].url.params["cursor"] == "n"


def test_a_short_page_with_a_cursor_is_not_the_end():
    world = World(listed("a", cursor="1"), listed("b", cursor="2"), listed("c"))
    assert len(world.walk(limit="100")) == 3


def test_a_full_last_page_with_a_cursor_costs_one_empty_page():
    world = World(listed("a", "b", cursor="b"), listed())
    assert len(world.walk(limit="2")) == 2


@pytest.mark.parametrize("cursor", [None, "", "b"])
def test_an_empty_page_is_the_end_whatever_its_cursor(cursor):
    world = World(listed("a", cursor="a"), listed(cursor=cursor))
    assert len(world.walk()) == 2


def test_a_page_that_echoes_its_cursor_and_brings_nothing_new_is_the_end():
    world = World(listed("a", cursor="a"), listed("a", cursor="a"))
    assert len(world.walk()) == 2


def test_a_cursor_that_comes_again_with_something_new_breaks_the_walk():
    world = World(listed("a", cursor="1"), listed("b", cursor="2"), listed("c", cursor="1"))
    with pytest.raises(NeonError, match="sent the cursor '1' twice"):
        world.walk()
    assert len(world.requests) == 3


def test_a_page_that_repeats_a_project_goes_on():
    world = World(listed("a", "b", cursor="1"), listed("b", "c", cursor="2"), listed("d"))
    assert len(world.walk()) == 3


def test_pages_before_a_fault_were_handed_on():
    world = World(listed("a", cursor="1"), no(403), max_retries=0)
    seen: list[Answer] = []

    async def run() -> None:
        async for answer in walk(lambda asked: world.neon.get("projects", asked, KEY), "projects", {}, KEY):
            seen.append(answer)

    with pytest.raises(UnavailableError):
        asyncio.run(run())
    assert len(seen) == 1


def test_a_page_that_is_no_list_is_handed_on_and_ends_the_walk():
    world = World(raw(b'{"projects": 5, "pagination": {"cursor": "1"}}'))
    assert len(world.walk()) == 1


@pytest.mark.parametrize("row", [b'{"id": 5}', rb'{"id": "a", "name": "\ud800"}', b"5"])
def test_a_list_goes_on_behind_a_row_that_cannot_be_read(row):
    world = World(raw(b'{"projects": [%s], "pagination": {"cursor": "1"}}' % row), listed("b"))
    assert len(world.walk()) == 2


# -- the key


def test_the_key_is_in_no_message_though_the_server_repeats_it():
    worlds = [
        [no(401, f"bad key {CANARY}")],
        [no(403, f"Bearer {CANARY} may not")],
        [no(500, CANARY)],
        [httpx.LocalProtocolError(f"Illegal header value b'Bearer {CANARY}'")],
        [listed("a", cursor=CANARY), listed("b", cursor=CANARY)],
    ]
    for answers in worlds:
        with pytest.raises(MeteringError) as error:
            World(*answers, max_retries=0).walk()
        shown = "".join(traceback.format_exception(error.value)) + repr(error.value) + error.value.hint
        assert CANARY not in shown
        assert "***" in shown


def test_the_key_is_in_no_repr():
    world = World(ok())
    answer = world.get(org_id="org-1")
    shown = [repr(thing) for thing in (answer, KEY, world.neon, vars(world.neon), world.neon._client.headers)]
    assert not any(CANARY in text for text in shown)
    assert CANARY.encode() not in pickle.dumps(KEY)


def test_what_the_server_says_is_one_printable_line():
    error = World(no(400, "a\n\x1b[31mred\u202e" + "x" * 1000)).refused(NeonError)
    assert str(error).startswith("GET projects was answered 400: a \ufffd[31mred\ufffdxxx")
    assert len(str(error)) < 400


@pytest.mark.parametrize("name", ["gzip", "GZIP", "x-gzip", " gzip ", "gzip, identity", "X-Gzip,"])
def test_every_name_of_gzip_is_unpacked(name):
    assert World(raw(gzip.compress(BODY), content_encoding=name)).get().body == BODY


@pytest.mark.parametrize("name", ["", "identity", "Identity", "identity, identity"])
def test_every_name_of_no_coding_is_read_as_it_is(name):
    assert World(raw(BODY, content_encoding=name)).get().body == BODY


@pytest.mark.parametrize("name", ["gzip, gzip", "br", "gzip, br", "zstd"])
def test_a_coding_that_nobody_asked_for_is_refused(name):
    assert "which was not asked for" in str(World(raw(BODY, content_encoding=name)).refused(NeonError))
