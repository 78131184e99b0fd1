"""The report as an XLSX workbook: a summary, and one sheet per table with typed cells and totals.

Equal data give equal bytes. Text is always a string cell, so no name becomes a formula. A spreadsheet's number has 15
digits: fractions are rounded to these; whole numbers and money that need more stay exact, as text.
"""

import io
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from typing import Any

import xlsxwriter  # type: ignore[import-untyped]

from metering.core.formulas import opened
from metering.core.money import COST_CURRENCY, exact_sum, minor_units
from metering.core.period import parse_time
from metering.core.rows import Row, distinct
from metering.core.text import visible
from metering.rendering.figures import money_text
from metering.rendering.tables import NUMBER

DIGITS = 15
"""Significant digits that a spreadsheet keeps of a number."""
MONEY_PLACES = 4
"""A number with more places than any currency is a quantity, or a cost that is not rounded to cents."""
ROWS_MOST = 1_048_000
"""A sheet has at most 1,048,576 rows; a note says that the rest is in the CSV."""
TEXT_MOST = 32_767
OPTIONS = {"in_memory": True, "strings_to_numbers": False, "strings_to_formulas": False, "strings_to_urls": False}
_ROUNDED = Context(prec=DIGITS, rounding=ROUND_HALF_UP)
_MONEY = {
    *("subtotal", "tax", "total", "previous_subtotal", "change", "amount", "base_fees", "usage", "unit_price"),
    "worth",
}
_COST = {"neon_cost", "margin", "previous_neon_cost", "previous_margin", "of_branches"}
"""Columns with amounts in Neon's currency, whatever the row's currency is."""
_SUMMED = (_MONEY - {"unit_price"}) | _COST
_MOMENTS = {"start", "end", "from", "to", "issued_at", "due_at", "observed_at", "as_of", "created_at", "last_active_at"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
NUMBER_TEXT = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def single_sheet(name: str, columns: Row, rows: Sequence[Row], created_on: date) -> bytes:
    """A workbook of one table; `columns`: name -> `text` or `number`, cells are text or None."""
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, OPTIONS) as book:
        book.set_properties({"title": sheet_title(name), "created": datetime.combine(created_on, time()), "author": ""})
        Sheet(book.add_worksheet(sheet_title(name)), columns, Styles(book)).fill(rows, name)
    return buffer.getvalue()


def sheet_title(name: str) -> str:
    """`customer_name` as `Customer name`; a sheet's name has at most 31 characters, some of which are not allowed."""
    spaced = re.sub(r"[\[\]:*?/\\']", " ", name.replace("_", " "))
    return (spaced[:1].upper() + spaced[1:])[:31]


class Styles:
    """Cell formats, each created once: a workbook numbers them in the order of creation."""

    def __init__(self, book: xlsxwriter.Workbook) -> None:
        self._book = book
        self._made: dict[tuple[tuple[str, Any], ...], Any] = {}

    def __call__(self, **properties: Any) -> Any:
        """The format of these properties."""
        key = tuple(sorted(properties.items()))
        if key not in self._made:
            self._made[key] = self._book.add_format({"font_name": "Calibri", "font_size": 11, **properties})
        return self._made[key]


