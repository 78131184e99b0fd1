"""How each journal record becomes rows: the one code path for a live poll, a restart and a rebuild.

History pages are gathered into batches of one walk and compared with what the store holds of the same buckets; only
differences are inserted. A value that a page leaves out is staged as an omission and counts as zero once the walk
proves complete. Reads no clock, asks no network; the same records give the same rows, wherever the batches fall.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from metering import alert_rows, invoice_rows, pages
from metering.errors import PageRefusedError
from metering.journal import Record
from metering.meters import KNOWN_METRICS
from metering.period import HOUR, floor_day, floor_hour, floor_month, parse_time
from metering.store import Store

BATCH_BUCKETS = 300_000
KEYS = ("project_key", "neon_period_key", "grain", "timeframe_start")
FLEET_SUDDENLY_SILENT = 10
"""So many projects that reported a metric before the window make its absence from a whole answer implausible."""

_UTC = pl.Datetime("us", "UTC")
WIDE = pl.Schema(
    {
        "seq": pl.UInt64,
        "project_key": pl.UInt32,
        "neon_period_key": pl.UInt32,
        "grain": pl.UInt8,
        "timeframe_start": _UTC,
        **dict.fromkeys(KNOWN_METRICS, pl.Int64),
    }
)
LONG = pl.Schema(
    {
        "seq": pl.UInt64,
        "project_key": pl.UInt32,
        "neon_period_key": pl.UInt32,
        "grain": pl.UInt8,
        "timeframe_start": _UTC,
        "metric": pl.String,
        "value": pl.Int128,
    }
)


@dataclass(slots=True, kw_only=True)
class _Batch:
    """History pages of one walk that wait to be compared with the store."""

    walk: int
    start: datetime
    end: datetime
    wide: list[pl.DataFrame]
    long: list[pl.DataFrame]
    grain: int  # as asked
    projects: dict[int, int]  # project_key -> the page that listed it
    pages: list[dict[str, Any]]
    buckets: int = 0


class Landing:
    """Applies records to a store, in order. `flush` makes what was gathered durable."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._batch: _Batch | None = None
        self._position: Record | None = None
        self._projects: dict[tuple[str, str], int] | None = None
        self._periods: dict[tuple[str, str, str, datetime | None], tuple[int, datetime | None]] | None = None
        self._sightings: dict[str, dict[str, tuple[Any, ...]]] = {}

    def apply(self, record: Record) -> None:
        """Lands one record. History pages may wait in the batch; everything else is committed on return."""
        if record.kind == "page" and record.data["endpoint"] == "history":
            self._gather(record)
            return
        self.flush()
        with self.store.transaction():
            self._write(record)
            self._advance(record)

    def flush(self) -> None:
        """Commits the pages gathered so far, in one transaction."""
        if self._batch is None:
            return
        batch, self._batch = self._batch, None
        assert self._position is not None
        with self.store.transaction():
            self._land(batch)
            self._advance(self._position)

    def _advance(self, record: Record) -> None:
        self.store.connection.execute(
            "update position set seq = $seq, hash = $hash", {"seq": record.seq, "hash": record.hash.hex()}
        )

    def _write(self, record: Record) -> None:
        if record.kind == "page":
            self._page(record)
        elif record.kind == "walk":
            self._walk(record)
        elif record.kind == "cycle":
            self._cycle(record)
        elif record.kind in _PROJECTIONS:
            _PROJECTIONS[record.kind](self.store.connection, _plain(record))
        else:
            raise AssertionError(f"no rows are known for a record of kind {record.kind!r}")

    # -- history pages

    def _gather(self, record: Record) -> None:
        data = record.data
        start, end = parse_time(data["period_start"]), parse_time(data["period_end"])
        try:
            page = pages.history(record.body)
            fault = None
        except PageRefusedError as error:
            page = pages.HistoryPage(projects=(), periods=(), buckets=pages.Buckets())
            fault = str(error)
        keys = [self._project_key(data["organization"], project_id) for project_id in page.projects]
        batch = self._batch
        if batch and (
            batch.walk != data["walk"] or batch.buckets > BATCH_BUCKETS or any(key in batch.projects for key in keys)
        ):
            self.flush()
            batch = None
        if batch is None:
            batch = self._batch = _Batch(
                walk=data["walk"], start=start, end=end, grain=data["grain"], wide=[], long=[], projects={}, pages=[]
            )
        periods = [self._period_key(data["organization"], period) for period in page.periods]
        self._add_frames(batch, record.seq, page.buckets, keys, periods)
        batch.projects.update(dict.fromkeys(keys, record.seq))
        batch.pages.append(_page_row(record, items=len(page.projects), buckets=page.buckets, fault=fault))
        batch.buckets += len(page.buckets.project)
        self._position = record

    def _add_frames(self, batch: _Batch, seq: int, buckets: pages.Buckets, keys: list[int], periods: list[int]) -> None:
        if not buckets.project:
            return
        frame = pl.DataFrame(
            {
                "project_key": pl.Series(keys, dtype=pl.UInt32).gather(buckets.project),
                "neon_period_key": pl.Series(periods, dtype=pl.UInt32).gather(buckets.period),
                "grain": pl.Series(buckets.grain, dtype=pl.UInt8),
                "timeframe_start": pl.Series(buckets.start, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC"),
                **{
                    metric: pl.Series(column, dtype=pl.Int64)
                    for metric, column in zip(KNOWN_METRICS, buckets.values, strict=True)
                },
            }
        )
        asked = pl.col("timeframe_start").is_between(batch.start, batch.end, closed="left")
        if buckets.others:
            rows, metrics, values = zip(*buckets.others, strict=True)
            long = frame.select(KEYS)[list(rows)].with_columns(
                metric=pl.Series(metrics, dtype=pl.String), value=pl.Series(values, dtype=pl.Int128)
            )
            batch.long.append(long.filter(asked).select(pl.lit(seq, dtype=pl.UInt64).alias("seq"), pl.all()))
        batch.wide.append(frame.filter(asked).select(pl.lit(seq, dtype=pl.UInt64).alias("seq"), pl.all()))

    def _land(self, batch: _Batch) -> None:
        listed = pl.DataFrame(
            {"project_key": list(batch.projects), "page_seq": list(batch.projects.values())},
            schema={"project_key": pl.UInt32, "page_seq": pl.UInt64},
        )
        window = {"period_start": batch.start, "period_end": batch.end}
        wide = pl.concat(batch.wide) if batch.wide else WIDE.to_frame()
        answered = wide["grain"].unique().sort().to_list() or [batch.grain]
        with self.store.frames(batch_projects=listed):
            seen = self.store.query("seen_values", **window, grains=answered)
            seen_others = self.store.query("seen_others", **window, grains=answered)
        seen_others = seen_others.with_columns(pl.col("value").cast(pl.Int128))
        changes, omitted = wide_changes(wide, seen)
        long = pl.concat(batch.long) if batch.long else LONG.to_frame()
        other_changes, others_omitted = long_changes(long, seen_others)
        self.store.insert("observation", changes)
        self.store.insert("observation_other", _for_duckdb(other_changes))
        staged = pl.concat([omitted, others_omitted]).join(listed, on="project_key", how="inner")
        self.store.insert(
            "omission",
            _for_duckdb(
                staged.select(
                    pl.lit(batch.walk, dtype=pl.UInt32).alias("walk"),
                    pl.col("page_seq").alias("seq"),
                    *KEYS,
                    "metric",
                    "value",
                    pl.lit(False).alias("is_applied"),  # noqa: FBT003 - a literal column
                ).sort("seq", *KEYS, "metric")
            ),
        )
        counts = dict(pl.concat([changes.select("seq"), other_changes.select("seq")])["seq"].value_counts().iter_rows())
        self.store.insert("page", _page_frame([{**row, "changes": counts.get(row["seq"], 0)} for row in batch.pages]))

    # -- the other pages

    def _page(self, record: Record) -> None:
        handler = {
            "inventory": self._inventory,
            "recoverable": self._inventory,
            "project": self._counter,
            "branches": self._branches,
        }[record.data["endpoint"]]
        try:
            items, fault = handler(record), None
        except PageRefusedError as error:
            items, fault = 0, str(error)
        row = _page_row(record, items=items, buckets=pages.Buckets(), fault=fault)
        self.store.insert("page", _page_frame([{**row, "changes": 0}]))

    def _inventory(self, record: Record) -> int:
        data = record.data
        projects, unavailable = pages.inventory(record.body)
        is_listed = data["endpoint"] == "inventory"
        rows = [_sighting(record, project, is_listed=is_listed) for project in projects]
        self._see(data["organization"], rows)
        if is_listed:
            listed = [(project.project_id, project.last_active_at) for project in projects]
            listed += [(project_id, None) for project_id in unavailable]
            frame = pl.DataFrame(
                listed, schema={"project_id": pl.String, "last_active_at": _UTC}, orient="row"
            ).with_columns(
                walk=pl.lit(data["walk"], dtype=pl.UInt32), organization=pl.lit(data["organization"])
            )
            self.store.insert("listed", frame)
        return len(projects)

    def _see(self, organization: str, rows: list[dict[str, Any]]) -> None:
        """Keeps the sightings that differ from the last one of their project."""
        known = self._known_sightings(organization)
        changed = []
        for row in rows:
            shown = tuple(row[name] for name in _SHOWN)
            if known.get(row["project_id"]) != shown:
                known[row["project_id"]] = shown
                changed.append(row)
        if changed:
            self.store.insert("sighting", pl.DataFrame(changed, schema=_SIGHTING, orient="row"))

    def _known_sightings(self, organization: str) -> dict[str, tuple[Any, ...]]:
        if organization not in self._sightings:
            latest = self.store.query("latest_sightings", organization=organization)
            self._sightings[organization] = {
                row[0]: row[1:] for row in latest.select("project_id", *_SHOWN).iter_rows()
            }
        return self._sightings[organization]

    def _counter(self, record: Record) -> int:
        facts = pages.project(record.body)
        self.store.connection.execute(
            """insert or replace into counter values ($organization, $project_id, $seq, $observed_at, $period_start,
               $period_end, $active_time_seconds, $compute_time_seconds, $written_data_bytes, $data_transfer_bytes,
               $limits)""",
            {
                "organization": record.data["organization"],
                "project_id": facts.project_id,
                "seq": record.seq,
                "observed_at": parse_time(record.data["received_at"]),
                "period_start": facts.period_start,
                "period_end": facts.period_end,
                **facts.counters,
                "limits": json.dumps(facts.limits, sort_keys=True),
            },
        )
        return 1

    def _branches(self, record: Record) -> int:
        sizes = pages.branch_sizes(record.body)
        measured = [size for size in sizes if size is not None]
        self.store.connection.execute(
            """insert into branch_size values ($organization, $project_id, $seq, $observed_at, $size, $is_whole)
               on conflict do update set seq = excluded.seq, observed_at = excluded.observed_at,
                 logical_size_bytes = case when $is_first then excluded.logical_size_bytes
                   else greatest(logical_size_bytes, excluded.logical_size_bytes) end,
                 is_whole = excluded.is_whole and ($is_first or is_whole)""",
            {
                "organization": record.data["organization"],
                "project_id": record.data["project_id"],
                "seq": record.seq,
                "observed_at": parse_time(record.data["received_at"]),
                "size": max(measured, default=None),
                "is_whole": len(measured) == len(sizes),
                "is_first": "cursor" not in record.data["params"],
            },
        )
        return len(sizes)

    # -- ends of walks and cycles

    def _walk(self, record: Record) -> None:
        data = record.data
        facts = self.store.query("walk_pages", walk=data["walk"]).row(0, named=True)
        is_complete = data["kind"] == "" and facts["refused"] == 0
        kind, reason = data["kind"], data["reason"]
        if data["kind"] == "" and facts["refused"]:
            kind, reason = "refused", facts["first_fault"]
        first_sent_at = parse_time(data["first_sent_at"])
        row = {
            "walk": data["walk"],
            "seq": record.seq,
            "endpoint": data["endpoint"],
            "organization": data["organization"],
            "grain": data["grain"],
            "period_start": data["period_start"] and parse_time(data["period_start"]),
            "period_end": data["period_end"] and parse_time(data["period_end"]),
            "first_sent_at": first_sent_at,
            "pages": facts["pages"],
            "is_complete": is_complete,
            "reason": reason,
            "kind": kind,
        }
        self.store.insert("walk", pl.DataFrame([row], schema=_WALK, orient="row"))
        if data["endpoint"] == "history":
            self._end_history(row, list(facts["metrics"] or ()), list(facts["grains"] or ()))
        elif data["endpoint"] == "inventory" and is_complete:
            self._end_inventory(record)

    def _end_history(self, walk: dict[str, Any], metrics: list[str], grains: list[int]) -> None:
        """Applies the omissions that the walk proves and certifies the hours that it has seen after their end."""
        execute, number = self.store.connection.execute, {"walk": walk["walk"]}
        if not walk["is_complete"]:
            execute("delete from omission where walk = $walk", number)
            return
        grain = max([walk["grain"], *grains])
        until = certified_until(grain, walk["first_sent_at"], walk["period_end"])
        missing = self._missing_metrics(walk, metrics)
        execute(
            """delete from omission
               where walk = $walk and (timeframe_start >= $until or list_contains($missing, metric))""",
            {**number, "until": until, "missing": missing},
        )
        with self.store.frames(proven=_wide_omissions(self.store.query("proven_omissions", **number))):
            execute("insert into observation by name from proven")
        execute(
            """insert into observation_other by name
               select seq, project_key, neon_period_key, grain, timeframe_start, metric, -value as value
               from omission where walk = $walk and not list_contains($known, metric)""",
            {**number, "known": list(KNOWN_METRICS)},
        )
        execute("update omission set is_applied = true where walk = $walk", number)
        start = max(walk["period_start"], _ceiling(grain, walk["period_start"]))
        if start < until and not missing:
            execute(
                "insert into coverage values ($seq, $organization, $grain, $start, $until, $walk)",
                {
                    "seq": walk["seq"],
                    "organization": walk["organization"],
                    "grain": grain,
                    "start": start,
                    "until": until,
                    **number,
                },
            )

    def _missing_metrics(self, walk: dict[str, Any], metrics: list[str]) -> list[str]:
        """Known metrics that this walk should have shown and nowhere did: unknown, until a walk shows them again.

        A metric is missing where the walk leaves out, everywhere, what was above zero in its window before, or
        where a whole fleet that reported it just before the window has fallen silent at once.
        """
        execute = self.store.connection.execute
        organization = {"organization": walk["organization"]}
        execute(
            "delete from missing_metric where organization = $organization and list_contains($metrics, metric)",
            {**organization, "metrics": metrics},
        )
        absent = [metric for metric in KNOWN_METRICS if metric not in metrics]
        if not absent:
            return []
        contradicted = set(self.store.query("omitted_metrics", walk=walk["walk"])["metric"])
        reporters = self.store.query(
            "metric_reporters",
            organization=walk["organization"],
            before=walk["period_start"],
            since=walk["period_start"] - timedelta(hours=24),
        ).row(0, named=True)
        for metric in absent:
            if metric in contradicted or (reporters[metric] or 0) >= FLEET_SUDDENLY_SILENT:
                execute(
                    "insert or ignore into missing_metric values ($organization, $metric, $since, $walk)",
                    {**organization, "metric": metric, "since": walk["first_sent_at"], "walk": walk["walk"]},
                )
        return sorted(
            metric
            for (metric,) in execute(
                "select metric from missing_metric where organization = $organization", organization
            ).fetchall()
        )

    def _end_inventory(self, record: Record) -> None:
        """Projects that a complete inventory no longer lists are marked so; only the latest list is kept."""
        organization, walk = record.data["organization"], record.data["walk"]
        self.store.connection.execute(
            "delete from listed where organization = $organization and walk <> $walk",
            {"organization": organization, "walk": walk},
        )
        listed = set(self.store.query("listed_projects", organization=organization)["project_id"])
        rows = []
        for project_id, shown in self._known_sightings(organization).items():
            row = dict(zip(_SHOWN, shown, strict=True))
            if row["is_listed"] and project_id not in listed:
                rows.append(
                    {
                        **row,
                        "seq": record.seq,
                        "organization": organization,
                        "project_id": project_id,
                        "seen_at": parse_time(record.at),
                        "is_listed": False,
                    }
                )
        self._see(organization, sorted(rows, key=lambda row: row["project_id"]))

    def _cycle(self, record: Record) -> None:
        data = record.data
        self.store.connection.execute("delete from omission where not is_applied")
        self.store.connection.execute(
            """insert into cycle values ($seq, $command, $started_at, $ended_at, $requests, $pages, $changes, $outcome,
               $faults)""",
            {
                "seq": record.seq,
                "command": data["command"],
                "started_at": parse_time(data["started_at"]),
                "ended_at": parse_time(data["ended_at"]),
                "requests": data["requests"],
                "pages": data["pages"],
                "changes": data["changes"],
                "outcome": data["outcome"],
                "faults": json.dumps(data["faults"]),
            },
        )

    # -- keys

    def _project_key(self, organization: str, project_id: str) -> int:
        if self._projects is None:
            rows = self.store.connection.execute("select organization, project_id, project_key from project").fetchall()
            self._projects = {(row[0], row[1]): row[2] for row in rows}
        key = self._projects.get((organization, project_id))
        if key is None:
            key = self._projects[organization, project_id] = len(self._projects) + 1
            self.store.connection.execute(
                "insert into project values ($key, $organization, $project_id)",
                {"key": key, "organization": organization, "project_id": project_id},
            )
        return key

    def _period_key(self, organization: str, period: pages.NeonPeriod) -> int:
        if self._periods is None:
            rows = self.store.connection.execute(
                "select organization, period_id, plan, period_start, neon_period_key, period_end from neon_period"
            ).fetchall()
            self._periods = {row[:4]: (row[4], row[5]) for row in rows}
        name = (organization, period.period_id, period.plan, period.start)
        known = self._periods.get(name)
        if known is None:
            known = self._periods[name] = (len(self._periods) + 1, period.end)
            self.store.connection.execute(
                "insert into neon_period values ($key, $organization, $period_id, $plan, $start, $end)",
                {
                    "key": known[0],
                    "organization": organization,
                    "period_id": period.period_id,
                    "plan": period.plan,
                    "start": period.start,
                    "end": period.end,
                },
            )
        elif period.end is not None and known[1] != period.end:
            self._periods[name] = (known[0], period.end)
            self.store.connection.execute(
                "update neon_period set period_end = $end where neon_period_key = $key",
                {"end": period.end, "key": known[0]},
            )
        return known[0]


_PROJECTIONS: dict[str, Callable[[Any, dict[str, Any]], None]] = {**alert_rows.KINDS, **invoice_rows.KINDS}

_SHOWN = ("name", "region", "created_at", "deleted_at", "is_listed", "has_settings", "limits")
_SIGHTING = pl.Schema(
    {
        "seq": pl.UInt64,
        "organization": pl.String,
        "project_id": pl.String,
        "seen_at": _UTC,
        "name": pl.String,
        "region": pl.String,
        "created_at": _UTC,
        "deleted_at": _UTC,
        "is_listed": pl.Boolean,
        "has_settings": pl.Boolean,
        "limits": pl.String,
    }
)
_WALK = pl.Schema(
    {
        "walk": pl.UInt32,
        "seq": pl.UInt64,
        "endpoint": pl.String,
        "organization": pl.String,
        "grain": pl.UInt8,
        "period_start": _UTC,
        "period_end": _UTC,
        "first_sent_at": _UTC,
        "pages": pl.UInt32,
        "is_complete": pl.Boolean,
        "reason": pl.String,
        "kind": pl.String,
    }
)
_PAGE = pl.Schema(
    {
        "seq": pl.UInt64,
        "walk": pl.UInt32,
        "endpoint": pl.String,
        "organization": pl.String,
        "sent_at": _UTC,
        "received_at": _UTC,
        "request_id": pl.String,
        "sha256": pl.String,
        "bytes": pl.UInt64,
        "items": pl.UInt32,
        "changes": pl.UInt32,
        "metrics": pl.List(pl.String),
        "grains": pl.List(pl.UInt8),
        "fault": pl.String,
    }
)


def wide_changes(incoming: pl.DataFrame, seen: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows that change something, values above zero that are left out as LONG less seq).

    `incoming` is WIDE; `seen` the same without seq: per bucket, the sum of its earlier changes. A change is the
    reported value less the seen one; what is not reported changes nothing here.
    """
    joined = incoming.join(seen, on=KEYS, how="left", suffix="_seen", maintain_order="left")
    changes = joined.select(
        "seq",
        *KEYS,
        *(
            pl.when(pl.col(metric).is_not_null() & (pl.col(metric) != pl.col(f"{metric}_seen").fill_null(0)))
            .then(pl.col(metric) - pl.col(f"{metric}_seen").fill_null(0))
            .alias(metric)
            for metric in KNOWN_METRICS
        ),
    ).filter(pl.any_horizontal(pl.col(metric).is_not_null() for metric in KNOWN_METRICS))
    left_out = seen.join(incoming, on=KEYS, how="left", suffix="_now").select(
        *KEYS,
        *(pl.when(pl.col(f"{metric}_now").is_null()).then(pl.col(metric)).alias(metric) for metric in KNOWN_METRICS),
    )
    omitted = left_out.unpivot(
        on=list(KNOWN_METRICS), index=list(KEYS), variable_name="metric", value_name="value"
    ).filter(pl.col("value") > 0)
    return changes, omitted.select(*KEYS, "metric", pl.col("value").cast(pl.Int128))


def long_changes(incoming: pl.DataFrame, seen: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same for the long side table; both frames are LONG (seen without seq)."""
    keys = [*KEYS, "metric"]
    joined = incoming.join(seen, on=keys, how="left", suffix="_seen", maintain_order="left")
    difference = pl.col("value") - pl.col("value_seen").fill_null(0)
    changes = joined.select("seq", *keys, difference.alias("value")).filter(pl.col("value") != 0)
    omitted = seen.join(incoming, on=keys, how="anti").filter(pl.col("value") > 0)
    return changes, omitted.select(*keys, "value")


def certified_until(grain: int, first_sent_at: datetime, period_end: datetime) -> datetime:
    """The end of the last bucket that had ended an hour before the walk's first request, within the window."""
    settled = (floor_hour, floor_day, floor_month)[grain](first_sent_at - HOUR)
    return min(period_end, settled)


def _ceiling(grain: int, moment: datetime) -> datetime:
    floor = (floor_hour, floor_day, floor_month)[grain]
    start = floor(moment)
    return start if start == moment else floor(start + timedelta(days=(0, 1, 31)[grain], hours=1))


def _wide_omissions(proven: pl.DataFrame) -> pl.DataFrame:
    """Omissions of known metrics as WIDE rows with the negative of what was seen."""
    known = proven.filter(pl.col("metric").is_in(list(KNOWN_METRICS)))
    return known.select(
        "seq",
        *KEYS,
        *(
            pl.when(pl.col("metric") == metric).then(-pl.col("value").cast(pl.Int128)).cast(pl.Int64).alias(metric)
            for metric in KNOWN_METRICS
        ),
    )


def _for_duckdb(frame: pl.DataFrame) -> pl.DataFrame:
    """Int128 does not cross the border; a decimal without scale does."""
    return frame.with_columns(pl.col("value").cast(pl.Decimal(38, 0)))


def _sighting(record: Record, project: pages.ProjectFacts, *, is_listed: bool) -> dict[str, Any]:
    return {
        "seq": record.seq,
        "organization": record.data["organization"],
        "project_id": project.project_id,
        "seen_at": parse_time(record.data["received_at"]),
        "name": project.name,
        "region": project.region,
        "created_at": project.created_at,
        "deleted_at": project.deleted_at,
        "is_listed": is_listed and project.deleted_at is None,
        "has_settings": project.has_settings,
        "limits": json.dumps(project.limits, sort_keys=True),
    }


def _page_row(record: Record, *, items: int, buckets: pages.Buckets, fault: str | None) -> dict[str, Any]:
    body = record.body
    return {
        "seq": record.seq,
        "walk": record.data["walk"],
        "endpoint": record.data["endpoint"],
        "organization": record.data["organization"],
        "sent_at": parse_time(record.data["sent_at"]),
        "received_at": parse_time(record.data["received_at"]),
        "request_id": record.data["request_id"],
        "sha256": hashlib.sha256(body).hexdigest(),
        "bytes": len(body),
        "items": items,
        "metrics": sorted(buckets.metrics),
        "grains": sorted(set(buckets.grain)),
        "fault": fault,
    }


def _page_frame(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=_PAGE, orient="row")


def _plain(record: Record) -> dict[str, Any]:
    return {"seq": record.seq, "kind": record.kind, "at": record.at, "data": record.data, "body": record.body}
