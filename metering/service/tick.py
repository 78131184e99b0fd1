"""The jobs of `poll`, `backfill` and `tick`, which the service runs too: calls verbs in order, computes nothing."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from metering.alerts import firing, recording, stall
from metering.alerts.invoices import announce_invoices
from metering.config import Config
from metering.core.errors import CredentialsError
from metering.core.ids import canonical
from metering.core.period import HOUR, Period, floor_hour, month_name
from metering.core.secrets import Secret
from metering.invoicing import alarms, close
from metering.invoicing.amending import supplementing
from metering.invoicing.blockers import NO_WAIVERS, Reason, Waivers
from metering.invoicing.closing import Closing
from metering.invoicing.issued import issued_in, read
from metering.ledger.ledger import Ledger
from metering.operations import retention, schedule
from metering.polling import unit_check
from metering.polling.cycle import Cycle
from metering.polling.readings import CycleReport
from metering.polling.wanted import wanted_by_backfill, wanted_by_poll
from metering.service import check_references
from metering.service.telling import Telling
from metering.service.wiring import Wiring, clients

Keys = Mapping[str, Secret | CredentialsError]
STOPPED = "stopped: what was due besides reading (quotas, deliveries, closing) waits for the next tick"
MOST_REASONS = 10
"""The most reasons that one event lists: there may be one for each plan that does not exist."""


@dataclass(slots=True, kw_only=True)
class Tick:
    """Result of a tick: the cycle (None where none was due), recorded alerts, deliveries, the closed month.

    `blocked`: why a month does not close, only in the first tick that reports these reasons.
    """

    report: CycleReport | None = None
    alerts: int = 0
    delivered: int = 0
    closed: str | None = None
    blocked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def all_faults(self) -> list[str]:
        """The faults of the cycle and those of the tick's other steps."""
        return [*(self.report.faults if self.report else ()), *self.faults, *self.blocked]


def poll(ledger: Ledger, config: Config, keys: Keys, *, wiring: Wiring | None = None) -> CycleReport:
    """Runs one polling cycle now."""
    wants = wanted_by_poll(ledger.store, config.schedule, ledger.clock())
    wiring = (wiring or Wiring()).within_slot(config.schedule.poll_minutes)
    report = asyncio.run(_cycle(ledger, config, keys, wiring).run(wants, command="poll"))
    report.notes += _mended(ledger) + alarms.look(ledger, config, ledger.clock())
    return report


def backfill(  # noqa: PLR0913 - two of them say from when to when
    ledger: Ledger,
    config: Config,
    keys: Keys,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    wiring: Wiring | None = None,
) -> CycleReport:
    """Reads [start, end) as far back as Neon answers; without a start, from one year ago."""
    since = floor_hour(start) if start else ledger.clock() - 366 * 24 * HOUR
    wants = wanted_by_backfill(ledger.store, since, end, ledger.clock())
    report = asyncio.run(_cycle(ledger, config, keys, wiring or Wiring()).run(wants, command="backfill"))
    report.notes += _mended(ledger) + alarms.look(ledger, config, ledger.clock())
    return report


def _cycle(ledger: Ledger, config: Config, keys: Keys, wiring: Wiring) -> Cycle:
    return Cycle(
        ledger=ledger,
        config=config,
        keys=keys,
        neon_of=clients(config, ledger, wiring),
        now=ledger.clock(),
        stop=wiring.stop,
        progress=wiring.progress,
        checks_clock=not wiring.is_rehearsed,
        deadline=wiring.deadline,
    )


def tick(  # noqa: PLR0913 - it is where everything meets
    ledger: Ledger,
    config: Config,
    keys: Keys,
    secrets: Mapping[str, Secret | CredentialsError],
    *,
    real_time: Callable[[], datetime],
    write_report: Callable[[Period], None],
    wiring: Wiring | None = None,
) -> Tick:
    """Polls where that is due, evaluates quotas, closes the month where that is due, delivers what is due.

    Each step reads from the ledger what is left to do, so a tick that was killed, late or repeated does no harm.
    """
    now, done = ledger.clock(), Tick(notes=_mended(ledger))
    wiring = (wiring or Wiring()).within_slot(config.schedule.poll_minutes)
    due, stop = schedule.due(ledger.store, config.schedule, now), wiring.stop
    telling = Telling(
        ledger=ledger, config=config, secrets=secrets, real_time=real_time, stop=stop, until=wiring.last_delivery
    )
    done.notes += telling.begin()
    if due.poll:
        cycle, wants = _cycle(ledger, config, keys, wiring), wanted_by_poll(ledger.store, config.schedule, now)
        done.report = asyncio.run(telling.beside(cycle.run(wants, command="tick")))
    if not stop.is_asked:
        stall.announce(ledger, config, now, is_tried=due.poll)
        if done.report:
            done.notes += _raise_alarms(ledger, config, keys, wiring, done.report)
        telling.judge()
        telling.deliver()  # before a month is closed and printed, which takes its time
        if _finish_month(ledger, config, due, done, write_report):
            telling.deliver()
        done.notes += [*telling.faults, *firing.remind(ledger, config, secrets, real_time)]
        done.faults += retention.tend(ledger, config.store.keep_pages_days, now, stop, is_new_day=due.is_new_day)
    else:
        done.faults.append(STOPPED)
    done.alerts, done.delivered = telling.alerts, telling.delivered
    return done


