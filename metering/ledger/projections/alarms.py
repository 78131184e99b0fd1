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

import duckdb

from metering.core.period import parse_time

Row = dict[str, Any]


def apply_alarm(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """One alarm, raised."""
    data = record["data"]
    connection.execute(
        """insert into alarm (alarm_id, seq, raised_at, kind, organization, project_id, metric, summary, other, month)
           values ($alarm_id, $seq, $at, $kind, $organization, $project_id, $metric, $summary, $other, $month)""",
        {
            "seq": record["seq"],
            "at": parse_time(record["at"]),
            "other": data.get("other"),
            "month": data.get("month"),
            **{name: data[name] for name in ("alarm_id", "kind", "organization", "project_id", "metric", "summary")},
        },
    )


def apply_acknowledge(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """Somebody has looked at an alarm."""
    data = record["data"]
    connection.execute(
        "update alarm set acknowledged_at = $at, reason = $reason, counted = $count where alarm_id = $alarm_id",
        {
            "at": parse_time(record["at"]),
            "alarm_id": data["alarm_id"],
            "reason": data["reason"],
            "count": data.get("count"),
        },
    )


def apply_unit_check(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """One comparison of an organization's storage with its branches."""
    data = record["data"]
    connection.execute(
        "insert into unit_check values ($seq, $at, $organization, $verdict, $projects)",
        {
            "seq": record["seq"],
            "at": parse_time(record["at"]),
            "organization": data["organization"],
            "verdict": data["verdict"],
            "projects": json.dumps(data["projects"], sort_keys=True),
        },
    )


KINDS: dict[str, Callable[[duckdb.DuckDBPyConnection, Row], None]] = {
    "alarm": apply_alarm,
    "acknowledge": apply_acknowledge,
    "unit_check": apply_unit_check,
}
"""Record kind -> what it does to the store."""
