"""Alerts: what is recorded, what a message says, what is sent when, and what comes after a crash or a rebuild."""

import asyncio
import base64
import json
from collections import deque
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook as Verifier

from metering.alerts import delivering, recording
from metering.alerts.targets import Attempt
from metering.config import Config, Webhook
from metering.core.errors import CredentialsError, MeteringError
from metering.core.parties import Customer
from metering.core.period import rfc3339
from metering.core.secrets import Secret
from metering.ledger import ledger as ledger_door
from metering.ledger.alert_log import attempts, log, outbox_depth
from metering.ledger.projections import alerts
from metering.quotas.rows import QuotaRow
from metering.store.record import Record
from tests.support.blank import blank_store
from tests.support.documents import printed
from tests.support.quota_row import quota_row
from tests.support.scribe import record_of

NOW = datetime(2026, 10, 16, 12, tzinfo=UTC)
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
URL = "https://hooks.example.com/metering"
AGAIN = timedelta(seconds=5)


class MemoryLedger:
    """A ledger that keeps its records in a list: the same projections as the real one, no files."""

    def __init__(self) -> None:
        self.store = blank_store()
        self.records: list[Record] = []
        self.now = NOW

    def record(self, kind, data, *, body=b""):
        # Through JSON, as the journal does it.
        plain = json.loads(json.dumps(data))
        record = record_of(len(self.records) + 1, kind, plain, at=rfc3339(self.now))
        self.records.append(record)
        apply(self.store, record)
        return record.seq


def apply(target, record):
    with target.transaction():
        alerts.KINDS[record.kind](target, record)


def config(*webhooks, thresholds=(80, 95), customers=()) -> Config:
    hooks = tuple(Webhook(secret_env="SECRET", **hook) for hook in webhooks or [{"url": URL}])
    names = tuple(Customer(id=number, name=name) for number, name in customers)
    return Config(path="config.toml", quota={"thresholds_percent": thresholds}, webhooks=hooks, customer_rows=names)


def row(used="83", limit="100", **changes) -> QuotaRow:
    hundredths = int(used) * 10_000 // int(limit)
    reached = [threshold for threshold in (80, 95, 100) if hundredths >= threshold * 100]
    document = {
        "project_id": "calm-dawn-12345678",
        "project_name": "acme-cust7-pro-1756684800",
        "customer": "cust7",
        "plan": "pro",
        "quota": "compute_time_seconds",
        "used": used,
        "limit": limit,
        "limit_source": "neon",
        "unit": "CU-second",
        "percent": f"{hundredths // 100}.{hundredths % 100:02d}",
        "threshold_percent": max(reached, default=None),
        "level": "warning",
        "source": "counter",
        "observed_at": "2026-10-16T11:45:00Z",
        "period": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"},
        "forecast": {"percent_at_period_end": "166.00", "reaches_100_at": "2026-10-19T14:24:00Z"},
        **changes,
    }
    return quota_row(document)


@pytest.fixture
def ledger():
    return MemoryLedger()


def bodies(ledger) -> list[dict]:
    return [json.loads(text) for text in ledger.store.query("ledger/alert_log").get_column("body")]


def states(ledger) -> list[tuple]:
    return [
        (one["endpoint"], one["state"], one["attempts"])
        for one in ledger.store.query("ledger/alert_deliveries").iter_rows(named=True)
    ]


# -- recording


