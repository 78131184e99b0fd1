"""The report's tables as rows of plain cells, and those as CSV and Parquet.

A noun: the report and its invoices in, texts and bytes out. Knows which column holds text and which a number, so that a
name that looks like a formula is never taken for one, and a number never for text. Must not know files.
"""

from collections.abc import Sequence
from typing import Any

from metering.core.rows import Row, Table, column_sum
from metering.rendering.figures import money_text
from metering.rendering.tables import NUMBER, TEXT, cell

_MONEY = "subtotal:n tax:n total:n"
_COMPARED = "previous_subtotal:n change:n change_percent:n"
_MARGIN = "neon_cost:n margin:n margin_percent:n"
_BESIDE = f"{_COMPARED} {_MARGIN} previous_neon_cost:n previous_margin:n"
_WORTH = "meter quantity:n unit worth:n currency priced_as"
# Table -> its columns in order; `:n` marks numbers.
_COLUMNS = {
    "totals": f"currency invoices:n customers:n {_MONEY} {_COMPARED}",
    "taxes": "currency name rate_percent:n category base:n amount:n",
    "billed": "currency kind meter lines:n quantity:n unit amount:n share_percent:n",
    "plans": f"currency plan customers:n projects:n base_fees:n usage:n amount:n share_percent:n {_BESIDE}",
    "customers": f"customer customer_name currency plans projects:n invoices status {_MONEY} {_BESIDE}",
    "meters": "meter unit projects:n quantity:n previous_quantity:n change_percent:n",
    "days": "day meter unit quantity:n has_gap",
    "costs": "meter unit quantity:n amount:n currency share_percent:n",
    "projects": f"project_id project_name customer plans currency amount:n {_MARGIN}",
    "usage": "organization project_id project_name customer plan metric value:n meter quantity:n unit",
    "quotas": (
        "project_id project_name customer plan quota used:n limit:n percent:n threshold_percent:n "
        "level source observed_at"
    ),
    "alerts": "alert_id type project_id project_name customer quota threshold_percent:n percent:n observed_at status",
    "gaps": "organization start end hours:n reason",
    "unassigned": f"project_id metric value:n {_WORTH}",
    "unpriced": f"project_id metric value:n reason {_WORTH}",
    "changes": "change customer customer_name project_id project_name was now amount:n currency",
    "adjustments": (
        "number customer customer_name project_id plan meter description from to quantity:n unit amount:n currency"
    ),
    "organizations": (
        "organization sponsored projects:n project_limit:n limit_percent:n neon_cost:n "
        "inventory_read_at history_read_at certified_until"
    ),
    "reconciliation": "organization meter computed:n invoiced:n difference:n currency",
    "idle": "project_id project_name customer plan last_active_at idle_days:n neon_cost:n of_branches:n",
    "branches": ("project_id project_name customer plan is_idle storage_gb_month:n extra_branch_month:n neon_cost:n"),
    "invoices": (
        f"number kind status customer customer_name currency start end issued_at due_at {_MONEY} as_of tax_inclusive"
    ),
    "lines": (
        "number status customer key kind project_id plan meter description from to "
        "quantity:n unit unit_price:n amount:n currency tax_rate_percent:n tax_name tax_category"
    ),
}
COLUMNS: dict[str, dict[str, str]] = {
    table: {name: NUMBER if mark else TEXT for name, _, mark in (column.partition(":") for column in columns.split())}
    for table, columns in _COLUMNS.items()
}
"""Table -> column -> `text` or `number`; every table is a file, whether it has rows or not."""


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
