"""A transport that misbehaves above the sockets: fast, in process, before any other transport, all drawn from a seed.

    Faulty(httpx.MockTransport(app), seed=7, chance=0.2)

Waits go to `sleep`, which a test gives; nothing here takes time. What it does to a request depends on the seed, the
number of the request and nothing else, so that a run is repeated by its seed.
"""

import gzip
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx

RETRY_AFTER = (
    *("0", "1", "7", " 7 ", "-5", "900", "1.5", "soon", "", "٣"),
    *("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 99 Oct 2026 07:28:00 GMT"),
)
"""Every spelling of the header that was ever seen, and some that were not."""
TOO_LONG = ("901", "86400", "999999999999999999999999", "9" * 5000, "Wed, 21 Oct 2099 07:28:00 GMT")
"""Waits that no run begins."""
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
Page = dict[str, Any]


class Body(httpx.AsyncByteStream):
    """A body as from a socket, in pieces; `breaks` ends it with a reset."""

    def __init__(self, *pieces: bytes, breaks: bool = False) -> None:
        self.pieces, self.breaks = pieces, breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.breaks:
            raise httpx.ReadError("connection reset")


def answer(status: int, body: bytes, **headers: str) -> httpx.Response:
    """An answer whose body is read as from a socket."""
    named = {name.replace("_", "-"): text.encode() for name, text in headers.items()}
    return httpx.Response(status, headers=named, stream=Body(body))


async def no_wait(seconds: float) -> None:
    """Nobody waits."""


class Faulty(httpx.AsyncBaseTransport):
    """Before `inner`: with a `chance` something goes wrong with a request, one `kind` as likely as another.

    `happened` counts what did. The kinds that change a page do what Neon may do: they change no fact.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        seed: int,
        chance: float,
        kinds: tuple[str, ...] = (),
        sleep: Callable[[float], Awaitable[None]] = no_wait,
    ) -> None:
        self.inner, self.seed, self.chance, self.sleep = inner, seed, chance, sleep
        self.kinds = kinds or KINDS
        self.happened: Counter[str] = Counter()
        self.requests = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        draw = random.Random(f"{self.seed} {self.requests}")
        if draw.random() >= self.chance:
            return await self.inner.handle_async_request(request)
        kind = draw.choice(self.kinds)
        self.happened[kind] += 1
        if kind in LOSSES:
            raise LOSSES[kind]("lost on the wire")
        if kind in REFUSALS:
            return REFUSALS[kind](draw)
        response = await self.inner.handle_async_request(request)
        body = await response.aread()
        if kind in CUTS:
            return CUTS[kind](response.status_code, body, draw)
        if kind == "slow":
            await self.sleep(draw.uniform(1, 29))
        return answer(response.status_code, _changed(kind, body, draw) if response.status_code == 200 else body)

    async def aclose(self) -> None:
        """What is behind outlives the client."""


def _changed(kind: str, body: bytes, draw: random.Random) -> bytes:
    """The page as Neon might send it as well: in another order, or with members that nobody knows yet."""
    try:
        page: Page = json.loads(body)
    except ValueError:
        return body  # the sandbox has cut it already
    projects = page.get("projects")
    if not isinstance(projects, list):
        return body
    if kind == "shuffled":
        draw.shuffle(projects)
    elif kind == "more fields":
        page["added_in_2027"] = {"projects": []}
        projects[:] = [{**project, "added_in_2027": [1.5, None]} for project in projects]
    return json.dumps(page).encode()


def _cut(status: int, body: bytes, draw: random.Random) -> httpx.Response:
    return answer(status, body[: draw.randrange(len(body))])


def _reset(status: int, body: bytes, draw: random.Random) -> httpx.Response:
    return httpx.Response(status, stream=Body(body[: draw.randrange(len(body))], breaks=True))


def _cut_gzip(status: int, body: bytes, draw: random.Random) -> httpx.Response:
    packed = gzip.compress(body)
    return answer(status, packed[: draw.randrange(1, len(packed))], content_encoding="gzip")


CUTS = {"cut": _cut, "reset": _reset, "gzip cut": _cut_gzip}
LOSSES = {
    "no connection": httpx.ConnectError,
    "no answer": httpx.ReadTimeout,
    "hung up": httpx.RemoteProtocolError,
    "broken pipe": httpx.WriteError,
}
REFUSALS: dict[str, Callable[[random.Random], httpx.Response]] = {
    **{
        str(status): lambda _, status=status: answer(status, b'{"code": "", "message": "no"}')
        for status in (408, 425, 500, 502, 503, 504)
    },
    "429": lambda draw: answer(429, b"{}", retry_after=draw.choice(RETRY_AFTER)),
    "html": lambda _: answer(200, HTML, content_type="text/html"),
}
HARMLESS = ("slow", "shuffled", "more fields")
KINDS = (*LOSSES, *REFUSALS, *CUTS, *HARMLESS)
"""All that may pass: a request that is made again in the end gets its answer."""
