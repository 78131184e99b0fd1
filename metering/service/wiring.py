"""What connects a run with the world: clients of Neon, the request to stop, and deadlines."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from metering.config import Config
from metering.core.deadline import Deadline
from metering.core.stop import Stop
from metering.ledger.ledger import Ledger
from metering.neon.budget import Budgets
from metering.neon.client import Neon
from metering.service.clients import client_settings

REST_SECONDS = 30
"""Seconds at the end of a slot that are reserved for evaluating quotas and delivering alerts."""
NEVER = Deadline()


def _quiet(what: str, count: int) -> None:
    """Shows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What connects a cycle with the world: client, clocks, rate budgets.

    `neon_of` makes the client of an account. A rehearsal's clock differs from Neon's on purpose and jumps through weeks
    in seconds. Without `is_rehearsed` the clock is compared with Neon's, and rate budgets are kept between processes.
    After `deadline`, measured by `monotonic`, nothing more is read, and after `last_delivery` nothing more is sent.
    """

    neon_of: Callable[[str], Neon] | None = None
    stop: Stop = field(default_factory=Stop)
    progress: Callable[[str, int], None] = _quiet
    is_rehearsed: bool = True
    monotonic: Callable[[], float] = time.monotonic
    deadline: Deadline = NEVER
    last_delivery: Deadline = NEVER

    def within_slot(self, poll_minutes: int) -> "Wiring":
        """Returns the wiring of a run that may read for the length of its slot, less the reserve at its end."""
        seconds = poll_minutes * 60
        rest = min(REST_SECONDS, seconds // 15)
        return replace(
            self,
            deadline=Deadline(seconds - rest, monotonic=self.monotonic),
            last_delivery=Deadline(seconds - rest // 2, monotonic=self.monotonic),
        )


def clients(config: Config, ledger: Ledger, wiring: Wiring) -> Callable[[str], Neon]:
    """Makes one client per account; it holds the account's rate budgets and reads nothing after the deadline."""
    budgets = None if wiring.is_rehearsed else Budgets(ledger.directory)

    def made(account: str) -> Neon:
        neon = Neon(client_settings(config.neon, network=config.reached_by), clock=ledger.clock, stop=wiring.stop)
        if budgets is not None:
            neon.use(budgets, account)
        return neon

    def neon_of(account: str) -> Neon:
        neon = (wiring.neon_of or made)(account)
        neon.end_by(wiring.deadline)
        return neon

    return neon_of
