"""Neon's answers, parsed: strict about numbers, lenient about the rest. Pure: bytes in, plain values and columns out.

Strict: a value must be a JSON integer of zero or more; a float, a string, NaN, a negative number, a key or a metric
that stands twice in one object, or a bucket that stands twice refuses the whole page (PageRefusedError).
Lenient: unknown fields, plans, metrics and permissions are taken as they come; `null` means "not reported".
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from metering.errors import PageRefusedError
from metering.meters import KNOWN_METRICS
from metering.period import DAY, HOUR, floor_day, floor_hour, floor_month

GRAINS = ("hourly", "daily", "monthly")
BIGINT_LIMIT = 2**63
HUGEINT_LIMIT = 2**127
_METRIC_INDEX = {metric: index for index, metric in enumerate(KNOWN_METRICS)}


class _Pagination(msgspec.Struct, gc=False):
    cursor: str | None = None
    next: str | None = None


class _Id(msgspec.Struct, gc=False):
    project_id: str = ""
    id: str = ""


class _Envelope(msgspec.Struct, gc=False):
    projects: list[_Id] = []
    branches: list[_Id] = []
    pagination: _Pagination | None = None


class _Metric(msgspec.Struct, gc=False):
    metric_name: str
    value: int | None = None


class _Bucket(msgspec.Struct, gc=False):
    timeframe_start: datetime | None = None
    timeframe_end: datetime | None = None
    metrics: list[_Metric] | None = None


class _NeonPeriod(msgspec.Struct, gc=False):
    period_id: str
    period_plan: str = ""
    period_start: datetime | None = None
    period_end: datetime | None = None
    consumption: list[_Bucket] | None = None


class _ProjectHistory(msgspec.Struct, gc=False):
    project_id: str
    periods: list[_NeonPeriod] | None = None


class _History(msgspec.Struct, gc=False):
    projects: list[_ProjectHistory]


class _Settings(msgspec.Struct, gc=False):
    quota: dict[str, int | None] | None = None


class _Project(msgspec.Struct, gc=False):
    id: str
    name: str = ""
    region_id: str = ""
    created_at: str | None = None
    deleted_at: str | None = None
    compute_last_active_at: str | None = None
    settings: _Settings | None = None
    consumption_period_start: str | None = None
    consumption_period_end: str | None = None
    active_time_seconds: int | None = None
    compute_time_seconds: int | None = None
    written_data_bytes: int | None = None
    data_transfer_bytes: int | None = None


class _Inventory(msgspec.Struct, gc=False):
    projects: list[_Project] = []
    unavailable_project_ids: list[str] | None = None


class _OneProject(msgspec.Struct, gc=False):
    project: _Project


class _Branch(msgspec.Struct, gc=False):
    id: str
    logical_size: int | None = None


class _Branches(msgspec.Struct, gc=False):
    branches: list[_Branch] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What a walk needs of any page, however faulty its numbers are."""

    items: tuple[str, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeonPeriod:
    """One of Neon's billing periods, as a page names it. `period_id` is opaque."""

    period_id: str
    plan: str
    start: datetime | None
    end: datetime | None


@dataclass(slots=True, kw_only=True)
class Buckets:
    """The buckets of a page as columns of equal length; `project` and `period` index the page's lists.

    `values[i]` belongs to KNOWN_METRICS[i]; None is "not reported". `others` holds (row, metric, value) for metrics
    that nobody knows yet and for values beyond 63 bits.
    """

    project: list[int] = field(default_factory=list)
    period: list[int] = field(default_factory=list)
    grain: list[int] = field(default_factory=list)
    start: list[datetime] = field(default_factory=list)
    values: tuple[list[int | None], ...] = field(default_factory=lambda: tuple([] for _ in KNOWN_METRICS))
    others: list[tuple[int, str, int]] = field(default_factory=list)
    metrics: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """One page of consumption history."""

    projects: tuple[str, ...]
    periods: tuple[NeonPeriod, ...]
    buckets: Buckets


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFacts:
    """A project as inventory or `GET /projects/{id}` shows it. `has_settings` tells "no quota" from "not said"."""

    project_id: str
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


COUNTERS = ("active_time_seconds", "compute_time_seconds", "written_data_bytes", "data_transfer_bytes")
QUOTAS = (*COUNTERS, "logical_size_bytes")

_envelope = msgspec.json.Decoder(_Envelope)
_history = msgspec.json.Decoder(_History)
_inventory = msgspec.json.Decoder(_Inventory)
_one_project = msgspec.json.Decoder(_OneProject)
_branches = msgspec.json.Decoder(_Branches)


def envelope(body: bytes) -> Envelope:
    """The ids and the cursor of a list page; raises PageRefusedError where it is not a list page at all."""
    page = _decode(_envelope, body)
    pagination = page.pagination or _Pagination()
    return Envelope(
        items=tuple(item.project_id or item.id for item in page.projects or page.branches),
        cursor=(pagination.cursor or pagination.next) or None,
    )


def history(body: bytes) -> HistoryPage:
    """A page of `/consumption_history/v2/projects`."""
    page = _decode(_history, body)
    buckets = Buckets()
    periods: dict[NeonPeriod, int] = {}
    projects: dict[str, int] = {}
    for project in page.projects:
        number = projects.setdefault(project.project_id, len(projects))
        if number != len(projects) - 1:
            raise PageRefusedError(f"project {project.project_id} stands twice on one page")
        for neon_period in project.periods or ():
            period = _period(neon_period)
            _add_buckets(buckets, number, periods.setdefault(period, len(periods)), project.project_id, neon_period)
    _refuse_repeated_keys(body, page, buckets)
    _refuse_repeated_buckets(buckets, tuple(projects))
    return HistoryPage(projects=tuple(projects), periods=tuple(periods), buckets=buckets)


def inventory(body: bytes) -> tuple[list[ProjectFacts], tuple[str, ...]]:
    """A page of `/projects`: its projects, and the ids that exist though Neon could not show them in time."""
    page = _decode(_inventory, body)
    _refuse_duplicates_in(body)
    return [_facts(project) for project in page.projects], tuple(page.unavailable_project_ids or ())


def project(body: bytes) -> ProjectFacts:
    """The answer of `GET /projects/{id}`."""
    page = _decode(_one_project, body)
    _refuse_duplicates_in(body)
    return _facts(page.project)


def branch_sizes(body: bytes) -> list[int | None]:
    """The logical size of every branch of a page; None where Neon has not measured it yet."""
    sizes = [branch.logical_size for branch in _decode(_branches, body).branches]
    for size in sizes:
        _checked("logical_size", size)
    return sizes


def time_of(text: str | None) -> datetime | None:
    """A time that may be missing; the zero time of year 1 that Neon writes for "none" is missing too."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment if moment.year > 1 else None


def _decode(decoder: "msgspec.json.Decoder[Any]", body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise PageRefusedError(f"the answer is not what the API promises: {error}") from None


def _period(neon_period: _NeonPeriod) -> NeonPeriod:
    return NeonPeriod(
        period_id=neon_period.period_id,
        plan=neon_period.period_plan,
        start=_utc(neon_period.period_start),
        end=_utc(neon_period.period_end),
    )


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None or moment.year <= 1:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _add_buckets(buckets: Buckets, project: int, period: int, project_id: str, neon_period: _NeonPeriod) -> None:
    for bucket in neon_period.consumption or ():
        if not bucket.metrics:
            continue
        start = _utc(bucket.timeframe_start)
        if start is None:
            raise PageRefusedError(f"a bucket of project {project_id} has no timeframe_start")
        grain, aligned = _grain(start, _utc(bucket.timeframe_end), project_id)
        row: list[int | None] = [None] * len(KNOWN_METRICS)
        seen: set[str] = set()
        for metric in bucket.metrics:
            name, value = metric.metric_name, metric.value
            if name in seen:
                raise PageRefusedError(f"metric {name} stands twice in one bucket of project {project_id}")
            seen.add(name)
            if value is None:
                continue
            index = _METRIC_INDEX.get(name)
            if index is not None and 0 <= value < BIGINT_LIMIT:
                row[index] = value
            else:
                buckets.others.append((len(buckets.project), name, _checked(name, value) or 0))
        buckets.metrics |= seen
        buckets.project.append(project)
        buckets.period.append(period)
        buckets.grain.append(grain)
        buckets.start.append(aligned)
        for column, cell in zip(buckets.values, row, strict=True):
            column.append(cell)


def _checked(name: str, value: int | None) -> int | None:
    if value is not None and not 0 <= value < HUGEINT_LIMIT:
        fault = "is negative" if value < 0 else "is beyond 127 bits"
        raise PageRefusedError(f"a value of {name} {fault}: {str(value)[:60]}")
    return value


def _grain(start: datetime, end: datetime | None, project_id: str) -> tuple[int, datetime]:
    """(index into GRAINS, aligned start). The bucket's own length says what it is, whatever was asked for."""
    if end is None:
        raise PageRefusedError(f"a bucket of project {project_id} has no timeframe_end")
    length: timedelta = end - start
    if timedelta() < length <= HOUR:
        return 0, floor_hour(start)
    if length <= DAY and length > timedelta():
        return 1, floor_day(start)
    if length > timedelta() and end - floor_month(start) <= 31 * DAY:
        return 2, floor_month(start)
    raise PageRefusedError(f"a bucket of project {project_id} runs from {start} to {end}")


def _refuse_repeated_buckets(buckets: Buckets, projects: tuple[str, ...]) -> None:
    keys = set(zip(buckets.project, buckets.period, buckets.grain, buckets.start, strict=True))
    if len(keys) < len(buckets.project):
        seen: set[tuple[int, int, int, datetime]] = set()
        for key in zip(buckets.project, buckets.period, buckets.grain, buckets.start, strict=True):
            if key in seen:
                raise PageRefusedError(f"project {projects[key[0]]} has the bucket of {key[3]} twice in one period")
            seen.add(key)


def _refuse_repeated_keys(body: bytes, page: _History, buckets: Buckets) -> None:
    """Keys that stand twice in one object. The decoder keeps the last of them; we refuse.

    Counting the keys is enough for an honest page, and quick; only where the counts differ is the page read
    again, slowly, to know.
    """
    metrics = sum(len(bucket.metrics or ()) for bucket in _all_buckets(page))
    expected = {b'"project_id"': len(page.projects), b'"metric_name"': metrics, b'"value"': metrics}
    if b"\\" in body or any(body.count(key) != count for key, count in expected.items()):
        _refuse_duplicates_in(body)
        return
    starts = sum(1 for _ in _all_buckets(page))
    periods = sum(len(project.periods or ()) for project in page.projects)
    structure = {
        b'"timeframe_start"': starts,
        b'"timeframe_end"': starts,
        b'"metrics"': starts,
        b'"period_id"': periods,
        b'"consumption"': periods,
        b'"periods"': len(page.projects),
        b'"projects"': 1,
    }
    if any(body.count(key) > count for key, count in structure.items()):
        _refuse_duplicates_in(body)


def _all_buckets(page: _History) -> Iterator[_Bucket]:
    for project_history in page.projects:
        for neon_period in project_history.periods or ():
            yield from neon_period.consumption or ()


def _refuse_duplicates_in(body: bytes) -> None:
    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise PageRefusedError(f"the key {twice!r} stands twice in one object")
        return out

    try:
        json.loads(body, object_pairs_hook=checked, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise PageRefusedError(f"the answer is not JSON: {error}") from None


def _facts(project: _Project) -> ProjectFacts:
    quota = (project.settings.quota or {}) if project.settings else {}
    counters = {name: _checked(name, getattr(project, name)) for name in COUNTERS}
    limits = {name: _checked(name, value) or 0 for name, value in quota.items() if value is not None}
    return ProjectFacts(
        project_id=project.id,
        name=project.name,
        region=project.region_id,
        created_at=time_of(project.created_at),
        deleted_at=time_of(project.deleted_at),
        last_active_at=time_of(project.compute_last_active_at),
        has_settings=project.settings is not None,
        limits=limits,
        period_start=time_of(project.consumption_period_start),
        period_end=time_of(project.consumption_period_end),
        counters=counters,
    )


class _Error(msgspec.Struct, gc=False):
    message: str = ""


_error = msgspec.json.Decoder(_Error)


def error_message(body: bytes) -> str:
    """What an error body says; raises PageRefusedError where it is none."""
    return str(_decode(_error, body).message)
