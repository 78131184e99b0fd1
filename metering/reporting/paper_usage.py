"""The tables of the printed report about usage, cost, organizations, quotas and what is not billed.

Pure: the report in, tables of texts out; columns.py says which columns a table has.
"""

from typing import Any

from metering.core.money import COST_CURRENCY
from metering.core.rows import Row
from metering.core.text import words
from metering.rendering import charts
from metering.reporting import cells
from metering.reporting.columns import on_print


def usage(report: Row) -> dict[str, Any] | None:
    """Usage per meter."""
    return cells.table("Per meter", report["meters"], on_print("meters", "paper"))


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
    foot = [["Total", "", "", cells.money(costs["total"], COST_CURRENCY), ""]]
    dear = report["projects"] if costs["total"] is not None else []
    tables = [
        ("projects", "Projects that cost most", dear),
        ("idle", "Idle projects that cost: no query for 30 days or more", report["idle"]),
        ("branches", "Branches that cost", report["branches"]),
    ]
    return [
        cells.table("Per meter", costs["meters"], on_print("costs", "paper"), foot=foot),
        *(cells.table(caption, rows, on_print(name, "paper"), shown=10) for name, caption, rows in tables),
    ]


def organizations(report: Row) -> dict[str, Any] | None:
    """How fresh each organization’s data are, and what it costs."""
    return cells.table("Organizations", report["organizations"], on_print("organizations", "paper"))


def reconciled(report: Row) -> dict[str, Any] | None:
    """Our cost against Neon’s invoice, where `reconcile` compared them."""
    found = report["reconciliation"]
    if found is None:
        return None
    currency = found["currency"]
    causes = [(words(row["cause"]), row["amount"]) for row in found["causes"] if row["amount"].strip("-0.")]
    steps = [
        {"what": what, "amount": amount, "currency": currency}
        for what, amount in (("Computed by us", found["computed"]), *causes)
    ]
    foot = [["Invoiced by Neon", cells.money(found["invoiced"], currency)]]
    return cells.table(f"Against Neon’s invoice, in {currency}", steps, on_print("reconciliation", "paper"), foot=foot)


def quotas(report: Row) -> list[dict[str, Any] | None]:
    """The fullest quotas, and the alerts of the month."""
    return [
        cells.table("Quotas", report["quotas"], on_print("quotas", "paper")),
        cells.table("Alerts of the month", report["alerts"], on_print("alerts", "paper")),
    ]


def not_billed(report: Row) -> list[dict[str, Any] | None]:
    """Usage that nobody pays for, and usage without a price."""
    return [
        cells.table(f"{words(name)}{_worths(report, name)}", report[name], on_print(name, "paper"))
        for name in ("unassigned", "unpriced")
    ]


def _worths(report: Row, name: str) -> str:
    rows = [row for row in report["unbilled_worth"][name] if row["currency"]]
    return "".join(f", worth {cells.money(row['worth'], row['currency'])} {row['currency']}" for row in rows)
