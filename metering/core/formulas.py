"""Guards text in CSV files against spreadsheets that would run it as a formula: it gets an apostrophe before it.

Must not know any file. A spreadsheet shows what follows the apostrophe as text; an importer takes the apostrophe for a
part of the name, so its files are guarded only where a formula could do something.
"""

import re

_BEGINS = re.compile(r"\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How formulas begin, in full width too."""
_BREAKS = re.compile(r"[\t\r\n]")
_RUNS = re.compile(r"[(|!\uff08\uff5c\uff01]")
"""What calls a function, starts a program or reads another sheet."""


def opened(text: str) -> str:
    """Text for a file that people open: guarded wherever it would begin a formula."""
    return f"'{text}" if _BEGINS.match(text) else text


def imported(text: str) -> str:
    """Text for a file that importers read: unchanged, except where a spreadsheet would run it."""
    is_formula = _BREAKS.match(text) or (_BEGINS.match(text) and _RUNS.search(text))
    return f"'{text}" if is_formula else text
