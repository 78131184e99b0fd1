"""One account in one cycle: inventory, history and counters of its organizations, side by side within its budgets.

Requests overlap as far as the buckets and the places of the account allow; what comes in goes to the one ledger, each
list in the order of its pages. A refused key stops the organizations that use it, and no other. Where the whole walks
of the account do not fit in what its budget allows until the next slot, each organization reads its share (thrift).
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl

from metering.config.models import Config
from metering.core.errors import ClockError, CredentialsError, MeteringError, StoppedError, UnavailableError
from metering.core.parties import Organization
from metering.core.period import floor_month, slot_start
from metering.neon import parse_history
from metering.neon.client import IN_FLIGHT, Answer, Neon
from metering.neon.credentials import Caller, Key
from metering.neon.endpoints import metric_lists
from metering.polling import counters
from metering.polling.history import History
from metering.polling.intake import Asked, Intake, in_order
from metering.polling.shares import requests_for, shares
from metering.polling.sweeps import Means, Thrift, leave_sweeps
from metering.usage.windows import Window

COUNTER_SHARE = 2
"""At most one in so many of the requests that a cycle's time allows goes to counters."""
_BAD_REQUEST, _NOT_FOUND = 400, 404
Windows = Callable[[Organization], list[Window]]


@dataclass(slots=True, kw_only=True)
class Polled:
    """An organization that can be asked, and its row of the report."""

    organization: Organization
    caller: Caller
    row: dict[str, Any] = field(init=False)
    stopped: StoppedError | None = None

    def __post_init__(self) -> None:
        self.row = {"organization": self.organization.id, "walks": [], "counters": 0}

    @property
    def is_asked(self) -> bool:
        """Whether there is any sense in asking for it."""
        return self.stopped is None and self.caller.key.refusal is None


