"""Decides who may see the dashboard, and sets the headers that restrict the browser.

Checks in this order: the host name (an unknown name that resolves to this machine is DNS rebinding), the method (a GET
changes nothing, and a POST must come from one of our pages), then the person: by the token, by a trusted proxy that
names the user, or, where neither is configured, by a connection from this machine. Must not know what a page shows.
"""

import hmac
import ipaddress
import re
import secrets
from base64 import b64decode
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metering.core.addresses import is_loopback
from metering.core.secrets import Secret

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers that a proxy adds: a request with one of them does not come from this machine, whatever its address."""
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
    """The rules of access. Without token and proxies only connections from this machine are allowed."""

    token: Secret | None = None
    proxies: tuple[Network, ...] = ()
    user_header: str = "x-forwarded-user"
    hosts: frozenset[str] = frozenset()
    form_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    @property
    def is_open(self) -> bool:
        """Whether no login is configured."""
        return self.token is None and not self.proxies

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
        self, app: ASGIApp, *, access: Access, free: Iterable[str] = (), unguarded: Collection[str] = ()
    ) -> None:
        self._app, self._access = app, access
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
            refusal = self._refuse_name(request) or self._refuse_method(request)
            refusal = refusal or (None if is_free else self._refuse_person(request))
        answer: ASGIApp = self._app if refusal is None else refusal
        await answer(scope, receive, send)

    def _refuse_name(self, request: Request) -> Response | None:
        name = request.headers.get("host", "")
        if is_known_host(name, self._access.hosts):
            return None
        return _said(421, f"This dashboard is not known as {name[:100]!r}. Add the name to dashboard.hosts.")

    def _refuse_method(self, request: Request) -> Response | None:
        if request.method != "POST":
            return None  # the routes accept no other method that changes something
        return None if is_same_origin(request.headers) else _said(403, "This form was not sent from a page of ours.")

    def _refuse_person(self, request: Request) -> Response | None:
        access, peer = self._access, request.client.host if request.client else ""
        if access.token is not None and _has_token(request.headers, access.token):
            return None
        if access.proxies and is_inside(peer, access.proxies) and request.headers.get(access.user_header, "").strip():
            return None
        if access.token is not None:
            ask = {"www-authenticate": 'Basic realm="metering", charset="UTF-8"'}
            return PlainTextResponse("The password is the dashboard's token; the user may be any name.\n", 401, ask)
        if access.proxies:
            return _said(403, "Only a trusted proxy that says who asks is let in.")
        if is_local(peer) and not any(name in request.headers for name in FORWARDED):
            return None
        return _said(403, "Other machines need a token or a trusted proxy: see [service] in docs/configuration.md.")


def _said(status: int, text: str) -> Response:
    return PlainTextResponse(f"{text}\n", status)


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
    return host in names or is_loopback(host) or _address(host) is not None


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether the browser's headers say that one of our pages sent the request."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site") == "same-origin"
    parts = urlsplit(origin)
    return parts.scheme in {"http", "https"} and bool(parts.netloc) and parts.netloc == headers.get("host")


def is_local(peer: str) -> bool:
    """Whether the peer is on this machine."""
    address = _address(peer)
    return address is not None and address.is_loopback


def is_inside(peer: str, networks: Iterable[Network]) -> bool:
    """Whether the peer's address is in one of the networks."""
    address = _address(peer)
    return address is not None and any(address in network for network in networks)


def _address(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return None
    # A dual-stack socket writes an IPv4 address as ::ffff:127.0.0.1.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _has_token(headers: Headers, token: Secret) -> bool:
    """Whether the request has the token: as a bearer token, or as the password of any user (a browser's login)."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        given = rest.strip()
    elif scheme.lower() == "basic":
        try:
            given = b64decode(rest.strip(), validate=True).decode().partition(":")[2]
        except ValueError:
            return False
    else:
        return False
    return hmac.compare_digest(given.encode(), token.reveal().encode())
