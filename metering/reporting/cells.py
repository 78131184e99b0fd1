"""The cells of the report's tables on its page and on paper: how a row's value of each kind is written.

Pure: rows in, texts out. Must not know which tables the report has, nor what a cell looks like.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from metering.core.money import COST_CURRENCY, minor_units
from metering.core.rows import Row
from metering.core.text import words
from metering.rendering import figures
from metering.rendering.columns import Printed

ROWS_SHOWN = 25
NONE = "–"


class Cell(NamedTuple):
    """A text, its unit, and a smaller text below it."""

    text: str
    unit: str = ""
    below: str = ""


def cell(column: Printed, row: Row) -> Cell:
    """The cell of a row."""
    found = KINDS[column.kind](row, column.name)
    return found if isinstance(found, Cell) else Cell(found)


def is_figure(column: Printed) -> bool:
    """Whether its cells stand on the right."""
    return column.kind in _FIGURES


def table(
    caption: str,
    rows: Sequence[Row],
    columns: Sequence[Printed],
    *,
    foot: Sequence[Sequence[str]] = (),
    shown: int = ROWS_SHOWN,
) -> dict[str, Any] | None:
    """A table of the first rows for `report.typ`; None without any."""
    if not rows:
        return None
    cells = [[cell(column, row) for column in columns] for row in rows[:shown]]
    return {
        "caption": caption,
        "columns": [{"label": column.heading, "align": "right" if is_figure(column) else "left"} for column in columns],
        "rows": [[[f"{found.text} {found.unit}".rstrip(), found.below] for found in row] for row in cells],
        "foot": [list(row) for row in foot],
        "more": f"and {count(len(rows) - shown)} more in the files beside this one" if len(rows) > shown else None,
    }


def money(text: str | None, currency: str) -> str:
    """An amount with the places of its currency."""
    return NONE if text is None else figures.printed(text, minor_units(currency))


def count(number: int | str) -> str:
    """A whole number."""
    return figures.printed(str(number))


def change(row: Row) -> str:
    """The change of an amount since the month before."""
    return NONE if row["change"] is None else figures.printed_change(row["change"], minor_units(row["currency"]))


def percent(number: str | int | None) -> str:
    """A percentage."""
    return NONE if number is None else f"{figures.printed(str(number))} %"


Written = str | Cell
Kind = Callable[[Row, str], Written]


def _number(places: int | None) -> Kind:
    return lambda row, name: NONE if row[name] is None else figures.printed(str(row[name]), places)


def _named(row: Row, name: str, identifier: str) -> Cell:
    """A name, with the id below where that differs."""
    shown = row[name] or row[identifier] or ""
    return Cell(shown, below=row[identifier] if row[identifier] and row[identifier] != shown else "")


def _customer(row: Row, _: str) -> Cell:
    found = _named(row, "customer_name", "customer")
    return found if found.text else Cell(NONE)


def _before(text: str | None, currency: str) -> str:
    return "" if text is None else f"was {money(text, currency)}"


def _signed(text: str | None) -> str:
    return "" if text is None else f"{figures.printed_change(text)} %"


def _growth(row: Row, name: str) -> str:
    return _signed(row[name]) or ("" if row["change"] is None else "new")


def _moved(row: Row, _: str) -> Cell:
    return Cell(change(row), below=_signed(row["change_percent"]) if row["reason"] == "changed" else row["reason"])


def _short(row: Row, name: str) -> Written:
    text = row[name]
    return "" if text is None else Cell(figures.printed(text, 1 if "." in text else 0), row["unit"] or "")


def _with_currency(none: str) -> Kind:
    return lambda row, name: Cell(money(row[name], row["currency"]), row["currency"]) if row[name] is not None else none


def _since(row: Row, name: str) -> Written:
    if not row[name]:
        return "no compute in the month"
    return Cell(figures.printed_day(row[name]), below=f"{count(row['idle_days'])} days")


def _limit(row: Row, name: str) -> Written:
    return Cell(count(row[name]), below=f"{percent(row['limit_percent'])} used") if row[name] else ""


def _worth(row: Row, name: str) -> Written:
    if not row.get(name):
        return NONE
    return Cell(money(row[name], row["currency"]), row["currency"], f"by {row['priced_as']}")


_TEXTS: Mapping[str, Kind] = {
    **dict.fromkeys(("text", "name", "level"), lambda row, name: str(NONE if row[name] is None else row[name])),
    **dict.fromkeys(("plain", "blank"), lambda row, name: row[name] or ""),
    "id": lambda row, name: row[name] or NONE,
    "payer": lambda row, name: row[name] or "nobody",
    "plan": lambda row, name: row[name] or "No plan",
    "numbered": lambda row, name: row[name] or "Draft",
    "words": lambda row, name: (row[name] or NONE).replace("_", " "),
    "sentence": lambda row, name: words(row[name]),
    "item": lambda row, _: figures.label(row),
    "ids": lambda row, name: ", ".join(row[name]) or NONE,
    "invoices": lambda row, name: ", ".join(row[name]) or "Draft",
    "flag": lambda row, name: "yes" if row[name] else "no",
    "customer": _customer,
    "project": lambda row, _: _named(row, "project_name", "project_id"),
    "described": lambda row, name: Cell(row[name], below=row["project_id"] or ""),
    "since": _since,
    "span": lambda row, _: figures.printed_span(row["from"], row["to"]),
    "moment": lambda row, name: figures.printed_moment(row[name]) if row[name] else NONE,
}
_FIGURES: Mapping[str, Kind] = {
    **{"number": _number(None), "count": _number(0), "tenth": _number(1), "thousandth": _number(3), "short": _short},
    "measured": lambda row, name: Cell(figures.printed(row[name], 3), row["unit"] or "") if row[name] else "",
    "amount": lambda row, name: money(row[name], row["currency"]),
    "cost": lambda row, name: money(row[name], COST_CURRENCY),
    "cost_was": lambda row, name: Cell(
        money(row[name], COST_CURRENCY), below=_before(row[f"previous_{name}"], COST_CURRENCY)
    ),
    "shared": lambda row, name: Cell(money(row[name], row["currency"]), below=percent(row["share_percent"])),
    **{"money": _with_currency(NONE), "owed": _with_currency(""), "billed": _with_currency(NONE)},
    "change": lambda row, _: change(row),
    "change_was": lambda row, _: Cell(change(row), below=_before(row["previous_subtotal"], row["currency"])),
    "compared": lambda row, _: Cell(change(row), below=_signed(row["change_percent"])),
    "growth": _growth,
    "signed": lambda row, name: _signed(row[name]) or NONE,
    "moved": _moved,
    "bar": lambda *_: "",
    **dict.fromkeys(("percent", "filled"), lambda row, name: percent(row[name])),
    "limit": _limit,
    "worth": _worth,
}
KINDS: Mapping[str, Kind] = {**_TEXTS, **_FIGURES}
"""Kind of a printed column -> how its cell is written."""
