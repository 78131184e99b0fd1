"""A server in a thread of its own, on an address of this machine.

Knows sockets and threads, and nothing of what is served.
"""

import asyncio
import socket
import threading
import time
from functools import partial
from types import TracebackType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from metering.core.addresses import listen_parts
from metering.core.errors import MeteringError
from metering.web.limits import Connection, Patience, Room, most_connections
from metering.web.watch import Watch

MOST_HEAD_BYTES = 32_768
_PATIENCE = Patience()
_START_SECONDS = 10
_WAIT_SECONDS = 0.005
_TOLD_EVERY_SECONDS = 15
_AT_ONCE = 16
"""Connections that are accepted at once, before the limits apply; each uses a file handle already."""
_QUEUE = 1024
"""Connections that wait in the kernel meanwhile. A client beyond would try again only after a second."""


class Listener:
    """A server in its own thread while the `with` block runs; `address` is where it listens."""

    def __init__(
        self, served: ASGIApp, listen: str, watch: Watch | None = None, patience: Patience = _PATIENCE
    ) -> None:
        """Binds the address; raises MeteringError where that fails."""
        self._socket, watch = _bound(listen), watch or Watch()
        host, port, *_ = self._socket.getsockname()
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._server, self._watch = _Server(_config(served, watch, patience), watch), watch
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
        """Stops the server; a running request has one second."""
        self._server.should_exit = True
        self._thread.join(timeout=1)
        self._watch.flush(is_end=True)


class _Server(uvicorn.Server):
    """uvicorn's server; errors of the event loop go to `watch`, because its own log has no bounds."""

    def __init__(self, config: uvicorn.Config, watch: Watch) -> None:
        super().__init__(config)
        self._watch = watch

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to accept connections."""
        asyncio.get_running_loop().set_exception_handler(self._tell)
        await super().startup(sockets=sockets)
        for one in sockets or ():
            one.listen(_QUEUE)  # uvicorn has one number for both: how many wait, and how many are accepted at once

    def _tell(self, _: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        self._watch.trouble("server", told.get("exception") or MeteringError(str(told.get("message"))))


def _config(served: ASGIApp, watch: Watch, patience: Patience) -> uvicorn.Config:
    async def flush() -> None:
        watch.flush()

    room = Room(most_connections(), watch, patience)
    return uvicorn.Config(
        served,
        http=partial(Connection, room=room),  # type: ignore[arg-type]  # called like a class
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,  # the guard judges the headers of proxies, so the server must not
        timeout_graceful_shutdown=1,
        backlog=_AT_ONCE,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        callback_notify=flush,
        timeout_notify=_TOLD_EVERY_SECONDS,
    )


def _bound(listen: str) -> socket.socket:
    host, port = listen_parts(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With a named protocol asyncio turns off Nagle's algorithm, which would delay small answers by 40 ms.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(_QUEUE)
    except OSError as error:
        found.close()
        raise MeteringError(f"cannot listen on {listen}: {error.strerror or error}") from None
    return found
