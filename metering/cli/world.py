"""The world around a cycle that a command starts."""

from collections.abc import Callable
from datetime import datetime

from metering.cli.base import real_time
from metering.core.stop import Stop
from metering.service.tick import Wiring


def wiring(clock: Callable[[], datetime], progress: Callable[[str, int], None], stop: Stop | None = None) -> Wiring:
    """The world around a cycle: in earnest, or a rehearsal by METERING_NOW."""
    return Wiring(progress=progress, stop=stop or Stop(), is_rehearsed=clock is not real_time)
