"""The bodies of everything that is not history: projects, counters, branches, organizations, and changes to them.

Pure but for the changes, which go to the state. Knows no HTTP beyond the status a refusal has.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from starlette.exceptions import HTTPException

from metering.core.period import floor_month, month_of, rfc3339
from metering.sandbox.consumption import children_on, root_size, seconds_of
from metering.sandbox.history import branch_ids
from metering.sandbox.project import Organization, Project, draw
from metering.sandbox.query import refused
from metering.sandbox.quotas import reported
from metering.sandbox.state import State, home_at

Body = dict[str, Any]
QUOTAS = (
    "active_time_seconds",
    "compute_time_seconds",
    "written_data_bytes",
    "data_transfer_bytes",
    "logical_size_bytes",
)
RECOVERABLE = timedelta(days=7)
_ZERO_TIME = "0001-01-01T00:00:00Z"


def _common(project: Project, now: datetime) -> Body:
    """The fields of a project that are in the list and in its own body."""
    body: Body = {
        "id": project.id,
        "platform_id": "aws",
        "region_id": "aws-us-east-2",
        "name": project.name,
        "provisioner": "k8s-neonvm",
        "default_endpoint_settings": {
            "autoscaling_limit_min_cu": 0.25,
            "autoscaling_limit_max_cu": max(1, project.quarters // 4),
            "suspend_timeout_seconds": 0,
        },
        "settings": {
            "allowed_ips": {"ips": [], "protected_branches_only": False},
            "enable_logical_replication": False,
            "block_public_connections": False,
            "block_vpc_connections": False,
            "hipaa": False,
        },
        "pg_version": 17,
        "proxy_host": "us-east-2.aws.sandbox.invalid",
        "branch_logical_size_limit": 16384,
        "branch_logical_size_limit_bytes": 17_179_869_184,
        "store_passwords": True,
        "cpu_used_sec": 0,
        "creation_source": "console",
        "history_retention_seconds": 86400,
        "created_at": rfc3339(project.created_at),
        "updated_at": rfc3339(project.updated_at or project.created_at),
        "synthetic_storage_size": root_size(project, seconds_of(now) // 86400),
        "owner_id": home_at(project, now),
        "org_id": home_at(project, now),
    }
    if project.quota:
        body["settings"]["quota"] = dict(project.quota)
    return body


def list_item(project: Project, now: datetime) -> Body:
    """A project as `GET /projects` lists it: quotas, but neither counters nor period bounds."""
    body = _common(project, now)
    body["active_time"] = 0
    body["quota_reset_at"] = rfc3339(month_of(now).end)
    # the live API sends a value that its specification does not list
    body["effective_project_permission"] = "ADMIN"
    if project.deleted_at is not None and project.deleted_at <= now:
        body["deleted_at"] = rfc3339(project.deleted_at)
        body["recoverable_until"] = rfc3339(project.deleted_at + RECOVERABLE)
    return body


def project_body(state: State, project: Project, now: datetime, *, has_bounds: bool) -> Body:
    """A project alone: counters up to an hour behind; real period bounds in GET only, the zero time elsewhere."""
    organization = state.organizations[home_at(project, now)]
    start = max(floor_month(now), organization.created_at)
    counters = reported(state.consumption(project.id), start, now)
    body = {**_common(project, now), **counters, "data_storage_bytes_hour": 0}
    body["cpu_used_sec"] = counters["compute_time_seconds"]
    body["consumption_period_start"] = rfc3339(start) if has_bounds else _ZERO_TIME
    body["consumption_period_end"] = rfc3339(month_of(now).end) if has_bounds else _ZERO_TIME
    if has_bounds:
        body["owner"] = {
            "email": "owner@example.com",
            "name": organization.name,
            "branches_limit": 10,
            "subscription_type": f"{organization.plan_at(now)}_v3",
        }
    return body


def listing(state: State, organization: Organization, now: datetime, *, is_recoverable: bool) -> list[Project]:
    """The organization's projects, the newest first; or those deleted in the last seven days."""

    def is_listed(project: Project) -> bool:
        if home_at(project, now) != organization.id or project.created_at > now:
            return False
        if is_recoverable:
            return project.deleted_at is not None and project.deleted_at <= now < project.deleted_at + RECOVERABLE
        return project.lives_at(now)

    return [project for project in state.newest_first(organization.id) if is_listed(project)]


def projects_page(listed: list[Project], residents: list[Project], limit: int, cursor: str | None) -> list[Project]:
    """The projects behind the cursor; `residents` is the order, in which the cursor's project may be deleted by now."""
    if cursor is None:
        return listed[:limit]
    place = {project.id: at for at, project in enumerate(residents)}
    if cursor not in place:
        raise refused("cursor", "not a cursor of this listing")
    return [project for project in listed if place[project.id] > place[cursor]][:limit]


