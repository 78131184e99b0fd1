"""Flattens what the commands print into the rows of the dashboard's lists.

Pure: rows in, rows out; computes no figure.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from metering.core.rows import Row, Table, column_sum
from metering.rendering.figures import money_text


def quotas(rows: Iterable[Row]) -> Table:
    """The rows of tables.QUOTAS."""
    return [
        {
            **row,
            "period_start": row["period"]["start"],
            "period_end": row["period"]["end"],
            **{name: (row["forecast"] or {}).get(name) for name in ("reaches_100_at", "percent_at_period_end")},
        }
        for row in rows
    ]


def invoices(documents: Iterable[Row]) -> Table:
    """The rows of tables.INVOICES."""
    return [
        {
            **{
                name: row[name] for name in ("number", "status", "currency", "subtotal", "total", "issued_at", "due_at")
            },
            "kind": row.get("kind", "invoice"),
            "customer": row["customer"]["id"],
            "customer_name": row["customer"]["name"],
            "lines": str(len(row["lines"])),
            "tax": money_text(column_sum(row["taxes"], "amount"), row["currency"]),
        }
        for row in documents
    ]


def lines(document: Row) -> Table:
    """The rows of tables.LINES, each with the address of its explanation."""
    whose = address_of(document)
    return [
        {
            **line,
            "line": str(at),
            "currency": document["currency"],
            "explain": f"/explain?{urlencode({**whose, 'line': at})}",
        }
        for at, line in enumerate(document["lines"], start=1)
    ]


def address_of(document: Row) -> dict[str, str]:
    """The address parameters of a document: the number, or customer and month for a draft."""
    if document["number"]:
        return {"number": document["number"]}
    return {"customer": document["customer"]["id"], "month": document["period"]["start"][:7]}


def alerts(log: Iterable[Row]) -> Table:
    """The rows of tables.ALERTS."""
    return [{**row, "delivery": delivery(row)} for row in log]


def delivery(alert: Row) -> str:
    """The delivery status of an alert: the worst of its endpoints, or why there is none."""
    states = {str(row["state"]) for row in alert["deliveries"]}
    if not states:
        return "superseded" if alert["status"] == "superseded" else "no endpoint"
    return next((state for state in ("failed", "pending") if state in states), sorted(states)[0])


def names(report: Row) -> Mapping[str, str]:
    """Customer -> the name on the month's invoices."""
    return {row["customer"]: row["customer_name"] for row in report["customers"]}


def named(rows: Iterable[Row], known: Mapping[str, str]) -> Table:
    """The rows with the column `customer_name`, which the search covers."""
    return [{**row, "customer_name": known.get(row.get("customer") or "")} for row in rows]
