"""Parses inventory pages, single projects with their quota counters, and branches. Pure: bytes in, plain values out.

A counter or limit must be a JSON integer of zero or more; a key that occurs twice in one object refuses the page.
"""

from dataclasses import dataclass
from datetime import datetime

from metering.neon import wire
from metering.neon.duplicate_keys import refuse_duplicates

COUNTER_LIMIT = 2**110
"""Below it a counter's percentage of its quota is computed in 128 bits."""
COUNTERS = ("active_time_seconds", "compute_time_seconds", "written_data_bytes", "data_transfer_bytes")
QUOTAS = (*COUNTERS, "logical_size_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFacts:
    """A project as inventory or `GET /projects/{id}` shows it. `has_settings` separates "no quota" from "not shown"."""

    project_id: str
    organization: str
    name: str
    region: str
    created_at: datetime | None
    deleted_at: datetime | None
    last_active_at: datetime | None
    has_settings: bool
    limits: dict[str, int]
    period_start: datetime | None
    period_end: datetime | None
    counters: dict[str, int | None]


def inventory(body: bytes) -> tuple[list[ProjectFacts], tuple[str, ...]]:
    """A page of `/projects`: its projects, and the ids that exist though Neon could not show them in time."""
    page = wire.decode(wire.INVENTORY, body)
    refuse_duplicates(body)
    return [_facts(project) for project in page.projects], tuple(page.unavailable_project_ids or ())


def project(body: bytes) -> ProjectFacts:
    """The answer of `GET /projects/{id}`."""
    page = wire.decode(wire.ONE_PROJECT, body)
    refuse_duplicates(body)
    return _facts(page.project)


def branch_sizes(body: bytes) -> list[int | None]:
    """The logical size of every branch of a page; None where Neon has not measured it yet."""
    sizes = [branch.logical_size for branch in wire.decode(wire.BRANCHES, body).branches]
    refuse_duplicates(body)
    for size in sizes:
        wire.checked("logical_size", size, COUNTER_LIMIT)
    return sizes


def root_sizes(body: bytes) -> list[int | None]:
    """The sizes of the branches that have no parent, None where Neon has not measured it yet."""
    sizes = branch_sizes(body)
    return [
        size
        for branch, size in zip(wire.decode(wire.BRANCHES, body).branches, sizes, strict=True)
        if not branch.parent_id
    ]


def time_of(text: str | None) -> datetime | None:
    """A time that may be missing; the year 1, which Neon writes for "none", and unreadable text count as missing."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return wire.utc(moment)


def _facts(project: wire.Project) -> ProjectFacts:
    quota = project.settings.quota if project.settings else None
    counters = {name: wire.checked(name, getattr(project, name), COUNTER_LIMIT) for name in COUNTERS}
    limits = {name: wire.checked(name, getattr(quota, name, None), COUNTER_LIMIT) for name in QUOTAS}
    return ProjectFacts(
        project_id=project.id,
        organization=project.org_id or "",
        name=project.name or "",
        region=project.region_id or "",
        created_at=time_of(project.created_at),
        deleted_at=time_of(project.deleted_at),
        last_active_at=time_of(project.compute_last_active_at),
        has_settings=project.settings is not None,
        limits={name: limit for name, limit in limits.items() if limit is not None},
        period_start=time_of(project.consumption_period_start),
        period_end=time_of(project.consumption_period_end),
        counters=counters,
    )
