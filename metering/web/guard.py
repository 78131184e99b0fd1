"""Decides who may see the dashboard, and sets the headers that restrict the browser.

Checks in this order: the host name (an unknown name that resolves to this machine is DNS rebinding), the method (a GET
changes nothing, and a POST must come from one of our pages or bear a token), then the person: by a token, by a
trusted proxy that names the user, or, where nothing is configured, by a connection from a process of our own user on
this machine. Must not know what a page shows, nor what a role may do.
"""

import asyncio
import hmac
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metering.core.addresses import is_loopback
from metering.core.roles import Person
from metering.web import peers, persons
from metering.web.guesses import Guesses
from metering.web.persons import Network, Token
from metering.web.watch import Watch

FORWARDED = re.compile(
    r"""
    forwarded | via | cdn-loop | (true-)?client-ip | x-((cluster-)?client-ip | real-ip | host | scheme | varnish)
    | x-(forwarded | original | proxy | envoy- | amz | azure- | arr- | appengine- | cloud-trace- | vercel- | nf-).*
    | (x-)?akamai-.* | (cf- | fastly- | fly- | tailscale- | ngrok- | incap- | wl-proxy-).*
    """,
    re.VERBOSE,
)
"""Names of headers that only a proxy adds: a request with one of them does not come from this machine."""
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+))(?::[0-9]{1,5})?")
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With `no-referrer` a form would be sent with the origin `null`, like a form of another site.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-robots-tag": "noindex, nofollow",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The rules of access. Where nothing is configured, only processes of our own user on this machine are allowed."""

    tokens: tuple[Token, ...] = ()
    proxies: tuple[Network, ...] = ()
    user_header: str = "x-forwarded-user"
    role_header: str | None = None
    hosts: frozenset[str] = frozenset()
    is_own: Callable[[Scope], bool] = peers.is_own
    """Whether a connection is one of our own user's."""
    own_name: str = "this machine"
    """What our own user is called."""
    guesses: Guesses = field(default_factory=Guesses, repr=False)
    form_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    @property
    def is_local(self) -> bool:
        """Whether nothing is configured. A host name counts: it means that a proxy stands before the dashboard."""
        return not self.tokens and not self.proxies and not self.hosts

    def form_token(self, action: str) -> str:
        """The hidden token of a form, which no other site can know."""
        return hmac.new(self.form_key, action.encode(), "sha256").hexdigest()

    def is_form(self, action: str, token: str) -> bool:
        """Whether the token belongs to a form of this dashboard."""
        return hmac.compare_digest(self.form_token(action).encode(), token.encode())


