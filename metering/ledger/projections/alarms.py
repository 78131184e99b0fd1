"""How the journal's records of alarms become rows: the same code for what happens now and for a rebuild.

Knows the tables of sql/migrations/0005_alarms.sql and three kinds of record. Must not decide anything.

    alarm        {alarm_id, kind, organization, project_id, metric, summary, and of a double alarm month, and other
                  where two organizations report it}
    acknowledge  {alarm_id, reason, and of a double alarm with other count}
    unit_check   {organization, verdict, projects: [{project_id, value, hours, logical_size, verdict}]}
"""

import json
from collections.abc import Callable
from typing import Any

from metering.core.period import parse_time
from metering.store.database import Store

Row = dict[str, Any]


def apply_alarm(store: Store, record: Row) -> None:
    """One alarm, raised."""
    data = record["data"]
    store.write(
        "insert_alarm",
        seq=record["seq"],
        at=parse_time(record["at"]),
        other=data.get("other"),
        month=data.get("month"),
        **{name: data[name] for name in ("alarm_id", "kind", "organization", "project_id", "metric", "summary")},
    )


def apply_acknowledge(store: Store, record: Row) -> None:
    """Somebody has looked at an alarm."""
    data = record["data"]
    store.write(
        "acknowledge_alarm",
        at=parse_time(record["at"]),
        alarm_id=data["alarm_id"],
        reason=data["reason"],
        count=data.get("count"),
    )


def apply_unit_check(store: Store, record: Row) -> None:
    """One comparison of an organization's storage with its branches."""
    data = record["data"]
    store.write(
        "insert_unit_check",
        seq=record["seq"],
        at=parse_time(record["at"]),
        organization=data["organization"],
        verdict=data["verdict"],
        projects=json.dumps(data["projects"], sort_keys=True),
    )


KINDS: dict[str, Callable[[Store, Row], None]] = {
    "alarm": apply_alarm,
    "acknowledge": apply_acknowledge,
    "unit_check": apply_unit_check,
}
"""Record kind -> what it does to the store."""
