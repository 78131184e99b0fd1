"""Printed invoices as the report counts them: which are revenue, their lines before tax, projects' parts. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from metering.core.invoice import converted
from metering.core.rows import Row, Table
from metering.invoicing.lines import tax


def counts_as_revenue(invoice: Row) -> bool:
    """Whether an invoice adds to revenue: neither a void one does, nor the credit note that cancels it."""
    return bool(invoice["status"] != "void" and invoice.get("kind") != "credit_note")


def counted(invoices: Iterable[Row]) -> list[Row]:
    """The invoices that add to revenue."""
    return [invoice for invoice in invoices if counts_as_revenue(invoice)]


def lines_of(invoices: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Every line of the counted invoices before tax, with its invoice's customer and currency."""
    for invoice in counted(invoices):
        lines = invoice["lines"]
        if invoice.get("tax_inclusive"):
            lines = msgspec.to_builtins(tax.lines_before_tax(converted(invoice)))
        for line in lines:
            yield {**line, "customer": invoice["customer"]["id"], "currency": invoice["currency"]}


def by_project(lines: Iterable[Row]) -> Table:
    """Every line that is a project's, and the parts that projects have in the customer's lines."""
    out: Table = []
    for line in lines:
        if "projects" in line:
            out.extend({**line, **part} for part in line["projects"])
        elif line["project_id"] is not None:
            out.append(dict(line))
    return out
