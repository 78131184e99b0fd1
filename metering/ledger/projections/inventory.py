"""Projects pages of inventory, quota counters and branches: which projects exist, under which name, until when.

A sighting is kept only if it differs from the project's last one. Sends nothing, reads no clock; the caller holds the
transaction.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from metering.core.errors import PageRefusedError
from metering.core.frames import UTC_MICROSECONDS
from metering.core.period import parse_time
from metering.ledger.projections import unread
from metering.ledger.projections.pages import PageRow, page_frame, page_row
from metering.neon import parse_projects, readable
from metering.store.database import Store
from metering.store.record import Record

_SHOWN = ("name", "region", "created_at", "deleted_at", "is_listed", "has_settings", "limits")
_SIGHTING = pl.Schema(
    {
        "seq": pl.UInt64(),
        "organization": pl.String(),
        "project_id": pl.String(),
        "seen_at": UTC_MICROSECONDS,
        "name": pl.String(),
        "region": pl.String(),
        "created_at": UTC_MICROSECONDS,
        "deleted_at": UTC_MICROSECONDS,
        "is_listed": pl.Boolean(),
        "has_settings": pl.Boolean(),
        "limits": pl.String(),
    }
)
_COUNTER = pl.Schema(
    {
        "organization": pl.String(),
        "project_id": pl.String(),
        "seq": pl.UInt64(),
        "observed_at": UTC_MICROSECONDS,
        "period_start": UTC_MICROSECONDS,
        "period_end": UTC_MICROSECONDS,
        **dict.fromkeys(parse_projects.COUNTERS, pl.Decimal(38, 0)),
        "limits": pl.String(),
    }
)
_BRANCHES = pl.Schema(
    {
        "organization": pl.String(),
        "project_id": pl.String(),
        "seq": pl.UInt64(),
        "observed_at": UTC_MICROSECONDS,
        "logical_size_bytes": pl.Decimal(38, 0),
        "is_whole": pl.Boolean(),
    }
)
_LISTED = pl.Schema(
    {
        "walk": pl.UInt32(),
        "organization": pl.String(),
        "project_id": pl.String(),
        "last_active_at": UTC_MICROSECONDS,
    }
)


class InventoryRows:
    """Gathers every page but history's, most of them small and many; `land` writes them together.

    Remembers the last sighting of each project.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sightings: dict[str, dict[str, tuple[Any, ...]]] = {}
        self._start_gathering()

    def _start_gathering(self) -> None:
        self._pages: list[PageRow] = []
        self._seen: list[dict[str, Any]] = []
        self._unreadable: list[dict[str, Any]] = []
        self._listed: list[tuple[int, str, str, datetime | None]] = []
        self._counters: dict[tuple[str, str], dict[str, Any]] = {}
        self._branches: dict[tuple[str, str], dict[str, Any]] = {}

    @property
    def waiting(self) -> int:
        """How many pages wait for `land`."""
        return len(self._pages)

    def gather(self, record: Record) -> None:
        """Takes a page of `inventory`, `recoverable`, `project` or `branches`; a faulty one gives a ledger row."""
        take = {
            "inventory": self._take_inventory,
            "recoverable": self._take_inventory,
            "project": self._take_counters,
            "branches": self._take_branches,
        }[record.data["endpoint"]]
        body = record.body
        try:
            items, fault = take(record, body), None
        except (PageRefusedError, OverflowError) as error:
            items, fault = 0, str(error)
        self._pages.append(page_row(record, body, items=items, fault=fault))

    def land(self) -> None:
        """Writes what waits."""
        if not self._pages:
            return
        self._store.insert("sighting", pl.DataFrame(self._seen, schema=_SIGHTING, orient="row"))
        self._store.insert("listed", pl.DataFrame(self._listed, schema=_LISTED, orient="row"))
        self._store.replace("counter", pl.DataFrame(list(self._counters.values()), schema=_COUNTER, orient="row"))
        self._store.replace("branch_size", pl.DataFrame(list(self._branches.values()), schema=_BRANCHES, orient="row"))
        self._store.insert("page", page_frame(self._pages))
        unread.insert(self._store, self._unreadable)
        self._start_gathering()

    def end_walk(self, record: Record) -> None:
        """Marks projects that a complete inventory no longer lists; keeps only the latest list."""
        organization, walk = record.data["organization"], record.data["walk"]
        self._store.write("delete_older_lists", organization=organization, walk=walk)
        listed = set(self._store.query("ledger/listed_projects", organization=organization)["project_id"])
        rows = []
        for project_id, shown in self._known_sightings(organization).items():
            row = dict(zip(_SHOWN, shown, strict=True))
            if row["is_listed"] and project_id not in listed:
                gone = {
                    "seq": record.seq,
                    "organization": organization,
                    "project_id": project_id,
                    "seen_at": parse_time(record.at),
                    "is_listed": False,
                }
                rows.append({**row, **gone})
        changed = self._changed(organization, sorted(rows, key=lambda row: row["project_id"]))
        self._store.insert("sighting", pl.DataFrame(changed, schema=_SIGHTING, orient="row"))

    def _take_inventory(self, record: Record, body: bytes) -> int:
        data = record.data
        if data.get("by_rows"):
            projects, unavailable, unreadable = readable.inventory(body)
        else:
            (projects, unavailable), unreadable = parse_projects.inventory(body), []
        self._unreadable += unread.rows_of(record, unreadable)
        is_listed = data["endpoint"] == "inventory"
        rows = [_sighting(record, project, is_listed=is_listed) for project in projects]
        unshown = (*unavailable, *(row.project_id for row in unreadable))
        rows += self._unshown(record, unshown)
        self._seen += self._changed(data["organization"], rows)
        if is_listed:
            active = [(project.project_id, project.last_active_at) for project in projects]
            active += [(project_id, None) for project_id in unshown]
            self._listed += [(data["walk"], data["organization"], *one) for one in active]
        return len(projects)

    def _unshown(self, record: Record, named: Iterable[str]) -> list[dict[str, Any]]:
        """Sightings without a name, for ids of projects that no page has shown."""
        known = self._known_sightings(record.data["organization"])
        return [
            _sighting_of(record, project_id, name=None, region="", is_listed=True, has_settings=False, limits="{}")
            for project_id in named
            if known.get(project_id, (None,))[0] is None
        ]

    def _changed(self, organization: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The sightings that differ from the last one of their project."""
        known = self._known_sightings(organization)
        changed = []
        for row in rows:
            shown = tuple(row[name] for name in _SHOWN)
            if known.get(row["project_id"]) != shown:
                known[row["project_id"]] = shown
                changed.append(row)
        return changed

    def _known_sightings(self, organization: str) -> dict[str, tuple[Any, ...]]:
        if organization not in self._sightings:
            latest = self._store.query("ledger/latest_sightings", organization=organization)
            self._sightings[organization] = {
                row[0]: row[1:] for row in latest.select("project_id", *_SHOWN).iter_rows()
            }
        return self._sightings[organization]

    def _take_counters(self, record: Record, body: bytes) -> int:
        """Keeps the counters of a project's last page."""
        row = _counter(record, body)
        self._counters[row["organization"], row["project_id"]] = row
        return 1

    def _take_branches(self, record: Record, body: bytes) -> int:
        """Keeps the largest branch over the pages of one list, and whether all branches were measured."""
        sizes = parse_projects.branch_sizes(body)
        measured = [size for size in sizes if size is not None]
        is_whole = len(measured) == len(sizes)
        name = record.data["organization"], record.data["project_id"]
        if "cursor" in record.data["params"] and (begun := self._branches_of(*name)):
            measured += [] if begun["logical_size_bytes"] is None else [int(begun["logical_size_bytes"])]
            is_whole = is_whole and begun["is_whole"]
        self._branches[name] = {
            "organization": name[0],
            "project_id": name[1],
            "seq": record.seq,
            "observed_at": parse_time(record.data["received_at"]),
            "logical_size_bytes": Decimal(max(measured)) if measured else None,
            "is_whole": is_whole,
        }
        return len(sizes)

    def _branches_of(self, organization: str, project_id: str) -> dict[str, Any] | None:
        """The row that the pages before give, written or waiting."""
        if waiting := self._branches.get((organization, project_id)):
            return waiting
        rows = self._store.query("ledger/branch_size", organization=organization, project_id=project_id).iter_rows(
            named=True
        )
        return next(rows, None)


def _counter(record: Record, body: bytes) -> dict[str, Any]:
    facts = parse_projects.project(body)
    counters = {name: None if value is None else Decimal(value) for name, value in facts.counters.items()}
    return {
        "organization": record.data["organization"],
        "project_id": facts.project_id,
        "seq": record.seq,
        "observed_at": parse_time(record.data["received_at"]),
        "period_start": facts.period_start,
        "period_end": facts.period_end,
        **counters,
        "limits": json.dumps(facts.limits, sort_keys=True),
    }


def _sighting(record: Record, project: parse_projects.ProjectFacts, *, is_listed: bool) -> dict[str, Any]:
    return _sighting_of(
        record,
        project.project_id,
        name=project.name,
        region=project.region,
        created_at=project.created_at,
        deleted_at=project.deleted_at,
        is_listed=is_listed and project.deleted_at is None,
        has_settings=project.has_settings,
        limits=json.dumps(project.limits, sort_keys=True),
    )


def _sighting_of(record: Record, project_id: str, **shown: Any) -> dict[str, Any]:
    """A row of table `sighting`; names that are not in `shown` are null."""
    return {
        **dict.fromkeys(_SHOWN),
        "seq": record.seq,
        "organization": record.data["organization"],
        "project_id": project_id,
        "seen_at": parse_time(record.data["received_at"]),
        **shown,
    }
