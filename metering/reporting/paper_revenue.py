"""The tables of the printed report about revenue: what was sold, outlook, customers, changes.

Pure: the report in, tables of texts out; columns.py says which columns a table has.
"""

from collections.abc import Iterator
from typing import Any

from metering.core.rows import Row, Table
from metering.rendering import figures
from metering.reporting import cells
from metering.reporting.columns import on_print


def revenue(report: Row) -> list[dict[str, Any] | None]:
    """Per currency: what was sold with the sums below, and the plans."""
    parts: list[dict[str, Any] | None] = []
    for total in report["totals"]:
        currency = total["currency"]
        sold, plans = ([row for row in report[name] if row["currency"] == currency] for name in ("billed", "plans"))
        sums = [("Revenue before tax", total["subtotal"]), ("Tax", total["tax"])]
        foot = [
            [label, "", "", cells.money(amount, currency), ""]
            for label, amount in (*sums, *_of_which(report, currency), ("Invoiced", total["total"]))
        ]
        parts.append(cells.table(f"What was sold, in {currency}", sold, on_print("billed", "paper"), foot=foot))
        parts.append(cells.table(f"Per plan, in {currency}", plans, on_print("plans", "paper")))
    return parts


def _of_which(report: Row, currency: str) -> list[tuple[str, str]]:
    """Each tax of a currency with its base, where there are several."""
    mine = [row for row in report["taxes"] if row["currency"] == currency]
    told = [
        (
            f"{row['name']} {figures.printed(row['rate_percent'])} % of {cells.money(row['base'], currency)}",
            row["amount"],
        )
        for row in mine
    ]
    return told if len(told) > 1 else []


def outlook_rows(report: Row) -> Table:
    """The rows of what the running month will come to: revenue per currency, and Neon's cost."""
    outlook = report["outlook"]
    return [{"what": "Revenue", **row} for row in outlook["totals"]] + [{"what": "Neon cost", **outlook["neon_cost"]}]


def outlook(report: Row) -> dict[str, Any] | None:
    """What the running month will come to."""
    return cells.table("By the end of the month", outlook_rows(report), on_print("outlook", "paper"))


def customers(report: Row) -> Iterator[dict[str, Any] | None]:
    """Per currency: what each customer was billed and cost."""
    for total in report["totals"]:
        rows = [row for row in report["customers"] if row["currency"] == total["currency"]]
        caption = f"Per customer, in {total['currency']}, before tax"
        yield cells.table(caption, rows, on_print("customers", "paper"))


def movers(report: Row) -> Iterator[dict[str, Any] | None]:
    """The customers who gained and lost most."""
    for caption, name in (("Gained most", "gains"), ("Lost most", "losses")):
        yield cells.table(caption, report["movers"][name], on_print("movers", "paper"))


def changed(report: Row) -> str:
    """How many of each kind of change there were."""
    counts = [row for row in report["change_counts"] if row["count"]]
    said = ", ".join(f"{cells.count(row['count'])} {row['change']}{'' if row['count'] == 1 else 's'}" for row in counts)
    return f"{said}." if said else "Nothing changed."


def changes(report: Row) -> list[dict[str, Any] | None]:
    """What changed, and the corrections of earlier months."""
    return [
        cells.table("Changes", report["changes"], on_print("changes", "paper")),
        cells.table("Corrections of earlier months", report["adjustments"], on_print("adjustments", "paper")),
    ]
