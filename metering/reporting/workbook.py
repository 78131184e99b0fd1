"""The report of a month as an XLSX workbook."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import xlsxwriter  # type: ignore[import-untyped]

from metering.core.period import parse_time
from metering.core.rows import Row
from metering.core.text import visible
from metering.rendering.tables import NUMBER
from metering.rendering.workbook import NUMBER_TEXT, OPTIONS, Sheet, Styles, money_format, number_format, sheet_title
from metering.reporting.columns import COLUMNS
from metering.reporting.tables import tables


def workbook(report: Row, invoices: Sequence[Row]) -> bytes:
    """The bytes of `report.xlsx`."""
    buffer = io.BytesIO()
    as_of = parse_time(report["report"]["as_of"]).replace(tzinfo=None)
    with xlsxwriter.Workbook(buffer, OPTIONS) as book:
        book.set_properties({"title": f"Usage and revenue {report['report']['month']}", "created": as_of, "author": ""})
        styles = Styles(book)
        _summary(book.add_worksheet("Summary"), report, styles)
        for name, rows in tables(report, invoices).items():
            Sheet(book.add_worksheet(sheet_title(name)), COLUMNS[name], styles).fill(rows, name)
        if report["report"]["is_draft"]:
            for sheet in book.worksheets():
                sheet.set_header("&CDraft")  # on every page of a print
    return buffer.getvalue()


def _summary(sheet: Any, report: Row, styles: Styles) -> None:
    """The key figures, a line each: what, value, unit."""
    sheet.set_column(0, 0, 34)
    sheet.set_column(1, 1, 22)
    sheet.set_column(2, 2, 60)
    head = report["report"]
    sheet.write_string(0, 0, visible(f"{head['title']}: usage, revenue and cost"), styles(bold=True))
    lines = Sheet(sheet, {"what": "text", "value": NUMBER, "unit": "text"}, styles)
    for line, (what, value, unit) in enumerate(_key_figures(report), start=2):
        row = {"what": what, "value": value, "unit": unit, "currency": unit}
        for at, name in enumerate(("what", "value", "unit")):
            if name == "value" and value is not None and NUMBER_TEXT.fullmatch(value):
                is_money = unit == unit.upper() and len(unit) == 3
                form = money_format(unit) if is_money else number_format(name, value, row)
                lines.number(line, at, value, form)
            elif row[name] is not None:
                lines.text(line, at, str(row[name]))
    sheet.freeze_panes(2, 0)


def _key_figures(report: Row) -> Iterator[tuple[str, str | None, str]]:
    head, coverage, figures = report["report"], report["coverage"], report["figures"]
    yield "Period", f"{head['period']['start']} to {head['period']['end']}", "UTC, the end not included"
    yield "As of", head["as_of"], "UTC"
    yield "State", "draft" if head["is_draft"] else "final", ""
    for row in head["accepted"]:
        yield "Closed all the same", row["what"], row["reason"]
    yield "Hours covered", str(coverage["covered_hours"]), f"of {coverage['hours']}"
    for row in report["totals"]:
        yield "Revenue before tax", row["subtotal"], row["currency"]
        yield "Tax", row["tax"], row["currency"]
        yield "Invoiced", row["total"], row["currency"]
        yield "Change of revenue against the month before", row["change"], row["currency"]
    yield "Neon cost", report["costs"]["total"], report["costs"]["currency"]
    yield "Margin", report["margin"]["margin"], report["margin"]["currency"]
    yield "Customers invoiced", str(figures["customers_invoiced"]), "customers"
    yield "Projects with usage", str(figures["projects_with_usage"]), "projects"
    yield "Alerts recorded in the month", str(figures["alerts"]), "alerts"
