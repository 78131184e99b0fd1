"""Sends one message once, over HTTP or to a mail server, and returns the outcome.

The outcome says whether another attempt makes sense; the caller makes it. Must not know the content of a body, the
ledger, or the clock: the time is a parameter.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

import httpx

from metering.alerts import mail
from metering.alerts.address_guard import RefusedError, Resolve, checked, hosts_of, is_public, proxy_of, resolve
from metering.alerts.address_order import in_turn, shares
from metering.alerts.signing import headers
from metering.alerts.targets import Attempt, Endpoint, Mailbox, Message, Target
from metering.core.http import retry_after
from metering.core.network import AUTHORITY_IS_UNKNOWN

# A URL may be a secret, and httpx logs URLs at level INFO.
logging.getLogger("httpx").setLevel(logging.WARNING)

DEADLINE_SECONDS = 20
"""Time limit of one attempt, from name resolution to the status."""
_DRAIN_SECONDS = 1
LARGEST_ANSWER_BYTES = 64 * 1024
LONGEST_WAIT = timedelta(hours=24)
"""Longest pause that a receiver can ask for by Retry-After."""

Result = TypeVar("Result")
_reached = WeakKeyDictionary[httpx.AsyncClient, str]()
"""The address at which a client last reached its endpoint; the next message tries it first."""


def client(target: Target) -> httpx.AsyncClient:
    """Open a client for one endpoint. Do not share it: connections are pooled by address, not by host name."""
    return httpx.AsyncClient(
        verify=target.network.tls(),
        proxy=proxy_of(target) if isinstance(target, Endpoint) else None,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(DEADLINE_SECONDS),
    )


async def deliver(
    endpoint: Target,
    message: Message,
    now: datetime,
    *,
    over: httpx.AsyncClient | None = None,
    resolver: Resolve = resolve,
) -> Attempt:
    """Send once, signed at `now`, to a checked address. No failure of the receiver raises."""
    if isinstance(endpoint, Mailbox):
        return await _mail(endpoint, message, resolver)
    if over is None:
        async with client(endpoint) as opened:
            return await deliver(endpoint, message, now, over=opened, resolver=resolver)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            response = await _answer(endpoint, message, now, over, resolver)
    except RefusedError as refusal:
        return Attempt(outcome="refused", error=str(refusal))
    except TimeoutError:
        return Attempt(outcome="retry", error=f"no answer within {DEADLINE_SECONDS} s")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        return Attempt(outcome="retry", error=failure_of(error))
    await _drain(response)
    return outcome(response.status_code, response.headers.get("retry-after"), now)


async def _mail(mailbox: Mailbox, message: Message, resolver: Resolve) -> Attempt:
    """Send by SMTP: a 2xx code is delivered, anything else is retried."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            addresses = await checked(mailbox, mailbox.host, mailbox.port, resolver)
        may_be_plain = not any(is_public(address) for address in addresses)
        told = in_turn([str(address) for address in addresses])
        status, why = await _aside(lambda: mail.send(mailbox, told, message.body, may_be_plain=may_be_plain))
    except RefusedError as refusal:
        return Attempt(outcome="refused", error=str(refusal))
    except mail.InTheClearError:
        return Attempt(outcome="refused", error="the mail server offers no STARTTLS")
    except (OSError, UnicodeError) as error:
        return Attempt(outcome="retry", error=failure_of(error))
    return Attempt(outcome="delivered" if 200 <= status < 300 else "retry", status=status, error=why)


async def _aside(work: Callable[[], Result]) -> Result:
    """Run a blocking call in a thread of its own. If cancelled, do not wait for it: a stop has ten seconds in all."""
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


def failure_of(error: Exception) -> str:
    """A sentence about a failed connection. The error's own message is left out, because it may contain the address."""
    if isinstance(error, socket.gaierror):
        return "the name could not be resolved"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy did not let it through: {str(error)[:3]}"  # the status; what follows is the proxy's text
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"no answer: {AUTHORITY_IS_UNKNOWN}"
    return f"no answer: {type(error).__name__}"


async def _answer(
    endpoint: Endpoint, message: Message, now: datetime, over: httpx.AsyncClient, resolver: Resolve
) -> httpx.Response:
    """Try the addresses in order, each for its share of the time, until one accepts. The body is not read."""
    url = httpx.URL(endpoint.url)
    failure: httpx.HTTPError = httpx.ConnectError("no address")
    hosts = in_turn(await hosts_of(endpoint, url, resolver), _reached.get(over, ""))
    for host, seconds in zip(hosts, shares(DEADLINE_SECONDS, len(hosts)), strict=True):
        request = over.build_request(
            "POST",
            url.copy_with(host=host),
            content=message.body,
            headers={**headers(endpoint, message, now), "host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.raw_host.decode("ascii").strip("[]")},
            timeout=httpx.Timeout(DEADLINE_SECONDS, connect=seconds),
        )
        try:
            response = await over.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            failure = error
        else:
            _reached[over] = host
            return response
    raise failure


async def _drain(response: httpx.Response) -> None:
    """Read a short body, so that the connection can be reused. Failures do not matter: the status has decided."""
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


def outcome(status: int, asked_to_wait: str | None, now: datetime) -> Attempt:
    """The outcome of an answer: 2xx is success, 410 turns the endpoint off, all else (also redirects) is retried."""
    if 200 <= status < 300:
        return Attempt(outcome="delivered", status=status)
    if status == 410:
        return Attempt(outcome="disabled", status=status, error="the endpoint is gone (410)")
    wait = retry_after(asked_to_wait, now, LONGEST_WAIT)
    return Attempt(outcome="retry", status=status, error=f"the endpoint answered {status}", retry_after=wait)
