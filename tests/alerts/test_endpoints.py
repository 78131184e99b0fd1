"""A recipient is its name and its address: what one address answered says nothing of the next (real sockets)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from metering.config import read
from metering.core.period import parse_time
from metering.store.database import open_writer
from metering.web.app import application
from metering.web.desk import Desk as Dashboard
from metering.web.guard import Access
from metering.web.server import Listener
from metering.web.views import Views
from tests.support.inbox import Inbox, receiving
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk, Ran

SECRET = "whsec_YSBzZWNyZXQgb2YgdHdlbnR5LWZvdXIgYg=="
PERIOD = {"consumption_period_start": "2026-10-01T00:00:00Z", "consumption_period_end": "2026-11-01T00:00:00Z"}
CHANNEL = '[[channels]]\nname = "ops"\nkind = "slack"\nsecret_env = "SLACK"\nallow_private_network = true\n'


@pytest.fixture
def inboxes() -> Iterator[list[Inbox]]:
    """Old and new address of the channel, and the webhook's receiver."""
    with receiving() as old, receiving() as new, receiving() as hook:
        yield [old, new, hook]


@pytest.fixture
def desk(tmp_path: Path, inboxes: list[Inbox]) -> Iterator[Desk]:
    """A channel and a webhook, and a project at 80 % of a quota; nothing was told yet."""
    old, _, hook = inboxes
    webhook = f'[[webhooks]]\nurl = "{hook.url}?token=s3cret"\nsecret_env = "HOOK"\nallow_private_network = true\n'
    with served(PlainNeon()) as neon:
        desk = Desk(
            directory=tmp_path, neon=neon, now="2026-10-16T12:00:00Z", default_plan="pro", more=CHANNEL + webhook
        )
        desk.environment |= {"HOOK": SECRET, "SLACK": old.url}
        neon.fleet("org-a").project("calm-dawn-1", settings={"quota": {"written_data_bytes": 1000}})
        neon.counters["calm-dawn-1"] = {**PERIOD, "written_data_bytes": 800}
        yield desk


def later(desk: Desk, hours: int, used: int) -> Ran:
    """The next tick, after the counter moved on."""
    desk.now = f"2026-10-{16 + (12 + hours) // 24:02d}T{(12 + hours) % 24:02d}:00:00Z"
    desk.neon.counters["calm-dawn-1"]["written_data_bytes"] = used
    ran = desk.run("tick")
    assert ran.code == 0, ran
    return ran


def texts(inbox: Inbox) -> list[str]:
    return [body.decode() for _, body in inbox.posts]


def states(desk: Desk, endpoint: str) -> list[tuple[str, str]]:
    found = desk.good("alerts", "list", "--format", "json")["alerts"]
    return [(row["type"], one["state"]) for row in found for one in row["deliveries"] if one["endpoint"] == endpoint]


def test_a_new_url_in_the_secret_of_a_channel_that_was_gone_gets_the_next_alert_and_hears_of_the_old_one(
    desk: Desk, inboxes: list[Inbox]
):
    old, new, hook = inboxes
    old.status = 410
    desk.good("tick")
    assert [kind for _, kind, _ in hook.events()] == ["quota.threshold_reached", "delivery.failing"]
    assert "slack:ops is off: it answered that it is gone (410)." in texts(hook)[1]
    later(desk, 1, 960)
    assert (len(old.posts), states(desk, "slack:ops")[-1]) == (1, ("quota.threshold_reached", "disabled"))
    desk.environment["SLACK"] = new.url
    ran = later(desk, 2, 1000)
    assert "slack:ops has a new address and is told again; it was off since 2026-10-16T12:00:00Z" in ran.err
    assert len(old.posts) == 1
    assert len(new.posts) == 2
    assert any("is off" in text for text in texts(new))
    assert any("has used all of" in text for text in texts(new))
    assert desk.good("status")["endpoints_failing"] == []
    assert "slack:ops" not in later(desk, 3, 1000).err  # told once


def test_the_same_address_stays_off_and_everybody_who_looks_is_told(desk: Desk, inboxes: list[Inbox]):
    old, _, hook = inboxes
    old.status = 410
    desk.good("tick")
    later(desk, 1, 960)
    later(desk, 2, 1000)
    assert len(old.posts) == 1
    assert [kind for _, kind, _ in hook.events()].count("delivery.failing") == 1
    (row,) = desk.good("status")["endpoints_failing"]
    assert (row["endpoint"], row["state"], row["since"]) == ("slack:ops", "disabled", "2026-10-16T12:00:00Z")
    assert (row["error"], row["undelivered"]) == ("the endpoint is gone (410)", "4")
    shown = desk.ran("metrics").out
    assert 'metering_endpoint_failing{endpoint="slack:ops"} 1.0' in shown
    assert "s3cret" not in shown
    checked = desk.run("check", "--format", "json").json
    detail = "disabled since 2026-10-16T12:00:00Z: the endpoint is gone (410); 4 not delivered"
    assert f"endpoint slack:ops: {detail}" in checked["faults"]


