"""How pages of consumption history become rows: what changed, what was left out, and which hours are certified.

Pages wait in one batch per walk and are compared together with what the store holds of the same buckets; the rows do
not depend on where a batch ends. A value that a walk leaves out is staged as an omission and counts as zero once the
walk proves complete, unless a later page of another walk has shown the same bucket meanwhile. A whole walk over an
organization certifies its hours; a batch (endpoint `batch`: questions for some projects) proves only what it leaves
out of theirs. Asks nothing, reads no clock; the caller holds the transaction.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl

from metering.core.errors import PageRefusedError
from metering.core.frames import UTC_MICROSECONDS
from metering.core.grain import GRAIN_NAMES
from metering.core.meters import KNOWN_METRICS, PREFIX
from metering.core.period import Period, parse_time
from metering.ledger.projections import unread
from metering.ledger.projections.changes import (
    KEYS,
    LONG_KEYS,
    cancelled,
    grown,
    long_changes,
    shrunk,
    taken_off,
    wide_changes,
)
from metering.ledger.projections.keys import RowKeys
from metering.ledger.projections.not_counted import take_off
from metering.ledger.projections.pages import page_frame, page_row
from metering.ledger.projections.sweeps import SweepRows, cursor_of
from metering.neon import legacy, parse_history, readable
from metering.neon.readable import Unreadable
from metering.store.database import Store
from metering.store.record import Record
from metering.usage.coverage import MONTHLY, certified_from, certified_until

HISTORY_ENDPOINTS = frozenset({"history", "batch"})
"""Whole walks over an organization, and questions for some of its projects by id."""
BATCH_BUCKETS = 300_000
STORED_LIMIT = 10**38
"""A value of 39 digits may fit 128 bits, and still not the decimal in which numbers cross the database's border."""
FLEET_SUDDENLY_SILENT = 10
"""So many projects that reported a metric before the window make its absence from a whole answer implausible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPage:
    """A page as parsed; a faulty one shows nothing. `row` is its row of the page ledger."""

    record: Record
    row: dict[str, Any]
    projects: tuple[str, ...] = ()
    periods: tuple[parse_history.NeonPeriod, ...] = ()
    buckets: parse_history.Buckets = field(default_factory=parse_history.Buckets)
    unreadable: tuple[Unreadable, ...] = ()

    def asked(self) -> list[str]:
        """The projects that were asked for by id, and could be read; none where the question was for all."""
        named = self.record.data["params"].get("project_ids", "") if self.row["fault"] is None else ""
        unreadable = {row.project_id for row in self.unreadable}
        return [name for name in named.split(",") if name not in unreadable] if named else []


@dataclass(slots=True, kw_only=True)
class _Batch:
    """Pages of one walk that wait: plain columns, which become one frame when they are landed."""

    walk: int
    grain: int  # as asked
    start: datetime
    end: datetime
    is_legacy: bool  # a walk sees the metrics of one endpoint, and tells nothing of the other's
    projects: dict[int, int] = field(default_factory=dict)  # project_key -> the page that listed it
    read_at: dict[int, datetime] = field(default_factory=dict)  # project_key -> when the page was asked for
    sweep: list[tuple[Record, str | None]] = field(default_factory=list)  # pages of a sweep, and where they lead to
    page_rows: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[dict[str, Any]] = field(default_factory=list)
    bucket_seqs: list[int] = field(default_factory=list)
    bucket_keys: list[int] = field(default_factory=list)
    bucket_periods: list[int] = field(default_factory=list)
    buckets: parse_history.Buckets = field(default_factory=parse_history.Buckets)

    def add(self, seq: int, found: parse_history.Buckets, keys: list[int], periods: list[int]) -> None:
        """Adds the buckets of a page, whose projects and periods have these keys."""
        mine = self.buckets
        first = len(mine.start)
        self.bucket_seqs += [seq] * len(found.start)
        self.bucket_keys += [keys[number] for number in found.project]
        self.bucket_periods += [periods[number] for number in found.period]
        mine.grain += found.grain
        mine.start += found.start
        for column, more in zip(mine.values, found.values, strict=True):
            column.extend(more)
        mine.others += [(first + row, metric, value) for row, metric, value in found.others]

    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """WIDE and LONG, of the buckets that start inside the window that was asked for."""
        found = self.buckets
        wide = pl.DataFrame(
            {
                "seq": pl.Series(self.bucket_seqs, dtype=pl.UInt64),
                "project_key": pl.Series(self.bucket_keys, dtype=pl.UInt32),
                "neon_period_key": pl.Series(self.bucket_periods, dtype=pl.UInt32),
                "grain": pl.Series(found.grain, dtype=pl.UInt8),
                "timeframe_start": _moments(found.start),
                **{
                    metric: pl.Series(column, dtype=pl.Int64)
                    for metric, column in zip(KNOWN_METRICS, found.values, strict=True)
                },
            }
        )
        rows, metrics, values = zip(*found.others, strict=True) if found.others else ((), (), ())
        long = wide.select("seq", *KEYS)[list(rows)].with_columns(
            metric=pl.Series(metrics, dtype=pl.String), value=pl.Series(values, dtype=pl.Int128)
        )
        asked = pl.col("timeframe_start").is_between(self.start, self.end, closed="left")
        return wide.filter(asked), long.filter(asked)


def read_page(record: Record) -> ReadPage:
    """Parses a history page; a faulty one is a page without projects."""
    body, unreadable = record.body, list[Unreadable]()
    parse = partial(_parsed, grain=record.data["grain"], is_legacy=record.data["path"] == legacy.PATH)
    try:
        if record.data.get("by_rows"):
            page, unreadable = readable.by_rows(body, parse)
        else:
            page = parse(body)
    except (PageRefusedError, OverflowError) as error:
        return ReadPage(record=record, row=page_row(record, body, items=0, fault=str(error)))
    row = page_row(record, body, items=len(page.projects), fault=None)
    row["metrics"], row["grains"] = sorted(_reported(page.buckets)), sorted(set(page.buckets.grain))
    return ReadPage(
        record=record,
        row=row,
        projects=page.projects,
        periods=page.periods,
        buckets=page.buckets,
        unreadable=tuple(unreadable),
    )


def _parsed(body: bytes, *, grain: int, is_legacy: bool) -> parse_history.HistoryPage:
    """A history page that the store can hold; raises PageRefusedError, OverflowError."""
    page = parse_history.history(legacy.retold(body) if is_legacy else body, grain)
    if not is_legacy and any(metric.startswith(PREFIX) for metric in page.buckets.metrics):
        raise PageRefusedError(f"a metric is called {PREFIX}…, which is what we call those of legacy plans")
    if any(value >= STORED_LIMIT for _, _, value in page.buckets.others):
        raise PageRefusedError("a value has more than 38 digits")
    return page


class HistoryRows:
    """Gathers history pages; `land` writes them, `end_walk` concludes from a whole walk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = RowKeys(store)
        self._sweeps = SweepRows(store)
        self._batches: dict[int, _Batch] = {}

    def gather(self, page: ReadPage) -> bool:
        """Lets a page wait for `land`; False where it has no room: memory is bounded, and a project waits once."""
        if sum(len(batch.bucket_seqs) for batch in self._batches.values()) >= BATCH_BUCKETS:
            return False
        data = page.record.data
        keys = self._keys.projects(data["organization"], page.projects)
        batch = self._batches.get(data["walk"])
        if batch is None:
            batch = self._batches[data["walk"]] = _Batch(
                walk=data["walk"],
                grain=data["grain"],
                start=parse_time(data["period_start"]),
                end=parse_time(data["period_end"]),
                is_legacy=data["path"] == legacy.PATH,
            )
        elif not batch.projects.keys().isdisjoint(keys):
            return False
        periods = [self._keys.neon_period(data["organization"], period) for period in page.periods]
        batch.add(page.record.seq, page.buckets, keys, periods)
        batch.projects.update(dict.fromkeys(keys, page.record.seq))
        read = [*keys, *self._keys.known(data["organization"], page.asked())]
        batch.read_at.update(dict.fromkeys(read, page.row["sent_at"]))
        if data.get("is_sweep"):
            batch.sweep.append((page.record, cursor_of(page.record)))
        batch.page_rows.append(page.row)
        batch.unreadable += unread.told(page.record, page.unreadable)
        return True

    def land(self, *, ending: int | None = None) -> None:
        """Writes what waits. `ending` is the walk that gets no more pages."""
        self._keys.land()
        for batch in self._batches.values():
            self._land(batch, is_last=batch.walk == ending)
        self._batches = {}

    def _land(self, batch: _Batch, *, is_last: bool) -> None:
        listed = pl.DataFrame(
            {"project_key": batch.projects.keys(), "page_seq": batch.projects.values()},
            schema={"project_key": pl.UInt32, "page_seq": pl.UInt64},
        )
        wide, long = batch.frames()
        answered = set(wide["grain"].unique()) | set(range(batch.grain, MONTHLY + 1))
        window = {"period_start": batch.start, "period_end": batch.end, "grains": sorted(answered)}
        with self._store.frames(batch_projects=listed):
            seen = self._store.query("ledger/seen_values", **window)
            seen_others = self._store.query("ledger/seen_others", **window).cast({"value": pl.Int128})
        seen = seen.clear() if batch.is_legacy else seen
        seen_others = seen_others.filter(pl.col("metric").str.starts_with(PREFIX) == batch.is_legacy)
        changes, omitted = wide_changes(wide, seen)
        other_changes, others_omitted = long_changes(long, seen_others)
        into_long, into_wide = grown(omitted, long), shrunk(others_omitted, wide)
        changes = pl.concat([changes, cancelled(into_long)])
        other_changes = pl.concat([other_changes, taken_off(into_wide)])
        self._store.insert("observation", changes)
        self._store.insert("observation_other", _for_duckdb(other_changes))
        staged = pl.concat(
            [
                omitted.join(into_long, on=LONG_KEYS, how="anti"),
                others_omitted.join(into_wide, on=LONG_KEYS, how="anti"),
            ]
        )
        self._outdate(batch, listed, window)
        self._stage(batch, staged, listed, wide, long)
        if not is_last:
            self._store.insert(
                "walk_project", listed.select(walk=pl.lit(batch.walk, pl.UInt32), project_key="project_key")
            )
        self._sweeps.read(batch.read_at)
        self._sweeps.advance(batch.sweep)
        counts = dict(pl.concat([changes["seq"], other_changes["seq"]]).value_counts().iter_rows())
        self._store.insert(
            "page", page_frame([{**row, "changes": counts.get(row["seq"], 0)} for row in batch.page_rows])
        )
        unread.insert(self._store, batch.unreadable)

    def _outdate(self, batch: _Batch, listed: pl.DataFrame, window: dict[str, Any]) -> None:
        """What walks that are still open left out of these buckets no longer tells: this is the later sight."""
        with self._store.frames(batch_projects=listed):
            self._store.write("outdate_omissions", walk=batch.walk, **window)

    def _stage(
        self, batch: _Batch, omitted: pl.DataFrame, listed: pl.DataFrame, wide: pl.DataFrame, long: pl.DataFrame
    ) -> None:
        """Keeps what the walk left out so far. Of a project that stands on two pages, only what both leave out."""
        with self._store.frames(batch_projects=listed):
            again = self._store.query("ledger/walk_projects", walk=batch.walk)
        if again.height:
            omitted = omitted.join(again, on="project_key", how="anti")
            with self._store.frames(reported=_values(wide.join(again, on="project_key", how="semi"), long)):
                self._store.write("delete_reported_omissions", walk=batch.walk)
        staged = omitted.join(listed, on="project_key", how="inner").select(
            pl.lit(batch.walk, dtype=pl.UInt32).alias("walk"),
            pl.col("page_seq").alias("seq"),
            *LONG_KEYS,
            "value",
            is_applied=pl.lit(value=False),
        )
        self._store.insert("omission", _for_duckdb(staged))

    def end_walk(self, walk: dict[str, Any], metrics: list[str], grains: list[int], *, is_legacy: bool) -> None:
        """Of a complete walk, applies the omissions and certifies the hours it has proven; `walk` is a row of WALK."""
        self._sweeps.end(walk["walk"])
        self._store.write("delete_walk_projects", walk=walk["walk"])
        if walk["is_complete"]:
            self._conclude(walk, metrics, grains[0] if grains else walk["grain"], is_legacy=is_legacy)
        else:
            self._store.write("delete_omissions", walk=walk["walk"])

    def take_off(self, record: Record) -> None:
        """What two organizations report goes off the side that does not count."""
        take_off(self._store, self._keys, record)

    def end_cycle(self) -> None:
        """Forgets what walks left behind that never ended (the process was killed); an open sweep goes on."""
        self._store.write("delete_unfinished_omissions")
        self._store.write("delete_unfinished_walk_projects")

    def _conclude(self, walk: dict[str, Any], metrics: list[str], grain: int, *, is_legacy: bool) -> None:
        write, number = self._store.write, walk["walk"]
        start = certified_from(grain, walk["period_start"])
        until = certified_until(grain, walk["first_sent_at"], walk["period_end"])
        write("delete_unproven_omissions", walk=number, grain=grain, start=start, until=until)
        is_whole = walk["endpoint"] == "history"
        if is_whole:
            missing = self._missing_legacy(walk, metrics) if is_legacy else self._missing_metrics(walk, metrics)
        else:
            missing = self._unproven_metrics(walk, metrics)
        write("delete_missing_omissions", walk=number, missing=missing)
        self._apply_omissions(walk)
        if is_whole and start < until and not missing:
            unread.certify(self._store, walk, grain, Period(start=start, end=until))
            write(
                "insert_coverage",
                seq=walk["seq"],
                organization=walk["organization"],
                grain=grain,
                start=start,
                until=until,
                walk=number,
            )

    def _apply_omissions(self, walk: dict[str, Any]) -> None:
        """What a complete walk left out is taken off again, by the record of its end.

        Its pages may be older than a closing or a rollup, whose sums must stay what they were.
        """
        proven = self._store.query("ledger/proven_omissions", walk=walk["walk"], seq=walk["seq"]).cast(
            {"value": pl.Int128}
        )
        if proven.is_empty():
            return
        is_wide = pl.col("metric").is_in(KNOWN_METRICS) & (
            pl.col("value") < pl.lit(parse_history.BIGINT_LIMIT, pl.Int128)
        )
        self._store.insert("observation", cancelled(proven.filter(is_wide)))
        others = proven.filter(~is_wide)
        self._store.insert("observation_other", _for_duckdb(taken_off(others)))
        self._store.write("apply_omissions", walk=walk["walk"])

    def _unproven_metrics(self, walk: dict[str, Any], metrics: list[str]) -> list[str]:
        """Metrics of which a batch proves nothing: those missing already, and those that it shows of no project."""
        known = set(self._store.query("ledger/missing_metrics", organization=walk["organization"])["metric"])
        omitted = set(self._store.query("ledger/omitted_metrics", walk=walk["walk"])["metric"])
        return sorted(known | (omitted - set(metrics)))

    def _missing_legacy(self, walk: dict[str, Any], metrics: list[str]) -> list[str]:
        """Metrics missing from a batch of the legacy endpoint, whose walks show every metric if any bucket."""
        omitted = set(self._store.query("ledger/omitted_metrics", walk=walk["walk"])["metric"])
        return sorted(omitted - set(metrics))

    def _missing_metrics(self, walk: dict[str, Any], metrics: list[str]) -> list[str]:
        """Known metrics that this walk should have shown and nowhere did: unknown, until a walk shows them again.

        A metric is missing where the walk leaves out, everywhere, what was above zero in hours that it certifies, or
        where a whole fleet that reported it just before the window has fallen silent at once.
        """
        organization = {"organization": walk["organization"]}
        self._store.write("delete_missing_metrics", **organization, metrics=metrics)
        absent = [metric for metric in KNOWN_METRICS if metric not in metrics]
        if not absent:
            return []
        contradicted = set(self._store.query("ledger/omitted_metrics", walk=walk["walk"])["metric"])
        reporters = self._store.query(
            "ledger/metric_reporters",
            **organization,
            before=walk["period_start"],
            since=walk["period_start"] - timedelta(hours=24),
        ).row(0, named=True)
        for metric in absent:
            if metric in contradicted or (reporters[metric] or 0) >= FLEET_SUDDENLY_SILENT:
                self._store.write(
                    "insert_missing_metric",
                    **organization,
                    metric=metric,
                    since=walk["first_sent_at"],
                    walk=walk["walk"],
                )
        return sorted(self._store.query("ledger/missing_metrics", **organization)["metric"])


