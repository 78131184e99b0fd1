from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from metering.config import ScheduleConfig
from metering.core.period import HOUR, Period, month_of, parse_time
from metering.core.plans import Price
from metering.invoicing import close
from metering.invoicing.blockers import Reason, Waivers
from metering.service import tick
from tests.simulate import MONTH, Killed, Machine, refused, world

AUGUST = month_of(datetime(2026, 8, 1, tzinfo=UTC))


def at(text: str) -> datetime:
    return parse_time(f"2026-{text}:00Z")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Polled on 30 October, with a price, so that October has invoices; August was closed by a person."""
    here = world(start=datetime(2026, 10, 30, 6, 1, tzinfo=UTC), projects=8, exact_hours=True)
    with here.machine(tmp_path) as found:
        price = Price.model_validate(
            {"meter": "storage", "valid_from": "2026-01-01T00:00:00Z", "model": "per_unit", "unit_price": "10"}
        )
        plan = found.config.plans[0].model_copy(update={"prices": (price,)})
        schedule = ScheduleConfig(first_month="2026-10")
        found.config = found.config.model_copy(update={"plans": (plan,), "schedule": schedule})
        assert found.poll().outcome == "complete"
        waivers = Waivers(incomplete="we began in October")
        close.close(found.books, found.config, AUGUST, found.books.clock(), waivers=waivers)
        yield found


def counted(machine: Machine, table: str) -> int:
    ((count,),) = machine.books.store.connection.sql(f"select count(*) from {table}").fetchall()
    return count


def test_a_second_tick_in_a_slot_asks_nothing(machine: Machine):
    here = machine.world
    here.time.move_to(at("10-30T12:15"))
    assert machine.tick().report is not None
    asked = len(here.wire.sent_at)
    here.time.move_to(at("10-30T12:28"))
    done = machine.tick()
    assert done.report is None
    assert len(here.wire.sent_at) == asked
    assert (done.faults, done.notes) == ([], [])
    here.time.move_to(at("10-30T12:30"))
    assert machine.tick().report is not None


def test_a_tick_after_an_incomplete_one_polls_again_in_the_same_slot(machine: Machine):
    here = machine.world
    here.time.move_to(at("10-30T12:15"))

    def lose(_: httpx.Request) -> None:
        raise httpx.ConnectError("down")

    here.wire.before = lose
    report = machine.tick().report
    assert report is not None and report.outcome == "partial"
    here.wire.before = lambda request: None
    report = machine.tick().report
    assert report is not None and report.outcome == "complete"


def test_the_month_is_closed_told_and_reported_once(machine: Machine):
    here, reports = machine.world, list[Period]()
    here.time.move_to(at("11-02T23:59"))
    assert machine.tick(reports.append).closed is None
    assert reports == [MONTH]  # as a draft
    reports.clear()
    here.time.move_to(at("11-03T00:00"))
    done = machine.tick(reports.append)
    assert (done.closed, done.faults, done.notes) == ("2026-10", [], [])
    assert reports == [MONTH]
    invoices = counted(machine, "invoice")
    assert invoices > 0
    assert counted(machine, "alert where event_type = 'invoice.finalized'") == invoices
    here.time.move_to(at("11-03T00:15"))
    assert machine.tick(reports.append).closed is None
    assert (counted(machine, "invoice"), counted(machine, "closing")) == (invoices, 2)
    assert reports == [MONTH]


def test_a_tick_that_died_after_closing_is_made_up_for_by_the_next(machine: Machine):
    here, reports = machine.world, list[Period]()
    here.time.move_to(at("11-03T00:00"))

    def die(_: Period) -> None:
        raise Killed

    with pytest.raises(Killed):
        machine.tick(die)
    machine.die()
    assert counted(machine, "closing") == 2
    assert counted(machine, "alert where event_type = 'invoice.finalized'") == 0
    assert machine.tick(reports.append).closed is None
    assert reports == [MONTH]
    assert counted(machine, "alert where event_type = 'invoice.finalized'") == counted(machine, "invoice")
    assert machine.tick(reports.append).faults == []
    assert reports == [MONTH]


def test_a_close_that_is_refused_says_why_and_the_rest_goes_on(machine: Machine):
    here = machine.world
    here.wire.before = lambda request: refused(403) if "consumption_history" in request.url.path else None
    here.time.move_to(at("11-03T00:00"))
    done = machine.tick()
    assert done.closed is None
    assert [text.splitlines()[0] for text in done.blocked] == ["2026-10 is not closed:"]
    assert "2026-10 lacks 86 hours" in done.blocked[0]
    assert counted(machine, "closing") == 1
    here.wire.before = lambda request: None
    here.time.move_to(at("11-03T00:15"))
    assert machine.tick().closed == "2026-10"


def test_a_blocked_month_of_many_long_names_fits_into_one_event_and_is_told_once(machine: Machine):
    reasons = [
        Reason(kind="unknown_plan", what=f"names ask for the plan {number} {'😀' * 400}", way_out="add it")
        for number in range(12)
    ]
    now = machine.books.clock()
    assert tick.announce_blocked(machine.books, machine.config, MONTH, reasons, now)
    assert not tick.announce_blocked(machine.books, machine.config, MONTH, reasons[:1], now)
    more = [*reasons, Reason(kind="seller", what="seller.name is empty", way_out="write it")]
    assert tick.announce_blocked(machine.books, machine.config, MONTH, more, now)


def test_close_day_zero_leaves_the_month_open(machine: Machine):
    machine.config = machine.config.model_copy(update={"schedule": ScheduleConfig(close_day=0, first_month="2026-10")})
    machine.world.time.move_to(at("11-05T00:00"))
    assert machine.tick().closed is None


def test_a_stopped_tick_closes_nothing(machine: Machine):
    machine.world.time.move_to(at("11-03T00:00"))
    machine.stop.ask()
    done = machine.tick()
    assert done.closed is None
    assert done.report is not None and done.report.outcome == "partial"


def test_quotas_are_alerted_once_whatever_ticks_follow(machine: Machine):
    here = machine.world
    plan = machine.config.plans[0].model_copy(update={"quota": {"compute_time_seconds": 1000}})
    machine.config = machine.config.model_copy(update={"plans": (plan,)})
    here.time.move_to(at("10-30T12:15"))
    assert machine.tick().alerts > 0
    assert machine.tick().alerts == 0
    machine.die()
    here.time.move_to(here.time.server() + timedelta(minutes=15))
    first = counted(machine, "alert where status = 'send'")
    machine.tick()
    assert counted(machine, "alert where status = 'send' and threshold_percent = 100") <= first


def test_a_backfill_reads_the_month_before_by_the_day(tmp_path: Path):
    here = world(start=at("11-20T06:01"), projects=8, exact_hours=True)
    with here.machine(tmp_path) as machine:
        report = machine.backfill(start=MONTH.start)
        assert report.outcome == "complete"
        assert machine.coverage()["complete"]
        assert machine.coverage()["grain"] == "daily"
        assert machine.usage() == here.truth(MONTH)


def test_a_backfill_beyond_sixty_days_reads_months(tmp_path: Path):
    here = world(start=at("12-28T06:01"), projects=8, exact_hours=True)
    with here.machine(tmp_path) as machine:
        assert machine.backfill(start=MONTH.start - 24 * HOUR).outcome == "complete"
        assert machine.coverage()["complete"]
        assert machine.coverage()["grain"] == "monthly"
        assert machine.usage() == here.truth(MONTH)
