"""Growth: what polling adds on disk, per project, to the store, to the journal's raw pages and to a checkpoint.

    python benchmarks/growth.py [--fleet 4000] [--projects 500] [--polls 48]

First a month of a fleet, made as in fleet.py, in bytes per project and hour beside the floors that were measured of
the bare columns (a wide table in DuckDB, the same in project-ordered Parquet). Then a day of polls of a small fleet,
each of which reads the last 24 hours of every project, 100 to a page, eight metrics to an hour; and a day of polls on
which nothing changes. DuckDB gives a file whole blocks of 256 KB, so that a small store's figure is of these.

Last the journal alone, for fleets of several sizes: the second day of polls, also one on which nothing is used while
the hours go by; beside the bytes of the same answers each compressed for itself (zstd, level 3), and processor time.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fleet
import zstandard

from metering.core.meters import KNOWN_METRICS
from metering.core.period import HOUR, floor_hour, rfc3339
from metering.ledger.ledger import open_ledger
from metering.ledger.streams import Streams
from metering.store import checkpoint, database, snapshots
from metering.store.journal import JOURNAL, Journal, read

PER_PAGE = 100
WINDOW = 24
START = datetime(2026, 10, 5, tzinfo=UTC)
AS_EVER, UNUSED, UNCHANGED = KINDS = ("as ever", "nothing is used", "nothing changes")


def value(project: int, hour: int, metric: int, minute: int) -> int:
    """Of an hour since START, as shown that many minutes after its beginning; the same whenever it is asked for."""
    drawn = (project * 2_654_435_761 + hour * 40_503 + metric * 97) % 4093
    if metric in (1, 2, 3, 4):
        return (project * 104_729 + metric) % 10**9 + hour // 6 * (project % 50)
    if project % 10 < 7 or drawn % 2:
        return 0
    return drawn * min(minute, 60) // 60


def page(first: int, projects: int, now: datetime, kind: str) -> bytes:
    """The last 24 hours of 100 projects as the API words them; where nothing changes, those before the first day."""
    until = START if kind == UNCHANGED else floor_hour(now) + HOUR
    starts = [until - number * HOUR for number in range(WINDOW, 0, -1)]
    found = []
    for project in range(first, min(first + PER_PAGE, projects)):
        buckets = []
        for start in starts:
            hour, minute = (start - START) // HOUR, (now - start) // timedelta(minutes=1)
            if kind == UNUSED:
                hour, minute = 0, 0
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


def poll(record: Callable[..., object], walk: int, projects: int, now: datetime, kind: str) -> None:
    """One cycle, as a poll journals it."""
    end = START if kind == UNCHANGED else floor_hour(now) + HOUR
    span = {"grain": 0, "period_start": rfc3339(end - WINDOW * HOUR), "period_end": rfc3339(end)}
    head = {"walk": walk, "endpoint": "history", "organization": "org-a", **span}
    at = rfc3339(now)
    asked = {"path": "history", "params": {"limit": "100"}, "sent_at": at, "received_at": at}
    for first in range(0, projects, PER_PAGE):
        body = page(first, projects, now, kind)
        record("page", {**head, **asked, "request_id": f"{walk:08x}-{first:08x}-4a57-9d50"}, body=body)
    record("walk", {**head, "first_sent_at": at, "kind": "", "reason": ""})
    counted = {"requests": 1, "pages": 1, "changes": 0, "outcome": "complete", "faults": []}
    record("cycle", {"command": "tick", "started_at": at, "ended_at": at, **counted})


def days(directory: Path, projects: int, moments: Iterator[datetime], kind: str) -> None:
    """Polls at each of the moments."""
    clock = [START]
    with open_ledger(directory, lambda: clock[0]) as ledger:
        for walk, now in enumerate(moments, start=int(ledger.store.query("polling/next_walk").item())):
            clock[0] = now
            poll(ledger.record, walk, projects, now, kind)


def sizes(directory: Path) -> tuple[int, int, int, int]:
    """(store, journal's segments, a checkpoint, observations in the checkpoint), in bytes."""
    with snapshots.open_reader(directory) as found, tempfile.TemporaryDirectory() as scratch:
        made = checkpoint.write(found, Path(scratch))
        observed = (made.path / "observation.parquet").stat().st_size
        whole = made.bytes
    segments = segment_bytes(directory / JOURNAL)
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
        days(directory, projects, iter([]), AS_EVER)
        empty = sizes(directory)
        days(directory, projects, (START + step * n for n in range(polls)), AS_EVER)
        busy = sizes(directory)
        last = START + timedelta(days=1)
        days(directory, projects, iter([last]), UNCHANGED)  # what was read for the first time
        before = sizes(directory)
        days(directory, projects, (last + step * n for n in range(1, polls + 1)), UNCHANGED)
        quiet = sizes(directory)
    print(f"{polls} polls a day of {projects} projects: bytes per project and day\n")
    print(f"{'':<24}{'as ever':>12}{'nothing changes':>20}")
    names = ("store", "journal", "checkpoint", "  its observations")
    for name, first, then, rest, end in zip(names, empty, busy, before, quiet, strict=True):
        print(f"{name:<24}{(then - first) / projects:>12.1f}{(end - rest) / projects:>20.1f}")
    print(f"\n{'journal, a raw page':<24}{(busy[1] - empty[1]) / pages:>12.0f}{(quiet[1] - before[1]) / pages:>20.0f}")


def second_day(projects: int, polls: int, kind: str) -> tuple[int, int, float, float]:
    """(bytes, bytes of whole pages, seconds to append, to read) of a day's polls in a journal that has a day before."""
    step, spent, whole = timedelta(days=1) / polls, 0.0, 0
    with tempfile.TemporaryDirectory() as scratch:
        directory, streams = Path(scratch) / JOURNAL, Streams(lambda _walk: 0)
        books, before, seq = Journal(directory), 0, 0
        for number in range(2 * polls):
            if number == polls:
                before, spent, whole, seq = segment_bytes(directory), 0.0, 0, books.seq
            now = START + step * number

            def record(what: str, data: dict[str, object], body: bytes = b"", now: datetime = now) -> None:
                nonlocal spent, whole
                began = time.process_time()
                books.append(what, data, at=now, body=body, stream=streams.of(what, data), sync=False)
                spent += time.process_time() - began
                whole += len(zstandard.compress(body, 3)) if body else 0

            poll(record, number + 1, projects, now, kind)
        books.close()
        grown, began = segment_bytes(directory) - before, time.process_time()
        for found in read(directory, after=seq):
            assert bool(found.body) == (found.kind == "page")
        return grown, whole, spent, time.process_time() - began


def segment_bytes(directory: Path) -> int:
    """The size of a journal's segments."""
    return sum(file.stat().st_size for file in directory.glob("*.journal"))


def journals(polls: int) -> None:
    """Prints what the journal takes for fleets of several sizes."""
    print(f"\nthe journal's second day of {polls} polls: bytes per project and day; processor milliseconds per page\n")
    columns = f"{'bytes':>10}{'each whole':>12}{'ratio':>8}{'append':>9}{'read':>7}"
    print(f"{'projects':>8}  {'':<18}{columns}")
    for projects in (10, 100, 500):
        pages = -(-projects // PER_PAGE) * polls
        for kind in KINDS:
            grown, whole, append, opened = second_day(projects, polls, kind)
            found = f"{grown / projects:>10,.0f}{whole / projects:>12,.0f}{grown / whole:>8.3f}"
            print(f"{projects:>8}  {kind:<18}{found}{append / pages * 1e3:>9.1f}{opened / pages * 1e3:>7.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fleet", type=int, default=4000)
    parser.add_argument("--projects", type=int, default=500)
    parser.add_argument("--polls", type=int, default=48)
    given = parser.parse_args()
    month(given.fleet)
    a_day(given.projects, given.polls)
    journals(given.polls)
