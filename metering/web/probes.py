"""The probes `/livez`, `/readyz` and `/healthz`, and `/metrics`.

Probes do not wait for pages, figures or locks: each snapshot is read once, by a thread of its own. Metrics are computed
once for all requests that arrive meanwhile. Reads no clock and changes nothing.
"""

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from metering.config import Config
from metering.core.errors import MeteringError
from metering.core.patience import patience as cycle_patience
from metering.core.period import HOUR, rfc3339
from metering.operations import metrics
from metering.store import database, journal, snapshots
from metering.web.watch import Watch

Json = dict[str, Any]
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PROBES = ("/livez", "/readyz", "/healthz")
UNAVAILABLE = 503
_NOT_KEPT = {"cache-control": "no-store"}
_MOST_MILLISECONDS = 500
"""A probe waits this long for a new snapshot to be read; then it answers by the previous one."""
_METRICS_SECONDS = 5
"""Metrics of a snapshot are computed anew after this time."""

FAILING = HOUR
"""If the newest cycle failed and the last complete one is older than this, the service is not ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The polling cycles that the snapshot shows; `wrong` is (status, error) if it cannot be read."""

    last_complete_at: datetime | None = None
    last_faults: tuple[str, ...] = ()
    """What the newest cycle could not read; empty if it was complete."""
    wrong: tuple[str, str] | None = None


def facts(directory: Path) -> Facts:
    """Reads the snapshot, by real queries."""
    try:
        if not (directory / database.SNAPSHOT).exists():
            why = f"{database.SNAPSHOT} is missing; the end of the next polling cycle publishes it"
            return Facts(wrong=("missing", why) if _has_journal(directory) else None)
        with snapshots.open_reader(directory) as found:
            last: datetime | None = found.query("operations/last_complete_poll")["started_at"].item()
            newest = found.query("operations/last_cycle").to_dicts()
    except Exception as error:  # whatever the engine says of a damaged copy is an answer here
        return Facts(wrong=("unreadable", str(error).partition("\n")[0]))
    is_failing = bool(newest) and newest[0]["outcome"] != "complete"
    faults = tuple(json.loads(newest[0]["faults"])) or (newest[0]["outcome"],) if is_failing else ()
    return Facts(last_complete_at=last, last_faults=faults)


def health(known: Facts, poll_minutes: int, started_at: datetime, now: datetime) -> tuple[int, Json]:
    """(200 or 503, document) at `now`; before the first complete cycle `starting`, for a limited time."""
    last, patience = known.last_complete_at, cycle_patience(poll_minutes)
    since = last or started_at
    told: Json = {"status": "ok", "as_of": rfc3339(now), "last_complete_cycle_at": last and rfc3339(last)}
    told |= {"error": None, "stale_after": rfc3339(since + patience)}
    if known.wrong is not None:
        status, error = known.wrong
        del told["stale_after"]
        return UNAVAILABLE, {**told, "status": status, "error": error}
    if now - since > patience:
        why = "; ".join(("no polling cycle was complete for too long", *known.last_faults[:3]))
        return UNAVAILABLE, {**told, "status": "stale", "error": why}
    if known.last_faults and now - since >= FAILING:
        return UNAVAILABLE, {**told, "status": "failing", "error": "; ".join(known.last_faults[:3])}
    return 200, told if last else {**told, "status": "starting"}


class Readiness:
    """Whether the figures can be relied on: the facts of the current snapshot, judged by the clock."""

    def __init__(self, config_of: Callable[[], Config], clock: Callable[[], datetime]) -> None:
        self._config_of, self._clock, self._started_at = config_of, clock, clock()
        self._known: Facts | None = None
        self._reading: tuple[object, Future[Facts]] = (None, Future())

    async def judged(self) -> tuple[int, Json]:
        """Status and document; waits at most half a second."""
        config = self._config_of()
        identity = identity_of(config.store.directory)
        if identity != self._reading[0]:
            self._reading = identity, _begun(config.store.directory)
        done, _ = await asyncio.wait(
            {asyncio.wrap_future(self._reading[1])}, timeout=timedelta(milliseconds=_MOST_MILLISECONDS).total_seconds()
        )
        if done:
            self._known = done.pop().result()
        known = self._known or Facts(wrong=("reading", "the snapshot is being read for the first time"))
        return health(known, config.schedule.poll_minutes, self._started_at, self._clock())


def _begun(directory: Path) -> "Future[Facts]":
    """Starts to read the facts in a thread of its own, because all threads of pages may be occupied."""
    future: Future[Facts] = Future()
    threading.Thread(target=lambda: future.set_result(facts(directory)), daemon=True, name="readiness").start()
    return future


def identity_of(directory: Path) -> tuple[object, ...]:
    """A value that changes when the snapshot is replaced, written or gets other permissions."""
    try:
        found = (directory / database.SNAPSHOT).stat()
    except OSError as error:
        return (directory, error.errno, _has_journal(directory))
    return (directory, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size)


def _has_journal(directory: Path) -> bool:
    return any((directory / journal.JOURNAL).glob("*.journal"))


class Metrics:
    """The text of all metrics: those of the snapshot, kept for some seconds, and the current counters of the port."""

    def __init__(self, config_of: Callable[[], Config], clock: Callable[[], datetime], watch: Watch) -> None:
        self._config_of, self._clock, self._watch = config_of, clock, watch
        self._turn, self._limiter = asyncio.Lock(), CapacityLimiter(1)
        self._kept: tuple[object, bytes] = (None, b"")

    async def text(self) -> bytes:
        """Raises MeteringError if the snapshot cannot be read."""
        async with self._turn:
            config, now = self._config_of(), self._clock()
            slot = int(now.timestamp()) // _METRICS_SECONDS
            key = (identity_of(config.store.directory), id(config), slot)
            if key != self._kept[0]:
                self._kept = key, await to_thread.run_sync(_exposed, config, now, limiter=self._limiter)
        return self._kept[1] + self._watch.exposition()


def _exposed(config: Config, now: datetime) -> bytes:
    with snapshots.open_reader(config.store.directory) as found:
        return metrics.exposition(found, config, now)


def routes(config_of: Callable[[], Config], clock: Callable[[], datetime], watch: Watch | None = None) -> list[Route]:
    """The routes; `config_of` returns the current configuration."""
    readiness, counted = Readiness(config_of, clock), Metrics(config_of, clock, watch or Watch())

    async def show_metrics(_: Request) -> Response:
        try:
            return Response(await counted.text(), media_type=METRICS_TYPE)
        except MeteringError as error:
            return PlainTextResponse(f"{error}\n", UNAVAILABLE)

    async def show_life(_: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers=_NOT_KEPT)

    async def show_readiness(_: Request) -> Response:
        status, told = await readiness.judged()
        return JSONResponse(told, status, headers=_NOT_KEPT)

    return [
        Route("/metrics", show_metrics),
        Route("/livez", show_life),
        Route("/readyz", show_readiness),
        Route("/healthz", show_readiness),
    ]
