"""The state as Prometheus metrics: what `metrics` prints, and a text file that each tick leaves in the store directory.

Reads the store, since a process that lives for seconds cannot be scraped. Computes no usage and no price, and shows no
project or customer: the number of series must not grow with the fleet.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from metering.billing import terms
from metering.billing.month import Month
from metering.config import Config
from metering.core.period import HOUR, parse_time, previous_month
from metering.ledger.alarms import listed
from metering.ledger.backup_record import standing
from metering.quotas import status
from metering.store.database import Store

TEXTFILE = "metrics.prom"
LEVELS = ("ok", "warning", "critical", "exceeded", "unknown")
_TOTALS = {
    "requests": "Requests made to Neon's API.",
    "pages": "Answers received and journalled.",
    "changes": "Changed observations landed.",
    "cycles": "Polling cycles run.",
    "incomplete_cycles": "Polling cycles that could not read everything.",
    "alerts": "Alerts recorded.",
    "delivery_attempts": "Webhook delivery attempts.",
}
"""Column of `totals.sql` -> what it counts. They only grow: the ledger has them, so they survive restarts."""


class _Totals(Collector):
    """The counters that the ledger holds."""

    def __init__(self, store: Store) -> None:
        self._row = store.query("operations/totals").row(0, named=True)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """One counter per total."""
        for name, told in _TOTALS.items():
            yield CounterMetricFamily(f"metering_{name}", told, value=self._row[name])


def exposition(store: Store, config: Config, now: datetime) -> bytes:
    """The metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Totals(store))
    _freshness(registry, store)
    running = status.running(store, terms.of(config), now)
    _coverage(registry, running)
    _quotas(registry, running, config)
    _outbox(registry, store)
    _endpoints(registry, store, config)
    _alarms(registry, store)
    _backup(registry, store, config)
    return generate_latest(registry)


def write(store: Store, config: Config, now: datetime) -> Path:
    """Writes the text file into the store directory atomically."""
    path = config.store.directory / TEXTFILE
    temporary = path.with_suffix(".prom.tmp")
    temporary.write_bytes(exposition(store, config, now))
    temporary.replace(path)
    return path


def _freshness(registry: CollectorRegistry, store: Store) -> None:
    last = store.query("operations/last_complete_poll")["started_at"].item()
    polled = Gauge(
        "metering_last_success_timestamp_seconds", "When the last complete polling cycle began.", registry=registry
    )
    polled.set(0 if last is None else int(last.timestamp()))
    certified = Gauge(
        "metering_certified_until_timestamp_seconds",
        "Up to when an organization's usage is known.",
        ["organization"],
        registry=registry,
    )
    projects = Gauge("metering_projects", "Projects that inventory lists.", ["organization"], registry=registry)
    for row in store.query("billing/freshness").iter_rows(named=True):
        if row["certified_until"] is not None:
            certified.labels(row["organization"]).set(int(row["certified_until"].timestamp()))
    for organization, count in store.query("polling/listed_counts").iter_rows():
        projects.labels(organization).set(count)


def _coverage(registry: CollectorRegistry, running: Month) -> None:
    missing = Gauge(
        "metering_gap_seconds",
        "Time that ended and is not known, in the running month and the one before.",
        ["organization", "month"],
        registry=registry,
    )
    before = replace(running, period=previous_month(running.now))
    for label, month in (("running", running), ("previous", before)):
        seconds = dict.fromkeys(sorted(month.coverage.certified), 0)
        for gap in month.coverage.gaps(month.now - HOUR):
            length = parse_time(gap["end"]) - parse_time(gap["start"])
            seconds[gap["organization"]] += length // HOUR * 3600
        for organization, count in seconds.items():
            missing.labels(organization, label).set(count)


def _quotas(registry: CollectorRegistry, running: Month, config: Config) -> None:
    levels = Gauge("metering_quotas", "Quotas by level.", ["level"], registry=registry)
    counts = status.levels(running, config.quota.thresholds_percent)
    for level in LEVELS:
        levels.labels(level).set(counts.get(level, 0))


def _outbox(registry: CollectorRegistry, store: Store) -> None:
    depth = Gauge("metering_outbox_depth", "Messages that wait for delivery.", ["endpoint"], registry=registry)
    for row in store.query("ledger/outbox_depth").iter_rows(named=True):
        depth.labels(_shown(row["endpoint"])).inc(row["pending"])


def _endpoints(registry: CollectorRegistry, store: Store, config: Config) -> None:
    state = Gauge(
        "metering_endpoint_failing",
        "Whether an endpoint is off or its deliveries were given up.",
        ["endpoint"],
        registry=registry,
    )
    failing = set(store.query("ledger/endpoints_failing")["endpoint"])
    for one in config.endpoints:
        state.labels(_shown(one.endpoint)).inc(one.endpoint in failing)


def _alarms(registry: CollectorRegistry, store: Store) -> None:
    waiting = Gauge("metering_open_alarms", "Alarms that nobody has acknowledged.", registry=registry)
    waiting.set(sum(row["acknowledged_at"] is None for row in listed(store)))


def _backup(registry: CollectorRegistry, store: Store, config: Config) -> None:
    found = standing(store, config.store.directory, config.backup.directory)
    if found is None:
        return
    written = Gauge(
        "metering_backup_timestamp_seconds", "When the backup was brought up to date last; 0: never.", registry=registry
    )
    written.set(int(parse_time(found.written_at).timestamp()) if found.written_at else 0)
    lacks = Gauge("metering_backup_lacks_records", "Journal records that the backup lacks.", registry=registry)
    lacks.set(found.lacks)
    failing = Gauge("metering_backup_failing", "Whether the backup cannot be brought up to date.", registry=registry)
    failing.set(found.failing is not None)


def _shown(endpoint: str) -> str:
    """The label of an endpoint: its address without the query, which may hold a token, or a channel's kind and name."""
    parts = urlsplit(endpoint)
    if not parts.netloc:
        return endpoint
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
