"""SIGTERM: a request to end that is answered within ten seconds, also by process 1 of a container.

The system ignores SIGTERM for a process 1 that has no handler. Knows no command and loads nothing heavy.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_SECONDS = 7
"""How long a page in hand may take after SIGTERM; what is left of ten seconds is for closing."""
LAST_SECONDS = 9
"""After so long the process ends whatever it does. The journal is complete at any moment."""
INTERRUPTED = 130
"""Exit code of a command that was interrupted."""

_asked = threading.Event()
Handler = Callable[[int, FrameType | None], None]


@contextmanager
def ending(ask: Callable[[], None], *, grace_seconds: int = GRACE_SECONDS) -> Iterator[None]:
    """While inside, SIGTERM calls `ask`, and interrupts as Ctrl-C does what is not over after the grace.

    After LAST_SECONDS the process ends. Threads other than the main one change nothing: they get no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    last = threading.Timer(LAST_SECONDS, os._exit, [INTERRUPTED])
    last.daemon = True

    def answer(_signal: int, _frame: FrameType | None) -> None:
        _asked.set()
        if not last.is_alive():
            last.start()
        ask()
        if grace_seconds:
            signal.setitimer(signal.ITIMER_REAL, grace_seconds)
        else:
            interrupt()

    with _handling({signal.SIGTERM: answer, signal.SIGALRM: lambda _signal, _frame: interrupt()}):
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            last.cancel()


def is_asked() -> bool:
    """Whether SIGTERM came: an error after it may be no more than the interruption of a query."""
    return _asked.is_set()


def interrupt() -> None:
    """What Ctrl-C does, also where a shell has SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


@contextmanager
def _handling(handlers: dict[signal.Signals, Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