class Guard:
    """ASGI middleware before the pages.

    `free` paths need no login (a path that ends with a slash includes everything below it); `unguarded` paths skip the
    check of the host name too.
    """

    def __init__(
        self, app: ASGIApp, watch: Watch, *, access: Access, free: Iterable[str] = (), unguarded: Collection[str] = ()
    ) -> None:
        self._app, self._access, self._watch = app, access, watch
        self._free, self._unguarded = tuple(free), unguarded
        self._free_below = tuple(path for path in self._free if path.endswith("/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a refused request itself; passes others on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        path = request.url.path
        is_free = path in self._free or path.startswith(self._free_below)
        refusal = None
        if path not in self._unguarded:
            refusal = self._refuse_name(request) or await self._refuse_method(request)
            refusal = refusal or (None if is_free else await self._refuse_unless_known(request))
        answer: ASGIApp = self._app if refusal is None else refusal
        await answer(scope, receive, send)

    def _refuse_name(self, request: Request) -> Response | None:
        name = request.headers.get("host", "")
        if is_known_host(name, self._access.hosts):
            return None
        return _said(421, f"This dashboard is not known as {name[:100]!r}. Add the name to dashboard.hosts.")

    async def _refuse_method(self, request: Request) -> Response | None:
        if request.method != "POST":
            return None  # the routes accept no other method that changes something
        scheme, given = persons.credentials(request.headers)
        request.state.bears_token = scheme == "bearer" and self._by_token(given) is not None
        if request.state.bears_token or is_same_origin(request.headers):
            return None
        if scheme == "bearer" and self._access.tokens:
            return await self._refuse_guess(_peer(request))
        return _said(403, "This form was not sent from a page of ours.")

    async def _refuse_unless_known(self, request: Request) -> Response | None:
        """Notes on the request who sent it; refuses it where nobody is known."""
        scheme, given = persons.credentials(request.headers)
        if person := self._by_token(given) or self._by_proxy(request):
            persons.admit(request.scope, person)
            return None if person.roles else self._refuse_without_role(person)
        if self._access.tokens:
            return await self._refuse_guess(_peer(request)) if scheme else _ask()
        if why := self._why_not_local(request):
            return _said(403, f"{why}: see [dashboard] in docs/configuration.md.")
        persons.admit(request.scope, Person(name=self._access.own_name))
        return None

    def _refuse_without_role(self, person: Person) -> Response:
        role_header = self._access.role_header or ""
        return _said(403, f"{person.name} has no role here: {role_header} names neither viewer, finance nor operator.")

    def _by_token(self, given: str | None) -> Person | None:
        return persons.by_token(self._access.tokens, given)

    def _by_proxy(self, request: Request) -> Person | None:
        access = self._access
        if not access.proxies or not persons.is_inside(_peer(request), access.proxies):
            return None
        return persons.by_proxy(request.headers, access.user_header, access.role_header)

    def _why_not_local(self, request: Request) -> str:
        """Why the request does not come from our own user on this machine; empty if it does."""
        if self._access.proxies:
            return "Only a trusted proxy that says who asks is let in"
        if not self._access.is_local:
            return "Where dashboard.hosts or public_url is set, a token or a trusted proxy is needed"
        if not is_local(_peer(request)) or is_forwarded(request):
            return "Other machines need a token or a trusted proxy"
        return "" if self._access.is_own(request.scope) else "Users of this machine but our own need a token"

    async def _refuse_guess(self, peer: str) -> Response:
        """Refuses a wrong token, after a delay that grows with the number of wrong tokens."""
        seconds = self._access.guesses.count(peer)
        self._watch.refused("wrong token", peer)
        if not seconds:
            return _ask()
        if self._access.guesses.are_too_many:
            return _said(429, "Too many wrong tokens.", {"retry-after": str(seconds)})
        self._access.guesses.waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._access.guesses.waiting -= 1
        return _ask()


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _ask() -> Response:
    text = "The password is the dashboard's token; the user may be any name."
    return _said(401, text, {"www-authenticate": 'Basic realm="metering", charset="UTF-8"'})


def _said(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{text}\n", status, headers)


def with_headers(send: Send) -> Send:
    """Adds the headers that restrict the browser to every answer."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending


def is_known_host(header: str, names: Collection[str]) -> bool:
    """Whether a Host header is ours: an IP address (no name was resolved), `localhost`, or a configured name."""
    found = _HOST.fullmatch(header)
    host = (found[1] or found[2].rstrip(".").lower()) if found else ""
    return host in names or is_loopback(host) or persons.address(host) is not None


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether the browser's headers say that one of our pages sent the request."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site") == "same-origin"
    parts = urlsplit(origin)
    return parts.scheme in {"http", "https"} and bool(parts.netloc) and parts.netloc == headers.get("host")


def is_local(peer: str) -> bool:
    """Whether the peer is on this machine."""
    address = persons.address(peer)
    return address is not None and address.is_loopback


def is_forwarded(request: Request) -> bool:
    """Whether a proxy has passed the request on: by its headers, or by HTTP/1.0, which browsers do not speak."""
    is_named = any(FORWARDED.fullmatch(name) for name in request.headers)
    return is_named or request.scope.get("http_version") == "1.0"
