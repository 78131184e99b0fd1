"""Reads a list page some of whose rows cannot be read: returns the sound rows, and the ids of the others with a reason.

Pure: bytes in, parsed pages out. Takes a page apart into the bytes of its rows, and has the sound rows parsed together.
Must not know what a row means (the parsers do), nor guess any part of a row that cannot be read.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import msgspec

from metering.core.errors import PageRefusedError
from metering.neon import parse_projects, wire
from metering.neon.parse_projects import ProjectFacts
from metering.neon.wire import Envelope

Parsed = TypeVar("Parsed")

LONGEST_NAME = 1024
_TOKEN = re.compile(rb'\s*+("(?:[^"\\]++|\\.)*+"|[\[\]{},:]|[^\s"\[\]{},:]++)', re.DOTALL)
_LISTS = frozenset({b'"projects"', b'"branches"'})
_IDS = frozenset({b'"project_id"', b'"id"'})
_ID = re.compile(r"[A-Za-z0-9._-]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A row of a page that cannot be read, and why."""

    project_id: str
    fault: str


class _Times(msgspec.Struct, gc=False):
    id: str
    created_at: str | None = None
    deleted_at: str | None = None


class _ListedTimes(msgspec.Struct, gc=False):
    projects: list[_Times]


_times = msgspec.json.Decoder(_ListedTimes)


def inventory(body: bytes) -> tuple[list[ProjectFacts], tuple[str, ...], list[Unreadable]]:
    """Like `parse_projects.inventory`, plus the projects that cannot be read; a project without a name is one of them.

    Raises PageRefusedError if the body is no list page, or a faulty row has no id.
    """
    (projects, unavailable), unreadable = by_rows(body, _inventory)
    return projects, unavailable, unreadable


def envelope(body: bytes) -> Envelope:
    """Like `wire.envelope`, but faulty rows do not matter: a list continues behind a row that cannot be read."""
    try:
        return wire.envelope(body)
    except PageRefusedError as error:
        parts = _parts_or(error, body)
        return Envelope(
            items=tuple(_id_of(row) or "" for row in parts.rows),
            cursor=wire.envelope(parts.with_rows(())).cursor,
        )


def by_rows(body: bytes, parse: Callable[[bytes], Parsed]) -> tuple[Parsed, list[Unreadable]]:
    """(the rows that `parse` can read, parsed; the other rows). A page without a fault is parsed once.

    Raises PageRefusedError if the fault is not in single rows, or a faulty row has no id.
    """
    try:
        return parse(body), []
    except (PageRefusedError, OverflowError) as error:
        parts = _parts_or(error, body)
        sound, faulty = _sorted_out(parts, parse)
        if not faulty:
            raise
        return parse(parts.with_rows(sound)), faulty


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """A page's bytes: before its list, its rows, behind its list."""

    head: bytes
    rows: tuple[bytes, ...]
    tail: bytes

    def with_rows(self, rows: Iterable[bytes]) -> bytes:
        """The page with these rows only."""
        return self.head + b",".join(rows) + self.tail


def _sorted_out(parts: _Parts, parse: Callable[[bytes], Parsed]) -> tuple[list[bytes], list[Unreadable]]:
    """(sound rows, faulty rows): parses each row alone; a project that occurs twice on the page is faulty."""
    times = Counter(_id_of(row) for row in parts.rows)
    sound, faulty = [], {}
    for row in parts.rows:
        project_id = _id_of(row)
        try:
            if project_id is not None and times[project_id] > 1:
                raise PageRefusedError(f"project {project_id} stands twice on one page")
            parse(_Parts(head=b'{"projects":[', rows=(), tail=b"]}").with_rows([row]))
        except (PageRefusedError, OverflowError) as error:
            if project_id is None:
                raise
            faulty[project_id] = Unreadable(project_id=project_id, fault=str(error))
        else:
            sound.append(row)
    return sound, list(faulty.values())


def _inventory(body: bytes) -> tuple[list[ProjectFacts], tuple[str, ...]]:
    projects, unavailable = parse_projects.inventory(body)
    for project, shown in zip(projects, _times.decode(body).projects, strict=True):
        if fault := _name_fault(project.name) or _time_fault(shown):
            raise PageRefusedError(fault)
    return projects, unavailable


def _name_fault(name: str) -> str:
    if not name:
        return "its name is missing"
    if "\x00" in name:
        return "its name holds the character NUL"
    return "" if len(name) <= LONGEST_NAME else f"its name has {len(name)} characters"


def _time_fault(shown: _Times) -> str:
    for name in ("created_at", "deleted_at"):
        text = getattr(shown, name)
        try:
            datetime.fromisoformat(text or "0001-01-01")
        except ValueError:
            return f"its {name} is no time"
    return ""


# -- taking a page apart


def _parts_or(error: Exception, body: bytes) -> _Parts:
    """The page's parts; raises the error if it cannot be taken apart."""
    try:
        return _parts(body)
    except PageRefusedError:
        raise error from None


def _tokens(text: bytes) -> Iterator[tuple[bytes, int, int, int]]:
    """(token, its start, its end, how deep behind it) of JSON; raises PageRefusedError if the text is incomplete."""
    depth = end = 0
    while match := _TOKEN.match(text, end):
        end, token = match.end(), match[1]
        depth += (token in b"{[") - (token in b"}]")
        yield token, match.start(1), end, depth
    if depth or text[end:].strip():
        raise PageRefusedError("the answer is not JSON")


def _parts(body: bytes) -> _Parts:
    key = before = b""
    first = last = None
    cuts: list[int] = []
    for token, start, end, depth in _tokens(body):
        key = before if token == b":" and depth == 1 else key
        is_open = first is not None and last is None
        if token == b"[" and depth == 2 and key in _LISTS:
            if first is not None:
                raise PageRefusedError("the answer has two lists")
            first = end
        elif is_open and token == b"]" and depth == 1:
            last = start
        elif is_open and token == b"," and depth == 2:
            cuts.append(start)
        before = token
    if first is None or last is None:
        raise PageRefusedError("the answer has no list")
    bounds = zip([first, *(cut + 1 for cut in cuts)], [*cuts, last], strict=True)
    rows = tuple(row for start, end in bounds if (row := body[start:end].strip()))
    return _Parts(head=body[:first], rows=rows, tail=body[last:])


def _id_of(row: bytes) -> str | None:
    """The project's id, if the row has exactly one that can be read; otherwise None."""
    found, key, before = [], b"", b""
    for token, _, _, depth in _tokens(row):
        if depth == 1 and before == b":" and key in _IDS:
            found.append(token)
        key = before if token == b":" and depth == 1 else key
        before = token
    try:
        text = json.loads(found[0]) if len(found) == 1 else None
    except ValueError:
        return None
    return text if isinstance(text, str) and _ID.fullmatch(text) else None
