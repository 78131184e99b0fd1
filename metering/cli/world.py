"""Connects a cycle that a command starts with the real world, or with a rehearsal."""

from collections.abc import Callable
from datetime import datetime

from metering.cli.base import real_time
from metering.core.stop import Stop
from metering.service import wiring as world


def wiring(
    clock: Callable[[], datetime], progress: Callable[[str, int], None], stop: Stop | None = None
) -> world.Wiring:
    """The wiring of a cycle: for real, or as a rehearsal where METERING_NOW is set."""
    return world.Wiring(progress=progress, stop=stop or Stop(), is_rehearsed=clock is not real_time)
