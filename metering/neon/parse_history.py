"""Neon's answers, parsed: strict about numbers, lenient about the rest. Pure: bytes in, plain values and columns out.

Strict: a value must be a JSON integer of zero or more; a float, a string, NaN, a negative number, a key or a metric
that stands twice in one object, or a bucket that stands twice refuses the whole page (PageRefusedError).
Lenient: unknown fields, plans, metrics and permissions are taken as they come; `null` means "not reported".
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from metering.core.errors import PageRefusedError
from metering.core.meters import KNOWN_METRICS
from metering.core.period import DAY, HOUR, floor_day, floor_hour, floor_month, next_month
from metering.core.text import legible

BIGINT_LIMIT = 2**63
HUGEINT_LIMIT = 2**127
COUNTER_LIMIT = 2**110
"""Below it a counter's percentage of its quota is computed in 128 bits."""
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
    timeframe_start: str | None = None  # the same few on every project: understood once for a page
    timeframe_end: str | None = None
    metrics: list[_Metric] | None = None


class _NeonPeriod(msgspec.Struct, gc=False):
    period_id: str
    period_plan: str | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    consumption: list[_Bucket] | None = None


class _ProjectHistory(msgspec.Struct, gc=False):
    project_id: str
    periods: list[_NeonPeriod] | None = None


class _History(msgspec.Struct, gc=False):
    projects: list[_ProjectHistory]
    pagination: _Pagination | None = None


class _Quota(msgspec.Struct, gc=False):
    active_time_seconds: int | None = None
    compute_time_seconds: int | None = None
    written_data_bytes: int | None = None
    data_transfer_bytes: int | None = None
    logical_size_bytes: int | None = None


class _Settings(msgspec.Struct, gc=False):
    quota: _Quota | None = None


class _Project(msgspec.Struct, gc=False):
    id: str
    name: str | None = None
    region_id: str | None = None
    org_id: str | None = None
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
    projects: list[_Project]  # an answer without a list is no empty list
    unavailable_project_ids: list[str] | None = None


class _OneProject(msgspec.Struct, gc=False):
    project: _Project


class _Branch(msgspec.Struct, gc=False):
    id: str
    parent_id: str | None = None
    logical_size: int | None = None


class _Branches(msgspec.Struct, gc=False):
    branches: list[_Branch]


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


def history(body: bytes, asked: int | None = None) -> HistoryPage:
    """A page of `/consumption_history/v2/projects`; a bucket without end is as long as GRAINS[`asked`]."""
    page = _decode(_history, body)
    flat = _Flat(asked)
    periods: dict[NeonPeriod, int] = {}
    projects: dict[str, int] = {}
    for project in page.projects:
        if project.project_id in projects:
            raise PageRefusedError(f"project {_clean(project.project_id)} stands twice on one page")
        number = projects[project.project_id] = len(projects)
        for neon_period in project.periods or ():
            period = _period(neon_period)
            flat.add(number, periods.setdefault(period, len(periods)), project.project_id, neon_period)
    buckets = flat.columns()
    if flat.nulls or b"\\" in body or body.count(b'"') != 2 * _strings_in(page):
        _refuse_repeated_keys(body, page)
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
    _refuse_duplicates_in(body)
    for size in sizes:
        _checked("logical_size", size, COUNTER_LIMIT)
    return sizes


def root_sizes(body: bytes) -> list[int | None]:
    """The sizes of the branches that have no parent, None where Neon has not measured it yet."""
    sizes = branch_sizes(body)
    return [size for branch, size in zip(_decode(_branches, body).branches, sizes, strict=True) if not branch.parent_id]


