"""Projects records of alerts and deliveries into rows, live and in a rebuild alike.

Knows the tables of 0002_alerts.sql and 0017_recipients.sql, and the shape of four kinds of record. Must not decide
anything: the record says what is sent, when and to whom. The caller holds the transaction.

    alert     {"alerts": [{alert_id, event_type, status, reason, project_id, quota, period_start, quota_limit,
               threshold_percent, body, endpoints: [url], due_at}]}
    delivery  {alert_id, endpoint, address, attempt, outcome, status, error, next_attempt_at}; once without address
    resend    {alert_id, endpoints: [url], due_at}
    endpoint  {endpoint, alert_id, change, address, due_at}; a change is `enabled`, `moved`, `dropped` or `abandoned`,
              and of the latter two endpoint or alert_id may be null, for all
"""

import json
from collections.abc import Callable

from metering.store.database import Store
from metering.store.record import Record

_STATES = {"delivered": "delivered", "failed": "failed", "disabled": "disabled", "retry": "pending"}


def apply_alert(store: Store, record: Record) -> None:
    """Inserts the alerts of one record, and an outbox row for each endpoint that gets one."""
    alerts = json.dumps(record.data["alerts"])
    store.write("insert_alerts", alerts=alerts, seq=record.seq, at=record.at)
    store.write("insert_outbox", alerts=alerts)


def apply_delivery(store: Store, record: Record) -> None:
    """Inserts one attempt and updates its outbox row; an answer 410 empties the endpoint's queue."""
    data, at = record.data, record.at
    # A refused address may be right again tomorrow: it is tried again until the schedule ends.
    state = _STATES.get(data["outcome"], "pending" if data["next_attempt_at"] else "failed")
    where = {"alert_id": data["alert_id"], "endpoint": data["endpoint"]}
    attempt = {"attempt": data["attempt"], "error": data["error"], "next_attempt_at": data["next_attempt_at"], "at": at}
    store.write(
        "insert_delivery_attempt",
        seq=record.seq,
        outcome=data["outcome"],
        status=data["status"],
        **where,
        **attempt,
    )
    store.write("update_outbox", state=state, **where, **attempt)
    if data["outcome"] == "disabled":
        store.write("disable_endpoint", endpoint=data["endpoint"], at=at, address=data.get("address", ""))
        store.write("disable_outbox", endpoint=data["endpoint"])
    elif data.get("address"):
        store.write("note_address", endpoint=data["endpoint"], address=data["address"])


def apply_resend(store: Store, record: Record) -> None:
    """Makes an alert due again at the named endpoints, and enables those that were disabled."""
    data = record.data
    store.write("enable_endpoints", endpoints=data["endpoints"], seq=record.seq)
    store.write("resend_alert", alert_id=data["alert_id"], endpoints=data["endpoints"], due_at=data["due_at"])


def apply_endpoint(store: Store, record: Record) -> None:
    """Tells an endpoint again, at its address of now, or ends what waits for it."""
    data = record.data
    if data["change"] in {"enabled", "moved"}:
        store.write("enable_endpoint", endpoint=data["endpoint"], address=data["address"], seq=record.seq)
        store.write("renew_outbox", endpoint=data["endpoint"], due_at=data["due_at"])
    else:
        store.write("abandon_outbox", endpoint=data["endpoint"], alert_id=data["alert_id"])


KINDS: dict[str, Callable[[Store, Record], None]] = {
    "alert": apply_alert,
    "delivery": apply_delivery,
    "resend": apply_resend,
    "endpoint": apply_endpoint,
}
"""Record kind -> its projection."""
