"""Types for deliveries: endpoint, mailbox, message, attempt. Pure; must not know how messages are sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from metering.core.network import DIRECT, Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An HTTP endpoint. All keys sign, so that a secret can be rotated; without keys nothing is signed.

    `name` is its name in the ledger. The URL itself may be a secret.
    """

    name: str = ""
    url: str = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False, default=())
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    allow_private_network: bool = False
    network: Network = DIRECT


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """A mail server and the recipients. `is_tls`: TLS from the first byte (smtps) instead of STARTTLS."""

    name: str
    host: str
    port: int
    is_tls: bool
    sender: str
    recipients: tuple[str, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    allow_private_network: bool = False
    network: Network = DIRECT


Target = Endpoint | Mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One event for one endpoint, with the same id and bytes at every attempt."""

    event_id: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The result of one attempt: `delivered` (2xx), `disabled` (410), `refused` (address not allowed), `retry`.

    `status` is the HTTP or SMTP code, 0 without an answer; `error` is a sentence of our own, never the receiver's text.
    """

    outcome: str
    status: int = 0
    error: str = ""
    retry_after: timedelta | None = None
