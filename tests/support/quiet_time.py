"""How long something took, less the time in which a busy machine did not run this process.

A bound such as "refused within a second" is about what our code waits for. On a wall clock it also counts what other
processes were given meanwhile. Here a thread counts sleeps of a hundredth of a second: a sleep that the machine
stretched counts as one.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

STEP_SECONDS = 0.01
PATIENCE_SECONDS = 120
"""How long a test waits for something that must come, before it says that it never came."""


class Stopwatch:
    """Counts while its `with` block runs; never more than the wall clock."""

    def __init__(self) -> None:
        self.steps = 0

    @property
    def seconds(self) -> float:
        return self.steps * STEP_SECONDS


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    watch, is_over = Stopwatch(), threading.Event()

    def count() -> None:
        while not is_over.wait(STEP_SECONDS):
            watch.steps += 1

    counting = threading.Thread(target=count, daemon=True)
    counting.start()
    try:
        yield watch
    finally:
        is_over.set()
        counting.join()
