"""Projects pages of consumption history: what they change, what they leave out, and what the end of a read proves.

Pages wait in one batch per walk and are compared together with what the store holds of the same buckets; the rows do
not depend on where a batch ends. Reads rows, asks usage/certification.py for its verdict, writes rows. Sends nothing,
reads no clock; the caller holds the transaction.
"""

from collections.abc import Iterable
from datetime import timedelta

import polars as pl

from metering.core.meters import PREFIX
from metering.core.period import Period, parse_time
from metering.ledger.projections import omissions, unread
from metering.ledger.projections.batch import Batch
from metering.ledger.projections.changes import (
    LONG_KEYS,
    cancelled,
    for_duckdb,
    grown,
    long_changes,
    shrunk,
    taken_off,
    wide_changes,
)
from metering.ledger.projections.history_pages import ReadPage
from metering.ledger.projections.keys import RowKeys
from metering.ledger.projections.pages import WalkRow, page_frame
from metering.ledger.projections.sweeps import SweepRows
from metering.neon import legacy
from metering.store.database import Store
from metering.usage.certification import Ended, Evidence, Verdict, verdict

BATCH_BUCKETS = 300_000


class HistoryRows:
    """Gathers pages of history; `land` writes them, `end_walk` applies what the end of a read proves."""

    def __init__(self, store: Store, keys: RowKeys) -> None:
        self._store = store
        self._keys = keys
        self._sweeps = SweepRows(store)
        self._batches: dict[int, Batch] = {}

    def gather(self, page: ReadPage) -> bool:
        """Lets a page wait for `land`. False if there is no room: memory is bounded, and a project waits once."""
        if sum(len(batch.bucket_seqs) for batch in self._batches.values()) >= BATCH_BUCKETS:
            return False
        data = page.record.data
        keys = self._keys.projects(data["organization"], page.projects)
        batch = self._batches.get(data["walk"])
        if batch is None:
            batch = self._batches[data["walk"]] = Batch(
                walk=data["walk"],
                head=data,
                grain=data["grain"],
                start=parse_time(data["period_start"]),
                end=parse_time(data["period_end"]),
                is_legacy=data["path"] == legacy.PATH,
            )
        elif not batch.projects.keys().isdisjoint(keys):
            return False
        batch.add(page, keys, [self._keys.neon_period(data["organization"], period) for period in page.periods])
        read = [*keys, *self._keys.known(data["organization"], page.asked())]
        batch.read_at.update(dict.fromkeys(read, page.row.sent_at))
        if data.get("is_sweep"):
            batch.cursors.append((page.record.seq, page.cursor))
        batch.unreadable += unread.rows_of(page.record, page.unreadable)
        return True

    def land(self, *, ending: int | None = None) -> None:
        """Writes what waits. `ending` is the walk that gets no more pages."""
        self._keys.land()
        for batch in self._batches.values():
            self._land(batch, is_last=batch.walk == ending)
        self._batches = {}

    def _land(self, batch: Batch, *, is_last: bool) -> None:
        listed, (wide, long) = batch.listed(), batch.frames()
        seqs = self._compare(batch, listed, wide, long)
        if not is_last:
            self._store.insert(
                "walk_project", listed.select(walk=pl.lit(batch.walk, pl.UInt32), project_key="project_key")
            )
        self._sweeps.read(batch.read_at)
        self._sweeps.advance(batch.head, batch.cursors)
        self._store.insert("page", page_frame(batch.page_rows, dict(seqs.value_counts().iter_rows())))
        unread.insert(self._store, batch.unreadable)

    def _compare(self, batch: Batch, listed: pl.DataFrame, wide: pl.DataFrame, long: pl.DataFrame) -> pl.Series:
        """Inserts what changes and stages what is left out; returns the page of each row that changes something."""
        window = batch.window(wide)
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
        self._store.insert("observation_other", for_duckdb(other_changes))
        staged = pl.concat(
            [
                omitted.join(into_long, on=LONG_KEYS, how="anti"),
                others_omitted.join(into_wide, on=LONG_KEYS, how="anti"),
            ]
        )
        omissions.outdate(self._store, batch.walk, listed, window)
        omissions.stage(self._store, batch.walk, staged, listed, (wide, long))
        return pl.concat([changes["seq"], other_changes["seq"]])

    def end_walk(self, walk: WalkRow, metrics: Iterable[str], grains: Iterable[int], *, is_legacy: bool) -> None:
        """Ends a read of history that shows these metrics and grains; a complete one is judged."""
        self._sweeps.end(walk.walk)
        self._store.write("delete_walk_projects", walk=walk.walk)
        if not walk.is_complete:
            self._store.write("delete_omissions", walk=walk.walk)
            return
        assert walk.grain is not None and walk.period_start is not None and walk.period_end is not None
        ended = Ended(
            asked=Period(start=walk.period_start, end=walk.period_end),
            grain=walk.grain,
            first_sent_at=walk.first_sent_at,
            metrics=frozenset(metrics),
            grains=tuple(grains),
            is_whole=walk.endpoint == "history",
            is_legacy=is_legacy,
        )
        start, until = ended.provable
        self._store.write("delete_unproven_omissions", walk=walk.walk, grain=ended.answered, start=start, until=until)
        self._apply(walk, ended.answered, verdict(ended, self._evidence(walk, ended)))

    def _evidence(self, walk: WalkRow, ended: Ended) -> Evidence:
        organization = {"organization": walk.organization}
        reporters = {}
        if ended.absent:
            before = ended.asked.start
            reporters = self._store.query(
                "ledger/metric_reporters", **organization, before=before, since=before - timedelta(hours=24)
            ).row(0, named=True)
        return Evidence(
            omitted=frozenset(self._store.query("ledger/omitted_metrics", walk=walk.walk)["metric"]),
            missing=frozenset(self._store.query("ledger/missing_metrics", **organization)["metric"]),
            reporters=reporters,
        )

    def _apply(self, walk: WalkRow, grain: int, judged: Verdict) -> None:
        """Writes a verdict; hours that cannot be read for single projects are written before the coverage."""
        store, organization = self._store, walk.organization
        store.write("delete_missing_metrics", organization=organization, metrics=sorted(judged.returned))
        for metric in sorted(judged.vanished):
            store.write(
                "insert_missing_metric",
                organization=organization,
                metric=metric,
                since=walk.first_sent_at,
                walk=walk.walk,
            )
        store.write("delete_missing_omissions", walk=walk.walk, missing=sorted(judged.unproven))
        omissions.apply(store, walk)
        if judged.certified is not None:
            unread.certify(store, walk, grain, judged.certified)
            store.write(
                "insert_coverage",
                seq=walk.seq,
                organization=organization,
                grain=grain,
                start=judged.certified.start,
                until=judged.certified.end,
                walk=walk.walk,
            )
