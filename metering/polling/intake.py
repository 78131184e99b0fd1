"""What comes in during one cycle: every page and the end of every list to the ledger, and what went wrong to a report.

Knows how a list is read to its end; must not know which lists a cycle wants, nor why.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from metering.core.errors import (
    ClockError,
    CredentialsError,
    MeteringError,
    NeonError,
    StoppedError,
    UnavailableError,
    UnreachableError,
)
from metering.core.grain import GRAIN_NAMES
from metering.core.period import rfc3339
from metering.core.stop import Stop
from metering.ledger.ledger import Ledger
from metering.ledger.projections.history import HISTORY_ENDPOINTS
from metering.neon.client import IN_FLIGHT, Answer, Seen
from metering.neon.credentials import Caller
from metering.usage.windows import Window

GOES_ON = "goes on with the next cycle"
"""Why a sweep that lacks nothing but budget is not complete yet."""
CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far this machine's clock may be from Neon's. What is certified depends on when it was read."""
Done = TypeVar("Done")


@dataclass(slots=True, kw_only=True)
class Report:
    """What one cycle read, changed and missed. `faults` are sentences; any of them makes the cycle incomplete."""

    started_at: datetime
    organizations: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    pages: int = 0
    changes: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_refused: bool = False

    @property
    def outcome(self) -> str:
        """complete, partial, or refused where a key was."""
        return "refused" if self.is_refused else "partial" if self.faults else "complete"

    def fault(self, where: str, error: MeteringError) -> None:
        """Something owed that could not be read."""
        self.faults.append(f"{where}: {error}" + (f" ({error.hint})" if error.hint else ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A list to read. The `forgiven` statuses are worth a note and no fault."""

    endpoint: str
    organization: str
    path: str
    params: Mapping[str, str]
    window: Window | None = None
    forgiven: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        """`hourly history`, the same `by project`, or the endpoint."""
        if self.window is None:
            return self.endpoint
        return f"{GRAIN_NAMES[self.window.grain]} history" + (" by project" if self.endpoint == "batch" else "")

    @property
    def is_history(self) -> bool:
        """Whether it is asked for within the budget of history."""
        return self.endpoint in HISTORY_ENDPOINTS

    @property
    def where(self) -> str:
        """What a sentence about it begins with."""
        return f"organization {self.organization}, {self.name}"

    def span(self) -> dict[str, Any]:
        """The window as records and reports show it; nothing where the list has none."""
        if self.window is None:
            return {}
        period = self.window.period
        return {
            "grain": self.window.grain,
            "period_start": rfc3339(period.start),
            "period_end": rfc3339(period.end),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A sweep that an earlier cycle left open: how far it has come. Its first request's time is its certificate's."""

    walk: int
    first_sent_at: datetime
    pages: int
    seen: Seen


@dataclass(slots=True, kw_only=True)
class Intake:
    """One cycle's way into the ledger. `progress` gets a sentence fragment and how many pages it stands for."""

    ledger: Ledger
    report: Report
    stop: Stop
    progress: Callable[[str, int], None]
    checks_clock: bool
    _next_walk: int = field(init=False)
    _ahead: timedelta | None = None

    def __post_init__(self) -> None:
        self._next_walk = int(self.ledger.store.query("polling/next_walk").item())

    def next_walk(self) -> int:
        """A number that no list has had."""
        self._next_walk += 1
        return self._next_walk - 1

    def page(
        self, answer: Answer, endpoint: str, organization: str, walk: int, more: Mapping[str, Any] | None = None
    ) -> None:
        """Journals and lands one page; `by_rows`: its sound rows count, whatever the others are."""
        self.report.pages += 1
        if self.checks_clock and answer.server_date is not None:
            self._ahead = answer.received_at - answer.server_date
        self.ledger.record(
            "page",
            {
                "walk": walk,
                "endpoint": endpoint,
                "organization": organization,
                "path": answer.path,
                "params": answer.params,
                "sent_at": rfc3339(answer.sent_at),
                "received_at": rfc3339(answer.received_at),
                "request_id": answer.request_id,
                "by_rows": True,
                **(more or {}),
            },
            body=answer.body,
        )

    async def read(self, caller: Caller, asked: Asked, row: dict[str, Any]) -> MeteringError | None:
        """Reads a list from its first page to its last or to where it breaks; its end is journalled in any case.

        Returns what broke it, and adds a line to `row["walks"]`. Raises CredentialsError and StoppedError.
        """
        number, pages, span = self.next_walk(), 0, asked.span()
        first_sent_at = self.ledger.clock()
        error: MeteringError | None = None
        try:
            self._check_clock(asked)
            async for answer in caller.walk(asked.path, asked.params, history=asked.is_history):
                first_sent_at = answer.sent_at if pages == 0 else first_sent_at
                pages += 1
                self.page(answer, asked.endpoint, asked.organization, number, span)
                self.progress(f"{asked.organization}: {asked.name}", 1)
                self._check_clock(asked)
                self.stop.check()
        except MeteringError as caught:
            error = caught
        self._end(asked, number, first_sent_at, error)
        self._tell(asked, number, pages, error, row)
        if isinstance(error, CredentialsError | StoppedError):
            raise error
        return error

    async def sweep(
        self, caller: Caller, asked: Asked, row: dict[str, Any], *, begun: Begun | None, most: int
    ) -> tuple[bool, MeteringError | None]:
        """Reads a part of a full walk, about `most` requests; its end is journalled once it is reached, or broken.

        Where nobody answered, or a stop was asked for, it stays open like one that ran out of requests. Returns
        (whether it has ended, what broke or interrupted it). Raises CredentialsError and StoppedError.
        """
        begun = begun or Begun(walk=self.next_walk(), first_sent_at=self.ledger.clock(), pages=0, seen=Seen())
        first_sent_at, pages, before = begun.first_sent_at, begun.pages, caller.history_requests
        is_over = pages > 0 and begun.seen.cursor is None  # the process died before it said so
        error: MeteringError | None = None
        more = {**asked.span(), "is_sweep": True}
        try:
            self._check_clock(asked)
            async with aclosing(caller.walk(asked.path, asked.params, history=True, seen=begun.seen)) as answers:
                while not is_over and caller.history_requests - before < most:
                    answer = await anext(answers, None)
                    if answer is not None:
                        first_sent_at = answer.sent_at if pages == 0 else first_sent_at
                        pages += 1
                        self.page(answer, asked.endpoint, asked.organization, begun.walk, more)
                        self.progress(f"{asked.organization}: {asked.name}", 1)
                    is_over = begun.seen.cursor is None
                    self._check_clock(asked)
                    self.stop.check()
        except MeteringError as caught:
            error = caught
        is_open = pages > 0 and (error is None or isinstance(error, UnreachableError | StoppedError | ClockError))
        if is_open and not is_over:
            reason = GOES_ON if error is None else str(error)
            told = {"what": asked.name, **asked.span(), "pages": pages, "complete": False, "reason": reason}
            row["walks"].append(told)
            if error is not None and not isinstance(error, StoppedError):
                self.report.fault(asked.where, error)
        elif pages or error is not None:
            self._end(asked, begun.walk, first_sent_at, error)
            self._tell(asked, begun.walk, pages, error, row)
        if isinstance(error, CredentialsError | StoppedError):
            raise error
        return is_over, error

    def leave(self, asked: Asked, begun: Begun, reason: str) -> None:
        """Ends a sweep that nobody will go on with."""
        self._end(asked, begun.walk, begun.first_sent_at, NeonError(reason))

    async def batches(
        self, caller: Caller, asked: Asked, row: dict[str, Any], *, groups: Iterable[tuple[str, ...]], most: int
    ) -> MeteringError | None:
        """Asks for projects by id, a request for each group, while there are any; together they are one reading.

        The requests overlap, their answers are taken in the groups' order. Returns what broke it, after which no
        other is begun. Raises CredentialsError and StoppedError.
        """
        number, pages, before = self.next_walk(), 0, caller.history_requests
        first_sent_at = self.ledger.clock()
        error: MeteringError | None = None

        def work() -> Iterator[Coroutine[Any, Any, tuple[list[Answer], MeteringError | None]]]:
            for begun, ids in enumerate(groups):
                if error is not None or max(begun, caller.history_requests - before) >= most:
                    return
                yield _group(caller, asked, ids)

        try:
            self._check_clock(asked)
            async with aclosing(in_order(work())) as found:
                async for answers, caught in found:
                    error = error or caught
                    for answer in answers:
                        first_sent_at = min(first_sent_at, answer.sent_at) if pages else answer.sent_at
                        pages += 1
                        self.page(answer, asked.endpoint, asked.organization, number, asked.span())
                        self.progress(f"{asked.organization}: {asked.name}", 1)
                        self._check_clock(asked)
                        self.stop.check()
        except MeteringError as caught:
            error = caught
        self._end(asked, number, first_sent_at, error)
        self._tell(asked, number, pages, error, row)
        if isinstance(error, CredentialsError | StoppedError):
            raise error
        return error

    def _check_clock(self, asked: Asked) -> None:
        """A wrong clock would certify hours that are not over, or ask for the wrong ones: no history while it is."""
        if asked.is_history and self._ahead is not None and abs(self._ahead) > CLOCK_TOLERANCE:
            minutes = (abs(self._ahead) + timedelta(seconds=30)) // timedelta(minutes=1)
            side = "ahead of" if self._ahead > timedelta() else "behind"
            raise ClockError(
                f"this machine's clock is {minutes} min {side} Neon's",
                hint="set the clock; until then no history is read",
            )

    def _end(self, asked: Asked, number: int, first_sent_at: datetime, error: MeteringError | None) -> None:
        kind, reason = _kind_of(error, asked.forgiven)
        self.ledger.record(
            "walk",
            {
                "walk": number,
                "endpoint": asked.endpoint,
                "organization": asked.organization,
                "path": asked.path,
                "grain": None,
                "period_start": None,
                "period_end": None,
                **asked.span(),
                "first_sent_at": rfc3339(first_sent_at),
                "kind": kind,
                "reason": reason,
            },
        )

    def _tell(self, asked: Asked, number: int, pages: int, error: MeteringError | None, row: dict[str, Any]) -> None:
        ended = self.ledger.store.query("polling/walk_end", walk=number).row(0, named=True)
        told = {"what": asked.name, **asked.span(), "pages": pages, "complete": ended["is_complete"]}
        if not ended["is_complete"]:
            told["reason"] = ended["reason"]
        row["walks"].append(told)
        for project_id, fault in self.ledger.store.query("ledger/unreadable_of_walk", walk=number).iter_rows():
            self.report.faults.append(f"{asked.where}: project {project_id} was refused: {fault}")
        if ended["is_complete"] or isinstance(error, CredentialsError | StoppedError):
            return
        if isinstance(error, NeonError) and error.status in asked.forgiven:
            self.report.notes.append(f"{asked.where}: {error}")
        elif error is not None:
            self.report.fault(asked.where, error)
        else:
            self.report.faults.append(f"{asked.where}: a page was refused: {ended['reason']}")


async def _group(caller: Caller, asked: Asked, ids: tuple[str, ...]) -> tuple[list[Answer], MeteringError | None]:
    """The pages that show these projects, and what broke off their reading."""
    params, seen, found = {**asked.params, "project_ids": ",".join(ids)}, Seen(), list[Answer]()
    try:
        async with aclosing(caller.walk(asked.path, params, history=True, seen=seen)) as answers:
            async for answer in answers:
                found.append(answer)
                if seen.items.issuperset(ids):
                    break  # a cursor behind a full page would lead to an empty one
    except MeteringError as error:
        return found, error
    return found, None


async def in_order(work: Iterable[Coroutine[Any, Any, Done]]) -> AsyncGenerator[Done, None]:
    """Results in the order of the work, IN_FLIGHT of which is under way at a time; none is left under way at the end.

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


def _kind_of(error: MeteringError | None, forgiven: frozenset[int]) -> tuple[str, str]:
    if error is None:
        return "", ""
    if isinstance(error, CredentialsError):
        return "credentials", str(error)
    is_unavailable = isinstance(error, UnavailableError) or (isinstance(error, NeonError) and error.status in forgiven)
    return ("unavailable" if is_unavailable else "broken"), str(error)