def time_of(text: str | None) -> datetime | None:
    """A time that may be missing; the zero time of year 1 that Neon writes for "none" is missing too."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _utc(moment)


def _decode(decoder: "msgspec.json.Decoder[Any]", body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise PageRefusedError(f"the answer is not what the API promises: {_clean(error)}") from None


def _clean(text: object) -> str:
    """What a page says of itself, fit for a message: printable, and not long."""
    return legible(str(text)[:200])


def _period(neon_period: _NeonPeriod) -> NeonPeriod:
    return NeonPeriod(
        period_id=neon_period.period_id,
        plan=neon_period.period_plan or "",
        start=_utc(neon_period.period_start),
        end=_utc(neon_period.period_end),
    )


def _utc(moment: datetime | None) -> datetime | None:
    """The moment in UTC; None in the years 1 and 9999, which stand for none (and where a zone may lead out of time)."""
    if moment is None or not 1 < moment.year < 9999:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class _Flat:
    """A page's buckets, one row after the other."""

    def __init__(self, asked: int | None) -> None:
        self.asked = asked
        self.found = Buckets()
        self.rows: list[list[int | None]] = []
        self.times: dict[tuple[str | None, str | None], tuple[int, datetime]] = {}
        self.nulls = 0

    def add(self, project: int, period: int, project_id: str, neon_period: _NeonPeriod) -> None:
        """The buckets of one project in one of Neon's periods."""
        found, index_of = self.found, _METRIC_INDEX.get
        for bucket in neon_period.consumption or ():
            if not bucket.metrics:
                continue
            times = (bucket.timeframe_start, bucket.timeframe_end)
            if times not in self.times:
                self.times[times] = _timeframe(*times, project_id, self.asked)
            grain, aligned = self.times[times]
            row: list[int | None] = [None] * len(KNOWN_METRICS)
            for metric in bucket.metrics:
                value, index = metric.value, index_of(metric.metric_name)
                if index is not None and value is not None and row[index] is None and 0 <= value < BIGINT_LIMIT:
                    row[index] = value
                else:
                    self._add_odd(metric, bucket.metrics, project_id)
            self.rows.append(row)
            found.project.append(project)
            found.period.append(period)
            found.grain.append(grain)
            found.start.append(aligned)

    def _add_odd(self, metric: _Metric, metrics: list[_Metric], project_id: str) -> None:
        """What is not the first number of 63 bits of a known metric: null, unknown, large, faulty, or there twice."""
        name = metric.metric_name
        if sum(other.metric_name == name for other in metrics) > 1:
            where = f"one bucket of project {_clean(project_id)}"
            raise PageRefusedError(f"metric {_clean(name)} stands twice in {where}")
        self.found.metrics.add(name)
        if metric.value is None:
            self.nulls += 1
        else:
            self.found.others.append((len(self.rows), name, _checked(name, metric.value) or 0))

    def columns(self) -> Buckets:
        """The rows turned into columns."""
        for name, column, cells in zip(KNOWN_METRICS, self.found.values, zip(*self.rows, strict=True), strict=False):
            column.extend(cells)
            if any(cell is not None for cell in cells):
                self.found.metrics.add(name)
        return self.found


def _checked(name: str, value: int | None, limit: int = HUGEINT_LIMIT) -> int | None:
    if value is not None and not 0 <= value < limit:
        fault = "is negative" if value < 0 else f"is beyond {limit.bit_length() - 1} bits"
        raise PageRefusedError(f"a value of {_clean(name)} {fault}: {str(value)[:60]}")
    return value


def _moment(text: str | None) -> datetime | None:
    """A time in UTC, as strict as the decoder is; None as `_utc` has it."""
    try:
        return None if text is None else _utc(msgspec.convert(text, datetime))
    except msgspec.ValidationError as error:
        raise PageRefusedError(f"the answer is not what the API promises: {_clean(error)}") from None


def _timeframe(
    start_text: str | None, end_text: str | None, project_id: str, asked: int | None
) -> tuple[int, datetime]:
    """(index into GRAINS, aligned start). The bucket's own length says what it is, whatever was asked for.

    A bucket that reaches into a second hour, day or month belongs to neither: it is refused.
    """
    start, end = _moment(start_text), _moment(end_text)
    if start is None:
        raise PageRefusedError(f"a bucket of project {_clean(project_id)} has no timeframe_start")
    if end is None and (asked is None or end_text):
        raise PageRefusedError(f"a bucket of project {_clean(project_id)} has no timeframe_end")
    length = (HOUR, DAY, 31 * DAY)[asked or 0] if end is None else end - start
    if length <= HOUR:
        grain, aligned, limit = 0, floor_hour(start), floor_hour(start) + HOUR
    elif length <= DAY:
        grain, aligned, limit = 1, floor_day(start), floor_day(start) + DAY
    else:
        grain, aligned, limit = 2, floor_month(start), next_month(start)
    if end is not None and not start < end <= limit:
        raise PageRefusedError(f"a bucket of project {_clean(project_id)} runs from {start} to {end}")
    return grain, aligned


