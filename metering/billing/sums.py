"""The usage of a month as the store holds it: sums, stretches, buckets and days as USAGE, by project and metric.

DuckDB sums integers by integer keys; projects get their names here, once the rows are few. Rows come in no order. Knows
which grain counts in each organization; must not know a plan, a price or a customer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any

import polars as pl

from metering.billing.recorded import Recorded
from metering.core.frames import Int128, Moment
from metering.core.period import DAY, HOUR, Period, floor_day, floor_hour
from metering.usage.attribution import USAGE
from metering.usage.coverage import Timeframes
from metering.usage.existence import bucket_end

SPANS: dict[str, pl.DataType] = {
    "project_id": pl.String(),
    "first_start": Moment,
    "first_grain": pl.UInt8(),
    "last_start": Moment,
    "last_grain": pl.UInt8(),
}
"""The first and the last bucket of each project's month, whatever grain counts."""
PARTS: dict[str, pl.DataType] = {
    "organization": pl.String(),
    "grain": pl.UInt8(),
    "period_start": Moment,
    "period_end": Moment,
}
"""The buckets of this grain that start in the period count."""
LEFT_OUT: dict[str, pl.DataType] = {
    "organization": pl.String(),
    "project_id": pl.String(),
    "start": Moment,
    "end": Moment,
}
NOTHING = pl.DataFrame(schema={"project_id": pl.String, "metric": pl.String})


