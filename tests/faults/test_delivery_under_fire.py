"""Webhooks under fire: receivers that are down, late, gone or somewhere else, and a fleet that crosses at once."""

import asyncio
import base64
import ipaddress
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from metering.alerts import address_guard, delivering, queues, recording, send
from metering.alerts.targets import Attempt, Endpoint, Message
from metering.config import Config, Webhook
from metering.core.secrets import Secret
from metering.ledger.alert_log import attempts
from metering.ledger.ledger import Ledger, open_ledger
from metering.store import journal
from tests.alerts.test_alert import row
from tests.faults.server import answer, resets, sends, serving

NOW = datetime(2026, 10, 16, 12, tzinfo=UTC)
SECRET = Secret("whsec_" + base64.b64encode(bytes(range(32))).decode())
PUBLIC, PRIVATE = ipaddress.ip_address("93.184.216.34"), ipaddress.ip_address("10.0.0.7")
MESSAGE = Message(event_id="alert_1", body=b"{}")
ACCEPTED = sends(answer(b"", status="204 No Content"))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "var", lambda: NOW) as found:
        yield found


def config(*urls: str) -> Config:
    hooks = tuple(Webhook(url=url, secret_env="SECRET", allow_private_network=True) for url in urls)
    return Config(path="config.toml", webhooks=hooks)


def delivered(ledger: Ledger, *urls: str, now: datetime = NOW) -> dict[str, int]:
    """What one run of delivery did."""
    secrets = dict.fromkeys(urls, SECRET)
    return dict(delivering.deliver_due(ledger, config(*urls), secrets, now, lambda: datetime.now(tz=UTC)).outcomes)


def posts(requests: list[str]) -> list[tuple[str, str]]:
    """(id, body) of each request."""
    ids = [head.lower().split("webhook-id: ")[1].split("\r\n")[0] for head in requests]
    return [(name, head.split("\r\n\r\n", 1)[1]) for name, head in zip(ids, requests, strict=True)]


# -- addresses

SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0",
    "0.0.0.0",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "localhost",
    "LOCALHOST.",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "10.0.0.1",
    "167772161",
    "0xa000001",
    "192.168.1.1",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "100.64.0.1",
    "224.0.0.1",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "１２７.0.0.1",
    "127。0。0。1",
    "①27.0.0.1",
]


@pytest.mark.parametrize("host", SPELLINGS)
def test_an_internal_address_is_spoken_to_in_no_spelling(host: str) -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(204)

    async def run() -> Attempt:
        endpoint = Endpoint(url=f"https://{host}/hook", keys=(bytes(32),))
        async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as over:
            return await send.deliver(endpoint, MESSAGE, NOW, over=over)

    assert asyncio.run(run()).outcome in ("refused", "retry"), "retry: such a name leads nowhere"
    assert asked == []


def test_a_name_is_resolved_once_for_each_attempt_and_the_address_that_was_checked_is_the_one_that_is_called() -> None:
    """DNS rebinding: public at the first question, private at the second. Nobody asks twice for one attempt."""
    questions, called = [], []

    async def rebinding(host: str, port: int) -> list[address_guard.Address]:
        questions.append(host)
        return [PUBLIC if len(questions) % 2 else PRIVATE]

    def handle(request: httpx.Request) -> httpx.Response:
        called.append(request.url.host)
        return httpx.Response(500)

    async def run() -> list[str]:
        endpoint = Endpoint(url="https://hooks.example.com/", keys=(bytes(32),))
        async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as over:
            tries = [await send.deliver(endpoint, MESSAGE, NOW, over=over, resolver=rebinding) for _ in range(4)]
        return [attempt.outcome for attempt in tries]

    assert asyncio.run(run()) == ["retry", "refused", "retry", "refused"]
    assert called == [str(PUBLIC)] * 2
    assert len(questions) == 4


# -- receivers


@pytest.mark.parametrize(
    "lost",
    [resets(b""), sends(b""), sends(b"HTTP/1.1 2"), resets(answer(b"x" * 10, length=500, status="500 No"))],
    ids=["reset", "hung up", "half a line", "a reset behind a 500"],
)
def test_what_a_receiver_took_without_our_hearing_of_it_comes_again_with_the_same_id_and_bytes(ledger, lost) -> None:
    with serving(hook=[lost, ACCEPTED]) as server:
        url = f"{server.url}/hook"
        recording.evaluate(ledger, [row()], config(url), NOW)
        assert delivered(ledger, url) == {"retry": 1}
        assert delivered(ledger, url) == {}, "not before its time"
        assert delivered(ledger, url, now=NOW + timedelta(seconds=5)) == {"delivered": 1}
        first, second = server.requests
    assert posts([first]) == posts([second])