def test_a_crossing_is_recorded_with_the_message_of_the_contract(ledger):
    found = recording.evaluate(ledger, [row()], config(customers=[("cust7", "Customer Seven")]), NOW)
    assert [crossing.key.threshold_percent for crossing in found] == [80]
    (message,) = bodies(ledger)
    alert_id = message["data"]["alert_id"]
    assert message == {
        "type": "quota.threshold_reached",
        "timestamp": "2026-10-16T12:00:00Z",
        "data": {
            "alert_id": alert_id,
            "project": {"id": "calm-dawn-12345678", "name": "acme-cust7-pro-1756684800"},
            "customer": {"id": "cust7", "name": "Customer Seven"},
            "plan": "pro",
            "quota": "compute_time_seconds",
            "threshold_percent": 80,
            "effect_at_limit": "Neon suspends all computes of the project; they do not start again on connection until "
            "the billing period ends or the quota is raised or removed.",
            "percent": "83.00",
            "used": "83",
            "limit": "100",
            "unit": "CU-second",
            "period": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"},
            "observed_at": "2026-10-16T11:45:00Z",
            "forecast": {
                "percent_at_period_end": "166.00",
                "reaches_100_at": "2026-10-19T14:24:00Z",
                "percent_low": None,
                "percent_high": None,
                "method": "linear",
            },
            "level": "warning",
            "source": "counter",
            "limit_source": "neon",
            "summary": "Project acme-cust7-pro-1756684800 of Customer Seven has used 83.00 % of its included compute "
            "time. Used: 83 of 100 CU-seconds, 83.00 %. Period: 2026-10-01 00:00 UTC to 2026-11-01 00:00 UTC, when it "
            "starts again from zero. At 100 %: Neon suspends all computes of the project; they do not start again on "
            "connection until the billing period ends or the quota is raised or removed.",
        },
    }
    assert states(ledger) == [(URL, "pending", 0)]


def test_an_alerts_id_is_the_same_on_any_machine_and_day():
    assert recording.event_id("p1", "compute_time_seconds", "2026-10-01T00:00:00Z", 100, 80) == (
        "alert_802ac6271b8a75055ef278412dfe3448"
    )


def test_a_full_quota_is_another_event_with_threshold_100(ledger):
    recording.evaluate(ledger, [row("123")], config(), NOW)
    by_threshold = {one["data"]["threshold_percent"]: one["type"] for one in bodies(ledger)}
    assert by_threshold == {80: "quota.threshold_reached", 95: "quota.threshold_reached", 100: "quota.exceeded"}


def test_only_the_highest_of_several_thresholds_goes_into_the_outbox(ledger):
    recording.evaluate(ledger, [row("99")], config(), NOW)
    assert sorted((one.threshold_percent, one.status, len(one.deliveries)) for one in log(ledger.store)) == [
        (80, "superseded", 0),
        (95, "send", 1),
    ]


def test_evaluating_again_records_nothing_and_writes_nothing(ledger):
    recording.evaluate(ledger, [row()], config(), NOW)
    assert recording.evaluate(ledger, [row()], config(), NOW + timedelta(minutes=15)) == []
    assert len(ledger.records) == 1


def test_a_value_that_flaps_around_the_threshold_gives_one_alert(ledger):
    for used in ("79", "81", "79", "81"):
        recording.evaluate(ledger, [row(used)], config(), NOW)
    assert len(bodies(ledger)) == 1


