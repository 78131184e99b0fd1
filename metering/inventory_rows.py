"""How pages of inventory, quota counters and branches become rows: what projects exist, by what name, until when.

A sighting is kept only where it differs from the project's last one. Asks nothing, reads no clock; the caller holds
the transaction.
"""

import json
from decimal import Decimal
from typing import Any

import polars as pl

from metering import pages
from metering.changes import UTC_MICROSECONDS
from metering.errors import PageRefusedError
from metering.journal import Record
from metering.page_rows import page_frame, page_row
from metering.period import parse_time
from metering.store import Store

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
        **dict.fromkeys(pages.COUNTERS, pl.Decimal(38, 0)),
        "limits": pl.String(),
    }
)
_LISTED = pl.Schema({"project_id": pl.String(), "last_active_at": UTC_MICROSECONDS})


class InventoryRows:
    """Lands every page but history's; remembers the last sighting of each project."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sightings: dict[str, dict[str, tuple[Any, ...]]] = {}
        self.waiting: list[Record] = []
        """Pages of quota counters: many and small, so that they are landed together."""

    def land_page(self, record: Record) -> None:
        """One page of `inventory`, `recoverable` or `branches`; a faulty one leaves only its ledger row."""
        lands = {
            "inventory": self._inventory,
            "recoverable": self._inventory,
            "branches": self._branches,
        }[record.data["endpoint"]]
        body = record.body
        try:
            items, fault = lands(record, body), None
        except (PageRefusedError, OverflowError) as error:
            items, fault = 0, str(error)
        self._store.insert("page", page_frame([page_row(record, body, items=items, fault=fault)]))

    def end_walk(self, record: Record) -> None:
        """Projects that a complete inventory no longer lists are marked so; only the latest list is kept."""
        organization, walk = record.data["organization"], record.data["walk"]
        self._store.connection.execute(
            "delete from listed where organization = $organization and walk <> $walk",
            {"organization": organization, "walk": walk},
        )
        listed = set(self._store.query("listed_projects", organization=organization)["project_id"])
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
        self._see(organization, sorted(rows, key=lambda row: row["project_id"]))

    def _inventory(self, record: Record, body: bytes) -> int:
        data = record.data
        projects, unavailable = pages.inventory(body)
        is_listed = data["endpoint"] == "inventory"
        self._see(data["organization"], [_sighting(record, project, is_listed=is_listed) for project in projects])
        if is_listed:
            listed = [(project.project_id, project.last_active_at) for project in projects]
            listed += [(project_id, None) for project_id in unavailable]
            frame = pl.DataFrame(listed, schema=_LISTED, orient="row").with_columns(
                walk=pl.lit(data["walk"], dtype=pl.UInt32), organization=pl.lit(data["organization"])
            )
            self._store.insert("listed", frame)
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
            self._store.insert("sighting", pl.DataFrame(changed, schema=_SIGHTING, orient="row"))

    def _known_sightings(self, organization: str) -> dict[str, tuple[Any, ...]]:
        if organization not in self._sightings:
            latest = self._store.query("latest_sightings", organization=organization)
            self._sightings[organization] = {
                row[0]: row[1:] for row in latest.select("project_id", *_SHOWN).iter_rows()
            }
        return self._sightings[organization]

    def land_waiting(self) -> None:
        """Lands the pages of counters in `waiting`, together: the last of each project counts."""
        if not self.waiting:
            return
        records, self.waiting = self.waiting, []
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        seen = []
        for record in records:
            fault = None
            body = record.body
            try:
                row = _counter(record, body)
                rows[row["organization"], row["project_id"]] = row
            except (PageRefusedError, OverflowError) as error:
                fault = str(error)
            seen.append(page_row(record, body, items=0 if fault else 1, fault=fault))
        with self._store.frames(incoming=pl.DataFrame(list(rows.values()), schema=_COUNTER, orient="row")):
            self._store.connection.execute("insert or replace into counter by name from incoming")
        self._store.insert("page", page_frame(seen))

    def _branches(self, record: Record, body: bytes) -> int:
        sizes = pages.branch_sizes(body)
        measured = [size for size in sizes if size is not None]
        self._store.connection.execute(
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


def _counter(record: Record, body: bytes) -> dict[str, Any]:
    facts = pages.project(body)
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
