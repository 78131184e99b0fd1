"""When a month is settled, and from when it closes by itself. Reads the store; must not close anything."""

from datetime import datetime, timedelta

from metering.config.models import ScheduleConfig
from metering.core.period import Period, month_of, parse_time
from metering.store.database import Store


def first_month(store: Store, schedule: ScheduleConfig) -> Period | None:
    """The first month that may close by itself: the configured one, else the first after the first complete poll.

    None before that poll. A month that began with the poll or before it is closed by hand only.
    """
    if schedule.first_month is not None:
        return month_of(parse_time(f"{schedule.first_month}-01T00:00:00Z"))
    polled_at: datetime | None = store.query("invoicing/first_complete_poll")["started_at"].item()
    return None if polled_at is None else month_of(month_of(polled_at).end)


def may_close_by_itself(first: Period | None, month: Period) -> bool:
    """Whether the month is the first one, or a later one."""
    return first is not None and first.start <= month.start


def settled_at(schedule: ScheduleConfig, month: Period) -> datetime:
    """When the month's usage is taken for complete."""
    return month.end + timedelta(hours=schedule.settle_hours)


def closes_from(schedule: ScheduleConfig, month: Period) -> datetime:
    """When the month is settled and close_day has come; where it is closed by hand, when it is settled."""
    return max(settled_at(schedule, month), month.end + timedelta(days=max(schedule.close_day, 1) - 1))
