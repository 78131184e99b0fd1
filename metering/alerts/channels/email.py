"""E-mail messages in plain text. Pure: mail.py sends them."""

from collections.abc import Iterable
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import urlsplit

from metering.alerts.channels.kind import Kind, Recipient
from metering.alerts.targets import Mailbox
from metering.alerts.wording import Event, worded
from metering.config import Channel, ChannelKeys
from metering.core.period import parse_time

_PORTS = {"smtp": 587, "smtps": 465}


def message(event: Event, sender: str, recipients: Iterable[str]) -> bytes:
    """A message in plain text, with equal bytes at every attempt: Date and Message-ID come from the event."""
    words = worded(event)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address(display_name="metering", addr_spec=sender)
    mail["To"] = [Address(addr_spec=recipient) for recipient in recipients]
    mail["Subject"] = words.title
    mail["Date"] = format_datetime(parse_time(event["timestamp"]))
    mail["Message-ID"] = f"<{event['data']['alert_id']}@{sender.rpartition('@')[2]}>"
    # Suppresses out-of-office replies (RFC 3834).
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(f"{words.title}.\n\n{words.lines}\n")
    return mail.as_bytes()


def _mailbox(channel: Channel, password: str) -> Mailbox:
    parts = urlsplit(channel.url or "")
    return Mailbox(
        name=channel.endpoint,
        host=parts.hostname or "",
        port=parts.port or _PORTS[parts.scheme],
        is_tls=parts.scheme == "smtps",
        sender=channel.sender or "",
        recipients=channel.to,
        user=channel.user or "",
        password=password,
        allow_private_network=channel.allow_private_network,
    )


def _message(event: Event, to: Recipient, _now: datetime, _is_over: bool) -> bytes:
    assert isinstance(to.target, Mailbox), "a channel of this kind is reached at a mail server"
    return message(event, to.target.sender, to.target.recipients)


KIND = Kind(
    keys=ChannelKeys(
        required={"url", "sender", "to"},
        optional={"user", "secret"},
        login="user",
        schemes=tuple(_PORTS),
        address_form="smtp://host:port or smtps://host:port",
    ),
    target=_mailbox,
    message=_message,
)
