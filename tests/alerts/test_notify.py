"""Webhook delivery: signature, retries, address guard, and single attempts over a real socket or a fake transport."""

import asyncio
import base64
import ipaddress
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from standardwebhooks import Webhook

from metering.alerts import address_guard, queues, retry_schedule, send, signing
from metering.alerts.address_order import LONGEST_SHARE_SECONDS, in_turn, shares
from metering.alerts.targets import Attempt, Endpoint, Message
from metering.core.errors import CredentialsError
from metering.core.http import retry_after
from tests.support.inbox import receiving

NOW = datetime(2026, 10, 16, 12, tzinfo=UTC)
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER = bytes(range(32, 64))
MESSAGE = Message(event_id="alert_1", body='{"type":"quota.exceeded","name":"Zoë"}'.encode())


def endpoint(url="https://hooks.example.com/metering", **kwargs) -> Endpoint:
    return Endpoint(url=url, keys=(KEY,), **kwargs)


# -- signature


def test_the_signature_is_the_one_of_the_published_test_vector():
    keys = signing.keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signing.signature(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_library_of_standard_webhooks_verifies_our_headers():
    now = datetime.now(tz=UTC)
    headers = signing.headers(endpoint(), MESSAGE, now)
    assert Webhook(SECRET).verify(MESSAGE.body, headers) == {"type": "quota.exceeded", "name": "Zoë"}


def test_while_a_secret_is_changed_both_keys_sign():
    now = datetime.now(tz=UTC)
    both = Endpoint(url="https://hooks.example.com", keys=(OTHER, KEY))
    headers = signing.headers(both, MESSAGE, now)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for key in (KEY, OTHER):
        Webhook("whsec_" + base64.b64encode(key).decode()).verify(MESSAGE.body, headers)


def test_the_timestamp_is_that_of_the_attempt_in_whole_seconds_and_any_zone():
    elsewhere = datetime.fromisoformat("2026-10-16T14:00:00.9+02:00")
    assert signing.headers(endpoint(), MESSAGE, elsewhere)["webhook-timestamp"] == "1792152000"


@pytest.mark.parametrize(("size", "is_fine"), [(23, False), (24, True), (64, True), (65, False)])
def test_a_secret_has_24_to_64_bytes(size, is_fine):
    text = "whsec_" + base64.b64encode(bytes(size)).decode()
    if is_fine:
        assert signing.keys(text) == (bytes(size),)
    else:
        with pytest.raises(CredentialsError):
            signing.keys(text)


@pytest.mark.parametrize("text", ["", "whsec_", "secret", "whpk_" + "A" * 44, "whsec_" + "?" * 44, SECRET + ",oops"])
def test_a_malformed_secret_is_refused_and_not_repeated(text):
    with pytest.raises(CredentialsError) as error:
        signing.keys(text)
    assert "oops" not in str(error.value)
    assert "?" not in str(error.value)


def test_several_secrets_are_separated_by_commas_or_blanks():
    other = "whsec_" + base64.b64encode(OTHER).decode().rstrip("=")
    assert signing.keys(f"{SECRET},{other}") == signing.keys(f"{SECRET} {other}\n") == (KEY, OTHER)


def test_a_key_is_never_in_an_endpoints_repr():
    assert repr(KEY) not in repr(endpoint())
    assert "keys" not in repr(endpoint())


# -- retries


def test_the_schedule_is_ten_attempts_over_75_hours():
    waits = [retry_schedule.next_attempt(made, NOW) - NOW for made in range(10)]
    assert waits == [
        timedelta(0),
        timedelta(seconds=5),
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=5),
        timedelta(hours=10),
        timedelta(hours=14),
        timedelta(hours=20),
        timedelta(hours=24),
    ]
    assert sum(waits, timedelta()) == timedelta(hours=75, minutes=35, seconds=5)
    assert retry_schedule.next_attempt(10, NOW) is None


def test_a_retry_is_never_before_what_the_receiver_asked_for_nor_before_the_schedule():
    assert retry_schedule.next_attempt(1, NOW, timedelta(seconds=90)) == NOW + timedelta(seconds=90)
    assert retry_schedule.next_attempt(1, NOW, timedelta(seconds=1)) == NOW + timedelta(seconds=5)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        (None, None),
        ("120", timedelta(seconds=120)),
        (" 120 ", timedelta(seconds=120)),
        ("0", timedelta(0)),
        ("-5", timedelta(0)),
        ("86400", timedelta(hours=24)),
        ("86401", timedelta(hours=24)),
        ("9" * 5000, timedelta(hours=24)),
        ("Fri, 16 Oct 2026 12:02:00 GMT", timedelta(minutes=2)),
        ("Fri, 16 Oct 2026 11:00:00 GMT", timedelta(0)),
        ("Fri, 16 Oct 2099 11:00:00 GMT", timedelta(hours=24)),
        ("Fri, 16 Oct 2026 12:02:00 -0000", timedelta(minutes=2)),
        ("soon", None),
        ("", None),
        ("1.5", None),
        ("٣", None),
        ("Fri, 99 Oct 2026 12:02:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date_and_clamped(text, wait):
    assert retry_after(text, NOW, send.LONGEST_WAIT) == wait


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (299, "delivered"),
        (301, "retry"),
        (307, "retry"),
        (400, "retry"),
        (404, "retry"),
        (410, "disabled"),
        (429, "retry"),
        (500, "retry"),
        (503, "retry"),
    ],
)
def test_only_2xx_is_success_a_redirect_is_a_failure_and_410_disables(status, outcome):
    assert send.outcome(status, None, NOW).outcome == outcome


