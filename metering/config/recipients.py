"""Webhooks and channels: the endpoints that alerts are sent to."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel

from metering.config.patterns import ChannelUrl, EventPattern, MailAddress, WebhookUrl
from metering.core.values import EnvironmentName, FilePath, Flag, Identifier, Some, Text

ChannelKind = Literal["slack", "pagerduty", "email", "alertmanager"]
"""Each kind is a module of alerts/channels/."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelKeys:
    """The keys that a kind of channel takes beside those that all kinds have; `secret` is secret_env or secret_file."""

    required: Set[str]
    optional: Set[str] = frozenset()
    instead: Mapping[str, str] = field(default_factory=dict)
    """Key that the kind does not take -> what to write instead of it."""
    login: str | None = None
    """The key that comes with a secret, or not at all."""
    schemes: tuple[str, ...] = ("https", "http")
    address_form: str = "https://host/path"
    allows_query: bool = True


class Webhook(BaseModel, frozen=True, extra="forbid"):
    """An endpoint that alerts are sent to; `events` are names or patterns such as `quota.*`."""

    url: WebhookUrl
    secret_env: EnvironmentName | None = None
    secret_file: FilePath | None = None
    events: Some[EventPattern] = ("*",)
    allow_private_network: Flag = False

    @property
    def endpoint(self) -> str:
        """What it is called in the ledger."""
        return self.url


class Channel(BaseModel, frozen=True, extra="forbid"):
    """A person or a program that alerts reach otherwise than by a webhook.

    The secret is what its kind asks for: Slack's URL, PagerDuty's routing key, a mailbox's password, a bearer token.
    """

    name: Identifier
    kind: ChannelKind
    url: ChannelUrl | None = None
    secret_env: EnvironmentName | None = None
    secret_file: FilePath | None = None
    user: Text | None = None
    sender: MailAddress | None = None
    to: tuple[MailAddress, ...] = ()
    events: Some[EventPattern] = ("*",)
    allow_private_network: Flag = False

    @property
    def endpoint(self) -> str:
        """What it is called in the ledger: never its address, which may be a secret."""
        return f"{self.kind}:{self.name}"
