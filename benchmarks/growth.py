"""Growth: what polling adds on disk, per project, to the store, to the journal's raw pages and to a checkpoint.

    python benchmarks/growth.py [--fleet 4000] [--projects 500] [--polls 48]

First a month of a fleet, made as in fleet.py, in bytes per project and hour beside the floors that were measured of
the bare columns (a wide table in DuckDB, the same in project-ordered Parquet). Then a day of polls of a small fleet,
each of which reads the last 24 hours of every project, 100 to a page, eight metrics to an hour; and a day of polls on
which nothing changes. DuckDB gives a file whole blocks of 256 KB, so that a small store's figure is of these.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fleet

from metering.core.meters import KNOWN_METRICS
from metering.core.period import HOUR, floor_hour, rfc3339
from metering.ledger.ledger import Ledger, open_ledger
from metering.store import checkpoint, database, snapshots
from metering.store.journal import JOURNAL

PER_PAGE = 100
WINDOW = 24
START = datetime(2026, 10, 5, tzinfo=UTC)


def value(project: int, hour: int, metric: int, minute: int) -> int:
    """Of an hour since START, as shown that many minutes after its beginning; the same whenever it is asked for."""
    drawn = (project * 2_654_435_761 + hour * 40_503 + metric * 97) % 4093
    if metric in (1, 2, 3, 4):
        return (project * 104_729 + metric) % 10**9 + hour // 6 * (project % 50)
    if project % 10 < 7 or drawn % 2:
        return 0
    return drawn * min(minute, 60) // 60


def page(first: int, projects: int, now: datetime, *, is_quiet: bool) -> bytes:
    """The last 24 hours of 100 projects as the API words them; on a quiet day the hours that were over before it."""
    until = START if is_quiet else floor_hour(now) + HOUR
    starts = [until - number * HOUR for number in range(WINDOW, 0, -1)]
    found = []
    for project in range(first, min(first + PER_PAGE, projects)):
        buckets = []
        for start in starts:
            hour, minute = (start - START) // HOUR, (now - start) // timedelta(minutes=1)
            metrics = [
                {"metric_name": name, "value": value(project, hour, number, minute)}
                for number, name in enumerate(KNOWN_METRICS)
            ]
            span = {"timeframe_start": rfc3339(start), "timeframe_end": rfc3339(start + HOUR)}
            buckets.append({**span, "metrics": metrics})
        period = {"period_id": f"{project:08}-3a53-4a57-9d50-000000000001", "period_plan": "scale"}
        consumption = {**period, "period_start": "2026-10-01T00:00:00Z", "consumption": buckets}
        found.append({"project_id": f"quiet-river-{project:08}", "periods": [consumption]})
    return json.dumps({"projects": found}, separators=(",", ":")).encode()


def poll(ledger: Ledger, walk: int, projects: int, now: datetime, *, is_quiet: bool) -> None:
    """One cycle, as a poll journals it."""
    end = START if is_quiet else floor_hour(now) + HOUR
    span = {"grain": 0, "period_start": rfc3339(end - WINDOW * HOUR), "period_end": rfc3339(end)}
    head = {"walk": walk, "endpoint": "history", "organization": "org-a", **span}
    at = rfc3339(now)
    asked = {"path": "history", "params": {"limit": "100"}, "sent_at": at, "received_at": at}
    for first in range(0, projects, PER_PAGE):
        body = page(first, projects, now, is_quiet=is_quiet)
        ledger.record("page", {**head, **asked, "request_id": f"{walk:08x}-{first:08x}-4a57-9d50"}, body=body)
    ledger.record("walk", {**head, "first_sent_at": at, "kind": "", "reason": ""})
    counted = {"requests": 1, "pages": 1, "changes": 0, "outcome": "complete", "faults": []}
    ledger.record("cycle", {"command": "tick", "started_at": at, "ended_at": at, **counted})


def days(directory: Path, projects: int, moments: Iterator[datetime], *, is_quiet: bool) -> None:
    """Polls at each of the moments."""
    clock = [START]
    with open_ledger(directory, lambda: clock[0]) as ledger:
        for walk, now in enumerate(moments, start=int(ledger.store.query("polling/next_walk").item())):
            clock[0] = now
            poll(ledger, walk, projects, now, is_quiet=is_quiet)


def sizes(directory: Path) -> tuple[int, int, int, int]:
    """(store, journal's segments, a checkpoint, observations in the checkpoint), in bytes."""
    with snapshots.open_reader(directory) as found, tempfile.TemporaryDirectory() as scratch:
        made = checkpoint.write(found, Path(scratch))
        observed = (made.path / "observation.parquet").stat().st_size
        whole = made.bytes
    segments = sum(file.stat().st_size for file in (directory / JOURNAL).glob("*.journal"))
    return (directory / database.SNAPSHOT).stat().st_size, segments, whole, observed


def month(projects: int) -> None:
    """Prints what a month of a fleet takes."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        fleet.build(directory, projects)
        with closing(fleet.opened(directory).connection) as connection:
            connection.execute("checkpoint")
            made = checkpoint.write(database.Store(connection), directory / JOURNAL)
        hours = projects * 744
        hot = (directory / database.DATABASE).stat().st_size / hours
        observed = (made.path / "observation.parquet").stat().st_size / hours
        whole = made.bytes / hours
    print(f"a month of {projects} projects: bytes per project and hour\n")
    print(f"{'store':<24}{hot:>8.2f}   floor 12.8")
    print(f"{'checkpoint':<24}{whole:>8.2f}")
    print(f"{'  its observations':<24}{observed:>8.2f}   floor 1.25\n")


def a_day(projects: int, polls: int) -> None:
    """Prints what a day of polls takes, and one on which nothing changes."""
    step = timedelta(days=1) / polls
    pages = -(-projects // PER_PAGE) * polls
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "var"
        days(directory, projects, iter([]), is_quiet=False)
        empty = sizes(directory)
        days(directory, projects, (START + step * n for n in range(polls)), is_quiet=False)
        busy = sizes(directory)
        last = START + timedelta(days=1)
        days(directory, projects, iter([last]), is_quiet=True)  # what was read for the first time
        before = sizes(directory)
        days(directory, projects, (last + step * n for n in range(1, polls + 1)), is_quiet=True)
        quiet = sizes(directory)
    print(f"{polls} polls a day of {projects} projects: bytes per project and day\n")
    print(f"{'':<24}{'as ever':>12}{'nothing changes':>20}")
    names = ("store", "journal", "checkpoint", "  its observations")
    for name, first, then, rest, end in zip(names, empty, busy, before, quiet, strict=True):
        print(f"{name:<24}{(then - first) / projects:>12.1f}{(end - rest) / projects:>20.1f}")
    print(f"\n{'journal, a raw page':<24}{(busy[1] - empty[1]) / pages:>12.0f}{(quiet[1] - before[1]) / pages:>20.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fleet", type=int, default=4000)
    parser.add_argument("--projects", type=int, default=500)
    parser.add_argument("--polls", type=int, default=48)
    given = parser.parse_args()
    month(given.fleet)
    a_day(given.projects, given.polls)
