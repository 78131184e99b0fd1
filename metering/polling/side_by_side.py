"""Runs work side by side: all at once, or a bounded number at a time with the results in order. Knows no request."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterable
from itertools import islice
from typing import Any, TypeVar

from metering.neon.budget import IN_FLIGHT

Done = TypeVar("Done")
Work = Coroutine[Any, Any, Done]


async def together(*work: Work[None]) -> None:
    """Runs everything side by side. An error of one ends the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def in_order(work: Iterable[Work[Done]]) -> AsyncGenerator[Done, None]:
    """Yields results in the order of the work; IN_FLIGHT at a time are under way, and none after the end.

    Work is taken from the iterable as places become free.
    """
    rest, waiting = iter(work), deque[asyncio.Task[Done]]()
    try:
        while True:
            waiting.extend(asyncio.ensure_future(one) for one in islice(rest, IN_FLIGHT - len(waiting)))
            if not waiting:
                return
            done = await waiting[0]
            waiting.popleft()
            yield done
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
