"""How long a healthy service may be silent. Pure."""

from datetime import timedelta

from metering.core.period import HOUR

SLOTS = 3
"""So many slots without a complete cycle are a stall, where they last an hour or more."""


def patience(poll_minutes: int) -> timedelta:
    """How old the last complete cycle of a healthy service may be."""
    return SLOTS * timedelta(minutes=poll_minutes) + HOUR
