"""Selects the recipients of an event among the configured webhooks and channels, and makes the message for each.

A channel's kind provides its address and message format. Must not know what was sent or is due, nor open a socket.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from metering.alerts.channels import kind_of
from metering.alerts.channels.kind import Recipient
from metering.alerts.signing import keys
from metering.alerts.targets import Endpoint, Message
from metering.alerts.wording import Event
from metering.config import Channel, Config, Webhook
from metering.core.errors import CredentialsError
from metering.core.secrets import Secret

INTERVALS_THAT_LAST = 3
"""So many polling intervals an alert stays open in a channel that forgets, without being posted again."""
ENDINGS = ("quota.resolved", "poll.recovered", "backup.recovered")
"""Events that end an earlier alert; their `data` name it in `resolves`."""
ALWAYS = ("close.blocked", "delivery.failing", "backup.failing", "backup.recovered")
"""Events that everybody gets, whatever `events` says: something waits for a person."""
_HAVE_AN_END = ("quota.*", "poll.*")


# -- who


def subscribers(config: Config, kind: str) -> list[str]:
    """The ledger names, sorted, of the endpoints that subscribe to a type of event; `quota.*` is a pattern.

    A channel with incidents gets only types of events that have an end, and always the end. Types in ALWAYS go to all.
    """
    found = {hook.url for hook in config.webhooks if kind in ALWAYS or _matches(kind, hook.events)}
    return sorted(found | {channel.endpoint for channel in config.channels if _wants(channel, kind)})


def _wants(channel: Channel, kind: str) -> bool:
    if kind in ALWAYS:
        return True
    if not kind_of(channel.kind).has_incidents:
        return _matches(kind, channel.events)
    return kind in ENDINGS or (_matches(kind, _HAVE_AN_END) and _matches(kind, channel.events))


def _matches(kind: str, patterns: Iterable[str]) -> bool:
    return kind != "quota.resolved" and any(fnmatchcase(kind, pattern) for pattern in patterns)


def with_incidents(config: Config) -> list[str]:
    """The names of the channels that keep an alert open until its end arrives."""
    return [channel.endpoint for channel in config.channels if kind_of(channel.kind).has_incidents]


def reminded(config: Config) -> list[str]:
    """The names of the channels whose alerts expire unless they are posted again."""
    return [channel.endpoint for channel in config.channels if kind_of(channel.kind).reminder]


# -- how


def ready(
    config: Config, secrets: Mapping[str, Secret | CredentialsError]
) -> tuple[dict[str, Recipient], tuple[str, ...]]:
    """Recipients by ledger name, and a sentence per endpoint without a usable secret. `secrets`: by ledger name."""
    found: dict[str, Recipient] = {}
    faults: list[str] = []
    lasts = INTERVALS_THAT_LAST * timedelta(minutes=config.schedule.poll_minutes)
    for one in config.endpoints:
        try:
            recipient = _recipient(one, secrets.get(one.endpoint), lasts)
        except CredentialsError as error:
            faults.append(f"{one.endpoint}: {error}")
        else:
            target = replace(recipient.target, network=config.reached_by)
            found[one.endpoint] = replace(recipient, target=target)
    return found, tuple(faults)


def _recipient(one: Webhook | Channel, secret: Secret | CredentialsError | None, lasts: timedelta) -> Recipient:
    needs_secret = isinstance(one, Webhook) or one.secret_env or one.secret_file
    if needs_secret and secret is None:
        raise CredentialsError("no secret")
    if isinstance(secret, CredentialsError):
        raise secret
    text = secret.reveal() if secret else ""
    if isinstance(one, Webhook):
        target = Endpoint(
            name=one.endpoint, url=one.url, keys=keys(text), allow_private_network=one.allow_private_network
        )
        return Recipient(target=target, secret=text)
    return Recipient(target=kind_of(one.kind).target(one, text), channel=one, secret=text, lasts=lasts)


# -- what


def message(recipient: Recipient, alert_id: str, body: str, now: datetime, *, is_over: bool) -> Message:
    """Make a recipient's message from a recorded body. `now` is the real time; `is_over`: the incident has ended."""
    if recipient.channel is None:
        return Message(event_id=alert_id, body=body.encode())
    event: Event = json.loads(body)
    ends = is_over or "resolves" in event["data"]
    written = kind_of(recipient.channel.kind).message(event, recipient, now, ends)
    return Message(event_id=alert_id, body=written)


def reminder(recipient: Recipient, bodies: Iterable[str], now: datetime) -> Message:
    """Make one message from many recorded bodies of open alerts, for a channel of `reminded`."""
    write = recipient.channel and kind_of(recipient.channel.kind).reminder
    assert write, "only who forgets is reminded"
    return Message(event_id="", body=write([json.loads(body) for body in bodies], recipient, now))


def tests(recipient: Recipient, alert_id: str, body: str, now: datetime) -> Sequence[Message]:
    """The messages of a test: one, and a second that resolves it if the first opens an incident."""
    has_end = recipient.channel is not None and kind_of(recipient.channel.kind).has_lasting_tests
    return [
        message(recipient, alert_id, body, now, is_over=is_over) for is_over in ((False, True) if has_end else (False,))
    ]
