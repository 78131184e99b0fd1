"""The closings of a month, what they billed, and the month rated again by the terms of a closing.

Rating again uses the terms, project names and project existence of the closing, and the usage known now. A closing that
supplements another one has its own terms and the other's names and existence. Reads the store, writes nothing. Must not
know what is done about a difference.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import polars as pl

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.core.invoice import Line, in_order
from metering.core.period import Period
from metering.usage.existence import widened


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredClosing:
    """A closing in the store; `parked` and `settled` are customers.

    A supplement bills usage that the closing `base` left unassigned; `gained` are the customers of these projects.
    """

    seq: int
    month: str
    as_of: datetime
    as_of_seq: int
    terms: str
    rules: int
    parked: Mapping[str, str]
    settled: Sequence[str]
    base: "StoredClosing | None" = None
    gained: Sequence[str] = ()


Basis = tuple[str, bool]
"""The currency of lines, and whether they include tax. Lines of two bases cannot be added up."""


@dataclass(slots=True, kw_only=True)
class Billed:
    """What a customer was billed for a month: the closing, and the lines that are not void."""

    closing: int | None = None
    is_waiting: bool = False
    lines: list[Line] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    """For each line the number of its document."""
    bases: set[Basis] = field(default_factory=set)

    def add(self, text: str, month: str = "") -> None:
        """Adds a document's lines, of one month (`2026-09`) or all."""
        document = in_order(json.loads(text))
        lines = [line for line in document.lines if line.start.startswith(month)]
        self.lines += lines
        self.numbers += [document.issued_number] * len(lines)
        self.bases |= {(document.currency, document.tax_inclusive)} if lines else set()


NOTHING = Billed()
"""The value for a customer without an invoice."""


def closings(recorded: Recorded) -> list[StoredClosing]:
    """Every closing known at a record, in order."""
    out: dict[int, StoredClosing] = {}
    for row in recorded.kept("closings", lambda: recorded.query("invoicing/closings_known")).iter_rows(named=True):
        facts = json.loads(row.pop("document"))
        out[row["seq"]] = StoredClosing(
            **row,
            parked=facts.get("parked", {}),
            settled=facts.get("settled", []),
            base=out[facts["supplements"]] if "supplements" in facts else None,
            gained=facts.get("gained", ()),
        )
    return list(out.values())


def parked(mine: Iterable[StoredClosing]) -> set[str]:
    """The customers whose invoices are still on hold after these closings of one month."""
    out: set[str] = set()
    for closing in mine:
        out = (out - set(closing.settled)) | set(closing.parked)
    return out


def billed(recorded: Recorded, name: str) -> dict[str, Billed]:
    """Customer -> what was billed for the month and is not void: its invoices' lines, and later adjustments of it.

    A customer whose invoice is void waits for a new invoice; a void supplement is ignored.
    """
    out: defaultdict[str, Billed] = defaultdict(Billed)
    for row in recorded.query("invoicing/billed_for_month", month=name).iter_rows(named=True):
        found = out[row["customer"]]
        if row["month"] == name and not (row["is_supplement"] and row["is_void"]):
            found.is_waiting, found.closing = _after(found, row)
        if row["is_void"]:
            continue
        # Adjustments in the month's own invoice are for earlier months; other lines of a later invoice are for its own.
        found.add(row["document"], name)
    return out


@dataclass(frozen=True, kw_only=True)
class ClosedMonth:
    """A closed month as known at a record: its closings, and which of them each customer belongs to."""

    closings: Sequence[StoredClosing]
    billed: Mapping[str, Billed]

    @cached_property
    def waiting(self) -> set[str]:
        """Customers for whom the month is not closed: on hold, or with a void invoice that was not replaced."""
        return parked(self.closings) | {customer for customer, found in self.billed.items() if found.is_waiting}

    def home(self, customer: str) -> int:
        """The record of the closing that issued the customer's last valid invoice; without one, of the first."""
        return self.billed.get(customer, NOTHING).closing or self.closings[0].seq

    @property
    def standing(self) -> list[StoredClosing]:
        """The closings by which any customer's amounts are computed, always with the first one."""
        homes = {self.closings[0].seq, *map(self.home, self.billed)}
        return [closing for closing in self.closings if closing.seq in homes]

    def is_settled_by(self, closing: StoredClosing, customer: str) -> bool:
        """Whether the customer's amounts are computed by this closing."""
        return customer not in self.waiting and self.home(customer) == closing.seq


def month(recorded: Recorded, name: str, every: Sequence[StoredClosing] | None = None) -> ClosedMonth | None:
    """The month (`2026-09`) as closed; None where it is not. `every`: all closings, where they are known already."""
    mine = [one for one in (closings(recorded) if every is None else every) if one.month == name]
    return ClosedMonth(closings=mine, billed=billed(recorded, name)) if mine else None


def _after(found: Billed, row: Mapping[str, Any]) -> tuple[bool, int | None]:
    """Whether the customer waits, and the closing of its invoices, after one more invoice."""
    if row["is_supplement"]:
        return found.is_waiting, row["seq"]
    return row["is_void"], None if row["is_void"] else row["seq"]


def supplements(recorded: Recorded, name: str) -> dict[str, Billed]:
    """Customer -> what the supplementary invoices of a month that are not void have billed."""
    out: defaultdict[str, Billed] = defaultdict(Billed)
    for row in recorded.query("invoicing/supplements_standing", month=name).iter_rows(named=True):
        out[row["customer"]].closing = row["seq"]
        out[row["customer"]].add(row["document"])
    return out


def rerated(recorded: Recorded, period: Period, closing: StoredClosing, now: datetime) -> tuple[Month, Month]:
    """A closed month as its closing saw it; and with the closing's terms and names, but the usage known now."""
    facts = _Rating(recorded=recorded, terms=terms.from_document(json.loads(closing.terms)), period=period, now=now)
    then = facts.as_closed(closing)
    spans = recorded.query("invoicing/usage_spans", period_start=period.start, period_end=period.end)
    return then, facts.going_on(then, widened(then.projects.existence, spans), recorded)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rating:
    """A month by the terms of a closing."""

    recorded: Recorded
    terms: terms.Terms
    period: Period
    now: datetime

    def _month(self, recorded: Recorded, inventory: tuple[pl.DataFrame, pl.DataFrame] | None = None) -> Month:
        return Month(
            recorded=recorded,
            terms=self.terms,
            period=self.period,
            now=self.now,
            inventory=inventory,
        )

    def as_closed(self, closing: StoredClosing) -> Month:
        """The month at the closing's record: what inventory had shown, or the closing that it supplements had seen."""
        recorded = self.recorded.at(closing.as_of_seq)
        if closing.base is None:
            return self._month(recorded)
        seen = self.as_closed(closing.base)
        return self.going_on(seen, seen.projects.existence, recorded)

    def going_on(self, then: Month, existence: pl.DataFrame, recorded: Recorded) -> Month:
        """The month at a later record, with the names of `then` and this existence of the projects known then."""
        today = self._month(recorded)
        is_new = ~pl.col("project_id").is_in(then.projects.existence["project_id"].implode())
        inventory = (
            pl.concat([existence, today.projects.existence.filter(is_new)]).sort("project_id"),
            pl.concat([then.projects.sightings.filter(~is_new), today.projects.sightings.filter(is_new)]),
        )
        return self._month(recorded, inventory)
