"""Finds out who sent a request and with which roles: by a token, or by a proxy that names user and roles.

Must not decide whether that is enough, nor know pages.
"""

import hmac
import ipaddress
from base64 import b64decode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from metering.core.roles import NOBODY, ROLES, Person, Role
from metering.core.secrets import Secret
from metering.core.text import legible

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MOST_CHARACTERS = 100
"""A user's name as a proxy gives it is cut after so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A secret, and who may do what with it."""

    secret: Secret
    person: Person


def of_all_roles(secret: Secret, name: str = "token") -> Token:
    """The single token, which has every role."""
    return Token(secret=secret, person=Person(name=name))


def by_token(tokens: Sequence[Token], given: str | None) -> Person | None:
    """The person of the token that was given. Compares with every token, so that the time tells nothing."""
    if given is None:
        return None
    fits = [token for token in tokens if hmac.compare_digest(given.encode(), token.secret.reveal().encode())]
    return fits[0].person if fits else None


def by_proxy(headers: Headers, user_header: str, role_header: str | None) -> Person | None:
    """The user that a trusted proxy names; None if it names nobody. Without `role_header` they have every role.

    A header that is there twice names nobody and no role, because one of the two is the client's. Words that are no
    role, such as other groups of the user, are left out; where none is left, the person has no role.
    """
    name = _once(headers, user_header)
    if not name:
        return None
    given = ROLES if role_header is None else _roles(_once(headers, role_header))
    return Person(name=legible(name)[:MOST_CHARACTERS], roles=frozenset(given))


def _once(headers: Headers, name: str) -> str:
    given = headers.getlist(name)
    return given[0].strip() if len(given) == 1 else ""


def _roles(text: str) -> list[Role]:
    words = {word.strip().lower() for word in text.replace(";", ",").split(",")}
    return [role for role in ROLES if role in words]


def credentials(headers: Headers) -> tuple[str, str | None]:
    """The scheme (empty without a login) and the token: a bearer token, or the password of any user."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    scheme = scheme.lower()
    if scheme == "bearer":
        return scheme, rest.strip()
    if scheme == "basic":
        try:
            return scheme, b64decode(rest.strip(), validate=True).decode().partition(":")[2]
        except ValueError:
            return scheme, None
    return scheme, None


def admit(scope: Scope, person: Person) -> None:
    """Notes on the request who sent it."""
    scope.setdefault("state", {})["person"] = person


def of(request: Request) -> Person:
    """Who sent the request; NOBODY where nobody was asked, as for a customer's link."""
    found = request.scope.get("state", {}).get("person", NOBODY)
    assert isinstance(found, Person)
    return found


def address(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The peer's address; None for a peer without one."""
    try:
        found = ipaddress.ip_address(peer)
    except ValueError:
        return None
    # A dual-stack socket writes an IPv4 address as ::ffff:127.0.0.1.
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def is_inside(peer: str, networks: Iterable[Network]) -> bool:
    """Whether the peer's address is in one of the networks."""
    found = address(peer)
    return found is not None and any(found in network for network in networks)
