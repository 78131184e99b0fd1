"""The real client over real sockets, against a server that misbehaves below HTTP."""

import asyncio
import gzip
import tracemalloc
from datetime import UTC, datetime

import pytest

from metering.core.errors import CredentialsError, MeteringError, NeonError, UnavailableError, UnreachableError
from metering.core.secrets import Secret
from metering.neon.body import MAX_BODY_BYTES
from metering.neon.client import Answer, Neon, Settings
from tests.faults.server import BODY, FaultServer, answer, bomb, drips, resets, sends, serving, stays_silent

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CANARY = "napi_canary0123456789abcdefghijklmnop"


def get(server: FaultServer, *, retries: int = 1, timeout: int = 1) -> Answer:
    """`GET /projects` by the client as it is, but for the waits between its tries."""

    async def no_wait(seconds: float) -> None:
        await asyncio.sleep(0)

    async def run() -> Answer:
        config = Settings(base_url=server.url, timeout_seconds=timeout, max_retries=retries, requests_per_minute=700)
        neon = Neon(config, clock=lambda: NOW, sleep=no_wait)
        try:
            return await neon.get("projects", {"org_id": "org-1"}, Secret(CANARY))
        finally:
            await neon.close()

    return asyncio.run(run())


def refused(server: FaultServer, kind: type[MeteringError], **options: int) -> str:
    with pytest.raises(kind) as error:
        get(server, **options)
    assert type(error.value) is kind
    assert CANARY not in str(error.value) + repr(error.value)
    return str(error.value)


PACKED = answer(gzip.compress(BODY), "Content-Encoding: gzip")
CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"

BROKEN = {
    "nothing at all": sends(b""),
    "half a head": sends(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "no HTTP": sends(b"\x16\x03\x01\x00\x00garbage\r\n\r\n"),
    "a body shorter than it says": sends(answer(BODY[:20], length=len(BODY))),
    "a body cut where the connection ends it": sends(answer(BODY[:-1], length=-1)),
    "chunks without an end": sends(CHUNKED.encode() + b"10\r\n" + BODY[:16] + b"\r\n"),
    "a reset before the answer": resets(b""),
    "a reset in the middle of the body": resets(answer(BODY[:20], length=len(BODY))),
    "gzip cut short": sends(answer(gzip.compress(BODY)[:-9], "Content-Encoding: gzip")),
    "no gzip though it says so": sends(answer(BODY, "Content-Encoding: gzip")),
    "a page of a gateway with 200": sends(answer(b"<html>Bad gateway</html>", "Content-Type: text/html")),
    "300 KB of headers": sends(answer(BODY, "X-Long: " + "x" * 300_000)),
    "an empty body": sends(answer(b"")),
    "silence": stays_silent(),
    "a byte now and then": drips(answer(BODY)),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_a_broken_answer_is_asked_for_again(fault):
    with serving(projects=[fault, sends(answer())]) as server:
        assert get(server).body == BODY
        assert len(server.requests) == 2


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_stays_broken_is_unknown_and_nothing_of_it_counts(fault):
    with serving(projects=[fault]) as server:
        assert refused(server, UnreachableError, retries=0).startswith("GET projects failed 1 times, last with ")


@pytest.mark.parametrize(
    "whole",
    [
        answer(),
        answer(length=-1),
        PACKED,
        CHUNKED.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    ],
    ids=["by length", "by the connection's end", "gzip", "chunked"],
)
def test_a_whole_answer_is_read_however_it_is_sent(whole):
    with serving(projects=[sends(whole)]) as server:
        assert get(server).body == BODY
        assert len(server.requests) == 1


def test_a_slow_answer_within_its_time_is_read():
    with serving(projects=[drips(answer(), seconds=0.001)]) as server:
        assert get(server, timeout=30).body == BODY


def test_a_gzip_bomb_is_refused_within_bounded_memory():
    with serving(projects=[sends(bomb(256))]) as server:
        tracemalloc.start()
        try:
            text = refused(server, NeonError, timeout=30)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert text == f"the answer is larger than {MAX_BODY_BYTES} bytes"
        assert len(server.requests) == 1
    assert peak < 3 * MAX_BODY_BYTES


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_the_key_never_goes_where_a_redirect_points(status):
    with serving(projects=[sends(answer())]) as other:
        location = f"Location: {other.url}/projects"
        with serving(projects=[sends(answer(b"", location, status=status))]) as server:
            assert refused(server, NeonError) == f"GET projects was answered {status[:3]}"
            assert len(server.requests) == 1
        assert other.requests == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [("401 Unauthorized", CredentialsError), ("403 Forbidden", UnavailableError), ("404 Not Found", UnavailableError)],
)
@pytest.mark.parametrize("body", [b'{"message": "no"}', b"", b"<html>no</html>", b"\xff" * 200_000])
def test_a_refusal_is_told_at_once_whatever_its_body(status, kind, body):
    with serving(projects=[sends(answer(body, status=status))]) as server:
        assert refused(server, kind).startswith(f"GET projects was answered {status[:3]}")
        assert len(server.requests) == 1


def test_a_refusal_whose_body_breaks_off_is_a_refusal_all_the_same():
    with serving(projects=[resets(answer(b'{"mess', status="401 Unauthorized", length=500))]) as server:
        refused(server, CredentialsError)
        assert len(server.requests) == 1


def test_a_key_that_the_server_repeats_is_in_no_message():
    body = f'{{"message": "invalid key {CANARY}"}}'.encode()
    with serving(projects=[sends(answer(body, status="400 Bad Request"))]) as server:
        assert refused(server, NeonError) == "GET projects was answered 400: invalid key ***"
        assert f"authorization: bearer {CANARY}" in server.requests[0].lower()


def test_where_nobody_listens_the_end_is_unreachable():
    with serving() as server:
        pass
    assert "ConnectError" in refused(server, UnreachableError)


def test_a_name_that_does_not_exist_is_unreachable():
    class Nowhere(FaultServer):
        url = "https://neon.invalid"

    assert "ConnectError" in refused(Nowhere(), UnreachableError, timeout=10)


def test_a_proxy_of_the_environment_never_sees_the_key(monkeypatch):
    with serving() as proxy, serving(projects=[sends(answer())]) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert get(server).body == BODY
        assert proxy.requests == []
