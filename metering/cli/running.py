"""What `run` does between its start and SIGTERM: the jobs of the service, and its log.

A tick is given by the caller.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from metering.cli.base import Clock, endpoint_secrets, open_books, read_config, real_time
from metering.core.errors import MeteringError
from metering.ledger.healing import healed
from metering.service import notify

if TYPE_CHECKING:
    from metering.config import Config
    from metering.core.stop import Stop
    from metering.service.logs import Log
    from metering.service.tick import Tick

    OneTick = Callable[[Config, Clock, Stop], Tick]

_CLOSE_SECONDS = 3600
"""The close of a large month may take so long beside a slot without the service being taken for hung."""


@dataclass(slots=True, kw_only=True)
class Running:
    """The jobs of the service. `config` is the last one without a fault: a page shows it while the next is faulty.

    `ended` is set by a SIGTERM that came before the first tick; `tried_at`: when deliveries were last tried, or
    shortly before.
    """

    config: "Config"
    path: Path
    clock: Clock
    log: "Log"
    one_tick: "OneTick"
    ended: threading.Event
    tried_at: datetime
    supervisor: notify.Supervisor = field(default_factory=lambda: notify.Supervisor(os.environ))

    def until_stopped(self) -> None:
        """Ticks until SIGTERM, and tells the process manager that the service is alive."""
        from metering.service import run as service

        jobs = service.Jobs(tick=self.tick, deliver=self.deliver, until_retry=self.until_retry)
        poll_minutes = self.config.schedule.poll_minutes
        with notify.supervised(self.supervisor, 2 * poll_minutes * 60 + _CLOSE_SECONDS):
            service.run(poll_minutes, jobs, self.log)

    def tick(self, stop: "Stop") -> None:
        """Reads the configuration again, then ticks and logs the result."""
        if self.ended.is_set():
            stop.ask()
            return
        fresh = read_config(self.path)
        self.config = self.config if fresh == self.config else fresh  # the same object as long as nothing changed in it
        begun, self.tried_at = time.monotonic(), self.clock()
        done = healed(lambda: self.one_tick(self.config, self.clock, stop), self._tell_mended)
        _log_tick(self.log, done, int(time.monotonic() - begun))

    def _tell_mended(self, sentence: str) -> None:
        self.log.warning("mended", sentence=sentence)

    def deliver(self, _: "Stop") -> None:
        """Delivers again what is due."""
        from metering.alerts import delivering
        from metering.cli import author

        with open_books(self.config, self.clock, author.scheduled("run")) as books:
            self.tried_at = self.clock()
            secrets = endpoint_secrets(self.config)
            done = delivering.deliver_due(books, self.config, secrets, self.tried_at, real_time)
        if done.outcomes:  # a timer may wake a moment before a delivery is due; the next one finds it
            self.log.info("delivered again", **done.outcomes)

    def until_retry(self) -> timedelta | None:
        """Time until the next delivery is due; None if there is none."""
        from metering.ledger import reading
        from metering.ledger.alert_log import next_retry

        self.supervisor.progress()
        if self.clock is not real_time:
            return None  # by a clock that stands still it would never be time
        with suppress(MeteringError), reading.open_reader(self.config.store.directory) as found:
            due_at = next_retry(found, self.tried_at)
            return None if due_at is None else due_at - self.clock()
        return None


def _log_tick(log: "Log", done: "Tick", seconds: int) -> None:
    """Logs a line for each fault, then one for the tick."""
    for fault in done.all_faults:
        log.warning("fault", sentence=fault)
    for sentence in done.notes:
        log.info("note", sentence=sentence)
    report = done.report
    polled = {} if report is None else {"requests": report.requests, "pages": report.pages, "changes": report.changes}
    log.info(
        "tick",
        outcome=report.outcome if report else "nothing due",
        **polled,
        alerts=done.alerts,
        delivered=done.delivered,
        closed=done.closed,
        seconds=seconds,
    )
