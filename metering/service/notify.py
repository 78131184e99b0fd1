"""Tells systemd over $NOTIFY_SOCKET that the service is ready, alive and stopping. Without that socket it does nothing.

A sign of life is sent only while the main loop makes progress, so WatchdogSec= restarts a service that hangs.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

_LONGEST_WAIT_SECONDS = 60


class Supervisor:
    """The process manager that started us, if it wants to be told. `progress` is called by the main loop."""

    def __init__(self, environ: Mapping[str, str], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        period = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.period_seconds = int(period) / 1_000_000 if period.isdecimal() and is_ours else 0
        self._monotonic = monotonic
        self._last = monotonic()

    def progress(self) -> None:
        """Marks that the main loop is alive."""
        self._last = self._monotonic()

    def idle_seconds(self) -> float:
        """Time since the last progress."""
        return self._monotonic() - self._last

    def tell(self, state: str) -> None:
        """Sends `READY=1` or the like. A failure is ignored: the service matters more than its supervisor."""
        if self._address[:1] not in {"/", "@"}:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
            door.setblocking(False)
            is_abstract = self._address[0] == "@"
            door.sendto(state.encode(), f"\0{self._address[1:]}" if is_abstract else self._address)


@contextmanager
def supervised(supervisor: Supervisor, most_idle_seconds: float) -> Iterator[None]:
    """While the block runs, sends signs of life as long as the last progress is not older than `most_idle_seconds`."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(min(supervisor.period_seconds / 2, _LONGEST_WAIT_SECONDS)):
            if supervisor.idle_seconds() <= most_idle_seconds:
                supervisor.tell("WATCHDOG=1")

    if supervisor.period_seconds:
        threading.Thread(target=watch, name="watchdog", daemon=True).start()
    supervisor.tell("READY=1")
    try:
        yield
    finally:
        ended.set()
        supervisor.tell("STOPPING=1")
