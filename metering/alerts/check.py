"""Checks the webhooks and channels for `check`: secret, address, and, on request, the delivery of a test.

Sends nothing unless asked to. Prints no secret, and no address that is a secret. Must not check anything else.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from metering.alerts import delivering, recipients
from metering.alerts.address_guard import is_public, resolve
from metering.alerts.channels.kind import Recipient
from metering.alerts.targets import Attempt, Endpoint, Mailbox
from metering.config import Channel, Config, Webhook
from metering.core.errors import CredentialsError
from metering.core.network import Network
from metering.core.secrets import Secret

Json = dict[str, Any]

RESOLVE_SECONDS = 10
_UNRESOLVED = "the name could not be resolved"
_PORTS = {"https": 443, "http": 80, "smtps": 465, "smtp": 587}


class Tell(Protocol):
    """Receives a finding, like `Checked.tell`."""

    def __call__(self, subject: str, check: str, state: str, detail: str, exit_code: int = 0) -> None:
        """Take it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """The endpoints' part of the JSON document."""

    webhooks: list[Json]
    channels: list[Json]


def look(  # noqa: PLR0913 - what a delivery needs
    config: Config,
    secrets: Mapping[str, Secret | CredentialsError],
    now: datetime,
    real_time: Callable[[], datetime],
    tell: Tell,
    *,
    send_test: bool,
) -> Endpoints:
    """Check every webhook and channel in the order of their names; `send_test`: also send each a test."""
    ready, faults = recipients.ready(config, secrets)
    rows: dict[str, Json] = {}
    for one in sorted(config.endpoints, key=lambda one: one.endpoint):
        prefix = f"{one.endpoint}: "
        fault = next((text.removeprefix(prefix) for text in faults if text.startswith(prefix)), "")
        rows[one.endpoint] = _looked(one, ready.get(one.endpoint), fault, config.reached_by, tell)
    if send_test and ready:
        able = _only(config, ready)
        attempts = dict(delivering.test_event(able, secrets, now, real_time))
        for one in able.endpoints:
            if attempt := attempts.get(one.endpoint):
                rows[one.endpoint]["test"] = _tested(_subject(one), attempt, tell)
    return Endpoints(
        webhooks=[rows[name] for name in sorted(hook.endpoint for hook in config.webhooks)],
        channels=[rows[name] for name in sorted(channel.endpoint for channel in config.channels)],
    )


def _looked(one: Webhook | Channel, recipient: Recipient | None, fault: str, way: Network, tell: Tell) -> Json:
    subject = _subject(one)
    source = (
        f"environment {one.secret_env}" if one.secret_env else f"file {one.secret_file}" if one.secret_file else None
    )
    if fault:
        tell(subject, "secret", "fault", f"{source}: {fault}", exit_code=5)
    elif source:
        tell(subject, "secret", "ok", f"{source}: usable")
    why = _address_fault(one, recipient, way)
    if why:
        tell(subject, "address", "fault", why, exit_code=3)
    elif why is not None:
        tell(subject, "address", "ok", "resolves, and may be spoken to")
    names = {"url": one.url} if isinstance(one, Webhook) else {"name": one.name, "kind": one.kind}
    return {
        **names,
        "events": list(one.events),
        "secret_source": source,
        "secret": "unusable" if fault else "ok" if source else None,
        "address": why if why is None else why or "ok",
        "test": None,
    }


def _subject(one: Webhook | Channel) -> str:
    return f"webhook {one.url}" if isinstance(one, Webhook) else f"channel {one.endpoint}"


# -- addresses


def _address_fault(one: Webhook | Channel, recipient: Recipient | None, way: Network) -> str | None:
    """Why nothing would be sent there, empty if it would; None if the address is a secret that is missing."""
    is_mail = (one.url or "").startswith("smtp")
    if recipient and isinstance(recipient.target, Mailbox):
        host, port = recipient.target.host, recipient.target.port
    else:
        url = recipient.target.url if recipient and isinstance(recipient.target, Endpoint) else one.url
        if not url:
            return None
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    is_known_elsewhere = not is_mail and way.fault is None and way.proxy_for(host) is not None
    fault = asyncio.run(_place_fault(host, port, is_private_fine=one.allow_private_network))
    return "" if fault == _UNRESOLVED and is_known_elsewhere else fault


async def _place_fault(host: str, port: int, *, is_private_fine: bool) -> str:
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            addresses = await resolve(host, port)
    except TimeoutError:
        return f"the name was not resolved within {RESOLVE_SECONDS} s"
    except (OSError, UnicodeError):
        return _UNRESOLVED
    if not is_private_fine and not all(is_public(address) for address in addresses):
        return "the name leads to an address that is not public (allow_private_network = true would let it)"
    return ""


# -- tests


def _only(config: Config, ready: Iterable[str]) -> Config:
    """The configuration with only these endpoints."""
    names = set(ready)
    hooks = tuple(hook for hook in config.webhooks if hook.endpoint in names)
    channels = tuple(channel for channel in config.channels if channel.endpoint in names)
    return config.model_copy(update={"webhooks": hooks, "channels": channels})


def _tested(subject: str, attempt: Attempt, tell: Tell) -> Json:
    is_ok = attempt.outcome == "delivered"
    detail = "the test was delivered" if is_ok else f"the test was not delivered: {attempt.error}"
    tell(subject, "test", "ok" if is_ok else "fault", detail, 0 if is_ok else 3)
    return {"outcome": attempt.outcome, "status": attempt.status or None, "error": attempt.error}
