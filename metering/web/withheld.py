"""Takes cost and margin out of what is shown to a person who may not see them.

The one place that does: every figure of a view passes through it on its way to a page, a file, a search, a filter or
the API, so a template that prints such a figure all the same fails. Cost is recognized by the names of columns and
members (rendering/columns.py), and in sentences by their words. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from metering.rendering.columns import is_cost
from metering.web.listing import Sheet, Table

Value = TypeVar("Value")

WITHHELD = "Not shown to your role."
_TELLS_COST = re.compile(r"(?<![a-z])(costs?|margins?|markups?)(?![a-z])|neon charges", re.IGNORECASE)
_MARKUP = re.compile(r" at cost plus \S+ %")
"""What the description of a line adds whose price follows Neon's cost."""
_NAMES = {"id", "key", "customer", "customer_name", "name", "number", "plan", "project_id", "project_name"}
"""Members that hold a name that somebody gave: whatever it says, it is no figure."""
_SENTENCES = {"reason", "steps", "summary"}
"""Members with sentences about the figures beside and below them."""


def without_cost(value: Value) -> Value:
    """The value without the members that are cost or margin, and without sentences that tell them."""
    return _parted(value)[0]  # type: ignore[no-any-return]


def sentence(text: str) -> str:
    """The sentence without the markup of a price; nothing of it where it tells cost or margin."""
    text = _MARKUP.sub("", text)
    return WITHHELD if _TELLS_COST.search(text) else text


def narrowed(table: Table) -> Table:
    """The table without columns that are cost or margin."""
    columns = tuple(column for column in table.columns if not is_cost(column.name))
    return table if len(columns) == len(table.columns) else replace(table, columns=columns)


def _parted(value: Any) -> tuple[Any, bool]:
    """The value without cost, and whether it had any."""
    if isinstance(value, str):
        found = sentence(value)
        return found, found is not value
    if isinstance(value, Mapping):
        return _members(value)
    if isinstance(value, list | tuple):
        parts = [_parted(item) for item in value]
        return type(value)(item for item, _ in parts), any(had for _, had in parts)
    if isinstance(value, Sheet):
        return Sheet(table=narrowed(value.table), rows=without_cost(value.rows)), False
    return value, False


def _members(node: Mapping[Any, Any]) -> tuple[dict[Any, Any], bool]:
    kept: dict[Any, Any] = {}
    has_cost = False
    for name, value in node.items():
        if isinstance(name, str) and is_cost(name):
            has_cost = True
        elif name in _NAMES and isinstance(value, str):
            kept[name] = value
        else:
            kept[name], had = _parted(value)
            has_cost |= had
    if has_cost:
        for name in _SENTENCES & kept.keys():
            kept[name] = [WITHHELD] if isinstance(kept[name], list) else WITHHELD
    return kept, has_cost
