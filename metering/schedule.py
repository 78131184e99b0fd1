"""What is due at `now`, from the ledger alone: cron and the service may take turns. APScheduler only wakes us."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from metering.config import ScheduleConfig
from metering.period import Period, floor_day, month_name, previous_month
from metering.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a tick has to do."""

    poll: bool
    close: Period | None


def slot_start(now: datetime, poll_minutes: int) -> datetime:
    """The start of the polling slot that holds the moment; slots are counted from 00:00 UTC."""
    midnight = floor_day(now)
    minutes = int((now - midnight).total_seconds()) // 60
    return midnight + timedelta(minutes=minutes // poll_minutes * poll_minutes)


def due(store: Store, schedule: ScheduleConfig, now: datetime) -> Due:
    """A poll where none was complete in this slot; the previous month's close from close_day on, once settled."""
    last = store.query("last_complete_poll")["started_at"].item()
    month = previous_month(now)
    is_settled = now >= month.end + timedelta(hours=schedule.settle_hours)
    wants_close = (
        schedule.close_day > 0
        and now.day >= schedule.close_day
        and is_settled
        and store.query("closing_facts", month=month_name(month)).is_empty()
        and not store.query("first_coverage", before=month.end).is_empty()
    )
    return Due(
        poll=last is None or last < slot_start(now, schedule.poll_minutes),
        close=month if wants_close else None,
    )
