"""Cells and tables of the printed report: how a row's value of each kind is written.

Pure: rows in, texts out. Must not know which tables the report has.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from metering.core.money import COST_CURRENCY, minor_units
from metering.core.rows import Row
from metering.rendering import figures
from metering.reporting import columns

ROWS_SHOWN = 25
Cell = str | tuple[str, str]
"""A text, or one with a smaller one below it."""
NONE = "–"


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, how a row's cell is told, and on which side it stands."""

    label: str
    cell: Callable[[Row], Cell]
    align: str = "left"


def table(
    caption: str,
    rows: Sequence[Row],
    columns: Sequence[Column],
    *,
    foot: Sequence[Sequence[str]] = (),
    shown: int = ROWS_SHOWN,
) -> dict[str, Any] | None:
    """A table of the first rows; None without any."""
    if not rows:
        return None
    cells = [[column.cell(row) for column in columns] for row in rows[:shown]]
    return {
        "caption": caption,
        "columns": [{"label": column.label, "align": column.align} for column in columns],
        "rows": [[_pair(cell) for cell in row] for row in cells],
        "foot": [list(row) for row in foot],
        "more": f"and {count(len(rows) - shown)} more in the files beside this one" if len(rows) > shown else None,
    }


def _pair(cell: Cell) -> list[str]:
    return [cell, ""] if isinstance(cell, str) else list(cell)


def text(name: str) -> Callable[[Row], Cell]:
    """A column of texts."""
    return lambda row: str(row[name] if row[name] is not None else NONE)


def amount(name: str, currency: str | None = None) -> Callable[[Row], Cell]:
    """A column of money, in the row's currency or that given."""
    return lambda row: money(row[name], currency or row["currency"])


def number(name: str, places: int | None = 3) -> Callable[[Row], Cell]:
    """A column of numbers, shortened to so many places."""
    return lambda row: NONE if row[name] is None else figures.printed(str(row[name]), places)


def money(text: str | None, currency: str) -> str:
    """An amount with the places of its currency."""
    return NONE if text is None else figures.printed(text, minor_units(currency))


def count(number: int | str) -> str:
    """A whole number."""
    return figures.printed(str(number))


def change(row: Row) -> str:
    """The change of an amount since the month before."""
    if row["change"] is None:
        return NONE
    return figures.printed_change(row["change"], minor_units(row["currency"]))


def percent(text: str | None) -> str:
    """A percentage."""
    return NONE if text is None else f"{figures.printed(text)} %"


def change_cell(row: Row) -> Cell:
    """The change, with its percentage below."""
    return change(row), f"{figures.printed_change(row['change_percent'])} %" if row["change_percent"] else ""


def project(row: Row) -> Cell:
    """The name of a project, with its id below where that differs."""
    name = row["project_name"] or row["project_id"] or ""
    return name, row["project_id"] if row["project_id"] and row["project_id"] != name else ""


def customer(row: Row) -> Cell:
    """The name of a customer, with the id below where that differs."""
    name = row["customer_name"] or row["customer"] or NONE
    return name, row["customer"] if row["customer"] and row["customer"] != name else ""


def was(row: Row, name: str, currency: str) -> Cell:
    """An amount in Neon’s currency or another, with that of the month before below."""
    before = row[f"previous_{name}"]
    return money(row[name], currency), "" if before is None else f"was {money(before, currency)}"


def cost_columns() -> list[Column]:
    """What the rows cost at Neon and the margin they leave."""
    return [
        Column("Neon cost", lambda row: was(row, "neon_cost", COST_CURRENCY), "right"),
        Column("Margin", lambda row: was(row, "margin", COST_CURRENCY), "right"),
    ]


def column(listed: columns.Column, cell: Callable[[Row], Cell] | None = None) -> Column:
    """A column of the catalogue; without a `cell` of its own it is printed as its kind is."""
    by_kind: dict[str, Callable[[Row], Cell]] = {
        "customer": customer,
        "project": project,
        "amount": amount(listed.name),
        "list": lambda row: ", ".join(row[listed.name]) or NONE,
        "percent": lambda row: percent(row[listed.name]),
        **dict.fromkeys(("number", "quantity"), number(listed.name, None)),
    }
    align = "right" if listed.is_number else "left"
    return Column(listed.heading, cell or by_kind.get(listed.kind, text(listed.name)), align)
