"""The sandbox's routes, and the application that serves them.

The API is under `/api/v2`; `/_sandbox` controls a rehearsal: `PUT /_sandbox/now {"now": T}` moves the clock,
`GET /_sandbox/now` reads it, `GET /_sandbox/requests` returns the number of requests, and
`GET /_sandbox/truth?from=T&to=T` gives the final totals. Quotas are shown but not enforced: a project above its quota
goes on.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from metering.core.period import parse_time, rfc3339
from metering.sandbox import history, inventory
from metering.sandbox import query as queries
from metering.sandbox.consumption import METRICS
from metering.sandbox.faults import Mishaps
from metering.sandbox.fleet import Fleet
from metering.sandbox.gate import BASE_PATH, Call, Clock, Limits, Reply, Sandbox
from metering.sandbox.project import Organization, Project
from metering.sandbox.state import GRANULARITIES, State, home_at, truth_table

Body = dict[str, Any]
Page = Callable[[State, queries.HistoryQuery, datetime], Body]

_PLAN_MESSAGE = "not available for this account: consumption history requires a Launch, Scale, Agent or Enterprise plan"
_LEGACY_MESSAGE = "this endpoint is not available: it requires a Scale, Business or Enterprise plan"
_LEGACY_PLANS = ("scale", "business", "enterprise")


def create_app(  # noqa: PLR0913 - what a server is made of
    fleet: Fleet,
    clock: Clock,
    *,
    faults: Sequence[str] = (),
    limits: Limits | None = None,
    exact_hours: bool = False,
    monotonic_ns: Callable[[], int] = time.monotonic_ns,
) -> Starlette:
    """The application; `app.state.sandbox` is the `Sandbox` with its `state`, `clock` and `requests`.

    Rate limits count on `monotonic_ns`, which a simulation advances by hand.
    """
    sandbox = Sandbox(
        State(fleet, exact_hours=exact_hours),
        clock,
        mishaps=Mishaps(faults, seed=fleet.seed),
        limits=limits or Limits(),
        monotonic_ns=monotonic_ns,
    )
    app = Starlette(routes=[*_routes(sandbox), *_controls(sandbox)], exception_handlers={HTTPException: _refusal})
    app.state.sandbox = sandbox
    return app


def _routes(sandbox: Sandbox) -> list[Route]:
    history_routes = [
        ("/consumption_history/v2/projects", _history("projects", METRICS, history.projects_page)),
        ("/consumption_history/v2/branches", _history("branches", queries.BRANCH_METRICS, history.branches_page)),
        ("/consumption_history/projects", _history("legacy", queries.LEGACY_METRICS, history.legacy_page)),
    ]
    others = [
        ("GET", "/projects", _projects),
        ("GET", "/projects/{project_id}", _project),
        ("PATCH", "/projects/{project_id}", _patch),
        ("DELETE", "/projects/{project_id}", _delete),
        ("GET", "/projects/{project_id}/branches", _branches),
        ("GET", "/users/me/organizations", _organizations),
        ("GET", "/organizations/{org_id}", _organization),
        ("POST", "/organizations/{org_id}/projects/transfer", _transfer),
        ("GET", "/auth", _auth),
    ]
    routes = [sandbox.route("GET", path, handler, is_history=True) for path, handler in history_routes]
    return routes + [sandbox.route(method, path, handler) for method, path, handler in others]


async def _refusal(_: Request, error: Exception) -> Response:
    """Answers requests for unknown routes with an error in the API's form."""
    assert isinstance(error, HTTPException)
    return _plain({"code": "", "message": error.detail}, error.status_code)


