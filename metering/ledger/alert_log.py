"""Reads the alert log, the delivery attempts and the outbox from the store."""

import json
from datetime import datetime
from typing import Any

from metering.core.period import rfc3339
from metering.core.rows import Row
from metering.store.database import Store


def next_retry(store: Store, since: datetime) -> datetime | None:
    """When the first delivery that was not yet due at `since`, the last try, becomes due; None if there is none."""
    found: datetime | None = store.query("ledger/next_retry", since=since)["due_at"].item()
    return found


def log(store: Store) -> list[dict[str, Any]]:
    """Every alert in the order of recording, with the content of its message and its state at each endpoint."""
    deliveries: dict[str, list[dict[str, Any]]] = {}
    for row in store.query("ledger/alert_deliveries").iter_rows(named=True):
        shown = {name: _shown(value) for name, value in row.items() if name != "alert_id"}
        deliveries.setdefault(row["alert_id"], []).append(shown)
    return [
        _logged(row, deliveries.get(row["alert_id"], []))
        for row in store.query("ledger/alert_log").iter_rows(named=True)
    ]


_FROM_BODY = ("plan", "quota", "threshold_percent", "percent", "used", "limit", "unit", "period", "observed_at")


def _logged(row: Row, deliveries: list[dict[str, Any]]) -> dict[str, Any]:
    data = json.loads(row["body"])["data"]
    project, customer = data.get("project") or {}, data.get("customer") or {}
    return {
        "alert_id": row["alert_id"],
        "type": row["event_type"],
        "status": row["status"],
        "reason": row["reason"],
        "recorded_at": rfc3339(row["recorded_at"]),
        "project_id": project.get("id"),
        "project_name": project.get("name"),
        "customer": customer.get("id"),
        **{name: data.get(name) for name in _FROM_BODY},
        "summary": data.get("summary"),
        "deliveries": deliveries,
    }


def _shown(value: object) -> object:
    return rfc3339(value) if isinstance(value, datetime) else value


def attempts(store: Store) -> list[dict[str, Any]]:
    """Every delivery attempt, by alert and in order."""
    return [
        {name: _shown(value) for name, value in row.items()}
        for row in store.query("ledger/alert_attempts").iter_rows(named=True)
    ]


def outbox_depth(store: Store) -> list[dict[str, Any]]:
    """Per endpoint the deliveries that are not done: pending, oldest_due_at, most_attempts."""
    return [
        {name: _shown(value) for name, value in row.items()}
        for row in store.query("ledger/outbox_depth").iter_rows(named=True)
    ]
