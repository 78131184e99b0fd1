"""No client costs the service more than its place: connections, heads, bodies, answers, threads and log lines."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from metering.config import read
from metering.web import door, limits, probes
from metering.web import watch as watching
from metering.web.app import application
from metering.web.desk import Desk
from metering.web.door import Door
from metering.web.guard import Access
from metering.web.limits import Patience
from metering.web.server import Listener
from metering.web.views import Views
from metering.web.watch import MOST_PER_MINUTE, Watch
from tests.service.test_service import serving as serving_neon

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
HALF = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx-half: "
WHOLE = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"
PATIENT, UNHURRIED = Patience(), Patience(head=3600)


class Lines(list):
    """A log that is kept."""

    def __call__(self, level: int, event: str, **told: object) -> None:
        self.append({"event": event, **told})

    def of(self, event: str) -> list[dict[str, object]]:
        return [line for line in self if line["event"] == event]


@contextmanager
def listening(
    more: Callable[[Request], Response] = lambda _: PlainTextResponse("more"), patience: Patience = PATIENT
) -> Iterator[tuple[str, int, Lines, Watch]]:
    """(host, port, log, watch) of a port with a probe and `/more`."""
    lines = Lines()
    watch = Watch(lines, clock=lambda: 0)  # one minute for all lines
    routes = [Route("/livez", lambda _: PlainTextResponse("alive")), Route("/more", more, methods=["GET", "POST"])]
    with Listener(Door(Starlette(routes=routes), watch, probes=["/livez"]), "127.0.0.1:0", watch, patience) as found:
        host, _, port = found.address.rpartition(":")
        yield host, int(port), lines, watch


def told(port: int, request: bytes) -> bytes:
    """Everything that is answered until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65_536), b""))


# -- connections


def test_a_thousand_halves_of_a_request_keep_nobody_from_asking():
    with listening(patience=UNHURRIED) as (host, port, lines, watch), ExitStack() as held:
        for _ in range(limits.most_connections() + 200):
            client = held.enter_context(socket.create_connection((host, port), timeout=60))
            client.sendall(HALF)
        assert told(port, WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert len(lines.of("refused")) == MOST_PER_MINUTE
        assert b'metering_port_refusals_total{reason="too many connections"}' in watch.exposition()


def test_the_client_with_the_most_connections_loses_one_and_another_keeps_its_half():
    with listening(patience=UNHURRIED) as (host, port, _, _), ExitStack() as held:
        other = held.enter_context(socket.create_connection((host, port), timeout=60, source_address=("127.0.0.2", 0)))
        other.sendall(HALF)
        for _ in range(limits.most_connections() + 50):
            client = held.enter_context(socket.create_connection((host, port), timeout=60))
            client.sendall(HALF)
        other.sendall(b"whole\r\nconnection: close\r\n\r\n")
        assert other.recv(100).startswith(b"HTTP/1.1 200")


def test_the_port_leaves_three_quarters_of_the_file_handles_to_polling():
    code = "from metering.web.limits import most_connections as most; print(most())"
    found = {}
    for handles in (200, 1024):
        command = ["sh", "-c", f'ulimit -n {handles}; exec "$@"', "sh", sys.executable, "-c", code]
        found[handles] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found == {200: 50, 1024: 256}


# -- time


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (HALF, "head too slow"),
        (WHOLE + HALF, "head too slow"),
        (b"POST /more HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf", "body too slow"),
    ],
)
def test_a_request_that_does_not_become_whole_is_closed(sent, why):
    async def form(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    with listening(form, Patience(head=1, body=1)) as (_, port, lines, _):
        told(port, sent)
        assert [line["reason"] for line in lines.of("refused")] == [why]


def test_a_connection_that_says_nothing_is_closed_without_a_word():
    with listening(patience=Patience(head=1)) as (_, port, lines, _):
        assert told(port, b"") == b""
        assert lines == []


def test_a_client_that_does_not_read_its_answer_is_closed():
    is_closed = threading.Event()

    class Closed(Lines):
        def __call__(self, level: int, event: str, **told: object) -> None:
            super().__call__(level, event, **told)
            is_closed.set()

    lines = Closed()
    watch = Watch(lines)
    routes = [Route("/more", lambda _: Response(bytes(50_000_000)))]
    with (
        Listener(Door(Starlette(routes=routes), watch), "127.0.0.1:0", watch, Patience(reading=1)) as found,
        closing(socket.create_connection(("127.0.0.1", int(found.address.rpartition(":")[2])), timeout=60)) as client,
    ):
        client.sendall(b"GET /more HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert is_closed.wait(60)
        assert [line["reason"] for line in lines] == ["answer not read"]


# -- what is asked


TWO_LENGTHS = b"POST /more HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNKED = b"POST /more HTTP/%s\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("request_", [TWO_LENGTHS, CHUNKED % b"1.0"])
def test_a_request_with_two_lengths_is_refused_and_nothing_behind_it_is_answered(request_):
    with listening() as (_, port, lines, _):
        answer = told(port, request_ + b"0\r\n\r\n" + WHOLE)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"alive" not in answer
        assert [line["reason"] for line in lines.of("refused")] == ["two lengths"]


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /more HTTP/1.1\r\nhost: localhost\r\ncontent-length: 65537\r\n\r\n",
        CHUNKED % b"1.1" + b"10001\r\n" + bytes(65_537) + b"\r\n0\r\n\r\n",
    ],
)
def test_a_body_that_is_too_long_is_refused_whether_it_says_so_or_not(request_):
    async def form(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    with listening(form) as (_, port, lines, _):
        answer = told(port, request_)
        assert (answer.startswith(b"HTTP/1.1 413 "), b"The body is too long." in answer) == (True, True)
        assert [line["reason"] for line in lines.of("refused")] == ["body too long"]


def test_a_chunked_body_of_the_longest_length_is_taken():
    async def form(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())), headers={"connection": "close"})

    with listening(form) as (_, port, _, _):
        body = b"10000\r\n" + bytes(65_536) + b"\r\n0\r\n\r\n"
        assert told(port, CHUNKED % b"1.1" + body).endswith(b"65536")


