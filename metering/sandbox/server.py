"""Serves an application on a real socket: in a thread for tests and the demo, or in the foreground.

Knows sockets and threads. Must not know the application.
"""

import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType

import uvicorn
from starlette.applications import Starlette

from metering.core.errors import UsageError
from metering.core.period import rfc3339
from metering.sandbox.access import PAID_ORGANIZATION_KEY, PERSONAL_KEY, PROJECT_KEY, SPONSORED_ORGANIZATION_KEY
from metering.sandbox.app import create_app
from metering.sandbox.fleet import Fleet
from metering.sandbox.gate import BASE_PATH, Clock

_START_SECONDS = 10
_POLL_SECONDS = 0.005


class RunningServer:
    """A server in a thread of its own; `url` is the API's base, `root_url` is for the `/_sandbox` controls.

    Use it as a context manager or call `stop`, which waits until the thread has ended.
    """

    def __init__(self, server: uvicorn.Server, thread: threading.Thread, port: int) -> None:
        self._server = server
        self._thread = thread
        self.port = port
        self.root_url = f"http://127.0.0.1:{port}"
        self.url = self.root_url + BASE_PATH

    def stop(self) -> None:
        """Ends the server; safe to call twice."""
        self._server.should_exit = True
        self._thread.join()

    def __enter__(self) -> "RunningServer":
        """Gives the running server itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops it."""
        self.stop()


def serve(app: Starlette, port: int = 0) -> RunningServer:
    """Serves on 127.0.0.1 in a thread, on a free port where `port` is 0; UsageError where the port is taken."""
    listener = _listener(port)
    server = uvicorn.Server(_config(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True, name="sandbox")
    thread.start()
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline, "the sandbox did not start"
        time.sleep(_POLL_SECONDS)
    return RunningServer(server, thread, listener.getsockname()[1])


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        date_header=False,  # the application sends the sandbox's own time
        server_header=False,
        timeout_graceful_shutdown=1,
    )


def _listener(port: int) -> socket.socket:
    # the protocol is named so that asyncio turns off Nagle: small answers would wait 40 ms otherwise
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(f"cannot listen on 127.0.0.1:{port}: {error}", hint="choose another --port, or 0") from error
    listener.listen(128)
    return listener


def main(*, port: int = 0, projects: int = 200, seed: int = 1, clock: Clock, faults: Sequence[str] = ()) -> None:
    """Serves in the foreground until interrupted; prints the base URL and the keys, one `name value` a line.

    `Clock.at(T)` stands still at T until `PUT /_sandbox/now` moves it; `Clock(read)` follows the time that `read`
    gives. The fleet has its past before that moment: organizations from two months before, quotas tuned for it.
    """
    fleet = Fleet.around(clock(), seed=seed, projects=projects)
    app = create_app(fleet, clock, faults=faults)
    listener = _listener(port)
    lines = {
        "base_url": f"http://127.0.0.1:{listener.getsockname()[1]}{BASE_PATH}",
        "now": rfc3339(clock()) + (" (stands still)" if clock.stands_still else ""),
        "organizations": " ".join(fleet.organizations),
        "personal_key": PERSONAL_KEY,
        "paid_organization_key": PAID_ORGANIZATION_KEY,
        "sponsored_organization_key": SPONSORED_ORGANIZATION_KEY,
        "project_key": PROJECT_KEY,
    }
    print(*(f"{name} {value}" for name, value in lines.items()), sep="\n", flush=True)
    uvicorn.Server(_config(app)).run(sockets=[listener])
