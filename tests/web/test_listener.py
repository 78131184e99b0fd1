"""Metrics and probes say what the snapshot says, and end with the service."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from metering.config import Config, read
from metering.core.errors import MeteringError
from metering.core.period import parse_time
from metering.ledger import ledger
from metering.operations import metrics
from metering.store import database, snapshots
from metering.web import probes, server
from tests.support.scribe import Scribe, inventory_body

CYCLE = datetime(2026, 10, 5, 12, tzinfo=UTC)
CONFIG = """
[schedule]
poll_minutes = 15
[[organizations]]
id = "org-a"
api_key_env = "KEY"
"""


@pytest.fixture
def configured(tmp_path: Path) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return read(path, environ={})


def polled(configured: Config) -> None:
    """A complete cycle at 12:00, published."""
    with ledger.open_ledger(configured.store.directory, lambda: CYCLE) as books:
        scribe = Scribe(record=books.record)
        scribe.inventory(inventory_body({"id": "a"}))
        scribe.cycle()


def at(text: str) -> datetime:
    return parse_time(f"2026-10-05T{text}Z")


def healthy(configured: Config, started_at: datetime, now: datetime) -> tuple[int, dict[str, Any]]:
    """What /readyz says."""
    return probes.health(probes.facts(configured.store.directory), configured.schedule.poll_minutes, started_at, now)


@pytest.mark.parametrize(
    ("now", "status", "said"),
    [("12:00:00", 200, "ok"), ("13:45:00", 200, "ok"), ("13:45:01", 503, "stale")],
)
def test_three_slots_and_an_hour_after_the_last_complete_cycle_it_is_stale(configured, now, status, said):
    polled(configured)
    found, told = healthy(configured, CYCLE - timedelta(days=1), at(now))
    assert (found, told["status"]) == (status, said)
    assert told["last_complete_cycle_at"] == "2026-10-05T12:00:00Z"
    assert told["stale_after"] == "2026-10-05T13:45:00Z"


@pytest.mark.parametrize(("now", "status", "said"), [("13:45:00", 200, "starting"), ("13:45:01", 503, "stale")])
def test_a_service_that_was_never_complete_has_as_long_from_its_start(configured, now, status, said):
    found, told = healthy(configured, CYCLE, at(now))
    assert (found, told["status"], told["last_complete_cycle_at"]) == (status, said, None)


@pytest.mark.parametrize("damage", [b"", b"not a database", b"DUCK" * 4096])
def test_a_snapshot_that_cannot_be_read_is_unavailable(configured, damage):
    polled(configured)
    (configured.store.directory / database.SNAPSHOT).write_bytes(damage)
    status, told = healthy(configured, CYCLE, CYCLE)
    assert (status, told["status"]) == (503, "unreadable")
    assert told["error"]


def test_a_service_whose_cycles_fail_for_an_hour_is_not_ready_and_says_why(configured):
    polled(configured)
    with ledger.open_ledger(configured.store.directory, lambda: CYCLE) as books:
        counted = dict.fromkeys(("requests", "pages", "changes"), 0)
        told = {"command": "tick", "started_at": "2026-10-05T12:15:00Z", "ended_at": "2026-10-05T12:15:00Z", **counted}
        books.record("cycle", {**told, "outcome": "partial", "faults": ["org-a: Neon cannot be reached"]})
    assert healthy(configured, CYCLE, at("12:59:59"))[0] == 200
    status, said = healthy(configured, CYCLE, at("13:00:00"))
    assert (status, said["status"], said["error"]) == (503, "failing", "org-a: Neon cannot be reached")
    status, said = healthy(configured, CYCLE, at("14:00:00"))
    assert (status, said["status"], "Neon cannot be reached" in said["error"]) == (503, "stale", True)


def test_a_snapshot_that_is_missing_beside_a_journal_is_unavailable(configured):
    polled(configured)
    (configured.store.directory / database.SNAPSHOT).unlink()
    status, told = healthy(configured, CYCLE, CYCLE)
    assert (status, told["status"], "snapshot.duckdb is missing" in told["error"]) == (503, "missing", True)


def state(configured: Config, now: datetime) -> Starlette:
    return Starlette(routes=probes.routes(lambda: configured, lambda: now))


@pytest.fixture
def pages(configured: Config) -> Iterator[str]:
    polled(configured)
    with server.Listener(state(configured, at("12:20:00")), "127.0.0.1:0") as found:
        yield f"http://{found.address}"


def asked(url: str, method: str = "GET") -> tuple[int, str, bytes]:
    """(status, type, body)."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
            return answer.status, answer.headers["content-type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read()


def test_the_metrics_are_those_of_the_command(pages, configured):
    status, kind, body = asked(f"{pages}/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    with snapshots.open_reader(configured.store.directory) as found:
        assert body.startswith(metrics.exposition(found, configured, at("12:20:00")))
    assert b"# TYPE metering_page_failures_total counter" in body


def test_health_is_json_and_not_kept(pages):
    told: dict[str, Any] = {"status": "reading"}
    while told["status"] == "reading":
        status, kind, body = asked(f"{pages}/healthz")
        told = json.loads(body)
    assert (status, kind, told["status"]) == (200, "application/json", "ok")


def test_a_damaged_snapshot_makes_metrics_and_readiness_unavailable_but_the_process_lives(pages, configured):
    (configured.store.directory / database.SNAPSHOT).write_bytes(b"not a database")
    assert asked(f"{pages}/metrics")[0] == 503
    for path in ("/healthz", "/readyz"):
        status, _, body = asked(f"{pages}{path}")
        assert (status, json.loads(body)["status"] in {"unreadable", "reading"}) == (503, True)
    assert asked(f"{pages}/livez")[::2] == (200, b'{"status":"ok"}')


def test_a_probe_sees_a_snapshot_that_is_published_again(pages, configured):
    snapshot = configured.store.directory / database.SNAPSHOT
    whole = snapshot.read_bytes()
    snapshot.unlink()
    assert json.loads(asked(f"{pages}/readyz")[2])["status"] == "missing"
    snapshot.with_suffix(".new").write_bytes(whole)
    snapshot.with_suffix(".new").replace(snapshot)
    while (status := json.loads(asked(f"{pages}/readyz")[2])["status"]) == "missing":
        pass  # a read may take longer than a probe waits
    assert status == "ok"


def test_there_is_nothing_else_and_nothing_to_change(pages):
    assert asked(f"{pages}/")[0] == 404
    assert asked(f"{pages}/metrics", "POST")[0] == 405


def test_an_address_that_is_taken_is_an_error_that_names_it(configured):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(MeteringError, match=f"cannot listen on {address}: "):
            server.Listener(state(configured, CYCLE), address)


def test_after_its_end_nobody_answers(configured):
    with server.Listener(state(configured, CYCLE), "127.0.0.1:0") as found:
        address = found.address
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://{address}/healthz", timeout=5)
