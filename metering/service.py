"""`run`: wakes up at every polling slot and ticks.

Knows signals and the scheduler; what is due comes from the ledger, so a missed wake-up costs nothing.
"""

import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from metering import schedule
from metering.errors import MeteringError
from metering.logs import Log
from metering.stop import Stop

SECONDS_INTO_THE_SLOT = 20
"""Neon's own data is refreshed on the quarter hours; asking right then finds the old numbers."""
GRACE_SECONDS = 7
"""So long may the page in hand take after SIGTERM; then it is dropped, and what is left of 10 s is for closing."""


def run(poll_minutes: int, tick: Callable[[Stop], object], log: Log) -> None:
    """Ticks once at the start and then at every slot, until SIGTERM. A failed tick is told, counted and survived.

    SIGTERM lets the page in hand finish and begins no other. SIGINT interrupts at once (KeyboardInterrupt).
    """
    stop, wake = Stop(), SimpleQueue[None]()
    wake.put(None)
    failures = 0
    with _woken(poll_minutes, wake, log), _stopped_by_signal(stop, wake):
        try:
            while not stop.is_asked:
                wait(wake, poll_minutes * 60)
                if not stop.is_asked:
                    failures = attempt(tick, stop, log, failures)
        except KeyboardInterrupt:
            if not stop.is_asked:
                raise  # a person pressed Ctrl-C; otherwise the grace is over
    log.info("stopped")


def wait(wake: SimpleQueue[None], most_seconds: float) -> None:
    """Until woken, however often, or so long by the monotonic clock: one that was set back would stop the scheduler."""
    with suppress(Empty):
        wake.get(timeout=most_seconds)
        while True:
            wake.get_nowait()


def attempt(tick: Callable[[Stop], object], stop: Stop, log: Log, failures: int) -> int:
    """Ticks, and tells where that fails; returns how many ticks have now failed in a row."""
    try:
        tick(stop)
    except MeteringError as error:
        told = {"error": str(error), "kind": type(error).__name__} | ({"hint": error.hint} if error.hint else {})
    except Exception as error:  # the service outlives what nobody thought of, and says so
        told = {"error": str(error), "kind": type(error).__name__, "traceback": traceback.format_exc()}
    else:
        return 0
    log.error("tick failed", in_a_row=failures + 1, **told)
    return failures + 1


def trigger(poll_minutes: int) -> OrTrigger:
    """Fires a little into every slot of the UTC day."""
    return OrTrigger(
        [
            CronTrigger(
                hour=",".join(map(str, hours)),
                minute=",".join(map(str, minutes)),
                second=SECONDS_INTO_THE_SLOT,
                timezone="UTC",
            )
            for minutes, hours in schedule.slots(poll_minutes).items()
        ]
    )


@contextmanager
def _woken(poll_minutes: int, wake: SimpleQueue[None], log: Log) -> Iterator[None]:
    """While inside, the scheduler puts something into the queue at every slot."""

    def tell(event: JobExecutionEvent) -> None:
        log.error("the scheduler could not wake us", error=str(event.exception))

    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_job(
        lambda: wake.put(None),
        trigger(poll_minutes),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
    )
    scheduler.add_listener(tell, EVENT_JOB_ERROR)
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=False)


@contextmanager
def _stopped_by_signal(stop: Stop, wake: SimpleQueue[None]) -> Iterator[None]:
    """While inside, SIGTERM asks for a stop, and interrupts whatever is not done when the grace is over."""

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.ask()
        wake.put(None)
        signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    handlers = {signal.SIGTERM: ask, signal.SIGALRM: interrupt}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
