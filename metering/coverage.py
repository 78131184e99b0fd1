"""Which hours are certified, which timeframes therefore count, what is still owed, and what to ask Neon for next.

Pure: periods in, periods out; `now` is a parameter. The rules are contract 5.2: a day counts from its hourly buckets
where all its hours are certified hourly, else from its daily bucket where that is certified; a month whose days are
not all known that way counts from its monthly bucket where that is certified.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from metering.period import (
    DAY,
    HOUR,
    Period,
    days,
    floor_day,
    floor_hour,
    floor_month,
    merged,
    month_of,
    rfc3339,
    without,
)

HOURLY, DAILY, MONTHLY = 0, 1, 2
GRAIN_NAMES = ("hourly", "daily", "monthly")
REREAD_HOURS = 24
HOURLY_REACH_HOURS = 166
"""Neon keeps hourly buckets for 168 h, counted from its own clock: stay clear of the edge."""
DAILY_REACH_DAYS = 58
"""Neon keeps daily buckets for 60 days."""
MONTHLY_REACH_MONTHS = 11
"""Neon keeps monthly buckets for a year."""
INVENTORY = "inventory"
"""The reason of a gap for which an organization's inventory is missing."""
_FLOORS = (floor_hour, floor_day, floor_month)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """What complete walks of one organization have certified, per grain."""

    hourly: tuple[Period, ...] = ()
    daily: tuple[Period, ...] = ()
    monthly: tuple[Period, ...] = ()

    @staticmethod
    def of(periods: Iterable[tuple[int, Period]]) -> "Certified":
        """From (grain, period) pairs in any order."""
        by_grain: tuple[list[Period], list[Period], list[Period]] = ([], [], [])
        for grain, period in periods:
            by_grain[grain].append(period)
        hourly, daily, monthly = (tuple(merged(found)) for found in by_grain)
        return Certified(hourly=hourly, daily=daily, monthly=monthly)

    def less(self, holes: Iterable[tuple[int, Period]]) -> "Certified":
        """What is left of it without these periods of a grain."""
        by_grain: tuple[list[Period], list[Period], list[Period]] = ([], [], [])
        for grain, hole in holes:
            by_grain[grain].append(hole)
        parts = (
            (grain, part)
            for grain, periods in enumerate(_by_grain(self))
            for period in periods
            for part in without(period, by_grain[grain])
        )
        return Certified.of(parts)

    def covers(self, part: Period, grain: int) -> bool:
        """Whether all of the part is certified at this grain."""
        return any(period.start <= part.start and part.end <= period.end for period in _by_grain(self)[grain])

    def covered(self, whole: Period) -> list[Period]:
        """The hours of the whole that are certified at any grain."""
        parts = (period.overlap(whole) for period in (*self.hourly, *self.daily, *self.monthly))
        return merged(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeframes:
    """Buckets of this grain that start in the period count."""

    grain: int
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A walk to make."""

    grain: int
    period: Period


def certified_from(grain: int, asked_from: datetime) -> datetime:
    """The start of the first bucket of this grain that lies wholly behind `asked_from`."""
    start = _FLOORS[grain](asked_from)
    return start if start == asked_from else _FLOORS[grain](start + (HOUR, DAY, 31 * DAY)[grain])


def certified_until(grain: int, first_sent_at: datetime, asked_until: datetime) -> datetime:
    """The end of the last bucket that was asked for whole and had ended an hour before the first request."""
    return _FLOORS[grain](min(asked_until, first_sent_at - HOUR))


def day_of(start: datetime) -> Period:
    """The UTC day that starts there."""
    return Period(start=start, end=start + DAY)


def selection(certified: Certified, month: Period, *, is_open: bool) -> list[Timeframes]:
    """The timeframes of a calendar month that count. `is_open` also takes hours that are not certified yet."""
    known = {
        day: HOURLY
        if certified.covers(day_of(day), HOURLY)
        else DAILY
        if certified.covers(day_of(day), DAILY)
        else None
        for day in days(month)
    }
    if None in known.values() and certified.covers(month, MONTHLY):
        return [Timeframes(grain=MONTHLY, period=month)]
    by_grain: dict[int, list[Period]] = {HOURLY: [], DAILY: []}
    for day, grain in known.items():
        if grain is not None:
            by_grain[grain].append(day_of(day))
        elif is_open:
            by_grain[HOURLY].append(day_of(day))
        else:
            parts = (period.overlap(day_of(day)) for period in certified.hourly)
            by_grain[HOURLY].extend(part for part in parts if part)
    return [Timeframes(grain=grain, period=period) for grain in (HOURLY, DAILY) for period in merged(by_grain[grain])]


def gaps(certified: Certified, month: Period, until: datetime) -> list[Period]:
    """The hours of the month that have ended by `until` and that nothing certifies."""
    if until <= month.start:
        return []
    whole = Period(start=month.start, end=min(month.end, floor_hour(until)))
    return without(whole, certified.covered(whole))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a poll is to heal: everything from `since` on; `sweep` asks for all that hourly reaches.

    The last `reread_hours` are asked for again in any case: Neon may still revise them. `known` need not be read; where
    it is not given, all that is certified.
    """

    since: datetime
    until: datetime | None = None
    sweep: bool = False
    reread_hours: int = REREAD_HOURS
    known: Certified | None = None


def not_to_renew(certified: Certified, fresh: Certified, now: datetime) -> Certified:
    """Of what is certified, what Neon cannot tell once more, and what it has told lately (`fresh`)."""
    kept = [(grain, period) for grain, periods in enumerate(_by_grain(fresh)) for period in periods]
    for grain, (periods, reach) in enumerate(zip(_by_grain(certified), _reaches(now), strict=True)):
        kept += [
            (grain, Period(start=period.start, end=min(period.end, reach)))
            for period in periods
            if period.start < reach
        ]
    return Certified.of(kept)


def _by_grain(certified: Certified) -> tuple[tuple[Period, ...], ...]:
    return certified.hourly, certified.daily, certified.monthly


def _reaches(now: datetime) -> tuple[datetime, datetime, datetime]:
    """The earliest hour, day and month that Neon still answers for."""
    return (
        floor_hour(now) - HOURLY_REACH_HOURS * HOUR,
        floor_day(now) - DAILY_REACH_DAYS * DAY,
        floor_month(floor_month(now) - timedelta(days=30 * MONTHLY_REACH_MONTHS)),
    )


def windows(certified: Certified, wanted: Wanted, now: datetime) -> list[Window]:
    """The walks that heal what can still be healed, the finest grain first (facts 4.1: 168 h, 60 days, a year)."""
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
        if day + DAY <= now - HOUR and not _is_day_known(certified, day)
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


def _until(periods: Iterable[Period], until: datetime) -> list[Period]:
    """What of the periods lies in hours that have ended by `until`."""
    end = floor_hour(until)
    return [Period(start=period.start, end=min(period.end, end)) for period in periods if period.start < end]


def _is_day_known(certified: Certified, day: datetime) -> bool:
    return (
        certified.covers(day_of(day), HOURLY)
        or certified.covers(day_of(day), DAILY)
        or certified.covers(month_of(day), MONTHLY)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """A month's coverage over all organizations that have one (sponsored ones have none).

    `unread`: per organization, hours that are certified for all of its projects but one, with the reason.
    `unlisted`: the hours for which an organization's inventory is missing, which nothing covers.
    """

    month: Period
    certified: Mapping[str, Certified]
    reasons: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, Sequence[tuple[Period, str]]] = field(default_factory=dict)
    unlisted: Mapping[str, Sequence[Period]] = field(default_factory=dict)

    def covered_hours(self) -> int:
        """Hours that are covered in every organization."""
        holes = [hole for name in self.certified for hole, _ in self.unread.get(name, ())]
        for certified in self.certified.values():
            holes.extend(without(self.month, certified.covered(self.month)))
        holes.extend(hole for missing in self.unlisted.values() for hole in missing)
        return sum(part.hours() for part in without(self.month, holes)) if self.certified else 0

    def hours(self) -> int:
        """The month's hours; none where only sponsored organizations exist."""
        return self.month.hours() if self.certified else 0

    def is_complete(self) -> bool:
        """Whether every hour of the month is covered."""
        return self.covered_hours() == self.hours()

    def gaps(self, until: datetime) -> list[dict[str, str]]:
        """{organization, start, end, reason}, sorted; an hour without history is not told again for its inventory."""
        return [
            {"organization": organization, "start": rfc3339(gap.start), "end": rfc3339(gap.end), "reason": reason}
            for organization in sorted(self.certified)
            for gap, reason in sorted(self._gaps_of(organization, until))
        ]

    def _gaps_of(self, organization: str, until: datetime) -> Iterator[tuple[Period, str]]:
        uncertified = gaps(self.certified[organization], self.month, until)
        for gap in uncertified:
            yield gap, self.reasons.get(organization, "not_read")
        for hole, reason in self.unread.get(organization, ()):
            if part := hole.overlap(self.month):
                yield part, reason
        for period in _until(self.unlisted.get(organization, ()), until):
            for gap in without(period, uncertified):
                yield gap, INVENTORY

    def grain(self) -> str:
        """The coarsest grain that counts in the month."""
        grains = {
            timeframes.grain
            for certified in self.certified.values()
            for timeframes in selection(certified, self.month, is_open=False)
        }
        return GRAIN_NAMES[max(grains, default=HOURLY)]