def _history(kind: str, known: Sequence[str], page: Page) -> Callable[[Sandbox, Call], Reply]:
    def handler(sandbox: Sandbox, call: Call) -> Reply:
        query = queries.history(call.request.query_params, call.now, known=known, kind=kind)
        if not query.organization:  # possible only at the legacy endpoint, where a key of an organization implies it
            query = replace(query, organization=call.key.organization or "")
        if query.organization or call.key.project:
            call.key.check_organization(query.organization)
        organization = history.organization_or_404(sandbox.state, query.organization)
        if organization.sponsored:
            raise HTTPException(403, _PLAN_MESSAGE)
        is_on_legacy_plan = organization.id in sandbox.mishaps.names("legacy-history")
        if kind != "legacy" and is_on_legacy_plan:
            raise HTTPException(403, _PLAN_MESSAGE)
        if kind == "legacy" and not is_on_legacy_plan and organization.plan_at(call.now) not in _LEGACY_PLANS:
            raise HTTPException(403, _LEGACY_MESSAGE)
        return 200, _spoiled(sandbox, call, query, page)

    return handler


def _spoiled(sandbox: Sandbox, call: Call, query: queries.HistoryQuery, page: Page) -> Body:
    """Applies the faults that change a body."""
    body, mishaps = page(sandbox.state, query, call.now), sandbox.mishaps
    if query.cursor and "projects" in body:
        if mishaps.happens("duplicate-project", call.number):
            again = replace(query, cursor=None, project_ids=frozenset({query.cursor}), limit=1)
            body["projects"][:0] = page(sandbox.state, again, call.now)["projects"]
        if mishaps.happens("loop-cursor", call.number):
            body["pagination"] = {"cursor": query.cursor}
    missing, new = mishaps.names("missing-metric"), mishaps.names("new-metric")
    if missing or new:
        for item in body["branches" if "branches" in body else "projects"]:
            for timeframe in (timeframe for period in item["periods"] for timeframe in period["consumption"]):
                kept = [one for one in timeframe.get("metrics", ()) if one["metric_name"] not in missing]
                timeframe["metrics"] = kept + [{"metric_name": name, "value": 2**53 + 1} for name in new]
    return body


def _projects(sandbox: Sandbox, call: Call) -> Reply:
    params = call.request.query_params
    limit = queries.integer(params, "limit", (1, 400), 10)
    queries.integer(params, "timeout", (100, 30_000), 30_000)
    is_recoverable = queries.boolean(params, "recoverable")
    organization_id = queries.name_of(params, "org_id") or call.key.organization
    if organization_id or call.key.project:
        call.key.check_organization(organization_id or "")
    if organization_id is None:
        raise HTTPException(400, "org_id is required")
    organization = history.organization_or_404(sandbox.state, organization_id)
    cursor, search = params.get("cursor") or None, params.get("search", "").lower()
    listed = inventory.listing(sandbox.state, organization, call.now, is_recoverable=is_recoverable)
    found = [project for project in listed if search in project.name.lower() or search in project.id]
    page = inventory.projects_page(found, sandbox.state.newest_first(organization.id), limit, cursor)
    return 200, _listed(sandbox, call, page, cursor)


def _listed(sandbox: Sandbox, call: Call, page: list[Project], cursor: str | None) -> Body:
    """The body of a list: the cursor is on every page, the empty last one echoes it; only an empty list has none."""
    items = [inventory.list_item(project, call.now) for project in page]
    body: Body = {"projects": items, "applications": {}, "integrations": {}}
    last = page[-1].id if page else cursor
    if last is not None:
        body["pagination"] = {"cursor": last}
    if cursor and sandbox.mishaps.happens("loop-cursor", call.number):
        body["pagination"] = {"cursor": cursor}
    if items and sandbox.mishaps.happens("unavailable-project", call.number):
        body["unavailable_project_ids"] = [items.pop()["id"]]
    return body


def _living(sandbox: Sandbox, call: Call) -> Project:
    """The project in the path; 404 where it does not exist or the key may not see it."""
    project = sandbox.state.project(call.request.path_params["project_id"])
    if project is None or not project.lives_at(call.now):
        raise HTTPException(404, "project not found")
    call.key.check_project(project.id, home_at(project, call.now))
    return project


