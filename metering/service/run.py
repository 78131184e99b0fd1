"""`run`: wakes up at every polling slot and ticks; between two, delivers again what is due again.

Knows signals and the scheduler; what is due comes from the ledger, so a missed wake-up costs nothing.
"""

import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from queue import Empty, SimpleQueue
from types import FrameType

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from metering.core.errors import MeteringError
from metering.core.stop import Stop
from metering.operations import schedule
from metering.service.logs import Log

SECONDS_INTO_THE_SLOT = 20
"""Neon's own data is refreshed on the quarter hours; asking right then finds the old numbers."""
GRACE_SECONDS = 7
"""So long may the page in hand take after SIGTERM; then it is dropped, and what is left of 10 s is for closing."""

_SOONEST_RETRY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """What there is to do: `tick` in every slot, and `deliver` when `until_retry` is over (None: not at all)."""

    tick: Callable[[Stop], object]
    deliver: Callable[[Stop], object]
    until_retry: Callable[[], timedelta | None]


def run(poll_minutes: int, jobs: Jobs, log: Log) -> None:
    """Ticks once at the start and then at every slot, until SIGTERM. A failed tick is told, counted and survived.

    SIGTERM lets the page in hand finish and begins no other. SIGINT interrupts at once (KeyboardInterrupt).
    """
    stop, wake = Stop(), SimpleQueue[None]()
    wake.put(None)
    failures, next_tick = 0, time.monotonic()
    with _woken(poll_minutes, wake, log), _stopped_by_signal(stop, wake):
        try:
            while not stop.is_asked:
                # By the monotonic clock a tick comes in any case: one that was set back would stop the scheduler.
                left, retry = next_tick - time.monotonic(), jobs.until_retry()
                most = left if retry is None else min(left, max(_SOONEST_RETRY, retry).total_seconds())
                is_woken = wait(wake, max(0, most))
                if stop.is_asked:
                    break
                if is_woken or time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + poll_minutes * 60
                    failures = attempt(jobs.tick, stop, log, failures)
                else:
                    attempt(jobs.deliver, stop, log, 0, what="delivery")
        except KeyboardInterrupt:
            if not stop.is_asked:
                raise  # a person pressed Ctrl-C; otherwise the grace is over
    log.info("stopped")


def wait(wake: SimpleQueue[None], most_seconds: float) -> bool:
    """Until woken, however often, or so long; whether it was woken."""
    try:
        wake.get(timeout=most_seconds)
    except Empty:
        return False
    with suppress(Empty):
        while True:
            wake.get_nowait()
    return True


def attempt(job: Callable[[Stop], object], stop: Stop, log: Log, failures: int, *, what: str = "tick") -> int:
    """Does a job, and tells where that fails; returns how many have now failed in a row."""
    try:
        job(stop)
    except MeteringError as error:
        told = {"error": str(error), "kind": type(error).__name__} | ({"hint": error.hint} if error.hint else {})
    except Exception as error:  # the service outlives what nobody thought of, and says so
        told = {"error": str(error), "kind": type(error).__name__, "traceback": traceback.format_exc()}
    else:
        return 0
    log.error(f"{what} failed", in_a_row=failures + 1, **told)
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
