"""Rows as plain dictionaries: grouping, sums and the days of a period. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any, TypeVar

from metering.core.money import exact_sum, exact_text
from metering.core.period import DAY, Period, days, parse_time

Json = dict[str, Any]


# Rows are plain dictionaries with the keys of the public interface; this is the one place that says so.
Row = Mapping[str, Any]


Table = list[dict[str, Any]]


Item = TypeVar("Item")
Key = TypeVar("Key")


def grouped(rows: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Key -> its rows, both in the order of the rows."""
    groups: defaultdict[Key, list[Item]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def column_sum(rows: Iterable[Row], column: str) -> Fraction:
    """The exact sum of a column of decimal strings."""
    return exact_sum(row[column] for row in rows)


def distinct(rows: Iterable[Row], column: str) -> list[str]:
    """The values of a column, sorted, each once, without null."""
    return sorted({row[column] for row in rows} - {None})


def every_day(month: Period, as_of: datetime, gaps: Iterable[Row], rows: Iterable[Row]) -> Table:
    """Every day of the month that had begun by `as_of`, with the sum of its rows {day, quantity}.

    `has_gap` marks a day of which something is not known.
    """
    known = grouped(rows, lambda row: str(row["day"])[:10])
    unknown = [Period(start=parse_time(gap["start"]), end=parse_time(gap["end"])) for gap in gaps]
    return [
        {
            "day": f"{day:%Y-%m-%d}",
            "quantity": exact_text(column_sum(known.get(f"{day:%Y-%m-%d}", []), "quantity")),
            "has_gap": any(gap.overlap(Period(start=day, end=day + DAY)) for gap in unknown),
        }
        for day in days(month)
        if day < as_of
    ]