def _refuse_repeated_buckets(buckets: Buckets, projects: tuple[str, ...]) -> None:
    keys = set(zip(buckets.project, buckets.period, buckets.grain, buckets.start, strict=True))
    if len(keys) < len(buckets.project):
        seen: set[tuple[int, int, int, datetime]] = set()
        for key in zip(buckets.project, buckets.period, buckets.grain, buckets.start, strict=True):
            if key in seen:
                name = _clean(projects[key[0]])
                raise PageRefusedError(f"project {name} has the bucket of {key[3]} twice in one period")
            seen.add(key)


def _refuse_repeated_keys(body: bytes, page: _History) -> None:
    """Keys that stand twice in one object. The decoder keeps the last of them; we refuse.

    Counting the keys is enough for an honest page, and quick: a key that stands twice, stands once more often than
    there are values of it. Only where a count is too high is the page read again, slowly, to know.
    """
    if b"\\" in body or any(body.count(b'"%s"' % key) > count for key, count in _key_counts(page).items()):
        _refuse_duplicates_in(body)


def _strings_in(page: _History) -> int:
    """The keys and texts that were decoded, where no metric is null. As many strings in the body: none stands twice."""
    paging = page.pagination
    count = 1 if paging is None else 2 + 2 * (paging.cursor is not None) + 2 * (paging.next is not None)
    for project in page.projects:
        count += 2 if project.periods is None else 3
        for period in project.periods or ():
            optional = (period.period_plan, period.period_start, period.period_end)
            count += 2 + 2 * sum(text is not None for text in optional) + (period.consumption is not None)
            for bucket in period.consumption or ():
                count += 2 * (bucket.timeframe_start is not None) + 2 * (bucket.timeframe_end is not None)
                if bucket.metrics is not None:
                    count += 1 + 3 * len(bucket.metrics)
    return count


def _key_counts(page: _History) -> dict[bytes, int]:
    """How many values each key gave; one that was null is not counted, which only costs the slow reading."""
    periods = [period for project in page.projects for period in project.periods or ()]
    buckets = [bucket for period in periods for bucket in period.consumption or ()]
    metrics = sum(len(bucket.metrics or ()) for bucket in buckets)
    missing = sum(1 for bucket in buckets for metric in bucket.metrics or () if metric.value is None)
    return {
        b"projects": 1,
        b"pagination": 1,
        b"cursor": 1,
        b"project_id": len(page.projects),
        b"periods": sum(1 for project in page.projects if project.periods is not None),
        b"period_id": len(periods),
        b"period_plan": sum(1 for period in periods if period.period_plan is not None),
        b"period_start": sum(1 for period in periods if period.period_start is not None),
        b"period_end": sum(1 for period in periods if period.period_end is not None),
        b"consumption": sum(1 for period in periods if period.consumption is not None),
        b"timeframe_start": sum(1 for bucket in buckets if bucket.timeframe_start is not None),
        b"timeframe_end": sum(1 for bucket in buckets if bucket.timeframe_end is not None),
        b"metrics": sum(1 for bucket in buckets if bucket.metrics is not None),
        b"metric_name": metrics,
        b"value": metrics - missing,
    }


def _refuse_duplicates_in(body: bytes) -> None:
    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            raise PageRefusedError(f"the key {_clean(twice)!r} stands twice in one object")
        return out

    try:
        json.loads(body, object_pairs_hook=checked, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise PageRefusedError(f"the answer is not JSON: {error}") from None


def _facts(project: _Project) -> ProjectFacts:
    quota = project.settings.quota if project.settings else None
    counters = {name: _checked(name, getattr(project, name), COUNTER_LIMIT) for name in COUNTERS}
    limits = {name: _checked(name, getattr(quota, name, None), COUNTER_LIMIT) for name in QUOTAS}
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


class _Error(msgspec.Struct, gc=False):
    message: str = ""


class _Auth(msgspec.Struct, gc=False):
    auth_method: str


_error = msgspec.json.Decoder(_Error)
_auth = msgspec.json.Decoder(_Auth)


def error_message(body: bytes) -> str:
    """What an error body says; raises PageRefusedError where it is none."""
    return str(_decode(_error, body).message)


def auth_method(body: bytes) -> str:
    """What `GET /auth` calls the key: `api_key_user`, `api_key_org`, `oauth` or another word."""
    return str(_decode(_auth, body).auth_method)
