"""How the journal's records of alerts and deliveries become rows: the same code for what happens now and for a rebuild.

Knows the tables of sql/migrations/0002_alerts.sql and the shape of three kinds of record. Must not decide anything:
what is sent, when and to whom is in the record. The caller holds the transaction.

    alert     {"alerts": [{alert_id, event_type, status, reason, project_id, quota, period_start, quota_limit,
               threshold_percent, body, endpoints: [url], due_at}]}
    delivery  {alert_id, endpoint, attempt, outcome, status, error, next_attempt_at}
    resend    {alert_id, endpoints: [url], due_at}
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import duckdb

Record = Mapping[str, Any]
"""`{"seq": int, "kind": str, "at": RFC 3339, "data": {…}}`."""

# One statement for a whole batch: a fleet may cross a threshold at once, and row by row inserts are slow.
_INSERT_ALERTS = """
insert into alert
select
    item ->> 'alert_id', $seq, $at::timestamptz, item ->> 'event_type', item ->> 'status', item ->> 'reason',
    item ->> 'project_id', item ->> 'quota', (item ->> 'period_start')::timestamptz, (item ->> 'quota_limit')::hugeint,
    (item ->> 'threshold_percent')::integer, item ->> 'body'
from (select unnest(from_json($alerts, '["json"]')) as item)
"""

_INSERT_OUTBOX = """
insert into outbox
with
    alerts as (select unnest(from_json($alerts, '["json"]')) as item),
    recipients as (
        select item ->> 'alert_id' as alert_id, unnest((item -> 'endpoints')::varchar[]) as url,
               (item ->> 'due_at')::timestamptz as due_at
        from alerts
    )
select
    alert_id, url, case when disabled_at is null then 'pending' else 'disabled' end, 0, due_at, null, ''
from recipients left join endpoint using (url)
"""

_INSERT_ATTEMPT = """
insert into delivery_attempt
values (
    $seq, $alert_id, $endpoint, $attempt, $at::timestamptz, $outcome, $status, $error, $next_attempt_at::timestamptz
)
"""

_UPDATE_OUTBOX = """
update outbox
set state = $state, attempts = $attempt, error = $error,
    due_at = coalesce($next_attempt_at::timestamptz, due_at),
    delivered_at = case when $state = 'delivered' then $at::timestamptz else delivered_at end
where alert_id = $alert_id and endpoint = $endpoint
"""

_DISABLE_ENDPOINT = """
insert into endpoint values ($endpoint, $at::timestamptz)
on conflict (url) do update set disabled_at = excluded.disabled_at
"""

_DISABLE_QUEUE = "update outbox set state = 'disabled' where endpoint = $endpoint and state = 'pending'"

_RESEND = """
insert into outbox
select $alert_id, unnest($endpoints::varchar[]), 'pending', 0, $due_at::timestamptz, null, ''
on conflict (alert_id, endpoint) do update
set state = 'pending', attempts = 0, due_at = excluded.due_at, error = ''
"""

_ENABLE_ENDPOINTS = "update endpoint set disabled_at = null where list_contains($endpoints::varchar[], url)"

_STATES = {"delivered": "delivered", "failed": "failed", "disabled": "disabled", "retry": "pending"}


def apply_alert(connection: duckdb.DuckDBPyConnection, record: Record) -> None:
    """Insert the alerts of one record, and an outbox row for each endpoint that is to be told."""
    alerts = json.dumps(record["data"]["alerts"])
    connection.execute(_INSERT_ALERTS, {"alerts": alerts, "seq": record["seq"], "at": record["at"]})
    connection.execute(_INSERT_OUTBOX, {"alerts": alerts})


def apply_delivery(connection: duckdb.DuckDBPyConnection, record: Record) -> None:
    """Insert one attempt and bring its outbox row up to date; an answer 410 empties the endpoint's queue."""
    data, at = record["data"], record["at"]
    # A refused address may be right again tomorrow: it is tried again until the schedule ends.
    state = _STATES.get(data["outcome"], "pending" if data["next_attempt_at"] else "failed")
    where = {"alert_id": data["alert_id"], "endpoint": data["endpoint"]}
    told = {"attempt": data["attempt"], "error": data["error"], "next_attempt_at": data["next_attempt_at"], "at": at}
    connection.execute(
        _INSERT_ATTEMPT,
        {**where, **told, "seq": record["seq"], "outcome": data["outcome"], "status": data["status"]},
    )
    connection.execute(_UPDATE_OUTBOX, {**where, **told, "state": state})
    if data["outcome"] == "disabled":
        connection.execute(_DISABLE_ENDPOINT, {"endpoint": data["endpoint"], "at": at})
        connection.execute(_DISABLE_QUEUE, {"endpoint": data["endpoint"]})


def apply_resend(connection: duckdb.DuckDBPyConnection, record: Record) -> None:
    """Make an alert due again at each endpoint named, and let those that were disabled be told again."""
    data = record["data"]
    connection.execute(_ENABLE_ENDPOINTS, {"endpoints": data["endpoints"]})
    connection.execute(
        _RESEND, {"alert_id": data["alert_id"], "endpoints": data["endpoints"], "due_at": data["due_at"]}
    )


KINDS: dict[str, Callable[[duckdb.DuckDBPyConnection, dict[str, Any]], None]] = {
    "alert": apply_alert,
    "delivery": apply_delivery,
    "resend": apply_resend,
}
"""Which function lands which kind of record."""
