"""Parses pages of consumption history: strict about numbers, lenient about the rest. Pure: bytes in, columns out.

Strict: a value must be a JSON integer of zero or more; a float, a string, NaN, a negative number, a key or a metric
that occurs twice in one object, or a bucket that occurs twice refuses the whole page (PageRefusedError).
Lenient: unknown fields, plans, metrics and permissions are taken as they come; `null` means "not reported".
"""

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from metering.core.errors import PageRefusedError
from metering.core.meters import KNOWN_METRICS
from metering.core.period import DAY, HOUR, floor_day, floor_hour, floor_month, next_month
from metering.neon import wire
from metering.neon.duplicate_keys import refuse_repeated_keys

BIGINT_LIMIT = 2**63
_METRIC_INDEX = {metric: index for index, metric in enumerate(KNOWN_METRICS)}


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
    """One page of consumption history; `cursor` names the next page."""

    projects: tuple[str, ...]
    periods: tuple[NeonPeriod, ...]
    buckets: Buckets
    cursor: str | None


def history(body: bytes, asked: int | None = None) -> HistoryPage:
    """A page of `/consumption_history/v2/projects`; a bucket without end is as long as GRAINS[`asked`]."""
    page = wire.decode(wire.HISTORY, body)
    flat = _Flat(asked)
    periods: dict[NeonPeriod, int] = {}
    projects: dict[str, int] = {}
    for project in page.projects:
        if project.project_id in projects:
            raise PageRefusedError(f"project {wire.clean(project.project_id)} stands twice on one page")
        number = projects[project.project_id] = len(projects)
        for neon_period in project.periods or ():
            period = _period(neon_period)
            flat.add(number, periods.setdefault(period, len(periods)), project.project_id, neon_period)
    buckets = flat.columns()
    refuse_repeated_keys(body, page, has_nulls=flat.nulls > 0)
    _refuse_repeated_buckets(buckets, tuple(projects))
    return HistoryPage(
        projects=tuple(projects), periods=tuple(periods), buckets=buckets, cursor=wire.cursor(page.pagination)
    )


def _period(neon_period: wire.Period) -> NeonPeriod:
    return NeonPeriod(
        period_id=neon_period.period_id,
        plan=neon_period.period_plan or "",
        start=wire.utc(neon_period.period_start),
        end=wire.utc(neon_period.period_end),
    )


class _Flat:
    """Collects a page's buckets row by row."""

    def __init__(self, asked: int | None) -> None:
        self.asked = asked
        self.found = Buckets()
        self.rows: list[list[int | None]] = []
        self.times: dict[tuple[str | None, str | None], tuple[int, datetime]] = {}
        self.nulls = 0

    def add(self, project: int, period: int, project_id: str, neon_period: wire.Period) -> None:
        """Adds the buckets of one project in one of Neon's periods."""
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

    def _add_odd(self, metric: wire.Metric, metrics: list[wire.Metric], project_id: str) -> None:
        """Adds a metric that is null, unknown, beyond 63 bits, faulty or repeated in its bucket."""
        name = metric.metric_name
        if sum(other.metric_name == name for other in metrics) > 1:
            where = f"one bucket of project {wire.clean(project_id)}"
            raise PageRefusedError(f"metric {wire.clean(name)} stands twice in {where}")
        self.found.metrics.add(name)
        if metric.value is None:
            self.nulls += 1
        else:
            self.found.others.append((len(self.rows), name, wire.checked(name, metric.value) or 0))

    def columns(self) -> Buckets:
        """Turns the rows into columns."""
        for name, column, cells in zip(KNOWN_METRICS, self.found.values, zip(*self.rows, strict=True), strict=False):
            column.extend(cells)
            if any(cell is not None for cell in cells):
                self.found.metrics.add(name)
        return self.found


def _moment(text: str | None) -> datetime | None:
    """A time in UTC; refuses whatever text the decoder refuses. None for the years that `wire.utc` takes for none."""
    try:
        return None if text is None else wire.utc(msgspec.convert(text, datetime))
    except msgspec.ValidationError as error:
        raise PageRefusedError(f"the answer is not what the API promises: {wire.clean(error)}") from None


def _timeframe(
    start_text: str | None, end_text: str | None, project_id: str, asked: int | None
) -> tuple[int, datetime]:
    """(index into GRAINS, aligned start). The bucket's own length decides its grain, whatever was asked for.

    A bucket that reaches into a second hour, day or month is refused, because it belongs to neither.
    """
    start, end = _moment(start_text), _moment(end_text)
    if start is None:
        raise PageRefusedError(f"a bucket of project {wire.clean(project_id)} has no timeframe_start")
    if end is None and (asked is None or end_text):
        raise PageRefusedError(f"a bucket of project {wire.clean(project_id)} has no timeframe_end")
    length = (HOUR, DAY, 31 * DAY)[asked or 0] if end is None else end - start
    if length <= HOUR:
        grain, aligned, limit = 0, floor_hour(start), floor_hour(start) + HOUR
    elif length <= DAY:
        grain, aligned, limit = 1, floor_day(start), floor_day(start) + DAY
    else:
        grain, aligned, limit = 2, floor_month(start), next_month(start)
    if end is not None and not start < end <= limit:
        raise PageRefusedError(f"a bucket of project {wire.clean(project_id)} runs from {start} to {end}")
    return grain, aligned


def _refuse_repeated_buckets(buckets: Buckets, projects: tuple[str, ...]) -> None:
    keys = set(zip(buckets.project, buckets.period, buckets.grain, buckets.start, strict=True))
    if len(keys) < len(buckets.project):
        seen: set[tuple[int, int, int, datetime]] = set()
        for key in zip(buckets.project, buckets.period, buckets.grain, buckets.start, strict=True):
            if key in seen:
                name = wire.clean(projects[key[0]])
                raise PageRefusedError(f"project {name} has the bucket of {key[3]} twice in one period")
            seen.add(key)
