"""Every project of a month in one list: inventory's words, who pays, what it brings in and costs, its fullest quota.

Puts together what `report` and `quota` say; computes no figure of its own. Reads the store, writes nothing.
"""

from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction
from typing import Any

from metering.core.period import rfc3339
from metering.core.rows import Row, Table, grouped
from metering.store.database import Store

_MONEY = ("currency", "amount", "neon_cost", "margin", "margin_percent")


def rows(store: Store, report: Row, quotas: Iterable[Row]) -> Table:
    """A row per organization and project, and per customer where a project changed hands; sorted by project.

    Projects that are gone stand there only where the month has a charge or a cost of theirs. `plan` is all of the
    month's plans. Who changed hands has its inventory in each row.
    """
    money = grouped(report["projects"], lambda row: str(row["project_id"]))
    used = grouped(report["usage"], lambda row: str(row["project_id"]))
    fullest = _fullest(quotas)
    table: Table = []
    for known in store.query("reporting/project_list").iter_rows(named=True):
        project = known["project_id"]
        shown = {name: _shown(value) for name, value in known.items() if name != "name"}
        found = money.get(project) or ([{}] if known["is_listed"] or project in used else [])
        for row in found:
            owned: Row = next(iter(used.get(project, ())), {})
            quota = fullest.get(project, {})
            table.append(
                {
                    **shown,
                    "project_name": known["name"],
                    "customer": row.get("customer", owned.get("customer", quota.get("customer"))),
                    "plans": row.get("plans") or [plan for plan in [owned.get("plan", quota.get("plan"))] if plan],
                    **{name: row.get(name) for name in _MONEY},
                    **{f"quota_{name}": quota.get(name) for name in ("percent", "level")},
                }
            )
    return table


def _fullest(quotas: Iterable[Row]) -> dict[str, Row]:
    """The quota of each project that is used up furthest."""
    found: dict[str, Row] = {}
    for row in quotas:
        held = found.get(row["project_id"])
        if held is None or Fraction(row["percent"] or 0) > Fraction(held["percent"] or 0):
            found[row["project_id"]] = row
    return found


def _shown(value: Any) -> Any:
    return rfc3339(value) if isinstance(value, datetime) else value
