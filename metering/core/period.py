"""Half-open intervals of UTC time, and the calendar months, days and hours that billing counts in.

Knows nothing of Neon, prices or the clock: `now` is always a parameter.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from metering.core.errors import UsageError

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
YEARS = range(1970, 9999)
"""Years whose months all have a month before and after them: dates end with the year 9999, clocks began in 1970."""
_MICROSECOND = timedelta(microseconds=1)
_MONTH_TEXT = re.compile(r"(\d{4})-(\d{2})")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Period:
    """[start, end) in UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        assert self.start.tzinfo is not None and self.end.tzinfo is not None, "a period is in UTC"
        assert self.start <= self.end, "a period does not end before it starts"

    @property
    def seconds(self) -> int:
        """Its length in whole seconds; asserts that neither bound has a fraction of a second."""
        length = self.end - self.start
        assert length.microseconds == 0
        return length.days * 86400 + length.seconds

    def hours(self) -> int:
        """How many whole hours it holds."""
        return self.seconds // 3600

    def contains(self, moment: datetime) -> bool:
        """Whether the moment lies in [start, end)."""
        return self.start <= moment < self.end

    def overlap(self, other: "Period") -> "Period | None":
        """The common part, or None where they do not meet."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Period(start=start, end=end) if start < end else None

    def share_of(self, whole: "Period") -> Fraction:
        """This period's length as an exact share of another's."""
        return Fraction((self.end - self.start) // _MICROSECOND, (whole.end - whole.start) // _MICROSECOND)


def rfc3339(moment: datetime) -> str:
    """`2026-10-01T00:00:00Z`; a fraction of a second is kept only where there is one."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """An RFC 3339 time with a zone, in UTC; raises ValueError otherwise (a leap second is refused)."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it as 2026-10-01T00:00:00Z")
    return moment.astimezone(UTC)


def whole_second(moment: datetime) -> datetime:
    """The start of the second that holds the moment."""
    return moment.replace(microsecond=0)


def floor_hour(moment: datetime) -> datetime:
    """The start of the hour that holds the moment."""
    return moment.replace(minute=0, second=0, microsecond=0)


def floor_day(moment: datetime) -> datetime:
    """00:00 UTC of the moment's day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def slot_start(now: datetime, poll_minutes: int) -> datetime:
    """The start of the polling slot that holds the moment; slots are counted from 00:00 UTC, the last may be short."""
    midnight = floor_day(now)
    minutes = (now - midnight) // timedelta(minutes=1)
    return midnight + timedelta(minutes=minutes // poll_minutes * poll_minutes)


def floor_month(moment: datetime) -> datetime:
    """00:00 UTC of the first day of the moment's month."""
    return floor_day(moment).replace(day=1)


def next_month(month_start: datetime) -> datetime:
    """The first of the following month."""
    return floor_month(month_start + 31 * DAY)


def month_of(moment: datetime) -> Period:
    """The UTC calendar month that holds the moment."""
    start = floor_month(moment)
    return Period(start=start, end=next_month(start))


def previous_month(moment: datetime) -> Period:
    """The UTC calendar month before the one that holds the moment."""
    return month_of(floor_month(moment) - DAY)


def parse_month(text: str, now: datetime) -> Period:
    """`2026-10`, `current` or `previous` as a calendar month; raises UsageError for anything else."""
    if text == "current":
        return month_of(now)
    if text == "previous":
        return previous_month(now)
    match = _MONTH_TEXT.fullmatch(text)
    if match and 1 <= int(match[2]) <= 12 and int(match[1]) in YEARS:
        return month_of(datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC))
    raise UsageError(f"{text!r} is not a month", hint="write 2026-10, current or previous")


def month_name(month: Period) -> str:
    """`2026-10`."""
    return f"{month.start:%Y-%m}"


def merged(periods: Iterable[Period]) -> list[Period]:
    """The union, as sorted periods that neither meet nor overlap."""
    out: list[Period] = []
    for period in sorted(periods):
        if period.start == period.end:
            continue
        if out and period.start <= out[-1].end:
            out[-1] = Period(start=out[-1].start, end=max(out[-1].end, period.end))
        else:
            out.append(period)
    return out


def without(whole: Period, holes: Iterable[Period]) -> list[Period]:
    """The parts of the whole that no hole covers, sorted."""
    out: list[Period] = []
    start = whole.start
    for hole in merged(holes):
        if hole.end <= start:
            continue
        if hole.start >= whole.end:
            break
        if hole.start > start:
            out.append(Period(start=start, end=hole.start))
        start = max(start, hole.end)
    if start < whole.end:
        out.append(Period(start=start, end=whole.end))
    return out


def days(period: Period) -> Iterator[datetime]:
    """The start of every day that begins in the period."""
    day = floor_day(period.start)
    if day < period.start:
        day += DAY
    while day < period.end:
        yield day
        day += DAY
