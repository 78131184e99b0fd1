"""Laws of quotas, alerts and deliveries, for any sequence of readings."""

import base64
import ipaddress
import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier

from metering.alerts import address_guard, delivering, recording, signing
from metering.alerts.targets import Attempt
from metering.config import Config, Webhook
from metering.core.http import retry_after
from metering.core.period import Period, rfc3339
from metering.ledger.projections import alerts
from metering.quotas import evaluation
from metering.quotas.crossings import crossings
from metering.quotas.readings import BRANCHES, HISTORY, PLAN_LIMITS, PROJECTS, Readings
from metering.quotas.rows import QuotaRow
from metering.store.record import Record
from tests.support.blank import blank_store
from tests.support.counters import Counter, counters_frame
from tests.support.quota_row import quota_row
from tests.support.scribe import record_of

NOW = datetime(2026, 10, 16, 12, tzinfo=UTC)
OCTOBER = Period(start=datetime(2026, 10, 1, tzinfo=UTC), end=datetime(2026, 11, 1, tzinfo=UTC))
URL = "https://hooks.example.com/metering"
UNTIMED = settings(deadline=None)
amounts = st.integers(0, 2**70) | st.integers(0, 300)
limits = st.integers(1, 2**70) | st.integers(1, 200)
thresholds = st.lists(st.integers(1, 99), max_size=4, unique=True).map(lambda found: tuple(sorted(found)))


def judged(cases: list[tuple], rising=(80, 95), *, include_unlimited=False) -> list[dict]:
    """Rows of one project per case (counter, history, limit), in the order of the cases."""
    names = [f"p{number:03d}" for number in range(len(cases))]
    counters = [
        Counter(
            project_id=name,
            observed_at=NOW,
            period_start=OCTOBER.start,
            period_end=OCTOBER.end,
            counters={"compute_time_seconds": counter},
            limits={"compute_time_seconds": limit},
        )
        for name, (counter, _, limit) in zip(names, cases, strict=True)
    ]
    sums = [
        (name, "compute_time_seconds", history, NOW, False)
        for name, (_, history, _) in zip(names, cases, strict=True)
        if history is not None
    ]
    readings = Readings(
        projects=pl.DataFrame([(name, None, None, None) for name in names], schema=PROJECTS, orient="row"),
        counters=counters_frame(counters),
        history=pl.DataFrame(sums, schema=HISTORY, orient="row"),
        branches=pl.DataFrame(schema=BRANCHES),
        plan_limits=pl.DataFrame(schema=PLAN_LIMITS),
    )
    return evaluation.rows(evaluation.evaluated(readings, rising, NOW, include_unlimited=include_unlimited), rising)


cases = st.tuples(st.none() | amounts, st.none() | amounts, limits)


@UNTIMED
@given(cases=st.lists(cases, min_size=1, max_size=20), rising=thresholds)
def test_percent_level_and_threshold_agree_with_fractions(cases, rising):
    for (counter, history, limit), row in zip(cases, judged(cases, rising), strict=True):
        known = [value for value in (counter, history) if value is not None]
        if not known:
            assert (row.level, row.percent) == ("unknown", None)
            continue
        percent = Fraction(max(known) * 100, limit)
        assert Fraction(row.percent) <= percent < Fraction(row.percent) + Fraction(1, 100)
        reached = [threshold for threshold in (*rising, 100) if percent >= threshold]
        assert row.threshold_percent == max(reached, default=None)
        if percent >= 100:
            expected = "exceeded"
        elif reached:
            expected = "critical" if rising[-1] in reached else "warning"
        else:
            expected = "unknown" if counter == 0 and history else "ok"
        assert row.level == expected


@UNTIMED
@given(used=amounts, more=amounts, limit=limits, higher=limits)
def test_more_usage_never_lowers_the_percentage_and_a_higher_quota_never_raises_it(used, more, limit, higher):
    first, used_more, limit_more = judged(
        [(used, None, limit), (used + more, None, limit), (used, None, limit + higher)]
    )
    assert Fraction(used_more.percent) >= Fraction(first.percent) >= Fraction(limit_more.percent)


