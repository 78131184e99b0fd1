"""What is shown over HTTP beside the dashboard: `/metrics` for Prometheus, `/healthz` for whoever restarts things.

Both read the published snapshot, as any reading command does, and one request after the other, so that many scrapes
cost no more than one. Reads no clock and changes nothing.
"""

import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from metering.config import Config
from metering.core.addresses import listen_parts
from metering.core.errors import MeteringError
from metering.core.patience import patience as cycle_patience
from metering.core.period import rfc3339
from metering.operations import metrics
from metering.store import snapshots

Json = dict[str, Any]
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
UNAVAILABLE = 503
_START_SECONDS = 10
_WAIT_SECONDS = 0.005


def health(config: Config, started_at: datetime, now: datetime) -> tuple[int, Json]:
    """(200 or 503, what is wrong): by a real query of the snapshot, at `now`.

    Before the first complete cycle a service is `starting` for as long as a cycle may be late.
    """
    patience = cycle_patience(config.schedule.poll_minutes)
    told: Json = {"status": "ok", "as_of": rfc3339(now), "last_complete_cycle_at": None, "error": None}
    try:
        with snapshots.open_reader(config.store.directory) as found:
            last: datetime | None = found.query("operations/last_complete_poll")["started_at"].item()
    except Exception as error:  # whatever the engine says of a damaged copy is an answer here
        return UNAVAILABLE, {**told, "status": "unreadable", "error": str(error).partition("\n")[0]}
    told["last_complete_cycle_at"] = last and rfc3339(last)
    told["stale_after"] = rfc3339((last or started_at) + patience)
    if now - (last or started_at) > patience:
        return UNAVAILABLE, {**told, "status": "stale", "error": "no polling cycle was complete for too long"}
    return 200, told if last else {**told, "status": "starting"}


def routes(config_of: Callable[[], Config], clock: Callable[[], datetime]) -> list[Route]:
    """The two pages; `config_of` gives the configuration that is in force."""
    turn, started_at = threading.Lock(), clock()

    def show_metrics(_: Request) -> Response:
        config = config_of()
        try:
            with turn, snapshots.open_reader(config.store.directory) as found:
                text = metrics.exposition(found, config, clock())
        except MeteringError as error:
            return PlainTextResponse(f"{error}\n", UNAVAILABLE)
        return Response(text, media_type=METRICS_TYPE)

    def show_health(_: Request) -> Response:
        with turn:
            status, told = health(config_of(), started_at, clock())
        return JSONResponse(told, status, headers={"cache-control": "no-store"})

    return [Route("/metrics", show_metrics), Route("/healthz", show_health)]


class Listener:
    """A server in a thread of its own, from `with` to its end; `address` is where it listens."""

    def __init__(self, served: ASGIApp, listen: str) -> None:
        """Takes the address; raises MeteringError where it cannot be had."""
        self._socket = _bound(listen)
        host, port, *_ = self._socket.getsockname()
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                served,
                log_config=None,
                log_level="critical",
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                proxy_headers=False,  # who asks is the peer; what a proxy says of it is for the guard to judge
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True, name="listener"
        )

    def __enter__(self) -> "Listener":
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(_WAIT_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it; a request that is being answered has a second."""
        self._server.should_exit = True
        self._thread.join(timeout=1)


def _bound(listen: str) -> socket.socket:
    host, port = listen_parts(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named so that asyncio turns off Nagle: small answers would wait 40 ms otherwise.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(128)
    except OSError as error:
        found.close()
        raise MeteringError(f"cannot listen on {listen}: {error.strerror or error}") from None
    return found
