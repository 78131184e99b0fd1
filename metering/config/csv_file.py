"""Reads a CSV file as people and spreadsheets save it: its records, or its faults of form with advice on saving.

Accepts everything that is unambiguous: a byte order mark, any line ends, blank lines and columns at the end, `="0012"`.
Anything ambiguous is a fault. Must not know the meaning of a column.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from metering.core.errors import Fault
from metering.core.exhaustion import is_exhausted
from metering.core.ids import canonical
from metering.core.values import closest

SAVE_AS_UTF8 = (
    'save it as "CSV UTF-8 (Comma delimited)" in Excel, as "Text CSV" with the character set "Unicode (UTF-8)" and the '
    'field delimiter "," in LibreOffice'
)
_SAVE_WITH_COMMAS = (
    'save it with commas: in LibreOffice tick "Edit filter settings" and choose the field delimiter ","; Excel takes '
    "the list separator of the system's region settings"
)
_NOT_TEXT = {
    b"\xff\xfe": "is UTF-16, what spreadsheets call Unicode Text",
    b"\xfe\xff": "is UTF-16, what spreadsheets call Unicode Text",
    b"PK\x03\x04": "is a workbook (XLSX or ODS), not CSV",
    b"\xd0\xcf\x11\xe0": "is a workbook (XLS), not CSV",
}
"""First bytes of files that are not UTF-8 text -> what they are."""
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_AS_TEXT = re.compile(r'="(.*)"', re.DOTALL)
_ROUNDED = re.compile(r"[0-9]([.,][0-9]+)?E\+[0-9]+", re.IGNORECASE)
_HALVES = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A row: its lines of text (from 0, half-open), and its cells without outer blanks."""

    first_line: int
    end_line: int
    cells: Sequence[str]


def csv_records(text: str) -> tuple[list[str], list[Record]]:
    """The names of the columns and the rows that are not blank. Raises csv.Error where a quote is wrong."""
    found = [record for record in _records(text) if any(record.cells)]
    if not found:
        return [], []
    header = [canonical(name) for name in _trimmed(found[0].cells)]
    width = len(header)
    return header, [
        Record(first_line=row.first_line, end_line=row.end_line, cells=_fitted(row.cells, width)) for row in found[1:]
    ]


