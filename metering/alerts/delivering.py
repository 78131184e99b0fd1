"""Delivers the outbox: sends the messages that are due, and records each attempt before the next.

After a crash between sending and recording, the message is sent again with the same id and bytes, and the receiver
ignores it by its id. Must not decide which events are sent, nor open a socket.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from metering.alerts import recipients
from metering.alerts.channels.kind import Recipient
from metering.alerts.queues import deliver_queues
from metering.alerts.recording import body, event_id
from metering.alerts.retry_schedule import next_attempt
from metering.alerts.targets import Attempt, Message, Target
from metering.config import Config
from metering.core.errors import CredentialsError
from metering.core.period import rfc3339
from metering.core.secrets import Secret
from metering.ledger.ledger import Ledger

MOST_PER_ENDPOINT = 5_000
"""The most messages sent to one endpoint per run; the rest stays due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """Result of a run: attempts by outcome, and a sentence per endpoint that has no usable secret."""

    outcomes: Mapping[str, int]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """The messages to deliver, and the secrets of their endpoints. `clock` returns the real time, for signatures."""

    ledger: Ledger
    config: Config
    secrets: Mapping[str, Secret | CredentialsError]
    clock: Callable[[], datetime]

    def waiting(self, now: datetime) -> set[str]:
        """The configured endpoints with messages that are due."""
        configured = {one.endpoint for one in self.config.endpoints}
        return configured & set(self.ledger.store.query("alerts/endpoints_due", now=now)["endpoint"])

    async def deliver(
        self, now: datetime, *, only: str | None = None, goes_on: Callable[[], bool] = lambda: True
    ) -> Deliveries:
        """Send what is due at `now` (business time) to one endpoint or to all, while `goes_on()` is true.

        No failure of a receiver raises. Messages for endpoints that are unknown or without a secret stay due.
        """
        ready, faults = recipients.ready(self.config, self.secrets)
        due = self.ledger.store.query("alerts/outbox_due", now=now, most=MOST_PER_ENDPOINT, only=only)
        made = {(row["alert_id"], row["endpoint"]): row["attempts"] for row in due.iter_rows(named=True)}
        outcomes: Counter[str] = Counter()

        def record(target: Target, message: Message, attempt: Attempt) -> None:
            attempts = made[message.event_id, target.name] + 1
            data = delivery(message.event_id, target.name, attempts, attempt, now)
            data["address"] = ready[target.name].address
            self.ledger.record("delivery", data)
            outcomes[data["outcome"]] += 1

        if queues := _queues(due, ready, self.clock()):
            await deliver_queues(queues, self.clock, record, goes_on=goes_on)
        return Deliveries(outcomes=dict(sorted(outcomes.items())), faults=faults)


def deliver_due(
    ledger: Ledger,
    config: Config,
    secrets: Mapping[str, Secret | CredentialsError],
    now: datetime,
    clock: Callable[[], datetime],
) -> Deliveries:
    """Send what is due at `now` (business time) and record each attempt. `clock` returns the real time."""
    outbox = Outbox(ledger=ledger, config=config, secrets=secrets, clock=clock)
    return asyncio.run(outbox.deliver(now))


def _queues(
    due: pl.DataFrame, ready: Mapping[str, Recipient], real_now: datetime
) -> list[tuple[Target, list[Message]]]:
    queues: dict[str, list[Message]] = {}
    for row in due.iter_rows(named=True):
        if recipient := ready.get(row["endpoint"]):
            message = recipients.message(recipient, row["alert_id"], row["body"], real_now, is_over=row["is_over"])
            queues.setdefault(row["endpoint"], []).append(message)
    return [(ready[name].target, messages) for name, messages in queues.items()]


def delivery(alert_id: str, endpoint: str, attempts: int, attempt: Attempt, now: datetime) -> dict[str, Any]:
    """The record of the attempt number `attempts`, with the time of the next one; None after the last."""
    again = attempt.outcome in ("retry", "refused")
    following = next_attempt(attempts, now, attempt.retry_after) if again else None
    is_last = attempt.outcome == "retry" and following is None
    return {
        "alert_id": alert_id,
        "endpoint": endpoint,
        "attempt": attempts,
        "outcome": "failed" if is_last else attempt.outcome,
        "status": attempt.status,
        "error": attempt.error,
        "next_attempt_at": None if following is None else rfc3339(following),
    }


def test_event(
    config: Config, secrets: Mapping[str, Secret | CredentialsError], now: datetime, clock: Callable[[], datetime]
) -> list[tuple[str, Attempt]]:
    """Send a `webhook.test` event to every endpoint, whatever it subscribes to; not recorded and not retried.

    Returns the attempt of each endpoint, sorted by name. Raises CredentialsError if one has no usable secret.
    """
    ready, faults = recipients.ready(config, secrets)
    if faults:
        raise CredentialsError("\n".join(faults))
    real_now = clock()
    alert_id = event_id("webhook.test", rfc3339(real_now))
    data = {"alert_id": alert_id, "summary": "A test of this endpoint: nothing happened."}
    text = body("webhook.test", data, now)
    seen: dict[str, Attempt] = {}

    def keep(target: Target, _message: Message, attempt: Attempt) -> None:
        # Of several messages to one endpoint, the first failure explains more than the last.
        if target.name not in seen or seen[target.name].outcome == "delivered":
            seen[target.name] = attempt

    queues = [(one.target, recipients.tests(one, alert_id, text, real_now)) for one in ready.values()]
    asyncio.run(deliver_queues(queues, clock, keep))
    return sorted(seen.items())
