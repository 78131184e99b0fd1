r"""CSV as other systems import it: RFC 4180, `\r\n`, UTF-8; text that a spreadsheet would run is guarded.

Pure. Numbers, dates and codes are ours and stand as they are; text comes from outside and is made harmless.
"""

import re
from collections.abc import Iterable, Sequence

from metering.core.formulas import imported, opened
from metering.core.text import visible

Cell = str | None
_BREAKS = re.compile(r"[\t\n\v\f\r]+")


def plain(value: str | None) -> str | None:
    """Somebody's text on one line, without control characters and direction marks."""
    return None if value is None else " ".join(visible(value).split())


def text(value: str | None) -> str | None:
    """Somebody's text as a cell of a file that people open: with an apostrophe where it would begin a formula."""
    return None if value is None else opened(plain(value) or "")


def name(value: str | None) -> str | None:
    """Somebody's text as a cell of a file that importers read: names and the blanks inside them stay as they are."""
    return None if value is None else imported(_BREAKS.sub(" ", visible(value)).strip())


def file(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """The whole file; None is an empty cell."""
    return "".join(",".join(map(_quoted, row)) + "\r\n" for row in (columns, *rows))


def _quoted(cell: Cell) -> str:
    if cell is None:
        return ""
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell
