"""The door to whom alerts are sent: guard the address, sign where that is asked for, send once, say what came of it.

Knows the Standard Webhooks specification and what an address may be; the mail server's own door is mail.py. Must not
know what is in a body, the ledger, or the clock: the time to sign and to count from is a parameter. Whether and when to
try again is said, not done, here.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TypeVar

import httpx

from metering import __version__
from metering.alerts import mail
from metering.alerts.mail import Mailbox
from metering.core.errors import CredentialsError
from metering.core.http import parse_retry_after

# An address may be a secret, and httpx would write it down at level INFO.
logging.getLogger("httpx").setLevel(logging.WARNING)

RETRY_SCHEDULE = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Wait before each attempt, from the attempt before: 75 h 35 min 5 s in all (Standard Webhooks, section on retries)."""
DEADLINE_SECONDS = 20
"""From resolving the name to the answer's status."""
_DRAIN_SECONDS = 1
LARGEST_ANSWER_BYTES = 64 * 1024

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Result = TypeVar("Result")
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that is assigned for the open internet; NAT64, site-local and IPv4-compatible addresses lie outside."""
# What `is_global` lets through although it leads elsewhere: 6to4 and Teredo carry an IPv4 address inside, the others
# are shared, special or for documentation.
_REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in ("2001::/23", "2002::/16", "3fff::/20", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to post. Several keys sign side by side while a secret is changed; without a key nothing is signed.

    `name` is what the ledger calls it. The URL may be a secret itself.
    """

    name: str = ""
    url: str = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False, default=())
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    allow_private_network: bool = False


Target = Endpoint | Mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One event for one endpoint: the same id and bytes at every attempt."""

    event_id: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one try: `delivered` (2xx), `disabled` (410), `refused` (nothing sent: bad address), `retry`.

    `status` is HTTP's or SMTP's, 0 where no answer came; `error` is our own sentence, never the receiver's text.
    """

    outcome: str
    status: int = 0
    error: str = ""
    retry_after: timedelta | None = None


# -- signing


def keys(secret: str) -> tuple[bytes, ...]:
    """Read the key of each `whsec_…` in a secret; several, with commas or blanks between, sign side by side.

    Raises CredentialsError where one is not `whsec_` and base64 of 24 to 64 bytes. The message does not repeat it.
    """
    found = tuple(_key(part) for part in re.split(r"[,\s]+", secret.strip()) if part)
    if not found:
        raise CredentialsError("the webhook secret is empty", hint=_SECRET_HINT)
    return found


_SECRET_HINT = "a secret is whsec_ and then base64 of 24 to 64 random bytes"  # noqa: S105 - a sentence, not a secret


