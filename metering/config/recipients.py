"""Settings of webhooks and channels, the endpoints of alerts."""

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
    """The keys of a kind of channel, beside those of all kinds; `secret` means secret_env or secret_file."""

    required: Set[str]
    optional: Set[str] = frozenset()
    instead: Mapping[str, str] = field(default_factory=dict)
    """Invalid key of the kind -> what to write instead."""
    login: str | None = None
    """The key that needs a secret, and that a secret needs."""
    schemes: tuple[str, ...] = ("https", "http")
    address_form: str = "https://host/path"
    allows_query: bool = True


class Webhook(BaseModel, frozen=True, extra="forbid"):
    """An endpoint that receives signed HTTP requests; `events` are names or patterns such as `quota.*`."""

    url: WebhookUrl
    secret_env: EnvironmentName | None = None
    secret_file: FilePath | None = None
    events: Some[EventPattern] = ("*",)
    allow_private_network: Flag = False

    @property
    def endpoint(self) -> str:
        """The endpoint's name in the ledger."""
        return self.url


class Channel(BaseModel, frozen=True, extra="forbid"):
    """An endpoint that receives alerts in another form: chat, e-mail or an incident system.

    The secret depends on the kind: URL (Slack), routing key (PagerDuty), password (e-mail), token (Alertmanager).
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
        """The endpoint's name in the ledger; never its address, which may be a secret."""
        return f"{self.kind}:{self.name}"