@pytest.mark.parametrize("head", [b"x: " + b"y" * 40_000, b"\r\n".join(b"x%d: y" % i for i in range(9000))])
def test_a_head_that_is_too_long_is_refused(head):
    with listening() as (_, port, _, _):
        assert told(port, b"GET /livez HTTP/1.1\r\nhost: localhost\r\n" + head).startswith(b"HTTP/1.1 4")


def test_so_many_are_answered_at_a_time_and_the_next_is_told_to_come_again_but_probes_are_not():
    may_end = asyncio.Event()

    async def slow(_: Request) -> Response:
        await may_end.wait()
        return PlainTextResponse("done")

    routes = [Route("/slow", slow), Route("/livez", lambda _: PlainTextResponse("alive"))]
    served = Door(Starlette(routes=routes), Watch(), probes=["/livez"])

    async def many() -> None:
        transport = httpx.ASGITransport(served)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=None) as client:
            first = [asyncio.create_task(client.get("/slow")) for _ in range(door.MOST_ANSWERED)]
            await asyncio.sleep(0)
            refused = await client.get("/slow")
            while refused.status_code != 503:  # until all the others have begun
                refused = await client.get("/slow")
            assert refused.headers["retry-after"] == "5"
            assert (await client.get("/livez")).text == "alive"
            may_end.set()
            assert {answer.text for answer in await asyncio.gather(*first)} == {"done"}
            assert (await client.get("/slow")).text == "done"

    asyncio.run(many())


# -- probes beside pages that wait


@pytest.fixture
def configured(tmp_path):
    (tmp_path / "config.toml").write_text('[[organizations]]\nid = "org-a"\napi_key_env = "KEY"\n')
    return read(tmp_path / "config.toml", environ={})


def test_probes_and_metrics_answer_while_every_thread_waits_for_figures(configured):
    may_end = threading.Event()

    def waiting():
        may_end.wait(60)
        return configured

    desk = Desk(Views(waiting, lambda: NOW), Access(), clock=lambda: NOW)
    served = application(desk, probes.routes(lambda: configured, lambda: NOW))
    with Listener(served, "127.0.0.1:0") as found, ExitStack() as held:
        host, _, port = found.address.rpartition(":")
        for _ in range(door.MOST_ANSWERED):
            client = held.enter_context(socket.create_connection((host, int(port)), timeout=60))
            client.sendall(b"GET /operations HTTP/1.1\r\nhost: localhost\r\n\r\n")
        try:
            for path in ("/livez", "/readyz", "/healthz"):
                assert httpx.get(f"http://{found.address}{path}", timeout=60).status_code == 200
        finally:
            may_end.set()


# -- what fails is told


