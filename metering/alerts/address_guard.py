"""Decides which network addresses a message may be sent to: resolves a name and refuses private addresses.

Must not know what is sent. The resolver is a parameter.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import httpx

from metering.alerts.targets import Endpoint, Target

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that is assigned for the open internet; NAT64, site-local and IPv4-compatible addresses lie outside."""
# What `is_global` lets through although it leads elsewhere: 6to4 and Teredo carry an IPv4 address inside, the others
# are shared, special or for documentation.
_REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in ("2001::/23", "2002::/16", "3fff::/20", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24")
)


def is_public(address: Address) -> bool:
    """Whether the address is on the public internet: global unicast, and not one that embeds a private address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address not in _IPV6_UNICAST:
            return False
    if any(address.version == network.version and address in network for network in _REFUSED_NETWORKS):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Resolve the name once; addresses in the system's order. Accepts numbers in any notation. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A link-local address may carry a zone (`%eth0`), which does not change what it is.
    texts = [str(entry[4][0]).partition("%")[0] for entry in found]
    return [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]


class RefusedError(Exception):
    """The endpoint's address is not allowed."""


def proxy_of(endpoint: Endpoint) -> str | None:
    """The proxy to use for an endpoint; None for a direct connection."""
    return endpoint.network.proxy_for(httpx.URL(endpoint.url).host)


async def hosts_of(endpoint: Endpoint, url: httpx.URL, resolver: Resolve) -> Sequence[str]:
    """The addresses of the URL's host. Raises RefusedError if one is not allowed, OSError if it does not resolve.

    With a proxy, the host name itself, because the proxy resolves it; refused if it resolves here to a private address.
    """
    if url.userinfo:
        raise RefusedError("the URL carries a user name or password")
    if url.scheme != "https" and not (url.scheme == "http" and endpoint.allow_private_network):
        raise RefusedError("only https is allowed")
    port = url.port or (443 if url.scheme == "https" else 80)
    host = url.raw_host.decode("ascii").strip("[]")
    if proxy_of(endpoint) is None:
        return [str(address) for address in await checked(endpoint, host, port, resolver)]
    with suppress(OSError):
        await checked(endpoint, host, port, resolver)
    return [host]


async def checked(target: Target, host: str, port: int, resolver: Resolve) -> Sequence[Address]:
    """The addresses of a host. Raises RefusedError if one is not allowed, OSError if it does not resolve."""
    found = await resolver(host, port)
    # One private address among public ones is enough: the connection could be made to either.
    if not target.allow_private_network and not all(is_public(address) for address in found):
        raise RefusedError("the name leads to an address that is not public")
    return found
