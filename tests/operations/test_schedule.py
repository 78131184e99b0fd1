from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from metering.config import ScheduleConfig
from metering.core.period import month_of, parse_month, parse_time, slot_start
from metering.invoicing.readiness import first_month
from metering.operations.schedule import due, slots
from metering.store.database import Store
from tests.support.blank import blank_store

TICK = timedelta(microseconds=1)
OCTOBER = month_of(parse_time("2026-10-01T00:00:00Z"))


@pytest.fixture
def store() -> Iterator[Store]:
    found = blank_store()
    yield found
    found.connection.close()


def polled(store: Store, started_at: str, *, outcome: str = "complete", command: str = "tick") -> None:
    store.connection.execute(
        """insert into cycle select coalesce(max(seq), 0) + 1, $command, $at::timestamptz, $at::timestamptz, 1, 1, 0,
           $outcome, '[]' from cycle""",
        {"at": started_at, "outcome": outcome, "command": command},
    )


def closed(store: Store, *numbers: str) -> None:
    store.connection.execute(
        """insert into closing by name select 9 as seq, '2026-10' as month, '2026-11-03'::timestamptz as as_of,
           8 as as_of_seq, 'x' as terms_sha256, '{}' as document"""
    )
    for position, number in enumerate(numbers, start=1):
        store.connection.execute(
            """insert into invoice values ($number, 9, '2026-10', $number, 'final', 'USD', '1.00', '2026-11-03',
               'invoice 2026', $position, '{}')""",
            {"number": number, "position": position},
        )


def told(store: Store, number: str) -> None:
    store.connection.execute(
        """insert into alert (alert_id, seq, recorded_at, event_type, status, reason, body)
           values ($number, 10, '2026-11-03', 'invoice.finalized', 'send', '', $body)""",
        {"number": number, "body": f'{{"data": {{"number": "{number}"}}}}'},
    )


def at(text: str) -> datetime:
    return parse_time(text)


@pytest.mark.parametrize(
    ("minutes", "now", "start"),
    [
        (15, "2026-10-05T12:14:59.999999Z", "2026-10-05T12:00:00Z"),
        (15, "2026-10-05T12:15:00Z", "2026-10-05T12:15:00Z"),
        (7, "2026-10-05T01:02:59Z", "2026-10-05T00:56:00Z"),
        (7, "2026-10-05T01:03:00Z", "2026-10-05T01:03:00Z"),
        (7, "2026-10-05T23:59:59Z", "2026-10-05T23:55:00Z"),
        (1440, "2026-10-05T23:59:59Z", "2026-10-05T00:00:00Z"),
    ],
)
def test_slots_are_counted_from_midnight_utc(minutes: int, now: str, start: str):
    assert slot_start(at(now), minutes) == at(start)


def test_every_quarter_of_every_hour_is_one_rule():
    assert slots(15) == {(0, 15, 30, 45): list(range(24))}


def test_minutes_that_do_not_divide_the_hour_have_a_rule_for_each_kind_of_hour():
    assert slots(90) == {(0,): list(range(0, 24, 3)), (30,): list(range(1, 24, 3))}
    assert slots(1440) == {(0,): [0]}
    assert sum(len(minutes) * len(hours) for minutes, hours in slots(7).items()) == 206
    assert (3, 10, 17, 24, 31, 38, 45, 52, 59) in slots(7)


def test_a_store_that_was_never_polled_is_due(store: Store):
    assert due(store, ScheduleConfig(), at("2026-10-05T12:00:00Z")).poll


def test_a_complete_poll_is_enough_until_the_next_slot(store: Store):
    polled(store, "2026-10-05T12:00:00Z")
    assert not due(store, ScheduleConfig(), at("2026-10-05T12:00:00Z")).poll
    assert not due(store, ScheduleConfig(), at("2026-10-05T12:14:59.999999Z")).poll
    assert due(store, ScheduleConfig(), at("2026-10-05T12:15:00Z")).poll


def test_an_incomplete_poll_and_a_backfill_are_no_poll_of_the_slot(store: Store):
    polled(store, "2026-10-05T12:00:00Z", outcome="partial")
    polled(store, "2026-10-05T12:01:00Z", outcome="refused")
    polled(store, "2026-10-05T12:02:00Z", command="backfill")
    assert due(store, ScheduleConfig(), at("2026-10-05T12:10:00Z")).poll


