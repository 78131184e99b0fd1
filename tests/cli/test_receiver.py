"""The demo's receiver: it believes a signature that an independent library verifies, and nothing else."""

import asyncio
import base64
from datetime import UTC, datetime

import httpx
import pytest

from metering.alerts import signing
from metering.alerts.targets import Endpoint, Message
from metering.cli.demo.receiver import Received, app

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
ENDPOINT = Endpoint(url="https://receiver.example.com/", keys=signing.keys(SECRET))


def send(*deliveries: tuple[dict[str, str], bytes]) -> tuple[list[int], Received]:
    received = Received()

    async def run():
        transport = httpx.ASGITransport(app=app(SECRET, received))
        async with httpx.AsyncClient(transport=transport, base_url="https://receiver.example.com") as client:
            return [
                (await client.post("/", headers=headers, content=content)).status_code
                for headers, content in deliveries
            ]

    return asyncio.run(run()), received


def signed(event_id: str, content: bytes) -> tuple[dict[str, str], bytes]:
    message = Message(event_id=event_id, body=content)
    return signing.headers(ENDPOINT, message, datetime.now(tz=UTC)), content


def test_a_signed_delivery_is_verified_and_a_repeat_is_counted_once():
    first, second = signed("alert_1", b'{"type": "quota.exceeded"}'), signed("alert_2", b'{"type": "poll.stalled"}')
    statuses, received = send(first, second, first)
    assert statuses == [204, 204, 204]
    assert received.counts() == {"verified": 3, "refused": 0, "repeated": 1, "events": 2}
    assert received.events == {"alert_1": {"type": "quota.exceeded"}, "alert_2": {"type": "poll.stalled"}}


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "oops"},
        {"webhook-id": "other"},
        {"webhook-timestamp": "1"},
    ],
)
def test_a_delivery_whose_headers_were_changed_is_refused(change):
    headers, content = signed("alert_1", b"{}")
    statuses, received = send(({**headers, **change}, content))
    assert (statuses, received.refused, received.events) == ([401], 1, {})


def test_a_changed_body_and_one_that_is_too_large_are_refused():
    headers, _ = signed("alert_1", b"{}")
    statuses, received = send((headers, b"{ }"), (headers, b"x" * 65_537))
    assert (statuses, received.refused) == ([401, 413], 2)