def organization_body(organization: Organization, now: datetime) -> Body:
    """An organization; its `plan` carries a version suffix that `period_plan` does not."""
    return {
        "id": organization.id,
        "name": organization.name,
        "handle": f"{organization.name.lower().replace(' ', '-')}-{organization.id}",
        "plan": f"{organization.plan_at(now)}_v2",
        "managed_by": "console",
        "created_at": rfc3339(organization.created_at),
        "updated_at": rfc3339(organization.created_at),
        "require_mfa": False,
    }


def branches(project: Project, now: datetime) -> Iterator[Body]:
    """The project's branches, the root first; every fourth child is not measured yet and has no `logical_size`."""
    day = seconds_of(now) // 86400
    for at, branch_id in enumerate(branch_ids(project)[: 1 + children_on(project, day)]):
        body: Body = {
            "id": branch_id,
            "project_id": project.id,
            "name": f"preview-{at}" if at else "main",
            "current_state": "ready",
            "state_changed_at": rfc3339(project.created_at),
            "creation_source": "console",
            "primary": at == 0,
            "default": at == 0,
            "protected": False,
            "cpu_used_sec": 0,
            "compute_time_seconds": 0,
            "active_time_seconds": 0,
            "written_data_bytes": 0,
            "data_transfer_bytes": 0,
            "created_at": rfc3339(project.created_at),
            "updated_at": rfc3339(project.created_at),
        }
        if at:
            body["parent_id"] = branch_ids(project)[0]
        size = root_size(project, day)
        if at == 0 or draw(project.seed, project.number, at, "measured")[0] % 4:
            body["logical_size"] = size if at == 0 else size + project.child_bytes
        yield body


def branches_page(project: Project, now: datetime, limit: int | None, cursor: str | None) -> Body:
    """A page of branches; `pagination.next` is opaque, and without a limit it is sent though nothing follows."""
    found = list(branches(project, now))
    start = 0 if cursor is None else _after_branch(found, cursor)
    page = found[start : start + limit] if limit else found[start:]
    pagination = {"sort_by": "updated_at", "sort_order": "DESC"}
    if page and (limit is None or start + len(page) < len(found)):
        token = json.dumps({"branch_id": page[-1]["id"], "sort_by": "updated_at", "sort_order": "DESC"})
        pagination["next"] = base64.b64encode(token.encode()).decode()
    return {"branches": page, "annotations": {}, "pagination": pagination}


def _after_branch(found: list[Body], cursor: str) -> int:
    try:
        branch_id = json.loads(base64.b64decode(cursor, validate=True))["branch_id"]
        return next(at + 1 for at, branch in enumerate(found) if branch["id"] == branch_id)
    except (binascii.Error, ValueError, KeyError, TypeError, StopIteration):
        raise refused("cursor", "not a cursor of this listing") from None


def patched(project: Project, body: object, now: datetime) -> Project:
    """The project with the name and quotas of a PATCH body; what the body does not name stays. 400 for a bad body."""
    change = _member(body, "project", {})
    name = change.get("name", project.name)
    if not isinstance(name, str) or not 1 <= len(name) <= 256:
        raise HTTPException(400, "invalid request: project.name: a text of 1 to 256 characters")
    quota = dict(project.quota)
    for key, value in _member(
        _member({"s": change.get("settings", {})}, "s", {}), "quota", {}, is_optional=True
    ).items():
        if key not in QUOTAS:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
            raise HTTPException(400, f"invalid request: project.settings.quota.{key}: an integer of 64 bits, 0 or more")
        quota[key] = value
    return replace(project, name=name, quota=tuple(quota.items()), updated_at=now.replace(microsecond=0))


def _member(body: object, key: str, default: Body, *, is_optional: bool = False) -> Body:
    found = body.get(key, default if is_optional else None) if isinstance(body, dict) else None
    if not isinstance(found, dict):
        raise HTTPException(400, f"invalid request: decode application/json: invalid: {key} (field required)")
    return found


def transfer(state: State, source: Organization, body: object, now: datetime) -> tuple[int, Body]:
    """Moves projects to another organization; 406 with `limits` where its plan does not take them."""
    wanted = body if isinstance(body, dict) else {}
    target = state.organizations.get(str(wanted.get("destination_org_id")))
    ids = wanted.get("project_ids")
    if not isinstance(ids, list) or not 1 <= len(ids) <= 400:
        raise HTTPException(400, "invalid request: project_ids: 1 to 400 project ids")
    if target is None:
        raise HTTPException(404, "the account is not a member of the destination organization")
    projects = [state.project(str(project_id)) for project_id in ids]
    for project in projects:
        if project is None or not project.lives_at(now) or home_at(project, now) != source.id:
            raise HTTPException(404, "a project is not in the source organization")
    if target.sponsored and not source.sponsored:
        plans = {"expected": source.plan_at(now), "actual": target.plan_at(now)}
        return 406, {"limits": [{"name": "subscription_type", **plans}]}
    for project_id in ids:
        state.transfer(project_id, target.id, now)
    return 200, {}
