"""Rate budgets that outlive the process: cron's next tick goes on with what the last one left of the bucket.

One small file, `budgets` in the store's directory, holds for each account and bucket how much was left after the last
request, and when, on the clock that all processes since the machine's start share. Whoever holds the store's lock
writes it. After a restart of the machine it says nothing; a torn or strange file counts as an empty bucket.
"""

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from metering.neon.client import Neon, RateBudget

NAME = "budgets"
Sleep = Callable[[float], Awaitable[None]]
Left = dict[str, tuple[float, float]]
"""Bucket -> (tokens left, when that was)."""


class Budgets:
    """The buckets of a store's accounts."""

    def __init__(self, directory: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = directory / NAME
        self._monotonic = monotonic
        self._left = self._read()

    def bind(self, neon: Neon, account: str, *, sleep: Sleep) -> None:
        """Gives a new client the account's buckets as they stand now."""
        history, other = neon.settings.history_requests_per_minute, neon.settings.requests_per_minute
        neon.history_budget = self._bucket(f"{account}/history", history, sleep)
        neon.other_budget = self._bucket(f"{account}/other", other, sleep)

    def _bucket(self, name: str, per_minute: int, sleep: Sleep) -> RateBudget:
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
        temporary.write_text(json.dumps(self._left))
        temporary.replace(self._path)

    def _read(self) -> Left | None:
        """None where nobody can say what is left."""
        try:
            found = json.loads(self._path.read_text())
            return {str(name): (float(tokens), float(at)) for name, (tokens, at) in found.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError, OSError):
            return None


class _Kept(RateBudget):
    """A bucket that tells what is left of it before each request goes out."""

    keep: Callable[[float], None]

    async def take(self) -> None:
        await super().take()
        self.keep(self.tokens)
