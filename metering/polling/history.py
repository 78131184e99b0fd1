"""How an organization's history is asked for: whole walks, sweeps that span cycles, and projects by their ids.

Knows the endpoint and its parameters; must not know which hours or projects a cycle wants, nor why.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from metering.core.errors import MeteringError, NeonError
from metering.core.grain import GRAIN_NAMES
from metering.core.parties import Organization
from metering.core.period import rfc3339
from metering.neon.credentials import Caller
from metering.neon.endpoints import HISTORY
from metering.polling.intake import Asked, Begun, Intake
from metering.polling.shares import Round
from metering.usage.windows import Window

_BAD_REQUEST = 400
_NOT_FOR_THESE = frozenset({_BAD_REQUEST, 403, 404})
"""Answers to a question by ids that tell nothing of the organization: the sweep reads these projects as well."""


@dataclass(slots=True, kw_only=True)
class History:
    """One organization's history in one cycle. `lists` are the lists of metrics that are worth trying, in order."""

    intake: Intake
    caller: Caller
    organization: Organization
    row: dict[str, Any]
    lists: list[list[str]]

    @property
    def spent(self) -> int:
        """Requests for history that were made for the organization in this cycle."""
        return self.caller.history_requests

    async def walk(self, window: Window) -> MeteringError | None:
        """A whole walk; returns what broke it."""
        return await self._tried(
            lambda asked: self.intake.read(self.caller, asked, self.row), "history", window, frozenset()
        )

    async def batches(self, found: Round, most: int) -> MeteringError | None:
        """Projects by their ids, at most about `most` requests; returns what broke it."""

        async def read(asked: Asked) -> MeteringError | None:
            return await self.intake.batches(self.caller, asked, self.row, groups=found.groups, most=most)

        return await self._tried(read, "batch", found.window, _NOT_FOR_THESE)

    async def sweep(self, window: Window, most: int) -> tuple[bool, MeteringError | None]:
        """Begins a walk that may span cycles; returns (whether it has ended, what broke or interrupted it)."""
        is_over = False

        async def read(asked: Asked) -> MeteringError | None:
            nonlocal is_over
            is_over, error = await self.intake.sweep(self.caller, asked, self.row, begun=None, most=most)
            return error

        error = await self._tried(read, "history", window, frozenset())
        return is_over, error

    async def resume(
        self, window: Window, params: dict[str, str], begun: Begun, most: int
    ) -> tuple[bool, MeteringError | None]:
        """Goes on with a walk that was begun, with the parameters that it began with."""
        return await self.intake.sweep(self.caller, self._begun(window, params), self.row, begun=begun, most=most)

    def leave(self, window: Window, params: dict[str, str], begun: Begun, reason: str) -> None:
        """Ends a walk that was begun and that nobody will go on with."""
        self.intake.leave(self._begun(window, params), begun, reason)

    def is_asked_with(self, params: dict[str, str]) -> bool:
        """Whether a walk that was begun with these parameters is one that would be begun today."""
        return params["metrics"] in map(",".join, self.lists)

    def _begun(self, window: Window, params: dict[str, str]) -> Asked:
        path = HISTORY[self.organization.history]
        return Asked(endpoint="history", organization=self.organization.id, path=path, params=params, window=window)

    async def _tried(
        self,
        read: Callable[[Asked], Awaitable[MeteringError | None]],
        endpoint: str,
        window: Window,
        forgiven: frozenset[int],
    ) -> MeteringError | None:
        """Asks for all metrics; where Neon refuses the list, for fewer."""
        error: MeteringError | None = None
        for number, metrics in enumerate(self.lists, start=1):
            asked = Asked(
                endpoint=endpoint,
                organization=self.organization.id,
                path=HISTORY[self.organization.history],
                params={
                    "org_id": self.organization.id,
                    "from": rfc3339(window.period.start),
                    "to": rfc3339(window.period.end),
                    "granularity": GRAIN_NAMES[window.grain],
                    "metrics": ",".join(metrics),
                    "limit": "100",
                },
                window=window,
                forgiven=forgiven | (frozenset() if number == len(self.lists) else {_BAD_REQUEST}),
            )
            error = await read(asked)
            if not (isinstance(error, NeonError) and error.status == _BAD_REQUEST):
                break
        return error
