"""`metering serve`: the command alone, its links, what it refuses, and an alert that is sent again from its page."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

import httpx
import pytest

from metering.cli.author import own_user
from metering.config import write_starter
from tests.support import web_world

TOKEN = "a-token-of-more-than-twenty-characters"
NOW = "2026-10-05T12:00:00Z"
ENVIRONMENT = {
    "HOOK": web_world.HOOK_SECRET,
    "KEY": "k",
    "LINKS": web_world.LINK_SECRET,
    "TOKEN": TOKEN,
    "METERING_NOW": NOW,
}
LINKS = '\n[dashboard]\nlink_secret_env = "LINKS"\npublic_url = "https://billing.example.com"\ntoken_env = "TOKEN"\n'

NOBODY = 65_534

get, post = partial(httpx.get, timeout=60), partial(httpx.post, timeout=60)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """The directory of a configuration with a store."""
    directory = tmp_path_factory.mktemp("world")
    web_world.lived_in(directory, LINKS)
    return directory


def command(directory: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "metering", "serve", "--config", str(directory / "config.toml"), *arguments]


def run(directory: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **ENVIRONMENT, **more}
    return subprocess.run(
        command(directory, *arguments), env=environ, capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def serving(directory: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    environ = {**os.environ, **ENVIRONMENT}
    with subprocess.Popen(
        command(directory, "--listen", "127.0.0.1:0", *arguments), env=environ, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said = next(line for line in process.stderr if "serving" in line)
            yield re.search(r"http://[^/]+", said)[0], process
        finally:
            process.kill()


def test_it_serves_until_it_is_told_to_end(world):
    with serving(world) as (base, process):
        page = get(f"{base}/customers?month=2026-09&q=cust20", headers={"authorization": f"Bearer {TOKEN}"})
        assert "Customer 20" in page.text
        assert get(f"{base}/healthz").status_code in {200, 503}
        assert get(f"{base}/metrics").text.startswith("# HELP")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_link_of_the_command_opens_the_customers_page(world):
    made = run(world, "--link", "cust20", "--days", "3")
    assert (made.returncode, made.stdout[:36]) == (0, "https://billing.example.com/usage/Wy")
    with serving(world) as (base, _):
        path = made.stdout.strip().removeprefix("https://billing.example.com")
        assert "Customer 20" in get(base + path, headers={"host": "billing.example.com"}).text
        assert get(base + path, headers={"host": "evil.example.com"}).status_code == 421


def test_what_it_refuses_is_told_with_the_way_out(world, tmp_path):
    stranger = run(world, "--link", "nobody")
    assert (stranger.returncode, "there is no customer 'nobody'" in stranger.stderr) == (1, True)
    assert run(world, "--link", "cust20", "--days", "401").returncode == 2
    assert "shorter than 20 characters" in run(world, "--link", "cust20", LINKS="short").stderr
    nonsense = run(world, "--listen", "somewhere")
    assert (nonsense.returncode, "--listen" in nonsense.stderr) == (2, True)
    web_world.configured(tmp_path)
    others = run(tmp_path, "--listen", "0.0.0.0:0")
    assert (others.returncode, "dashboard.token_env: is missing" in others.stderr) == (4, True)
    unsigned = run(tmp_path, "--link", "cust20")
    assert (unsigned.returncode, "dashboard.link_secret_env: is missing" in unsigned.stderr) == (4, True)


@pytest.mark.parametrize("name", ["run", "serve"])
def test_an_address_that_others_reach_is_refused_alike_where_nobody_is_asked(tmp_path, name):
    web_world.configured(tmp_path, '\n[service]\nlisten = "0.0.0.0:0"\nallow_remote = true\n')
    asked = [sys.executable, "-m", "metering", name, "--config", str(tmp_path / "config.toml")]
    environ = {**os.environ, **ENVIRONMENT}
    ran = subprocess.run(asked, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, "dashboard.token_env: is missing: others could look" in ran.stderr) == (4, True)
    assert not (tmp_path / "var").exists()


def test_an_address_that_others_reach_is_served_with_a_token(tmp_path):
    web_world.lived_in(tmp_path, '\n[dashboard]\ntoken_env = "TOKEN"\n')
    with serving(tmp_path, "--listen", "0.0.0.0:0") as (base, _):
        local = base.replace("0.0.0.0", "127.0.0.1")
        assert get(f"{local}/quotas").status_code == 401
        assert get(f"{local}/quotas", auth=("anna", TOKEN)).status_code == 200


def pass_on(listening: socket.socket, port: int, user: int) -> None:
    """A proxy that adds no header: bytes in, bytes out; as that user."""
    "".encode("idna")  # another user could not read the module that addresses need
    os.setuid(user)
    while True:
        here, _ = listening.accept()
        there = socket.create_connection(("127.0.0.1", port))
        for ends in ((here, there), (there, here)):
            Thread(target=pump, args=ends, daemon=True).start()


def pump(one: socket.socket, other: socket.socket) -> None:
    while part := one.recv(65_536):
        other.sendall(part)
    other.shutdown(socket.SHUT_WR)


@contextmanager
def forwarded(base: str, user: int) -> Iterator[str]:
    """Where a bare proxy before the server listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # A fork, since another user could not read this interpreter.
        proxy = get_context("fork").Process(target=pass_on, args=(listening, int(base.rpartition(":")[2]), user))
        proxy.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            proxy.kill()
            proxy.join()


