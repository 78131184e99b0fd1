from datetime import UTC, datetime, timedelta

import pytest

from metering.core.period import DAY, HOUR, Period
from metering.polling.shares import deadlines, requests_for, rounds, shares, sweep_share, within_reach
from metering.usage.coverage import DAILY, HOURLY
from metering.usage.windows import Window

NOW = datetime(2026, 10, 20, 8, 7, tzinfo=UTC)
SLOT = timedelta(minutes=15)


@pytest.mark.parametrize(("projects", "requests"), [(0, 1), (1, 1), (100, 1), (101, 2), (300_000, 3000)])
def test_a_walk_takes_a_request_for_every_hundred_projects_and_one_for_none(projects: int, requests: int):
    assert requests_for(projects) == requests


def test_a_budget_is_shared_by_need():
    assert shares(450, {"a": 2000, "b": 1000}) == {"a": 300, "b": 150}


def test_a_small_organization_has_one_request_at_least():
    assert shares(450, {"large": 3000, "small": 1}) == {"large": 449, "small": 1}


def test_shares_never_add_up_to_more_than_there_is():
    assert shares(2, {"a": 5, "b": 5, "c": 5}) == {"a": 1, "b": 1, "c": 0}
    assert shares(0, {"a": 5, "b": 5}) == {"a": 0, "b": 0}


def test_a_sweep_without_a_forerunner_is_spread_over_its_time():
    due = deadlines([], 3000, [], NOW, 6 * HOUR)
    assert len(due) == 3000
    assert sweep_share(due, NOW, SLOT) == 125  # in 24 slots


def test_pages_are_due_so_long_after_they_were_read():
    read_at = [NOW - 6 * HOUR + page * timedelta(minutes=1) for page in range(60)]
    due = deadlines([NOW] * 10, 60, read_at, NOW, 6 * HOUR)
    assert due[0] == NOW + timedelta(minutes=10)
    assert due[-10:] == [NOW + 6 * HOUR] * 10
    assert sweep_share(due, NOW, SLOT) == 20  # all that is due before a second slot has ended


def test_where_a_walk_ends_the_pages_of_the_next_one_are_due_in_their_turn():
    six_hours_ago = [NOW - 6 * HOUR + page * SLOT / 10 for page in range(240)]
    assert sweep_share(deadlines(six_hours_ago[:-1], 240, six_hours_ago, NOW, 6 * HOUR), NOW, SLOT) == 21
    assert sweep_share(deadlines([], 240, six_hours_ago, NOW, 6 * HOUR), NOW, SLOT) == 20


def test_the_pages_of_a_first_walk_are_due_so_long_after_its_first_request():
    began = NOW - 5 * HOUR
    assert deadlines([began], 3, [], NOW, 6 * HOUR) == [NOW + HOUR, NOW + HOUR, NOW + HOUR]


def test_a_fleet_that_grew_has_its_last_pages_due_with_the_last_known():
    assert deadlines([], 3, [NOW], NOW, HOUR) == [NOW + HOUR] * 3


def test_nothing_overdue_is_put_off():
    assert sweep_share([NOW - DAY, NOW - DAY, NOW + DAY], NOW, SLOT) == 2


def test_what_was_read_in_the_last_slot_is_asked_for_over_four_hours():
    (found,) = rounds([("a", NOW - SLOT), ("b", NOW - 2 * HOUR)], NOW, 10)
    assert found.groups == (("a", "b"),)
    assert found.window == Window(
        grain=HOURLY,
        period=Period(start=datetime(2026, 10, 20, 4, tzinfo=UTC), end=datetime(2026, 10, 20, 9, tzinfo=UTC)),
    )


@pytest.mark.parametrize(
    ("unread", "hours"),
    [(2 * HOUR, 4), (2 * HOUR + SLOT, 8), (6 * HOUR, 8), (23 * HOUR, 25), (24 * HOUR, 166), (30 * DAY, 166)],
)
def test_the_longer_a_project_is_unread_the_further_back_it_is_asked_for(unread: timedelta, hours: int):
    (found,) = rounds([("a", NOW - unread)], NOW, 10)
    assert found.window.period.start == datetime(2026, 10, 20, 8, tzinfo=UTC) - hours * HOUR


def test_a_project_that_was_never_read_is_asked_for_over_a_day():
    (found,) = rounds([("a", None)], NOW, 10)
    assert found.window.period.start == datetime(2026, 10, 19, 7, tzinfo=UTC)


def test_a_request_takes_a_hundred_projects():
    (found,) = rounds([(f"p{number}", NOW) for number in range(250)], NOW, 10)
    assert [len(group) for group in found.groups] == [100, 100, 50]


def test_no_more_is_asked_for_than_there_are_requests():
    (found,) = rounds([(f"p{number}", NOW) for number in range(250)], NOW, 2)
    assert [group[0] for group in found.groups] == ["p0", "p100"]
    assert rounds([("a", NOW)], NOW, 0) == []
    mixed = rounds([("a", NOW), ("b", NOW - 5 * HOUR), ("c", None)], NOW, 2)
    assert [found.groups for found in mixed] == [(("c",),), (("b",),)]


def test_a_walk_that_takes_hours_reaches_back_by_so_much_less():
    whole = Window(grain=HOURLY, period=Period(start=NOW - 166 * HOUR, end=datetime(2026, 10, 20, 9, tzinfo=UTC)))
    found = within_reach(whole, NOW, 6 * HOUR)
    assert found is not None
    assert found.period.start == datetime(2026, 10, 13, 17, tzinfo=UTC)
    assert NOW + 6 * HOUR - found.period.start < 168 * HOUR


def test_a_walk_within_reach_is_left_as_it_is():
    day = Window(grain=HOURLY, period=Period(start=NOW - 24 * HOUR, end=NOW + HOUR))
    assert within_reach(day, NOW, 6 * HOUR) == day
    daily = Window(grain=DAILY, period=Period(start=NOW - 50 * DAY, end=NOW - 7 * DAY))
    assert within_reach(daily, NOW, 6 * HOUR) == daily