@pytest.mark.slow
def test_a_receiver_that_answers_after_our_deadline_gets_the_same_again(ledger) -> None:
    def late(connection: socket.socket) -> None:
        time.sleep(send.DEADLINE_SECONDS + 1)
        ACCEPTED(connection)

    with serving(hook=[late, ACCEPTED]) as server:
        url = f"{server.url}/hook"
        recording.evaluate(ledger, [row()], config(url), NOW)
        assert delivered(ledger, url) == {"retry": 1}
        assert attempts(ledger.store)[0]["error"] == "no answer within 20 s"
        assert delivered(ledger, url, now=NOW + timedelta(seconds=5)) == {"delivered": 1}
        first, second = server.requests
    assert posts([first]) == posts([second])


def test_where_nobody_listens_it_is_tried_again(ledger) -> None:
    with serving() as server:
        url = f"{server.url}/hook"
    recording.evaluate(ledger, [row()], config(url), NOW)
    assert delivered(ledger, url) == {"retry": 1}
    assert attempts(ledger.store)[0]["error"] == "no answer: ConnectError"


def test_an_answer_410_ends_the_queue_of_that_endpoint_and_of_no_other(ledger) -> None:
    with serving(gone=[sends(answer(b"", status="410 Gone"))], hook=[ACCEPTED]) as server:
        urls = f"{server.url}/gone", f"{server.url}/hook"
        recording.evaluate(ledger, [row(project_id=f"p{number}") for number in range(3)], config(*urls), NOW)
        assert delivered(ledger, *urls) == {"delivered": 3, "disabled": 1}
        assert delivered(ledger, *urls, now=NOW + timedelta(days=1)) == {}


def test_a_redirect_to_an_internal_address_leads_nowhere(ledger) -> None:
    with serving(secret=[sends(answer())]) as inside:
        away = sends(answer(b"", f"Location: {inside.url}/secret", status="307 Temporary Redirect"))
        with serving(hook=[away]) as server:
            url = f"{server.url}/hook"
            recording.evaluate(ledger, [row()], config(url), NOW)
            assert delivered(ledger, url) == {"retry": 1}
        assert inside.requests == []


# -- many at once


class Crowd:
    """A receiver that counts how many deliveries it has in hand, in all and for each path."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.lock = threading.Lock()
        self.now, self.most = Counter[str](), Counter[str]()
        self.taken = Counter[str]()
        """How often each id came."""

    def take(self, path: str, name: str) -> None:
        with self.lock:
            self.taken[name] += 1
            for key in (path, "all"):
                self.now[key] += 1
                self.most[key] = max(self.most[key], self.now[key])
        time.sleep(self.seconds)
        with self.lock:
            self.now.subtract((path, "all"))


@contextmanager
def taking(crowd: Crowd) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            crowd.take(self.path, self.headers["webhook-id"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_many_endpoints_are_served_side_by_side_up_to_a_bound_and_each_in_order_one_by_one(ledger) -> None:
    crowd = Crowd(0.05)
    with taking(crowd) as base:
        urls = [f"{base}/{number}" for number in range(queues.AT_ONCE + 8)]
        recording.evaluate(ledger, [row(), row(project_id="other")], config(*urls), NOW)
        assert delivered(ledger, *urls) == {"delivered": 2 * len(urls)}
    assert 1 < crowd.most["all"] <= queues.AT_ONCE
    assert {crowd.most[f"/{number}"] for number in range(len(urls))} == {1}


def cross_at_once(ledger: Ledger, fleet: int, recorded: Callable[[], None]) -> None:
    """A fleet crosses; two endpoints, one of them dead; delivered to the end, then once more."""
    crowd = Crowd(0)
    with taking(crowd) as base, serving() as dead:
        down = f"{dead.url}/dead"
    with taking(crowd) as base:
        urls = f"{base}/hook", down
        rows = [row(project_id=f"p{number:05d}") for number in range(fleet)]
        assert len(recording.evaluate(ledger, rows, config(*urls), NOW)) == fleet
        assert recording.evaluate(ledger, rows, config(*urls), NOW) == []
        recorded()
        runs = -(-fleet // delivering.MOST_PER_ENDPOINT)
        outcomes = [delivered(ledger, *urls) for _ in range(runs)]
        assert sum(done["delivered"] for done in outcomes) == fleet
        assert all(done["retry"] == queues.FAILURES_THAT_PAUSE for done in outcomes)
        assert delivered(ledger, *urls).get("delivered", 0) == 0
    assert len(crowd.taken) == fleet
    assert set(crowd.taken.values()) == {1}
    assert crowd.most["/hook"] == 1


def test_a_fleet_that_crosses_at_once_is_told_one_by_one_and_a_dead_endpoint_costs_five_tries(ledger) -> None:
    cross_at_once(ledger, 300, lambda: None)


@pytest.mark.slow
def test_thirty_thousand_crossings_at_once_are_recorded_and_told_once_each(ledger) -> None:
    def recorded() -> None:
        kinds = [record.kind for record in journal.read(ledger.journal.directory)]
        assert kinds.count("alert") == 30_000 // recording.ALERTS_PER_RECORD

    cross_at_once(ledger, 30_000, recorded)
