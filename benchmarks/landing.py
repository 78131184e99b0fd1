"""Landing: how fast answers become durable rows, and what finding the changes costs over a bare append.

    python benchmarks/landing.py [--projects 45000]

Prints values per second from a local HTTP server to the synced journal and the committed store; and, for one polling
cycle in process, the time of each stage as a ratio to DuckDB's bare append of the same rows from Arrow in the same run.
A value is one number of one project, hour and metric. Pages hold 100 projects and 3 hours of 8 metrics.
"""

import argparse
import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import httpx
import polars as pl

from metering.core.meters import KNOWN_METRICS
from metering.core.period import HOUR, rfc3339
from metering.core.secrets import Secret
from metering.ledger.ledger import open_ledger
from metering.ledger.projections.history import HistoryRows
from metering.ledger.projections.history_pages import read_page
from metering.ledger.projections.keys import RowKeys
from metering.neon.client import Neon, Settings
from metering.neon.session import Credential, Session
from metering.neon.wire import envelope
from metering.store.database import Store, open_writer
from metering.store.record import GENESIS, Record

PER_PAGE = 100
HOURS = 3
START = datetime(2026, 10, 5, 9, tzinfo=UTC)
NOW = START + timedelta(hours=HOURS, minutes=5)
ROUNDS = 7
SPAN = {"grain": 0, "period_start": rfc3339(START), "period_end": rfc3339(START + HOURS * HOUR)}


def value(project: int, hour: int, metric: int, poll: int) -> int:
    """Storage is never zero, compute is zero for most; of the running hour everything grows with every poll."""
    grown = poll if hour == HOURS - 1 else 0
    if metric == 0:
        return 0 if project % 20 else project * 7 + hour + grown
    return project * 1000 + metric * 10 + grown


def body(first: int, poll: int, cursor: str | None) -> bytes:
    """One page of consumption history, as the API words it."""
    projects = [
        {
            "project_id": f"project-{project:08}",
            "periods": [
                {
                    "period_id": "0f3c0a4e-3a53-4a57-9d50-000000000001",
                    "period_plan": "scale",
                    "period_start": "2026-10-01T00:00:00Z",
                    "consumption": [
                        {
                            "timeframe_start": rfc3339(START + hour * HOUR),
                            "timeframe_end": rfc3339(START + (hour + 1) * HOUR),
                            "metrics": [
                                {"metric_name": name, "value": value(project, hour, number, poll)}
                                for number, name in enumerate(KNOWN_METRICS)
                            ],
                        }
                        for hour in range(HOURS)
                    ],
                }
            ],
        }
        for project in range(first, first + PER_PAGE)
    ]
    page: dict[str, Any] = {"projects": projects}
    if cursor:
        page["pagination"] = {"cursor": cursor}
    return json.dumps(page, separators=(",", ":")).encode()


def pages(projects: int, poll: int) -> list[bytes]:
    """A whole fleet's pages."""
    firsts = range(0, projects, PER_PAGE)
    return [body(first, poll, str(first + PER_PAGE) if first + PER_PAGE < projects else None) for first in firsts]


# -- from HTTP to the committed store


@contextmanager
def served(bodies: list[bytes]) -> Iterator[str]:
    """A threaded server that gives the pages in the order of their cursors."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            cursor = parse_qs(urlsplit(self.path).query).get("cursor", ["0"])[0]
            found = bodies[int(cursor) // PER_PAGE]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def walked(record: Callable[..., int], url: str) -> int:
    """What a poll does with a history walk: every page journalled as it comes, then the walk's end."""
    config = Settings(base_url=url, history_requests_per_minute=60_000)
    neon = Neon(config, clock=lambda: NOW)
    common = {"walk": 1, "endpoint": "history", "organization": "org-a", **SPAN}
    count = 0
    session = Session(neon=neon, credential=Credential(secret=Secret("key")))
    async for answer in session.walk("consumption_history/v2/projects", {}, history=True):
        told = {"path": answer.path, "params": answer.params, "request_id": answer.request_id}
        times = {"sent_at": rfc3339(answer.sent_at), "received_at": rfc3339(answer.received_at)}
        record("page", {**common, **told, **times}, body=answer.body)
        count += 1
    await neon.close()
    record("walk", {**common, "first_sent_at": rfc3339(NOW), "kind": "", "reason": ""})
    return count


def from_http(projects: int) -> None:
    """Prints values per second from the first request to the last commit."""
    bodies = pages(projects, 0)
    values = projects * HOURS * len(KNOWN_METRICS)
    with (
        served(bodies) as url,
        tempfile.TemporaryDirectory() as directory,
        open_ledger(Path(directory), lambda: NOW) as ledger,
    ):
        seconds, count = timed(lambda: asyncio.run(walked(ledger.record, url)))
    assert count == len(bodies)
    print(
        f"from HTTP to the synced journal and the committed store: {values / seconds:,.0f} values/s"
        f" ({count} pages, {sum(map(len, bodies)) / 1e6:.0f} MB, {seconds:.2f} s)"
    )


# -- one cycle in process, stage by stage


