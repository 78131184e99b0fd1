"""How long a page of the dashboard takes on a large fleet, quiet and while cycles land and publish beside it.

    .venv/bin/python benchmarks/dashboard.py [--projects 30000] [--rounds 40]

Three processes, as in earnest: `metering serve`, a writer that lands a fleet's pages and publishes, cycle after cycle,
and a reader that asks for one page after the other. Prints the 50th and 95th percentile of each page in milliseconds,
with nothing landing and while landing. The baseline of the ratio is a file that is served from memory.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import fleet
import httpx

from metering.core.period import HOUR, rfc3339
from metering.ledger.ledger import open_ledger
from metering.store import database, snapshots

HOURS = 340
NOW = fleet.MONTH.start + HOURS * HOUR + timedelta(minutes=65)
PAGES = {
    "baseline: a static file": "/static/favicon.svg",
    "overview": "/",
    "customers": "/customers",
    "customers, searched and sorted": "/customers?q=cust77&sort=-total",
    "customers, page 100": "/customers?page=100",
    "one customer": "/customer?id=cust{number}",
    "projects": "/projects",
    "projects, filtered": "/projects?plans=scale&sort=-neon_cost",
    "one project": "/project?id=calm-dawn-{number:08d}",
    "quotas": "/quotas",
    "invoices": "/invoices",
    "a draft": "/invoice?customer=cust{payer}",
    "alerts": "/alerts",
    "operations": "/operations",
    "plans": "/plans",
}


def prepared(directory: Path, projects: int) -> None:
    """A fleet in the middle of its month, with counters, an inventory and a cycle; published."""
    fleet.build(directory, projects, hours=HOURS)
    found = database.open_writer(directory)
    run = found.connection.execute
    run("insert into listed select 1, organization, project_id, $now from project", {"now": NOW})
    run(
        "insert into counter select organization, project_id, 1, $now, $start, $end,"
        " 0, project_key * 137 % 4_000_000, 0, project_key * 7919 % 60_000_000_000, '{}' from project",
        {"now": NOW, "start": fleet.MONTH.start, "end": fleet.MONTH.end},
    )
    run("insert into cycle values (1, 'poll', $now, $now, 400, 300, 9000, 'complete', '[]')", {"now": NOW})
    snapshots.publish(found, directory)


def land(directory: Path) -> None:
    """Lands the fleet's pages, a cycle after the other, until it is killed."""
    hour = NOW.replace(minute=0, second=0)
    while True:
        with open_ledger(directory, lambda: NOW) as books:
            walk = int(books.store.query("polling/next_walk").item())
            projects = books.store.query("billing/project_keys")["project_id"].sort().to_list()
            for first in range(0, len(projects), fleet.PROJECTS_PER_PAGE):
                books.record(
                    "page", _page(walk, hour), body=_body(projects[first : first + fleet.PROJECTS_PER_PAGE], hour)
                )
            span = {"grain": 0, "period_start": rfc3339(hour - 3 * HOUR), "period_end": rfc3339(hour)}
            head = {"walk": walk, "endpoint": "history", "organization": fleet.ORGANIZATION, **span}
            books.record("walk", {**head, "first_sent_at": rfc3339(NOW), "kind": "", "reason": ""})
        print("published", flush=True)


def _page(walk: int, hour: datetime) -> dict[str, object]:
    return {
        **{"walk": walk, "endpoint": "history", "organization": fleet.ORGANIZATION, "path": "history", "params": {}},
        **{"sent_at": rfc3339(NOW), "received_at": rfc3339(NOW), "request_id": f"request-{walk}", "grain": 0},
        **{"period_start": rfc3339(hour - 3 * HOUR), "period_end": rfc3339(hour)},
    }


def _body(projects: list[str], hour: datetime) -> bytes:
    """Three hours of each project, other values at every cycle."""
    seconds = time.monotonic_ns() % 3600
    buckets = [
        {
            "timeframe_start": rfc3339(hour - back * HOUR),
            "timeframe_end": rfc3339(hour - back * HOUR + HOUR),
            "metrics": [{"metric_name": "compute_unit_seconds", "value": seconds}],
        }
        for back in (3, 2, 1)
    ]
    head = {"period_id": "p-1", "period_plan": "scale", "period_start": rfc3339(fleet.MONTH.start)}
    told = [{"project_id": name, "periods": [{**head, "consumption": buckets}]} for name in projects]
    return json.dumps({"projects": told}).encode()


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """`metering serve` in a process of its own."""
    command = [sys.executable, "-m", "metering", "serve", "--config", str(directory / "config.toml")]
    environ = {**os.environ, "METERING_NOW": rfc3339(NOW), "FLEET_API_KEY": "none"}
    listen = ["--listen", "127.0.0.1:0"]
    with subprocess.Popen([*command, *listen], env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r"http://[^/]+", line):
                    yield found[0]
                    break
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def landing(directory: Path) -> Iterator[list[int]]:
    """A writer beside it; the list says at the end how many cycles it published."""
    command = [sys.executable, __file__, "--land", str(directory)]
    published = [0]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first cycle is through: from here on the next one lands
        try:
            yield published
        finally:
            process.kill()
            published[0] = 1 + process.stdout.read().count("published")


def asked(client: httpx.Client, rounds: int, projects: int) -> dict[str, list[float]]:
    """Milliseconds of each page, round by round."""
    took: dict[str, list[float]] = {name: [] for name in PAGES}
    for turn in range(rounds):
        number = turn * 7919 % projects
        for name, path in PAGES.items():
            begun = time.perf_counter()
            answer = client.get(path.format(number=number, payer=number - number % 3 + 1))
            took[name].append((time.perf_counter() - begun) * 1000)
            assert answer.status_code == 200, (path, answer.status_code)
    return took


def percentile(values: list[float], share: int) -> float:
    """The value that so many percent of the values do not exceed."""
    return sorted(values)[-(-len(values) * share // 100) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--projects", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--land", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help="Keep the fleet there, or take the one that is there.")
    given = parser.parse_args()
    if given.land:
        land(given.land)
        return
    with tempfile.TemporaryDirectory() as temporary:
        directory = given.directory or Path(temporary)
        if not (directory / database.SNAPSHOT).exists():
            directory.mkdir(exist_ok=True)
            prepared(directory, given.projects)
        with serving(directory) as base, httpx.Client(base_url=base, timeout=300) as client:
            begun = time.perf_counter()
            asked(client, 1, given.projects)
            first = time.perf_counter() - begun
            print(f"{given.projects:,} projects; the first page of each kind: {first:.1f} s together", flush=True)
            quiet = asked(client, given.rounds, given.projects)
            with landing(directory) as published:
                loud = asked(client, given.rounds, given.projects)
    base_line = percentile(quiet["baseline: a static file"], 50)
    print(f"{published[0]} cycles were published meanwhile; ms, and the ratio to the static file's median")
    print(f"{'page':<32}{'quiet p50':>13}{'p95':>13}{'landing p50':>13}{'p95':>13}{'ratio':>8}")
    for name in PAGES:
        numbers = [percentile(times[name], share) for times in (quiet, loud) for share in (50, 95)]
        shown = "".join(f"{number:>13.1f}" for number in numbers)
        print(f"{name:<32}{shown}{numbers[3] / base_line:>8.0f}")


if __name__ == "__main__":
    main()
