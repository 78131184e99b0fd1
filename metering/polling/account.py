"""One account in one polling run: inventory, history and counters of its organizations, within its request budgets.

Requests overlap as far as the budgets and the places of the account allow; pages go to the one ledger, each list in the
order of its pages. A refused key stops only the organizations that use it. If full reads of the account take more than
its budget allows until the next slot, each organization reads within a budget of its own.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from metering.config import Config
from metering.core.deadline import Deadline
from metering.core.errors import ClockError, CredentialsError, MeteringError, StoppedError, UnavailableError
from metering.core.parties import Organization
from metering.core.period import floor_month, slot_start
from metering.neon import parse_projects
from metering.neon.budget import IN_FLIGHT
from metering.neon.endpoints import metric_lists
from metering.neon.session import Credential, Session
from metering.neon.walk import Answer
from metering.polling import counters
from metering.polling.history import History
from metering.polling.readings import ListRequest
from metering.polling.recorder import Recorder
from metering.polling.shares import requests_for, shares
from metering.polling.side_by_side import in_order, together
from metering.polling.sweeps import BudgetedReader, RequestBudget, leave_sweeps
from metering.polling.wanted import Wants
from metering.usage.windows import Window

COUNTER_SHARE = 2
"""At most one in so many of the requests that a run's time allows goes to counters."""
_BAD_REQUEST, _NOT_FOUND = 400, 404


@dataclass(slots=True, kw_only=True)
class Polled:
    """An organization with a key, the windows that it lacks, and its row of the report."""

    organization: Organization
    session: Session
    windows: Sequence[Window]
    row: dict[str, Any] = field(init=False)
    stopped: StoppedError | None = None

    def __post_init__(self) -> None:
        self.row = {"organization": self.organization.id, "walks": [], "counters": 0}

    @property
    def is_asked(self) -> bool:
        """Whether it makes sense to ask for it."""
        return self.stopped is None and self.session.credential.refusal is None


