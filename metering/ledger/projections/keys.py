"""Small integers in place of long ids: one per (organization, project) and per billing period of Neon's.

Numbers follow the order of first appearance in the journal, so a rebuild gives the same ones. New keys wait until
`land`, so that a batch of pages inserts its keys as one frame.
"""

from collections.abc import Iterable
from datetime import datetime

import polars as pl

from metering.core.frames import UTC_MICROSECONDS
from metering.neon.parse_history import NeonPeriod
from metering.store.database import Store

_PROJECT = pl.Schema({"project_key": pl.UInt32(), "organization": pl.String(), "project_id": pl.String()})
_NEON_PERIOD = pl.Schema(
    {
        "neon_period_key": pl.UInt32(),
        "organization": pl.String(),
        "period_id": pl.String(),
        "plan": pl.String(),
        "period_start": UTC_MICROSECONDS,
        "period_end": UTC_MICROSECONDS,
    }
)


class RowKeys:
    """Reads the known keys of a store when it is made."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # As frames: DuckDB's own rows need one more package for a time with a zone.
        self._projects: dict[str, dict[str, int]] = {}
        self._last_project = 0
        for organization, project_id, key in store.query("ledger/known_projects").iter_rows():
            self._projects.setdefault(organization, {})[project_id] = key
            self._last_project = max(self._last_project, key)
        self._periods: dict[tuple[str, str, str, datetime | None], tuple[int, datetime | None]] = {
            row[:4]: (row[4], row[5]) for row in store.query("ledger/known_neon_periods").iter_rows()
        }
        self._new_projects: list[tuple[int, str, str]] = []
        self._new_periods: list[tuple[int, str, str, str, datetime | None, datetime | None]] = []
        self._ended: dict[int, datetime] = {}

    def projects(self, organization: str, project_ids: Iterable[str]) -> list[int]:
        """The projects' keys; new ones wait for `land`."""
        known = self._projects.setdefault(organization, {})
        keys = []
        for project_id in project_ids:
            key = known.get(project_id)
            if key is None:
                key = known[project_id] = self._last_project = self._last_project + 1
                self._new_projects.append((key, organization, project_id))
            keys.append(key)
        return keys

    def known(self, organization: str, project_ids: Iterable[str]) -> list[int]:
        """The keys of those projects that have one."""
        keys = self._projects.get(organization, {})
        return [keys[project_id] for project_id in project_ids if project_id in keys]

    def neon_period(self, organization: str, period: NeonPeriod) -> int:
        """The billing period's key; a new or changed end waits for `land` as well."""
        name = (organization, period.period_id, period.plan, period.start)
        known = self._periods.get(name)
        if known is None:
            known = self._periods[name] = (len(self._periods) + 1, period.end)
            self._new_periods.append((known[0], *name, period.end))
        elif period.end is not None and known[1] != period.end:
            self._periods[name] = (known[0], period.end)
            self._ended[known[0]] = period.end
        return known[0]

    def land(self) -> None:
        """Inserts the new keys and ends; the caller holds the transaction."""
        self._store.insert("project", pl.DataFrame(self._new_projects, schema=_PROJECT, orient="row"))
        self._store.insert("neon_period", pl.DataFrame(self._new_periods, schema=_NEON_PERIOD, orient="row"))
        for key, end in self._ended.items():
            self._store.write("end_neon_period", end=end, key=key)
        self._new_projects, self._new_periods, self._ended = [], [], {}
