"""Decides what is due at `now` from the ledger alone, so that cron and the service may take turns.

APScheduler only wakes the service; it decides nothing.
"""

from dataclasses import dataclass
from datetime import datetime

from metering.config import ScheduleConfig
from metering.core.period import Period, month_name, previous_month, slot_start
from metering.invoicing.readiness import closes_from, first_month, may_close_by_itself, settled_at
from metering.store.database import Store

__all__ = ["Due", "due", "slot_start", "slots"]

MINUTES_OF_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a tick has to do. `is_new_day`: by UTC.

    `tell` is a closed month whose invoices were not announced yet; `report` a month that is settled and not closed.
    """

    poll: bool
    close: Period | None
    report: Period | None
    tell: Period | None
    is_new_day: bool


def slots(poll_minutes: int) -> dict[tuple[int, ...], list[int]]:
    """When slots begin: (minutes within an hour, hours of the day that have slots at these minutes)."""
    by_hour: dict[int, list[int]] = {}
    for minute in range(0, MINUTES_OF_A_DAY, poll_minutes):
        by_hour.setdefault(minute // 60, []).append(minute % 60)
    hours: dict[tuple[int, ...], list[int]] = {}
    for hour, minutes in by_hour.items():
        hours.setdefault(tuple(minutes), []).append(hour)
    return hours


def due(store: Store, schedule: ScheduleConfig, now: datetime) -> Due:
    """A poll if none was complete in this slot; the previous month's close from close_day on, once it is settled.

    No month before the first one that may close by itself is closed or drafted.
    """
    month = previous_month(now)
    is_closed = not store.query("invoicing/closing_facts", month=month_name(month)).is_empty()
    has_untold = is_closed and not store.query("operations/untold_invoices", month=month_name(month)).is_empty()
    is_ours = not is_closed and may_close_by_itself(first_month(store, schedule), month)
    return Due(
        poll=_is_poll_due(store, schedule, now),
        close=month if is_ours and schedule.close_day > 0 and now >= closes_from(schedule, month) else None,
        report=month if is_ours and now >= settled_at(schedule, month) else None,
        tell=month if has_untold else None,
        is_new_day=_is_new_day(store, now),
    )


def _is_new_day(store: Store, now: datetime) -> bool:
    """Whether no polling run began on this day yet, and there was one before."""
    last = store.query("operations/last_cycle")["started_at"]
    return not last.is_empty() and last.item().date() != now.date()


def _is_poll_due(store: Store, schedule: ScheduleConfig, now: datetime) -> bool:
    """Whether no complete poll began in this slot; a poll that a wrong clock dated into the future does not count."""
    last: datetime | None = store.query("operations/last_complete_poll")["started_at"].item()
    return last is None or not slot_start(now, schedule.poll_minutes) <= last <= now
