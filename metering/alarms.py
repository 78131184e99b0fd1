"""What a person must look at before money moves: raised once, shown by `status`, cleared by `acknowledge`.

A `unit` alarm (storage in another unit) and a `double` alarm (a bucket that two organizations report in full) stop
every close. A `metric` alarm (one that no meter knows) parks the customers who used it. Must not close or price.
"""

import hashlib
import json
from datetime import datetime
from typing import Any

from metering import meters
from metering.config import Config
from metering.errors import IncompleteError, UsageError
from metering.ledger import Ledger
from metering.period import month_name, month_of, previous_month, rfc3339
from metering.store import Store

Json = dict[str, Any]


def raise_once(
    ledger: Ledger, kind: str, identity: tuple[str, ...], organization: str, **facts: str | None
) -> str | None:
    """Records an alarm; `identity` makes it this one and no other. Returns its sentence, None where it is known.

    `facts` are project_id, metric (both may be left out) and summary.
    """
    alarm_id = "alarm_" + hashlib.sha256(json.dumps([kind, *identity]).encode()).hexdigest()[:12]
    if not ledger.store.query("alarm_known", alarm_id=alarm_id).is_empty():
        return None
    data = {"project_id": None, "metric": None, **facts}
    ledger.record("alarm", {"alarm_id": alarm_id, "kind": kind, "organization": organization, **data})
    return f"{alarm_id}: {data['summary']}"


def look(ledger: Ledger, config: Config, now: datetime) -> list[str]:
    """Raises what the store shows: metrics that no meter knows, buckets that stand twice. Returns what is new."""
    ledger.flush()
    found = [*_new_metrics(ledger, config), *_doubled(ledger, now)]
    return [sentence for sentence in found if sentence is not None]


def _new_metrics(ledger: Ledger, config: Config) -> list[str | None]:
    known = {metric for meter in meters.catalogue(config.meters) for metric in meter.metrics}
    rows = ledger.store.query("other_metrics").iter_rows(named=True)
    return [
        raise_once(
            ledger,
            "metric",
            (row["metric"],),
            row["organization"],
            metric=row["metric"],
            summary=f"Neon reports {row['metric']}, which no meter knows: landed, not priced, it parks its users",
        )
        for row in rows
        if row["metric"] not in known
    ]


def _doubled(ledger: Ledger, now: datetime) -> list[str | None]:
    since = previous_month(now).start
    out = []
    for row in ledger.store.query("doubled_buckets", since=since).iter_rows(named=True):
        month = month_name(month_of(row["first_start"]))
        both = f"{row['organization']} and {row['other']}"
        summary = (
            f"project {row['project_id']} is reported with the same usage by {both}, "
            f"in {row['buckets']} buckets of {month} from {rfc3339(row['first_start'])}: it would be billed twice"
        )
        identity = (row["project_id"], row["organization"], row["other"], month)
        out.append(
            raise_once(ledger, "double", identity, row["organization"], project_id=row["project_id"], summary=summary)
        )
    return out


def refuse_open(store: Store) -> None:
    """Raises IncompleteError, naming them, while alarms are open that stop a close."""
    rows = store.query("alarms_that_stop").to_dicts()
    if rows:
        told = "\n  ".join(f"{row['alarm_id']}: {row['summary']}" for row in rows)
        raise IncompleteError(
            f"{len(rows)} alarm{'s are' if len(rows) > 1 else ' is'} open:\n  {told}",
            hint="once it is clear what happened: metering acknowledge ID --reason TEXT",
        )


def acknowledged_metrics(store: Store) -> set[str]:
    """Metrics that no meter knows and that somebody has decided to leave unpriced."""
    return {row["metric"] for row in listed(store) if row["kind"] == "metric" and row["acknowledged_at"]}


def acknowledge(ledger: Ledger, alarm_id: str, reason: str) -> Json:
    """Clears an alarm; one that is clear keeps its first reason. Raises UsageError where there is none of that id."""
    found = {row["alarm_id"]: row for row in listed(ledger.store)}
    if alarm_id not in found:
        waiting = ", ".join(row["alarm_id"] for row in found.values() if not row["acknowledged_at"])
        raise UsageError(
            f"there is no alarm {alarm_id}", hint=f"open: {waiting or 'none'}; `metering status` shows them"
        )
    if not found[alarm_id]["acknowledged_at"]:
        ledger.record("acknowledge", {"alarm_id": alarm_id, "reason": reason})
    return next(row for row in listed(ledger.store) if row["alarm_id"] == alarm_id)


def listed(store: Store) -> list[Json]:
    """Every alarm, the open ones first, then by age."""
    return [
        {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in row.items()}
        for row in store.query("alarms").iter_rows(named=True)
    ]