def records(bodies: list[bytes], first_seq: int, walk: int) -> list[Record]:
    """Records as if they were just appended: their bodies need no decompression."""
    at = rfc3339(NOW)
    data = {"walk": walk, "endpoint": "history", "organization": "org-a", **SPAN}
    told = {"sent_at": at, "received_at": at, "request_id": "req", "path": "", "params": {}}
    return [
        Record(
            seq=first_seq + number,
            kind="page",
            at=at,
            data={**data, **told},
            packed=b"",
            sha256="",
            hash=GENESIS,
            plain=body,
        )
        for number, body in enumerate(bodies)
    ]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def staged(store: Store, bodies: list[bytes], number: int) -> tuple[float, float, int]:
    """(seconds to parse, seconds to find the changes and insert them, rows inserted) of one cycle."""
    rows = HistoryRows(store, RowKeys(store))  # reads the keys, as every opening does
    parse, read = timed(lambda: [read_page(record) for record in records(bodies, number * 10_000 + 1, number + 1)])

    def land() -> None:
        with store.transaction():
            for page in read:
                if not rows.gather(page):
                    rows.land()
                    rows.gather(page)
            rows.land(ending=number + 1)

    before = size(store.connection)
    diff, _ = timed(land)
    return parse, diff, size(store.connection) - before


def size(connection: duckdb.DuckDBPyConnection) -> int:
    return int(connection.execute("select count(*) from observation").fetchall()[0][0])


def appended(store: Store, directory: Path, since: int) -> float:
    """Seconds of DuckDB's bare append, with its commit, of the rows that a cycle inserted, from Arrow."""
    text = f"select * from observation where seq > {since}"
    frame = store.connection.sql(text).pl()
    connection = duckdb.connect(str(directory / f"bare-{since}.duckdb"))
    connection.execute("set TimeZone = 'UTC'")
    made = store.connection.execute("select sql from duckdb_tables() where table_name = 'observation'").fetchall()
    connection.execute(made[0][0])
    connection.register("incoming", frame.to_arrow())
    seconds, _ = timed(lambda: connection.execute("insert into observation select * from incoming"))
    connection.close()
    (directory / f"bare-{since}.duckdb").unlink()
    return seconds


def in_process(projects: int) -> None:
    """Prints the ratios of the first cycle, of one that changes the running hour, and of one that changes nothing."""
    kinds = ("all new", "running hour changed", "nothing changed")
    fleets = [pages(projects, 0), pages(projects, 1), pages(projects, 1)]
    found: dict[str, list[tuple[float, float, float, int]]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            store = open_writer(Path(name))
            bare_all = 0.0
            for number, (kind, bodies) in enumerate(zip(kinds, fleets, strict=True)):
                parse, diff, rows = staged(store, bodies, number)
                bare = appended(store, Path(name), number * 10_000) if rows else bare_all
                bare_all = bare_all or bare
                found[kind].append((parse, diff, bare_all, rows))
            store.connection.close()
    print(f"one cycle of {projects} projects x {HOURS} h x {len(KNOWN_METRICS)} metrics, the best of {ROUNDS} runs:")
    columns = f"{'rows':>8}{'parse ms':>10}{'diff+insert ms':>16}{'bare append ms':>16}{'ratio':>8}{'with parse':>12}"
    print(f"  {'':22}{columns}")
    for kind, runs in found.items():
        # The best, not the mean: what else the machine does only ever adds.
        parse, diff, bare, rows = (min(column) for column in zip(*runs, strict=True))
        ratios = (diff / bare, (parse + diff) / bare)
        figures = f"{rows:>8.0f}{parse * 1000:>10.0f}{diff * 1000:>16.0f}{bare * 1000:>16.0f}"
        print(f"  {kind:22}{figures}{ratios[0]:>8.1f}{ratios[1]:>12.1f}")
    print("  the bare append is that of the cycle's rows as landed first: all of them")


# -- the peer


def with_dlt(projects: int) -> None:
    """Dlt with a resource that yields Arrow, our decoder inside: the fastest way that dlt offers."""
    if find_spec("dlt") is None:
        print("dlt is not installed; to compare: pip install 'dlt[duckdb]==1.31.*'")
        return
    import dlt  # noqa: PLC0415 - no dependency of ours

    bodies = pages(projects, 0)

    def fetched(url: str) -> Iterator[bytes]:
        """The pages over one connection, cursor by cursor, as a careful hand-written resource would ask for them."""
        with httpx.Client(base_url=url) as client:
            cursor: str | None = None
            while True:
                answer = client.get("/", params={"cursor": cursor} if cursor else {})
                yield answer.content
                cursor = envelope(answer.content).cursor
                if cursor is None:
                    return

    @dlt.resource(name="observation", write_disposition="append")
    def observations(url: str) -> Iterator[Any]:
        for record in records(list(fetched(url)), 1, 1):
            page = read_page(record)
            columns = dict(zip(KNOWN_METRICS, page.buckets.values, strict=True))
            ids = [page.projects[number] for number in page.buckets.project]
            yield pl.DataFrame({"project_id": ids, "timeframe_start": page.buckets.start, **columns}).to_arrow()

    with tempfile.TemporaryDirectory() as directory, served(bodies) as url:
        target = dlt.destinations.duckdb(str(Path(directory) / "dlt.duckdb"))
        pipeline = dlt.pipeline("landing", destination=target, dataset_name="d", pipelines_dir=directory)
        seconds, _ = timed(lambda: pipeline.run(observations(url)))
    values = projects * HOURS * len(KNOWN_METRICS)
    print(f"dlt, a resource yielding Arrow, from the same server: {values / seconds:,.0f} values/s ({seconds:.2f} s)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--projects", type=int, default=45_000)
    projects = parser.parse_args().projects // PER_PAGE * PER_PAGE
    from_http(projects)
    in_process(projects)
    with_dlt(projects)


if __name__ == "__main__":
    main()
