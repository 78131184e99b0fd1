"""Projects records of changes at Neon into rows, live and in a rebuild alike.

Knows the tables of sql/migrations/0004_changes.sql and two kinds of record. Must not decide anything.

    quota_change  {organization, project_id, plan, phase, quotas: {quota: {was, wanted}}, reason, error}
    upgrade_step  {project_id, plan, step, phase, detail: {…}, error}
"""

import json
from collections.abc import Callable

from metering.core.period import parse_time
from metering.store.database import Store
from metering.store.record import Record


def apply_quota_change(store: Store, record: Record) -> None:
    """Inserts one phase of a change to a project's quotas."""
    data = record.data
    store.write(
        "insert_quota_change",
        seq=record.seq,
        at=parse_time(record.at),
        quotas=json.dumps(data["quotas"], sort_keys=True),
        **{name: data[name] for name in ("organization", "project_id", "plan", "phase", "reason", "error")},
    )


def apply_upgrade_step(store: Store, record: Record) -> None:
    """Inserts one phase of a step of an upgrade."""
    data = record.data
    store.write(
        "insert_upgrade_step",
        seq=record.seq,
        at=parse_time(record.at),
        detail=json.dumps(data["detail"], sort_keys=True),
        **{name: data[name] for name in ("project_id", "plan", "step", "phase", "error")},
    )


KINDS: dict[str, Callable[[Store, Record], None]] = {
    "quota_change": apply_quota_change,
    "upgrade_step": apply_upgrade_step,
}
"""Record kind -> its projection."""
