"""The client behind a transport that misbehaves in every way that passes, and over TLS that is not what it says."""

import asyncio
import base64
import ipaddress
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from metering.alerts import address_guard, send
from metering.alerts.targets import Attempt, Endpoint, Message
from metering.core.errors import MeteringError, UnreachableError
from metering.core.network import Network
from metering.core.secrets import Secret
from metering.neon.client import Neon, Settings
from metering.neon.walk import walk
from tests.faults.transport import HARMLESS, KINDS, RETRY_AFTER, TOO_LONG, Faulty, answer

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = Secret("napi_canary0123456789abcdefghijklmnop")
PAGES = {"": ("a", "b"), "b": ("c", "d"), "d": ("e",)}


def app(request: httpx.Request) -> httpx.Response:
    """Three pages of a list; a full one has a cursor, its last project."""
    projects = PAGES[request.url.params.get("cursor", "")]
    more = {"pagination": {"cursor": projects[-1]}} if len(projects) == 2 else {}
    return answer(200, json.dumps({"projects": [{"id": name} for name in projects], **more}).encode())


class Run:
    """One client behind one faulty transport, on a clock that only waiting moves."""

    def __init__(self, faulty: Faulty, *, retries: int = 6) -> None:
        self.waited = 0.0
        self.faulty = faulty
        faulty.sleep = self.sleep
        config = Settings(requests_per_minute=600, max_retries=retries)
        self.neon = Neon(
            config,
            clock=lambda: NOW + timedelta(seconds=self.waited),
            transport=faulty,
            sleep=self.sleep,
            monotonic=lambda: self.waited,
        )

    async def sleep(self, seconds: float) -> None:
        self.waited += seconds

    def projects(self) -> list[str]:
        async def walked() -> list[str]:
            return [
                project["id"]
                async for page in walk(lambda asked: self.neon.get("projects", asked, KEY), "projects", {}, KEY)
                for project in sorted(json.loads(page.body)["projects"], key=lambda project: str(project["id"]))
            ]

        return asyncio.run(walked())


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_passes_changes_the_time_and_nothing_else(kind: str) -> None:
    seen = 0
    for seed in range(12):
        run = Run(Faulty(httpx.MockTransport(app), seed=seed, chance=0.5, kinds=(kind,)), retries=20)
        assert run.projects() == ["a", "b", "c", "d", "e"]
        seen += run.faulty.happened[kind]
        assert (run.faulty.requests == 3) == (kind in HARMLESS or not run.faulty.happened)
    assert seen > 10


@pytest.mark.parametrize("seed", range(40))
def test_all_faults_at_once_change_the_time_and_nothing_else(seed: int) -> None:
    run = Run(Faulty(httpx.MockTransport(app), seed=seed, chance=0.4), retries=20)
    assert run.projects() == ["a", "b", "c", "d", "e"]
    assert run.waited <= sum(run.faulty.happened.values()) * 900, "no wait is longer than a quarter of an hour"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in HARMLESS])
def test_a_fault_that_does_not_pass_ends_as_unreachable_after_so_many_tries(kind: str) -> None:
    run = Run(Faulty(httpx.MockTransport(app), seed=1, chance=1, kinds=(kind,)), retries=3)
    with pytest.raises(UnreachableError, match="failed 4 times"):
        run.projects()
    assert run.faulty.requests == 4


@pytest.mark.parametrize("text", RETRY_AFTER, ids=lambda text: text[:30])
def test_a_429_is_waited_for_between_nothing_and_a_quarter_of_an_hour_however_it_is_spelt(text: str) -> None:
    first = [answer(429, b"{}", retry_after=text)]
    run = Run(Faulty(httpx.MockTransport(lambda request: first.pop() if first else app(request)), seed=1, chance=0))
    assert run.projects() == ["a", "b", "c", "d", "e"]
    assert 0 <= run.waited <= 900 + 30


@pytest.mark.parametrize("text", TOO_LONG, ids=lambda text: text[:30])
def test_a_longer_wait_is_not_begun_and_nothing_more_is_asked(text: str) -> None:
    run = Run(Faulty(httpx.MockTransport(lambda _: answer(429, b"{}", retry_after=text)), seed=1, chance=0))
    for _ in range(2):
        with pytest.raises(UnreachableError, match=r"Neon asks to wait [0-9]+ s, longer than this run may"):
            run.projects()
    assert (run.faulty.requests, run.waited) == (1, 0)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_nothing_is_raised_but_errors_of_ours(seed: int) -> None:
    run = Run(Faulty(httpx.MockTransport(app), seed=seed, chance=0.9), retries=2)
    with suppress(MeteringError):
        assert run.projects() == ["a", "b", "c", "d", "e"]


# -- TLS


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate")
HOOK = Message(event_id="alert_1", body=b"{}")


@contextmanager
def behind_tls(directory: Path, name: str) -> Iterator[tuple[int, Path, list[str]]]:
    """Serves 204 under a self-signed certificate for `name`: (port, the certificate, what was asked)."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that does not trust us hangs up; that is what is asked for."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], certificate, asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@needs_openssl
def test_a_certificate_that_nobody_vouches_for_is_never_sent_a_key(tmp_path: Path) -> None:
    async def get(port: int) -> None:
        neon = Neon(Settings(base_url=f"https://localhost:{port}", max_retries=0), clock=lambda: NOW)
        try:
            await neon.get("projects", {}, KEY)
        finally:
            await neon.close()

    with behind_tls(tmp_path, "localhost") as (port, _, asked):
        with pytest.raises(UnreachableError, match="ConnectError"):
            asyncio.run(get(port))
        assert asked == []


@needs_openssl
@pytest.mark.parametrize(
    ("name", "is_trusted", "outcome"),
    [("hooks.test", True, "delivered"), ("hooks.test", False, "retry"), ("elsewhere.test", True, "retry")],
    ids=["the right name", "nobody vouches", "another name"],
)
def test_a_webhook_goes_only_where_the_certificate_is_that_of_the_endpoints_name(
    name: str, is_trusted: bool, outcome: str, tmp_path: Path
) -> None:
    async def resolver(host: str, port: int) -> list[address_guard.Address]:
        return [ipaddress.ip_address("127.0.0.1")]

    async def deliver(port: int, certificate: Path) -> Attempt:
        network = Network(ca_file=certificate) if is_trusted else Network()
        url = f"https://{name}:{port}/hook"
        endpoint = Endpoint(url=url, keys=(base64.b64decode("A" * 44),), allow_private_network=True, network=network)
        return await send.deliver(endpoint, HOOK, NOW, resolver=resolver)

    with behind_tls(tmp_path, "hooks.test") as (port, certificate, asked):
        assert asyncio.run(deliver(port, certificate)).outcome == outcome
        assert asked == (["/hook"] if outcome == "delivered" else [])
