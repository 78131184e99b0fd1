"""Webhooks and channels: the endpoints that alerts are sent to."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

from metering.config.patterns import ChannelUrl, EventPattern, MailAddress, WebhookUrl
from metering.core.values import EnvironmentName, FilePath, Flag, Identifier, Some, Text

ChannelKind = Literal["slack", "pagerduty", "email", "alertmanager"]
CHANNEL_KINDS: Mapping[str, tuple[set[str], set[str]]] = {
    "slack": ({"secret"}, set()),
    "pagerduty": ({"secret"}, {"url"}),
    "email": ({"url", "sender", "to"}, {"user", "secret"}),
    "alertmanager": ({"url"}, {"secret"}),
}
"""Kind -> the keys that it must have, and those that it may have, beside what all have."""


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
