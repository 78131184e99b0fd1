"""How the journal's records of changes become rows: the same code for what happens now and for a rebuild.

Knows the tables of sql/migrations/0004_changes.sql and two kinds of record. Must not decide anything.

    quota_change  {organization, project_id, plan, phase, quotas: {quota: {was, wanted}}, reason, error}
    upgrade_step  {project_id, plan, step, phase, detail: {…}, error}
"""

import json
from collections.abc import Callable
from typing import Any

import duckdb

from metering.core.period import parse_time

Row = dict[str, Any]


def apply_quota_change(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """One word about one project's quotas."""
    data = record["data"]
    connection.execute(
        """insert into quota_change values ($seq, $at, $organization, $project_id, $plan, $phase, $quotas, $reason,
           $error)""",
        {
            "seq": record["seq"],
            "at": parse_time(record["at"]),
            **{name: data[name] for name in ("organization", "project_id", "plan", "phase", "reason", "error")},
            "quotas": json.dumps(data["quotas"], sort_keys=True),
        },
    )


def apply_upgrade_step(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """One word about one step of an upgrade."""
    data = record["data"]
    connection.execute(
        "insert into upgrade_step values ($seq, $at, $project_id, $plan, $step, $phase, $detail, $error)",
        {
            "seq": record["seq"],
            "at": parse_time(record["at"]),
            **{name: data[name] for name in ("project_id", "plan", "step", "phase", "error")},
            "detail": json.dumps(data["detail"], sort_keys=True),
        },
    )


KINDS: dict[str, Callable[[duckdb.DuckDBPyConnection, Row], None]] = {
    "quota_change": apply_quota_change,
    "upgrade_step": apply_upgrade_step,
}
"""Record kind -> what it does to the store."""