@dataclass(slots=True, kw_only=True)
class Account:
    """`windows` tells which walks an organization is owed; `is_bounded`: the cycle must end within its slot."""

    neon: Neon
    config: Config
    intake: Intake
    found: Sequence[Polled]
    windows: Windows
    now: datetime
    is_bounded: bool
    _counters_left: int = field(init=False)

    def __post_init__(self) -> None:
        minutes = self.config.schedule.poll_minutes
        self._counters_left = self.config.neon.requests_per_minute * minutes // COUNTER_SHARE

    async def read(self) -> None:
        """Inventory of all, then history and counters.

        Where whole walks take more than a slot allows (first as far as the last inventory tells), each organization
        reads its share, and what has budgets of its own goes on side by side.
        """
        thrifty = self._thrifty()
        await together(self._each(self._inventory), self._each(lambda polled: _begin(thrifty, polled)))
        thrifty = thrifty or self._thrifty()
        if thrifty:
            await together(self._each(lambda polled: self._rest(thrifty, polled)), self._each(self._counters))
        else:
            await self._each(self._whole)

    async def _each(self, work: Callable[[Polled], Coroutine[Any, Any, None]]) -> None:
        """The work of every organization, IN_FLIGHT of them at a time. A refused key or a stop ends that of its own."""
        places = asyncio.Semaphore(IN_FLIGHT)

        async def one(polled: Polled) -> None:
            async with places:
                try:
                    if polled.is_asked:
                        await work(polled)
                except CredentialsError:
                    assert polled.caller.key.refusal is not None, "the key knows that it was refused"
                except StoppedError as error:
                    polled.stopped = error

        await together(*(one(polled) for polled in self.found))

    def _thrifty(self) -> dict[str, Thrift]:
        """How each organization reads its share; empty where whole walks fit."""
        if not self.is_bounded:
            return {}
        asked = [polled for polled in self.found if polled.is_asked and not polled.organization.sponsored]
        means = self._means({polled.organization.id: len(self.windows(polled.organization)) for polled in asked})
        return {
            name: Thrift(
                self._history(polled), self.intake.ledger.store, partial(self.windows, polled.organization), means[name]
            )
            for polled in asked
            if (name := polled.organization.id) in means
        }

    def _means(self, walks: Mapping[str, int]) -> dict[str, Means]:
        """What organizations that are owed so many walks may spend in this slot; empty where all of it fits."""
        listed = dict(self.intake.ledger.store.query("polling/listed_counts").iter_rows())
        pages = {name: requests_for(listed.get(name, 0)) for name in walks}
        schedule, per_minute = self.config.schedule, self.config.neon.history_requests_per_minute
        if sum(pages[name] * count for name, count in walks.items()) <= per_minute * schedule.poll_minutes:
            return {}
        left = self._left(pages, per_minute)
        return {
            name: Means(
                now=self.now,
                slot=timedelta(minutes=schedule.poll_minutes),
                sweep_most=timedelta(hours=schedule.sweep_hours),
                most=most,
                pages=pages[name],
            )
            for name, most in shares(left, pages).items()
        }

    def _left(self, organizations: Iterable[str], per_minute: int) -> int:
        """Requests for history that the account has until the next slot begins."""
        minutes = self.config.schedule.poll_minutes
        slot = slot_start(self.now, minutes)
        requests = self.intake.ledger.store.query("polling/history_requests", since=slot, now=self.now)
        spent: dict[str, int] = dict(requests.iter_rows())
        by_count = per_minute * minutes - sum(spent.get(name, 0) for name in organizations)
        time_left = slot + timedelta(minutes=minutes) - self.intake.ledger.clock()
        by_time = -(-time_left * per_minute // timedelta(minutes=1))
        return max(0, min(by_count, by_time))

    def _history(self, polled: Polled) -> History:
        return History(
            intake=self.intake,
            caller=polled.caller,
            organization=polled.organization,
            row=polled.row,
            lists=metric_lists(
                polled.organization.history, (metric for meter in self.config.meters for metric in meter.metrics)
            ),
        )

    async def _rest(self, thrifty: Mapping[str, Thrift], polled: Polled) -> None:
        if thrift := thrifty.get(polled.organization.id):
            await thrift.rest(counters.near(self._candidates(polled.organization), self._limits(), self.now))

    async def _whole(self, polled: Polled) -> None:
        """Whole walks, then the counters of what they have shown to move."""
        if not polled.organization.sponsored:
            history = self._history(polled)
            if self.is_bounded:
                leave_sweeps(history, self.intake.ledger.store, "a whole walk takes its place")
            for window in self.windows(polled.organization):
                error = await history.walk(window)
                if isinstance(error, UnavailableError | ClockError):
                    break  # no other window is any better
        await self._counters(polled)

    async def _inventory(self, polled: Polled) -> None:
        """What lives first: a project that is deleted meanwhile is then shown by the second list."""
        organization = polled.organization.id
        params = {"org_id": organization, "limit": "400"}
        listed = Asked(endpoint="inventory", organization=organization, path="projects", params=params)
        await self.intake.read(polled.caller, listed, polled.row)
        deleted = Asked(
            endpoint="recoverable",
            organization=organization,
            path="projects",
            params={**params, "recoverable": "true"},
            forgiven=frozenset({_BAD_REQUEST, 403, 404}),  # a beta: where it is missing, history still bills
        )
        await self.intake.read(polled.caller, deleted, polled.row)

    def _candidates(self, organization: Organization) -> pl.DataFrame:
        since = floor_month(self.now)
        return self.intake.ledger.store.query("polling/counter_candidates", organization=organization.id, since=since)

    def _limits(self) -> dict[str, int]:
        return counters.smallest_limits(plan.quota for plan in self.config.plans)

    async def _counters(self, polled: Polled) -> None:
        """Quota counters, as many as what the account has left for them; their requests overlap."""
        candidates = self._candidates(polled.organization)
        due = counters.due(candidates, self._limits(), self.now, self._counters_left)
        self._counters_left -= sum(reading.requests for reading in due)
        async with aclosing(in_order(self._readings(polled.caller, due))) as found:
            async for counter in found:
                self._land(polled, counter)

    def _readings(self, caller: Caller, due: Iterable[counters.Reading]) -> Iterator[Coroutine[Any, Any, "_Counter"]]:
        for reading in due:
            self.intake.stop.check()
            yield _read(caller, reading)

    def _land(self, polled: Polled, counter: "_Counter") -> None:
        """What came in, and what of it is owed still."""
        organization, project_id = polled.organization.id, counter.project_id
        walk, more = self.intake.next_walk() if counter.branches else 0, {"project_id": project_id}
        for page in counter.branches:
            self.intake.page(page, "branches", organization, walk, more)
        if counter.answer is not None:
            self.intake.page(counter.answer, "project", organization, self.intake.next_walk(), more)
            self.intake.progress(f"{organization}: quota counters", 1)
            polled.row["counters"] += 1
        if isinstance(counter.error, CredentialsError | StoppedError):
            raise counter.error
        if counter.is_gone:
            self.intake.report.notes.append(f"{organization}: {counter.error}")
        elif counter.error is not None:
            self.intake.report.fault(f"organization {organization}, counters of {project_id}", counter.error)


@dataclass(slots=True, kw_only=True)
class _Counter:
    """What was read of one project: itself, its branches' pages where they are needed, and what broke it off."""

    project_id: str
    branches: list[Answer] = field(default_factory=list)
    answer: Answer | None = None
    error: MeteringError | None = None

    @property
    def is_gone(self) -> bool:
        """Whether it was deleted since inventory was read."""
        return self.answer is None and isinstance(self.error, UnavailableError) and self.error.status == _NOT_FOUND


async def _read(caller: Caller, reading: counters.Reading) -> _Counter:
    path, found = f"projects/{reading.project_id}", _Counter(project_id=reading.project_id)
    try:
        found.answer = await caller.get(path, {})  # first: branches that cannot be read take nothing from it
        parse_history.project(found.answer.body)  # what the ledger will refuse is owed
        if reading.needs_branches:
            async for page in caller.walk(f"{path}/branches", {"limit": "100"}):
                found.branches.append(page)
                parse_history.branch_sizes(page.body)
    except MeteringError as error:
        found.error = error
    return found


async def _begin(thrifty: Mapping[str, Thrift], polled: Polled) -> None:
    if thrift := thrifty.get(polled.organization.id):
        await thrift.begin()


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """All of them side by side. What one raises ends the others, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


def keys_in_use(account: str, found: Sequence[Polled]) -> Iterator[tuple[str, Key]]:
    """Each key with who uses it, in words."""
    keys = {id(polled.caller.key): polled.caller.key for polled in found}
    for key in keys.values():
        users = [polled.organization.id for polled in found if polled.caller.key is key]
        yield f"account {account}" if len(users) == len(found) else f"organization {', '.join(users)}", key
