"""How an organization's history is asked for: full reads, resumable reads that span runs, and projects by their ids.

Knows the endpoint and its parameters; must not know which hours or projects a run wants, nor why.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from metering.core.errors import MeteringError, NeonError
from metering.core.grain import GRAINS
from metering.core.parties import Organization
from metering.core.period import rfc3339
from metering.neon.endpoints import HISTORY
from metering.neon.session import Session
from metering.polling.readings import ListRequest, Reading
from metering.polling.recorder import Recorder
from metering.polling.shares import Round
from metering.usage.windows import Window

_BAD_REQUEST = 400
_TOLERATED_BY_ID = frozenset({_BAD_REQUEST, 403, 404})
"""Answers to a question by ids that say nothing about the organization: the full read covers these projects too."""


@dataclass(slots=True, kw_only=True)
class History:
    """One organization's history in one run. `lists` are the lists of metrics that are worth trying, in order."""

    recorder: Recorder
    session: Session
    organization: Organization
    row: dict[str, Any]
    lists: list[list[str]]

    @property
    def spent(self) -> int:
        """Requests for history that were made for the organization in this run."""
        return self.session.history_requests

    async def walk(self, window: Window) -> MeteringError | None:
        """Reads a window in full; returns what broke the reading."""
        return await self._tried(lambda request: self.recorder.read(self.session, request, self.row), "history", window)

    async def batches(self, wanted: Round, most: int) -> MeteringError | None:
        """Reads projects by their ids, with at most about `most` requests; returns what broke the reading."""

        async def read(request: ListRequest) -> MeteringError | None:
            return await self.recorder.batches(self.session, request, self.row, groups=wanted.groups, most=most)

        return await self._tried(read, "batch", wanted.window, _TOLERATED_BY_ID)

    async def sweep(self, window: Window, most: int) -> tuple[bool, MeteringError | None]:
        """Begins a resumable read; returns (whether it has ended, what broke or interrupted it)."""
        is_over = False

        async def read(request: ListRequest) -> MeteringError | None:
            nonlocal is_over
            is_over, error = await self.recorder.sweep(self.session, request, self.row, reading=None, most=most)
            return error

        error = await self._tried(read, "history", window)
        return is_over, error

    async def resume(
        self, window: Window, params: dict[str, str], reading: Reading, most: int
    ) -> tuple[bool, MeteringError | None]:
        """Continues a resumable read with the parameters that it began with."""
        request = self._request("history", window, params)
        return await self.recorder.sweep(self.session, request, self.row, reading=reading, most=most)

    def leave(self, window: Window, params: dict[str, str], reading: Reading, reason: str) -> None:
        """Ends a resumable read that will not be continued."""
        self.recorder.leave(self._request("history", window, params), reading, reason)

    def is_asked_with(self, params: dict[str, str]) -> bool:
        """Whether a resumable read with these parameters asks for what a new one would ask for."""
        return params["metrics"] in map(",".join, self.lists)

    def _request(
        self, endpoint: str, window: Window, params: dict[str, str], tolerated_statuses: frozenset[int] = frozenset()
    ) -> ListRequest:
        return ListRequest(
            endpoint=endpoint,
            organization=self.organization.id,
            path=HISTORY[self.organization.history],
            params=params,
            window=window,
            tolerated_statuses=tolerated_statuses,
        )

    async def _tried(
        self,
        read: Callable[[ListRequest], Awaitable[MeteringError | None]],
        endpoint: str,
        window: Window,
        tolerated_statuses: frozenset[int] = frozenset(),
    ) -> MeteringError | None:
        """Asks for all metrics, and for fewer if Neon refuses the list."""
        error: MeteringError | None = None
        for number, metrics in enumerate(self.lists, start=1):
            params = {
                "org_id": self.organization.id,
                "from": rfc3339(window.period.start),
                "to": rfc3339(window.period.end),
                "granularity": GRAINS[window.grain],
                "metrics": ",".join(metrics),
                "limit": "100",
            }
            tolerated = tolerated_statuses | (frozenset() if number == len(self.lists) else {_BAD_REQUEST})
            error = await read(self._request(endpoint, window, params, tolerated))
            if not (isinstance(error, NeonError) and error.status == _BAD_REQUEST):
                break
        return error
