"""Hand-made answers of the API, and a scribe that journals them as a poll would.

A page of history is a mapping of projects to buckets, a bucket `(start, {metric: value})`; times are short texts in UTC
(`2026-10-05T03`). `Scribe` keeps the walk numbers; what it writes to is a Ledger, or `Memory`, a ledger without files.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import zstandard

from metering.core.period import rfc3339
from metering.ledger.landing import Landing
from metering.store.database import Store
from metering.store.record import GENESIS, Record
from tests.support.blank import blank_store

Bucket = tuple[str, Mapping[str, int | None]]
Page = Mapping[str, Sequence[Bucket]]
LENGTHS = (timedelta(hours=1), timedelta(days=1), timedelta(days=31))
ORGANIZATION = "org-a"
BIG = 2**63
"""The first value that does not fit the wide table."""


def moment(text: str) -> datetime:
    """`2026-10-05`, `2026-10-05T03` or a full time, in UTC."""
    return datetime.fromisoformat(text + ":00" if len(text) == 13 else text).replace(tzinfo=UTC)


def history_body(page: Page, *, grain: int = 0, period: str = "period-1", plan: str = "scale") -> bytes:
    """One page of consumption history; every project's buckets stand in one of Neon's billing periods."""
    return history_bodies({project_id: {period: buckets} for project_id, buckets in page.items()}, grain, plan)


def history_bodies(page: Mapping[str, Mapping[str, Sequence[Bucket]]], grain: int = 0, plan: str = "scale") -> bytes:
    """The same with several of Neon's billing periods: project -> period -> buckets."""
    projects = [
        {
            "project_id": project_id,
            "periods": [
                {
                    "period_id": period,
                    "period_plan": plan,
                    "period_start": "2026-10-01T00:00:00Z",
                    "consumption": [bucket_json(start, metrics, grain) for start, metrics in buckets],
                }
                for period, buckets in periods.items()
                if buckets
            ],
        }
        for project_id, periods in page.items()
    ]
    return json.dumps({"projects": projects}).encode()


def bucket_json(start: str, metrics: Mapping[str, int | None], grain: int) -> dict[str, Any]:
    """One bucket as the API writes it."""
    first = moment(start)
    end = first + LENGTHS[grain] if grain < 2 else (first + LENGTHS[2]).replace(day=1)
    return {
        "timeframe_start": rfc3339(first),
        "timeframe_end": rfc3339(end),
        "metrics": [{"metric_name": name, "value": value} for name, value in metrics.items()],
    }


def inventory_body(*projects: Mapping[str, Any], unavailable: Sequence[str] = ()) -> bytes:
    """One page of `/projects`."""
    listed = [{"name": project["id"], "region_id": "aws-eu", **project} for project in projects]
    return json.dumps({"projects": listed, "unavailable_project_ids": list(unavailable)}).encode()


def record_of(seq: int, kind: str, data: dict[str, Any], *, at: str = "2026-10-05T12:00:00Z") -> Record:
    """A record without a body and without a place in a chain."""
    return Record(seq=seq, kind=kind, at=at, data=data, packed=b"", sha256="", hash=GENESIS)


class Memory:
    """A ledger without files: the same landing, the same records, a store in memory."""

    def __init__(self) -> None:
        self.store: Store = blank_store()
        self.landing = Landing(self.store)
        self.records: list[Record] = []

    def record(self, kind: str, data: dict[str, Any], *, body: bytes = b"") -> int:
        """Lands a record."""
        before = self.records[-1].hash if self.records else GENESIS
        seq = len(self.records) + 1
        record = Record(
            seq=seq,
            kind=kind,
            at="2026-10-05T12:00:00Z",
            data=data,
            packed=zstandard.compress(body) if body else b"",
            sha256=hashlib.sha256(body).hexdigest() if body else "",
            hash=hashlib.sha256(before + body + str(seq).encode()).digest(),
        )
        self.records.append(record)
        self.landing.apply(record)
        return seq

    def flush(self) -> None:
        """Lands what waits."""
        self.landing.flush()


