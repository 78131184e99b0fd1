"""The report's tables as rows of plain cells.

A noun: the report and its invoices in, rows of texts out; columns.py says which columns a table has. Must not
know files.
"""

from collections.abc import Sequence
from typing import Any

from metering.core.rows import Row, Table, column_sum
from metering.rendering.figures import money_text
from metering.rendering.tables import cell
from metering.reporting.columns import COLUMNS


def tables(report: Row, invoices: Sequence[Row]) -> dict[str, Table]:
    """Every table of `COLUMNS` with its rows, in the report's order; cells are text, or None."""
    source = {
        **report,
        "days": [{**day, **_named(meter, "meter", "unit")} for meter in report["meters"] for day in meter["days"]],
        "costs": [{**row, "currency": report["costs"]["currency"]} for row in report["costs"]["meters"]],
        "gaps": report["coverage"]["gaps"],
        "reconciliation": [
            {**row, "currency": report["reconciliation"]["currency"]}
            for row in (report["reconciliation"] or {"lines": ()})["lines"]
        ],
        "invoices": [_invoice(invoice) for invoice in invoices],
        "lines": [_line(invoice, line) for invoice in invoices for line in invoice["lines"]],
    }
    return {
        name: [{column: cell(row.get(column)) for column in columns} for row in source[name]]
        for name, columns in COLUMNS.items()
    }


def _named(row: Row, *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _invoice(invoice: Row) -> dict[str, Any]:
    return {
        "kind": "invoice",
        "tax_inclusive": False,
        **invoice,
        **invoice["period"],
        "customer": invoice["customer"]["id"],
        "customer_name": invoice["customer"]["name"],
        "tax": money_text(column_sum(invoice["taxes"], "amount"), invoice["currency"]),
    }


def _line(invoice: Row, line: Row) -> dict[str, Any]:
    return {**line, **_named(invoice, "number", "status", "currency"), "customer": invoice["customer"]["id"]}
