"""The door to Neon: one request with a rate budget, retries and a deadline; walks through pages. Knows no store.

Facts: Neon's API allows about 50 consumption requests a minute and account, 700 of all others, shared with the
console; answers 423, 429 and 5xx may be asked again, 401, 403, 404 and 406 may not. A walk ends where the cursor is
absent, where a page brings nothing, or where a known cursor comes back with nothing new.
"""

import asyncio
import json
import random
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx

from metering import __version__
from metering.core.errors import CredentialsError, NeonError, PageRefusedError, UnavailableError, UnreachableError
from metering.core.http import http_date, retry_after
from metering.core.secrets import Secret
from metering.core.text import legible
from metering.neon import parse_history, readable

RETRYABLE = frozenset({408, 423, 425, 429, *range(500, 600)} - {501, 505})
"""A gateway has its own numbers above 500; what it was not made for (501, 505) it will not learn."""
NOTHING_HAPPENED = frozenset({423, 503})
"""The answers after which a change may be asked for again: locked by another operation, and unavailable."""
MAX_BODY_BYTES = 64 * 1024 * 1024
"""A page of 100 projects over 168 hours has about 11 MB; a bomb may unpack to no more than this."""
MAX_ERROR_BYTES = 64 * 1024
MAX_PAGES = 100_000
IN_FLIGHT = 8
"""So many requests of one budget wait for their answers side by side: the budget bounds time, this bounds memory."""
SILENT_AFTER = 3
"""Requests in a row that nobody answered, retries and all, before a client asks no more: a cycle has one of its own."""
FAILING_AFTER = 2 * IN_FLIGHT
"""Requests of one budget in a row that were all answered with "later", before a client asks no more of it."""
_LATER = "what was read stays; the next poll asks again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A 200, as received. Times are the business clock's."""

    path: str
    params: dict[str, str]
    sent_at: datetime
    received_at: datetime
    request_id: str
    server_date: datetime | None
    body: bytes


@dataclass(slots=True, kw_only=True)
class Seen:
    """How far a walk has come: the cursor to go on with (None before the first page, and behind the last)."""

    cursor: str | None = None
    cursors: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)


