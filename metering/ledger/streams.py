"""Names the streams of pages that resemble each other: the answers to one request, cycle after cycle.

The journal stores the pages of a stream as differences. Pages of a list are told apart by their position, because a
cursor moves with every new project. Lists with different numbers of hours are different lists. A wrong stream costs
space only: every body is read back as it was received.
"""

from collections.abc import Callable, Mapping
from typing import Any

from metering.core.period import HOUR, parse_time


class Streams:
    """Names the stream of each page; `pages_before` says how many pages of a walk earlier cycles have read."""

    def __init__(self, pages_before: Callable[[int], int]) -> None:
        self._pages_before = pages_before
        self._places: dict[str, tuple[int, int]] = {}  # list -> its walk, and how many of its pages were read

    def of(self, kind: str, data: Mapping[str, Any]) -> str:
        """The stream of a record; empty except for pages, because only their bodies resemble each other."""
        if kind != "page":
            return ""
        listed = f"{data['organization']} {data['endpoint']} {data['path']} {data.get('grain')} {_hours(data)}"
        walk, place = self._places.get(listed, (0, 0))
        if walk != data["walk"]:
            is_later = "cursor" in data["params"]
            walk, place = data["walk"], self._pages_before(data["walk"]) if is_later else 0
        self._places[listed] = walk, place + 1
        return f"{listed} {place}"


def _hours(data: Mapping[str, Any]) -> int:
    """Number of hours that the list shows; 0 without a time window."""
    if not data.get("period_start"):
        return 0
    return (parse_time(data["period_end"]) - parse_time(data["period_start"])) // HOUR
