"""Reads lists from Neon and records every page in the ledger before anybody interprets it; reports what was missed.

Knows pages, the ends of readings and the clock's error. Must not know which lists a polling run wants, nor why.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from metering.core.errors import (
    ClockError,
    CredentialsError,
    MeteringError,
    NeonError,
    StoppedError,
    UnavailableError,
    UnreachableError,
)
from metering.core.period import rfc3339
from metering.core.stop import Stop
from metering.ledger.ledger import Ledger
from metering.neon.session import Session
from metering.neon.walk import Answer, Seen
from metering.polling.readings import CycleReport, ListRequest, Reading
from metering.polling.side_by_side import Work, in_order

GOES_ON = "goes on with the next cycle"
"""Why a resumable read that lacks nothing but budget is not complete yet."""
CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far this machine's clock may be from Neon's. What is certified depends on when it was read."""


@dataclass(slots=True, kw_only=True)
class Recorder:
    """One polling run's way into the ledger. `progress` gets a sentence fragment and how many pages it stands for."""

    ledger: Ledger
    report: CycleReport
    stop: Stop = field(default_factory=Stop)
    progress: Callable[[str, int], None] = lambda _what, _count: None
    checks_clock: bool = False
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
        """Journals and projects one page; `by_rows`: its sound rows count, whatever the others are."""
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

    async def read(self, session: Session, request: ListRequest, row: dict[str, Any]) -> MeteringError | None:
        """Reads a list from its first page to its last or to where it breaks; its end is journalled in any case.

        Returns what broke it, and adds a line to `row["walks"]`. Raises CredentialsError and StoppedError.
        """
        reading = self._begin()
        answers = session.walk(request.path, request.params, history=request.is_history)
        error = await self._record(answers, request, reading)
        return self._conclude(request, reading, error, row)

    async def sweep(
        self, session: Session, request: ListRequest, row: dict[str, Any], *, reading: Reading | None, most: int
    ) -> tuple[bool, MeteringError | None]:
        """Reads a part of a resumable read, about `most` requests; its end is journalled once it is reached, or broken.

        If nobody answers, or a stop is requested, it stays open as if its requests were used up. Returns (whether it
        has ended, what broke or interrupted it). Raises CredentialsError and StoppedError.
        """
        reading, before = reading or self._begin(), session.history_requests
        error = await self._record(
            session.walk(request.path, request.params, history=True, seen=reading.seen),
            request,
            reading,
            more={"is_sweep": True},
            is_enough=lambda: reading.is_at_end or session.history_requests - before >= most,
        )
        is_interrupted = error is None or isinstance(error, UnreachableError | StoppedError | ClockError)
        if reading.pages and is_interrupted and not reading.is_at_end:
            reason = GOES_ON if error is None else str(error)
            row["walks"].append(_walk_row(request, reading, reason))
            if error is not None and not isinstance(error, StoppedError):
                self.report.fault(request.where, error)
            _raise_if_final(error)
        elif reading.pages or error is not None:
            self._conclude(request, reading, error, row)
        return reading.is_at_end, error

    def leave(self, request: ListRequest, reading: Reading, reason: str) -> None:
        """Ends a resumable read that will not be continued."""
        self._end(request, reading, NeonError(reason))

    async def batches(
        self,
        session: Session,
        request: ListRequest,
        row: dict[str, Any],
        *,
        groups: Iterable[tuple[str, ...]],
        most: int,
    ) -> MeteringError | None:
        """Asks for projects by id, a request for each group, while there are any; together they are one reading.

        Returns what broke it, after which no further group is begun. Raises CredentialsError and StoppedError.
        """
        reading = self._begin(overlaps=True)
        error = await self._record(_grouped(session, request, groups, most), request, reading)
        return self._conclude(request, reading, error, row)

    def _begin(self, *, overlaps: bool = False) -> Reading:
        return Reading(walk=self.next_walk(), first_sent_at=self.ledger.clock(), overlaps=overlaps)

    async def _record(
        self,
        answers: AsyncGenerator[Answer, None],
        request: ListRequest,
        reading: Reading,
        *,
        more: Mapping[str, Any] | None = None,
        is_enough: Callable[[], bool] = lambda: False,
    ) -> MeteringError | None:
        """Journals each page as it arrives; returns what broke or interrupted the reading."""
        facts = {**request.span(), **(more or {})}
        try:
            self._check_clock(request)
            async with aclosing(answers):
                while not is_enough() and (answer := await anext(answers, None)) is not None:
                    reading.count(answer.sent_at)
                    self.page(answer, request.endpoint, request.organization, reading.walk, facts)
                    self.progress(f"{request.organization}: {request.name}", 1)
                    self._check_clock(request)
                    self.stop.check()
        except MeteringError as error:
            return error
        return None

    def _check_clock(self, request: ListRequest) -> None:
        """Refuses to read history while the clock is wrong: it would certify hours that are not over."""
        if request.is_history and self._ahead is not None and abs(self._ahead) > CLOCK_TOLERANCE:
            minutes = (abs(self._ahead) + timedelta(seconds=30)) // timedelta(minutes=1)
            side = "ahead of" if self._ahead > timedelta() else "behind"
            raise ClockError(
                f"this machine's clock is {minutes} min {side} Neon's",
                hint="set the clock; until then no history is read",
            )

    def _conclude(
        self, request: ListRequest, reading: Reading, error: MeteringError | None, row: dict[str, Any]
    ) -> MeteringError | None:
        """Journals the end of a reading and reports it; returns the error, or raises it if it ends everything."""
        self._end(request, reading, error)
        self._report(request, reading, error, row)
        _raise_if_final(error)
        return error

    def _end(self, request: ListRequest, reading: Reading, error: MeteringError | None) -> None:
        kind, reason = _kind_of(error, request.tolerated_statuses)
        self.ledger.record(
            "walk",
            {
                "walk": reading.walk,
                "endpoint": request.endpoint,
                "organization": request.organization,
                "path": request.path,
                "grain": None,
                "period_start": None,
                "period_end": None,
                **request.span(),
                "first_sent_at": rfc3339(reading.first_sent_at),
                "kind": kind,
                "reason": reason,
            },
        )

    def _report(self, request: ListRequest, reading: Reading, error: MeteringError | None, row: dict[str, Any]) -> None:
        """Adds the verdict that the projection reached, and what could not be read, to the report."""
        ended = self.ledger.store.query("polling/walk_end", walk=reading.walk).row(0, named=True)
        row["walks"].append(_walk_row(request, reading, None if ended["is_complete"] else ended["reason"]))
        for project_id, fault in self.ledger.store.query("ledger/unreadable_of_walk", walk=reading.walk).iter_rows():
            self.report.faults.append(f"{request.where}: project {project_id} was refused: {fault}")
        if ended["is_complete"] or isinstance(error, CredentialsError | StoppedError):
            return
        if isinstance(error, NeonError) and error.status in request.tolerated_statuses:
            self.report.notes.append(f"{request.where}: {error}")
        elif error is not None:
            self.report.fault(request.where, error)
        else:
            self.report.faults.append(f"{request.where}: a page was refused: {ended['reason']}")


