"""Sends queues of messages to many endpoints side by side, each queue in order.

Must not know the ledger: the caller records each attempt.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from metering.alerts.address_guard import Resolve, resolve
from metering.alerts.send import client, deliver
from metering.alerts.targets import Attempt, Message, Target

AT_ONCE = 32
FAILURES_THAT_PAUSE = 5
"""After so many failures in a row an endpoint is left alone until the next run; what was not tried costs no attempt."""


async def deliver_queues(  # noqa: PLR0913 - what differs in a test
    queues: Sequence[tuple[Target, Sequence[Message]]],
    clock: Callable[[], datetime],
    on_attempt: Callable[[Target, Message, Attempt], None],
    *,
    budget_seconds: int = 240,
    goes_on: Callable[[], bool] = lambda: True,
    resolver: Resolve = resolve,
) -> None:
    """Send every queue in order, at most AT_ONCE endpoints side by side; a slow endpoint delays only itself.

    `clock` returns the real time, for the timestamp of each attempt. `on_attempt` is called after each attempt, before
    the next one. No attempt begins after `budget_seconds`, or once `goes_on()` is false; the rest stays due.
    """
    until = asyncio.get_running_loop().time() + budget_seconds
    places = asyncio.Semaphore(AT_ONCE)

    async def send(endpoint: Target, messages: Sequence[Message]) -> None:
        failures = 0
        async with places, client(endpoint) as opened:
            for message in messages:
                is_late = asyncio.get_running_loop().time() >= until
                if failures >= FAILURES_THAT_PAUSE or is_late or not goes_on():
                    return
                attempt = await deliver(endpoint, message, clock(), over=opened, resolver=resolver)
                on_attempt(endpoint, message, attempt)
                if attempt.outcome == "disabled" or attempt.retry_after:
                    return
                failures = 0 if attempt.outcome == "delivered" else failures + 1

    try:
        async with asyncio.TaskGroup() as group:
            for endpoint, messages in queues:
                group.create_task(send(endpoint, messages))
    except BaseExceptionGroup as failures:
        # Only `on_attempt` and `clock` raise here, and the caller handles their errors, not groups of errors.
        raise failures.exceptions[0] from None
