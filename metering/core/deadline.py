"""A moment of the monotonic clock after which nobody waits any more. Reads no other clock."""

import time
from collections.abc import Callable


class Deadline:
    """Ends `seconds` from now; without seconds it never comes."""

    def __init__(self, seconds: float | None = None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._at = None if seconds is None else monotonic() + seconds

    @property
    def seconds_left(self) -> float | None:
        """How long it is still, 0 once it has passed; None if it never comes."""
        return None if self._at is None else max(0.0, self._at - self._monotonic())

    @property
    def has_passed(self) -> bool:
        """Whether its moment has come."""
        return self.seconds_left == 0

    def allows(self, seconds: float) -> bool:
        """Whether a wait of so many seconds ends before it."""
        left = self.seconds_left
        return left is None or seconds < left
