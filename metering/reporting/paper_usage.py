"""The tables of the printed report about usage, cost, organizations, quotas and what is not billed.

Pure: the report in, tables of texts out.
"""

from collections.abc import Callable
from typing import Any

from metering.core.money import COST_CURRENCY
from metering.core.rows import Row
from metering.core.text import words
from metering.rendering import charts, figures
from metering.reporting import paper_cells as cells


def usage(report: Row) -> dict[str, Any] | None:
    """Usage per meter."""
    columns = [
        cells.Column("Meter", lambda row: words(row["meter"])),
        cells.Column("Quantity", cells.number("quantity"), "right"),
        cells.Column("Unit", cells.text("unit")),
        cells.Column("Month before", cells.number("previous_quantity"), "right"),
        cells.Column(
            "Change",
            lambda row: (
                cells.NONE if row["change_percent"] is None else f"{figures.printed_change(row['change_percent'])} %"
            ),
            "right",
        ),
        cells.Column("Projects", cells.number("projects", 0), "right"),
    ]
    return cells.table("Per meter", report["meters"], columns)


def daily_charts(report: Row) -> list[dict[str, Any] | None]:
    """Two charts a row."""
    length = report["report"]["days"]
    drawn = [
        {
            "meter": words(row["meter"]),
            "unit": row["unit"],
            "svg": charts.standing_alone(
                str(charts.daily_bars(f"days-{index}", words(row["meter"]), row["unit"], row["days"], length))
            ),
            "alt": charts.days_in_words(row["unit"], row["days"]),
        }
        for index, row in enumerate(report["meters"])
        if row["days"]
    ]
    return [{"charts": drawn}] if drawn else []


def costs(report: Row) -> list[dict[str, Any] | None]:
    """Neon’s cost per meter, and the projects and branches that cost."""
    costs = report["costs"]
    meters = [
        cells.Column("Meter", lambda row: words(row["meter"])),
        cells.Column("Quantity", cells.number("quantity"), "right"),
        cells.Column("Unit", cells.text("unit")),
        cells.Column(f"Cost ({COST_CURRENCY})", cells.amount("amount", COST_CURRENCY), "right"),
        cells.Column("Share", lambda row: cells.percent(row["share_percent"]), "right"),
    ]
    foot = [["Total", "", "", cells.money(costs["total"], COST_CURRENCY), ""]]
    dear = report["projects"] if costs["total"] is not None else []
    return [
        cells.table("Per meter", costs["meters"], meters, foot=foot),
        cells.table("Projects that cost most", dear, _dear(), shown=10),
        cells.table("Idle projects that cost: no query for 30 days or more", report["idle"], _idle(), shown=10),
        cells.table("Branches that cost", report["branches"], _branches(), shown=10),
    ]


PROJECT = cells.Column("Project", cells.project)
CUSTOMER = cells.Column("Customer", lambda row: row["customer"] or "nobody")
COST = cells.Column(f"Neon cost ({COST_CURRENCY})", cells.amount("neon_cost", COST_CURRENCY), "right")


def _dear() -> list[cells.Column]:
    def billed(row: Row) -> cells.Cell:
        return f"{cells.money(row['amount'], row['currency'])} {row['currency']}" if row["currency"] else cells.NONE

    margin = cells.Column("Margin", cells.amount("margin", COST_CURRENCY), "right")
    return [PROJECT, CUSTOMER, COST, cells.Column("Billed", billed, "right"), margin]


def _idle() -> list[cells.Column]:
    def last_active(row: Row) -> cells.Cell:
        at = row["last_active_at"]
        return figures.printed_day(at) if at else "no compute in the month"

    of_branches = cells.Column("of branches", cells.amount("of_branches", COST_CURRENCY), "right")
    return [PROJECT, CUSTOMER, cells.Column("Last active", last_active), COST, of_branches]


def _branches() -> list[cells.Column]:
    idle = cells.Column("Idle", lambda row: "yes" if row["is_idle"] else "no")
    extra = cells.Column("Extra branch-months", cells.number("extra_branch_month"), "right")
    return [PROJECT, CUSTOMER, idle, COST, extra]