class Sheet:
    """One table on its sheet, row by row from the top."""

    def __init__(self, sheet: Any, columns: Row, styles: Styles) -> None:
        self._sheet, self._columns, self._styles = sheet, columns, styles

    def fill(self, rows: Sequence[Row], table: str) -> None:
        """Writes header, rows and totals; the header is frozen and has filters."""
        for at, name in enumerate(self._columns):
            kind = {"align": "right"} if self._columns[name] == NUMBER else {}
            heading = sheet_title(name) + (" (UTC)" if name in _MOMENTS else "")
            self._sheet.write_string(0, at, heading, self._styles(bold=True, bottom=1, text_wrap=True, **kind))
            self._sheet.set_column(at, at, _width(heading, (row[name] for row in rows[:2000])))
        shown = rows[:ROWS_MOST]
        for line, row in enumerate(shown, start=1):
            for at, name in enumerate(self._columns):
                self._write(line, at, name, row)
        self._sheet.freeze_panes(1, 1)
        if shown:
            self._sheet.autofilter(0, 0, len(shown), len(self._columns) - 1)
        end = len(shown) + 2
        if len(rows) > len(shown):
            self._sheet.write_string(end, 0, f"and {len(rows) - len(shown)} more rows, in {table}.csv", self._styles())
        elif table != "totals":
            self._totals(end, rows)

    def _write(self, line: int, at: int, name: str, row: Row) -> None:
        text = row[name]
        if text is None:
            return
        if self._columns[name] == NUMBER and NUMBER_TEXT.fullmatch(text):
            self.number(line, at, text, number_format(name, text, row))
        elif name in _MOMENTS and _TIME.fullmatch(text):
            moment = parse_time(text).replace(tzinfo=None)
            self._sheet.write_datetime(line, at, moment, self._styles(num_format="yyyy-mm-dd hh:mm:ss", align="left"))
        elif name == "day" and _DAY.fullmatch(text):
            self._sheet.write_datetime(
                line, at, date.fromisoformat(text), self._styles(num_format="yyyy-mm-dd", align="left")
            )
        else:
            self.text(line, at, text)

    def text(self, line: int, at: int, text: str) -> None:
        """Writes a string cell, marked as text where it looks like a formula."""
        shown = visible(text)[:TEXT_MOST]
        quoted = {"quote_prefix": True} if opened(shown) != shown else {}
        self._sheet.write_string(line, at, shown, self._styles(**quoted))

    def number(self, line: int, at: int, text: str, form: str) -> None:
        """Writes a number cell, or text where a spreadsheet would lose digits."""
        number = spreadsheet_number(text)
        if number is None:
            self._sheet.write_string(line, at, text, self._styles(align="right"))
        else:
            self._sheet.write_number(line, at, number, self._styles(num_format=form))

    def _totals(self, line: int, rows: Sequence[Row]) -> None:
        """Writes a line per currency with the sums of its rows, as formulas with their values."""
        has_currency = "currency" in self._columns
        wanted = _SUMMED if has_currency else _COST
        summed = [
            (at, name) for at, (name, kind) in enumerate(self._columns.items()) if kind == NUMBER and name in wanted
        ]
        if not rows or not summed:
            return
        currencies = distinct(rows, "currency") if has_currency else []
        if COST_CURRENCY not in currencies and any(name in _COST for _, name in summed):
            currencies.append(COST_CURRENCY)
        for offset, currency in enumerate(currencies):
            self._sheet.write_string(line + offset, 0, f"Total {currency}", self._styles(bold=True, top=1))
            style = self._styles(bold=True, top=1, num_format=money_format(currency))
            for at, name in summed:
                if name in _COST and currency != COST_CURRENCY:
                    continue
                mine = rows if name in _COST else [row for row in rows if row["currency"] == currency]
                value = spreadsheet_number(money_text(_sum(mine, name), currency))
                formula = self._formula(at, None if name in _COST else currency, len(rows))
                self._sheet.write_formula(line + offset, at, formula, style, value or 0)

    def _formula(self, at: int, currency: str | None, count: int) -> str:
        """The formula of a column's sum, or of its sum over the rows of one currency."""
        cells = f"{_letters(at)}2:{_letters(at)}{count + 1}"
        if currency is None:
            return f"=SUM({cells})"
        key = _letters(list(self._columns).index("currency"))
        return f'=SUMIF({key}2:{key}{count + 1},"{currency}",{cells})'


def _sum(rows: Sequence[Row], name: str) -> Fraction:
    """The exact sum of a column's cells; empty cells are skipped."""
    return exact_sum(row[name] for row in rows if row[name] is not None)


def spreadsheet_number(text: str) -> Decimal | None:
    """The number as a spreadsheet can hold it; None for a whole number or an amount of money of more digits."""
    number = Decimal(text)
    digits, exponent = len(number.normalize().as_tuple().digits), number.as_tuple().exponent
    assert isinstance(exponent, int), "a figure is finite"
    if digits <= DIGITS:
        return number
    return _ROUNDED.plus(number) if exponent < -MONEY_PLACES and number.adjusted() < DIGITS else None


def number_format(name: str, text: str, row: Row) -> str:
    """The spreadsheet's format of a cell, by its column's name and its digits."""
    if name in _COST:
        return money_format(COST_CURRENCY)
    if name == "unit_price":
        return "#,##0.00########"
    if name in _MONEY:
        return money_format(row.get("currency") or COST_CURRENCY)
    if name.endswith("percent"):
        return "0.00"
    return "#,##0.000" if "." in text else "#,##0"


def money_format(currency: str) -> str:
    """The spreadsheet's format of amounts in a currency."""
    places = minor_units(currency)
    return "#,##0" + ("." + "0" * places if places else "")


def _width(heading: str, cells: Iterator[str | None]) -> int:
    longest = max((len(cell) for cell in cells if cell), default=0)
    return min(max(longest, len(heading)) + 2, 44)


def _letters(at: int) -> str:
    """The column's letters: 0 is A, 26 is AA."""
    first, second = divmod(at, 26)
    return (chr(64 + first) if first else "") + chr(65 + second)
