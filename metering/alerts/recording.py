"""Records alerts: each crossing and each other event once, with the message for its endpoints.

Knows the events, their JSON and their subscribers. An alert and its outbox rows are one journal record, so a crash
leaves both or neither. Its id is derived from what it is about, so nothing is recorded twice. Must not compute a
percentage or deliver anything.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from metering.alerts import recipients
from metering.alerts.wording import worded
from metering.config import Config
from metering.core.errors import MeteringError
from metering.core.period import rfc3339
from metering.core.quotas import EXCEEDED_PERCENT, QUOTAS
from metering.ledger import lineage
from metering.ledger.ledger import Ledger
from metering.quotas.crossings import Crossing, CrossingKey, crossings
from metering.quotas.rows import QuotaRow
from metering.store.database import Store

LARGEST_BODY_BYTES = 20_000
"""Upper limit of Standard Webhooks; names are clipped so that no message reaches it."""
LONGEST_TEXT = 300
ALERTS_PER_RECORD = 500


# -- events


def event_id(*parts: object) -> str:
    """Derive an id from what identifies an event: equal parts give equal ids, at any time and after any rebuild."""
    text = json.dumps([str(part) for part in parts], ensure_ascii=True)
    return "alert_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def crossing_id(key: CrossingKey) -> str:
    """The alert id of a crossing."""
    return event_id(key.project_id, key.quota, rfc3339(key.period_start), key.limit, key.threshold_percent)


def event_type(threshold_percent: int) -> str:
    """The type of event for a threshold."""
    return "quota.exceeded" if threshold_percent >= EXCEEDED_PERCENT else "quota.threshold_reached"


def body(kind: str, data: Mapping[str, Any], now: datetime) -> str:
    """The text of a message, which is sent byte for byte at every attempt."""
    text = json.dumps({"type": kind, "timestamp": rfc3339(now), "data": data}, ensure_ascii=False)
    # A lone surrogate in a name has no UTF-8 form.
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    assert len(text.encode()) < LARGEST_BODY_BYTES, f"{kind} outgrew a webhook"
    return text


_FROM_ROW = (
    *("percent", "used", "limit", "unit", "period", "observed_at", "forecast"),
    *("level", "source", "limit_source"),
)


def quota_data(crossing: Crossing, customer_names: Mapping[str, str]) -> dict[str, Any]:
    """The `data` of a quota event; long names are clipped."""
    row, key = crossing.row, crossing.key
    name = None if row.customer is None else customer_names.get(row.customer, row.customer)
    data: dict[str, Any] = {
        "alert_id": crossing_id(key),
        "project": {"id": row.project_id, "name": clipped(row.project_name)},
        "customer": {"id": clipped(row.customer), "name": clipped(name)},
        "plan": clipped(row.plan),
        "quota": key.quota,
        "threshold_percent": key.threshold_percent,
        "effect_at_limit": QUOTAS[key.quota].effect_at_limit,
    }
    document = row.document()
    data |= {name: document[name] for name in _FROM_ROW}
    return data | {"summary": worded({"type": event_type(key.threshold_percent), "data": data}).paragraph}


def clipped(text: str | None) -> str | None:
    """The text, cut to at most LONGEST_TEXT characters."""
    return text if text is None or len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


# -- recording


def evaluate(ledger: Ledger, rows: Iterable[QuotaRow], config: Config, now: datetime) -> list[Crossing]:
    """Record the thresholds that quota rows cross for the first time, with an outbox row per subscribed endpoint.

    Returns the recorded crossings. Evaluating the same rows again records nothing.
    """
    reached = [row for row in rows if row.threshold_percent is not None]
    if not reached:
        return []
    since = min(row.period.start for row in reached)
    found = crossings(reached, _recorded(ledger.store, since), config.quota.thresholds_percent)
    names = {customer.id: customer.name for customer in config.customer_rows}
    alerts = [_alert_of(crossing, names, config, now) for crossing in found]
    record_events(ledger, alerts)
    return found


def _recorded(store: Store, since: datetime) -> set[CrossingKey]:
    return {
        CrossingKey(
            project_id=row["project_id"],
            quota=row["quota"],
            period_start=row["period_start"],
            limit=int(row["quota_limit"]),
            threshold_percent=row["threshold_percent"],
        )
        for row in store.query("alerts/alert_keys", since=since).iter_rows(named=True)
    }


def _alert_of(crossing: Crossing, names: Mapping[str, str], config: Config, now: datetime) -> dict[str, Any]:
    key, kind = crossing.key, event_type(crossing.key.threshold_percent)
    return {
        "alert_id": crossing_id(key),
        "event_type": kind,
        "status": crossing.status,
        "reason": crossing.reason,
        "project_id": key.project_id,
        "quota": key.quota,
        "period_start": rfc3339(key.period_start),
        "quota_limit": str(key.limit),
        "threshold_percent": key.threshold_percent,
        "body": body(kind, quota_data(crossing, names), now),
        "endpoints": recipients.subscribers(config, kind) if crossing.status == "send" else [],
        "due_at": rfc3339(now),
    }


def announce(  # noqa: PLR0913 - an event is just these
    ledger: Ledger, kind: str, data: Mapping[str, Any], identity: Sequence[object], *, config: Config, now: datetime
) -> str | None:
    """Record another event (`invoice.finalized`, `poll.stalled`, …) for delivery; returns its alert id.

    `kind` and `identity` identify the event: if it was recorded before, nothing is recorded and None is returned.
    """
    alert_id = event_id(kind, *identity)
    if is_recorded(ledger.store, alert_id):
        return None
    record_events(ledger, [event(kind, {"alert_id": alert_id, **data}, recipients.subscribers(config, kind), now)])
    return alert_id


def event(kind: str, data: Mapping[str, Any], endpoints: list[str], now: datetime) -> dict[str, Any]:
    """The alert of an event without a threshold, as it is journalled; `data` holds its alert_id."""
    return {
        "alert_id": data["alert_id"],
        "event_type": kind,
        "status": "send",
        "reason": "",
        **dict.fromkeys(("project_id", "quota", "period_start", "quota_limit", "threshold_percent")),
        "body": body(kind, data, now),
        "endpoints": endpoints,
        "due_at": rfc3339(now),
    }


def record_events(ledger: Ledger, alerts: Sequence[Mapping[str, Any]]) -> None:
    """Record alerts in batches. In a later epoch ids end with it, because another copy may have used the plain ids."""
    if epoch := lineage.of(ledger.store).epoch:
        alerts = [_in_epoch(alert, epoch) for alert in alerts]
    for start in range(0, len(alerts), ALERTS_PER_RECORD):
        ledger.record("alert", {"alerts": list(alerts[start : start + ALERTS_PER_RECORD])})


def _in_epoch(alert: Mapping[str, Any], epoch: str) -> dict[str, Any]:
    own = alert["alert_id"]
    return {**alert, "alert_id": f"{own}-{epoch}", "body": alert["body"].replace(own, f"{own}-{epoch}")}


def is_recorded(store: Store, alert_id: str) -> bool:
    """Whether the event was recorded, in any epoch."""
    return not store.query("alerts/alert_told", alert_id=alert_id).is_empty()


def resend(ledger: Ledger, alert_id: str, config: Config, now: datetime) -> list[str]:
    """Make an alert due again, with its id and bytes, at every endpoint subscribed to its type; returns their names.

    Endpoints that answered 410 before are resumed. Raises MeteringError if there is no such alert or no endpoint.
    """
    known = ledger.store.query("alerts/alert_known", alert_id=alert_id)
    if known.is_empty():
        raise MeteringError(f"there is no alert {alert_id}", hint="`metering alerts list` shows the ids")
    wanted = recipients.subscribers(config, known.get_column("event_type").item())
    if not wanted:
        hint = "add one to [[webhooks]] or [[channels]] in the configuration"
        raise MeteringError("nobody wants events of this type", hint=hint)
    ledger.record("resend", {"alert_id": alert_id, "endpoints": wanted, "due_at": rfc3339(now)})
    return wanted