# -- the address guard


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.9",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "5f00::1",
    ],
)
def test_addresses_that_are_not_on_the_open_internet_are_refused(text):
    assert not address_guard.is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.216.34", "100.63.255.255", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_addresses_on_the_open_internet_are_allowed(text):
    assert address_guard.is_public(ipaddress.ip_address(text))


def resolver(*addresses):
    async def resolve(host, port):
        return [ipaddress.ip_address(text) for text in addresses]

    return resolve


def deliver(to: Endpoint, answer, resolve=None) -> tuple[Attempt, list[httpx.Request]]:
    """Deliver MESSAGE over a transport that answers with `answer(request)`."""
    sent: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return answer(request)

    async def run() -> Attempt:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as over:
            return await send.deliver(to, MESSAGE, NOW, over=over, resolver=resolve or resolver("93.184.216.34"))

    return asyncio.run(run()), sent


def ok(request):
    return httpx.Response(200)


def test_the_request_goes_to_the_checked_address_under_the_endpoints_own_name():
    attempt, (request,) = deliver(endpoint("https://hooks.example.com:8443/a?b=c"), ok)
    assert attempt == Attempt(outcome="delivered", status=200)
    assert str(request.url) == "https://93.184.216.34:8443/a?b=c"
    assert request.headers["host"] == "hooks.example.com:8443"
    assert request.extensions["sni_hostname"] == "hooks.example.com"
    assert request.content == MESSAGE.body


def test_an_ipv6_address_is_written_in_brackets():
    _, (request,) = deliver(endpoint(), ok, resolver("2606:4700::1111"))
    assert str(request.url) == "https://[2606:4700::1111]/metering"


def test_one_private_address_among_public_ones_is_enough_to_refuse():
    attempt, sent = deliver(endpoint(), ok, resolver("93.184.216.34", "127.0.0.1"))
    assert attempt == Attempt(outcome="refused", error="the name leads to an address that is not public")
    assert sent == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "[::1]", "[::ffff:7f00:1]"]
)
def test_loopback_in_any_notation_is_refused_after_resolving(host):
    attempt, sent = deliver(endpoint(f"https://{host}/"), ok, address_guard.resolve)
    assert (attempt.outcome, sent) == ("refused", [])


def test_plain_http_and_credentials_in_the_url_are_refused():
    for url in ("http://hooks.example.com/", "https://user:pass@hooks.example.com/", "ftp://hooks.example.com/"):
        attempt, sent = deliver(endpoint(url), ok)
        assert (attempt.outcome, sent) == ("refused", [])


def test_private_addresses_and_http_are_allowed_where_the_operator_says_so():
    private = endpoint("http://receiver.internal:8080/", allow_private_network=True)
    attempt, (request,) = deliver(private, ok, resolver("10.0.0.7"))
    assert (attempt.outcome, str(request.url)) == ("delivered", "http://10.0.0.7:8080/")