def test_a_bare_proxy_is_asked_for_the_token_that_init_made(tmp_path):
    write_starter(tmp_path / "billing")
    token = (tmp_path / "billing" / "dashboard-token").read_text().strip()
    with serving(tmp_path / "billing") as (base, _), forwarded(base, os.geteuid()) as before:
        for address in (base, before):
            assert get(f"{address}/customers").status_code == 401
            assert get(f"{address}/customers", auth=("anna", token)).status_code == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts a process of another user")
def test_a_bare_proxy_of_another_user_is_no_local_person(tmp_path):
    web_world.configured(tmp_path)
    with serving(tmp_path) as (base, _), forwarded(base, NOBODY) as before:
        assert get(f"{base}/operations").status_code == 200
        assert (get(f"{before}/operations").status_code, get(f"{before}/livez").status_code) == (403, 200)
        assert get(f"{before}/api/status").status_code == 403


def test_what_speaks_http_1_0_is_no_browser_and_no_curl(tmp_path):
    web_world.configured(tmp_path)
    with (
        serving(tmp_path) as (base, _),
        socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2])), timeout=60) as client,
    ):
        client.sendall(b"GET /operations HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 403 ")


class Hook(BaseHTTPRequestHandler):
    """A receiver that keeps the ids of what it was sent."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.ids.append(self.headers["webhook-id"])  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_the_button_sends_an_alert_again_and_the_page_shows_the_attempt(tmp_path):
    hook = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    hook.ids = []  # type: ignore[attr-defined]
    Thread(target=hook.serve_forever, daemon=True).start()
    web_world.lived_in(tmp_path)
    path = tmp_path / "config.toml"
    path.write_text(path.read_text().replace("127.0.0.1:9/", f"127.0.0.1:{hook.server_port}/"))
    try:
        with serving(tmp_path) as (base, _):
            alert = re.search(r"/alert\?id=(alert_[0-9a-f]+)", get(f"{base}/alerts?type=quota.exceeded").text)[1]
            page = get(f"{base}/alert?id={alert}")
            token = re.search(r'name="token" value="([0-9a-f]+)"', page.text)[1]
            form = {"id": alert, "token": token}
            assert (
                post(f"{base}/alerts/resend", data=form, headers={"origin": "https://evil.example"}).status_code == 403
            )
            assert hook.ids == []  # type: ignore[attr-defined]
            answer = post(
                f"{base}/alerts/resend", data=form, headers={"origin": base}, follow_redirects=True, timeout=60
            )
            assert alert in hook.ids  # type: ignore[attr-defined]
            assert "Due again at" in answer.text
            assert f"http://127.0.0.1:{hook.server_port}/" in answer.text
            assert ">delivered<" in answer.text
            deed = get(f"{base}/api/history").json()["history"][0]
            assert deed["what"].startswith(f"sent alert {alert} again to ")
            assert deed["from"].startswith("web from 127.0.0.1 on ") and deed["who"] == own_user()
            assert f"sent alert {alert} again" in get(f"{base}/history?kind=resend").text
    finally:
        hook.shutdown()
        hook.server_close()
