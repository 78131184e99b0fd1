"""Defines a kind of channel, and functions that several kinds share. Pure.

Must not know any kind by its name.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from metering.alerts.targets import Endpoint, Mailbox, Target
from metering.alerts.wording import Event
from metering.config import Channel, ChannelKeys
from metering.core.quotas import EXCEEDED_PERCENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A webhook or channel with a usable secret; `channel` is None for a webhook.

    `lasts`: how long an alert stays open there without being posted again, for channels whose alerts expire.
    """

    target: Target
    channel: Channel | None = None
    secret: str = field(default="", repr=False)
    lasts: timedelta = timedelta(0)

    @property
    def address(self) -> str:
        """Fingerprint of address and secret. A mailbox's password, which could be guessed, is left out."""
        to = self.target
        parts = [to.host, str(to.port), to.user, *to.recipients] if isinstance(to, Mailbox) else [to.url, self.secret]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of channel: its configuration keys, its address, and the bytes of its messages."""

    keys: ChannelKeys
    target: Callable[[Channel, str], Target]
    """Where a channel is reached, by its settings and the text of its secret. Raises CredentialsError."""
    message: Callable[[Event, Recipient, datetime, bool], bytes]
    """Writes an event for a recipient at a real time; true: what the event begins has ended since."""
    has_incidents: bool = False
    """Whether an alert stays open there until its end arrives: such a channel gets only events that have an end."""
    reminder: Callable[[Sequence[Event], Recipient, datetime], bytes] | None = None
    """Writes events that last as one post, where the receiver forgets them otherwise."""
    has_lasting_tests: bool = False
    """Whether a test opens an incident that only a second message ends."""


def endpoint(channel: Channel, url: str, **headers: str) -> Endpoint:
    """A channel that is reached by HTTP."""
    return Endpoint(
        name=channel.endpoint, url=url, headers=headers, allow_private_network=channel.allow_private_network
    )


def subject_id(event: Event) -> str:
    """The id of the alert that an event begins or ends; both events are one incident."""
    return str(event["data"].get("resolves") or event["data"]["alert_id"])


_WAIT_FOR_A_PERSON = ("close.blocked", "delivery.failing")


def severity(event: Event) -> str:
    """The event's severity in PagerDuty's terms: critical, error, warning or info."""
    kind, data = event["type"], event["data"]
    if kind.startswith("quota."):
        if data["threshold_percent"] >= EXCEEDED_PERCENT:
            return "critical"
        return "error" if data.get("level") == "critical" else "warning"
    return "error" if kind.startswith(("poll.", "backup.")) else "warning" if kind in _WAIT_FOR_A_PERSON else "info"


def clipped(text: str, most: int) -> str:
    """The text, cut to at most this length with an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def json_bytes(value: object) -> bytes:
    """The value as JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False).encode()