@pytest.mark.parametrize(
    ("path", "shown"), [("/operations?q=x", "Something went wrong"), ("/api/status", "went wrong")]
)
def test_an_exception_of_a_page_or_an_api_answer_is_logged_with_its_address_and_counted(configured, path, shown):
    lines = Lines()
    asked = []

    def config_of():
        asked.append(1)
        if len(asked) == 1:
            raise ZeroDivisionError("nobody thought of this")
        return configured

    watch = Watch(lines)
    desk = Desk(Views(config_of, lambda: NOW, watch), Access(is_own=lambda _: True), clock=lambda: NOW)
    transport = httpx.ASGITransport(application(desk), client=("127.0.0.1", 1))

    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    found = asyncio.run(answer())
    assert (found.status_code, shown in found.text) == (500, True)
    assert "nobody thought of this" not in found.text
    assert found.headers["x-frame-options"] == "DENY"
    (line,) = lines.of("page failed")
    assert (line["address"], line["kind"]) == (f"GET {path}", "ZeroDivisionError")
    assert "nobody thought of this" in line["traceback"]
    page = path.partition("?")[0]
    assert f'metering_page_failures_total{{page="{page}"}} 1.0'.encode() in watch.exposition()


def test_the_key_of_a_customers_link_is_not_logged(configured):
    def broken(_: Request) -> Response:
        raise ZeroDivisionError

    lines = Lines()
    served = Door(Starlette(routes=[Route("/usage/{token}", broken)]), Watch(lines))
    transport = httpx.ASGITransport(served)

    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/usage/a-key-of-somebody?month=2026-09")

    assert asyncio.run(answer()).status_code == 500
    assert lines.of("page failed")[0]["address"] == "GET /usage/{token}?month=2026-09"
    assert "a-key-of-somebody" not in json.dumps({**lines[0], "traceback": ""})


def test_an_address_is_logged_as_it_was_sent_and_writes_nothing_to_a_terminal():
    scope = {"method": "GET", "path": "/\x1b[31m\nred", "query_string": b"q=%1b" + b"y" * 1000}
    told = watching.address_of(scope)
    assert told.startswith("GET /%1B%5B31m%0Ared?q=%1by")
    assert len(told) == watching.MOST_CHARACTERS


def test_ten_lines_of_a_kind_are_logged_in_a_minute_and_the_others_told_as_a_number():
    lines, minute = Lines(), [0]
    watch = Watch(lines, clock=lambda: minute[0] * 60_000_000_000)
    for _ in range(1000):
        watch.refused("head too slow", "203.0.113.9")
    watch.refused("two lengths", "203.0.113.9")
    assert len(lines) == MOST_PER_MINUTE + 1
    watch.flush()
    assert len(lines) == MOST_PER_MINUTE + 1
    minute[0] = 1
    watch.flush()
    assert lines[-1] == {"event": "more of the same", "kind": "head too slow", "not_logged": 990}
    watch.flush()
    assert len(lines) == MOST_PER_MINUTE + 2
    for _ in range(MOST_PER_MINUTE + 5):
        watch.refused("two lengths", "203.0.113.9")
    watch.flush(is_end=True)
    assert lines[-1] == {"event": "more of the same", "kind": "two lengths", "not_logged": 5}
    assert b'metering_port_refusals_total{reason="head too slow"} 1000.0' in watch.exposition()


# -- the whole service


def ready(address: str) -> str:
    """What /readyz says once it has read the snapshot."""
    status = "reading"
    while status == "reading":
        status = httpx.get(f"http://{address}/readyz", timeout=60).json()["status"]
    return status


def test_half_open_connections_stop_neither_polling_nor_probes_nor_pages(tmp_path: Path):
    (tmp_path / "config.toml").write_text("")
    with serving_neon() as neon, ExitStack() as held:
        (tmp_path / "config.toml").write_text(
            f'[neon]\nbase_url = "http://127.0.0.1:{neon.server_port}"\n[service]\nlisten = "127.0.0.1:0"\n'
            '[[organizations]]\nid = "org-a"\napi_key_env = "KEY"\n'
        )
        command = [sys.executable, "-m", "metering", "run", "--config", str(tmp_path / "config.toml")]
        environ = {**os.environ, "KEY": "napi_x"}
        process = held.enter_context(
            subprocess.Popen(
                ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh", *command], env=environ, stderr=subprocess.PIPE, text=True
            )
        )
        try:
            assert process.stderr is not None
            address = next(line["address"] for line in map(json.loads, process.stderr) if line["event"] == "listening")
            assert neon.asked.wait(60)
            host, _, port = address.rpartition(":")
            for _ in range(300):
                client = held.enter_context(socket.create_connection((host, int(port)), timeout=60))
                client.sendall(HALF)
            assert httpx.get(f"http://{address}/livez", timeout=60).status_code == 200
            neon.may_answer.set()
            lines = []
            for line in map(json.loads, process.stderr):
                lines.append(line)
                if line["event"] == "tick":
                    break
            assert lines[-1]["outcome"] == "complete"
            assert ready(address) == "ok"
            assert httpx.get(f"http://{address}/operations", timeout=60).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            # A new minute may begin meanwhile.
            assert len([line for line in lines if line["event"] == "refused"]) <= 2 * MOST_PER_MINUTE
        finally:
            process.kill()
