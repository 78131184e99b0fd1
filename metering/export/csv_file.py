r"""CSV as other systems import it: RFC 4180, `\r\n`, UTF-8; text that looks like a formula is guarded.

Pure. Numbers, dates and codes are ours and stand as they are; text comes from outside and is made harmless.
"""

from collections.abc import Iterable, Sequence

from metering.figures import visible
from metering.report_tables import guarded

Cell = str | None


def plain(value: str | None) -> str | None:
    """Somebody's text on one line, without control characters and direction marks."""
    return None if value is None else " ".join(visible(value).split())


def text(value: str | None) -> str | None:
    """The same as a cell: with an apostrophe in front where it would begin a formula."""
    return None if value is None else guarded(plain(value) or "")


def file(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """The whole file; None is an empty cell."""
    return "".join(",".join(map(_quoted, row)) + "\r\n" for row in (columns, *rows))


def _quoted(cell: Cell) -> str:
    if cell is None:
        return ""
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell
