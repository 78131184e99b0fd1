"""Who is told of an event, how each is reached, and which bytes each gets: webhooks and channels of the configuration.

Knows what a secret means to each kind of recipient. Must not know what was told before, what is due, or open a socket.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import assert_never
from urllib.parse import urlsplit

from pydantic_core import PydanticCustomError

from metering.alerts import channels, send
from metering.alerts.mail import Mailbox
from metering.alerts.wording import Event
from metering.config.models import Config
from metering.config.recipients import Channel, Webhook
from metering.core.addresses import url_parts
from metering.core.errors import CredentialsError
from metering.core.secrets import Secret

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
INTERVALS_THAT_LAST = 3
"""So many polling intervals an alert stays in Alertmanager without being posted again."""
ENDINGS = ("quota.resolved", "poll.recovered")
"""Events that end an alert told before; their `data` name it in `resolves`."""
ALWAYS = ("close.blocked",)
"""Events that everybody is told of, whatever `events` says: money waits for a person."""
_HAVE_INCIDENTS = ("pagerduty", "alertmanager")
_HAVE_AN_END = ("quota.*", "poll.*")
_MAIL_PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One who can be told: how to reach it, and what makes a message its own. `channel` is None for a webhook."""

    target: send.Target
    channel: Channel | None = None
    secret: str = field(default="", repr=False)
    lasts: timedelta = timedelta(0)


# -- who


def subscribers(config: Config, kind: str) -> list[str]:
    """Give the names in the ledger, each once and sorted, of those that want events of a type; `quota.*` is a pattern.

    What has incidents is told only of what ends, and always of the end; of ALWAYS is everybody told.
    """
    found = {hook.url for hook in config.webhooks if kind in ALWAYS or _matches(kind, hook.events)}
    return sorted(found | {channel.endpoint for channel in config.channels if _wants(channel, kind)})


def _wants(channel: Channel, kind: str) -> bool:
    if kind in ALWAYS:
        return True
    if channel.kind not in _HAVE_INCIDENTS:
        return _matches(kind, channel.events)
    return kind in ENDINGS or (_matches(kind, _HAVE_AN_END) and _matches(kind, channel.events))


def _matches(kind: str, patterns: Iterable[str]) -> bool:
    return kind != "quota.resolved" and any(fnmatchcase(kind, pattern) for pattern in patterns)


def with_incidents(config: Config, *kinds: str) -> list[str]:
    """Give the names of the channels that keep an alert open until they hear of its end; of these kinds, if any."""
    return [channel.endpoint for channel in config.channels if channel.kind in (kinds or _HAVE_INCIDENTS)]


# -- how


def ready(config: Config, secrets: Mapping[str, Secret]) -> tuple[dict[str, Recipient], tuple[str, ...]]:
    """Give everybody who has a usable secret, by the ledger's name as `secrets` is, and a sentence for who has none."""
    found: dict[str, Recipient] = {}
    faults: list[str] = []
    lasts = INTERVALS_THAT_LAST * timedelta(minutes=config.schedule.poll_minutes)
    for one in config.endpoints:
        try:
            found[one.endpoint] = _recipient(one, secrets.get(one.endpoint), lasts)
        except CredentialsError as error:
            faults.append(f"{one.endpoint}: {error}")
    return found, tuple(faults)


def _recipient(one: Webhook | Channel, secret: Secret | None, lasts: timedelta) -> Recipient:
    needs_secret = isinstance(one, Webhook) or one.secret_env or one.secret_file
    if needs_secret and secret is None:
        raise CredentialsError("no secret")
    text = secret.reveal() if secret else ""
    if isinstance(one, Webhook):
        return Recipient(target=_endpoint(one, one.url, keys=send.keys(text)))
    return Recipient(target=_target(one, text), channel=one, secret=text, lasts=lasts)


def _target(channel: Channel, secret: str) -> send.Target:
    url = channel.url or ""
    match channel.kind:
        case "slack":
            return _endpoint(channel, _secret_url(secret))
        case "pagerduty":
            return _endpoint(channel, url or PAGERDUTY_URL)
        case "alertmanager":
            headers = {"authorization": f"Bearer {secret}"} if secret else {}
            return _endpoint(channel, f"{url.rstrip('/')}/api/v2/alerts", headers=headers)
        case "email":
            return _mailbox(channel, secret)
        case kind:
            assert_never(kind)


def _endpoint(
    one: Webhook | Channel, url: str, *, keys: tuple[bytes, ...] = (), headers: Mapping[str, str] | None = None
) -> send.Endpoint:
    return send.Endpoint(
        name=one.endpoint, url=url, keys=keys, headers=headers or {}, allow_private_network=one.allow_private_network
    )


def _secret_url(secret: str) -> str:
    try:
        url_parts(secret)
    except PydanticCustomError:
        raise CredentialsError("the secret is no URL", hint="it is the incoming webhook's URL, https://…") from None
    return secret


def _mailbox(channel: Channel, password: str) -> Mailbox:
    parts = urlsplit(channel.url or "")
    return Mailbox(
        name=channel.endpoint,
        host=parts.hostname or "",
        port=parts.port or _MAIL_PORTS[parts.scheme],
        is_tls=parts.scheme == "smtps",
        sender=channel.sender or "",
        recipients=channel.to,
        user=channel.user or "",
        password=password,
        allow_private_network=channel.allow_private_network,
    )


# -- what


def message(recipient: Recipient, alert_id: str, body: str, now: datetime, *, is_over: bool) -> send.Message:
    """Write a recorded body for its recipient; `now` is the real time, `is_over`: what it tells of has ended since."""
    return send.Message(event_id=alert_id, body=_shaped(recipient, body, now, is_over=is_over))


def _shaped(recipient: Recipient, body: str, now: datetime, *, is_over: bool) -> bytes:
    if recipient.channel is None:
        return body.encode()
    event: Event = json.loads(body)
    ends = is_over or "resolves" in event["data"]
    match recipient.channel.kind:
        case "slack":
            return channels.slack(event)
        case "pagerduty":
            return channels.pagerduty(event, recipient.secret, is_over=ends)
        case "alertmanager":
            return channels.alertmanager([(event, ends)], now, recipient.lasts)
        case "email":
            return channels.email(event, recipient.channel.sender or "", recipient.channel.to)
        case kind:
            assert_never(kind)


def reminder(recipient: Recipient, bodies: Iterable[str], now: datetime) -> send.Message:
    """Write many recorded bodies, none of which is over, as one post to an Alertmanager."""
    events = [(json.loads(body), False) for body in bodies]
    return send.Message(event_id="", body=channels.alertmanager(events, now, recipient.lasts))


def tests(recipient: Recipient, alert_id: str, body: str, now: datetime) -> Sequence[send.Message]:
    """What a test sends: its one message; where that opens an incident, a second one ends it."""
    is_pagerduty = recipient.channel is not None and recipient.channel.kind == "pagerduty"
    endings = (False, True) if is_pagerduty else (False,)
    return [message(recipient, alert_id, body, now, is_over=is_over) for is_over in endings]