def _key(text: str) -> bytes:
    prefix, _, encoded = text.partition("_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        key = b""
    if prefix != "whsec" or not 24 <= len(key) <= 64:
        raise CredentialsError("a webhook secret is malformed", hint=_SECRET_HINT)
    return key


def signature(signing_keys: Sequence[bytes], event_id: str, timestamp: int, body: bytes) -> str:
    """Sign exactly these bytes: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`, one per key."""
    assert "." not in event_id, "a dot would make two different messages sign alike"
    signed = f"{event_id}.{timestamp}.".encode() + body
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in signing_keys)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def headers(endpoint: Endpoint, message: Message, now: datetime) -> dict[str, str]:
    """Give the headers of one attempt: the id stays, the timestamp is that of the attempt."""
    common = {
        "content-type": "application/json",
        "user-agent": f"metering/{__version__}",
        "accept-encoding": "identity",
        **endpoint.headers,
    }
    if not endpoint.keys:
        return common
    timestamp = (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return {
        **common,
        "webhook-id": message.event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(endpoint.keys, message.event_id, timestamp, message.body),
    }


# -- when to try again


def next_attempt(attempts: int, now: datetime, retry_after: timedelta | None = None) -> datetime | None:
    """Say when to try again after so many attempts; never before what the receiver asked for. None: never."""
    if attempts >= len(RETRY_SCHEDULE):
        return None
    return now + max(RETRY_SCHEDULE[attempts], retry_after or timedelta(0))


# -- the address guard


def is_public(address: Address) -> bool:
    """Whether packets to the address leave for the open internet: global unicast, and no wrapped private address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address not in _IPV6_UNICAST:
            return False
    if any(address.version == network.version and address in network for network in _REFUSED_NETWORKS):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Look the name up once, in the system's order; raises OSError. Numbers in odd notations come out as addresses."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A link-local address may carry a zone (`%eth0`), which does not change what it is.
    texts = [str(entry[4][0]).partition("%")[0] for entry in found]
    return [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]


class _RefusedError(Exception):
    """The endpoint's address may not be spoken to."""


async def _addresses(endpoint: Endpoint, url: httpx.URL, resolver: Resolve) -> Sequence[Address]:
    if url.userinfo:
        raise _RefusedError("the URL carries a user name or password")
    if url.scheme != "https" and not (url.scheme == "http" and endpoint.allow_private_network):
        raise _RefusedError("only https is allowed")
    port = url.port or (443 if url.scheme == "https" else 80)
    return await _resolved(endpoint, url.raw_host.decode("ascii").strip("[]"), port, resolver)


async def _resolved(target: Target, host: str, port: int, resolver: Resolve) -> Sequence[Address]:
    found = await resolver(host, port)
    # One private address among public ones is enough: a resolver that answers both is choosing for us.
    if not target.allow_private_network and not all(is_public(address) for address in found):
        raise _RefusedError("the name leads to an address that is not public")
    return found


# -- one attempt


@cache
def _tls() -> ssl.SSLContext:
    """Read the certificate authorities once; a context per attempt would cost more than the attempt."""
    return httpx.create_ssl_context(trust_env=False)


def client(tls: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    """Open a client for one endpoint; never share it with another: connections are pooled by address, not by name."""
    return httpx.AsyncClient(
        verify=tls or _tls(), trust_env=False, follow_redirects=False, timeout=httpx.Timeout(DEADLINE_SECONDS)
    )


async def deliver(
    endpoint: Target,
    message: Message,
    now: datetime,
    *,
    over: httpx.AsyncClient | None = None,
    resolver: Resolve = resolve,
) -> Attempt:
    """Send once, signed at `now`, to an address that was checked. Never raises for what the receiver does."""
    if isinstance(endpoint, Mailbox):
        return await _mail(endpoint, message, resolver)
    if over is None:
        async with client() as opened:
            return await deliver(endpoint, message, now, over=opened, resolver=resolver)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            response = await _answer(endpoint, message, now, over, resolver)
    except _RefusedError as refusal:
        return Attempt(outcome="refused", error=str(refusal))
    except TimeoutError:
        return Attempt(outcome="retry", error=f"no answer within {DEADLINE_SECONDS} s")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        return Attempt(outcome="retry", error=_why(error))
    await _drain(response)
    return outcome(response.status_code, response.headers.get("retry-after"), now)


async def _mail(mailbox: Mailbox, message: Message, resolver: Resolve) -> Attempt:
    """Hand in a message: 2xx is delivered, anything else is tried again."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            addresses = await _resolved(mailbox, mailbox.host, mailbox.port, resolver)
        may_be_plain = not any(is_public(address) for address in addresses)
        told = [str(address) for address in addresses]
        status, why = await _aside(lambda: mail.send(mailbox, told, message.body, may_be_plain=may_be_plain))
    except _RefusedError as refusal:
        return Attempt(outcome="refused", error=str(refusal))
    except mail.InTheClearError:
        return Attempt(outcome="refused", error="the mail server offers no STARTTLS")
    except (OSError, UnicodeError) as error:
        return Attempt(outcome="retry", error=_why(error))
    return Attempt(outcome="delivered" if 200 <= status < 300 else "retry", status=status, error=why)


async def _aside(work: Callable[[], Result]) -> Result:
    """Do what blocks in a thread that nobody waits for once this is cancelled: a stop has ten seconds in all."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            settle = partial(future.set_result, work())
        except Exception as error:  # raised where it is waited for
            settle = partial(future.set_exception, error)
        with suppress(InvalidStateError):  # cancelled meanwhile
            settle()

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(future)


def _why(error: Exception) -> str:
    # The message may hold the address or what the receiver wrote; the kind is enough.
    if isinstance(error, socket.gaierror):
        return "the name could not be resolved"
    return f"no answer: {type(error).__name__}"


async def _answer(
    endpoint: Endpoint, message: Message, now: datetime, over: httpx.AsyncClient, resolver: Resolve
) -> httpx.Response:
    """Try the addresses in turn until one accepts a connection; the answer's body is not read yet."""
    url = httpx.URL(endpoint.url)
    failure: httpx.HTTPError = httpx.ConnectError("no address")
    for address in await _addresses(endpoint, url, resolver):
        request = over.build_request(
            "POST",
            url.copy_with(host=str(address)),
            content=message.body,
            headers={**headers(endpoint, message, now), "host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.raw_host.decode("ascii").strip("[]")},
        )
        try:
            return await over.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            failure = error
    raise failure


async def _drain(response: httpx.Response) -> None:
    """Read a short body, so that the connection can be used again; the status has decided, so failures are fine."""
    size = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in response.aiter_raw():
                size += len(chunk)
                if size > LARGEST_ANSWER_BYTES:
                    break
    except (TimeoutError, httpx.HTTPError, httpx.StreamError):
        pass
    finally:
        await response.aclose()


def outcome(status: int, retry_after: str | None, now: datetime) -> Attempt:
    """Judge an answer: only 2xx is success, a redirect is a failure, 410 asks never to be called again."""
    if 200 <= status < 300:
        return Attempt(outcome="delivered", status=status)
    if status == 410:
        return Attempt(outcome="disabled", status=status, error="the endpoint is gone (410)")
    wait = parse_retry_after(retry_after, now)
    return Attempt(outcome="retry", status=status, error=f"the endpoint answered {status}", retry_after=wait)


# -- many endpoints, each with its own queue


AT_ONCE = 32
FAILURES_THAT_PAUSE = 5
"""After so many failures in a row an endpoint is left alone until the next run; what was not tried costs no attempt."""


async def deliver_queues(
    queues: Sequence[tuple[Target, Sequence[Message]]],
    clock: Callable[[], datetime],
    on_attempt: Callable[[Target, Message, Attempt], None],
    *,
    budget_seconds: int = 240,
    resolver: Resolve = resolve,
) -> None:
    """Send every queue in order, at most AT_ONCE endpoints side by side; a slow endpoint delays only itself.

    `clock` gives the real time of each attempt, for its timestamp. `on_attempt` is told of each before the next begins.
    No attempt begins after `budget_seconds`; what is left stays due.
    """
    until = asyncio.get_running_loop().time() + budget_seconds
    places = asyncio.Semaphore(AT_ONCE)

    async def send(endpoint: Target, messages: Sequence[Message]) -> None:
        failures = 0
        async with places, client() as opened:
            for message in messages:
                if failures >= FAILURES_THAT_PAUSE or asyncio.get_running_loop().time() >= until:
                    return
                attempt = await deliver(endpoint, message, clock(), over=opened, resolver=resolver)
                on_attempt(endpoint, message, attempt)
                if attempt.outcome == "disabled" or attempt.retry_after:
                    return
                failures = 0 if attempt.outcome == "delivered" else failures + 1

    try:
        async with asyncio.TaskGroup() as group:
            for endpoint, messages in queues:
                group.create_task(send(endpoint, messages))
    except BaseExceptionGroup as failures:
        # Only `on_attempt` and `clock` raise in there: the caller knows their errors, not groups of them.
        raise failures.exceptions[0] from None


# -- a dead-man's switch

PING_SECONDS = 10


def ping(url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> str:
    """Ask once for the operator's own URL, which waits to be asked; why it did not go well, empty where it did.

    The URL is a secret (who knows it can keep the switch quiet) and is in no sentence. Only https, no redirects; its
    address may be private, since it is the operator's.
    """
    if fault := ping_fault(url):
        return fault
    try:
        status = asyncio.run(_asked(url, transport))
    except TimeoutError:
        return f"no answer within {PING_SECONDS} s"
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        return _why(error)
    return "" if 200 <= status < 300 else f"the answer was {status}"


def ping_fault(url: str) -> str:
    """Why a URL would never be asked; empty where it would."""
    try:
        is_fine = httpx.URL(url).scheme == "https" and httpx.URL(url).host != ""
    except (httpx.InvalidURL, UnicodeError):
        is_fine = False
    return "" if is_fine else "it is no https URL"


async def _asked(url: str, transport: httpx.AsyncBaseTransport | None) -> int:
    async with (
        asyncio.timeout(PING_SECONDS),
        httpx.AsyncClient(
            verify=_tls(), trust_env=False, follow_redirects=False, timeout=PING_SECONDS, transport=transport
        ) as opened,
        opened.stream("GET", url, headers={"user-agent": f"metering/{__version__}"}) as response,
    ):
        return response.status_code
