"""An event loop whose clock jumps: what waits, waits for nothing, and what overlaps, overlaps as it would.

`simulate.Time` moves on within the task that sleeps, so that nothing overlaps there; here a sleep is a timer.
"""

import asyncio
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

from tests.simulate import Time


class VirtualTime(Time):
    """Moves to the next timer once nobody has anything else to do."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Selector(selectors.SelectSelector):
    def __init__(self, time: VirtualTime) -> None:
        super().__init__()
        self._time = time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            assert timeout is not None, "everybody waits for somebody else"
            self._time.elapsed_us += ceil(timeout * 1_000_000)
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, time: VirtualTime) -> None:
        self._virtual = time
        super().__init__(_Selector(time))

    def time(self) -> float:
        return self._virtual.monotonic()


class _Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self, time: VirtualTime) -> None:
        super().__init__()
        self._time = time

    def new_event_loop(self) -> Any:
        return _Loop(self._time)


@contextmanager
def looping(time: VirtualTime) -> Iterator[None]:
    """Every `asyncio.run` inside runs on this clock."""
    asyncio.set_event_loop_policy(_Policy(time))
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(None)
