"""When a delivery that failed is tried again. Pure."""

from datetime import datetime, timedelta

RETRY_SCHEDULE = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Wait before each attempt, from the attempt before: 75 h 35 min 5 s in all (Standard Webhooks, section on retries)."""


def next_attempt(attempts: int, now: datetime, retry_after: timedelta | None = None) -> datetime | None:
    """The time of the next attempt, not before the time that the receiver asked for; None: no more attempts."""
    if attempts >= len(RETRY_SCHEDULE):
        return None
    return now + max(RETRY_SCHEDULE[attempts], retry_after or timedelta(0))
