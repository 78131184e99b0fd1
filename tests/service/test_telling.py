"""Nothing waits for what it does not need: quotas and deliveries beside a slow or silent Neon (real sockets)."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from metering.config import Config
from metering.core.deadline import Deadline
from metering.core.secrets import Secret
from metering.core.stop import Stop
from metering.ledger.ledger import Ledger, open_ledger
from metering.polling.readings import CycleReport
from metering.service.telling import Telling
from tests.faults.server import serving, stays_silent
from tests.support.inbox import Inbox, receiving
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk

SECRET = "whsec_YSBzZWNyZXQgb2YgdHdlbnR5LWZvdXIgYg=="
PERIOD = {"consumption_period_start": "2026-10-01T00:00:00Z", "consumption_period_end": "2026-11-01T00:00:00Z"}
OTHER = '[[organizations]]\nid = "org-b"\napi_key_env = "NEON_API_KEY"\naccount = "other"\n'
NOON, LATER = "2026-10-16T12:00:00Z", "2026-10-16T14:00:00Z"


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with receiving() as found:
        yield found


@pytest.fixture
def desk(tmp_path: Path, inbox: Inbox) -> Iterator[Desk]:
    """A complete tick at noon told of 80 % of a quota to a receiver that was down; the counter has moved on since."""
    hook = f'[[webhooks]]\nurl = "{inbox.url}"\nsecret_env = "HOOK"\nallow_private_network = true\n'
    with served(PlainNeon()) as neon:
        desk = Desk(directory=tmp_path, neon=neon, now=NOON, default_plan="pro", more=OTHER + hook)
        desk.environment["HOOK"] = SECRET
        neon.fleet("org-a").project("calm-dawn-1", settings={"quota": {"written_data_bytes": 1000}})
        neon.fleet("org-b").project("deep-sea-2")
        counters = neon.counters["calm-dawn-1"] = {**PERIOD, "written_data_bytes": 800}
        inbox.status = 500
        desk.good("tick")
        inbox.status, desk.now = 200, LATER
        inbox.posts.clear()
        counters["written_data_bytes"] = 990
        yield desk


def told(inbox: Inbox) -> list[tuple[str, Any]]:
    return sorted((kind, percent) for _, kind, percent in inbox.events())


def test_a_long_retry_after_of_history_delays_neither_quotas_nor_deliveries_nor_another_account(
    desk: Desk, inbox: Inbox
):
    neon = desk.neon
    neon.fail("org-a", "history", 503, "history is down")
    neon.retry_after = "86400"
    neon.asked.clear()
    ran = desk.run("tick", env={"METERING_NEON__MAX_RETRIES": "6"})
    assert ran.code == 3
    assert "503 history is down: Neon asks to wait 86400 s, longer than this run may" in ran.err
    asked = [params["org_id"] for path, params in neon.asked if "consumption_history" in path]
    assert (asked.count("org-a"), asked.count("org-b") > 0) == (1, True)
    assert told(inbox) == [("poll.stalled", None), ("quota.threshold_reached", 80), ("quota.threshold_reached", 95)]


def test_a_long_retry_after_of_everything_leaves_what_is_known_to_be_judged_and_told(desk: Desk, inbox: Inbox):
    desk.good("poll")  # which judges nothing
    for endpoint in ("inventory", "recoverable", "history"):
        desk.neon.fail("org-a", endpoint, 429)
    desk.neon.fail("calm-dawn-1", "project", 429)
    desk.neon.retry_after, desk.now = "86400", "2026-10-16T16:00:00Z"
    assert desk.run("tick", env={"METERING_NEON__MAX_RETRIES": "6"}).code == 3
    assert told(inbox) == [("poll.stalled", None), ("quota.threshold_reached", 80), ("quota.threshold_reached", 95)]


def test_a_neon_that_accepts_and_never_answers_ends_no_tick(desk: Desk, inbox: Inbox):
    desk.good("poll")
    desk.now = "2026-10-16T16:00:00Z"
    with serving(projects=[stays_silent(60)]) as silent:
        env = {"METERING_NEON__BASE_URL": silent.url, "METERING_NEON__TIMEOUT_SECONDS": "1"}
        ran = desk.run("tick", env=env)
    assert ran.code == 3
    assert told(inbox) == [("poll.stalled", None), ("quota.threshold_reached", 80), ("quota.threshold_reached", 95)]


# -- beside a cycle


@pytest.fixture
def books(desk: Desk) -> Iterator[Ledger]:
    """The desk's ledger after the poll that saw 99 %, which judges nothing."""
    desk.good("poll")
    with open_ledger(desk.directory / "var", lambda: datetime(2026, 10, 16, 14, tzinfo=UTC)) as found:
        yield found


def telling(desk: Desk, inbox: Inbox, books: Ledger) -> Telling:
    hook = {"url": inbox.url, "secret_env": "HOOK", "allow_private_network": True}
    organizations = [{"id": "org-a", "api_key_env": "KEY", "default_plan": "pro"}]
    place = {"path": desk.directory / "config.toml", "store": {"directory": desk.directory / "var"}}
    config = Config.model_validate({**place, "organizations": organizations, "webhooks": [hook]})
    return Telling(
        ledger=books,
        config=config,
        secrets={inbox.url: Secret(SECRET)},
        real_time=lambda: datetime.now(UTC),
        stop=Stop(),
        until=Deadline(),
        look_seconds=0.05,
    )


def test_an_alert_is_on_the_wire_while_the_cycle_that_read_its_page_goes_on(desk: Desk, inbox: Inbox, books: Ledger):
    one = telling(desk, inbox, books)

    async def cycle() -> CycleReport:
        while len(inbox.posts) < 2:  # for ever, if nothing were told before its end
            await asyncio.sleep(0.01)
        return CycleReport(started_at=books.clock())

    asyncio.run(one.beside(cycle()))
    assert told(inbox) == [("quota.threshold_reached", 80), ("quota.threshold_reached", 95)]
    assert (one.alerts, one.delivered) == (1, 2)
    one.judge()
    one.deliver()
    assert (len(inbox.posts), one.alerts) == (2, 1)


def test_a_stop_ends_what_is_told_beside_a_cycle(desk: Desk, inbox: Inbox, books: Ledger):
    one = telling(desk, inbox, books)
    one.stop.ask()

    async def cycle() -> CycleReport:
        await asyncio.sleep(0.3)
        return CycleReport(started_at=books.clock())

    asyncio.run(one.beside(cycle()))
    assert (inbox.posts, one.alerts) == ([], 0)


def test_what_fails_beside_a_cycle_ends_it_and_says_why(desk: Desk, inbox: Inbox, books: Ledger):
    one = telling(desk, inbox, books)

    def broken() -> datetime:
        raise OSError("no time")

    one.real_time = broken

    async def cycle() -> CycleReport:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(OSError, match="no time"):
        asyncio.run(one.beside(cycle()))
