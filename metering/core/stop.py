"""A request to stop, checked between pages and during waits: what was begun is finished, nothing new is begun."""

import asyncio
from collections.abc import Awaitable, Callable

from metering.core.errors import StoppedError

_LOOK_SECONDS = 0.25


class Stop:
    """Asked for once, by a signal's handler; never taken back."""

    def __init__(self) -> None:
        self.is_asked = False

    def ask(self) -> None:
        """From here on `check` and `sleep` raise."""
        self.is_asked = True

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
