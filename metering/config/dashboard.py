"""The settings of `[dashboard]`: who may see the dashboard, and from where.

Must not know what the dashboard shows, nor read a secret.
"""

import ipaddress
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, PlainValidator

from metering.core.addresses import url_parts
from metering.core.roles import ROLES, Role
from metering.core.values import EnvironmentName, FilePath, Identifier, one_line, refuse

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(value: object) -> str:
    text = one_line(value)
    try:
        ipaddress.ip_network(text)
    except ValueError:
        refuse(f"{text!r} is no address and no network", 'write "10.0.0.5" or "10.0.0.0/24"')
    return text


def _host(value: object) -> str:
    text = one_line(value).lower()
    if not text.isascii() or not all(part.replace("-", "a").isalnum() for part in text.split(".")):
        refuse(f"{text!r} is no name of a machine", 'write "billing.example.com", without scheme and port')
    return text


def _header(value: object) -> str:
    text = one_line(value).lower()
    if not text.isascii() or not text.replace("-", "a").isalnum():
        refuse(f"{text!r} is no name of a header", 'write "X-Forwarded-User"')
    return text


def _public_url(value: object) -> str:
    text = one_line(value)
    if url_parts(text).query:
        refuse("has a query", "leave out the ? and what follows")
    return text.rstrip("/")


def _roles(value: object) -> object:
    if value == []:
        refuse("is empty", f"name at least one of {', '.join(ROLES)}")
    return value


class DashboardToken(BaseModel, frozen=True, extra="forbid"):
    """One person's or program's token, and what it may do."""

    name: Identifier
    token_env: EnvironmentName | None = None
    token_file: FilePath | None = None
    roles: Annotated[tuple[Role, ...], BeforeValidator(_roles)]


class DashboardConfig(BaseModel, frozen=True, extra="forbid"):
    """Who besides this machine may see the dashboard, under which host names, and the secret of customers' links."""

    token_env: EnvironmentName | None = None
    token_file: FilePath | None = None
    tokens: tuple[DashboardToken, ...] = ()
    trusted_proxies: tuple[Annotated[str, PlainValidator(_network)], ...] = ()
    user_header: Annotated[str, PlainValidator(_header)] = "x-forwarded-user"
    role_header: Annotated[str, PlainValidator(_header)] | None = None
    hosts: tuple[Annotated[str, PlainValidator(_host)], ...] = ()
    public_url: Annotated[str, PlainValidator(_public_url)] | None = None
    link_secret_env: EnvironmentName | None = None
    link_secret_file: FilePath | None = None

    @property
    def asks_who(self) -> bool:
        """Whether a login is configured; without one only this machine is let in."""
        return bool(self.token_env or self.token_file or self.tokens or self.trusted_proxies)

    def networks(self) -> tuple[Network, ...]:
        """The networks of the proxies that may name the user."""
        return tuple(ipaddress.ip_network(text) for text in self.trusted_proxies)

    def names(self) -> frozenset[str]:
        """The host names that a request may have."""
        public = {url_parts(self.public_url).hostname or ""} if self.public_url else set()
        return frozenset({*self.hosts, *public})
