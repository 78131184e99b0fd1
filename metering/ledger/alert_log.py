"""Reads the alert log, the delivery attempts and the outbox from the store."""

import json
from datetime import datetime

import msgspec
from msgspec import Struct

from metering.core.invoice import Printed, Span
from metering.core.period import rfc3339
from metering.core.printed_texts import Figure, Stamp
from metering.core.rows import Row
from metering.store.database import Store


class Delivery(Struct, frozen=True, kw_only=True):
    """Where an alert stands at an endpoint."""

    endpoint: str
    state: str
    attempts: int
    due_at: Stamp | None
    delivered_at: Stamp | None
    error: str | None


class AlertRow(Struct, frozen=True, kw_only=True):
    """An alert: when and why it was recorded, what its message states, and where it stands at each endpoint."""

    alert_id: str
    type: str
    status: str
    reason: str
    recorded_at: Stamp
    project_id: str | None
    project_name: str | None
    customer: str | None
    plan: str | None
    quota: str | None
    threshold_percent: int | None
    percent: Figure | None
    used: Figure | None
    limit: Figure | None
    unit: str | None
    period: Span | None
    observed_at: Stamp | None
    summary: str | None
    deliveries: list[Delivery]


_NESTED = {"period": ("period.start", "period.end"), "deliveries": ()}
COLUMNS = tuple(column for name in AlertRow.__struct_fields__ for column in _NESTED.get(name, (name,)))
"""The columns of a table or CSV file, with rows or without."""


def next_retry(store: Store, since: datetime) -> datetime | None:
    """When the first delivery that was not yet due at `since`, the last try, becomes due; None if there is none."""
    found: datetime | None = store.query("ledger/next_retry", since=since)["due_at"].item()
    return found


def log(store: Store) -> list[AlertRow]:
    """Every alert in the order of recording, with the content of its message and its state at each endpoint."""
    deliveries: dict[str, list[Printed]] = {}
    for row in store.query("ledger/alert_deliveries").iter_rows(named=True):
        deliveries.setdefault(row["alert_id"], []).append(_shown(row))
    return [
        _logged(row, deliveries.get(row["alert_id"], []))
        for row in store.query("ledger/alert_log").iter_rows(named=True)
    ]


_FROM_MESSAGE = AlertRow.__struct_fields__[8:-1]


def _logged(row: Row, deliveries: list[Printed]) -> AlertRow:
    data = json.loads(row["body"])["data"]
    project, customer = data.get("project") or {}, data.get("customer") or {}
    facts = {
        **{name: row[name] for name in ("alert_id", "status", "reason")},
        "type": row["event_type"],
        "recorded_at": rfc3339(row["recorded_at"]),
        "project_id": project.get("id"),
        "project_name": project.get("name"),
        "customer": customer.get("id"),
        **{name: data.get(name) for name in _FROM_MESSAGE},
        "deliveries": deliveries,
    }
    return msgspec.convert(facts, AlertRow)


def attempts(store: Store) -> list[Printed]:
    """Every delivery attempt, by alert and in order."""
    return [_shown(row) for row in store.query("ledger/alert_attempts").iter_rows(named=True)]


def outbox_depth(store: Store) -> list[Printed]:
    """Per endpoint the deliveries that are not done: pending, oldest_due_at, most_attempts."""
    return [_shown(row) for row in store.query("ledger/outbox_depth").iter_rows(named=True)]


def _shown(row: Row) -> Printed:
    """A row of the store as JSON shows it."""
    return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in row.items()}
