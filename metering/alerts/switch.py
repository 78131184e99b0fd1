"""Requests the operator's dead-man's switch after a successful tick; it raises an alarm when the requests stop."""

import asyncio

import httpx

from metering import __version__
from metering.alerts.send import failure_of
from metering.core.network import Network

PING_SECONDS = 10


def ping(url: str, network: Network, *, transport: httpx.AsyncBaseTransport | None = None) -> str:
    """Request the URL once; returns why that failed, empty if it succeeded.

    The URL is a secret, because whoever knows it can keep the switch quiet; no message contains it. Only https, without
    redirects. Private addresses are allowed: the URL comes from the operator.
    """
    if fault := ping_fault(url):
        return fault
    try:
        status = asyncio.run(_asked(url, network, transport))
    except TimeoutError:
        return f"no answer within {PING_SECONDS} s"
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        return failure_of(error)
    return "" if 200 <= status < 300 else f"the answer was {status}"


def ping_fault(url: str) -> str:
    """Why a URL cannot be requested; empty if it can."""
    try:
        is_fine = httpx.URL(url).scheme == "https" and httpx.URL(url).host != ""
    except (httpx.InvalidURL, UnicodeError):
        is_fine = False
    return "" if is_fine else "it is no https URL"


async def _asked(url: str, network: Network, transport: httpx.AsyncBaseTransport | None) -> int:
    async with (
        asyncio.timeout(PING_SECONDS),
        httpx.AsyncClient(
            verify=network.tls(),
            proxy=network.proxy_for(httpx.URL(url).host),
            trust_env=False,
            follow_redirects=False,
            timeout=PING_SECONDS,
            transport=transport,
        ) as opened,
        opened.stream("GET", url, headers={"user-agent": f"metering/{__version__}"}) as response,
    ):
        return response.status_code
