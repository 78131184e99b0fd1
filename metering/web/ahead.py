"""Computes a value in a background thread, so that no page waits for it.

Must not know what the value is.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from metering.core.exhaustion import in_a_sentence

Value = TypeVar("Value")


class Ahead(Generic[Value]):
    """The result of `work`; a daemon thread starts the work when the result is first asked for."""

    def __init__(self, work: Callable[[], Value]) -> None:
        self._work = work
        self._beginning = threading.Lock()
        self._future: Future[Value] | None = None

    def result(self, *, wait_seconds: int = 0) -> Value | None:
        """The value, or None while it is being computed. Raises the error of `work`."""
        with self._beginning:
            if self._future is None:
                self._future = _in_background(self._work)
        try:
            return self._future.result(timeout=wait_seconds)
        except TimeoutError:
            return None

    @property
    def is_asked(self) -> bool:
        """Whether anybody asked for the value."""
        return self._future is not None


def _in_background(work: Callable[[], Value]) -> "Future[Value]":
    """Starts a daemon thread: the process does not wait for it at its end, unlike for a thread of an executor."""
    future: Future[Value] = Future()

    def run() -> None:
        try:
            with in_a_sentence():
                value = work()
            future.set_result(value)
        except Exception as error:  # raised by every later call of `result`
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="ahead").start()
    return future