@dataclass(frozen=True, kw_only=True)
class MonthUsage:
    """`counted`: which timeframes count, per organization. `cuts`: the moments at which prices change.

    `left_out`: organization, project_id, start, end of what does not count though the organization's timeframes do;
    `cuts` hold its ends.
    """

    recorded: Recorded
    period: Period
    counted: Mapping[str, Sequence[Timeframes]]
    cuts: Iterable[datetime]
    left_out: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=LEFT_OUT))

    @cached_property
    def slices(self) -> list[Period]:
        """The month, cut wherever a price changes or another grain counts."""
        counts = (moment for found in self.counted.values() for part in found for moment in _ends(part.period))
        inner = {cut for moment in (*self.cuts, *counts) for cut in _cuts_at(moment)}
        bounds = [
            self.period.start,
            *sorted(cut for cut in inner if self.period.start < cut < self.period.end),
            self.period.end,
        ]
        return [Period(start=start, end=end) for start, end in pairwise(bounds)]

    @cached_property
    def _summed(self) -> pl.DataFrame:
        return self.recorded.kept(tuple(self.slices), self._sum)

    def _sum(self) -> pl.DataFrame:
        rolled = int(self.recorded.once("billing/last_rollup").item(0, "seq"))
        found = [
            self._query("billing/usage_sums", slice_, rolled_seq=rolled if _is_of_days(slice_) else 0)
            for slice_ in self.slices
        ]
        return self._named(pl.concat(found))

    @cached_property
    def spans(self) -> pl.DataFrame:
        """SPANS of the projects with any bucket in the month, zeros too."""
        grains = self._summed.group_by("project_id", "grain").agg(
            pl.col("first_start").min(), pl.col("last_start").max()
        )
        return (
            grains.group_by("project_id")
            .agg(
                pl.col("first_start").min(),
                pl.col("last_start").max(),
                first_grain=pl.col("grain").sort_by("first_start", "grain").first(),
                last_grain=pl.col("grain").sort_by("last_start", "grain").last(),
            )
            .select(pl.col(name).cast(kind) for name, kind in SPANS.items())
        )

    @cached_property
    def sums(self) -> pl.DataFrame:
        """USAGE summed over each slice of the month; a row's start and end are those of its buckets."""
        return self._counting(self._summed)

    def cut(self, cuts: pl.DataFrame, apart: pl.DataFrame = NOTHING) -> pl.DataFrame:
        """`sums`, cut also at each project's own moments; `cuts`: project_id, cut_at.

        Within a row nothing begins or ends, but for what begins or ends inside a bucket, which then stands alone. The
        (project_id, metric) pairs in `apart` come bucket by bucket, where possible those of the same value as one row.
        """
        inner = self._inner(cuts)
        is_cut = inner.select("project_id").unique()
        whole = self.sums.join(is_cut, on="project_id", how="anti")
        with self.recorded.store.frames(stretch=self._stretches(inner)):
            found = self._query("billing/usage_stretches", self.period) if inner.height else None
        rows = [whole] if found is None else [whole, self._counting(self._named(found))]
        # A bucket that two organizations report is one: its values are added before they are looked at.
        keys = self.recorded.project_keys
        is_shared = keys.filter(pl.col("project_id").is_duplicated()).select("project_id").unique()
        is_single = pl.concat([is_cut, is_shared])
        alike = self._alike(apart.join(is_single, on="project_id", how="anti"))
        single = self.buckets(apart.join(is_single, on="project_id", how="semi"))
        sums = pl.concat(rows).join(apart, on=["project_id", "metric"], how="anti")
        return pl.concat([sums, alike, single])

    def _inner(self, cuts: pl.DataFrame) -> pl.DataFrame:
        """The cuts that divide what a project used."""
        used = self.spans.select("project_id", "first_start", last_end=bucket_end("last_start", "last_grain"))
        is_inside = (pl.col("cut_at") > pl.col("first_start")) & (pl.col("cut_at") < pl.col("last_end"))
        return cuts.join(used, on="project_id").filter(is_inside).select("project_id", "cut_at")

    def _alike(self, wanted: pl.DataFrame) -> pl.DataFrame:
        """USAGE, a row for all buckets of the same value in a slice."""
        found = [pl.DataFrame(schema=USAGE)]
        for metric, keys in self._by_metric(wanted):
            with self.recorded.store.frames(wanted=keys):
                rows = pl.concat(self._query("billing/usage_alike", slice_, metric=metric) for slice_ in self.slices)
            found.append(self._counting(self._named(rows.with_columns(metric=pl.lit(metric)))))
        return pl.concat(found)

    def _stretches(self, cuts: pl.DataFrame) -> pl.DataFrame:
        """stretch_no, project_key, period_start, period_end: the slices of these projects, cut at their own moments."""
        at = pl.col("cut_at")
        own = [cuts.select("project_id", cut_at=moment) for moment in (at, at.dt.truncate("1h"), at.dt.truncate("1d"))]
        common = pl.DataFrame({"cut_at": [slice_.start for slice_ in self.slices]}, schema={"cut_at": Moment})
        shared = cuts.select("project_id").unique().join(common, how="cross")
        return (
            pl.concat([*own, shared])
            .unique()
            .filter(pl.col("cut_at") >= self.period.start)
            .sort("project_id", "cut_at")
            .with_columns(until=pl.col("cut_at").shift(-1).over("project_id").fill_null(self.period.end))
            .join(self.recorded.project_keys, on="project_id")
            .with_row_index("stretch_no")
            .select("stretch_no", "project_key", period_start="cut_at", period_end="until")
        )

    def buckets(self, wanted: pl.DataFrame, *, every: timedelta = HOUR, read_at: Sequence[str] = ()) -> pl.DataFrame:
        """USAGE bucket by bucket, or summed by the day, for the (project_id, metric) pairs of `wanted`.

        `read_at`: the metrics whose rows say when the page was read; they come bucket by bucket in any case, since
        what was read of one day before and after its unit changed cannot be added.
        """
        found = [
            self._buckets(metric, keys, every, is_dated=metric in read_at) for metric, keys in self._by_metric(wanted)
        ]
        return pl.concat([pl.DataFrame(schema=USAGE), *found])

    def with_buckets(
        self, sums: pl.DataFrame, wanted: pl.DataFrame, *, every: timedelta = HOUR, read_at: Sequence[str] = ()
    ) -> pl.DataFrame:
        """The sums, with the (project_id, metric) pairs of `wanted` bucket by bucket; `read_at` as in `buckets`."""
        if wanted.is_empty():
            return sums
        buckets = self.buckets(wanted, every=every, read_at=read_at)
        return pl.concat([sums.join(wanted, on=["project_id", "metric"], how="anti"), buckets])

    def days(self, read_at: Sequence[str] = ()) -> pl.DataFrame:
        """day, metric, read_at, value: what all projects used together by UTC day; `read_at` as in `buckets`.

        A month's bucket stands on the day of its start.
        """
        keys = ("metric", "read_at")
        day = pl.col("start").dt.truncate("1d")
        used = self.sums.select("project_id", "metric").unique()
        found = [
            self._buckets(metric, wanted, DAY, is_dated=metric in read_at)
            .group_by(*keys, day=day)
            .agg(pl.col("value").sum())
            for metric, wanted in self._by_metric(used)
        ]
        schema = {"day": Moment, **{name: USAGE[name] for name in (*keys, "value")}}
        rows = pl.concat([pl.DataFrame(schema=schema), *(rows.select(*schema) for rows in found)])
        return rows.sort("day", *keys)

    def _by_metric(self, wanted: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        keyed = wanted.join(self.recorded.project_keys, on="project_id").select("metric", "project_key").unique()
        for metric in keyed["metric"].unique().sort():
            yield metric, keyed.filter(pl.col("metric") == metric).select("project_key")

    def _buckets(self, metric: str, keys: pl.DataFrame, every: timedelta, *, is_dated: bool) -> pl.DataFrame:
        length = (HOUR if is_dated else every) // timedelta(microseconds=1)
        with self.recorded.store.frames(wanted=keys):
            found = pl.concat(
                self._query("billing/usage_buckets", slice_, metric=metric, length=length, with_unchanged=is_dated)
                for slice_ in (self.slices if every > HOUR else [self.period])
            )
        if is_dated:
            pages = self.recorded.once("billing/page_times")
            found = found.join(pages.rename({"received_at": "read_at"}), on="seq", how="left")
        return self._counting(self._named(found.with_columns(metric=pl.lit(metric))))

    @cached_property
    def parts(self) -> pl.DataFrame:
        """PARTS of the month."""
        return parts_of(self.counted)

    def _query(self, name: str, period: Period, **parameters: Any) -> pl.DataFrame:
        found = self.recorded.query(name, period_start=period.start, period_end=period.end, **parameters)
        return found.with_columns(pl.col("value").cast(Int128))

    def _named(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.join(self.recorded.project_keys, on="project_key", how="left").drop("project_key")

    def _counting(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of the grain that counts where they start, as USAGE."""
        is_counted = (pl.col("first_start") >= pl.col("period_start")) & (pl.col("first_start") < pl.col("period_end"))
        given = {"read_at": pl.lit(None, dtype=Moment), "times": pl.lit(1, dtype=pl.Int64)}
        added = {name: value for name, value in given.items() if name not in rows.columns}
        return (
            self._without_left_out(rows)
            .filter(pl.col("value") != 0)
            .join(self.parts, on=["organization", "grain"], how="inner")
            .filter(is_counted)
            .with_columns(start="first_start", end=bucket_end("last_start"), **added)
            .select(pl.col(name).cast(kind) for name, kind in USAGE.items())
        )

    def _without_left_out(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows less those that begin in what is left out."""
        if self.left_out.is_empty():
            return rows
        holes = self.left_out.select("organization", "project_id", hole_start="start", hole_end="end")
        numbered = rows.with_row_index("row_no")
        inside = numbered.join(holes, on=["organization", "project_id"]).filter(
            (pl.col("first_start") >= pl.col("hole_start")) & (pl.col("first_start") < pl.col("hole_end"))
        )
        return numbered.join(inside.select("row_no").unique(), on="row_no", how="anti").drop("row_no")


def parts_of(counted: Mapping[str, Sequence[Timeframes]]) -> pl.DataFrame:
    """PARTS: which timeframes count, per organization, as rows."""
    rows = [
        (organization, part.grain, part.period.start, part.period.end)
        for organization, found in sorted(counted.items())
        for part in found
    ]
    return pl.DataFrame(rows, schema=PARTS, orient="row")


def _is_of_days(period: Period) -> bool:
    return all(floor_day(moment) == moment for moment in _ends(period))


def _ends(period: Period) -> tuple[datetime, datetime]:
    return period.start, period.end


def _cuts_at(moment: datetime) -> set[datetime]:
    """The moment, and the starts of the hour and of the day that it falls into: their buckets then stand alone."""
    return {moment, floor_hour(moment), floor_day(moment)}
