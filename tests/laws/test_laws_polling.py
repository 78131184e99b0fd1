from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from metering.core.period import DAY, HOUR, Period, days, floor_day, floor_hour, floor_month, month_of, without
from metering.usage.coverage import DAILY, HOURLY, MONTHLY, Certified
from metering.usage.windows import Wanted, Window, windows

START = datetime(2025, 6, 1, tzinfo=UTC)
moments = st.integers(0, 500 * 86400).map(lambda seconds: START + timedelta(seconds=seconds))


@st.composite
def known(draw: st.DrawFn) -> Certified:
    """What earlier walks may have certified, at any grain, with holes."""
    found: list[tuple[int, Period]] = []
    for _ in range(draw(st.integers(0, 6))):
        first, hours = floor_hour(draw(moments)), draw(st.integers(1, 300))
        found.append((HOURLY, Period(start=first, end=first + hours * HOUR)))
    for _ in range(draw(st.integers(0, 3))):
        first = floor_day(draw(moments))
        found.append((DAILY, Period(start=first, end=first + draw(st.integers(1, 60)) * DAY)))
    for _ in range(draw(st.integers(0, 2))):
        found.append((MONTHLY, month_of(draw(moments))))
    return Certified.of(found)


wanted = st.builds(Wanted, since=moments, until=st.none() | moments, sweep=st.booleans())


@settings(deadline=None)
@given(known(), wanted, moments)
def test_nothing_is_asked_for_outside_what_neon_keeps(certified: Certified, wants: Wanted, now: datetime):
    for window in windows(certified, wants, now):
        assert window.period.start < window.period.end
        if window.grain == HOURLY:
            assert window.period.start > now - 168 * HOUR
            assert window.period.end <= floor_hour(now) + HOUR
            assert window.period == Period(start=floor_hour(window.period.start), end=floor_hour(window.period.end))
        elif window.grain == DAILY:
            assert window.period.start > now - 60 * DAY
            assert window.period.end <= floor_day(now) + DAY
            assert window.period == Period(start=floor_day(window.period.start), end=floor_day(window.period.end))
        else:
            assert window.period.start > now - 365 * DAY
            assert window.period.end <= now
            assert window.period == Period(start=floor_month(window.period.start), end=floor_month(window.period.end))


def period_of(found: list[Window], grain: int) -> list[Period]:
    return [window.period for window in found if window.grain == grain]


@settings(deadline=None)
@given(known(), moments, moments)
def test_every_owed_hour_that_can_still_be_read_by_the_hour_is_asked_for(
    certified: Certified, since: datetime, now: datetime
):
    found = windows(certified, Wanted(since=since), now)
    reach = floor_hour(now) - 160 * HOUR
    start, end = max(floor_hour(since), reach), floor_hour(now)
    if start < end:
        owed = without(Period(start=start, end=end), certified.hourly)
        assert [part for hole in owed for part in without(hole, period_of(found, HOURLY))] == []


@settings(deadline=None)
@given(known(), moments, moments)
def test_every_owed_day_that_can_still_be_read_by_the_day_is_asked_for(
    certified: Certified, since: datetime, now: datetime
):
    found = windows(certified, Wanted(since=since), now)
    reach = max(floor_day(since), floor_day(now) - 58 * DAY)
    end = floor_hour(now) - 168 * HOUR
    for day in days(Period(start=reach, end=max(reach, end))):
        whole = Period(start=day, end=day + DAY)
        if day + DAY > end or certified.covered(whole) == [whole]:
            continue
        assert any(period.start <= day and day + DAY <= period.end for period in period_of(found, DAILY))


@settings(deadline=None)
@given(known(), moments, moments)
def test_what_only_months_still_show_is_asked_for_by_the_month(certified: Certified, since: datetime, now: datetime):
    found = windows(certified, Wanted(since=since), now)
    first = floor_month(floor_month(now) - 300 * DAY)
    for day in days(Period(start=max(floor_day(since), first), end=max(first, floor_day(since), now - 60 * DAY))):
        month, whole = month_of(day), Period(start=day, end=day + DAY)
        if certified.covered(whole) == [whole] or month.end > now - HOUR:
            continue
        assert any(
            period.start <= month.start and month.end <= period.end for period in period_of(found, MONTHLY)
        ) or any(period.start <= day and day + DAY <= period.end for period in period_of(found, DAILY))


@settings(deadline=None)
@given(known(), moments)
def test_a_poll_re_reads_at_least_the_last_day(certified: Certified, now: datetime):
    (hourly, *_) = windows(certified, Wanted(since=now), now)
    assert hourly.period.start <= floor_hour(now) - 24 * HOUR
    assert hourly.period.end == floor_hour(now) + HOUR