def test_a_raised_limit_and_a_new_period_each_arm_again(ledger):
    november = {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"}
    for reading in (row(), row("166", "200"), row(period=november)):
        assert len(recording.evaluate(ledger, [reading], config(), NOW)) == 1


def test_a_limit_beyond_63_bits_keeps_its_key(ledger):
    large = row(str(2**100), str(2**100))
    assert len(recording.evaluate(ledger, [large], config(), NOW)) == 3
    assert recording.evaluate(ledger, [large], config(), NOW) == []


def test_without_webhooks_the_log_is_kept_all_the_same(ledger):
    recording.evaluate(ledger, [row()], Config(path="config.toml"), NOW)
    assert [(one.status, one.deliveries) for one in log(ledger.store)] == [("send", [])]


def test_each_endpoint_gets_the_events_it_asked_for_and_a_url_named_twice_gets_them_once(ledger):
    hooks = (
        {"url": "https://a.example.com", "events": ("quota.*",)},
        {"url": "https://a.example.com", "events": ("quota.threshold_reached",)},
        {"url": "https://b.example.com", "events": ("quota.exceeded",)},
        {"url": "https://c.example.com", "events": ("invoice.*", "poll.*")},
    )
    recording.evaluate(ledger, [row("80")], config(*hooks), NOW)
    assert states(ledger) == [("https://a.example.com", "pending", 0)]


def test_a_project_without_customer_plan_or_name_is_told_with_nulls(ledger):
    recording.evaluate(ledger, [row(project_name=None, customer=None, plan=None)], config(), NOW)
    data = bodies(ledger)[0]["data"]
    assert (data["customer"], data["plan"], data["project"]["name"]) == ({"id": None, "name": None}, None, None)
    assert data["summary"].startswith("Project calm-dawn-12345678 has used 83.00 % of its included compute time.")


@pytest.mark.parametrize("text", ["x" * 5000, "😀" * 400, '"\\' * 400, "\x00\x07" * 300, "\ud800" * 300, "<script>"])
def test_names_of_any_kind_give_a_valid_message_of_less_than_20_kb(ledger, text):
    recording.evaluate(ledger, [row(project_name=text, customer=text, plan=text)], config(customers=[]), NOW)
    (stored,) = ledger.store.query("ledger/alert_log").get_column("body")
    assert len(stored.encode()) < 20_000
    assert len(json.loads(stored)["data"]["project"]["name"]) <= 300


def test_a_fleet_that_crosses_at_once_is_recorded_in_few_records(ledger):
    fleet = [row(project_id=f"p{number:04d}") for number in range(1200)]
    assert len(recording.evaluate(ledger, fleet, config(), NOW)) == 1200
    assert [len(record.data["alerts"]) for record in ledger.records] == [500, 500, 200]
    assert outbox_depth(ledger.store) == [
        {"endpoint": URL, "pending": 1200, "oldest_due_at": "2026-10-16T12:00:00Z", "most_attempts": 0}
    ]


def test_other_events_are_announced_once(ledger):
    data = {"number": "INV-2026-000001", "total": "30.84"}
    announced = [
        recording.announce(ledger, "invoice.finalized", data, ["INV-2026-000001"], config=config(), now=NOW)
        for _ in "ab"
    ]
    assert announced[1] is None
    (message,) = bodies(ledger)
    assert message == {
        "type": "invoice.finalized",
        "timestamp": "2026-10-16T12:00:00Z",
        "data": {"alert_id": announced[0], **data},
    }
    assert states(ledger) == [(URL, "pending", 0)]


# -- what came of an attempt


def attempt_of(outcome="retry", made=1, **kwargs) -> dict:
    return delivering.delivery("alert_1", URL, made, Attempt(outcome=outcome, **kwargs), NOW)


def test_a_failed_attempt_is_due_again_by_the_schedule_and_the_tenth_is_the_last():
    assert attempt_of(made=1)["next_attempt_at"] == "2026-10-16T12:00:05Z"
    assert attempt_of(made=9)["next_attempt_at"] == "2026-10-17T12:00:00Z"
    assert (attempt_of(made=10)["outcome"], attempt_of(made=10)["next_attempt_at"]) == ("failed", None)


def test_a_refused_address_is_tried_again_until_the_schedule_ends():
    assert attempt_of("refused", made=1)["next_attempt_at"] == "2026-10-16T12:00:05Z"
    assert (attempt_of("refused", made=10)["outcome"], attempt_of("refused", made=10)["next_attempt_at"]) == (
        "refused",
        None,
    )


def test_retry_after_postpones_the_next_attempt():
    assert attempt_of(retry_after=timedelta(hours=1))["next_attempt_at"] == "2026-10-16T13:00:00Z"


def test_delivered_and_disabled_are_final():
    for outcome in ("delivered", "disabled"):
        assert (attempt_of(outcome)["outcome"], attempt_of(outcome)["next_attempt_at"]) == (outcome, None)


# -- projections


def tell(ledger, outcome, made=1, url=URL, **kwargs):
    alert_id = next(one.alert_id for one in log(ledger.store) if one.status == "send")
    ledger.record("delivery", delivering.delivery(alert_id, url, made, Attempt(outcome=outcome, **kwargs), NOW))


def due(ledger, now) -> list[tuple]:
    found = ledger.store.query("alerts/outbox_due", now=now, most=100, only=None)
    return [(one["endpoint"], one["attempts"]) for one in found.iter_rows(named=True)]


def test_a_message_is_due_from_the_instant_it_is_recorded_and_again_exactly_when_its_wait_ends(ledger):
    recording.evaluate(ledger, [row()], config(), NOW)
    assert due(ledger, NOW - timedelta(microseconds=1)) == []
    assert due(ledger, NOW) == [(URL, 0)]
    tell(ledger, "retry", status=500, error="the endpoint answered 500")
    assert due(ledger, NOW + AGAIN - timedelta(microseconds=1)) == []
    assert due(ledger, NOW + AGAIN) == [(URL, 1)]
    tell(ledger, "delivered", made=2, status=200)
    assert due(ledger, NOW + timedelta(days=9)) == []
    assert states(ledger) == [(URL, "delivered", 2)]


def test_after_ten_failures_a_message_is_given_up_and_a_resend_starts_anew(ledger):
    recording.evaluate(ledger, [row()], config(), NOW)
    for made in range(1, 11):
        tell(ledger, "retry", made=made)
    assert states(ledger) == [(URL, "failed", 10)]
    alert_id = log(ledger.store)[0].alert_id
    assert recording.resend(ledger, alert_id, config(), NOW) == [URL]
    assert states(ledger) == [(URL, "pending", 0)]


def test_an_answer_410_empties_the_endpoints_queue_and_a_resend_opens_it_again(ledger):
    two = config({"url": URL}, {"url": "https://b.example.com"})
    recording.evaluate(ledger, [row()], two, NOW)
    tell(ledger, "disabled", status=410)
    recording.evaluate(ledger, [row(project_id="p2")], two, NOW)
    assert sorted(states(ledger)) == [
        ("https://b.example.com", "pending", 0),
        ("https://b.example.com", "pending", 0),
        (URL, "disabled", 0),
        (URL, "disabled", 1),
    ]
    recording.resend(ledger, log(ledger.store)[0].alert_id, two, NOW)
    recording.evaluate(ledger, [row(project_id="p3")], two, NOW)
    assert sum(state == "pending" for url, state, _ in states(ledger) if url == URL) == 2


def test_a_superseded_alert_can_be_resent(ledger):
    recording.evaluate(ledger, [row("99")], config(), NOW)
    superseded = next(one for one in log(ledger.store) if one.status == "superseded")
    recording.resend(ledger, superseded.alert_id, config(), NOW)
    assert sorted(states(ledger)) == [(URL, "pending", 0), (URL, "pending", 0)]


def test_resending_what_does_not_exist_or_goes_nowhere_is_refused(ledger):
    with pytest.raises(MeteringError, match="no alert alert_x"):
        recording.resend(ledger, "alert_x", config(), NOW)
    recording.evaluate(ledger, [row()], config(), NOW)
    alert_id = log(ledger.store)[0].alert_id
    with pytest.raises(MeteringError, match="nobody wants"):
        recording.resend(ledger, alert_id, config({"url": URL, "events": ("poll.*",)}), NOW)


TABLES = ("alert", "outbox", "delivery_attempt", "endpoint")


def dump(target) -> dict:
    return {table: target.connection.sql(f"from {table} order by all").pl().rows() for table in TABLES}


def test_a_rebuild_from_the_records_gives_the_same_rows(ledger):
    two = config({"url": URL}, {"url": "https://b.example.com"})
    recording.evaluate(ledger, [row("99")], two, NOW)
    tell(ledger, "retry", status=500)
    tell(ledger, "disabled", made=2, status=410)
    tell(ledger, "delivered", url="https://b.example.com", status=204)
    recording.resend(ledger, log(ledger.store)[0].alert_id, two, NOW)
    recording.announce(ledger, "poll.stalled", {"organization": "org-1"}, ["org-1", "2026"], config=two, now=NOW)
    rebuilt = blank_store()
    for record in ledger.records:
        apply(rebuilt, record)
    assert dump(rebuilt) == dump(ledger.store)


def test_neither_a_restart_nor_a_rebuild_tells_anything_again(tmp_path):
    def clock():
        return NOW

    with ledger_door.open_ledger(tmp_path, clock) as first:
        assert len(recording.evaluate(first, [row("99")], config(), NOW)) == 2
        tell(first, "delivered", status=200)
        before = dump(first.store)
    with ledger_door.open_ledger(tmp_path, clock) as second:
        assert recording.evaluate(second, [row("99")], config(), NOW) == []
    (tmp_path / "metering.duckdb").unlink()
    with ledger_door.open_ledger(tmp_path, clock) as third:
        assert recording.evaluate(third, [row("99")], config(), NOW) == []
        assert due(third, NOW + timedelta(days=9)) == []
        assert dump(third.store) == before


# -- delivery over a real socket


class Receiver:
    """A plain server that answers with the given statuses in turn, then with the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = deque(statuses)
        self.requests: list[tuple[dict, bytes]] = []

    async def handle(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {
            name.lower(): value for name, value in (line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        }
        self.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = self.statuses.popleft() if len(self.statuses) > 1 else self.statuses[0]
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


def real_clock():
    return datetime.now(tz=UTC)


def serving(receiver: Receiver, work) -> None:
    """Call `work(url)` in a thread while the receiver listens on a free loopback port."""

    async def run():
        server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            await asyncio.to_thread(work, f"http://127.0.0.1:{port}/hook")

    asyncio.run(run())


def test_what_is_due_is_sent_signed_and_not_sent_again(ledger):
    receiver = Receiver(204)

    def work(url):
        local = config({"url": url, "allow_private_network": True})
        recording.evaluate(ledger, [row()], local, NOW)
        for _ in range(2):
            done = delivering.deliver_due(ledger, local, {url: Secret(SECRET)}, NOW, real_clock)
            outcomes.append(done.outcomes)

    outcomes: list[dict] = []
    serving(receiver, work)
    assert outcomes == [{"delivered": 1}, {}]
    ((headers, body),) = receiver.requests
    event = Verifier(SECRET).verify(body, headers)
    assert event["data"]["alert_id"] == headers["webhook-id"]
    assert [(one["outcome"], one["status"], one["attempt"]) for one in attempts(ledger.store)] == [
        ("delivered", 204, 1)
    ]


def test_every_attempt_carries_the_same_id_and_bytes_until_the_receiver_answers_2xx(ledger):
    receiver = Receiver(500, 302, 200)

    def work(url):
        local = config({"url": url, "allow_private_network": True})
        recording.evaluate(ledger, [row()], local, NOW)
        for moment in (NOW, NOW + AGAIN, NOW + AGAIN + timedelta(minutes=5)):
            ledger.now = moment
            delivering.deliver_due(ledger, local, {url: Secret(SECRET)}, moment, real_clock)

    serving(receiver, work)
    assert len({(headers["webhook-id"], body) for headers, body in receiver.requests}) == 1
    assert [(one["attempt"], one["outcome"], one["status"]) for one in attempts(ledger.store)] == [
        (1, "retry", 500),
        (2, "retry", 302),
        (3, "delivered", 200),
    ]


def test_a_crash_between_sending_and_recording_sends_the_same_again(ledger):
    """The receiver was told, the record is missing: the next run tells it again with the same id and bytes."""
    receiver = Receiver(200)

    class PowerCutError(Exception):
        pass

    def work(url):
        local = config({"url": url, "allow_private_network": True})
        recording.evaluate(ledger, [row()], local, NOW)
        secrets = {url: Secret(SECRET)}
        crashing = MemoryLedger.__new__(MemoryLedger)
        crashing.store = ledger.store

        def record(kind, data):
            raise PowerCutError

        crashing.record = record
        with pytest.raises(PowerCutError):
            delivering.deliver_due(crashing, local, secrets, NOW, real_clock)
        delivering.deliver_due(ledger, local, secrets, NOW, real_clock)

    serving(receiver, work)
    assert len(receiver.requests) == 2
    assert len({(headers["webhook-id"], body) for headers, body in receiver.requests}) == 1


def test_an_endpoint_without_a_usable_secret_is_named_and_the_others_go_on(ledger):
    receiver = Receiver(200)
    results = []

    def work(url):
        local = config(
            {"url": url, "allow_private_network": True},
            {"url": "https://a.example.com"},
            {"url": "https://b.example.com"},
        )
        recording.evaluate(ledger, [row()], local, NOW)
        secrets = {url: Secret(SECRET), "https://b.example.com": Secret("not-one")}
        results.append(delivering.deliver_due(ledger, local, secrets, NOW, real_clock))

    serving(receiver, work)
    (done,) = results
    assert done.outcomes == {"delivered": 1}
    assert done.faults == (
        "https://a.example.com: no secret",
        "https://b.example.com: a webhook secret is malformed",
    )
    assert {state for _, state, _ in states(ledger)} == {"delivered", "pending"}


def test_a_private_address_is_refused_and_recorded(ledger):
    local = config({"url": "https://127.0.0.1:1/hook"})
    recording.evaluate(ledger, [row()], local, NOW)
    done = delivering.deliver_due(ledger, local, {"https://127.0.0.1:1/hook": Secret(SECRET)}, NOW, real_clock)
    assert done.outcomes == {"refused": 1}
    assert attempts(ledger.store)[0]["next_attempt_at"] == "2026-10-16T12:00:05Z"


def test_a_test_event_goes_to_every_endpoint_and_is_recorded_nowhere():
    receiver = Receiver(200)
    results = []

    def work(url):
        local = config({"url": url, "allow_private_network": True, "events": ("poll.*",)})
        results.extend(delivering.test_event(local, {url: Secret(SECRET)}, NOW, real_clock))

    serving(receiver, work)
    assert [attempt.outcome for _, attempt in results] == ["delivered"]
    ((headers, body),) = receiver.requests
    assert Verifier(SECRET).verify(body, headers)["type"] == "webhook.test"


def test_a_test_event_without_a_secret_is_an_error_that_names_the_endpoint():
    with pytest.raises(CredentialsError, match=r"hooks\.example\.com"):
        delivering.test_event(config(), {}, NOW, real_clock)


# -- the log


def test_the_log_shows_each_alert_with_its_deliveries(ledger):
    recording.evaluate(ledger, [row()], config(), NOW)
    tell(ledger, "retry", status=503, error="the endpoint answered 503")
    (one,) = printed(log(ledger.store))
    assert one == {
        "alert_id": one["alert_id"],
        "type": "quota.threshold_reached",
        "status": "send",
        "reason": "83.00 % is at or above 80 %",
        "recorded_at": "2026-10-16T12:00:00Z",
        "project_id": "calm-dawn-12345678",
        "project_name": "acme-cust7-pro-1756684800",
        "customer": "cust7",
        "plan": "pro",
        "quota": "compute_time_seconds",
        "threshold_percent": 80,
        "percent": "83.00",
        "used": "83",
        "limit": "100",
        "unit": "CU-second",
        "period": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"},
        "observed_at": "2026-10-16T11:45:00Z",
        "summary": one["summary"],
        "deliveries": [
            {
                "endpoint": URL,
                "state": "pending",
                "attempts": 1,
                "due_at": "2026-10-16T12:00:05Z",
                "delivered_at": None,
                "error": "the endpoint answered 503",
            }
        ],
    }
