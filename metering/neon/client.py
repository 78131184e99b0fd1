"""The client of Neon's API: one request with a budget, retries and a deadline. Knows no store and keeps no key.

Neon allows about 50 consumption requests a minute and account, and 700 of all others, shared with the console.
"""

import asyncio
import json
import random
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import httpx

from metering import __version__
from metering.core.deadline import Deadline
from metering.core.errors import NeonError, UnreachableError
from metering.core.http import http_date, retry_after
from metering.core.network import AUTHORITY_IS_UNKNOWN, DIRECT, Network
from metering.core.secrets import Secret
from metering.core.stop import Stop
from metering.neon.body import MAX_BODY_BYTES, MAX_ERROR_BYTES, page_of, read_body
from metering.neon.budget import IN_FLIGHT, Budgets, RateBudget, Sleep
from metering.neon.refusals import NOTHING_HAPPENED, RETRYABLE, clean, message_of, refused_change, refused_reading
from metering.neon.walk import Answer
from metering.neon.wire import Envelope

SILENT_AFTER = 3
"""After so many requests in a row without an answer, retries included, a client sends no more (one client a cycle)."""
FAILING_AFTER = 2 * IN_FLIGHT
"""After so many requests of one budget in a row whose retries all failed, a client sends no more of that budget."""
LONGEST_WAIT = timedelta(minutes=15)
"""Whoever asks for a longer pause is asked again by the next run, not by this one."""
_LATER = "what was read stays; the next poll asks again"
_NO_ANSWER = (httpx.TransportError, TimeoutError, zlib.error, EOFError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the API is reached. Rates count per account and minute; the timeout is for a whole request."""

    base_url: str = "https://console.neon.tech/api/v2"
    history_requests_per_minute: int = 30
    requests_per_minute: int = 300
    timeout_seconds: int = 30
    max_retries: int = 6
    network: Network = DIRECT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """A request that may be repeated, and how many seconds the server asked us to wait."""

    fault: str
    is_answered: bool = True
    wait: float | None = None


class Neon:
    """The API of one account. Both budgets belong to the account, not to a key or an organization."""

    def __init__(  # noqa: PLR0913 - what differs in a test
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime],
        transport: httpx.AsyncBaseTransport | None = None,
        stop: Stop | None = None,
        sleep: Sleep | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`stop` ends waits, and requests in hand a few seconds later."""
        self.settings = settings
        self._stop = stop or Stop()
        sleep = sleep or self._stop.sleep
        self._clock, self._sleep = clock, sleep
        self._deadline = Deadline()
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
            verify=settings.network.tls(),
            proxy=settings.network.proxy_for(urlsplit(settings.base_url).hostname or ""),
            transport=transport,
            headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": f"metering/{__version__}"},
        )

    def use(self, saved: Budgets, account: str) -> None:
        """Goes on with the account's saved budgets instead of full ones."""
        settings, sleep = self.settings, self._sleep
        self.history_budget = saved.bucket(f"{account}/history", settings.history_requests_per_minute, sleep)
        self.other_budget = saved.bucket(f"{account}/other", settings.requests_per_minute, sleep)

    def end_by(self, deadline: Deadline) -> None:
        """Reads nothing after this moment, and waits for nothing that ends later."""
        self._deadline = deadline

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
        """Returns a 200 answer whose body is JSON. `count` is called for every request that is sent.

        Raises CredentialsError (401), UnavailableError (403, 404), UnreachableError (retries or time spent, or none of
        the requests before was answered), NeonError (other answers). No message holds the key.
        """
        budget = self.history_budget if history else self.other_budget
        try:
            async with asyncio.timeout(self._deadline.seconds_left):
                return await self._get(budget, path, params, key, count)
        except TimeoutError:
            raise UnreachableError(f"GET {path} was left: the time of this run is over", hint=_LATER) from None

    async def _get(
        self, budget: RateBudget, path: str, params: Mapping[str, str], key: Secret, count: Callable[[], None]
    ) -> Answer:
        failures: list[_Failure] = []
        for attempt in range(self.settings.max_retries + 1):
            if hopeless := self._hopeless(budget):
                after = f" again after {failures[-1].fault}" if failures else ""
                raise UnreachableError(f"GET {path} was not asked{after}: {hopeless}", hint=_LATER)
            if failures:
                await self._pause(attempt - 1, failures[-1].wait)
            outcome = await self._try_to_get(budget, path, params, key, count)
            if isinstance(outcome, Answer):
                return outcome
            failures.append(outcome)
            self._note_wait(budget, outcome)
        self._unanswered += not any(failure.is_answered for failure in failures)
        budget.failed_in_a_row += 1
        raise UnreachableError(f"GET {path} failed {len(failures)} times, last with {failures[-1].fault}", hint=_LATER)

    async def _try_to_get(
        self, budget: RateBudget, path: str, params: Mapping[str, str], key: Secret, count: Callable[[], None]
    ) -> Answer | _Failure:
        """Sends one request; raises what no repetition would change."""
        try:
            async with budget.request():
                count()
                sent_at, response, body = await self._request("GET", path, params, key)
        except _NO_ANSWER as error:
            return _Failure(fault=_no_answer(error, key), is_answered=False)
        self._unanswered = 0
        status = response.status_code
        if status == 200:
            page, why = page_of(body)
            if why:
                return _Failure(fault=f"200 with an unreadable body ({why})")
            budget.recover()
            return self._answer(path, params, response, sent_at=sent_at, body=body, page=page)
        message = message_of(body, key)
        if status not in RETRYABLE:
            budget.recover()
            raise refused_reading(path, status, message)
        if status == 429:
            budget.slow_down()
        return _Failure(fault=f"{status} {message}".strip(), wait=self._asked_to_wait(response))

    def _hopeless(self, budget: RateBudget) -> str:
        """Why another request makes no sense; usually empty."""
        if self._deadline.has_passed:
            return "the time of this run is over"
        if budget.asked_to_wait:
            return budget.asked_to_wait
        if self._unanswered >= SILENT_AFTER:
            return "nobody answered the requests before it"
        return "all requests before it failed" if budget.failed_in_a_row >= FAILING_AFTER else ""

    def _note_wait(self, budget: RateBudget, failure: _Failure) -> None:
        """Gives a budget up if the server asks for a longer wait than this run has time for."""
        wait = failure.wait
        if wait is not None and (wait > LONGEST_WAIT.total_seconds() or not self._deadline.allows(wait)):
            budget.asked_to_wait = f"Neon asks to wait {wait:.0f} s, longer than this run may"

    async def change(self, method: str, path: str, body: Mapping[str, object], key: Secret) -> Answer:
        """Requests a change, and repeats it only after 423 and 503, by which Neon says that nothing happened.

        Raises CredentialsError (401), UnavailableError (403, 404), NeonError (other answers); UnreachableError if no
        answer came: then only reading the project shows whether the change happened.
        """
        fault = "never asked"
        for attempt in range(self.settings.max_retries + 1):
            try:
                async with self.other_budget.request():
                    content = json.dumps(body).encode()
                    sent_at, response, answer = await self._request(method, path, {}, key, content=content)
            except _NO_ANSWER as error:
                text = f"{method} {path} got no answer ({_no_answer(error, key)}): whether it happened is not known"
                raise UnreachableError(text, hint="run the command again: it looks first") from None
            status = response.status_code
            if 200 <= status < 300:
                self.other_budget.recover()
                return self._answer(path, {}, response, sent_at=sent_at, body=answer, page=page_of(answer)[0])
            fault = f"{status} {message_of(answer, key) or clean(answer.decode(errors='replace'), key)}".strip()
            if status not in NOTHING_HAPPENED:
                raise refused_change(f"{method} {path} was answered {fault}", status)
            wait = self._asked_to_wait(response)
            if wait is not None and wait > LONGEST_WAIT.total_seconds():
                fault = f"{fault}: Neon asks to wait {wait:.0f} s"
                break
            await self._pause(attempt, wait)
        raise UnreachableError(
            f"{method} {path} failed {attempt + 1} times, last with {fault}",
            hint="nothing happened; run the command again later",
        )

    async def _request(
        self, method: str, path: str, params: Mapping[str, str], key: Secret, *, content: bytes | None = None
    ) -> tuple[datetime, httpx.Response, bytes]:
        """Sends one request within the deadline; returns (when it was sent, the answer's head, its body)."""
        self.requests += 1
        sent_at = self._clock()
        async with self._stop.finishing(), asyncio.timeout(self.settings.timeout_seconds):
            return sent_at, *await self._send(method, path, params, key, content)

    async def _send(
        self, method: str, path: str, params: Mapping[str, str], key: Secret, content: bytes | None
    ) -> tuple[httpx.Response, bytes]:
        headers = {"Authorization": f"Bearer {key.reveal()}"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        async with self._client.stream(
            method, path.lstrip("/"), params=dict(params), headers=headers, content=content
        ) as response:
            if response.status_code == 200:
                return response, await read_body(response, MAX_BODY_BYTES)
            try:
                return response, await read_body(response, MAX_ERROR_BYTES)
            except (httpx.TransportError, zlib.error, EOFError, NeonError):
                return response, b""  # the status alone decides

    def _answer(  # noqa: PLR0913 - what was asked, and what came back
        self,
        path: str,
        params: Mapping[str, str],
        response: httpx.Response,
        *,
        sent_at: datetime,
        body: bytes,
        page: Envelope,
    ) -> Answer:
        return Answer(
            path=path,
            params=dict(params),
            sent_at=sent_at,
            received_at=self._clock(),
            request_id=response.headers.get("x-neon-ret-request-id", ""),
            server_date=http_date(response.headers.get("date")),
            body=body,
            page=page,
        )

    def _asked_to_wait(self, response: httpx.Response) -> float | None:
        now = http_date(response.headers.get("date")) or self._clock()  # our own may stand still for a rehearsal
        wait = retry_after(response.headers.get("retry-after"), now, timedelta(days=1))
        return None if wait is None else wait.total_seconds()

    async def _pause(self, attempt: int, wait: float | None) -> None:
        """Waits before the next attempt, if there is one: as long as the server asked, else longer every time."""
        if attempt < self.settings.max_retries:
            backoff = float(min(30.0, 0.5 * 2**attempt) * (0.5 + self._jitter.random() / 2))
            await self._sleep(backoff if wait is None else wait)


def _no_answer(error: Exception, key: Secret) -> str:
    why = f": {AUTHORITY_IS_UNKNOWN}" if "CERTIFICATE_VERIFY_FAILED" in str(error) else ""
    return clean(f"{type(error).__name__}: {error}", key).rstrip(": ") + why
