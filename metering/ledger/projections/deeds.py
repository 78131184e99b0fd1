"""Projects what a person or the scheduler did into one row each: when, who, from where, and what as a sentence.

Knows table `deed` of sql/migrations/0018_deeds.sql and the member `by` of a record's data: {who, from}. Reads no body,
because bodies may be dropped. Must not decide who it was.
"""

from collections.abc import Callable, Mapping
from typing import Any

from metering.core.period import parse_time
from metering.store.database import Store
from metering.store.record import Record

Data = Mapping[str, Any]
BY = "by"
UNKNOWN = "unknown"
"""Who and from where, of records that do not say so."""


def _close(data: Data) -> str:
    reasons = [
        f"{name.replace('_', ' ')}: {data[name]}"
        for name in ("allow_incomplete", "allow_unassigned", "released")
        if isinstance(data.get(name), str)
    ]
    parked = f", {len(data['parked'])} on hold" if data["parked"] else ""
    return "; ".join([f"closed {data['month']}: {len(data['positions'])} invoices{parked}", *reasons])


def _quota_change(data: Data) -> str | None:
    if data["phase"] == "done":
        return None
    changes = ", ".join(f"{name} {row['was']} → {row['wanted']}" for name, row in sorted(data["quotas"].items()))
    failed = f" failed: {data['error']}" if data["phase"] == "failed" else ""
    return f"quotas of {data['project_id']} ({data['reason']}): {changes}{failed}"


def _upgrade_step(data: Data) -> str | None:
    if data["phase"] == "done":
        return None
    failed = f" failed: {data['error']}" if data["phase"] == "failed" else ""
    return f"upgrade of {data['project_id']} to {data['plan']}: {data['step']}{failed}"


def _adopt(data: Data) -> str:
    word = "the clock is right" if data["clock"] else "what was issued was compared"
    numbers = ", ".join(f"{series} after {last}" for series, last in sorted(data["numbers"].items()))
    return f"adopted the store: {word}" + (f"; numbers go on: {numbers}" if numbers else "")


def _cycle(data: Data) -> str | None:
    return f"backfill: {data['outcome']}, {data['pages']} pages" if data["command"] == "backfill" else None


KINDS: dict[str, Callable[[Data], str | None]] = {
    "close": _close,
    "void": lambda data: f"voided {data['number']}: {data['reason']}",
    "acknowledge": lambda data: f"acknowledged {data['alarm_id']}: {data['reason']}",
    "resend": lambda data: f"sent alert {data['alert_id']} again to {', '.join(data['endpoints'])}",
    "endpoint": lambda data: f"{data['change']} {data['endpoint'] or data['alert_id']}",
    "quota_change": _quota_change,
    "upgrade_step": _upgrade_step,
    "adopt": _adopt,
    "epoch": lambda data: f"began epoch {data['epoch']}: {data['because']}",
    "stripe_try": lambda data: f"sent {len(data['items'])} {data['kind']} to Stripe",
    "cycle": _cycle,
}
"""Record kind -> what was done, as a sentence; None where the record is no deed of its own."""


def told(kind: str, data: Data) -> str | None:
    """What a record of this kind tells that somebody did; None where it is nobody's deed."""
    return KINDS[kind](data) if kind in KINDS else None


def apply_deed(store: Store, record: Record) -> None:
    """Inserts the row of a record that somebody caused."""
    what = told(record.kind, record.data)
    if what is None:
        return
    by = record.data.get(BY, {})
    store.write(
        "insert_deed",
        seq=record.seq,
        done_at=parse_time(record.at),
        kind=record.kind,
        who=by.get("who", UNKNOWN),
        origin=by.get("from", UNKNOWN),
        what=what,
    )
