"""Which windows of history an organization still lacks, for a poll and for a backfill. Asks the store, not Neon."""

from collections.abc import Callable
from datetime import datetime

from metering.config import ScheduleConfig
from metering.core.parties import Organization
from metering.core.period import Period, floor_day, floor_month
from metering.store.database import Store
from metering.usage.coverage import Certified, certified_of
from metering.usage.windows import HOURLY_REACH_HOURS, Wanted, Window, not_to_renew, windows

Wants = Callable[[Organization, Certified], Wanted]
"""What a run wants of an organization, given what is certified."""


def wanted_by_poll(store: Store, schedule: ScheduleConfig, now: datetime) -> Wants:
    """A poll heals from the running month's start or the first hour ever certified; once a day it reads everything."""
    # A read that takes hours reaches back by so much less.
    hours = min(160, HOURLY_REACH_HOURS - schedule.sweep_hours - 4)

    def wanted(organization: Organization, certified: Certified) -> Wanted:
        starts = [period.start for period in (*certified.hourly, *certified.daily, *certified.monthly)]
        swept_at = store.query("polling/last_sweep", organization=organization.id, hours=hours).item()
        return Wanted(
            since=min([floor_month(now), *starts]),
            sweep=swept_at is None or not floor_day(now) <= swept_at <= now,
            reread_hours=schedule.reread_hours,
        )

    return wanted


def wanted_by_backfill(store: Store, start: datetime, end: datetime | None, now: datetime) -> Wants:
    """A backfill reads [start, end) as far back as Neon answers, also certified hours, since Neon may revise them.

    What was read since the last complete backfill is not read again, so an interrupted backfill continues.
    """
    fresh = certified_for_every_project(store, after=int(store.query("polling/last_backfill").item()))

    def wanted(organization: Organization, certified: Certified) -> Wanted:
        known = not_to_renew(certified, fresh.get(organization.id, Certified()), now)
        return Wanted(since=start, until=end, sweep=end is None, known=known)

    return wanted


def missing_windows(store: Store, organization: Organization, wants: Wants, now: datetime) -> list[Window]:
    """The windows that a run has to read for an organization now, the finest grain first."""
    certified = certified_for_every_project(store).get(organization.id, Certified())
    return windows(certified, wants(organization, certified), now)


def certified_for_every_project(store: Store, *, after: int = 0) -> dict[str, Certified]:
    """What is certified per organization, without the hours in which one of its projects could not be read."""
    holes: dict[str, list[tuple[int, Period]]] = {}
    for row in store.query("billing/unread_hours", as_of_seq=2**63).iter_rows(named=True):
        hole = (row["grain"], Period(start=row["period_start"], end=row["period_end"]))
        holes.setdefault(row["organization"], []).append(hole)
    certified = certified_of(store.query("billing/coverage_of", as_of_seq=2**63, after=after))
    return {name: periods.less(holes.get(name, ())) for name, periods in certified.items()}