def test_the_dashboard_names_on_its_first_page_where_nothing_arrives(desk: Desk, inboxes: list[Inbox]):
    inboxes[0].status = 410
    desk.good("tick")
    config, now = read(desk.write(), environ=desk.environment, card_faults=lambda _: []), parse_time(str(desk.now))
    dashboard = Dashboard(Views(lambda: config, lambda: now), Access(), clock=lambda: now)
    with Listener(application(dashboard), "127.0.0.1:0") as server:
        first, operations = (httpx.get(f"http://{server.address}{path}", timeout=60) for path in ("/", "/operations"))
    assert (first.status_code, operations.status_code) == (200, 200)
    assert "<strong>Alerts do not arrive</strong> at 1 endpoint: <bdi>slack:ops</bdi>" in first.text
    assert "Failing endpoints" in operations.text
    assert "the endpoint is gone (410)" in operations.text


def test_enable_tells_an_endpoint_again_at_its_old_address(desk: Desk, inboxes: list[Inbox]):
    old, _, _ = inboxes
    old.status = 410
    desk.good("tick")
    old.status = 200
    ran = desk.run("alerts", "enable", "ops")
    assert (ran.code, ran.out) == (0, "slack:ops is told again; 1 messages were delivered\n")
    later(desk, 1, 1000)
    assert len(old.posts) == 3
    assert desk.good("status")["endpoints_failing"] == []


def test_what_waits_for_an_endpoint_that_is_configured_no_more_is_abandoned(desk: Desk, inboxes: list[Inbox]):
    _, _, hook = inboxes
    hook.status = 500
    desk.good("tick")
    desk.more = CHANNEL
    ran = later(desk, 1, 800)
    assert "/hook is not configured any more: 1 messages for it are abandoned" in ran.err
    assert "s3cret" not in ran.err
    assert states(desk, f"{hook.url}?token=s3cret") == [("quota.threshold_reached", "abandoned")]
    assert desk.good("status")["outbox"] == []
    assert "abandoned" not in later(desk, 2, 800).err


def test_a_new_secret_is_tried_at_once_though_the_next_attempt_was_hours_away(desk: Desk, inboxes: list[Inbox]):
    old, new, _ = inboxes
    old.status = 500
    desk.good("tick")
    for hour in (1, 2, 3):
        later(desk, hour, 800)
    tried = len(old.posts)
    desk.environment["SLACK"] = new.url
    desk.now = "2026-10-16T15:15:00Z"  # the next attempt is due at 17:00
    desk.good("tick")
    assert (len(old.posts), len(new.posts)) == (tried, 1)


def test_deliveries_that_were_given_up_are_told_once_through_the_others(desk: Desk, inboxes: list[Inbox]):
    old, _, hook = inboxes
    old.status = 500
    desk.good("tick")
    for hour in (1, 2, 5, 10, 20, 34, 54, 78, 103, 104):
        later(desk, hour, 800)
    failing = [text for text in texts(hook) if "delivery.failing" in text]
    assert len(failing) == 1
    assert "slack:ops took nothing in all attempts" in failing[0]
    assert desk.good("status")["endpoints_failing"][0]["state"] == "exhausted"
    old.status = 200
    later(desk, 105, 1000)
    assert desk.good("status")["endpoints_failing"] == []


def test_drop_ends_what_waits_for_an_endpoint_or_of_an_alert(desk: Desk, inboxes: list[Inbox]):
    old, _, hook = inboxes
    old.status = hook.status = 500
    desk.good("tick")
    alert_id = desk.good("alerts", "list", "--format", "json")["alerts"][0]["alert_id"]
    assert desk.run("alerts", "drop", "slack:ops").out == "1 messages are abandoned\n"
    assert desk.run("alerts", "drop", alert_id).out == "1 messages are abandoned\n"
    assert desk.good("status")["outbox"] == []
    ran = desk.run("alerts", "drop", "nobody")
    assert (ran.code, "'nobody' is no alert, and nothing waits for it" in ran.err) == (1, True)
    ran = desk.run("alerts", "enable", "nobody")
    assert (ran.code, "'nobody' is not configured" in ran.err) == (1, True)
    assert desk.run("alerts", "enable").code == 2


def test_all_of_it_is_journalled_without_an_address(desk: Desk, inboxes: list[Inbox]):
    old, new, _ = inboxes
    old.status = 410
    desk.good("tick")
    desk.environment["SLACK"] = new.url
    later(desk, 2, 1000)
    before = contents(desk)
    assert desk.run("rebuild").code == 0
    assert contents(desk) == before
    journal = b"".join(path.read_bytes() for path in (desk.directory / "var" / "journal").glob("*"))
    assert old.url.encode() not in journal
    assert SECRET.encode() not in journal


def contents(desk: Desk) -> list[list[tuple[Any, ...]]]:
    store = open_writer(desk.directory / "var")
    try:
        sql = ("select * from outbox order by all", "select * from endpoint order by all")
        return [store.connection.sql(text).pl().rows() for text in sql]
    finally:
        store.connection.close()