def _records(text: str) -> Iterator[Record]:
    reader = csv.reader(io.StringIO(text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"), newline=""), strict=True)
    first = 0
    for cells in reader:
        yield Record(first_line=first, end_line=reader.line_num, cells=[_plain(cell) for cell in cells])
        first = reader.line_num


def _plain(cell: str) -> str:
    """The cell's text; `="0012"` is how a spreadsheet marks digits as text."""
    text = cell.strip()
    match = _AS_TEXT.fullmatch(text)
    return match[1].replace('""', '"').strip() if match else text


def _trimmed(cells: Sequence[str]) -> Sequence[str]:
    """The cells without blank ones at the end."""
    count = len(cells)
    while count and not cells[count - 1]:
        count -= 1
    return cells[:count]


def _fitted(cells: Sequence[str], width: int) -> Sequence[str]:
    """The cells without blank ones beyond the header's last column."""
    return cells if len(cells) <= width else [*cells[:width], *_trimmed(cells[width:])]


class Table:
    """A CSV file: where each row begins, and the faults of its form."""

    def __init__(self, path: Path, columns: tuple[str, ...], required: tuple[str, ...]) -> None:
        self.name = path.name
        self.faults: list[Fault] = []
        self.notes: list[Fault] = []
        self.records: list[tuple[str, int, dict[str, str]]] = []
        try:
            data = path.read_bytes()
        except OSError as error:
            if is_exhausted(error):
                raise
            what, right = f"cannot be read: {error.strerror}", "write the file, or take the key that names it out"
            self.fault(str(path), what, right)
            return
        text = self._text(data)
        if text is not None and not self._is_of_lines(text):
            try:
                self._read(text, columns, required)
            except csv.Error as error:
                self.fault(self.name, f"is not CSV: {error}", "close every quote and write a quote inside one twice")

    def fault(self, where: str, what: str, right: str = "") -> None:
        """Adds a fault."""
        self.faults.append(Fault(where=where, what=what, right=right))

    def _text(self, data: bytes) -> str | None:
        """The text; None and a fault where it is no UTF-8."""
        kind = next((what for start, what in _NOT_TEXT.items() if data.startswith(start)), None)
        if kind is None and b"\0" in data:
            kind = "holds bytes of zero, as UTF-16 and workbooks do"
        if kind is not None:
            self.fault(self.name, kind, SAVE_AS_UTF8)
            return None
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = len(data[: error.start].splitlines() or [b""]) + data[: error.start].endswith((b"\n", b"\r"))
            byte = data[error.start : error.start + 1]
            meant = byte.decode("windows-1252", errors="replace")
            what = f"is not UTF-8 (in Windows-1252 the byte 0x{byte.hex()} would be {meant!r})"
            self.fault(f"{self.name} line {line}", what, SAVE_AS_UTF8)
            return None

    def _is_of_lines(self, text: str) -> bool:
        """Whether the first line is Excel's `sep=` or has another separator than a comma; adds that fault."""
        first = next((line for line in text.splitlines() if line.strip()), "")
        where = f"{self.name} line 1"
        if re.fullmatch(r'"?sep=.?"?', first.strip(), re.IGNORECASE):
            right = "take it out" + ("" if "," in first else f", and {_SAVE_WITH_COMMAS}")
            self.fault(where, f"is {first.strip()!r}, a line that only Excel understands", right)
            return True
        for separator, name in _SEPARATORS.items():
            if separator in first and "," not in first:
                self.fault(where, f"is separated by {name}", _SAVE_WITH_COMMAS)
                return True
        return False

    def _read(self, text: str, columns: tuple[str, ...], required: tuple[str, ...]) -> None:
        header, rows = csv_records(text)
        if not self._is_header(header, columns, required):
            return
        for number, row in enumerate(rows, start=1):
            where = f"{self.name} row {number} (line {row.first_line + 1})"
            if len(row.cells) != len(header):
                self.fault(where, f"has {len(row.cells)} fields", _on_width(row.cells, len(header)))
            elif [canonical(cell) for cell in row.cells] == header:
                self.fault(where, "repeats the names of the columns", "keep the first line alone")
            else:
                filled = {name: cell for name, cell in zip(header, row.cells, strict=True) if cell}
                self.records.append((where, row.first_line + 1, filled))
                for name, cell in filled.items():
                    if _ROUNDED.fullmatch(cell):
                        right = "write the digits, and format the column as text before saving"
                        self.fault(f"{where}, {name}", f"{cell!r} is a number that a spreadsheet rounded", right)

    def _is_header(self, header: list[str], columns: tuple[str, ...], required: tuple[str, ...]) -> bool:
        where = f"{self.name} line 1"
        for name in dict.fromkeys(header):
            if not name:
                self.fault(where, f"column {header.index(name) + 1} has no name", "name it, or take the column out")
            elif name not in columns:
                self.fault(where, f"{name!r} is not a known column", f"{closest(name, columns)}")
            elif header.count(name) > 1:
                self.fault(where, f"the column {name} stands there {header.count(name)} times", "once is right")
        for name in required:
            if name not in header:
                self.fault(
                    where, f"the column {name} is missing", f"the first line names the columns: {','.join(columns)}"
                )
        return not self.faults


def _on_width(cells: Sequence[str], width: int) -> str:
    """Advice for a row with more or fewer cells than the header."""
    if len(cells) < width:
        return f"the header has {width}; write a comma for every column, also for empty ones at the end"
    halves = next((pair for pair in pairwise(cells) if all(map(_HALVES.fullmatch, pair))), None)
    if halves:
        return f"the header has {width}; write numbers with a point ({halves[0]}.{halves[1]}), or quote commas"
    return f"the header has {width}; quote commas"