@UNTIMED
@given(counter=st.none() | amounts, history=st.none() | amounts)
def test_a_quota_of_zero_never_fails_and_never_crosses(counter, history):
    rows = judged([(counter, history, 0)], include_unlimited=True)
    assert {row.level for row in rows} == {"unlimited"}
    assert crossings(rows, (), (80, 95)) == []


@UNTIMED
@given(used=amounts, limit=limits, seconds=st.integers(0, OCTOBER.seconds - 1))
def test_the_forecast_never_ends_below_what_is_used_and_names_an_instant_of_the_period(used, limit, seconds):
    at = OCTOBER.start + timedelta(seconds=seconds)
    forecast = evaluation.line(used, limit, OCTOBER, at, (100,))
    if seconds < 6 * 3600:
        assert forecast is None
        return
    assert Fraction(forecast.percent_at_period_end) >= Fraction(used * 10_000 // limit, 100)
    reaches = forecast.reaches_at[100]
    if reaches is not None:
        assert at < reaches < OCTOBER.end
        assert Fraction(forecast.percent_at_period_end) >= 100


# -- alerts


class MemoryLedger:
    def __init__(self, target) -> None:
        self.store = target
        self.records: list[Record] = []

    def record(self, kind, data, *, body=b""):
        record = record_of(len(self.records) + 1, kind, json.loads(json.dumps(data)), at=rfc3339(NOW))
        self.records.append(record)
        apply(self.store, record)
        return record.seq


def apply(target, record):
    with target.transaction():
        alerts.KINDS[record.kind](target, record)


TABLES = ("alert", "outbox", "delivery_attempt", "endpoint")


@pytest.fixture(scope="module")
def target():
    """One store for all examples; `emptied` clears it between them."""
    return blank_store()


def emptied(target):
    for table in TABLES:
        target.connection.execute(f"delete from {table}")
    return target


def dump(target) -> dict:
    return {table: target.connection.sql(f"from {table} order by all").pl().rows() for table in TABLES}


CONFIG = Config(path="config.toml", webhooks=(Webhook(url=URL, secret_env="SECRET"),))
FEW = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
readings = st.tuples(
    st.sampled_from(["p1", "p2"]),
    st.integers(70, 105),
    st.sampled_from([100, 110]),
    st.sampled_from(["2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"]),
)


def reading_row(project, used, limit, start) -> QuotaRow:
    hundredths = used * 10_000 // limit
    reached = [threshold for threshold in (80, 95, 100) if used * 100 >= threshold * limit]
    document = {
        "project_id": project,
        "project_name": None,
        "customer": None,
        "plan": None,
        "quota": "compute_time_seconds",
        "used": str(used),
        "limit": str(limit),
        "limit_source": "neon",
        "unit": "CU-second",
        "percent": f"{hundredths // 100}.{hundredths % 100:02d}",
        "threshold_percent": max(reached, default=None),
        "level": {80: "warning", 95: "critical", 100: "exceeded"}.get(max(reached, default=0), "ok"),
        "source": "counter",
        "observed_at": rfc3339(NOW),
        "period": {"start": start, "end": "2026-12-01T00:00:00Z"},
        "forecast": None,
    }
    return quota_row(document)


def keys_reached(project, used, limit, start):
    return {(project, limit, start, threshold) for threshold in (80, 95, 100) if used * 100 >= threshold * limit}


@FEW
@given(
    polls=st.lists(st.lists(readings, max_size=3, unique_by=lambda one: one[0]), max_size=12), repeats=st.integers(1, 2)
)
def test_every_threshold_ever_reached_is_recorded_exactly_once_whatever_flaps_or_repeats(target, polls, repeats):
    ledger = MemoryLedger(emptied(target))
    reached: set = set()
    for poll in polls:
        for _ in range(repeats):
            recorded = recording.evaluate(ledger, [reading_row(*reading) for reading in poll], CONFIG, NOW)
            sent = [
                (one.key.project_id, one.key.limit, one.key.period_start) for one in recorded if one.status == "send"
            ]
            assert len(sent) == len(set(sent))
            reached.update(*(keys_reached(*reading) for reading in poll))
    found = ledger.store.query("alerts/alert_keys", since=datetime(2026, 1, 1, tzinfo=UTC))
    keys = [
        (row["project_id"], int(row["quota_limit"]), rfc3339(row["period_start"]), row["threshold_percent"])
        for row in found.iter_rows(named=True)
    ]
    assert len(keys) == len(set(keys))
    assert set(keys) == reached
    live = dump(target)
    emptied(target)
    for record in ledger.records:
        apply(target, record)
    assert dump(target) == live


outcomes = st.lists(st.sampled_from(["retry", "refused", "crash"]), max_size=14)


@FEW
@given(failures=outcomes, retry_after=st.integers(0, 7200))
def test_a_recorded_alert_is_delivered_if_the_receiver_answers_within_the_schedule(target, failures, retry_after):
    """`crash` is an attempt whose record was lost: it costs a repetition, never an attempt."""
    ledger = MemoryLedger(emptied(target))
    recording.evaluate(ledger, [reading_row("p1", 80, 100, "2026-10-01T00:00:00Z")], CONFIG, NOW)
    now, bodies, waiting = NOW, set(), [*failures, "delivered"]
    while waiting:
        due = ledger.store.query("alerts/outbox_due", now=now, most=10, only=None)
        if due.is_empty():
            break
        (message,) = due.iter_rows(named=True)
        bodies.add((message["alert_id"], message["body"]))
        outcome = waiting.pop(0)
        if outcome == "crash":
            continue
        wait = timedelta(seconds=retry_after) if outcome == "retry" else None
        attempt = Attempt(outcome=outcome, status=0, retry_after=wait)
        data = delivering.delivery(message["alert_id"], URL, message["attempts"] + 1, attempt, now)
        ledger.record("delivery", data)
        now = datetime.fromisoformat(data["next_attempt_at"]) if data["next_attempt_at"] else now + timedelta(days=9)
    (state,) = ledger.store.query("ledger/alert_deliveries").get_column("state")
    made = sum(outcome != "crash" for outcome in failures)
    assert state == ("delivered" if made < 10 else "failed")
    assert len(bodies) == 1


# -- the door


@UNTIMED
@given(
    text=st.text() | st.integers().map(str) | st.datetimes().map(lambda one: one.strftime("%a, %d %b %Y %H:%M:%S GMT"))
)
def test_any_retry_after_is_a_wait_of_up_to_a_day_or_nothing(text):
    wait = retry_after(text, NOW, timedelta(hours=24))
    assert wait is None or timedelta(0) <= wait <= timedelta(hours=24)


@UNTIMED
@given(address=st.ip_addresses(v=4))
def test_an_address_wrapped_in_ipv6_is_judged_as_itself_or_refused(address):
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    assert address_guard.is_public(mapped) == address_guard.is_public(address)
    for prefix in ("64:ff9b::", "::", "2002:"):
        number = int(address)
        text = f"2002:{number >> 16:x}:{number & 0xFFFF:x}::" if prefix == "2002:" else f"{prefix}{address}"
        assert not address_guard.is_public(ipaddress.IPv6Address(text))


@UNTIMED
@given(body=st.text(st.characters(exclude_categories=["Cs"])), key=st.binary(min_size=24, max_size=64))
def test_our_signature_is_the_librarys_for_any_body_and_key(body, key):
    secret = "whsec_" + base64.b64encode(key).decode()
    ours = signing.signature(signing.keys(secret), "alert_1", 1_792_152_000, body.encode())
    theirs = Verifier(secret).sign("alert_1", datetime.fromtimestamp(1_792_152_000, tz=UTC), body)
    assert ours == theirs