def test_a_name_that_cannot_be_resolved_is_tried_again():
    async def nowhere(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    attempt, _ = deliver(endpoint(), ok, nowhere)
    assert attempt == Attempt(outcome="retry", error="the name could not be resolved")


def test_the_next_address_is_tried_where_one_does_not_accept():
    def first_is_down(request):
        if request.url.host == "93.184.216.34":
            raise httpx.ConnectError("down")
        return httpx.Response(200)

    attempt, sent = deliver(endpoint(), first_is_down, resolver("93.184.216.34", "93.184.216.35"))
    assert (attempt.outcome, len(sent)) == ("delivered", 2)


def test_a_redirect_is_not_followed():
    def away(request):
        return httpx.Response(302, headers={"location": "https://elsewhere.example.com/"})

    attempt, sent = deliver(endpoint(), away)
    assert (attempt.outcome, attempt.status, len(sent)) == ("retry", 302, 1)


def test_what_the_receiver_asks_to_wait_is_reported():
    def busy(request):
        return httpx.Response(429, headers={"retry-after": "600"})

    attempt, _ = deliver(endpoint(), busy)
    assert (attempt.outcome, attempt.retry_after) == ("retry", timedelta(minutes=10))


def test_the_receivers_text_is_never_kept():
    def talkative(request):
        return httpx.Response(500, text="<script>secret</script>")

    attempt, _ = deliver(endpoint(), talkative)
    assert attempt.error == "the endpoint answered 500"


# -- over a real socket


def over_socket(answer: bytes, messages: int = 1) -> tuple[list[Attempt], list[bytes]]:
    """Serve `answer` on a free loopback port and deliver to it."""
    received: list[bytes] = []
    attempts: list[Attempt] = []

    async def handle(reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            received.append(head + await reader.readexactly(length))
            writer.write(answer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def run():
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        local = endpoint(f"http://localhost:{port}/hook", allow_private_network=True)
        queue = [Message(event_id=f"alert_{number}", body=b"{}") for number in range(messages)]
        async with server:
            await queues.deliver_queues(
                [(local, queue)], lambda: NOW, lambda _endpoint, _message, attempt: attempts.append(attempt)
            )

    asyncio.run(run())
    return attempts, received


def test_a_delivery_over_a_real_socket_carries_the_three_headers():
    attempts, (request,) = over_socket(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
    assert attempts == [Attempt(outcome="delivered", status=204)]
    assert b"webhook-id: alert_0\r\n" in request
    assert b"webhook-timestamp: 1792152000\r\n" in request
    assert b"webhook-signature: v1," in request
    assert request.endswith(b"\r\n\r\n{}")


def test_an_endless_answer_is_cut_off_and_its_status_counts():
    attempts, _ = over_socket(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n" + b"x" * 300_000)
    assert [attempt.outcome for attempt in attempts] == ["delivered"]


def test_an_answer_that_is_not_http_is_tried_again():
    attempts, _ = over_socket(b"SMTP ready\r\n")
    assert [(attempt.outcome, attempt.status) for attempt in attempts] == [("retry", 0)]


def test_an_endpoint_that_fails_five_times_in_a_row_is_left_alone_until_the_next_run():
    attempts, received = over_socket(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", messages=8)
    assert len(attempts) == len(received) == 5


def test_an_endpoint_that_asks_to_wait_is_left_alone_at_once():
    attempts, _ = over_socket(b"HTTP/1.1 503 No\r\nretry-after: 60\r\nconnection: close\r\n\r\n", messages=3)
    assert len(attempts) == 1


def test_a_dead_endpoint_does_not_hold_up_another():
    """Two queues: the first never answers while the second is served; the second is done before the first is let go."""
    order: list[str] = []

    async def run():
        release = asyncio.Event()

        async def slow(reader, writer):
            await release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
            writer.close()

        async def quick(reader, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
            writer.close()

        servers = [await asyncio.start_server(handler, "127.0.0.1", 0) for handler in (slow, quick)]
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        names = ("slow", "quick")
        endpoints = [endpoint(f"http://127.0.0.1:{port}/", allow_private_network=True) for port in ports]
        by_url = dict(zip([one.url for one in endpoints], names, strict=True))

        def note(to, message, attempt):
            order.append(by_url[to.url])
            if len(order) == 2:
                release.set()

        queue = [Message(event_id="a", body=b"{}"), Message(event_id="b", body=b"{}")]
        await queues.deliver_queues([(one, queue) for one in endpoints], lambda: NOW, note)
        for server in servers:
            server.close()

    asyncio.run(run())
    assert order == ["quick", "quick", "slow", "slow"]


def test_an_error_while_recording_reaches_the_caller_as_itself():
    def refuse(to, message, attempt):
        raise ValueError("the ledger is full")

    async def run():
        refused = endpoint("https://127.0.0.1/")
        await queues.deliver_queues([(refused, [MESSAGE])], lambda: NOW, refuse)

    with pytest.raises(ValueError, match="the ledger is full"):
        asyncio.run(run())


# -- several addresses


@contextmanager
def swallowing(address: str, port: int) -> Iterator[None]:
    """An address that answers no packet of a new connection: its queue is full, and nobody accepts."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex((address, port))
            yield
        finally:
            for one in waiting:
                one.close()


def test_an_address_that_swallows_packets_leaves_time_for_the_one_that_answers():
    with receiving() as inbox:
        port = int(inbox.url.split(":")[2].split("/")[0])
        to = endpoint(inbox.url.replace("127.0.0.1", "receiver.example.com"), allow_private_network=True)
        attempts = []

        async def run() -> None:
            queue = [(to, [Message(event_id=f"alert_{number}", body=b"{}") for number in range(2)])]
            keep = lambda _endpoint, _message, attempt: attempts.append(attempt)  # noqa: E731
            await queues.deliver_queues(queue, lambda: NOW, keep, resolver=resolver("127.0.0.2", "127.0.0.1"))

        with swallowing("127.0.0.2", port):
            began = time.monotonic()
            asyncio.run(run())
            took = time.monotonic() - began
    assert attempts == [Attempt(outcome="delivered", status=200)] * 2
    assert took >= LONGEST_SHARE_SECONDS  # else nothing was swallowed here


def test_addresses_of_both_families_are_tried_by_turns_and_first_the_one_that_answered_before():
    found = ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
    by_turns = ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"]
    assert in_turn(found) == by_turns
    assert in_turn(found, "192.0.2.2") == ["192.0.2.2", "2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.3"]
    assert in_turn([]) == []


def test_the_shares_of_addresses_leave_the_last_one_time():
    assert shares(20, 0) == []
    assert shares(20, 1) == [20]
    assert shares(20, 2) == [4, 20]
    assert sum(shares(20, 12)[:-1]) < 20
