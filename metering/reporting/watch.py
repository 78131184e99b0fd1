"""What somebody should look at: organizations, projects at rest, branches that cost, usage nobody is billed for.

A noun: facts in, tables out. Neon's usage history tells what branches cost, and not how old each of them is.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from metering.core.money import COST_CURRENCY, exact_text, percent_truncated
from metering.core.period import parse_time
from metering.core.rows import Row, Table, column_sum, grouped
from metering.rendering.figures import money_text
from metering.reporting.facts import Facts
from metering.reporting.margin import cost_is_known

IDLE_DAYS = 30
"""So long without a query, and a project is called idle."""
SPONSORED_PROJECTS = 30_000
"""How many projects the sponsored organization of Neon's agent plan may have."""
COMPUTE = "compute_unit_seconds"
BRANCH_METERS = {"storage_child", "extra_branches"}


def organizations(facts: Facts) -> Table:
    """Per organization: its projects against the sponsored limit, Neon's cost by our computation, how fresh it is."""
    costs = grouped(facts.costs, lambda row: str(row["organization"]))
    return [
        {
            **row,
            "project_limit": SPONSORED_PROJECTS if row["sponsored"] else None,
            "limit_percent": percent_truncated(int(row["projects"] or 0), SPONSORED_PROJECTS)
            if row["sponsored"]
            else None,
            "neon_cost": None
            if row["sponsored"] or not cost_is_known(facts)
            else _cost(costs.get(row["organization"], ())),
        }
        for row in sorted(map(dict, facts.organizations), key=lambda row: row["organization"])
    ]


def idle(facts: Facts) -> Table:
    """Projects that nobody queried for IDLE_DAYS and that cost something in the month, the dearest first."""
    since = facts.as_of - timedelta(days=IDLE_DAYS)
    busy = {row["project_id"] for row in facts.usage if row["metric"] == COMPUTE}
    resting = [row for row in facts.inventory if row["is_listed"] and _is_at_rest(row, since, busy)]
    costs = grouped(facts.costs, lambda row: row["project_id"])
    table = [
        {
            **_named(row),
            "last_active_at": row["last_active_at"],
            "idle_days": None
            if row["last_active_at"] is None
            else (facts.as_of - parse_time(row["last_active_at"])).days,
            "neon_cost": _cost(costs.get(row["project_id"], ())),
            "of_branches": _cost(_of_branches(costs.get(row["project_id"], ()))),
        }
        for row in resting
    ]
    return _dearest(table)


def _is_at_rest(row: Row, since: datetime, busy: Collection[str]) -> bool:
    """Whether it was last active by then; where Neon does not say, whether it is that old and used no compute."""
    if row["last_active_at"] is not None:
        return parse_time(row["last_active_at"]) <= since
    return row["project_id"] not in busy and row["created_at"] is not None and parse_time(row["created_at"]) <= since


def branches(facts: Facts) -> Table:
    """Projects whose branches beside the root cost something, the dearest first; and whether the project is idle."""
    known = {row["project_id"]: row for row in facts.inventory}
    resting = {row["project_id"] for row in idle(facts)}
    table = []
    for project, rows in grouped(_of_branches(facts.costs), lambda row: str(row["project_id"])).items():
        by_meter = grouped(rows, lambda row: str(row["meter"]))
        table.append(
            {
                **_named(known.get(project, {**rows[0], "project_name": None})),
                "is_idle": project in resting,
                "storage_gb_month": exact_text(column_sum(by_meter.get("storage_child", ()), "quantity")),
                "extra_branch_month": exact_text(column_sum(by_meter.get("extra_branches", ()), "quantity")),
                "neon_cost": _cost(rows),
            }
        )
    return _dearest(table)


def _named(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("project_id", "project_name", "customer", "plan")}


def _of_branches(costs: Iterable[Row]) -> list[Row]:
    return [row for row in costs if row["meter"] in BRANCH_METERS]


def _cost(rows: Iterable[Row]) -> str:
    return money_text(column_sum(rows, "amount"), COST_CURRENCY)


def _dearest(table: Table) -> Table:
    paid = [row for row in table if Fraction(row["neon_cost"]) > 0]
    return sorted(paid, key=lambda row: (-Fraction(row["neon_cost"]), row["project_id"], row["customer"] or ""))
