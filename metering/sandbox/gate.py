"""The layer between HTTP and the bodies: keys, budgets, faults, number of requests, request id, the server's clock.

Must not know the content of answers; `app` maps paths to handlers.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from uuid import UUID

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from metering.sandbox.access import Budget, Key, keys_for
from metering.sandbox.faults import Mishaps
from metering.sandbox.project import draw
from metering.sandbox.state import State

BASE_PATH = "/api/v2"
Body = dict[str, Any]
Reply = tuple[int, Body]

_GATEWAY_PAGE = b"<html><head><title>Just a moment</title></head><body>checking</body></html>"


class Clock:
    """The server's time: from `read`, or the moment to which the clock was moved."""

    def __init__(self, read: Callable[[], datetime]) -> None:
        self._read = read
        self.stands_still = False

    @classmethod
    def at(cls, moment: datetime) -> "Clock":
        """A clock that stands still until it is moved."""
        clock = cls(lambda: moment)
        clock.stands_still = True
        return clock

    def __call__(self) -> datetime:
        """The moment, in UTC."""
        return self._read().astimezone(UTC)

    def move(self, moment: datetime) -> None:
        """Sets the clock to a moment, at which it stands still."""
        self._read = lambda: moment
        self.stands_still = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Requests per minute and burst, for the history endpoints together and for all others; None: no limit."""

    history_requests_per_minute: int | None = 50
    history_burst: int | None = None
    requests_per_minute: int | None = 700


UNLIMITED = Limits(history_requests_per_minute=None, requests_per_minute=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One authorized request, at the server's moment."""

    request: Request
    key: Key
    now: datetime
    number: int
    body: object = None


Handler = Callable[["Sandbox", Call], Reply]


class Sandbox:
    """What the handlers share: state, clock, keys, budgets, faults and the count of requests."""

    def __init__(
        self, state: State, clock: Clock, *, mishaps: Mishaps, limits: Limits, monotonic_ns: Callable[[], int]
    ):
        self.state = state
        self.clock = clock
        self.keys = keys_for(state.fleet)
        self.mishaps = mishaps
        self.requests: Counter[str] = Counter()
        self._history = Budget(limits.history_requests_per_minute, limits.history_burst)
        self._general = Budget(limits.requests_per_minute)
        self._monotonic_ns = monotonic_ns

    def route(self, method: str, path: str, handler: Handler, *, is_history: bool = False) -> Route:
        """The Starlette route that authorizes and counts a request and renders the handler's answer with faults."""

        async def endpoint(request: Request) -> Response:
            self.requests[f"{method} {path}"] += 1
            number = self.requests.total()
            try:
                status, body = self._answer(request, handler, number, await _json(request, method), is_history)
            except HTTPException as refusal:
                status, body = refusal.status_code, {"code": "", "message": refusal.detail}
            return self._rendered(request, number, status, body)

        return Route(BASE_PATH + path, endpoint, methods=[method])

    def _answer(self, request: Request, handler: Handler, number: int, body: object, is_history: bool) -> Reply:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key = self.keys.get(token)
        if scheme.lower() != "bearer" or key is None:
            raise HTTPException(401, "supplied credentials do not pass authentication")
        budget = self._history if is_history else self._general
        if not budget.takes(self._monotonic_ns()):
            raise HTTPException(429, "too many requests")
        mishap = self.mishaps.status(number)
        if mishap is not None:
            raise HTTPException(int(mishap.kind), f"fault on request: {mishap.kind}")
        return handler(self, Call(request=request, key=key, now=self.clock(), number=number, body=body))

    def _rendered(self, request: Request, number: int, status: int, body: Body) -> Response:
        request_id = request.headers.get("x-request-id") or str(UUID(bytes=draw("request", number)[:16], version=4))
        headers = {"x-neon-ret-request-id": request_id, "date": format_datetime(self.clock(), usegmt=True)}
        if status >= 400 and "message" in body:
            body = {"request_id": request_id, **body}
            mishap = self.mishaps.status(number)
            if mishap is not None and mishap.argument and mishap.kind == str(status):
                headers["retry-after"] = mishap.argument
        content = msgspec.json.encode(body)
        if self.mishaps.happens("html200", number):
            return Response(_GATEWAY_PAGE, headers=headers, media_type="text/html")
        if self.mishaps.happens("truncate", number):
            headers["content-length"] = str(len(content))
            content = content[: len(content) // 2]
        slow = self.mishaps.happens("slow", number)
        if slow is not None:
            headers["content-length"] = str(len(content))
            pieces = _trickle(content, int(slow.argument or "3"))
            return StreamingResponse(pieces, status, headers, media_type="application/json")
        return _Exactly(content, status, headers, media_type="application/json; charset=utf-8")


class _Exactly(Response):
    """A response with a content-length that may be wrong, for the `truncate` fault."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Puts the given content-length in the place of the true one."""
        super().init_headers(headers)
        if headers and "content-length" in headers:
            self.raw_headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
            self.raw_headers.append((b"content-length", headers["content-length"].encode()))


async def _trickle(content: bytes, seconds: int) -> AsyncIterator[bytes]:
    piece = len(content) // 10 + 1
    for at in range(0, len(content), piece):
        await asyncio.sleep(seconds / 10)
        yield content[at : at + piece]


async def _json(request: Request, method: str) -> object:
    """The decoded body of a change; None where it is not JSON."""
    if method in ("GET", "DELETE"):
        return None
    try:
        body: object = json.loads(await request.body())
    except ValueError:
        return None
    return body
