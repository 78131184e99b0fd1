"""Where a message is sent, the message, and the result of one attempt. Pure values: must not know how they are sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from metering.core.network import DIRECT, Network


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
    network: Network = DIRECT


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """Where to hand in mail, and for whom. `is_tls`: from the first byte (smtps), instead of STARTTLS."""

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
