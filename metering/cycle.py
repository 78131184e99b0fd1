"""The jobs that `poll`, `backfill` and `tick` run, and the service with them: verbs put together, nothing computed."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from metering import alert, close, corrections, quota_status, schedule, terms
from metering.config import Config, Secret
from metering.errors import CredentialsError, IncompleteError
from metering.ledger import Ledger
from metering.neon import Neon
from metering.period import HOUR, Period, floor_hour, month_name
from metering.poll import Cycle, Report, wanted_by_backfill, wanted_by_poll

Keys = Mapping[str, Secret | CredentialsError]
Progress = Callable[[str, int], None]


def _quiet(what: str, count: int) -> None:
    """Shows nothing."""


@dataclass(slots=True, kw_only=True)
class Tick:
    """What a tick did: the cycle (None where none was due), alerts recorded, deliveries, the month it closed."""

    report: Report | None = None
    alerts: int = 0
    delivered: int = 0
    closed: str | None = None
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def poll(
    ledger: Ledger, config: Config, keys: Keys, *, command: str = "poll", progress: Progress = _quiet
) -> Report:
    """One polling cycle now."""
    now = ledger.clock()
    cycle = Cycle(ledger, config, keys, _client(config, ledger), now=now, progress=progress)
    return asyncio.run(cycle.run(wanted_by_poll(ledger.store, now), command=command))


def backfill(
    ledger: Ledger,
    config: Config,
    keys: Keys,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    progress: Progress = _quiet,
) -> Report:
    """Reads [start, end) as far as Neon still answers; from a year back without a start."""
    now = ledger.clock()
    since = floor_hour(start) if start else now - 366 * 24 * HOUR
    cycle = Cycle(ledger, config, keys, _client(config, ledger), now=now, progress=progress)
    return asyncio.run(cycle.run(wanted_by_backfill(since, end), command="backfill"))


def tick(
    ledger: Ledger,
    config: Config,
    keys: Keys,
    secrets: Mapping[str, Secret],
    *,
    real_time: Callable[[], datetime],
    write_report: Callable[[Period], None],
    progress: Progress = _quiet,
) -> Tick:
    """Polls where that is due, evaluates quotas, closes the month where that is due, delivers what is due."""
    now = ledger.clock()
    done = Tick()
    due = schedule.due(ledger.store, config.schedule, now)
    if due.poll:
        done.report = poll(ledger, config, keys, command="tick", progress=progress)
    done.alerts = evaluate_quotas(ledger, config, now)
    if due.close:
        try:
            closing = close.close(ledger, config, due.close, now)
        except IncompleteError as error:
            done.faults.append(str(error))
        else:
            done.closed = month_name(due.close)
            announce_invoices(ledger, config, closing.invoices, now)
            write_report(due.close)
            done.faults += [f"{name} is parked: {reason}" for name, reason in sorted(closing.parked.items())]
    deliveries = alert.deliver_due(ledger, config, secrets, now, real_time)
    done.delivered = deliveries.outcomes.get("delivered", 0)
    done.notes += deliveries.faults
    return done


def evaluate_quotas(ledger: Ledger, config: Config, now: datetime) -> int:
    """Records what is crossed for the first time; returns how many crossings."""
    rows = quota_status.quota_rows(ledger.store, terms.of(config), config.quota.thresholds_percent, now)
    return len(alert.evaluate(ledger, rows, config, now))


def announce_invoices(ledger: Ledger, config: Config, invoices: list[dict[str, Any]], now: datetime) -> None:
    """Queues invoice.finalized, or invoice.voided for a credit note, for every one that was not announced yet."""
    for invoice in invoices:
        if invoice.get("kind") == "credit_note":
            voided = corrections.voided_event(invoice)
            alert.announce(ledger, "invoice.voided", voided, [invoice["credits"]], config=config, now=now)
            continue
        if invoice["status"] != "final":
            continue
        data = {
            name: invoice[name]
            for name in ("number", "customer", "currency", "period", "issued_at", "due_at", "subtotal", "total")
        }
        alert.announce(ledger, "invoice.finalized", data, [invoice["number"]], config=config, now=now)


def _client(config: Config, ledger: Ledger) -> Callable[[str], Neon]:
    """One client per account: it holds the account's rate budgets."""
    return lambda account: Neon(config.neon, clock=ledger.clock)
