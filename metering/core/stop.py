"""A request to stop, checked between pages and during waits: what was begun is finished, nothing new is begun."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from metering.core.errors import StoppedError

PAGE_SECONDS = 5
"""So long may an answer take that was asked for before the stop was."""
_LOOK_SECONDS = 0.25


class Stop:
    """Asked for once, by a signal's handler; never taken back."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._asked_at: float | None = None

    @property
    def is_asked(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked_at is not None

    def ask(self) -> None:
        """From here on `check` and `sleep` raise."""
        if self._asked_at is None:
            self._asked_at = self._monotonic()

    def check(self) -> None:
        """Raises StoppedError where a stop was asked for."""
        if self.is_asked:
            raise StoppedError("stopped before everything was read", hint="the next poll goes on from here")

    async def sleep(self, seconds: float, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Waits; raises StoppedError as soon as a stop is asked for."""
        self.check()
        while seconds > 0:
            await sleep(min(seconds, _LOOK_SECONDS))
            seconds -= _LOOK_SECONDS
            self.check()

    @asynccontextmanager
    async def finishing(self) -> AsyncIterator[None]:
        """Lets what is inside end. After a stop is asked for it has PAGE_SECONDS; then it is dropped: StoppedError."""
        loop = asyncio.get_running_loop()
        again: asyncio.TimerHandle | None = None

        def look() -> None:
            nonlocal again
            if self._asked_at is not None and self._monotonic() - self._asked_at >= PAGE_SECONDS:
                limit.reschedule(loop.time())
            else:
                again = loop.call_later(_LOOK_SECONDS, look)

        try:
            async with asyncio.timeout(None) as limit:
                look()
                yield
        except TimeoutError:
            if limit.expired():
                self.check()
            raise
        finally:
            if again is not None:
                again.cancel()
