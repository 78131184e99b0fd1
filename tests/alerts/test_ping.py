"""A dead-man's switch is told of complete ticks, and only of these; what goes wrong is noted and harms nothing."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from metering.alerts import switch
from metering.cli.collecting import is_whole
from metering.core.network import DIRECT
from metering.service.tick import Tick
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk

URL = "https://hc.example.com/ping/0f3b2c1d-secret"


def answering(status: int, **headers: str) -> tuple[httpx.MockTransport, list[httpx.Request]]:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, headers=headers)

    return httpx.MockTransport(answer), asked


@pytest.mark.parametrize(("status", "why"), [(200, ""), (204, ""), (299, ""), (300, "the answer was 300"), (199, "*")])
def test_an_answer_of_200_to_299_is_well(status, why):
    transport, asked = answering(status)
    assert switch.ping(URL, DIRECT, transport=transport) == why.replace("*", f"the answer was {status}")
    assert [(request.method, str(request.url)) for request in asked] == [("GET", URL)]


def test_a_redirect_is_not_followed():
    transport, asked = answering(302, location="https://elsewhere.example.com/")
    assert switch.ping(URL, DIRECT, transport=transport) == "the answer was 302"
    assert len(asked) == 1


@pytest.mark.parametrize(
    "url", ["http://hc.example.com/x", "ftp://x", "hc.example.com", "", "https://[::1", "https://\x00", "https://"]
)
def test_what_is_no_https_url_is_not_asked_and_not_repeated(url):
    transport, asked = answering(200)
    why = switch.ping(url, DIRECT, transport=transport)
    assert why != "" and asked == []
    assert url == "" or url not in why


def test_why_nobody_answered_does_not_tell_the_url():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"no route to {request.url}")

    assert switch.ping(URL, DIRECT, transport=httpx.MockTransport(refuse)) == "no answer: ConnectError"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with served(PlainNeon()) as neon:
        neon.fleet("org-a")
        yield Desk(directory=tmp_path, neon=neon, more='[service]\nping_url_env = "PING"\n')


def test_a_tick_whose_switch_cannot_be_told_notes_it_and_ends_well(desk):
    ran = desk.run("tick")
    assert ran.code == 0
    assert (
        ran.err
        == "metering: service.ping_url_env: nobody was told of this tick: the environment variable PING is not set\n"
    )
    ran = desk.run("tick", env={"PING": "http://127.0.0.1:1/secret"})
    assert (ran.code, ran.err) == (
        0,
        "metering: service.ping_url_env: nobody was told of this tick: it is no https URL\n",
    )


def test_an_incomplete_tick_tells_nobody(desk):
    desk.neon.fail("org-a", "inventory", 500)
    ran = desk.run("tick")
    assert ran.code == 3
    assert "ping" not in ran.err


def test_a_month_that_waits_for_a_person_does_not_stop_the_switch():
    blocked = Tick(blocked=["2026-10 is not closed: seller.name is empty"])
    assert is_whole(blocked)
    assert not is_whole(Tick(faults=["x is parked"]))


def test_a_rehearsal_tells_nobody(desk):
    desk.now = "2026-10-15T12:00:00Z"
    ran = desk.run("tick")
    assert ran.code == 0
    assert "ping" not in ran.err


@pytest.mark.parametrize(
    ("environment", "state", "detail"),
    [
        ({"PING": URL}, "ok", "usable"),
        ({"PING": "http://hc.example.com/ping/secret"}, "note", "it is no https URL"),
        ({}, "note", "the environment variable PING is not set"),
    ],
    ids=["https", "http", "missing"],
)
def test_check_looks_at_the_url_without_asking_for_it_or_showing_it(desk, environment, state, detail):
    ran = desk.run("check", "--format", "csv", env=environment)
    assert f"service,ping,{state},environment PING: {detail}\n" in ran.out
    assert "/ping/" not in ran.out + ran.err
    assert desk.good("check", env=environment)["service"]["ping"] == ("ok" if state == "ok" else detail)
