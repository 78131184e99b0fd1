"""The bodies of the three history endpoints, as dicts.

Pure: a state, a checked query and the server's moment in; a page out. Decides which buckets and zeros are shown,
the order of metrics, and the end of a page. A page that is not full has no `pagination`; a full one always has
a cursor, so a walk may end on an empty page (what Neon does on a full last page is not known; this is the harder way).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from starlette.exceptions import HTTPException

from metering.sandbox.consumption import (
    CHILD,
    COMPUTE,
    METRICS,
    RESTORE,
    ROOT,
    Amounts,
    Consumption,
    active_seconds,
    branch_weight,
    moment_of,
    seconds_of,
    written_bytes,
)
from metering.sandbox.project import Organization, Project, draw
from metering.sandbox.query import HistoryQuery, refused
from metering.sandbox.state import Slice, State, buckets, slices, stays

Body = dict[str, Any]


@lru_cache(maxsize=1 << 16)
def time_text(seconds: int) -> str:
    """Seconds since 1970 as `2026-10-01T00:00:00Z`."""
    return f"{moment_of(seconds):%Y-%m-%dT%H:%M:%SZ}"


def branch_ids(project: Project) -> list[str]:
    """The root branch's id and those of the children, one more than are there on most days."""
    words = project.id.rsplit("-", 1)[0]
    count = 1 + (project.children + 1 if project.children else 0)
    return [f"br-{words}-{draw(project.seed, project.number, at, 'branch').hex()[:8]}" for at in range(count)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """One project, seen through a query at the server's moment."""

    consumption: Consumption
    organization: Organization
    query: HistoryQuery
    now: datetime


def projects_page(state: State, query: HistoryQuery, now: datetime) -> Body:
    """The page of `/consumption_history/v2/projects`."""
    views = _views(state, query, now)
    out = [{"project_id": view.consumption.project.id, "periods": _periods(view)} for view in views]
    return _with_cursor({"projects": out}, out, query.limit, "project_id")


def legacy_page(state: State, query: HistoryQuery, now: datetime) -> Body:
    """The page of `/consumption_history/projects`: flat timeframes, storage that always reads 0."""
    out: list[Body] = []
    for view in _views(state, query, now):
        project = view.consumption.project
        found = []
        for cut, timeframes in _cuts(view):
            rows = [_legacy_timeframe(project, bucket, amounts, query.metrics) for bucket, amounts in timeframes]
            if rows:
                found.append(_period(cut, now, rows))
        out.append({"project_id": project.id, "periods": found})
    return _with_cursor({"projects": out}, out, query.limit, "project_id")


def branches_page(state: State, query: HistoryQuery, now: datetime) -> Body:
    """The page of `/consumption_history/v2/branches`: by project id, then branch id; a page may split a project."""
    organization = state.organizations[query.organization]
    out: list[Body] = []
    for project, branch, branch_id in islice(_branches(state, query, now), query.limit):
        consumption = state.consumption(project.id)
        view = _View(consumption=consumption, organization=organization, query=query, now=now)
        out.append({"project_id": project.id, "branch_id": branch_id, "periods": _periods(view, branch)})
    return _with_cursor({"branches": out}, out, query.limit, "branch_id")


def _views(state: State, query: HistoryQuery, now: datetime) -> Iterator[_View]:
    organization = state.organizations[query.organization]
    for project in _page(state, query, now):
        yield _View(consumption=state.consumption(project.id), organization=organization, query=query, now=now)


def _branches(state: State, query: HistoryQuery, now: datetime) -> Iterator[tuple[Project, int, str]]:
    """The requested branches after the cursor."""
    projects = [p for p in state.newest_first(query.organization) if _is_listed(p, query, now)]
    ordered = [
        (project, branch, branch_id)
        for project in sorted(projects, key=lambda project: project.id)
        for branch_id, branch in sorted(zip(branch_ids(project), range(1000), strict=False))
        if query.branch_ids is None or branch_id in query.branch_ids
    ]
    if query.cursor is None:
        return iter(ordered)
    at = next((i for i, (_, _, branch_id) in enumerate(ordered) if branch_id == query.cursor), None)
    if at is None:
        raise refused("cursor", "not a cursor of this listing")
    return iter(ordered[at + 1 :])


def _page(state: State, query: HistoryQuery, now: datetime) -> list[Project]:
    try:
        behind = state.after(query.organization, query.cursor)
    except LookupError:
        raise refused("cursor", "not a cursor of this listing") from None
    out: list[Project] = []
    for project in behind:
        if _is_listed(project, query, now):
            out.append(project)
            if len(out) == query.limit:
                break
    return out


def _is_listed(project: Project, query: HistoryQuery, now: datetime) -> bool:
    """Created by now, not deleted before the window, and at home in the organization in some part of the window."""
    if query.project_ids is not None and project.id not in query.project_ids:
        return False
    if project.created_at > now or (project.deleted_at and seconds_of(project.deleted_at) <= query.start):
        return False
    moment = seconds_of(now)
    return any(start <= moment and end > query.start for start, end in stays(project, query.organization))


def _with_cursor(body: Body, items: list[Body], limit: int, key: str) -> Body:
    if len(items) == limit:
        body["pagination"] = {"cursor": items[-1][key]}
    return body


Timeframes = list[tuple[tuple[int, int], Amounts]]


def _cuts(view: _View) -> Iterator[tuple[Slice, Timeframes]]:
    """Each billing period of the window with the buckets of the project's life; the running bucket is the last."""
    query, consumption, moment = view.query, view.consumption, seconds_of(view.now)
    for cut in slices(view.organization, consumption.project, query.start, query.end, view.now):
        low, high = consumption.life_within(cut[1], cut[2])
        timeframes: Timeframes = []
        for bucket in buckets(low, high, query.granularity):
            if bucket[0] > moment:
                break
            if query.granularity == "monthly" or consumption.has_anything(bucket[0] // 86400):
                amounts = consumption.shown(max(cut[1], bucket[0]), min(cut[2], bucket[1]), moment)
                timeframes.append((bucket, amounts))
        yield cut, timeframes


def _periods(view: _View, branch: int | None = None) -> list[Body]:
    """The periods that have buckets; none at all where the project (or the branch) used nothing in the window."""
    indexes = tuple(METRICS.index(metric) for metric in view.query.metrics)
    out: list[Body] = []
    has_usage = False
    for cut, timeframes in _cuts(view):
        rows = []
        for bucket, whole in timeframes:
            amounts = whole if branch is None else _share(view.consumption.project, whole, branch)
            row = _timeframe(view.consumption, bucket, amounts, indexes)
            has_usage = has_usage or any(amounts[metric] for metric in indexes)
            if row is not None:
                rows.append(row)
        if rows:
            out.append(_period(cut, view.now, rows))
    return out if has_usage else []


def _period(cut: Slice, now: datetime, rows: list[Body]) -> Body:
    period = cut[0]
    body: Body = {
        "period_id": period.id,
        "period_plan": period.plan,
        "period_start": time_text(seconds_of(period.start)),
    }
    if period.end <= now:
        body["period_end"] = time_text(seconds_of(period.end))
    body["consumption"] = rows
    return body


def _timeframe(
    consumption: Consumption, bucket: tuple[int, int], amounts: Amounts, indexes: tuple[int, ...]
) -> Body | None:
    """One bucket: zeros left out or present by chance, metrics in no fixed order; None for most empty buckets."""
    chance = consumption.zeros_shown(bucket[0] // 3600)
    shown = [
        {"metric_name": METRICS[metric], "value": amounts[metric]}
        for metric in indexes
        if amounts[metric] or chance >> metric & 1
    ]
    if not any(amounts[metric] for metric in indexes) and chance & 7:
        return None
    turn = (bucket[0] // 3600 + consumption.project.number) % len(shown) if shown else 0
    return {
        "timeframe_start": time_text(bucket[0]),
        "timeframe_end": time_text(bucket[1]),
        "metrics": shown[turn:] + shown[:turn],
    }


def _legacy_timeframe(project: Project, bucket: tuple[int, int], amounts: Amounts, metrics: tuple[str, ...]) -> Body:
    compute = amounts[COMPUTE]
    stored = (amounts[ROOT] + amounts[CHILD]) * 744
    hours = max(1, (bucket[1] - bucket[0]) // 3600)
    values = {
        "active_time_seconds": active_seconds(project, compute),
        "compute_time_seconds": compute,
        "written_data_bytes": written_bytes(compute),
        "synthetic_storage_size_bytes": 0,
        "data_storage_bytes_hour": stored,
        "logical_size_bytes": amounts[ROOT] * 744 // hours,
        "logical_size_bytes_hour": amounts[ROOT] * 744,
    }
    # the first four are always in the body
    shown = {name: value for at, (name, value) in enumerate(values.items()) if at < 4 or name in metrics}
    return {"timeframe_start": time_text(bucket[0]), "timeframe_end": time_text(bucket[1]), **shown}


def _share(project: Project, amounts: Amounts, branch: int) -> Amounts:
    """A branch's part of the project's amounts; the parts of all branches sum to the whole."""
    last = len(branch_ids(project)) - 1
    weights = [branch_weight(project, at) for at in range(last + 1)]
    before, whole = sum(weights[:branch]), sum(weights)
    out = []
    for metric, amount in enumerate(amounts):
        if metric in (ROOT, RESTORE):
            out.append(amount if branch == 0 else 0)
        elif metric == CHILD:
            out.append(_split(amount, branch - 1, branch, last) if branch and last else 0)
        else:
            out.append(_split(amount, before, before + weights[branch], whole))
    return tuple(out)


def _split(amount: int, start: int, end: int, whole: int) -> int:
    return amount * end // whole - amount * start // whole


def organization_or_404(state: State, organization_id: str) -> Organization:
    """The organization; 404 where there is none that the caller may see."""
    found = state.organizations.get(organization_id)
    if found is None:
        raise HTTPException(404, "the account is not a member of the organization in `org_id`")
    return found
