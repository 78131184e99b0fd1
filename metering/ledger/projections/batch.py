"""Pages of one read of history that wait to be written together: plain columns, which become one frame.

Knows the columns of a bucket. Must not know the store, nor what it holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from metering.core.frames import UTC_MICROSECONDS
from metering.core.meters import KNOWN_METRICS
from metering.ledger.projections.changes import KEYS
from metering.ledger.projections.history_pages import ReadPage
from metering.ledger.projections.pages import PageRow
from metering.neon import parse_history
from metering.usage.coverage import MONTHLY


@dataclass(slots=True, kw_only=True)
class Batch:
    """The waiting pages of one walk. `head` is the data of the first page's record.

    A walk shows the metrics of one endpoint and says nothing about those of the other: `is_legacy`.
    """

    walk: int
    head: Mapping[str, Any]
    grain: int  # as asked
    start: datetime
    end: datetime
    is_legacy: bool
    projects: dict[int, int] = field(default_factory=dict)  # project_key -> seq of the page that listed it
    read_at: dict[int, datetime] = field(default_factory=dict)  # project_key -> when the page was asked for
    cursors: list[tuple[int, str | None]] = field(default_factory=list)  # (seq, next cursor) of a resumable read
    page_rows: list[PageRow] = field(default_factory=list)
    unreadable: list[dict[str, Any]] = field(default_factory=list)
    bucket_seqs: list[int] = field(default_factory=list)
    bucket_keys: list[int] = field(default_factory=list)
    bucket_periods: list[int] = field(default_factory=list)
    buckets: parse_history.Buckets = field(default_factory=parse_history.Buckets)

    def add(self, page: ReadPage, keys: Sequence[int], periods: Sequence[int]) -> None:
        """Adds the buckets of a page, whose projects and periods have these keys."""
        added, columns, first = page.buckets, self.buckets, len(self.buckets.start)
        self.bucket_seqs += [page.record.seq] * len(added.start)
        self.bucket_keys += [keys[number] for number in added.project]
        self.bucket_periods += [periods[number] for number in added.period]
        columns.grain += added.grain
        columns.start += added.start
        for column, more in zip(columns.values, added.values, strict=True):
            column.extend(more)
        columns.others += [(first + row, metric, value) for row, metric, value in added.others]
        self.projects.update(dict.fromkeys(keys, page.record.seq))
        self.page_rows.append(page.row)

    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """WIDE and LONG, of the buckets that start inside the window that was asked for."""
        buckets = self.buckets
        wide = pl.DataFrame(
            {
                "seq": pl.Series(self.bucket_seqs, dtype=pl.UInt64),
                "project_key": pl.Series(self.bucket_keys, dtype=pl.UInt32),
                "neon_period_key": pl.Series(self.bucket_periods, dtype=pl.UInt32),
                "grain": pl.Series(buckets.grain, dtype=pl.UInt8),
                "timeframe_start": _moments(buckets.start),
                **{
                    metric: pl.Series(column, dtype=pl.Int64)
                    for metric, column in zip(KNOWN_METRICS, buckets.values, strict=True)
                },
            }
        )
        rows, metrics, values = zip(*buckets.others, strict=True) if buckets.others else ((), (), ())
        long = wide.select("seq", *KEYS)[list(rows)].with_columns(
            metric=pl.Series(metrics, dtype=pl.String), value=pl.Series(values, dtype=pl.Int128)
        )
        asked = pl.col("timeframe_start").is_between(self.start, self.end, closed="left")
        return wide.filter(asked), long.filter(asked)

    def listed(self) -> pl.DataFrame:
        """The projects that its pages list, with the page that listed each."""
        return pl.DataFrame(
            {"project_key": self.projects.keys(), "page_seq": self.projects.values()},
            schema={"project_key": pl.UInt32, "page_seq": pl.UInt64},
        )

    def window(self, wide: pl.DataFrame) -> dict[str, Any]:
        """The buckets that its pages could show, as parameters of queries; `wide` are those that they show."""
        grains = set(wide["grain"].unique()) | set(range(self.grain, MONTHLY + 1))
        return {"period_start": self.start, "period_end": self.end, "grains": sorted(grains)}


def _moments(moments: list[datetime]) -> pl.Series:
    """The moments as a column. A few objects occur many times: each is converted once, and none is hashed."""
    places = list(map(id, moments))
    distinct = dict(zip(places, moments, strict=True))
    numbers = {place: number for number, place in enumerate(distinct)}
    converted = pl.Series(list(distinct.values()), dtype=UTC_MICROSECONDS)
    return converted.gather(pl.Series(list(map(numbers.__getitem__, places)), dtype=pl.UInt32))
