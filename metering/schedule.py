"""What is due at `now`, from the ledger alone: cron and the service may take turns. APScheduler only wakes us."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from metering.config import ScheduleConfig
from metering.period import Period, month_name, previous_month, slot_start
from metering.store import Store

__all__ = ["Due", "due", "slot_start", "slots"]

MINUTES_OF_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a tick has to do. `tell`: a closed month with invoices that nobody was told of. `is_new_day`: by UTC."""

    poll: bool
    close: Period | None
    tell: Period | None
    is_new_day: bool


def slots(poll_minutes: int) -> dict[tuple[int, ...], list[int]]:
    """When slots begin: the minutes within an hour, and the hours of the day in which they are these."""
    by_hour: dict[int, list[int]] = {}
    for minute in range(0, MINUTES_OF_A_DAY, poll_minutes):
        by_hour.setdefault(minute // 60, []).append(minute % 60)
    hours: dict[tuple[int, ...], list[int]] = {}
    for hour, minutes in by_hour.items():
        hours.setdefault(tuple(minutes), []).append(hour)
    return hours


def due(store: Store, schedule: ScheduleConfig, now: datetime) -> Due:
    """A poll where none was complete in this slot; the previous month's close from close_day on, once settled."""
    month = previous_month(now)
    is_closed = not store.query("closing_facts", month=month_name(month)).is_empty()
    has_untold = is_closed and not store.query("untold_invoices", month=month_name(month)).is_empty()
    return Due(
        poll=_is_poll_due(store, schedule, now),
        close=month if not is_closed and _may_close(store, schedule, month, now) else None,
        tell=month if has_untold else None,
        is_new_day=_is_new_day(store, now),
    )


def _is_new_day(store: Store, now: datetime) -> bool:
    """Whether no cycle began on this day yet, and there was one before."""
    last = store.query("last_cycle")["started_at"]
    return not last.is_empty() and last.item().date() != now.date()


def _is_poll_due(store: Store, schedule: ScheduleConfig, now: datetime) -> bool:
    """A poll that a wrong clock dated into the future is not this slot's."""
    last: datetime | None = store.query("last_complete_poll")["started_at"].item()
    return last is None or not slot_start(now, schedule.poll_minutes) <= last <= now


def _may_close(store: Store, schedule: ScheduleConfig, month: Period, now: datetime) -> bool:
    """From close_day on, settled, and with something that was read before the month's end."""
    return (
        schedule.close_day > 0
        and now >= closes_from(schedule, month)
        and not store.query("first_coverage", before=month.end).is_empty()
    )


def closes_from(schedule: ScheduleConfig, month: Period) -> datetime:
    """When the month is settled and close_day has come; where it is closed by hand, when it is settled."""
    settled = month.end + timedelta(hours=schedule.settle_hours)
    return max(settled, month.end + timedelta(days=max(schedule.close_day, 1) - 1))
