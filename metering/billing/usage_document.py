"""What `usage MONTH` prints: usage per organization, project and metric of a month, with coverage.

Knows the printed shape, from which JSON, tables and CSV are written; must not compute a sum, a price or an owner: the
month does.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import groupby

import msgspec
import polars as pl
from msgspec import UNSET, Struct, UnsetType

from metering.billing.month import Month
from metering.core.meters import meter_for, quantity
from metering.core.money import quantity_text
from metering.core.period import DAY, HOUR, floor_hour, rfc3339
from metering.core.printed_texts import Figure, Stamp


class UsageRow(Struct, frozen=True, kw_only=True):
    """A project's usage of one metric; `start` and `end` where it is of a bucket. `partial`: with uncertified hours."""

    organization: str
    project_id: str
    project_name: str | None
    customer: str | None
    plan: str | None
    start: Stamp | UnsetType = UNSET
    end: Stamp | UnsetType = UNSET
    metric: str
    value: Figure
    meter: str | None
    quantity: Figure | None
    unit: str | None
    partial: bool

    def document(self) -> dict[str, object]:
        """The keys of the public interface in their order."""
        found: dict[str, object] = msgspec.to_builtins(self)
        return found


class MonthCoverage(Struct, frozen=True, kw_only=True):
    """The hours of the month, those that are covered, and the gaps: organization, start, end, reason."""

    hours: int
    covered_hours: int
    complete: bool
    grain: str
    gaps: Sequence[Mapping[str, str]]


class Usage(Struct, frozen=True, kw_only=True):
    """The usage of a month with its coverage."""

    period: Mapping[str, str]
    as_of: Stamp
    coverage: MonthCoverage
    usage: Sequence[UsageRow]

    def document(self) -> dict[str, object]:
        """The keys of the public interface in their order."""
        found: dict[str, object] = msgspec.to_builtins(self)
        return found

    def rows(self) -> list[dict[str, object]]:
        """The member `usage` of the document."""
        return [row.document() for row in self.usage]


BY_COLUMNS = UsageRow.__struct_fields__
COLUMNS = tuple(name for name in BY_COLUMNS if name not in {"start", "end"})
"""The columns of a table or CSV file, with a row per bucket or without, whether there are rows or not."""


def usage(month: Month, *, by: str | None = None, project: str | None = None) -> Usage:
    """The usage of a month. `by`: day or hour, a row for each; a coarser bucket is a row itself."""
    rows, keys = month.usage.sums, ["organization", "project_id"]
    if project is not None:
        rows = rows.filter(pl.col("project_id") == project)
    pairs = rows.select("project_id", "metric").unique()
    if by is None:
        pairs = pairs.filter(pl.col("metric").is_in(month.terms.dated_metrics))
    every = DAY if by == "day" else HOUR
    rows = month.usage.with_buckets(rows, pairs, every=every, read_at=month.terms.dated_metrics)
    rows = rows.with_columns(partial=month.knowledge.is_partial(rows))
    if by is not None:
        keys += ["start", "end"]
    if by == "day":
        day = pl.col("start").dt.truncate("1d")
        rows = rows.with_columns(start=day, end=pl.max_horizontal("end", day.dt.offset_by("1d")))
    return Usage(
        period={"start": rfc3339(month.period.start), "end": rfc3339(month.period.end)},
        as_of=rfc3339(month.now),
        coverage=MonthCoverage(
            hours=month.coverage.hours(),
            covered_hours=month.coverage.covered_hours(),
            complete=month.coverage.is_complete(),
            grain=month.coverage.grain(),
            gaps=_gaps(month),
        ),
        usage=list(_usage_rows(month, rows, keys)),
    )


def _gaps(month: Month) -> list[dict[str, str]]:
    """Hours that nothing certifies. The latest cannot be certified yet: they are told apart from those that could."""
    certifiable_to = rfc3339(floor_hour(month.now - HOUR))
    out = []
    for gap in month.coverage.gaps(month.now):
        if gap["start"] < certifiable_to:
            out.append({**gap, "end": min(gap["end"], certifiable_to)})
        if gap["end"] > certifiable_to:
            out.append({**gap, "start": max(gap["start"], certifiable_to), "reason": "too_recent"})
    return out


def _usage_rows(month: Month, rows: pl.DataFrame, keys: list[str]) -> Iterator[UsageRow]:
    names, owners = month.projects.names(), month.projects.owners()
    priced = {plan.id: {price.meter for price in plan.prices} for plan in month.terms.card.plans}
    summed = (
        rows.group_by(*keys, "metric", "read_at")
        .agg(pl.col("value").sum(), pl.col("partial").any())
        .filter(pl.col("value") != 0)
        .sort(*keys, "metric", "read_at")
    )
    for _, group in groupby(summed.iter_rows(named=True), key=lambda row: [row[name] for name in (*keys, "metric")]):
        read = list(group)
        head = read[0]
        span = {name: rfc3339(head[name]) for name in ("start", "end") if name in keys}
        customer, plan = owners.get(head["project_id"], (None, None))
        meter = meter_for(head["metric"], priced.get(plan or "", ()), month.terms.card.meters)
        quantities = (quantity(row["value"], meter, row["read_at"] or month.now) for row in read if meter)
        yield UsageRow(
            organization=head["organization"],
            project_id=head["project_id"],
            project_name=names.get(head["project_id"]),
            customer=customer,
            plan=plan,
            **span,
            metric=head["metric"],
            value=str(sum(row["value"] for row in read)),
            meter=meter.id if meter else None,
            quantity=quantity_text(sum(quantities, Fraction(0))) if meter else None,
            unit=meter.unit if meter else None,
            partial=any(row["partial"] for row in read),
        )
