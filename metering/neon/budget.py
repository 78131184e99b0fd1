"""Request budgets: token buckets per account, and the file in which they outlive a process.

The file `budgets` in the store's directory holds for each account and bucket how much was left after the last request,
and when, on the clock that all processes since the machine's start share; so cron's next tick continues with what the
last one left. The holder of the store's lock writes it. A torn or strange file counts as an empty bucket, and after a
restart of the machine the file means nothing.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

IN_FLIGHT = 8
"""How many requests of one budget may be under way: the budget bounds time, this bounds memory."""
NAME = "budgets"
Sleep = Callable[[float], Awaitable[None]]
Left = dict[str, tuple[float, float]]
"""Bucket -> (tokens left, when that was)."""


class RateBudget:
    """A token bucket on the monotonic clock: at most `per_minute` + burst requests in any 60 seconds.

    A 429 halves the rate (never below a tenth); every final answer brings a fiftieth of it back.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.limit = per_minute / 60
        self.rate = self.limit
        self.burst = max(1.0, min(10.0, per_minute / 3))
        self.tokens = self.burst
        self.spent = 0
        self.failed_in_a_row = 0
        """Requests whose retries all failed since the last final answer."""
        self.asked_to_wait = ""
        """What the server said when it asked for a longer wait than there is time for; then no more is sent."""
        self._monotonic, self._sleep = monotonic, sleep
        self._at = monotonic()
        self._turn = asyncio.Lock()
        self._places = asyncio.Semaphore(IN_FLIGHT)

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Holds a place for one request and takes its budget; the place comes first, so budget is used at once."""
        async with self._places:
            await self.take()
            yield

    async def take(self) -> None:
        """Waits for one request's worth of budget; callers are served in order."""
        async with self._turn:
            self._refill()
            while self.tokens < 1:
                rate = self.rate
                await self._sleep((1 - self.tokens) / rate)
                self._refill()
                if self.rate >= rate:  # else a 429 slowed us while we waited
                    break
            self.tokens -= 1
            self.spent += 1

    def slow_down(self) -> None:
        """Halves the rate and empties the burst, after a 429."""
        self._refill()
        self.rate = max(self.rate / 2, self.limit / 10)
        self.tokens = min(self.tokens, 0.0)

    def recover(self) -> None:
        """Raises the rate a little, up to the configured one, after a final answer."""
        self._refill()
        self.failed_in_a_row = 0
        self.rate = min(self.limit, self.rate + self.limit / 50)

    def _refill(self) -> None:
        now = self._monotonic()
        self.tokens = min(self.burst, self.tokens + (now - self._at) * self.rate)
        self._at = now


class Budgets:
    """The saved buckets of a store's accounts."""

    def __init__(self, directory: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = directory / NAME
        self._monotonic = monotonic
        self._left = self._read()

    def bucket(self, name: str, per_minute: int, sleep: Sleep) -> RateBudget:
        """The bucket of this name with what is left of it now."""
        bucket = _Kept(per_minute, monotonic=self._monotonic, sleep=sleep)
        bucket.keep = lambda tokens: self._keep(name, tokens)
        if self._left is None:
            bucket.tokens = 0.0
        elif name in self._left:
            tokens, at = self._left[name]
            passed = self._monotonic() - at
            if passed >= 0:  # else the machine was started anew since
                bucket.tokens = min(bucket.burst, tokens + passed * bucket.limit)
        return bucket

    def _keep(self, name: str, tokens: float) -> None:
        self._left = {**(self._left or {}), name: (tokens, self._monotonic())}
        temporary = self._path.with_name(NAME + ".tmp")
        temporary.write_text(json.dumps(self._left), encoding="utf-8")
        temporary.replace(self._path)

    def _read(self) -> Left | None:
        """The saved buckets; None if the file cannot be read."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return {str(name): (float(tokens), float(at)) for name, (tokens, at) in found.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError, OSError):
            return None


class _Kept(RateBudget):
    """A bucket that saves what is left of it before each request is sent."""

    keep: Callable[[float], None]

    async def take(self) -> None:
        await super().take()
        self.keep(self.tokens)
