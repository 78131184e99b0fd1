"""Parses query parameters as strictly as the API: a fault is answered with 400 and names the parameter.

Pure: strings in, a `HistoryQuery` out. Must not know the answer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from metering.sandbox.consumption import METRICS, seconds_of
from metering.sandbox.state import GRANULARITIES

LEGACY_METRICS = (
    "active_time_seconds",
    "compute_time_seconds",
    "written_data_bytes",
    "synthetic_storage_size_bytes",
    "data_storage_bytes_hour",
    "logical_size_bytes",
    "logical_size_bytes_hour",
)
BRANCH_METRICS = METRICS[:6]
_NAME = re.compile(r"[a-z0-9-]{1,60}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})")
_LOOKBACK = {"hourly": timedelta(hours=168), "daily": timedelta(days=60), "monthly": timedelta(days=365)}
_EARLIEST = datetime(2024, 3, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """A checked history request; `start` and `end` are rounded down to the granularity, in seconds since 1970."""

    organization: str
    granularity: str
    start: int
    end: int
    metrics: tuple[str, ...]
    project_ids: frozenset[str] | None
    branch_ids: frozenset[str] | None
    limit: int
    cursor: str | None


def refused(name: str, what: str) -> HTTPException:
    """The 400 answer for a parameter."""
    return HTTPException(400, f'invalid request: query parameter "{name}": {what}')


def required(params: QueryParams, name: str) -> str:
    """The parameter's text; 400 where it is missing or empty."""
    value = params.get(name)
    if not value:
        raise refused(name, "field required")
    return value


def integer(params: QueryParams, name: str, bounds: tuple[int, int], default: int) -> int:
    """An integer within the bounds, both included."""
    text = params.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        raise refused(name, f"{text!r} is not an integer")
    if not bounds[0] <= int(text) <= bounds[1]:
        raise refused(name, f"{text} is not between {bounds[0]} and {bounds[1]}")
    return int(text)


def boolean(params: QueryParams, name: str) -> bool:
    """`true` or `false`, false where absent."""
    text = params.get(name, "false")
    if text not in ("true", "false"):
        raise refused(name, f"{text!r} is not true or false")
    return text == "true"


def one_of(params: QueryParams, name: str, allowed: Sequence[str], default: str | None = None) -> str:
    """One of the allowed words; required where there is no default."""
    text = required(params, name) if default is None else params.get(name, default)
    if text not in allowed:
        raise refused(name, f"{text!r} is not one of {', '.join(allowed)}")
    return text


def name_of(params: QueryParams, name: str) -> str | None:
    """An id of an organization, or None; 400 where it is no id."""
    text = params.get(name)
    if text is not None and not _NAME.fullmatch(text):
        raise refused(name, f"{text!r} does not match ^[a-z0-9-]{{1,60}}$")
    return text


def names(params: QueryParams, name: str, most: int) -> frozenset[str] | None:
    """Ids, repeated or comma-separated or both; None where the parameter is absent."""
    if name not in params:
        return None
    found = [part for text in params.getlist(name) for part in text.split(",") if part]
    for part in found:
        if not _NAME.fullmatch(part):
            raise refused(name, f"{part!r} does not match ^[a-z0-9-]{{1,60}}$")
    if len(found) > most:
        raise refused(name, f"{len(found)} ids; at most {most}")
    return frozenset(found)


def metrics(params: QueryParams, known: Sequence[str], default: Sequence[str] | None = None) -> tuple[str, ...]:
    """The metrics asked for, repeated or comma-separated; 400 for an unknown one."""
    found = [part for text in params.getlist("metrics") for part in text.split(",") if part]
    if not found:
        if default is None:
            raise refused("metrics", "field required")
        return tuple(default)
    for part in found:
        if part not in known:
            raise refused("metrics", f"unknown metric {part!r}")
    return tuple(dict.fromkeys(found))


def moment(params: QueryParams, name: str) -> datetime:
    """An RFC 3339 time with its zone."""
    text = required(params, name)
    try:
        if not _TIME.fullmatch(text):
            raise ValueError(text)
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise refused(name, f"{text!r} is not an RFC 3339 date-time") from None


def history(params: QueryParams, now: datetime, *, known: Sequence[str], kind: str = "projects") -> HistoryQuery:
    """Checks a request for `kind` (projects, branches, legacy); 400 for a parameter, 406 for a range out of reach."""
    is_legacy, is_branches = kind == "legacy", kind == "branches"
    granularity = one_of(params, "granularity", GRANULARITIES)
    start, end = moment(params, "from"), moment(params, "to")
    organization = name_of(params, "org_id")
    if organization is None and not is_legacy:
        raise refused("org_id", "field required")
    wanted = metrics(params, known, LEGACY_METRICS[:4] if is_legacy else None)
    project_ids = names(params, "project_ids", 100)
    if is_branches and not project_ids:
        raise refused("project_ids", "field required")
    limit = integer(params, "limit", (1, 1000), 100) if is_branches else integer(params, "limit", (1, 100), 10)
    _check_range(start, end, now, granularity)
    return HistoryQuery(
        organization=organization or "",
        granularity=granularity,
        start=_rounded(start, granularity),
        end=_rounded(end, granularity),
        metrics=wanted,
        project_ids=project_ids or None,
        branch_ids=names(params, "branch_ids", 100) or None if is_branches else None,
        limit=limit,
        cursor=params.get("cursor") or None,
    )


def _check_range(start: datetime, end: datetime, now: datetime, granularity: str) -> None:
    if start < now - _LOOKBACK[granularity] or start < _EARLIEST or end < start:
        raise HTTPException(
            406, f"the range from `from` to `to` is outside what granularity {granularity} allows; adjust one of them"
        )


def _rounded(moment: datetime, granularity: str) -> int:
    if granularity == "monthly":
        return seconds_of(moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
    step = 3600 if granularity == "hourly" else 86400
    return seconds_of(moment) // step * step
