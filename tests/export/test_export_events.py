"""Usage events for OpenMeter, Lago and Stripe's meters; their ids make sending them again harmless."""

import json
from pathlib import Path

import pytest

from metering.billing import month, terms
from metering.billing.recorded import Recorded
from metering.core.errors import ConfigError
from metering.core.period import parse_month
from metering.export import events, stripe
from metering.store import snapshots
from tests.support.books import Books, configured, when
from tests.support.card import plan, price, toml
from tests.support.issued import POISON, book, document, line

PLANS = toml(plan("pro", price(unit_price="0.16")))
SUBSCRIPTIONS = (
    "project_id,customer,plan,valid_from,valid_to\n"
    "calm,acme,pro,,2026-09-01T02:00:00Z\ncalm,beta,pro,2026-09-01T02:00:00Z,\n"
)


def compute(value: int) -> dict[str, int]:
    return {"compute_unit_seconds": value}


@pytest.fixture
def lived(tmp_path: Path):
    """Four hours of September, the fourth not certified; calm changes its customer at 02:00, other has none."""
    config = configured(
        tmp_path, PLANS, subscriptions=SUBSCRIPTIONS, customers="customer,stripe_customer\nacme,cus_1\nbeta,cus_2\n"
    )
    books = Books(config.store.directory)
    with books.open() as found:
        books.inventory(found, {"calm": "calm-1", "other": "other-1"}, at="2026-09-01T03:30")
        usage = {
            "calm": {f"2026-09-01T0{hour}": compute(100 + hour) for hour in range(4)},
            "other": {"2026-09-01T00": compute(7)},
        }
        books.history(found, usage, since="2026-09-01", until="2026-09-01T04", at="2026-09-01T04:30")
    return config


def counted(config, by="hour"):
    with snapshots.open_reader(config.store.directory) as found:
        now = when("2026-09-01T04:30")
        wanted = month.Month(
            recorded=Recorded(store=found), terms=terms.of(config), period=parse_month("2026-09", now), now=now
        )
        return events.counted(wanted, by)


def test_certified_hours_of_customers_make_events_each_for_who_paid_then(lived):
    assert [(row["start"], row["customer"], row["value"]) for row in counted(lived)] == [
        ("2026-09-01T00:00:00Z", "acme", "100"),
        ("2026-09-01T01:00:00Z", "acme", "101"),
        ("2026-09-01T02:00:00Z", "beta", "102"),
    ]


def test_a_day_that_is_not_over_makes_no_event(lived):
    assert counted(lived, "day") == []


def test_a_cloudevent_has_what_the_specification_and_openmeter_want(lived):
    from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

    (batch,) = [json.loads(row) for row in events.cloudevents(counted(lived)).splitlines()]
    assert len(batch) == 3
    for one in batch:
        message = HTTPMessage(headers={"content-type": "application/cloudevents+json"}, body=json.dumps(one).encode())
        read = from_structured_event(message)
        assert (read.get_id(), read.get_subject()) == (one["id"], one["subject"])
    assert {name: batch[0][name] for name in ("source", "type", "subject", "time")} == {
        "source": "/metering/org-1",
        "type": "metering.usage.compute_unit_seconds",
        "subject": "acme",
        "time": "2026-09-01T00:00:00Z",
    }
    assert batch[0]["data"]["value"] == "100" and batch[0]["data"]["project_id"] == "calm"


def test_lagos_batches_hold_a_hundred_events_each():
    row = counted_row("2026-09-01T00:00:00Z")
    rows = [{**row, "start": f"2026-09-{day:02d}T{hour:02d}:00:00Z"} for day in range(1, 11) for hour in range(24)]
    batches = [json.loads(text)["events"] for text in events.lago(rows).splitlines()]
    assert [len(batch) for batch in batches] == [100, 100, 40]
    assert batches[0][0] == {
        "transaction_id": events.event_id(rows[0]),
        "external_subscription_id": "acme",
        "code": "compute_unit_seconds",
        "timestamp": 1788220800,
        "properties": {name: value for name, value in rows[0].items() if name != "customer"},
    }


def counted_row(start: str) -> dict:
    names = ("organization", "project_id", "customer", "plan", "metric", "value", "meter", "quantity", "unit")
    values = ("org-1", "calm", "acme", "pro", "compute_unit_seconds", "100", "compute", "0.027777777778", "CU-hour")
    return {**dict(zip(names, values, strict=True)), "start": start, "end": "2026-09-01T01:00:00Z"}


def test_an_events_id_follows_from_what_it_counts_and_not_from_how_much():
    row = counted_row("2026-09-01T00:00:00Z")
    assert events.event_id(row) == events.event_id({**row, "value": "101", "customer": "beta", "plan": "free"})
    for name, other in (
        ("project_id", "warm"),
        ("metric", "other"),
        ("start", "2026-09-01T01:00:00Z"),
        ("organization", "o"),
    ):
        assert events.event_id(row) != events.event_id({**row, name: other})


def test_stripes_meter_events_are_text_and_named_after_the_metric():
    row = counted_row("2026-09-01T00:00:00Z")
    assert stripe.meter_events([row], {"acme": "cus_1"}) == [
        {
            "event_name": "compute_unit_seconds",
            "payload": {"stripe_customer_id": "cus_1", "value": "100"},
            "timestamp": 1788220800,
            "identifier": events.event_id(row),
        }
    ]


def test_customers_that_stripe_does_not_know_are_told_all_at_once():
    rows = [{**counted_row("2026-09-01T00:00:00Z"), "customer": name} for name in ("b", "a", "c")]
    with pytest.raises(ConfigError) as told:
        stripe.meter_events(rows, {"c": "cus_c"})
    assert [fault.where for fault in told.value.faults] == ["customers.csv, a", "customers.csv, b"]


def test_stripes_integers_have_stripes_digits():
    asked = [
        (549, "USD"),
        (500, "JPY"),
        (1230, "KWD"),
        (1234, "KWD"),
        (700, "ISK"),
        (500, "UGX"),
        (500, "MGA"),
        (550, "MGA"),
    ]
    assert [stripe.stripe_amount(*one) for one in asked] == [549, 500, 1230, None, 70000, 50000, 5, None]
    assert stripe.stripe_amount(-549, "USD") == -549


@pytest.mark.parametrize("text", POISON, ids=lambda text: ascii(text)[:30])
def test_hostile_ids_stay_inside_their_strings(text):
    row = {**counted_row("2026-09-01T00:00:00Z"), "project_id": text, "customer": text, "plan": text}
    for write in (events.cloudevents, events.lago):
        (only,) = write([row]).encode().splitlines()
        assert json.dumps(text) in only.decode()


def test_amounts_that_stripe_has_no_number_for_are_told_all_at_once():
    odd = [line("usage", "2.345"), line("usage", "0.001", tier="2"), line("usage", "1.010", tier="3")]
    with pytest.raises(ConfigError) as told:
        stripe.items(book([document("INV-1", "kuwait", "KWD", odd, ("3.356", [], "3.356"))]))
    assert [fault.what for fault in told.value.faults] == [
        "Stripe has no number for 2.345 KWD",
        "Stripe has no number for 0.001 KWD",
    ]
