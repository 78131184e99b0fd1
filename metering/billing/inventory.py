"""Projects and organizations as a month's report shows them: whose, since when, how fresh. Reads the store."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from metering.billing.month import Month
from metering.core.parties import Organization
from metering.core.period import rfc3339
from metering.core.rows import Row

NOBODY = (None, None)


class ProjectRow(Struct, frozen=True, kw_only=True):
    """A project of the month: whose it is and was the month before, since when, and when it was last active."""

    project_id: str
    project_name: str | None
    customer: str | None
    plan: str | None
    previous_customer: str | None
    previous_plan: str | None
    created_at: str | None
    deleted_at: str | None
    last_active_at: str | None
    is_listed: bool


class OrganizationRow(Struct, frozen=True, kw_only=True):
    """An organization: the number of projects listed now, and when each part of it was last read."""

    organization: str
    sponsored: bool
    projects: int | None
    inventory_read_at: str | None
    history_read_at: str | None
    certified_until: str | None


def projects(month: Month, before: Month) -> list[ProjectRow]:
    """Every project that existed in the month, by id, with its customer and plan last in force, and the month before's.

    `last_active_at` and `is_listed` are as inventory showed them last; `created_at` and `deleted_at` also where only
    usage tells them.
    """
    names, owners, earlier = month.projects.names(), month.projects.owners(), before.projects.owners()
    reads = month.recorded.store.query("billing/project_reads")
    active: Mapping[str, datetime | None] = dict(reads.select("project_id", "last_active_at").iter_rows())
    return [
        ProjectRow(
            project_id=project,
            project_name=names.get(project),
            customer=owners.get(project, NOBODY)[0],
            plan=owners.get(project, NOBODY)[1],
            previous_customer=earlier.get(project, NOBODY)[0],
            previous_plan=earlier.get(project, NOBODY)[1],
            created_at=_text(start),
            deleted_at=_text(end),
            last_active_at=_text(active.get(project)),
            is_listed=project in active,
        )
        for project, start, end in month.projects.existence.select("project_id", "exists_from", "exists_to")
        .sort("project_id")
        .iter_rows()
        if (start is None or start < month.period.end) and (end is None or end > month.period.start)
    ]


def organizations(month: Month) -> list[OrganizationRow]:
    """The configured organizations: projects listed now, and when each was last read; null where it never was."""
    known = {row["organization"]: row for row in month.recorded.store.query("billing/freshness").iter_rows(named=True)}
    return [_organization(row, known.get(row.id, {})) for row in month.terms.organizations]


def _organization(organization: Organization, known: Row) -> OrganizationRow:
    return OrganizationRow(
        organization=organization.id,
        sponsored=organization.sponsored,
        projects=known.get("projects"),
        inventory_read_at=_text(known.get("inventory_read_at")),
        history_read_at=_text(known.get("history_read_at")),
        certified_until=_text(known.get("certified_until")),
    )


def _text(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)
