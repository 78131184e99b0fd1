"""The metrics say what the ledger holds, in a form that Prometheus reads, without a series per project."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from metering.config import Config, read
from metering.ledger import ledger
from metering.operations import metrics
from tests.support.blank import blank_store
from tests.support.scribe import Memory, Scribe, inventory_body

NOW = datetime(2026, 10, 5, 12, 20, tzinfo=UTC)
CONFIG = """
[[organizations]]
id = "org-a"
api_key_env = "KEY"
default_plan = "pro"

[[webhooks]]
url = "https://hooks.example.com/metering?token=secret"
secret_env = "HOOK"

[[plans]]
id = "pro"
currency = "USD"
[plans.quota]
compute_time_seconds = 1000
"""


@pytest.fixture
def configured(tmp_path: Path) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return read(path, environ={})


def samples(text: bytes) -> dict[str, float]:
    """`name{label="value",…}` -> value, as an independent parser reads them."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        assert family.documentation, f"{family.name} has no help"
        assert family.type in ("gauge", "counter"), f"{family.name} has no type"
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def usage_of_five_hours(scribe: Scribe) -> None:
    """Two projects; the walk saw the day's first twelve hours, of which eleven had been over for an hour."""
    scribe.inventory(inventory_body({"id": "a"}, {"id": "b"}))
    scribe.history({"a": [("2026-10-05T03", {"compute_unit_seconds": 850})]})
    scribe.counters("a", compute_time_seconds=850, consumption_period_start="2026-10-01T00:00:00Z")
    scribe.cycle()


def alert(url: str, number: int) -> dict[str, Any]:
    return {
        "alert_id": f"alert_{number}",
        "event_type": "invoice.finalized",
        "status": "send",
        "reason": "",
        **dict.fromkeys(("project_id", "quota", "period_start", "quota_limit", "threshold_percent")),
        "body": '{"type": "invoice.finalized", "data": {}}',
        "endpoints": [url],
        "due_at": "2026-10-05T12:00:00Z",
    }


def test_an_empty_store_has_metrics_too_and_never_succeeded(configured):
    found = samples(metrics.exposition(blank_store(), configured, NOW))
    assert found["metering_last_success_timestamp_seconds"] == 0
    assert found["metering_requests_total"] == 0
    assert found['metering_gap_seconds{month="running",organization="org-a"}'] == (4 * 24 + 11) * 3600
    assert found['metering_gap_seconds{month="previous",organization="org-a"}'] == 720 * 3600


def test_freshness_gaps_and_counts_are_those_of_the_ledger(configured):
    book = Memory()
    usage_of_five_hours(Scribe(record=book.record))
    found = samples(metrics.exposition(book.store, configured, NOW))
    assert found["metering_last_success_timestamp_seconds"] == datetime(2026, 10, 5, 12, tzinfo=UTC).timestamp()
    certified = found['metering_certified_until_timestamp_seconds{organization="org-a"}']
    assert certified == datetime(2026, 10, 5, 11, tzinfo=UTC).timestamp()
    assert found['metering_projects{organization="org-a"}'] == 2
    assert found['metering_gap_seconds{month="running",organization="org-a"}'] == 4 * 24 * 3600
    assert found["metering_pages_total"] == 3
    assert found["metering_changes_total"] == 1
    assert found["metering_cycles_total"] == 1
    assert found["metering_incomplete_cycles_total"] == 0


def test_quotas_are_counted_by_level_and_no_project_has_a_series(configured):
    book = Memory()
    usage_of_five_hours(Scribe(record=book.record))
    found = samples(metrics.exposition(book.store, configured, NOW))
    assert found['metering_quotas{level="warning"}'] == 1
    assert sum(value for name, value in found.items() if name.startswith("metering_quotas")) == 2
    labels = {label for name in found for label in re.findall(r"(\w+)=", name)}
    assert labels == {"organization", "month", "level", "endpoint"}


def test_a_token_in_an_endpoint_is_not_shown_and_its_messages_are_counted(configured):
    book = Memory()
    book.record("alert", {"alerts": [alert("https://hooks.example.com/metering?token=secret", 1)]})
    book.record("alert", {"alerts": [alert("https://hooks.example.com/metering?token=other", 2)]})
    book.record("alert", {"alerts": [alert("slack:ops", 3)]})
    book.flush()
    text = metrics.exposition(book.store, configured, NOW)
    assert samples(text)['metering_outbox_depth{endpoint="https://hooks.example.com/metering"}'] == 2
    assert samples(text)['metering_outbox_depth{endpoint="slack:ops"}'] == 1
    assert b"token" not in text


def test_the_text_file_is_whole_and_nothing_is_left_beside_it(configured):
    directory = configured.store.directory
    with ledger.open_ledger(directory, lambda: NOW) as books:
        usage_of_five_hours(Scribe(record=books.record))
        path = metrics.write(books.store, configured, NOW)
        assert path.read_bytes() == metrics.exposition(books.store, configured, NOW)
    assert path == directory / "metrics.prom"
    assert list(directory.glob("metrics*")) == [path]


def test_a_second_writing_replaces_the_first(configured):
    with ledger.open_ledger(configured.store.directory, lambda: NOW) as books:
        metrics.write(books.store, configured, NOW)
        usage_of_five_hours(Scribe(record=books.record))
        path = metrics.write(books.store, configured, NOW)
    assert samples(path.read_bytes())["metering_cycles_total"] == 1