def _walk_row(request: ListRequest, reading: Reading, reason: str | None) -> dict[str, Any]:
    """A line of the report; a complete reading needs no reason."""
    row = {"what": request.name, **request.span(), "pages": reading.pages, "complete": reason is None}
    return row if reason is None else {**row, "reason": reason}


def _raise_if_final(error: MeteringError | None) -> None:
    """Raises an error after which nothing else is read for the organization."""
    if isinstance(error, CredentialsError | StoppedError):
        raise error


async def _grouped(
    session: Session, request: ListRequest, groups: Iterable[tuple[str, ...]], most: int
) -> AsyncGenerator[Answer, None]:
    """Yields the pages of each group of projects, in the groups' order; raises the first error at the end.

    The requests overlap. After an error no group is begun, and those under way are still taken.
    """
    before, error = session.history_requests, None

    def work() -> Iterator[Work[tuple[list[Answer], MeteringError | None]]]:
        for begun, ids in enumerate(groups):
            if error is not None or max(begun, session.history_requests - before) >= most:
                return
            yield _group(session, request, ids)

    async with aclosing(in_order(work())) as groups_read:
        async for answers, failed in groups_read:
            error = error or failed
            for answer in answers:
                yield answer
    if error is not None:
        raise error


async def _group(
    session: Session, request: ListRequest, ids: tuple[str, ...]
) -> tuple[list[Answer], MeteringError | None]:
    """The pages that show these projects, and what broke off their reading."""
    params, seen, pages = {**request.params, "project_ids": ",".join(ids)}, Seen(), list[Answer]()
    try:
        async with aclosing(session.walk(request.path, params, history=True, seen=seen)) as answers:
            async for answer in answers:
                pages.append(answer)
                if seen.items.issuperset(ids):
                    break  # a cursor behind a full page would lead to an empty one
    except MeteringError as error:
        return pages, error
    return pages, None


def _kind_of(error: MeteringError | None, tolerated_statuses: frozenset[int]) -> tuple[str, str]:
    """(kind, reason) of a walk's record; both are empty if nothing broke it."""
    if error is None:
        return "", ""
    if isinstance(error, CredentialsError):
        return "credentials", str(error)
    is_tolerated = isinstance(error, NeonError) and error.status in tolerated_statuses
    return ("unavailable" if is_tolerated or isinstance(error, UnavailableError) else "broken"), str(error)