def grain_fault(asked: int, answered: list[int]) -> str:
    """Why buckets of these lengths certify nothing; empty where they may. Coarser than asked is fine, mixed is not."""
    if len(answered) > 1:
        return "buckets of " + " and ".join(GRAIN_NAMES[grain] for grain in answered) + " length in one answer"
    if answered and answered[0] < asked:
        return f"{GRAIN_NAMES[answered[0]]} buckets where {GRAIN_NAMES[asked]} ones were asked for"
    return ""


def _moments(moments: list[datetime]) -> pl.Series:
    """The moments as a column. Few objects stand in it many times: each is converted once, and none is hashed."""
    places = list(map(id, moments))
    distinct = dict(zip(places, moments, strict=True))
    numbers = {place: number for number, place in enumerate(distinct)}
    converted = pl.Series(list(distinct.values()), dtype=UTC_MICROSECONDS)
    return converted.gather(pl.Series(list(map(numbers.__getitem__, places)), dtype=pl.UInt32))


def _reported(buckets: parse_history.Buckets) -> set[str]:
    """The metrics of which the page has a value: null is "not reported"."""
    columns = zip(KNOWN_METRICS, buckets.values, strict=True)
    known = {metric for metric, column in columns if any(value is not None for value in column)}
    return known | {metric for _, metric, _ in buckets.others}


def _values(wide: pl.DataFrame, long: pl.DataFrame) -> pl.DataFrame:
    """Which values pages report, as LONG_KEYS."""
    known = (
        wide.unpivot(on=list(KNOWN_METRICS), index=list(KEYS), variable_name="metric", value_name="value")
        .filter(pl.col("value").is_not_null())
        .select(LONG_KEYS)
    )
    return pl.concat([known, long.select(LONG_KEYS)])


def _for_duckdb(frame: pl.DataFrame) -> pl.DataFrame:
    """Int128 does not cross the border; a decimal without scale does."""
    return frame.with_columns(pl.col("value").cast(pl.Decimal(38, 0)))