def test_a_poll_that_a_wrong_clock_dated_into_the_future_stops_nothing(store: Store):
    polled(store, "2036-10-05T12:00:00Z")
    assert due(store, ScheduleConfig(), at("2026-10-05T12:10:00Z")).poll
    polled(store, "2026-10-05T12:10:00Z")
    assert not due(store, ScheduleConfig(), at("2026-10-05T12:11:00Z")).poll


@pytest.mark.parametrize(
    ("settle_hours", "close_day", "first"),
    [
        (36, 3, "2026-11-03T00:00:00Z"),
        (36, 2, "2026-11-02T12:00:00Z"),
        (1, 1, "2026-11-01T01:00:00Z"),
        (200, 3, "2026-11-09T08:00:00Z"),
        (36, 28, "2026-11-28T00:00:00Z"),
    ],
)
def test_the_previous_month_closes_from_close_day_on_once_settled(
    store: Store, settle_hours: int, close_day: int, first: str
):
    schedule = ScheduleConfig(settle_hours=settle_hours, close_day=close_day, first_month="2026-10")
    assert due(store, schedule, at(first) - TICK).close is None
    assert due(store, schedule, at(first)).close == OCTOBER
    assert due(store, schedule, at("2026-11-30T23:59:59Z")).close == OCTOBER


def test_close_day_zero_closes_by_hand_only(store: Store):
    schedule = ScheduleConfig(close_day=0, first_month="2026-10")
    assert due(store, schedule, at("2026-11-28T00:00:00Z")).close is None


@pytest.mark.parametrize(
    ("polled_at", "first"),
    [
        ("2026-09-30T23:59:59Z", "2026-10"),
        ("2026-10-01T00:00:00Z", "2026-11"),
        ("2026-10-31T23:59:59Z", "2026-11"),
        ("2026-12-31T23:59:59Z", "2027-01"),
    ],
)
def test_the_first_month_to_close_by_itself_began_after_the_first_complete_poll(
    store: Store, polled_at: str, first: str
):
    assert first_month(store, ScheduleConfig()) is None
    polled(store, "2026-01-01T00:00:00Z", outcome="partial")
    polled(store, "2026-01-01T00:15:00Z", command="backfill")
    assert first_month(store, ScheduleConfig()) is None
    polled(store, polled_at)
    polled(store, "2027-05-05T00:00:00Z")
    assert first_month(store, ScheduleConfig()) == parse_month(first, at(polled_at))


@pytest.mark.parametrize(("first", "is_due"), [("2026-09", True), ("2026-10", True), ("2026-11", False)])
def test_first_month_says_itself_which_month_closes_first_whatever_was_polled(
    store: Store, first: str, *, is_due: bool
):
    polled(store, "2026-10-15T00:00:00Z")
    found = due(store, ScheduleConfig(first_month=first), at("2026-11-03T00:00:00Z"))
    assert (found.close, found.report) == ((OCTOBER, OCTOBER) if is_due else (None, None))


def test_a_month_that_was_running_at_the_first_poll_is_closed_by_hand_and_nothing_of_it_is_due(store: Store):
    polled(store, "2026-10-15T00:00:00Z")
    found = due(store, ScheduleConfig(), at("2026-11-05T00:00:00Z"))
    assert (found.close, found.report) == (None, None)
    assert due(store, ScheduleConfig(), at("2026-12-05T00:00:00Z")).close == parse_month(
        "2026-11", at("2026-12-05T00:00:00Z")
    )


def test_a_report_is_due_as_soon_as_the_month_is_settled_also_where_it_is_closed_by_hand(store: Store):
    for close_day in (0, 28):
        schedule = ScheduleConfig(close_day=close_day, first_month="2026-10")
        assert due(store, schedule, at("2026-11-02T12:00:00Z") - TICK).report is None
        found = due(store, schedule, at("2026-11-02T12:00:00Z"))
        assert (found.report, found.close) == (OCTOBER, None)
    closed(store)
    assert due(store, ScheduleConfig(first_month="2026-10"), at("2026-11-02T12:00:00Z")).report is None


def test_a_closed_month_is_closed_once_and_told_until_all_is_told(store: Store):
    closed(store, "INV-1", "INV-2")
    told(store, "INV-1")
    found = due(store, ScheduleConfig(), at("2026-11-05T00:00:00Z"))
    assert (found.close, found.tell) == (None, OCTOBER)
    told(store, "INV-2")
    assert due(store, ScheduleConfig(), at("2026-11-05T00:00:00Z")).tell is None