def _project(sandbox: Sandbox, call: Call) -> Reply:
    project = _living(sandbox, call)
    return 200, {"project": inventory.project_body(sandbox.state, project, call.now, has_bounds=True)}


def _patch(sandbox: Sandbox, call: Call) -> Reply:
    project = inventory.patched(_living(sandbox, call), call.body, call.now)
    sandbox.state.put(project)
    body = inventory.project_body(sandbox.state, project, call.now, has_bounds=False)
    return 200, {"project": body, "operations": []}


def _delete(sandbox: Sandbox, call: Call) -> Reply:
    project = _living(sandbox, call)
    gone = sandbox.state.delete(project.id, call.now)
    return 200, {"project": inventory.project_body(sandbox.state, gone, call.now, has_bounds=False)}


def _branches(sandbox: Sandbox, call: Call) -> Reply:
    params = call.request.query_params
    project = _living(sandbox, call)
    queries.one_of(params, "sort_by", ("name", "created_at", "updated_at"), "updated_at")
    queries.one_of(params, "sort_order", ("asc", "desc"), "desc")
    limit = queries.integer(params, "limit", (1, 10_000), 0)
    return 200, inventory.branches_page(project, call.now, limit or None, params.get("cursor") or None)


def _organizations(sandbox: Sandbox, call: Call) -> Reply:
    if call.key.organization is not None:
        raise HTTPException(403, "not allowed for organization API keys")
    call.key.check_organization("")
    everyone = sandbox.state.organizations.values()
    return 200, {"organizations": [inventory.organization_body(one, call.now) for one in everyone]}


def _seen_organization(sandbox: Sandbox, call: Call) -> Organization:
    organization_id = call.request.path_params["org_id"]
    call.key.check_organization(organization_id)
    return history.organization_or_404(sandbox.state, organization_id)


def _organization(sandbox: Sandbox, call: Call) -> Reply:
    return 200, inventory.organization_body(_seen_organization(sandbox, call), call.now)


def _transfer(sandbox: Sandbox, call: Call) -> Reply:
    source = _seen_organization(sandbox, call)
    if call.key.organization is not None:
        raise HTTPException(403, "not allowed for organization API keys")
    return inventory.transfer(sandbox.state, source, call.body, call.now)


def _auth(sandbox: Sandbox, call: Call) -> Reply:
    account = call.key.organization or call.key.project or f"sandbox-user-{sandbox.state.fleet.seed}"
    return 200, {"account_id": account, "auth_method": call.key.auth_method}


def _controls(sandbox: Sandbox) -> list[Route]:
    """Routes that control and inspect a rehearsal: without key, budget or faults, and not counted."""

    async def move(request: Request) -> Response:
        try:
            sandbox.clock.move(parse_time((await request.json())["now"]))
        except (ValueError, KeyError, TypeError) as error:
            return _plain({"error": f'send {{"now": "2026-10-01T00:00:00Z"}}: {error}'}, 400)
        return _plain({"now": rfc3339(sandbox.clock())})

    async def now(_: Request) -> Response:
        return _plain({"now": rfc3339(sandbox.clock())})

    async def requests(_: Request) -> Response:
        return _plain({"total": sandbox.requests.total(), "endpoints": dict(sorted(sandbox.requests.items()))})

    async def true_totals(request: Request) -> Response:
        params = request.query_params
        start, end = queries.moment(params, "from"), queries.moment(params, "to")
        granularity = queries.one_of(params, "granularity", GRANULARITIES, "hourly")
        return _plain({"totals": truth_table(sandbox.state, start, end, granularity=granularity)})

    return [
        Route("/_sandbox/now", move, methods=["PUT"]),
        Route("/_sandbox/now", now, methods=["GET"]),
        Route("/_sandbox/requests", requests, methods=["GET"]),
        Route("/_sandbox/truth", true_totals, methods=["GET"]),
    ]


def _plain(body: Body, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


__all__ = ["BASE_PATH", "Clock", "Limits", "create_app"]
