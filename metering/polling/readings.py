"""What polling asks for, how far a reading has come, and what a whole run read: values. Sends and records nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from metering.core.errors import MeteringError
from metering.core.grain import GRAINS
from metering.core.period import rfc3339
from metering.ledger.projections.pages import HISTORY_ENDPOINTS
from metering.neon.walk import Seen
from metering.usage.windows import Window


@dataclass(slots=True, kw_only=True)
class CycleReport:
    """What one polling run read, changed and missed. `faults` are sentences; any of them makes the run incomplete."""

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
        """`refused` if a key was, `partial` if anything is missing, else `complete`."""
        return "refused" if self.is_refused else "partial" if self.faults else "complete"

    def fault(self, where: str, error: MeteringError) -> None:
        """Adds an error that left something unread."""
        self.faults.append(f"{where}: {error}" + (f" ({error.hint})" if error.hint else ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRequest:
    """A list to read. `tolerated_statuses` are noted, not counted as faults."""

    endpoint: str
    organization: str
    path: str
    params: Mapping[str, str]
    window: Window | None = None
    tolerated_statuses: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        """The endpoint; for history its grain and whether it is by id, as in `hourly history by project`."""
        if self.window is None:
            return self.endpoint
        return f"{GRAINS[self.window.grain]} history" + (" by project" if self.endpoint == "batch" else "")

    @property
    def is_history(self) -> bool:
        """Whether it spends the budget of history."""
        return self.endpoint in HISTORY_ENDPOINTS

    @property
    def where(self) -> str:
        """The beginning of a sentence about it."""
        return f"organization {self.organization}, {self.name}"

    def span(self) -> dict[str, Any]:
        """The window as records and reports show it; empty if the list has none."""
        if self.window is None:
            return {}
        period = self.window.period
        return {
            "grain": self.window.grain,
            "period_start": rfc3339(period.start),
            "period_end": rfc3339(period.end),
        }


@dataclass(slots=True, kw_only=True)
class Reading:
    """How far the reading of a list has come. When its first request was sent decides which hours it certifies.

    If its requests overlap, any of them may have been sent first.
    """

    walk: int
    first_sent_at: datetime
    pages: int = 0
    seen: Seen = field(default_factory=Seen)
    overlaps: bool = False

    @property
    def is_at_end(self) -> bool:
        """Whether the last page was read."""
        return self.pages > 0 and self.seen.cursor is None

    def count(self, sent_at: datetime) -> None:
        """Counts one page."""
        if not self.pages or (self.overlaps and sent_at < self.first_sent_at):
            self.first_sent_at = sent_at
        self.pages += 1
