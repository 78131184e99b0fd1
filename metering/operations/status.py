"""The `status` document: freshness per organization, gaps, outbox, alarms, last cycle, next jobs, sizes on disk."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.config import Config
from metering.core.money import percent_truncated
from metering.core.period import DAY, month_of, previous_month, rfc3339, slot_start
from metering.invoicing.readiness import closes_from
from metering.ledger.alarms import listed
from metering.ledger.alert_log import outbox_depth
from metering.ledger.backup_record import standing
from metering.ledger.lineage import obstacles
from metering.operations import month_states
from metering.store.database import Store

Json = dict[str, Any]

MOST_CYCLES = 500
"""Five days of a quarter of an hour each."""


def status(store: Store, config: Config, now: datetime) -> Json:
    """The document that `status` prints."""
    last = store.query("operations/last_cycle").to_dicts()
    slot = slot_start(now, config.schedule.poll_minutes)
    month, known = previous_month(now), Recorded(store=store)
    return {
        "as_of": rfc3339(now),
        "last_cycle": _shown(last[0]) if last else None,
        "next_poll_at": rfc3339(slot + timedelta(minutes=config.schedule.poll_minutes)),
        "close_due_from": rfc3339(closes_from(config.schedule, month)),
        "months": [state.document() for state in month_states.states(store, config, now)],
        "obstacles": [one.document() for one in obstacles(store, config.store.directory, now, config.store.witness)],
        "organizations": [_shown(row) for row in store.query("billing/freshness").iter_rows(named=True)],
        "gaps": [gap for period in (month, month_of(now)) for gap in _gaps(known, config, period, now)],
        "unreadable": [_shown(row) for row in store.query("operations/unreadable_now").iter_rows(named=True)],
        "outbox": [_shown(row) for row in outbox_depth(store)],
        "backup": backup_facts(store, config),
        "endpoints_failing": [_shown(row) for row in store.query("ledger/endpoints_failing").iter_rows(named=True)],
        "alarms": listed(store),
        "closed_under_older_rules": _closed_by_older_rules(store),
        "revised_to_zero": [_shown(row) for row in store.query("operations/revised_to_zero").iter_rows(named=True)],
        "size_bytes": _sizes(config.store.directory),
    }


def backup_facts(store: Store, config: Config) -> Json | None:
    """How far the continuous backup is and since when it fails; None where none is configured."""
    found = standing(store, config.store.directory, config.backup.directory)
    if found is None:
        return None
    return {
        "directory": found.directory,
        "records": None if found.records is None else str(found.records),
        "lacks": str(found.lacks),
        "written_at": found.written_at,
        "failing_since": found.failing and found.failing.since,
        "error": found.failing and found.failing.error,
    }


def _closed_by_older_rules(store: Store) -> list[Json]:
    """Closed months that get no adjustments until they are voided and closed anew: older rules made their invoices."""
    found = store.query("operations/closed_by_older_rules", rules=terms.RULES)
    return [_shown(row) for row in found.iter_rows(named=True)]


def projects(store: Store) -> list[Json]:
    """When the history of each listed project was last read; null if it never was."""
    return [_shown(row) for row in store.query("billing/project_reads").iter_rows(named=True)]


def cycles(store: Store) -> list[Json]:
    """The last runs of poll, backfill and tick, the latest first, with their counts and faults."""
    return [_shown(row) for row in store.query("operations/cycles", most=MOST_CYCLES).iter_rows(named=True)]


def budget(store: Store, config: Config, now: datetime) -> list[Json]:
    """Per account {requests, most, percent}: history requests made in the last 24 hours, against those allowed."""
    asked = dict(store.query("polling/history_requests", since=now - DAY, now=now).iter_rows())
    most = config.neon.history_requests_per_minute * (DAY // timedelta(minutes=1))
    accounts: dict[str, int] = {}
    for row in config.organizations:
        accounts[row.account] = accounts.get(row.account, 0) + asked.get(row.id, 0)
    return [
        {"account": account, "requests": str(count), "most": str(most), "percent": percent_truncated(count, most)}
        for account, count in sorted(accounts.items())
    ]


def lines(document: Json) -> Iterator[tuple[str, str]]:
    """The document as (what, value) for a table."""
    for name, value in document.items():
        if name == "months":
            yield from (("months", month_states.told(entry)) for entry in value)
        elif isinstance(value, list):
            for entry in value:
                yield name, ", ".join(f"{key} {text}" for key, text in entry.items() if text is not None)
        elif isinstance(value, dict):
            for key, text in value.items():
                yield f"{name}.{key}", "; ".join(text) if isinstance(text, list) else str(text)
        else:
            yield name, "" if value is None else str(value)


def _gaps(recorded: Recorded, config: Config, period: Any, now: datetime) -> list[dict[str, str]]:
    month = Month(recorded=recorded, terms=terms.of(config), period=period, now=now)
    until = now - timedelta(hours=1)
    return month.coverage.gaps(until)


def _shown(row: Json) -> Json:
    out: Json = {}
    for name, value in row.items():
        if name == "faults":
            out[name] = json.loads(value)
        elif isinstance(value, datetime):
            out[name] = rfc3339(value)
        else:
            out[name] = None if value is None else value if isinstance(value, bool) else str(value)
    return out


def _sizes(directory: Path) -> dict[str, str]:
    def size(*paths: Path) -> str:
        return str(sum(path.stat().st_size for path in paths if path.is_file()))

    return {
        "journal": size(*(directory / "journal").glob("*")),
        "store": size(*directory.glob("metering.duckdb*")),
        "snapshot": size(directory / "snapshot.duckdb"),
    }
