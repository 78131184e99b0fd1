"""`run`: wakes up at every polling slot and ticks. What is due comes from the ledger; a missed wake-up costs nothing."""

import queue
import signal
from collections.abc import Callable

from apscheduler.events import EVENT_JOB_ERROR
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from metering.config import ScheduleConfig
from metering.errors import MeteringError

SECONDS_INTO_THE_SLOT = 20
"""Neon's own data is refreshed on the quarter hours; asking right then finds the old numbers."""


def run(schedule: ScheduleConfig, tick: Callable[[], int], note: Callable[[str], None]) -> None:
    """Ticks once at the start and then at every slot, until SIGTERM or SIGINT. A failed tick is told and survived.

    The signal is taken as an interrupt, which cancels a request under way at its next wait; what was received is
    journalled already.
    """
    wake: queue.Queue[None] = queue.Queue()
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_job(
        lambda: wake.put(None),
        CronTrigger(timezone="UTC", second=SECONDS_INTO_THE_SLOT, **_slots(schedule.poll_minutes)),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
    )
    scheduler.add_listener(lambda event: note(f"the scheduler could not wake us: {event.exception}"), EVENT_JOB_ERROR)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    scheduler.start()
    wake.put(None)
    try:
        while True:
            wake.get()
            while not wake.empty():
                wake.get()
            try:
                tick()
            except MeteringError as error:
                note(f"{error}" + (f" ({error.hint})" if error.hint else ""))
    except KeyboardInterrupt:
        note("stopped")
    finally:
        scheduler.shutdown(wait=False)


def _slots(poll_minutes: int) -> dict[str, str]:
    """Cron fields of the polling slots; a period that does not divide the hour or the day wakes us more often."""
    if poll_minutes < 60:
        return {"minute": f"*/{poll_minutes}"}
    if poll_minutes % 60 == 0:
        return {"hour": f"*/{min(poll_minutes // 60, 23)}", "minute": "0"}
    return {"minute": "*/15"}
