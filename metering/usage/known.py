"""Which projects are known, and for which hours inventory is missing.

A project is known when subscriptions.csv maps it, when inventory showed it, or when it was gone before anybody looked:
complete inventory reads that began after its first usage do not list it. Pure: knows no store, no plan and no price.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from metering.core.period import Period, floor_hour, merged

GONE: dict[str, pl.DataType] = {"project_id": pl.String(), "organization": pl.String()}
NOT_KNOWN = "not_known"
"""The `reason` beside usage whose project is not yet known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryRead:
    """When the last complete inventory reads of an organization began; None where there was none.

    `read_at`: of its projects, and of the deleted ones if Neon shows them to its key; `whole_at`: of both.
    """

    read_at: datetime | None
    whole_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A project that history reports and inventory never showed. `first_start`: its first bucket ever."""

    organization: str
    project_id: str
    first_start: datetime
    is_gone: bool


def unseen(rows: pl.DataFrame, whole_at: Mapping[str, datetime | None], organizations: Iterable[str]) -> list[Unseen]:
    """The rows of unseen_projects.sql, judged by when each organization was last read whole.

    A project may have moved to another organization, so it is gone only once all `organizations` were read. A bucket
    does not tell in which of its minutes the project was used: a read counts that began when the bucket was over.
    """
    reads = [whole_at.get(organization) for organization in organizations]
    earliest = None if None in reads else min(filter(None, reads), default=None)
    return [
        Unseen(
            organization=row["organization"],
            project_id=row["project_id"],
            first_start=row["first_start"],
            is_gone=not row["is_named"] and earliest is not None and earliest >= row["first_end"],
        )
        for row in rows.iter_rows(named=True)
    ]


def gone(found: Iterable[Unseen]) -> pl.DataFrame:
    """GONE: the projects that were gone before anybody looked, with the organizations that reported their usage."""
    rows = [(one.project_id, one.organization) for one in found if one.is_gone]
    return pl.DataFrame(rows, schema=GONE, orient="row")


def stretches(month: Period, read_at: datetime | None, used: Iterable[Period], *, is_over: bool) -> tuple[Period, ...]:
    """The hours of a month for which an organization's inventory is missing.

    Once the month is over: from its last complete read to the month's end, unless that read began after the month. And
    at any time, the hours in which projects were `used` that are not yet known.
    """
    start = month.start if read_at is None else max(month.start, floor_hour(read_at))
    unread = [Period(start=start, end=month.end)] if is_over and start < month.end else []
    inside = (period.overlap(month) for period in used)
    return tuple(merged([*unread, *(period for period in inside if period)]))


def marked(rows: Iterable[dict[str, str]], projects: frozenset[str]) -> list[dict[str, str]]:
    """Rows of usage that nobody pays for; those of `projects` say that these are not yet known."""
    return [{**row, "reason": NOT_KNOWN} if row["project_id"] in projects else row for row in rows]
