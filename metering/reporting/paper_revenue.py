"""The tables of the printed report about revenue: what was sold, outlook, customers, changes.

Pure: the report in, tables of texts out.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from metering.core.money import COST_CURRENCY
from metering.core.rows import Row
from metering.core.text import words
from metering.rendering import figures
from metering.reporting import columns
from metering.reporting import paper_cells as cells


def revenue(report: Row) -> list[dict[str, Any] | None]:
    """Per currency: what was sold with the sums below, and the plans."""
    parts: list[dict[str, Any] | None] = []
    sold = [
        cells.Column("Item", lambda row: words(row["meter"] or row["kind"])),
        cells.Column("Quantity", cells.number("quantity", 1), "right"),
        cells.Column("Unit", lambda row: row["unit"] or ""),
        cells.Column("Amount", cells.amount("amount"), "right"),
        cells.Column("Share", lambda row: cells.percent(row["share_percent"]), "right"),
    ]
    plans = [
        cells.Column("Plan", lambda row: row["plan"] or "No plan"),
        cells.Column("Customers", cells.number("customers", 0), "right"),
        cells.Column("Projects", cells.number("projects", 0), "right"),
        cells.Column(
            "Amount",
            lambda row: (cells.money(row["amount"], row["currency"]), cells.percent(row["share_percent"])),
            "right",
        ),
        cells.Column("Change", cells.change_cell, "right"),
        *cells.cost_columns(),
    ]
    for total in report["totals"]:
        currency = total["currency"]
        mine = [[row for row in report[name] if row["currency"] == currency] for name in ("billed", "plans")]
        sums = [("Revenue before tax", total["subtotal"]), ("Tax", total["tax"])]
        foot = [
            [label, "", "", cells.money(amount, currency), ""]
            for label, amount in (*sums, *_of_which(report, currency), ("Invoiced", total["total"]))
        ]
        parts.append(cells.table(f"What was sold, in {currency}", mine[0], sold, foot=foot))
        parts.append(cells.table(f"Per plan, in {currency}", mine[1], plans))
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


def outlook(report: Row) -> dict[str, Any] | None:
    """What the running month will come to."""
    outlook = report["outlook"]
    rows = [{"what": "Revenue", **row} for row in outlook["totals"]] + [{"what": "Neon cost", **outlook["neon_cost"]}]
    amounts = [("so_far", "So far"), ("expected", "Expected"), ("low", "Like the quietest week"), ("high", "Busiest")]
    columns = [cells.Column("What", cells.text("what")), cells.Column("Currency", cells.text("currency"))]
    columns += [cells.Column(label, cells.amount(name), "right") for name, label in amounts]
    return cells.table("By the end of the month", rows, columns)


def customers(report: Row) -> Iterator[dict[str, Any] | None]:
    """Per currency: what each customer was billed and cost."""
    special: dict[str, Callable[[Row], cells.Cell]] = {
        "change": cells.change_cell,
        "invoices": lambda row: ", ".join(row["invoices"]) or "Draft",
        **{name: partial(cells.was, name=name, currency=COST_CURRENCY) for name in ("neon_cost", "margin")},
    }
    printed = [cells.column(column, special.get(column.name)) for column in columns.on_paper("customers")]
    for total in report["totals"]:
        rows = [row for row in report["customers"] if row["currency"] == total["currency"]]
        yield cells.table(f"Per customer, in {total['currency']}, before tax", rows, printed)


def movers(report: Row) -> Iterator[dict[str, Any] | None]:
    """The customers who gained and lost most."""
    columns = [
        cells.Column("Customer", cells.customer),
        cells.Column("Now", cells.amount("subtotal"), "right"),
        cells.Column("Change", cells.change_cell, "right"),
        cells.Column(
            "", lambda row: row["currency"] if row["reason"] == "changed" else f"{row['currency']}, {row['reason']}"
        ),
    ]
    yield cells.table("Gained most", report["movers"]["gains"], columns)
    yield cells.table("Lost most", report["movers"]["losses"], columns)


def changed(report: Row) -> str:
    """How many of each kind of change there were."""
    counts = [row for row in report["change_counts"] if row["count"]]
    said = ", ".join(f"{cells.count(row['count'])} {row['change']}{'' if row['count'] == 1 else 's'}" for row in counts)
    return f"{said}." if said else "Nothing changed."


def changes(report: Row) -> list[dict[str, Any] | None]:
    """What changed, and the corrections of earlier months."""
    changes = [
        cells.Column("Change", lambda row: words(row["change"])),
        cells.Column("Customer", cells.customer),
        cells.Column("Project", lambda row: cells.project(row) if row["project_id"] else ""),
        cells.Column("Was", lambda row: row["was"] or ""),
        cells.Column("Now", lambda row: row["now"] or ""),
        cells.Column(
            "Invoiced",
            lambda row: f"{cells.money(row['amount'], row['currency'])} {row['currency']}" if row["amount"] else "",
            "right",
        ),
    ]
    corrections = [
        cells.Column("Customer", cells.customer),
        cells.Column("What", lambda row: (row["description"], row["project_id"] or "")),
        cells.Column("Month", lambda row: figures.printed_span(row["from"], row["to"])),
        cells.Column(
            "Quantity",
            lambda row: (figures.printed(row["quantity"], 3), row["unit"] or "") if row["quantity"] else "",
            "right",
        ),
        cells.Column("Amount", lambda row: f"{cells.money(row['amount'], row['currency'])} {row['currency']}", "right"),
    ]
    return [
        cells.table("Changes", report["changes"], changes),
        cells.table("Corrections of earlier months", report["adjustments"], corrections),
    ]
