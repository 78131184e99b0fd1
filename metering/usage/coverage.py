"""Which hours are certified, which timeframes therefore count, and which hours are missing.

Pure: periods in, periods out; `now` is a parameter. A day counts from its hourly buckets if all its hours are certified
hourly, else from its daily bucket if that is certified. A month whose days are not all known like that counts from its
monthly bucket if that is certified.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from metering.core.grain import GRAINS
from metering.core.period import (
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
REREAD_HOURS = 24
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
        """The rest of it without these (grain, period) pairs."""
        by_grain: tuple[list[Period], list[Period], list[Period]] = ([], [], [])
        for grain, hole in holes:
            by_grain[grain].append(hole)
        parts = (
            (grain, part)
            for grain, periods in enumerate(periods_by_grain(self))
            for period in periods
            for part in without(period, by_grain[grain])
        )
        return Certified.of(parts)

    def covers(self, part: Period, grain: int) -> bool:
        """Whether all of the part is certified at this grain."""
        return any(period.start <= part.start and part.end <= period.end for period in periods_by_grain(self)[grain])

    def covered(self, whole: Period) -> list[Period]:
        """The hours of the whole that are certified at any grain."""
        parts = (period.overlap(whole) for period in (*self.hourly, *self.daily, *self.monthly))
        return merged(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeframes:
    """Buckets of this grain that start in the period count."""

    grain: int
    period: Period


def certified_from(grain: int, asked_from: datetime) -> datetime:
    """The start of the first bucket of this grain that does not begin before `asked_from`."""
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
    """The hours of the month that have ended by `until` and are not certified."""
    if until <= month.start:
        return []
    whole = Period(start=month.start, end=min(month.end, floor_hour(until)))
    return without(whole, certified.covered(whole))


def periods_by_grain(certified: Certified) -> tuple[tuple[Period, ...], ...]:
    """The certified periods of each grain, the finest first."""
    return certified.hourly, certified.daily, certified.monthly


def _until(periods: Iterable[Period], until: datetime) -> list[Period]:
    """The parts of the periods that lie in hours which have ended by `until`."""
    end = floor_hour(until)
    return [Period(start=period.start, end=min(period.end, end)) for period in periods if period.start < end]


def is_day_known(certified: Certified, day: datetime) -> bool:
    """Whether a day is certified, by its hours, as a day or by its month."""
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

    def document(self) -> dict[str, object]:
        """The coverage member of an invoice."""
        return {
            "hours": self.hours(),
            "covered_hours": self.covered_hours(),
            "complete": self.is_complete(),
            "grain": self.grain(),
        }

    def gaps(self, until: datetime) -> list[dict[str, str]]:
        """{organization, start, end, reason}, sorted; an hour without history is not listed again for its inventory."""
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
        return GRAINS[max(grains, default=HOURLY)]


def certified_of(rows: pl.DataFrame) -> dict[str, Certified]:
    """What is certified per organization, from the rows of the query `coverage_of`."""
    found: dict[str, list[tuple[int, Period]]] = {}
    for organization, grain, start, end in rows.iter_rows():
        found.setdefault(organization, []).append((grain, Period(start=start, end=end)))
    return {organization: Certified.of(periods) for organization, periods in found.items()}
