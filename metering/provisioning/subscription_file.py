"""Changes a plan in subscriptions.csv: ends the current row and adds a new one; every other byte stays unchanged.

Pure: the file's text in, the new text and its new lines out. Knows the columns, not the plans.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from metering.config import csv_records
from metering.core.errors import MeteringError
from metering.core.ids import canonical
from metering.core.period import rfc3339
from metering.core.values import moment

COLUMNS = ("project_id", "customer", "plan", "valid_from", "valid_to")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A customer's plan for a project, whatever its source."""

    project_id: str
    customer: str
    plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """A row with its lines of text (from 0, half-open)."""

    first_line: int
    end_line: int
    cells: Mapping[str, str]


def switched(text: str, before: Choice | None, after: Choice, at: datetime) -> tuple[str, list[str]]:
    """The file's text with `after` valid from `at` on; and its new lines.

    `before` is the choice until then, for a project without rows: once a project has a row, only its rows count, so the
    time before `at` needs one too. Raises MeteringError where a row begins later, or a column is missing.
    """
    lines = io.StringIO(text, newline="").readlines()
    newline = next((end for end in ("\r\n", "\r") if lines and lines[0].endswith(end)), "\n")
    header, records = _read(text)
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise MeteringError(f"the file has no column {', '.join(missing)}", hint="add it, or write the lines by hand")
    mine = [record for record in records if canonical(record.cells["project_id"]) == after.project_id]
    if any(start > at for start in (_time(record.cells["valid_from"]) for record in mine) if start):
        raise MeteringError(f"{after.project_id} has a row that begins later", hint="edit the file by hand")
    current = next((record for record in mine if _is_in_force(record.cells, at)), None)
    end = current.cells["valid_to"] if current else ""
    written: list[str] = []
    if current is not None:
        ended = {**current.cells, "valid_to": rfc3339(at)}
        line = _line(header, ended, newline)
        lines[current.first_line : current.end_line] = [] if _time(ended["valid_from"]) == at else [line]
    elif not mine and before is not None:
        written.append(_line(header, _cells(before, "", rfc3339(at)), newline))
    written.append(_line(header, _cells(after, rfc3339(at), end), newline))
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += newline
    return "".join([*lines, *written]), [line.rstrip("\r\n") for line in written]


def empty() -> str:
    """A file without rows."""
    return ",".join(COLUMNS) + "\n"


def _read(text: str) -> tuple[list[str], list[_Record]]:
    header, rows = csv_records(text)
    return header, [
        _Record(first_line=row.first_line, end_line=row.end_line, cells=dict(zip(header, row.cells, strict=True)))
        for row in rows
        if len(row.cells) == len(header)
    ]


def _time(text: str) -> datetime | None:
    return moment(text) if text else None


def _is_in_force(cells: Mapping[str, str], at: datetime) -> bool:
    start, end = _time(cells["valid_from"]), _time(cells["valid_to"])
    return (start is None or start <= at) and (end is None or at < end)


def _cells(choice: Choice, start: str, end: str) -> dict[str, str]:
    return {
        "project_id": choice.project_id,
        "customer": choice.customer,
        "plan": choice.plan,
        "valid_from": start,
        "valid_to": end,
    }


def _line(header: Sequence[str], cells: Mapping[str, str], newline: str) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator=newline).writerow([cells.get(name, "") for name in header])
    return out.getvalue()
