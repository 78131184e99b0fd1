"""A silence is announced once, exactly at its third slot and its first hour, and its end once."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from metering.alerts import stall
from metering.config import Config, ScheduleConfig, Webhook
from metering.core.period import parse_time
from metering.ledger.alert_log import log, outbox_depth
from tests.simulate import Machine, world
from tests.support.scribe import Memory

HOOK = "https://hooks.example.com/"


def at(text: str) -> datetime:
    """`05T12:00` or `05T12:00:20` of October 2026."""
    return parse_time(f"2026-10-{text}" + (":00Z" if len(text) == 8 else "Z"))


def configured(poll_minutes: int) -> Config:
    return Config(
        path=Path("config.toml"),
        schedule=ScheduleConfig(poll_minutes=poll_minutes),
        webhooks=(Webhook(url=HOOK, secret_env="HOOK"),),
    )


def cycled(book: Memory, started_at: str, outcome: str = "complete", faults: list[str] | None = None) -> None:
    counted = dict.fromkeys(("requests", "pages", "changes"), 0)
    times = dict.fromkeys(("started_at", "ended_at"), f"2026-10-{started_at}Z")
    book.record("cycle", {"command": "tick", **times, **counted, "outcome": outcome, "faults": faults or []})


def told(book: Memory) -> list[tuple[str, str]]:
    """(type, since) of every event, in order."""
    return [(row.type, data(book, number)["since"]) for number, row in enumerate(log(book.store))]


def data(book: Memory, number: int) -> dict[str, Any]:
    bodies = book.store.connection.execute("select body from alert order by seq").fetchall()
    found: dict[str, Any] = json.loads(bodies[number][0])["data"]
    return found


@pytest.mark.parametrize(
    ("poll_minutes", "now", "is_tried", "expected"),
    [
        (15, "05T12:45:20", True, False),  # three slots without a complete cycle, and no hour yet
        (15, "05T12:59:59", True, False),
        (15, "05T13:00:00", True, True),
        (15, "05T13:00:00", False, True),
        (30, "05T13:29:59", True, False),
        (30, "05T13:30:00", False, False),  # the third slot has just begun, and may yet be complete
        (30, "05T13:30:00", True, True),
        (30, "05T13:59:59", False, False),
        (30, "05T14:00:00", False, True),
        (60, "05T14:59:59", True, False),
        (60, "05T15:00:00", True, True),
        (60, "05T15:59:59", False, False),
        (60, "05T16:00:00", False, True),
        (1, "05T12:59:59", False, False),
        (1, "05T13:00:00", False, True),
        (15, "05T11:00:00", True, False),  # a clock that went back
    ],
)
def test_a_stall_is_three_slots_and_an_hour_without_a_complete_cycle(poll_minutes, now, is_tried, expected):
    assert stall.is_stalled(at("05T12:00:20"), at(now), poll_minutes, is_tried=is_tried) is expected


def test_a_stall_is_told_once_and_so_is_its_end():
    book, config = Memory(), configured(15)
    cycled(book, "05T12:00:20")
    for now in ("05T12:15:20", "05T12:30:20", "05T12:45:20"):
        cycled(book, now, "partial")
        stall.announce(book, config, at(now), is_tried=True)
    assert told(book) == []
    for now in ("05T13:00:20", "05T13:15:20"):
        cycled(book, now, "partial", ["Neon is down"])
        stall.announce(book, config, at(now), is_tried=True)
    assert told(book) == [("poll.stalled", "2026-10-05T12:00:20Z")]
    assert data(book, 0)["faults"] == ["Neon is down"]
    assert data(book, 0)["last_complete_at"] == "2026-10-05T12:00:20Z"
    cycled(book, "05T13:30:20")
    for now in ("05T13:30:20", "05T13:45:20"):
        stall.announce(book, config, at(now), is_tried=True)
    assert told(book) == [("poll.stalled", "2026-10-05T12:00:20Z"), ("poll.recovered", "2026-10-05T12:00:20Z")]
    assert data(book, 1)["recovered_at"] == "2026-10-05T13:30:20Z"
    assert data(book, 1)["resolves"] == data(book, 0)["alert_id"]
    depth = outbox_depth(book.store)
    assert [(row["endpoint"], row["pending"]) for row in depth] == [(HOOK, 2)]


def test_a_second_stall_is_another():
    book, config = Memory(), configured(15)
    for start in ("05T12:00:20", "05T18:00:20"):
        cycled(book, start)
        stall.announce(book, config, at(start), is_tried=True)
        stall.announce(book, config, at(start.replace(":00:20", ":59:00")), is_tried=True)
        stall.announce(book, config, at(start.replace("T12", "T14").replace("T18", "T20")), is_tried=False)
    assert told(book) == [
        ("poll.stalled", "2026-10-05T12:00:20Z"),
        ("poll.recovered", "2026-10-05T12:00:20Z"),
        ("poll.stalled", "2026-10-05T18:00:20Z"),
    ]


def test_where_nothing_was_ever_complete_the_first_attempt_begins_the_stall():
    book, config = Memory(), configured(15)
    stall.announce(book, config, at("05T12:00:20"), is_tried=False)
    assert told(book) == []
    for now in ("05T12:00:20", "05T13:00:20"):
        cycled(book, now, "refused", ["x" * 5000] * 50)
        stall.announce(book, config, at(now), is_tried=True)
    assert told(book) == [("poll.stalled", "2026-10-05T12:00:20Z")]
    assert data(book, 0)["last_complete_at"] is None
    assert data(book, 0)["faults"] == ["x" * 300] * 5
    cycled(book, "05T13:15:20")
    stall.announce(book, config, at("05T13:15:20"), is_tried=True)
    assert told(book)[1:] == [("poll.recovered", "2026-10-05T12:00:20Z")]


def test_a_poll_by_hand_in_between_ends_the_stall():
    book, config = Memory(), configured(15)
    cycled(book, "05T12:00:20")
    stall.announce(book, config, at("05T14:00"), is_tried=False)
    cycled(book, "05T14:05:00")  # `metering poll`, which announces nothing
    stall.announce(book, config, at("05T14:15"), is_tried=False)
    assert [kind for kind, _ in told(book)] == ["poll.stalled", "poll.recovered"]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    here = world(start=datetime(2026, 10, 30, 6, 1, tzinfo=UTC), projects=4, exact_hours=True)
    with here.machine(tmp_path) as found:
        assert found.poll().outcome == "complete"
        yield found


def events(machine: Machine) -> list[str]:
    rows = machine.books.store.connection.execute("select event_type from alert order by seq").fetchall()
    return [kind for (kind,) in rows if kind.startswith("poll.")]


def test_a_tick_that_succeeds_after_a_long_silence_has_nothing_to_tell(machine: Machine):
    machine.world.time.move_to(datetime(2026, 10, 30, 9, 1, tzinfo=UTC))
    assert machine.tick().report is not None
    assert events(machine) == []
    machine.tick()
    assert events(machine) == []


def test_ticks_that_fail_tell_of_it_and_the_first_that_does_not_of_the_end(machine: Machine):
    here = machine.world

    def lose(_: httpx.Request) -> None:
        raise httpx.ConnectError("down")

    here.wire.before = lose
    seen = []
    for minute in (15, 30, 45, 60, 75):
        moment = datetime(2026, 10, 30, 6 + minute // 60, minute % 60, tzinfo=UTC)
        here.time.move_to(max(moment, here.time.server()))
        machine.tick()
        seen.append(len(events(machine)))
    assert seen == [0, 0, 0, 1, 1]
    here.wire.before = lambda request: None
    here.time.move_to(max(datetime(2026, 10, 30, 7, 30, tzinfo=UTC), here.time.server()))
    machine.tick()
    assert events(machine) == ["poll.stalled", "poll.recovered"]
