"""Which pages resemble each other: the answers to one request of each cycle, which the journal stores as differences.

A list's pages are told apart by their place in it: what a cursor names moves with every new project. Lists that show
other numbers of hours are different lists. Whatever is named here, every body comes back as it was received.
"""

from collections.abc import Callable, Mapping
from typing import Any

from metering.core.period import HOUR, parse_time


class Streams:
    """Names the stream of each page; `pages_before` says how many pages of a walk earlier cycles have read."""

    def __init__(self, pages_before: Callable[[int], int]) -> None:
        self._pages_before = pages_before
        self._places: dict[str, tuple[int, int]] = {}  # of each list, its walk and how many pages of it were read

    def of(self, kind: str, data: Mapping[str, Any]) -> str:
        """The stream of a record; empty for all but pages, whose bodies are the only ones that others resemble."""
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
    """How many hours the list shows; 0 where it has no window."""
    if not data.get("period_start"):
        return 0
    return (parse_time(data["period_end"]) - parse_time(data["period_start"])) // HOUR