class RateBudget:
    """A token bucket on the monotonic clock: at most `per_minute` + burst requests in any 60 seconds.

    A 429 halves the rate (never below a tenth); every request answered for good brings a fiftieth of it back.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.limit = per_minute / 60
        self.rate = self.limit
        self.burst = max(1.0, min(10.0, per_minute / 3))
        self.tokens = self.burst
        self.spent = 0
        self.failed_in_a_row = 0
        """Requests whose retries were all spent since one was last answered for good."""
        self._monotonic, self._sleep = monotonic, sleep
        self._at = monotonic()
        self._turn = asyncio.Lock()
        self._places = asyncio.Semaphore(IN_FLIGHT)

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Around one request. The place comes before the budget: what was taken from the bucket is sent at once."""
        async with self._places:
            await self.take()
            yield

    async def take(self) -> None:
        """Waits for one request's worth of budget; callers are served in order."""
        async with self._turn:
            self._refill()
            while self.tokens < 1:
                rate = self.rate
                await self._sleep((1 - self.tokens) / rate)
                self._refill()
                if self.rate >= rate:  # else a 429 slowed us while we waited
                    break
            self.tokens -= 1
            self.spent += 1

    def slow_down(self) -> None:
        """After a 429: half the rate, and nothing left of the burst."""
        self._refill()
        self.rate = max(self.rate / 2, self.limit / 10)
        self.tokens = min(self.tokens, 0.0)

    def recover(self) -> None:
        """After an answer for good: a little faster again, up to the configured rate."""
        self._refill()
        self.failed_in_a_row = 0
        self.rate = min(self.limit, self.rate + self.limit / 50)

    def _refill(self) -> None:
        now = self._monotonic()
        self.tokens = min(self.burst, self.tokens + (now - self._at) * self.rate)
        self._at = now


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the API is reached. Rates count per account and minute; the timeout is for a whole request."""

    base_url: str = "https://console.neon.tech/api/v2"
    history_requests_per_minute: int = 30
    requests_per_minute: int = 300
    timeout_seconds: int = 30
    max_retries: int = 6


class Neon:
    """The API as one account's key sees it. Both budgets belong to the account, not to a key or an organization."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime],
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._clock, self._sleep = clock, sleep
        self.history_budget = RateBudget(settings.history_requests_per_minute, monotonic=monotonic, sleep=sleep)
        self.other_budget = RateBudget(settings.requests_per_minute, monotonic=monotonic, sleep=sleep)
        self.requests = 0
        self._unanswered = 0
        # Not seeded: two hosts of one account would retry in step. It spreads retries, and guards nothing.
        self._jitter = random.Random()  # noqa: S311
        self._client = httpx.AsyncClient(
            base_url=settings.base_url.rstrip("/") + "/",
            timeout=httpx.Timeout(settings.timeout_seconds),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
            headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": f"metering/{__version__}"},
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def get(
        self,
        path: str,
        params: Mapping[str, str],
        key: Secret,
        *,
        history: bool = False,
        count: Callable[[], None] = lambda: None,
    ) -> Answer:
        """One 200 answer whose body is JSON. `count` is called for every request that is sent.

        Raises CredentialsError (401), UnavailableError (403, 404), UnreachableError (retries spent), NeonError
        (other answers), PageRefusedError (a 200 that calls itself JSON and is not). No message holds the key.
        After SILENT_AFTER requests in a row to which nobody answered, however often they were repeated, or after
        FAILING_AFTER of this budget that were always put off, the rest are not sent: a cycle may have thousands.
        """
        budget = self.history_budget if history else self.other_budget
        if hopeless := self._hopeless(budget):
            raise UnreachableError(f"GET {path} was not asked: {hopeless}", hint=_LATER)
        is_answered = False
        for attempt in range(self.settings.max_retries + 1):
            wait: float | None = None
            try:
                async with budget.request():
                    self.requests += 1
                    count()
                    sent_at = self._clock()
                    async with asyncio.timeout(self.settings.timeout_seconds):
                        response, body = await self._send(path, params, key)
            except (httpx.TransportError, TimeoutError, zlib.error, EOFError) as error:
                fault = _clean(f"{type(error).__name__}: {error}", key).rstrip(": ")
            else:
                is_answered, self._unanswered = True, 0
                status = response.status_code
                if status == 200 and (why := _unfinished(body)) is None:
                    budget.recover()
                    return self._answer(path, params, sent_at, response, body)
                said = _message(body, key)
                if status not in RETRYABLE and status != 200:
                    budget.recover()
                    raise _final(path, status, said)
                fault = f"{status} {said}".strip() if status != 200 else f"200 with an unreadable body ({why})"
                wait = self._asked_to_wait(response) if status != 200 else None
                if status == 429:
                    budget.slow_down()
            if attempt < self.settings.max_retries:
                await self._sleep(self._backoff(attempt) if wait is None else wait)
        self._unanswered += not is_answered
        budget.failed_in_a_row += 1
        raise UnreachableError(
            f"GET {path} failed {self.settings.max_retries + 1} times, last with {fault}", hint=_LATER
        )

    def _hopeless(self, budget: RateBudget) -> str:
        """Why there is no sense in asking; empty as a rule."""
        if self._unanswered >= SILENT_AFTER:
            return "nobody answered the requests before it"
        return "all requests before it failed" if budget.failed_in_a_row >= FAILING_AFTER else ""

    async def change(self, method: str, path: str, body: Mapping[str, object], key: Secret) -> Answer:
        """Asks once for a change. Only after 423 and 503, by which Neon says that nothing happened, it asks again.

        Raises CredentialsError (401), UnavailableError (403, 404), NeonError (other answers); UnreachableError where no
        answer came: then only a look at the project tells whether it happened.
        """
        fault = "never asked"
        for attempt in range(self.settings.max_retries + 1):
            try:
                async with self.other_budget.request():
                    self.requests += 1
                    sent_at = self._clock()
                    async with asyncio.timeout(self.settings.timeout_seconds):
                        content = json.dumps(body).encode()
                        response, answer = await self._send(path, {}, key, method=method, content=content)
            except (httpx.TransportError, TimeoutError, zlib.error, EOFError) as error:
                what = _clean(f"{type(error).__name__}: {error}", key).rstrip(": ")
                text = f"{method} {path} got no answer ({what}): whether it happened is not known"
                raise UnreachableError(text, hint="run the command again: it looks first") from None
            status = response.status_code
            if 200 <= status < 300:
                self.other_budget.recover()
                return self._answer(path, {}, sent_at, response, answer)
            fault = f"{status} {_message(answer, key) or _clean(answer.decode(errors='replace'), key)}".strip()
            if status not in NOTHING_HAPPENED:
                raise _refused(f"{method} {path} was answered {fault}", status)
            if attempt < self.settings.max_retries:
                wait = self._asked_to_wait(response)
                await self._sleep(self._backoff(attempt) if wait is None else wait)
        raise UnreachableError(
            f"{method} {path} failed {self.settings.max_retries + 1} times, last with {fault}",
            hint="nothing happened; run the command again later",
        )

    def walk(
        self, path: str, params: Mapping[str, str], key: Secret, *, history: bool = False, seen: Seen | None = None
    ) -> AsyncGenerator[Answer, None]:
        """Every page of a list, in order."""
        return walk(lambda asked: self.get(path, asked, key, history=history), path, params, key, seen)

    async def _send(
        self, path: str, params: Mapping[str, str], key: Secret, *, method: str = "GET", content: bytes | None = None
    ) -> tuple[httpx.Response, bytes]:
        headers = {"Authorization": f"Bearer {key.reveal()}"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        async with self._client.stream(
            method, path.lstrip("/"), params=dict(params), headers=headers, content=content
        ) as response:
            if response.status_code == 200:
                return response, await _read(response, MAX_BODY_BYTES)
            try:
                return response, await _read(response, MAX_ERROR_BYTES)
            except (httpx.TransportError, zlib.error, EOFError, NeonError):
                return response, b""  # the status has said it

    def _answer(
        self, path: str, params: Mapping[str, str], sent_at: datetime, response: httpx.Response, body: bytes
    ) -> Answer:
        return Answer(
            path=path,
            params=dict(params),
            sent_at=sent_at,
            received_at=self._clock(),
            request_id=response.headers.get("x-neon-ret-request-id", ""),
            server_date=http_date(response.headers.get("date")),
            body=body,
        )

    def _asked_to_wait(self, response: httpx.Response) -> float | None:
        now = http_date(response.headers.get("date")) or self._clock()  # our own may stand still for a rehearsal
        wait = retry_after(response.headers.get("retry-after"), now, timedelta(minutes=15))
        return None if wait is None else wait.total_seconds()

    def _backoff(self, attempt: int) -> float:
        return float(min(30.0, 0.5 * 2**attempt) * (0.5 + self._jitter.random() / 2))


async def walk(
    get: Callable[[Mapping[str, str]], Awaitable[Answer]],
    path: str,
    params: Mapping[str, str],
    key: Secret,
    seen: Seen | None = None,
) -> AsyncGenerator[Answer, None]:
    """Every page of a list, in order; from where `seen` stands, which goes along and knows the end at each answer.

    `get` asks for the page of some parameters. Raises NeonError where the cursor goes in circles.
    """
    seen = seen or Seen()
    for _ in range(MAX_PAGES):
        answer = await get(dict(params) if seen.cursor is None else {**params, "cursor": seen.cursor})
        page = _page_end(answer)
        is_new = bool(set(page.items) - seen.items)
        is_known = page.cursor in seen.cursors
        seen.items.update(page.items)
        seen.cursor = None if not page.items or (is_known and not is_new) else page.cursor
        yield answer
        if seen.cursor is None:
            return
        if is_known:
            shown = _clean(seen.cursor, key)
            raise NeonError(f"GET {path} sent the cursor {shown!r} twice", hint="the walk counts as broken")
        seen.cursors.add(seen.cursor)
    raise NeonError(f"GET {path} did not end after {MAX_PAGES} pages")


async def _read(response: httpx.Response, most: int) -> bytes:
    """The whole body, unpacked by us: the client's own decoder takes a gzip stream that was cut for a whole one."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower() or "identity"
    if encoding not in {"identity", "gzip", "deflate"}:
        raise NeonError(f"the answer is encoded as {encoding[:40]!r}, which was not asked for")
    unpacker = None if encoding == "identity" else zlib.decompressobj(wbits=47)
    parts: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw():
        part = unpacker.decompress(chunk, most - size + 1) if unpacker else chunk
        size += len(part)
        if size > most:
            raise NeonError(f"the answer is larger than {most} bytes")
        parts.append(part)
    if unpacker and not unpacker.eof:
        raise EOFError("the compressed answer was cut short")
    if unpacker and unpacker.unused_data:
        raise EOFError("something stands behind the compressed answer")
    return b"".join(parts)


def _unfinished(body: bytes) -> str | None:
    """Why a 200's body should be asked for again: it was cut, or a gateway's page came instead. None: it is whole."""
    text = body.strip()
    if not text.startswith((b"{", b"[")):
        return "not JSON"
    if not text.endswith((b"}", b"]")):
        return "cut short"
    try:
        parse_history.envelope(body)
    except PageRefusedError as error:
        return "cut short" if "truncated" in str(error) else None
    return None


def _page_end(answer: Answer) -> parse_history.Envelope:
    try:
        return readable.envelope(answer.body)
    except PageRefusedError:
        return parse_history.Envelope(items=(), cursor=None)


def _message(body: bytes, key: Secret) -> str:
    """The message of an error body, short and on one line; empty where it is not one."""
    try:
        return _clean(parse_history.error_message(body), key)
    except PageRefusedError:
        return ""


def _clean(text: str, key: Secret) -> str:
    """What the other side wrote, fit for a message: without the key, on one line, printable, not long."""
    words = " ".join(text.replace(key.reveal(), "***").split())
    return legible(words)[:300]


def _refused(text: str, status: int) -> Exception:
    """What to raise where a change was answered no."""
    if status == 401:
        return CredentialsError(text, hint="the key was revoked or mistyped; set a valid one")
    if status in {403, 404}:
        return UnavailableError(text, status=status, hint="this key may not change it, or it is not there")
    return NeonError(text, status=status)


def _final(path: str, status: int, message: str) -> Exception:
    text = f"GET {path} was answered {status}" + (f": {message}" if message else "")
    if status == 401:
        return CredentialsError(text, hint="the key was revoked or mistyped; set a valid one and poll again")
    if status in {403, 404}:
        return UnavailableError(text, status=status, hint="the key may not see it; this is unknown, not zero")
    if status == 406:
        return NeonError(text, status=status, hint="the window lies outside what Neon keeps at this granularity")
    return NeonError(text, status=status)