def organizations(report: Row) -> dict[str, Any] | None:
    """How fresh each organization’s data are, and what it costs."""

    def moment(name: str) -> Callable[[Row], cells.Cell]:
        return lambda row: figures.printed_moment(row[name]) if row[name] else cells.NONE

    columns = [
        cells.Column("Organization", cells.text("organization")),
        cells.Column("Projects", cells.number("projects", 0), "right"),
        cells.Column(
            "Sponsored limit",
            lambda row: (
                (cells.count(row["project_limit"]), f"{cells.percent(row['limit_percent'])} used")
                if row["project_limit"]
                else ""
            ),
            "right",
        ),
        cells.Column(f"Neon cost ({COST_CURRENCY})", cells.amount("neon_cost", COST_CURRENCY), "right"),
        cells.Column("Inventory read", moment("inventory_read_at")),
        cells.Column("History read", moment("history_read_at")),
        cells.Column("Known until", moment("certified_until")),
    ]
    return cells.table("Organizations", report["organizations"], columns)


def reconciled(report: Row) -> dict[str, Any] | None:
    """Our cost against Neon’s invoice, where `reconcile` compared them."""
    found = report["reconciliation"]
    if found is None:
        return None
    steps = [{"what": "Computed by us", "amount": found["computed"]}]
    steps += [
        {"what": words(row["cause"]), "amount": row["amount"]} for row in found["causes"] if row["amount"].strip("-0.")
    ]
    columns = [
        cells.Column("What", cells.text("what")),
        cells.Column(f"Amount ({found['currency']})", cells.amount("amount", found["currency"]), "right"),
    ]
    foot = [["Invoiced by Neon", cells.money(found["invoiced"], found["currency"])]]
    return cells.table("Against Neon’s invoice", steps, columns, foot=foot)


def quotas(report: Row) -> list[dict[str, Any] | None]:
    """The fullest quotas, and the alerts of the month."""
    project = cells.Column("Project", cells.project)
    quota = cells.Column("Quota", lambda row: (row["quota"] or cells.NONE).replace("_", " "))
    percent = cells.Column("Percent", lambda row: cells.percent(row["percent"]), "right")
    quotas = [
        project,
        quota,
        cells.Column("Used", cells.number("used", None), "right"),
        cells.Column("Limit", cells.number("limit", None), "right"),
        percent,
        cells.Column("Level", cells.text("level")),
    ]
    alerts = [
        cells.Column("Observed", lambda row: figures.printed_moment(row["observed_at"])),
        project,
        quota,
        cells.Column(
            "Threshold",
            lambda row: f"{row['threshold_percent']} %" if row["threshold_percent"] is not None else cells.NONE,
            "right",
        ),
        percent,
        cells.Column("Delivery", lambda row: row["status"].replace("_", " ")),
    ]
    return [
        cells.table("Quotas", report["quotas"], quotas),
        cells.table("Alerts of the month", report["alerts"], alerts),
    ]


def not_billed(report: Row) -> list[dict[str, Any] | None]:
    """Usage that nobody pays for, and usage without a price."""
    columns = [
        cells.Column("Project", cells.text("project_id")),
        cells.Column("Metric", lambda row: row["metric"].replace("_", " ")),
        cells.Column("Value", cells.number("value", None), "right"),
        cells.Column(
            "Worth",
            lambda row: (
                (f"{cells.money(row['worth'], row['currency'])} {row['currency']}", f"by {row['priced_as']}")
                if row.get("worth")
                else cells.NONE
            ),
            "right",
        ),
    ]
    reason = cells.Column("Why", lambda row: row["reason"].replace("_", " "))
    return [
        cells.table(f"Unassigned{_worths(report, 'unassigned')}", report["unassigned"], columns),
        cells.table(f"Unpriced{_worths(report, 'unpriced')}", report["unpriced"], [*columns, reason]),
    ]


def _worths(report: Row, name: str) -> str:
    rows = [row for row in report["unbilled_worth"][name] if row["currency"]]
    return "".join(f", worth {cells.money(row['worth'], row['currency'])} {row['currency']}" for row in rows)
