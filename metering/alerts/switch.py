"""Requests the operator's own URL after a tick that succeeded: a dead-man's switch, which alarms when it is silent."""

import asyncio

import httpx

from metering import __version__
from metering.alerts.send import failure_of
from metering.core.network import Network

PING_SECONDS = 10


def ping(url: str, network: Network, *, transport: httpx.AsyncBaseTransport | None = None) -> str:
    """Ask once for the operator's own URL, which waits to be asked; why it did not go well, empty where it did.

    The URL is a secret (who knows it can keep the switch quiet) and is in no sentence. Only https, no redirects; its
    address may be private, since it is the operator's.
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
    """Why a URL would never be asked; empty where it would."""
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
