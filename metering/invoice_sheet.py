"""One invoice arranged for reading: lines under their projects with subtotals, used beside billed, what the stamps say.

A noun: an invoice object of the public interface in, a dictionary for the template out. No line, tax or total is
computed anew; what is added up here (a project's part, a billed quantity) is added up exactly from the printed lines.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from metering.figures import money_text
from metering.money import exact_text
from metering.report_facts import Row, Table, column_sum, grouped


def sheet(invoice: Row, usage: Table, names: Mapping[str, str]) -> dict[str, Any]:
    """What the template prints: `invoice` itself, `title`, `stamp`, `groups` of lines and `quantities` per meter.

    `usage` holds the month's usage rows of the invoice's customer, `names` every project's name by id.
    """
    is_credit_note = invoice.get("kind") == "credit_note"
    return {
        "invoice": invoice,
        "title": "Credit note" if is_credit_note else "Invoice",
        "is_credit_note": is_credit_note,
        "stamp": {"draft": "Draft", "void": "Void"}.get(invoice["status"]),
        "groups": _groups(invoice, names),
        "quantities": [] if is_credit_note else _quantities(invoice, usage, names),
        "has_reduced_grain": any(line.get("reduced_grain") for line in invoice["lines"]),
    }


def _groups(invoice: Row, names: Mapping[str, str]) -> Table:
    """Projects by id, then what belongs to no project, each with its lines in the invoice's order."""
    groups = grouped(invoice["lines"], lambda line: str(line["project_id"] or ""))
    return [
        {
            "project_id": project_id or None,
            "project_name": names.get(project_id),
            "lines": [{**line, "is_whole_period": _is_whole_period(line, invoice)} for line in lines],
            "subtotal": money_text(column_sum(lines, "amount"), invoice["currency"]),
        }
        for project_id, lines in sorted(groups.items(), key=lambda group: (not group[0], group[0]))
    ]


def _is_whole_period(line: Row, invoice: Row) -> bool:
    return bool(line["from"] == invoice["period"]["start"] and line["to"] == invoice["period"]["end"])


def _quantities(invoice: Row, usage: Table, names: Mapping[str, str]) -> Table:
    """Used, billed and the difference (included, or free of charge) per project, meter and unit of this invoice."""
    lines = [line for line in invoice["lines"] if line["kind"] == "usage" and line["project_id"]]
    billed = grouped(lines, lambda line: (str(line["project_id"]), str(line["meter"]), str(line["unit"])))
    projects = {line["project_id"] for line in invoice["lines"]}
    metered = (row for row in usage if row["meter"] is not None and row["project_id"] in projects)
    table: Table = []
    for key, rows in sorted(grouped(metered, lambda row: (row["project_id"], row["meter"], row["unit"])).items()):
        used, charged = column_sum(rows, "quantity"), column_sum(billed.get(key, []), "quantity")
        table.append(
            {
                "project_id": key[0],
                "project_name": names.get(key[0]),
                "meter": key[1],
                "unit": key[2],
                "used": exact_text(used),
                "billed": exact_text(charged),
                "not_billed": exact_text(max(used - charged, Fraction(0))),
            }
        )
    return table