@dataclass(kw_only=True)
class Scribe:
    """Journals walks. `record` is a ledger's; `sent` is when a walk's requests were made, unless it says otherwise."""

    record: Callable[..., int]
    organization: str = ORGANIZATION
    window: tuple[str, str] = ("2026-10-05T00", "2026-10-05T12")
    sent: str = "2026-10-05T12:00"
    grain: int = 0
    walks: list[int] = field(default_factory=lambda: [0])

    def of(self, **changed: Any) -> "Scribe":
        """Another scribe of the same book: of another organization, window, moment or grain."""
        mine = {name: getattr(self, name) for name in ("record", "organization", "window", "sent", "grain", "walks")}
        return Scribe(**{**mine, **changed})

    def history(self, *found: Page | bytes, kind: str = "", answered: int | None = None) -> int:
        """A walk over history, page by page; `kind` says how it broke. Returns the number of its last record."""
        walk = self.begin()
        for page in found:
            self.page(walk, page, answered=answered)
        return self.end(walk, kind=kind)

    def batch(self, *found: Page, kind: str = "") -> int:
        """Questions for some projects by their ids: one page each."""
        walk = self.begin()
        for page in found:
            self._page(walk, "batch", history_body(page), {**self._span(), "params": {"project_ids": ",".join(page)}})
        return self.end(walk, kind=kind, endpoint="batch")

    def sweep(self, walk: int, page: Page, *, cursor: str | None = None) -> int:
        """One page of a walk that may span cycles."""
        body = json.loads(history_body(page))
        if cursor:
            body["pagination"] = {"cursor": cursor}
        return self._page(walk, "history", json.dumps(body).encode(), {**self._span(), "is_sweep": True})

    def begin(self) -> int:
        """A new walk's number."""
        self.walks[0] += 1
        return self.walks[0]

    def page(self, walk: int, page: Page | bytes, *, answered: int | None = None) -> int:
        """One page of a history walk."""
        grain = self.grain if answered is None else answered
        body = page if isinstance(page, bytes) else history_body(page, grain=grain)
        return self._page(walk, "history", body, self._span())

    def end(self, walk: int, *, kind: str = "", endpoint: str = "history") -> int:
        """The end of a walk."""
        none = dict.fromkeys(("grain", "period_start", "period_end"))
        return self.record(
            "walk",
            {
                "walk": walk,
                "endpoint": endpoint,
                "organization": self.organization,
                **(self._span() if endpoint in {"history", "batch"} else none),
                "first_sent_at": rfc3339(moment(self.sent)),
                "kind": kind,
                "reason": kind and f"it was {kind}",
            },
        )

    def inventory(self, *found: bytes, kind: str = "", endpoint: str = "inventory") -> int:
        """A walk over `/projects`."""
        walk = self.begin()
        for body in found:
            self._page(walk, endpoint, body, {})
        return self.end(walk, kind=kind, endpoint=endpoint)

    def counters(self, project_id: str, **counters: Any) -> int:
        """One answer of `GET /projects/{id}`."""
        body = json.dumps({"project": {"id": project_id, **counters}}).encode()
        return self._page(self.begin(), "project", body, {"project_id": project_id})

    def branches(self, project_id: str, *sizes: int | None, cursor: str | None = None) -> int:
        """One page of a project's branches: the first of their list, or the one that this cursor leads to."""
        found = [{"id": f"br-{number}", "logical_size": size} for number, size in enumerate(sizes)]
        body = json.dumps({"branches": found}).encode()
        params = {} if cursor is None else {"cursor": cursor}
        return self._page(self.begin(), "branches", body, {"project_id": project_id, "params": params})

    def cycle(self) -> int:
        """The end of a polling cycle."""
        at = rfc3339(moment(self.sent))
        counted = dict.fromkeys(("requests", "pages", "changes"), 0)
        told = {"command": "poll", "started_at": at, "ended_at": at, **counted, "outcome": "complete", "faults": []}
        return self.record("cycle", told)

    def _span(self) -> dict[str, Any]:
        start, end = (rfc3339(moment(text)) for text in self.window)
        return {"grain": self.grain, "period_start": start, "period_end": end}

    def _page(self, walk: int, endpoint: str, body: bytes, more: Mapping[str, Any]) -> int:
        sent = rfc3339(moment(self.sent))
        return self.record(
            "page",
            {
                "walk": walk,
                "endpoint": endpoint,
                "organization": self.organization,
                "path": endpoint,
                "params": {},
                "sent_at": sent,
                "received_at": sent,
                "request_id": f"req-{walk}",
                **more,
            },
            body=body,
        )


def values(found: Store, metric: str = "compute_unit_seconds", grain: int = 0) -> dict[tuple[str, str], int]:
    """(project, short start) -> the value of its hourly (daily, monthly) bucket, summed over Neon's periods."""
    rows = found.connection.execute(
        """select project_id, strftime(timeframe_start at time zone 'UTC', '%Y-%m-%dT%H'), sum(value)::hugeint
           from bucket_value where metric = $metric and grain = $grain
           group by all having sum(value) <> 0 order by all""",
        {"metric": metric, "grain": grain},
    ).fetchall()
    return {(project_id, start): value for project_id, start, value in rows}


def certified(found: Store, organization: str = ORGANIZATION) -> list[tuple[int, str, str]]:
    """(grain, start, end) of every certified stretch, in short texts."""
    rows = found.connection.execute(
        """select grain, strftime(period_start at time zone 'UTC', '%Y-%m-%dT%H'),
                  strftime(period_end at time zone 'UTC', '%Y-%m-%dT%H')
           from coverage_stretch where organization = $organization order by all""",
        {"organization": organization},
    ).fetchall()
    return [tuple(row) for row in rows]


def rows(found: Store, table: str) -> list[tuple[Any, ...]]:
    """Every row of a table, sorted."""
    return sorted(frame(found, f"select * from {table}").rows(), key=repr)


def count(found: Store, table: str) -> int:
    """How many rows a table has."""
    return len(rows(found, table))


def frame(found: Store, sql: str) -> pl.DataFrame:
    """A statement's rows."""
    return found.connection.sql(sql).pl()
