"""Takes customer and plan out of project names by a pattern, in time that grows with the names alone. Pure.

A pattern is a regular expression with the groups `customer` and `plan` that has to match a whole name. It runs in the
engine of polars (Rust's regex crate), which never tries a name twice; so it has no look-around and no back-references.
Knows no project and no plan.
"""

import re
from collections.abc import Iterable

import polars as pl

from metering.core import ids

GROUPS = ("customer", "plan")


def fault(pattern: str) -> tuple[str, str] | None:
    """(what is wrong with the pattern, what would be right); None where it can be used."""
    try:
        found = _groups(pl.Series([""]), pattern)
    except pl.exceptions.ComputeError as error:
        right = "write it in 'single quotes', without look-around and back-references"
        return f"is not a regular expression that is used here: {_reason(str(error))}", right
    missing = [group for group in GROUPS if group not in found.columns]
    return (f"has no group {missing[0]}", f"write (?P<{missing[0]}>…) around that part") if missing else None


def matched(names: Iterable[str | None], pattern: str | None) -> dict[str, tuple[str, str]]:
    """Name -> (customer, plan), both canonical, for the names that the pattern matches with neither of them empty."""
    known = list(dict.fromkeys(name for name in names if name))
    if not pattern or not known:
        return {}
    texts = pl.Series([ids.canonical(name) for name in known])
    try:
        found = _groups(texts, pattern).select(GROUPS).rows()
    except pl.exceptions.ComputeError:
        found = _groups_by_re(texts, pattern)
    pairs = {
        name: (ids.canonical(customer or ""), ids.canonical(plan or ""))
        for name, (customer, plan) in zip(known, found, strict=True)
    }
    return {name: pair for name, pair in pairs.items() if all(pair)}


def _groups(texts: pl.Series, pattern: str) -> pl.DataFrame:
    """A column of each group of the pattern, null where a text does not match as a whole."""
    return texts.to_frame("text").select(pl.col("text").str.extract_groups(rf"\A(?:{pattern})\z")).unnest("text")


def _groups_by_re(texts: pl.Series, pattern: str) -> list[tuple[str | None, str | None]]:
    """Customer and plan by Python's own engine, for patterns that a month was closed with before they were refused."""
    whole = re.compile(pattern)
    return [(match["customer"], match["plan"]) if (match := whole.fullmatch(text)) else (None, None) for text in texts]


def _reason(error: str) -> str:
    """The last line of the engine's message, which draws the pattern above it."""
    return error.strip().splitlines()[-1].removeprefix("error: ").removeprefix("regex error: ").rstrip(".")
