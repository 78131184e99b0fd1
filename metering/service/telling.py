"""Evaluates quotas and delivers due alerts while a cycle reads, and after it.

Sends nothing to Neon. A slow receiver delays neither the reading nor another receiver.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from metering.alerts import endpoints, firing, recording
from metering.alerts.delivering import Deliveries, Outbox
from metering.billing import terms
from metering.config import Config
from metering.core.deadline import Deadline
from metering.core.errors import CredentialsError
from metering.core.secrets import Secret
from metering.core.stop import Stop
from metering.ledger.ledger import Ledger
from metering.polling.readings import CycleReport
from metering.quotas import status

LOOK_SECONDS = 15
"""Interval between evaluations of quotas while a cycle reads; longer where an evaluation takes long."""
LONGEST_PAUSE_SECONDS = 40
SHARE = 4
"""At most one second in SHARE of a long cycle is spent on evaluations."""


def evaluate_quotas(ledger: Ledger, config: Config, now: datetime) -> int:
    """Records new crossings of thresholds and the end of old ones; returns the number of new crossings."""
    thresholds = config.quota.thresholds_percent
    rows = status.quota_rows(status.running(ledger.store, terms.of(config), now), thresholds, reached_only=True)
    firing.resolve(ledger, rows, config, now)
    return len(recording.evaluate(ledger, rows, config, now))


@dataclass(slots=True, kw_only=True)
class Telling:
    """The alerts and deliveries of one tick. `faults` name endpoints without a usable secret.

    No delivery begins after `until`, nor once a stop is asked for.
    """

    ledger: Ledger
    config: Config
    secrets: Mapping[str, Secret | CredentialsError]
    real_time: Callable[[], datetime]
    stop: Stop
    until: Deadline
    look_seconds: float = LOOK_SECONDS
    alerts: int = 0
    faults: tuple[str, ...] = ()
    _outcomes: Counter[str] = field(default_factory=Counter)
    _under_way: dict[str, asyncio.Task[Deliveries]] = field(default_factory=dict)
    _judged_to: int = 0

    @property
    def delivered(self) -> int:
        """Number of messages delivered."""
        return self._outcomes["delivered"]

    def begin(self) -> list[str]:
        """Renews endpoints with a new address and ends what waits for removed ones; returns notes about them."""
        return endpoints.tend(self.ledger, self.config, self.secrets, self.ledger.clock())

    def judge(self) -> None:
        """Evaluates quotas by the pages journalled so far."""
        self.ledger.flush()
        self.alerts += evaluate_quotas(self.ledger, self.config, self.ledger.clock())
        self._judged_to = self.ledger.journal.seq

    def deliver(self) -> None:
        """Delivers due messages."""
        now = self.ledger.clock()
        self._count(asyncio.run(self._outbox().deliver(now, goes_on=self._goes_on)))
        if endpoints.announce_failing(self.ledger, self.config, now):
            self._count(asyncio.run(self._outbox().deliver(now, goes_on=self._goes_on)))

    async def beside(self, cycle: Coroutine[Any, Any, CycleReport]) -> CycleReport:
        """Runs a cycle to its end; meanwhile evaluates quotas and delivers due messages."""
        reading = asyncio.ensure_future(cycle)
        try:
            pause = self.look_seconds
            while not (await asyncio.wait({reading}, timeout=pause))[0]:
                pause = self._look(lambda: self._goes_on() and not reading.done())
            await asyncio.gather(*self._under_way.values())
            self._collect()
            return reading.result()
        finally:
            left = [task for task in (reading, *self._under_way.values()) if not task.done()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _look(self, goes_on: Callable[[], bool]) -> float:
        """Evaluates quotas if anything is new, and starts due deliveries; returns the pause until the next look."""
        began = time.monotonic()
        self._collect()
        if self._goes_on():
            if self.ledger.journal.seq != self._judged_to:
                self.judge()
            outbox, now = self._outbox(), self.ledger.clock()
            for endpoint in sorted(outbox.waiting(now) - self._under_way.keys()):
                delivery = outbox.deliver(now, only=endpoint, goes_on=goes_on)
                self._under_way[endpoint] = asyncio.ensure_future(delivery)
        took = time.monotonic() - began
        return min(LONGEST_PAUSE_SECONDS, max(self.look_seconds, took * SHARE))

    def _collect(self) -> None:
        """Counts finished deliveries; raises the error of one that failed."""
        for endpoint in [name for name, task in self._under_way.items() if task.done()]:
            self._count(self._under_way.pop(endpoint).result())

    def _count(self, done: Deliveries) -> None:
        self._outcomes.update(done.outcomes)
        self.faults = done.faults

    def _goes_on(self) -> bool:
        return not self.stop.is_asked and not self.until.has_passed

    def _outbox(self) -> Outbox:
        return Outbox(ledger=self.ledger, config=self.config, secrets=self.secrets, clock=self.real_time)
