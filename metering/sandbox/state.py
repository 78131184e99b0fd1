"""The sandbox's data while it serves: the fleet, the changes that clients made, and the true totals.

A change replaces a project (`put`); usage before a transfer stays with the former organization. Must not know HTTP or a
clock.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from metering.core.period import floor_month, next_month
from metering.sandbox.consumption import METRICS, Consumption, moment_of, seconds_of
from metering.sandbox.fleet import Fleet
from metering.sandbox.project import NeonPeriod, Organization, Project, periods

_FAR_SECONDS = 1 << 40
GRANULARITIES = ("hourly", "daily", "monthly")

Slice = tuple[NeonPeriod, int, int]
"""A billing period and the part of it, in seconds since 1970, that an answer is about."""


class State:
    """The organizations and projects as they are now."""

    def __init__(self, fleet: Fleet, *, exact_hours: bool = False) -> None:
        self.fleet = fleet
        self.organizations = dict(fleet.organizations)
        self._exact_hours = exact_hours
        self._consumption: dict[str, Consumption] = {}
        self._newest_first: dict[str, list[Project]] = {}
        for project in fleet.projects.values():
            self._consumption[project.id] = Consumption(project, exact_hours=exact_hours)

    @property
    def projects(self) -> list[Project]:
        """All projects that ever were, in no particular order."""
        return [consumption.project for consumption in self._consumption.values()]

    def project(self, project_id: str) -> Project | None:
        """The project, deleted or not; None where there never was one."""
        found = self._consumption.get(project_id)
        return found.project if found else None

    def consumption(self, project_id: str) -> Consumption:
        """The hours of a project that exists or existed."""
        return self._consumption[project_id]

    def put(self, project: Project) -> None:
        """Puts a changed project in the place of the one with its id."""
        self._consumption[project.id] = Consumption(project, exact_hours=self._exact_hours)
        self._newest_first.clear()

    def delete(self, project_id: str, now: datetime) -> Project:
        """Ends the project's life at `now` and gives it back."""
        gone = replace(self._consumption[project_id].project, deleted_at=now.replace(microsecond=0), updated_at=now)
        self.put(gone)
        return gone

    def transfer(self, project_id: str, organization: str, now: datetime) -> None:
        """Moves a project; from `now` on it consumes in the other organization."""
        project = self._consumption[project_id].project
        self.put(replace(project, homes=(*project.homes, (now.replace(microsecond=0), organization)), updated_at=now))

    def newest_first(self, organization_id: str) -> list[Project]:
        """Every project that was ever in the organization, the newest first."""
        found = self._newest_first.get(organization_id)
        if found is None:
            residents = [p for p in self.projects if any(home == organization_id for _, home in p.homes)]
            found = self._newest_first[organization_id] = sorted(residents, key=_newest_first)
        return found

    def after(self, organization_id: str, cursor: str | None) -> Iterator[Project]:
        """The residents behind the cursor's project; LookupError where the cursor is no project."""
        residents = self.newest_first(organization_id)
        start = 0
        if cursor is not None:
            start = bisect_left(residents, _newest_first(self._consumption[cursor].project), key=_newest_first)
            start += start < len(residents) and residents[start].id == cursor
        return iter(residents[start:])


def _newest_first(project: Project) -> tuple[int, str]:
    return -seconds_of(project.created_at), project.id


def home_at(project: Project, moment: datetime) -> str:
    """The organization that a project is in at the moment."""
    return [project.homes[0][1], *(home for start, home in project.homes if start <= moment)][-1]


def stays(project: Project, organization_id: str) -> list[tuple[int, int]]:
    """The project's times in the organization, in seconds since 1970; the first has no start, the last no end."""
    starts = [-_FAR_SECONDS, *(seconds_of(start) for start, _ in project.homes[1:]), _FAR_SECONDS]
    return [(starts[i], starts[i + 1]) for i, (_, home) in enumerate(project.homes) if home == organization_id]


def slices(organization: Organization, project: Project, start: int, end: int, until: datetime) -> list[Slice]:
    """The parts of [start, end) that the project spent in the organization, one per billing period and stay."""
    out: list[Slice] = []
    for at, period in enumerate(periods(organization, floor_month(until))):
        # the first period begins inside an hour; what the hour holds began no earlier, so nothing is cut there
        first = -_FAR_SECONDS if at == 0 else seconds_of(period.start)
        for stay_start, stay_end in stays(project, organization.id):
            low, high = max(start, first, stay_start), min(end, seconds_of(period.end), stay_end)
            if low < high:
                out.append((period, low, high))
    return out


def buckets(start: int, end: int, granularity: str) -> Iterator[tuple[int, int]]:
    """The whole UTC hours, days or months that meet [start, end), ascending, in seconds since 1970."""
    if granularity == "monthly":
        month = moment_of(start).replace(day=1, hour=0, minute=0, second=0)
        while seconds_of(month) < end:
            yield seconds_of(month), seconds_of(next_month(month))
            month = next_month(month)
        return
    step = 3600 if granularity == "hourly" else 86400
    for at in range(start - start % step, end, step):
        yield at, at + step


TruthRow = dict[str, str | int]


def truth_table(state: State, start: datetime, end: datetime, *, granularity: str = "hourly") -> list[TruthRow]:
    """The final totals of [start, end), which every client must have 20 hours after `end`.

    Rows `{"organization", "project_id", "metric", "value"}` with a value above zero, sorted; the value is the sum of
    the final values of the buckets of the granularity. `start` and `end` are bounds of such buckets.
    """
    rows: list[TruthRow] = []
    for project in state.projects:
        for organization_id in sorted({home for _, home in project.homes}):
            amounts = _truth(state, project, organization_id, (seconds_of(start), seconds_of(end)), granularity)
            rows += [
                {"organization": organization_id, "project_id": project.id, "metric": METRICS[m], "value": amount}
                for m, amount in enumerate(amounts)
                if amount
            ]
    return sorted(rows, key=lambda row: (row["organization"], row["project_id"], row["metric"]))


def truth(state: State, project_id: str, start: datetime, end: datetime, metric: str) -> int:
    """The final total of one project and metric over [start, end), summed over its organizations; raw units."""
    project = state.consumption(project_id).project
    bounds = seconds_of(start), seconds_of(end)
    homes = {home for _, home in project.homes}
    return sum(_truth(state, project, home, bounds, "hourly")[METRICS.index(metric)] for home in homes)


def _truth(state: State, project: Project, home: str, bounds: tuple[int, int], granularity: str) -> list[int]:
    consumption = state.consumption(project.id)
    totals = [0] * len(METRICS)
    for _, low, high in slices(state.organizations[home], project, *bounds, moment_of(bounds[1])):
        if granularity == "hourly":
            parts = [consumption.final(low, high)]
        else:
            cuts = buckets(low, high, granularity)
            parts = [consumption.shown(max(low, a), min(high, b), _FAR_SECONDS) for a, b in cuts]
        for part in parts:
            totals = [total + amount for total, amount in zip(totals, part, strict=True)]
    return totals
