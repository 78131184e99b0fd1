"""Projects and organizations as a month's report shows them: whose, since when, how fresh. Reads the store."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from metering.billing.month import Month
from metering.core.parties import Organization
from metering.core.period import rfc3339

Json = dict[str, Any]
NOBODY = (None, None)
_READ_AT = ("inventory_read_at", "history_read_at", "certified_until")


def projects(month: Month, before: Month) -> list[Json]:
    """Every project that existed in the month, by id, with its customer and plan last in force, and the month before's.

    `last_active_at` and `is_listed` are as inventory showed them last; `created_at` and `deleted_at` also where only
    usage tells them.
    """
    names, owners, earlier = month.projects.names(), month.projects.owners(), before.projects.owners()
    reads = month.recorded.store.query("billing/project_reads")
    active: Mapping[str, datetime | None] = dict(reads.select("project_id", "last_active_at").iter_rows())
    return [
        {
            "project_id": project,
            "project_name": names.get(project),
            **_owned("", owners.get(project, NOBODY)),
            **_owned("previous_", earlier.get(project, NOBODY)),
            "created_at": _text(start),
            "deleted_at": _text(end),
            "last_active_at": _text(active.get(project)),
            "is_listed": project in active,
        }
        for project, start, end in month.projects.existence.select("project_id", "exists_from", "exists_to")
        .sort("project_id")
        .iter_rows()
        if (start is None or start < month.period.end) and (end is None or end > month.period.start)
    ]


def _owned(prefix: str, owner: tuple[str | None, str | None]) -> Json:
    return {f"{prefix}customer": owner[0], f"{prefix}plan": owner[1]}


def organizations(month: Month) -> list[Json]:
    """The configured organizations: projects listed now, and when each was last read; null where it never was."""
    known = {row["organization"]: row for row in month.recorded.store.query("billing/freshness").iter_rows(named=True)}
    return [_organization(row, known.get(row.id, {})) for row in month.terms.organizations]


def _organization(organization: Organization, known: Json) -> Json:
    return {
        "organization": organization.id,
        "sponsored": organization.sponsored,
        "projects": known.get("projects"),
        **{name: _text(known.get(name)) for name in _READ_AT},
    }


def _text(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)
