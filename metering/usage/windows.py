"""Which hours to read next, at which grain. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from metering.core.period import DAY, HOUR, Period, days, floor_day, floor_hour, floor_month, month_of, without
from metering.usage.coverage import (
    DAILY,
    DAILY_REACH_DAYS,
    HOURLY,
    MONTHLY,
    MONTHLY_REACH_MONTHS,
    REREAD_HOURS,
    Certified,
    is_day_known,
    periods_by_grain,
)

HOURLY_REACH_HOURS = 166
"""Neon keeps hourly buckets for 168 h, counted from its own clock: stay clear of the edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Hours to read at a grain."""

    grain: int
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The hours that a run wants: all from `since` on; with `sweep`, all that Neon still has by the hour.

    The last `reread_hours` are always read again: Neon may still revise them. `known` hours need not be read; without
    it, these are the certified hours.
    """

    since: datetime
    until: datetime | None = None
    sweep: bool = False
    reread_hours: int = REREAD_HOURS
    known: Certified | None = None


def not_to_renew(certified: Certified, fresh: Certified, now: datetime) -> Certified:
    """The certified hours that Neon no longer has, and those that were read lately (`fresh`)."""
    kept = [(grain, period) for grain, periods in enumerate(periods_by_grain(fresh)) for period in periods]
    for grain, (periods, reach) in enumerate(zip(periods_by_grain(certified), _reaches(now), strict=True)):
        kept += [
            (grain, Period(start=period.start, end=min(period.end, reach)))
            for period in periods
            if period.start < reach
        ]
    return Certified.of(kept)


def _reaches(now: datetime) -> tuple[datetime, datetime, datetime]:
    """The earliest hour, day and month that Neon still has."""
    return (
        floor_hour(now) - HOURLY_REACH_HOURS * HOUR,
        floor_day(now) - DAILY_REACH_DAYS * DAY,
        floor_month(floor_month(now) - timedelta(days=30 * MONTHLY_REACH_MONTHS)),
    )


def windows(certified: Certified, wanted: Wanted, now: datetime) -> list[Window]:
    """The reads that fill the gaps that can still be filled, the finest grain first (168 h, 60 days, a year)."""
    out = []
    certified = certified if wanted.known is None else wanted.known
    earliest_hour, earliest_day, earliest_month = _reaches(now)
    hourly = _hourly_window(certified, wanted, now, earliest_hour)
    if hourly:
        out.append(hourly)
    until = wanted.until or now
    missing_days = [
        day
        for day in days(Period(start=floor_day(wanted.since), end=max(wanted.since, min(until, earliest_hour))))
        if day + DAY <= now - HOUR and not is_day_known(certified, day)
    ]
    reachable = [day for day in missing_days if day >= earliest_day]
    if reachable:
        out.append(Window(grain=DAILY, period=Period(start=reachable[0], end=reachable[-1] + DAY)))
    lost = {floor_month(day) for day in missing_days if earliest_month <= floor_month(day) and day < earliest_day}
    months = sorted(m for m in lost if month_of(m).end <= now - HOUR)
    if months:
        out.append(Window(grain=MONTHLY, period=Period(start=months[0], end=month_of(months[-1]).end)))
    return out


def _hourly_window(certified: Certified, wanted: Wanted, now: datetime, earliest: datetime) -> Window | None:
    end = floor_hour(now) + HOUR
    if wanted.until and wanted.until < end:
        end = max(earliest, floor_hour(wanted.until))
    start = min(end, floor_hour(now) - wanted.reread_hours * HOUR)
    reach = Period(start=min(earliest, end), end=end)
    owed = Period(start=max(reach.start, min(floor_hour(wanted.since), end)), end=end)
    if wanted.sweep:
        start = reach.start
    elif missing := without(owed, certified.hourly):
        start = min(start, missing[0].start)
    start = max(start, reach.start)
    return Window(grain=HOURLY, period=Period(start=start, end=end)) if start < end else None
