"""Open incidents: records the end of a crossing once, and posts open alerts to Alertmanager again until then.

Everything is derived from the alert ledger and the current quota rows; there is no state of its own. Must not decide
whether a crossing is sent, nor word a message.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from metering.alerts import recipients, recording
from metering.alerts.queues import deliver_queues
from metering.alerts.targets import Attempt, Message, Target
from metering.alerts.wording import worded
from metering.config import Config
from metering.core.errors import CredentialsError
from metering.core.period import parse_time
from metering.core.rows import Row
from metering.core.secrets import Secret
from metering.ledger.ledger import Ledger
from metering.quotas.rows import QuotaRow
from metering.store.database import Store

ALERTS_PER_POST = 200

Told = Mapping[str, Any]
"""A row of alerts_firing.sql."""
QuotaOf = Mapping[tuple[str, str], QuotaRow]
"""Quota rows that reached a threshold, by project and quota."""


# -- what ended


def resolve(ledger: Ledger, rows: Iterable[QuotaRow], config: Config, now: datetime) -> int:
    """Record the end of every crossing that was sent and is no longer in `rows`, the quota rows at a threshold.

    Only channels with incidents get it, and only for the alerts that they got. Returns the number of ended crossings.
    Called again, it records nothing.
    """
    told = _told(ledger.store, recipients.with_incidents(config))
    quotas = {(row.project_id, row.quota): row for row in rows}
    ended = [one for one in told if one["quota"] is not None and not _lasts(one, quotas)]
    endpoints: dict[str, list[str]] = {}
    for one in ended:
        endpoints.setdefault(one["alert_id"], []).append(one["endpoint"])
    ends = {one["alert_id"]: _end(one, quotas, now) for one in ended}
    recording.record_events(
        ledger, [recording.event("quota.resolved", data, endpoints[key], now) for key, data in ends.items()]
    )
    return len(ends)


def _told(store: Store, endpoints: list[str]) -> list[Told]:
    if not endpoints:
        return []
    return list(store.query("alerts/alerts_firing", endpoints=endpoints).iter_rows(named=True))


def _lasts(told: Told, quotas: QuotaOf) -> bool:
    """Whether the same limit, in the same period, is still reached to the same percentage."""
    row = quotas.get((told["project_id"], told["quota"]))
    if row is None:
        return False
    is_same = row.period.start == told["period_start"] and row.limit == int(told["quota_limit"])
    return is_same and row.reaches(told["threshold_percent"])


def _end(told: Told, quotas: QuotaOf, now: datetime) -> dict[str, Any]:
    began = json.loads(told["body"])
    data = {name: value for name, value in began["data"].items() if name not in ("forecast", "summary")}
    data |= {
        "alert_id": recording.event_id("quota.resolved", told["alert_id"]),
        "resolves": told["alert_id"],
        "started_at": began["timestamp"],
        "reason": _reason(told, data, quotas, now),
    }
    return data | {"summary": worded({"type": "quota.resolved", "data": data}).paragraph}


def _reason(told: Told, data: Row, quotas: QuotaOf, now: datetime) -> str:
    row = quotas.get((told["project_id"], told["quota"]))
    if now >= parse_time(data["period"]["end"]) or (row and row.period.start != told["period_start"]):
        return "a new period began"
    if row and row.limit != int(data["limit"]):
        return f"the limit is {row.limit} {data['unit']}s now"
    return f"{told['threshold_percent']} % is not reached any more, or the limit or the project is gone"


# -- what lasts


def remind(
    ledger: Ledger, config: Config, secrets: Mapping[str, Secret | CredentialsError], clock: Callable[[], datetime]
) -> tuple[str, ...]:
    """Post open alerts again to channels whose alerts expire; returns a sentence per channel that failed.

    Alerts that still wait in the outbox are left to it. `clock` returns the real time. Nothing is recorded, because
    every tick posts them again.
    """
    told = _told(ledger.store, recipients.reminded(config))
    if not told:
        return ()
    ready, _ = recipients.ready(config, secrets)  # the delivery reports endpoints without a secret
    lasting: dict[str, list[str]] = {}
    for one in told:
        if one["endpoint"] in ready and one["state"] in ("delivered", "failed"):
            lasting.setdefault(one["endpoint"], []).append(one["body"])
    failures: dict[str, str] = {}

    def keep(target: Target, _message: Message, attempt: Attempt) -> None:
        if attempt.outcome != "delivered":
            failures.setdefault(target.name, attempt.error)

    now = clock()
    queues = [
        (ready[name].target, [recipients.reminder(ready[name], some, now) for some in _batches(bodies)])
        for name, bodies in lasting.items()
    ]
    asyncio.run(deliver_queues(queues, clock, keep))
    return tuple(f"{name} was not reminded of what lasts: {error}" for name, error in sorted(failures.items()))


def _batches(bodies: list[str]) -> Iterator[list[str]]:
    return (bodies[start : start + ALERTS_PER_POST] for start in range(0, len(bodies), ALERTS_PER_POST))