@dataclass(slots=True, kw_only=True)
class Account:
    """Nothing is read after `deadline`; a backfill has none. `wants` decides again once a resumable read has ended."""

    config: Config
    recorder: Recorder
    polled: Sequence[Polled]
    wants: Wants
    now: datetime
    deadline: Deadline
    _counters_left: int = field(init=False)

    def __post_init__(self) -> None:
        minutes = self.config.schedule.poll_minutes
        self._counters_left = self.config.neon.requests_per_minute * minutes // COUNTER_SHARE

    async def read(self) -> None:
        """Reads inventory, then history and counters.

        If full reads take more than a slot allows (at first by the last inventory), each organization reads within its
        budget, beside what has budgets of its own.
        """
        readers = self._budgeted_readers()
        begin = lambda polled: readers[polled.organization.id].begin()  # noqa: E731
        begun = self._each(begin, only=readers)
        await together(self._each(self._inventory), begun)
        readers = readers or self._budgeted_readers()
        if readers:
            rest = lambda polled: readers[polled.organization.id].rest(self._near_a_quota(polled.organization))  # noqa: E731
            await together(self._each(rest, only=readers), self._each(self._counters))
        else:
            await self._each(self._in_full)

    async def _each(
        self, work: Callable[[Polled], Coroutine[Any, Any, None]], *, only: Iterable[str] | None = None
    ) -> None:
        """Does the work of (some) organizations, IN_FLIGHT at a time; a refused key or a stop ends only its own."""
        places = asyncio.Semaphore(IN_FLIGHT)

        async def one(polled: Polled) -> None:
            async with places:
                try:
                    if polled.is_asked:
                        await work(polled)
                except CredentialsError:
                    assert polled.session.credential.refusal is not None, "the credential knows that it was refused"
                except StoppedError as error:
                    polled.stopped = error

        await together(*(one(polled) for polled in self.polled if only is None or polled.organization.id in only))

    def _budgeted_readers(self) -> dict[str, BudgetedReader]:
        """The organizations' readers within their budgets; empty if full reads fit into the slot."""
        if self.deadline.seconds_left is None:
            return {}
        self.recorder.ledger.flush()
        asked = [polled for polled in self.polled if polled.is_asked and not polled.organization.sponsored]
        budgets = self._request_budgets({polled.organization.id: len(polled.windows) for polled in asked})
        return {
            name: BudgetedReader(self._history(polled), self.wants, polled.windows, budgets[name])
            for polled in asked
            if (name := polled.organization.id) in budgets
        }

    def _request_budgets(self, walks: Mapping[str, int]) -> dict[str, RequestBudget]:
        """What each organization may spend in this slot on so many full reads; empty if all of them fit."""
        listed = dict(self.recorder.ledger.store.query("polling/listed_counts").iter_rows())
        pages = {name: requests_for(listed.get(name, 0)) for name in walks}
        schedule, per_minute = self.config.schedule, self.config.neon.history_requests_per_minute
        fitting = self._time_left * per_minute // timedelta(minutes=1)
        if sum(pages[name] * count for name, count in walks.items()) <= fitting:
            return {}
        left = self._left(pages, per_minute)
        return {
            name: RequestBudget(
                now=self.now,
                slot=timedelta(minutes=schedule.poll_minutes),
                sweep_most=timedelta(hours=schedule.sweep_hours),
                most=most,
                pages=pages[name],
            )
            for name, most in shares(left, pages).items()
        }

    def _left(self, organizations: Iterable[str], per_minute: int) -> int:
        """Requests for history that the account has until the next slot begins, or the run must end."""
        minutes = self.config.schedule.poll_minutes
        slot = slot_start(self.now, minutes)
        requests = self.recorder.ledger.store.query("polling/history_requests", since=slot, now=self.now)
        spent: dict[str, int] = dict(requests.iter_rows())
        by_count = per_minute * minutes - sum(spent.get(name, 0) for name in organizations)
        time_left = min(slot + timedelta(minutes=minutes) - self.recorder.ledger.clock(), self._time_left)
        by_time = -(-time_left * per_minute // timedelta(minutes=1))
        return max(0, min(by_count, by_time))

    @property
    def _time_left(self) -> timedelta:
        return timedelta(seconds=self.deadline.seconds_left or 0)

    def _history(self, polled: Polled) -> History:
        return History(
            recorder=self.recorder,
            session=polled.session,
            organization=polled.organization,
            row=polled.row,
            lists=metric_lists(
                polled.organization.history, (metric for meter in self.config.meters for metric in meter.metrics)
            ),
        )

    def _near_a_quota(self, organization: Organization) -> list[str]:
        return counters.near(self._candidates(organization), self._limits(), self.now)

    async def _in_full(self, polled: Polled) -> None:
        """Reads history in full, then the counters of the projects that it showed to move."""
        if not polled.organization.sponsored:
            history = self._history(polled)
            if self.deadline.seconds_left is not None:
                leave_sweeps(history, self.recorder.ledger.store, "a whole walk takes its place")
            for window in polled.windows:
                error = await history.walk(window)
                if isinstance(error, UnavailableError | ClockError):
                    break  # another window would fail too
        await self._counters(polled)

    async def _inventory(self, polled: Polled) -> None:
        """Reads the existing projects first, so that one that is deleted meanwhile is in the second list."""
        organization = polled.organization.id
        params = {"org_id": organization, "limit": "400"}
        listed = ListRequest(endpoint="inventory", organization=organization, path="projects", params=params)
        await self.recorder.read(polled.session, listed, polled.row)
        deleted = ListRequest(
            endpoint="recoverable",
            organization=organization,
            path="projects",
            params={**params, "recoverable": "true"},
            tolerated_statuses=frozenset({_BAD_REQUEST, 403, 404}),  # a beta: without it, history still bills
        )
        await self.recorder.read(polled.session, deleted, polled.row)

    def _candidates(self, organization: Organization) -> pl.DataFrame:
        since = floor_month(self.now)
        return self.recorder.ledger.store.query("polling/counter_candidates", organization=organization.id, since=since)

    def _limits(self) -> dict[str, int]:
        return counters.smallest_limits(plan.quota for plan in self.config.plans)

    async def _counters(self, polled: Polled) -> None:
        """Reads quota counters, as many as the account has requests left for; the requests overlap."""
        candidates = self._candidates(polled.organization)
        due = counters.due(candidates, self._limits(), self.now, self._counters_left)
        self._counters_left -= sum(reading.requests for reading in due)
        async with aclosing(in_order(self._readings(polled.session, due))) as readings:
            async for counter in readings:
                self._record(polled, counter)

    def _readings(self, session: Session, due: Iterable[counters.Reading]) -> Iterator[Coroutine[Any, Any, "_Counter"]]:
        for reading in due:
            self.recorder.stop.check()
            yield _read(session, reading)

    def _record(self, polled: Polled, counter: "_Counter") -> None:
        """Journals one project's counters and reports what could not be read."""
        organization, project_id = polled.organization.id, counter.project_id
        walk, more = self.recorder.next_walk() if counter.branches else 0, {"project_id": project_id}
        for page in counter.branches:
            self.recorder.page(page, "branches", organization, walk, more)
        if counter.answer is not None:
            self.recorder.page(counter.answer, "project", organization, self.recorder.next_walk(), more)
            self.recorder.progress(f"{organization}: quota counters", 1)
            polled.row["counters"] += 1
        if isinstance(counter.error, CredentialsError | StoppedError):
            raise counter.error
        if counter.is_gone:
            self.recorder.report.notes.append(f"{organization}: {counter.error}")
        elif counter.error is not None:
            self.recorder.report.fault(f"organization {organization}, counters of {project_id}", counter.error)


@dataclass(slots=True, kw_only=True)
class _Counter:
    """One project's answer, its branches' pages if they are needed, and the error that ended the reading."""

    project_id: str
    branches: list[Answer] = field(default_factory=list)
    answer: Answer | None = None
    error: MeteringError | None = None

    @property
    def is_gone(self) -> bool:
        """Whether it was deleted since inventory was read."""
        return self.answer is None and isinstance(self.error, UnavailableError) and self.error.status == _NOT_FOUND


async def _read(session: Session, reading: counters.Reading) -> _Counter:
    path, counter = f"projects/{reading.project_id}", _Counter(project_id=reading.project_id)
    try:
        counter.answer = await session.get(path, {})  # first, so that unreadable branches cost nothing
        parse_projects.project(counter.answer.body)  # a page that the ledger would refuse was not read
        if reading.needs_branches:
            async for page in session.walk(f"{path}/branches", {"limit": "100"}):
                counter.branches.append(page)
                parse_projects.branch_sizes(page.body)
    except MeteringError as error:
        counter.error = error
    return counter


def credentials_in_use(account: str, polled: Sequence[Polled]) -> Iterator[tuple[str, Credential]]:
    """(users in words, credential) of each key."""
    credentials = {id(one.session.credential): one.session.credential for one in polled}
    for credential in credentials.values():
        users = [one.organization.id for one in polled if one.session.credential is credential]
        is_shared_by_all = len(users) == len(polled)
        yield f"account {account}" if is_shared_by_all else f"organization {', '.join(users)}", credential
