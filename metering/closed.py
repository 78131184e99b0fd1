"""What was closed of a month: its closings, what they billed, and the month rated again by the terms of one of them.

A closing keeps its terms, names and existence; usage is what is known now. A closing that supplements another goes on
from it: it has the names and the existence of the one that it supplements, and terms of its own. Reads the store, writes
nothing; must not know what is done about a difference.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from metering import terms, usage
from metering.month import Month
from metering.period import Period
from metering.store import Store

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredClosing:
    """A closing as the store has it; `parked` and `settled` are customers."""

    seq: int
    month: str
    as_of: datetime
    as_of_seq: int
    terms: str
    rules: int
    parked: Mapping[str, str]
    settled: Sequence[str]


Basis = tuple[str, bool]
"""The currency of lines, and whether they include tax: lines of two bases cannot be added up."""


@dataclass(slots=True, kw_only=True)
class Billed:
    """What a customer was billed for a month: by which closing, and the lines that stand."""

    closing: int | None = None
    is_waiting: bool = False
    lines: list[Json] = field(default_factory=list)
    bases: set[Basis] = field(default_factory=set)


def closings(store: Store, as_of_seq: int) -> list[StoredClosing]:
    out = []
    for row in store.query("closings_known", as_of_seq=as_of_seq).iter_rows(named=True):
        facts = json.loads(row.pop("document"))
        out.append(StoredClosing(**row, parked=facts.get("parked", {}), settled=facts.get("settled", [])))
    return out


def parked(mine: Iterable[StoredClosing]) -> set[str]:
    """The customers that the closings of one month have left parked."""
    out: set[str] = set()
    for closing in mine:
        out = (out - set(closing.settled)) | set(closing.parked)
    return out


def billed(store: Store, name: str, as_of_seq: int) -> dict[str, Billed]:
    """Customer -> what stands for the month: lines of its own invoice, and adjustments of it on later ones.

    A customer whose invoice is void waits until it is issued anew.
    """
    out: defaultdict[str, Billed] = defaultdict(Billed)
    for row in store.query("billed_for_month", month=name, as_of_seq=as_of_seq).iter_rows(named=True):
        found = out[row["customer"]]
        is_own = row["month"] == name
        if is_own:
            found.is_waiting, found.closing = row["is_void"], None if row["is_void"] else row["seq"]
        if row["is_void"]:
            continue
        # An invoice's own adjustments are of earlier months, a later invoice's other lines of its own.
        document = json.loads(row["document"])
        of_month = [
            {**line, "number": document["number"]}
            for line in document["lines"]
            if is_own != (line["kind"] == "adjustment") and line["from"].startswith(name)
        ]
        found.lines += of_month
        found.bases |= {(row["currency"], bool(document.get("tax_inclusive")))} if of_month else set()
    return out


def rerated(store: Store, period: Period, closing: StoredClosing, now: datetime, as_of_seq: int) -> tuple[Month, Month]:
    """A closed month as its closing saw it; and with the closing's terms and names, but the usage known now."""
    frozen = terms.from_document(json.loads(closing.terms))
    then = Month(store=store, terms=frozen, period=period, now=now, as_of_seq=closing.as_of_seq)
    today = Month(store=store, terms=frozen, period=period, now=now, as_of_seq=as_of_seq)
    spans = store.query("usage_spans", period_start=period.start, period_end=period.end, as_of_seq=as_of_seq)
    known = then.existence["project_id"].implode()
    is_new = ~pl.col("project_id").is_in(known)
    rated = Month(
        store=store,
        terms=frozen,
        period=period,
        now=now,
        as_of_seq=as_of_seq,
        inventory=(
            pl.concat([usage.widened(then.existence, spans), today.existence.filter(is_new)]).sort("project_id"),
            pl.concat([then.sightings.filter(~is_new), today.sightings.filter(is_new)]),
        ),
    )
    return then, rated
