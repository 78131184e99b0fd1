"""A list as its address requests it: searched, filtered, sorted and paged; and the links to other views of it.

Pure: rows and parameters in, the rows to show out. Knows that cells are decimal strings, times, names; must not know
where rows come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from urllib.parse import urlencode

from metering.core.ids import canonical
from metering.core.rows import Row
from metering.core.text import visible
from metering.rendering.columns import Column
from metering.rendering.tables import NUMBER, TEXT

ROWS_PER_PAGE = 50
MOST_CHOICES = 60
"""A column with more distinct values than this gets no filter."""
LONGEST_SEARCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The definition of a list: its columns, the searched ones, and those that have a filter."""

    name: str
    title: str
    columns: tuple[Column, ...]
    searched: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    empty: str = "Nothing to show."

    @property
    def hint(self) -> str:
        """The text of the search field: the searched columns."""
        return ", ".join(column.heading.lower() for column in map(self.column, self.searched[:3]) if column)

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((column for column in self.columns if column.name == name), None)

    def kinds(self) -> dict[str, str]:
        """Column -> `text` or `number`, for files."""
        return {column.name: NUMBER if column.is_number else TEXT for column in self.columns}


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """A table with its rows. Everything that needs a scan of all rows is computed once and kept.

    A row is identified by its position in the sheet, so that a request handles numbers instead of cells.
    """

    table: Table
    rows: Sequence[Row]
    _ranks: dict[str, list[int | None]] = field(default_factory=dict)

    @cached_property
    def options(self) -> dict[str, Sequence[str]]:
        """The sorted values of each filter; none where there are too many."""
        return {name: sorted(places) if len(places) <= MOST_CHOICES else [] for name, places in self.places_of.items()}

    @cached_property
    def places_of(self) -> dict[str, dict[str, set[int]]]:
        """Filter -> value -> the positions of the rows with it."""
        found: dict[str, dict[str, set[int]]] = {}
        for name in self.table.choices:
            places = found[name] = {}
            for place, row in enumerate(self.rows):
                for value in _texts(row.get(name)):
                    places.setdefault(value, set()).add(place)
        return found

    @cached_property
    def currency(self) -> str | None:
        """The currency of all rows; None where they have several or none."""
        found = {row.get("currency") for row in self.rows} - {None}
        return str(found.pop()) if len(found) == 1 else None

    def ranks(self, column: Column) -> list[int | None]:
        """The rank of each row's cell in the column; equal cells have the same rank, an empty one None."""
        if column.name not in self._ranks:
            cells = [row.get(column.name) for row in self.rows]
            key = _number if column.is_number else _text
            keys = [None if cell is None else key(cell) for cell in cells]
            order = {key: rank for rank, key in enumerate(sorted({key for key in keys if key is not None}))}
            self._ranks[column.name] = [None if key is None else order[key] for key in keys]
        return self._ranks[column.name]

    @cached_property
    def texts(self) -> list[str]:
        """The searched text of each row."""
        names = self.table.searched
        cells = ((part for name in names for part in _texts(row.get(name))) for row in self.rows)
        return [canonical("\n".join(parts)).casefold() for parts in cells]

    def prepare(self) -> None:
        """Computes everything that is kept, and the order by each shown column."""
        self.options, self.texts, self.currency  # noqa: B018 - computes and keeps them
        for column in self.table.columns:
            if column.shown:
                self.ranks(column)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A table with the request: all matching rows, and the page of them that is shown."""

    table: Table
    path: str
    parameters: Mapping[str, str]
    whole: int
    rows: Sequence[Row]
    page: int
    options: Mapping[str, Sequence[str]]
    currency: str | None
    """The currency of all rows of the sheet; None where there are several, or none."""

    @property
    def pages(self) -> int:
        """The number of pages; at least one."""
        return max(1, -(-len(self.rows) // ROWS_PER_PAGE))

    @property
    def page_rows(self) -> Sequence[Row]:
        """The rows of the page."""
        start = (self.page - 1) * ROWS_PER_PAGE
        return self.rows[start : start + ROWS_PER_PAGE]

    @property
    def shown(self) -> Sequence[Column]:
        """The columns of the page."""
        return [column for column in self.table.columns if column.shown]

    @property
    def has_currency(self) -> bool:
        """Whether the list has a column with the currency."""
        return self.table.column("currency") is not None

    @property
    def unfiltered(self) -> str:
        """The address of the list without search and filters."""
        return self.address(q=None, page=None, **dict.fromkeys(self.table.choices))

    @property
    def search(self) -> str:
        """The searched text."""
        return self.parameters.get("q", "")

    @property
    def is_narrowed(self) -> bool:
        """Whether a search or a filter hides rows."""
        return bool(self.search) or any(name in self.parameters for name in self.table.choices)

    @property
    def kept(self) -> list[tuple[str, str]]:
        """The parameters that the search form repeats: all but its own fields and the page."""
        own = {"q", "page", *self.options}
        return [(name, value) for name, value in self.parameters.items() if name not in own]

    def sorting(self, column: Column) -> str:
        """`ascending`, `descending` or `none`, for the attribute aria-sort."""
        asked = self.parameters.get("sort", "")
        return {column.name: "ascending", f"-{column.name}": "descending"}.get(asked, "none")

    def address(self, **changes: str | int | None) -> str:
        """The address of the same list with other parameters; None leaves one out."""
        query = urlencode([(name, value) for name, value in {**self.parameters, **changes}.items() if value])
        return f"{self.path}?{query}" if query else self.path

    def sorted_by(self, column: Column) -> str:
        """The address of the list sorted by a column: numbers descending first; a second click reverses the order."""
        first, second = (f"-{column.name}", column.name) if column.is_number else (column.name, f"-{column.name}")
        return self.address(sort=second if self.parameters.get("sort") == first else first, page=None)


def listing(sheet: Sheet, path: str, parameters: Mapping[str, str]) -> Listing:
    """The sheet reduced by the parameters `q`, `sort`, `page` and one per filter.

    Unknown parameters are kept in links and have no effect; a page beyond the last is the last.
    """
    known = {name: value for name, value in parameters.items() if value and name != "format"}
    found = _sorted(sheet, _matching(sheet, known), known.get("sort", ""))
    asked = known.get("page", "1")
    page = int(asked[:9]) if asked.isascii() and asked.isdigit() else 1
    last = max(1, -(-len(found) // ROWS_PER_PAGE))
    options = {
        name: values if name not in known or known[name] in values else [*values, known[name]]
        for name, values in sheet.options.items()
    }
    return Listing(
        table=sheet.table,
        path=path,
        parameters=known,
        whole=len(sheet.rows),
        rows=[sheet.rows[place] for place in found],
        currency=sheet.currency,
        page=min(max(page, 1), last),
        options={name: values for name, values in options.items() if len(values) > 1 or name in known},
    )


def _matching(sheet: Sheet, asked: Mapping[str, str]) -> Sequence[int]:
    """The positions of the matching rows, in order."""
    places: Sequence[int] = range(len(sheet.rows))
    for name in sheet.table.choices:
        if wanted := asked.get(name):
            having = sheet.places_of[name].get(wanted, set())
            places = [place for place in places if place in having]
    texts = sheet.texts
    for word in canonical(asked.get("q", "")[:LONGEST_SEARCH]).casefold().split():
        places = [place for place in places if word in texts[place]]
    return places


def _texts(value: object) -> list[str]:
    if isinstance(value, list | tuple):
        return [str(part) for part in value]
    return [] if value is None else [str(value)]


def _sorted(sheet: Sheet, places: Sequence[int], asked: str) -> Sequence[int]:
    """The positions sorted by the rank of their cells; rows with an empty cell come last."""
    column = sheet.table.column(asked.removeprefix("-"))
    if column is None:
        return places
    ranks = sheet.ranks(column)
    known = [place for place in places if ranks[place] is not None]
    known.sort(key=lambda place: ranks[place] or 0, reverse=asked.startswith("-"))
    return [*known, *(place for place in places if ranks[place] is None)]


def _number(cell: object) -> Decimal:
    return Decimal(str(cell))


def _text(cell: object) -> str:
    return visible(" ".join(_texts(cell))).casefold()
