"""Writes a list as CSV, JSON or XLSX, with all matching rows and all columns.

Pure: a listing in, bytes out. Text that looks like a formula stays text; a number keeps all its digits.
"""

import json

from metering.core.period import parse_time
from metering.rendering.tables import cell, csv_text
from metering.rendering.workbook import single_sheet
from metering.web.listing import Listing

TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
"""Format -> media type."""


def content(listing: Listing, form: str, as_of: str) -> bytes:
    """The file in one of TYPES; the same figures give the same bytes."""
    names = [column.name for column in listing.table.columns]
    rows = [{name: row.get(name) for name in names} for row in listing.rows]
    if form == "json":
        told = {"table": listing.table.name, "as_of": as_of, "rows": rows}
        return (json.dumps(told, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")
    cells = [{name: cell(value) for name, value in row.items()} for row in rows]
    if form == "csv":
        return csv_text(listing.table.kinds(), cells).encode("utf-8", "backslashreplace")
    assert form == "xlsx", form
    return single_sheet(listing.table.name, listing.table.kinds(), cells, parse_time(as_of).date())
