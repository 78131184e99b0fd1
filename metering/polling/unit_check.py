"""Checks once a day whether storage is still in byte-months: compares history of a few projects with their branches.

Costs the requests for the branches of SAMPLE projects. The comparison is journalled with its verdict; if the verdict
changes, a review item is recorded. Must not judge a number (usage/units.py does). Failures are notes: it tries again
the next day.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from metering.config import Config
from metering.core.errors import CredentialsError, MeteringError, UnavailableError
from metering.core.parties import Organization
from metering.core.period import HOUR, Period, floor_day, rfc3339
from metering.core.secrets import Secret
from metering.core.stop import Stop
from metering.ledger.alarms import raise_once
from metering.ledger.ledger import Ledger
from metering.neon import parse_projects
from metering.neon.client import Neon
from metering.neon.session import Session, Sessions
from metering.polling.readings import CycleReport
from metering.polling.recorder import Recorder
from metering.store.database import Store
from metering.usage import units
from metering.usage.coverage import certified_of

Json = dict[str, Any]
Keys = Mapping[str, Secret | CredentialsError]
NeonOf = Callable[[str], Neon]

METRIC = "root_branch_bytes_month"
SAMPLE = 5
HOURS = 6
"""The last so many certified hours are compared: a size is of now."""
OLDEST = 24 * HOUR


def check(ledger: Ledger, config: Config, keys: Keys, neon_of: NeonOf, stop: Stop) -> list[str]:
    """Checks every organization that is due; returns the new review items, and what could not be read."""
    ledger.flush()
    work = _Check(ledger=ledger, now=ledger.clock(), keys=keys, stop=stop)
    due = [row for row in config.organizations if work.is_due(row)]
    if due:
        asyncio.run(work.run(due, neon_of))
    return work.notes


@dataclass(slots=True, kw_only=True)
class _Check:
    ledger: Ledger
    now: datetime
    keys: Keys
    stop: Stop
    notes: list[str] = field(default_factory=list)
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = Recorder(ledger=self.ledger, report=CycleReport(started_at=self.now), stop=self.stop)

    def is_due(self, organization: Organization) -> bool:
        """Whether it was not checked today, and has history and a key."""
        checked_at = _last(self.ledger.store, organization.id)["checked_at"]
        is_done = checked_at is not None and floor_day(self.now) <= checked_at <= self.now
        return not is_done and not organization.sponsored and isinstance(self.keys[organization.id], Secret)

    async def run(self, due: Iterable[Organization], neon_of: NeonOf) -> None:
        """Checks one organization after the other; one that cannot be read is due again at the next tick."""
        for organization in due:
            neon = neon_of(organization.account)
            try:
                await self._organization(neon, organization)
            except MeteringError as error:
                self.notes.append(f"organization {organization.id}, unit of storage: not compared: {error}")
            finally:
                await neon.close()

    async def _organization(self, neon: Neon, organization: Organization) -> None:
        window = compared_hours(self.ledger.store, organization.id, self.now)
        if window is None:
            return
        sample = self.ledger.store.query(
            "polling/unit_sample",
            organization=organization.id,
            start=window.start,
            end=window.end,
            hours=window.hours(),
            most=SAMPLE,
        )
        session = Sessions(neon=neon, keys=self.keys, organizations=[organization]).of(organization.id)
        judged = []
        for project_id, value in sample.iter_rows():
            self.stop.check()
            size = await self._root_size(session, organization.id, project_id)
            found = units.verdict(int(value), window.hours(), size or 0)
            judged.append({"project_id": project_id, "value": str(value), "logical_size": size, "verdict": found})
        if judged:
            self._conclude(organization.id, window, judged)

    async def _root_size(self, session: Session, organization: str, project_id: str) -> int | None:
        """The logical size of the project's root branch; None if it has several, or the size is not measured."""
        walk = self.recorder.next_walk()
        roots: list[int | None] = []
        try:
            async for page in session.walk(f"projects/{project_id}/branches", {"limit": "100"}):
                self.recorder.page(page, "branches", organization, walk, {"project_id": project_id})
                roots += parse_projects.root_sizes(page.body)
        except UnavailableError:
            return None  # deleted since
        return roots[0] if len(roots) == 1 else None

    def _conclude(self, organization: str, window: Period, judged: Sequence[Json]) -> None:
        """Records a review item if the unit has changed, then the comparison."""
        found = units.agreed(row["verdict"] for row in judged)
        if found in ("too large", "too small") and found != _last(self.ledger.store, organization)["verdict"]:
            said = raise_once(
                self.ledger,
                "unit",
                (organization, found, rfc3339(floor_day(self.now))),
                organization,
                metric=METRIC,
                summary=_sentence(organization, window, judged, found),
            )
            self.notes += [said] if said else []
        projects = [{**row, "hours": window.hours()} for row in judged]
        self.ledger.record("unit_check", {"organization": organization, "verdict": found, "projects": projects})


def compared_hours(store: Store, organization: str, now: datetime) -> Period | None:
    """The last certified hours of an organization, at most HOURS; None if they are older than a day."""
    certified = certified_of(store.query("billing/coverage_of", as_of_seq=2**63, after=0)).get(organization)
    if certified is None or not certified.hourly or certified.hourly[-1].end < now - OLDEST:
        return None
    last = certified.hourly[-1]
    return Period(start=max(last.start, last.end - HOURS * HOUR), end=last.end)


def _last(store: Store, organization: str) -> Json:
    return store.query("polling/last_unit_check", organization=organization).row(0, named=True)


def _sentence(organization: str, window: Period, judged: Sequence[Json], found: str) -> str:
    telling = [row for row in judged if row["verdict"] == found]
    one = telling[0]
    return (
        f"storage of organization {organization} is about {units.HOURS_OF_A_MONTH} times {found} for byte-months, "
        f"by {len(telling)} of {len(judged)} projects: {METRIC} of {one['project_id']} adds up to {one['value']} over "
        f"{window.hours()} hours to {rfc3339(window.end)}, and its root branch holds {one['logical_size']} bytes"
    )
