"""Projects records of review items ("alarms") into rows, live and in a rebuild alike.

Knows the tables of sql/migrations/0005_alarms.sql and three kinds of record. Must not decide anything.

    alarm        {alarm_id, kind, organization, project_id, metric, summary}; kind `double` also has {month}, and
                 {other} if two organizations report the usage
    acknowledge  {alarm_id, reason}; also {count} if the review item has {other}
    unit_check   {organization, verdict, projects: [{project_id, value, hours, logical_size, verdict}]}
"""

import json
from collections.abc import Callable

from metering.core.period import parse_time
from metering.store.database import Store
from metering.store.record import Record


def apply_alarm(store: Store, record: Record) -> None:
    """Inserts a review item."""
    data = record.data
    store.write(
        "insert_alarm",
        seq=record.seq,
        at=parse_time(record.at),
        other=data.get("other"),
        month=data.get("month"),
        **{name: data[name] for name in ("alarm_id", "kind", "organization", "project_id", "metric", "summary")},
    )


def apply_acknowledge(store: Store, record: Record) -> None:
    """Marks a review item as acknowledged by a person."""
    data = record.data
    store.write(
        "acknowledge_alarm",
        at=parse_time(record.at),
        alarm_id=data["alarm_id"],
        reason=data["reason"],
        count=data.get("count"),
    )


def apply_unit_check(store: Store, record: Record) -> None:
    """Inserts one comparison of an organization's storage with its branches."""
    data = record.data
    store.write(
        "insert_unit_check",
        seq=record.seq,
        at=parse_time(record.at),
        organization=data["organization"],
        verdict=data["verdict"],
        projects=json.dumps(data["projects"], sort_keys=True),
    )


KINDS: dict[str, Callable[[Store, Record], None]] = {
    "alarm": apply_alarm,
    "acknowledge": apply_acknowledge,
    "unit_check": apply_unit_check,
}
"""Record kind -> its projection."""