def _mended(ledger: Ledger) -> list[str]:
    """Notes about repairs when the store was opened: a reason to check the disk."""
    return [ledger.store.mended] if ledger.store.mended else []


def _raise_alarms(ledger: Ledger, config: Config, keys: Keys, wiring: Wiring, report: CycleReport) -> list[str]:
    """Raises new review items. After an incomplete cycle no further request is sent to Neon."""
    found = alarms.look(ledger, config, ledger.clock())
    if report.outcome == "complete":
        found += unit_check.check(ledger, config, keys, clients(config, ledger, wiring), wiring.stop)
    return found


def close_typed(  # noqa: PLR0913 - the options of the command
    ledger: Ledger,
    config: Config,
    month: Period,
    now: datetime,
    *,
    waivers: Waivers = NO_WAIVERS,
    release: Mapping[str, str] = close.NOBODY,
) -> Closing:
    """`close MONTH`: closes the month and queues the events of its invoices."""
    closing = close.close(ledger, config, month, now, waivers=waivers, release=release)
    announce_invoices(ledger, config, read(closing.invoices), now)
    return closing


def supplement_typed(
    ledger: Ledger, config: Config, month: Period, now: datetime, *, waivers: Waivers = NO_WAIVERS
) -> Closing:
    """`close MONTH --supplement`: bills usage that had no customer, and queues the events of the new invoices."""
    closing = supplementing.supplement(ledger, config, month, now, waivers=waivers)
    announce_invoices(ledger, config, read(closing.invoices), now)
    return closing


def _finish_month(
    ledger: Ledger, config: Config, due: schedule.Due, done: Tick, write_report: Callable[[Period], None]
) -> bool:
    """Closes the month that is due and writes its report: final, or a draft where the month cannot close yet.

    The event comes last: if it is missing, the next tick writes the report again and announces it. Returns whether
    anything was recorded.
    """
    now, told, before = ledger.clock(), due.tell, ledger.journal.seq
    if due.close:
        told = _close(ledger, config, due.close, now, done) or told
    if told:
        write_report(told)
        announce_invoices(ledger, config, read(issued_in(ledger.store, told)), now)
        announce_report(ledger, config, told, now, is_draft=False)
    elif due.report and not recording.is_recorded(ledger.store, report_event(due.report)):
        write_report(due.report)
        announce_report(ledger, config, due.report, now, is_draft=True)
    return ledger.journal.seq > before


def _close(ledger: Ledger, config: Config, month: Period, now: datetime, done: Tick) -> Period | None:
    """Closes the month; None where it is blocked, which is announced once for each set of reasons."""
    try:
        closing = close.close(ledger, config, month, now, is_by_itself=True)
    except close.BlockedError as error:
        if announce_blocked(ledger, config, month, error.reasons, now):
            done.blocked.append(str(error))
        return None
    done.closed = month_name(month)
    done.faults += [f"{name} is parked: {reason}" for name, reason in sorted(closing.parked.items())]
    payers = (canonical(invoice.customer.id) for invoice in read(closing.invoices))
    said = check_references.told_without_row(check_references.without_row(config, payers))
    done.notes += [f"{done.closed}: {said}"] if said else []
    return month


def announce_blocked(ledger: Ledger, config: Config, month: Period, reasons: Sequence[Reason], now: datetime) -> bool:
    """Queues close.blocked, once for a month and a set of reasons; returns whether it is new."""
    name, kinds = month_name(month), sorted({reason.kind for reason in reasons})
    told = reasons[:MOST_REASONS]
    data = {
        "month": name,
        "reasons": [
            {
                "kind": reason.kind,
                "projects": str(len(reason.projects)),
                "neon_cost": reason.neon_cost,
                "reason": recording.clipped(reason.sentence),
                "way_out": recording.clipped(reason.way_out),
            }
            for reason in told
        ],
        "summary": recording.clipped(f"{name} does not close by itself: {'; '.join(one.sentence for one in told)}."),
    }
    return recording.announce(ledger, "close.blocked", data, [name, *kinds], config=config, now=now) is not None


def report_event(month: Period) -> str:
    """The id of the event report.ready of a month."""
    return recording.event_id("report.ready", month_name(month))


def announce_report(ledger: Ledger, config: Config, month: Period, now: datetime, *, is_draft: bool) -> None:
    """Queues report.ready for the first report of a month."""
    name, kind = month_name(month), "draft" if is_draft else "final"
    data = {
        "month": name,
        "status": kind,
        "summary": f"The {kind} report of {name} is written: reports/{name}/report.html in the store's directory.",
    }
    recording.announce(ledger, "report.ready", data, [name], config=config, now=now)
