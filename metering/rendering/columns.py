"""A column of a table: its name, its heading, the kind of its cells, and where it is shown.

Data. Which columns a table has is in reporting/columns.py and web/tables.py. Must not know how a cell of a kind looks.
"""

import re
from dataclasses import dataclass

NUMBERS = {"number", "quantity", "amount", "change", "percent", "bytes"}
"""Kinds of columns that hold decimal strings."""


_COST = re.compile(r"(.+_)?(costs?|margins?|markups?)(_.+)?|neon|reconciliation|of_branches")


def is_cost(name: str) -> bool:
    """Whether a column, or a member of a document, is what Neon charges us or what is left of the revenue.

    Whoever may not see cost is shown none of them. A new figure belongs to them by its name.
    """
    return _COST.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`kind` says how a cell is printed; one that is not `shown` is only searched and downloaded on the dashboard."""

    name: str
    title: str = ""
    kind: str = "text"
    shown: bool = True
    is_on_web: bool = True

    @property
    def is_number(self) -> bool:
        """Whether its cells are decimal strings."""
        return self.kind in NUMBERS

    @property
    def is_cost(self) -> bool:
        """Whether it is cost or margin."""
        return is_cost(self.name)

    @property
    def heading(self) -> str:
        """The text above it."""
        return self.title or self.name.replace("_", " ").capitalize()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A table of the report that the dashboard lists too: its columns in the dashboard's order.

    `files` gives the order there; `api` has the columns that the API's description promises, where `?` marks one that
    may be null.
    """

    columns: tuple[Column, ...]
    files: str
    api: str = ""

    def column(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)


def parsed(text: str) -> tuple[Column, ...]:
    """A column a line: name, kind, heading if it is not the name; `-` marks one not shown, `~` one not on the web."""
    return tuple(
        Column(name=name.lstrip("-~"), kind=kind, title=" ".join(title), shown=name[0] != "-", is_on_web=name[0] != "~")
        for name, kind, *title in map(str.split, text.strip().splitlines())
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """A column of a printed table. One that is `roomy` is left out of the page on a narrow screen."""

    name: str
    kind: str
    title: str = ""
    media: tuple[str, ...] = ("page", "paper")
    roomy: bool = False

    @property
    def heading(self) -> str:
        """The text above it; a blank where there is none."""
        return self.title or self.name.removesuffix("_id").replace("_", " ").capitalize()


def printed(text: str) -> tuple[Printed, ...]:
    """`name/kind:Heading` a column; `+` marks one on the page alone, `=` one on paper alone, `.` a roomy one."""
    return tuple(map(_printed, text.split()))


def _printed(text: str) -> Printed:
    token, _, title = text.partition(":")
    name, _, kind = token.lstrip("+=.").partition("/")
    marks = token[: len(token) - len(token.lstrip("+=."))]
    media = ("page",) if "+" in marks else ("paper",) if "=" in marks else ("page", "paper")
    return Printed(name=name, kind=kind, title=title.replace("_", " "), media=media, roomy="." in marks)
