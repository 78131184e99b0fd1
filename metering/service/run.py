"""`run`: ticks at every polling slot, and retries deliveries that become due between two ticks.

Knows signals and the scheduler. The ledger says what is due, so a missed wake-up loses nothing.
"""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from queue import Empty, SimpleQueue

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from metering.core.errors import MeteringError
from metering.core.exhaustion import in_a_sentence
from metering.core.signals import ending
from metering.core.stop import Stop
from metering.operations import schedule
from metering.service.logs import Log

SECONDS_INTO_THE_SLOT = 20
"""Neon refreshes its data at every quarter of an hour; a request at that moment still gets the old numbers."""

_SOONEST_RETRY = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """The two jobs: `tick` runs in every slot, `deliver` when `until_retry` is over (None: never)."""

    tick: Callable[[Stop], object]
    deliver: Callable[[Stop], object]
    until_retry: Callable[[], timedelta | None]


def run(poll_minutes: int, jobs: Jobs, log: Log) -> None:
    """Ticks once at the start and then at every slot, until SIGTERM. A failed tick is logged and counted.

    After SIGTERM the running request finishes and no other begins. SIGINT interrupts at once (KeyboardInterrupt).
    """
    stop, wake = Stop(), SimpleQueue[None]()
    wake.put(None)
    failures, undelivered, next_tick = 0, 0, time.monotonic()

    def ask() -> None:
        stop.ask()
        wake.put(None)

    with _woken(poll_minutes, wake, log), ending(ask):
        try:
            while not stop.is_asked:
                # The wait ends by the monotonic clock: a system clock that was set back would stop the scheduler.
                retry, left = _until_retry(jobs, log), next_tick - time.monotonic()
                most = left if retry is None else min(left, max(pause(undelivered), retry).total_seconds())
                is_woken = wait(wake, max(0, most))
                if stop.is_asked:
                    break
                if is_woken or time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + poll_minutes * 60
                    failures = attempt(jobs.tick, stop, log, failures)
                else:
                    undelivered = attempt(jobs.deliver, stop, log, undelivered, what="delivery")
        except KeyboardInterrupt:
            if not stop.is_asked:
                raise  # a person pressed Ctrl-C; without a signal the grace period is over
    log.info("stopped")


def pause(failures: int) -> timedelta:
    """The shortest pause before deliveries are tried again after so many failures in a row: 1 s, doubled up to 60 s."""
    return min(_LONGEST_PAUSE, _SOONEST_RETRY * (1 << min(failures, 10)))


def _until_retry(jobs: Jobs, log: Log) -> timedelta | None:
    """`until_retry`, or None if it fails: the next tick delivers what is due."""
    try:
        return jobs.until_retry()
    except Exception as error:  # the service survives an unforeseen error and logs it
        log.error("it is not known when a delivery is due", error=str(error), kind=type(error).__name__)
        return None


def wait(wake: SimpleQueue[None], most_seconds: float) -> bool:
    """Waits for a wake-up or for so many seconds; several wake-ups count as one. Returns whether there was one."""
    try:
        wake.get(timeout=most_seconds)
    except Empty:
        return False
    with suppress(Empty):
        while True:
            wake.get_nowait()
    return True


def attempt(job: Callable[[Stop], object], stop: Stop, log: Log, failures: int, *, what: str = "tick") -> int:
    """Runs a job and logs its failure; returns the number of failures in a row."""
    try:
        with in_a_sentence():
            job(stop)
    except MeteringError as error:
        told = {"error": str(error), "kind": type(error).__name__} | ({"hint": error.hint} if error.hint else {})
    except Exception as error:  # the service survives an unforeseen error and logs it
        told = {"error": str(error), "kind": type(error).__name__, "traceback": traceback.format_exc()}
    else:
        return 0
    log.error(f"{what} failed", in_a_row=failures + 1, **told)
    return failures + 1


def trigger(poll_minutes: int) -> OrTrigger:
    """A trigger that fires shortly after the start of every slot of the UTC day."""
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
    """While the block runs, the scheduler puts an entry into the queue at every slot."""

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
