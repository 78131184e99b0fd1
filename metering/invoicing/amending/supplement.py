"""Supplements bill usage of a closed month that had no customer at its close and has one now.

A supplement rates the month again by the plans of its closing and assigns time without a customer by today's mapping.
The customers of these projects are billed the difference to what they were billed before. Time that was billed stays
with its customer. Reads the store, writes nothing; supplementing.py issues supplements.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import msgspec
import polars as pl

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.billing.terms import Terms
from metering.config import Config
from metering.core.errors import MeteringError
from metering.core.invoice import SUPPLEMENT, Covered, Invoice, Line
from metering.core.parties import Subscription
from metering.core.period import Period, month_name, without
from metering.invoicing.amending import closed, corrections
from metering.invoicing.amending.closed import NOTHING, Billed, ClosedMonth, StoredClosing
from metering.invoicing.drafts import line_rates
from metering.invoicing.lines import assembly as invoice
from metering.invoicing.lines import tax
from metering.rating import segments
from metering.rating.card import Card
from metering.rating.segments import SEGMENTS

Row = TypeVar("Row")
Run = Mapping[str, Any]
"""Time of a project with one customer and plan: project_id, customer, plan, start, end."""


@dataclass(frozen=True, kw_only=True)
class Supplement:
    """A supplementary closing, stored or planned, and what it bills. Everything is computed when first used."""

    recorded: Recorded
    period: Period
    closing: StoredClosing
    now: datetime

    @cached_property
    def _months(self) -> tuple[Month, Month]:
        return closed.rerated(self.recorded, self.period, self.closing, self.now)

    @property
    def month(self) -> Month:
        """The month by the supplement's terms and the usage known at it."""
        return self._months[1]

    @property
    def held(self) -> pl.DataFrame:
        """The segments that base fees and minimums are due for."""
        return self._months[0].segments

    @cached_property
    def billed(self) -> dict[str, Billed]:
        """What the customers who gained time were billed for the month before."""
        found = closed.billed(self.recorded, month_name(self.period))
        return {customer: found[customer] for customer in self.closing.gained if customer in found}

    @cached_property
    def _frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Segments and charges of these customers and of customers who share a project with them.

        The latter are needed because a project's fee is rounded over all its customers.
        """
        mine = pl.col("customer").is_in(list(self.closing.gained))
        projects = self.held.filter(mine)["project_id"].unique().implode()
        held = self.held.filter(mine | pl.col("project_id").is_in(projects))
        others = set(invoice.conflicts(held, line_rates(self.month))) - set(self.closing.gained)
        is_wanted = pl.col("customer").is_in(sorted(set(held["customer"]) - others))
        return held.filter(is_wanted), self.month.charges.filter(is_wanted)

    def lines(self) -> dict[str, list[Line]]:
        """The lines of each customer's whole month, including those that were billed before."""
        found = invoice.lines(self.period, *self._frames, line_rates(self.month))
        return {customer: lines for customer, lines in found.items() if customer in self.closing.gained}

    def conflicts(self) -> dict[str, str]:
        """Customers whose supplement cannot be issued, and why."""
        rates = line_rates(self.month)
        one = {customer: min(found.bases)[0] for customer, found in self.billed.items() if len(found.bases) == 1}
        inclusive = {customer.id for customer in self.month.terms.customers if customer.tax_inclusive}
        bases = {
            customer: why
            for customer, found in self.billed.items()
            if (why := corrections.contradiction(found.bases, is_inclusive=customer in inclusive))
        }
        taxes = {
            customer: why
            for customer, lines in self.lines().items()
            if (why := tax.conflicts(lines, rates.customers.get(customer)))
        }
        mixed = invoice.conflicts(self._frames[0], rates, one)
        return {
            **taxes,
            **{customer: mixed[customer] for customer in self.closing.gained if customer in mixed},
            **bases,
        }

    @cached_property
    def drafts(self) -> list[Invoice]:
        """Its draft invoices, by customer; a customer without lines gets none."""
        drafts = invoice.invoices(
            self.period,
            *self._frames,
            line_rates(self.month),
            as_of=self.now,
            coverage=msgspec.convert(self.month.coverage.document(), Covered),
            rate_card_sha256=self.month.terms.sha256,
            billed={customer: found.lines for customer, found in self.billed.items()},
        )
        return [self._marked(draft) for draft in drafts if draft.customer.id in self.closing.gained]

    def _marked(self, draft: Invoice) -> Invoice:
        """The draft with its kind, and the numbers of the invoices that it supplements."""
        billed = self.billed.get(draft.customer.id, NOTHING)
        own = zip(billed.numbers, billed.lines, strict=True)
        numbers = sorted({number for number, line in own if line.kind != "adjustment"})
        return msgspec.structs.replace(draft, kind=SUPPLEMENT, supplements=numbers)


def supplements(recorded: Recorded, config: Config, period: Period, now: datetime) -> list[Supplement]:
    """What `close MONTH --supplement` would issue, as known at the last record.

    Several where invoices of the month are from several closings. Raises MeteringError where the month is not closed,
    or was closed under other rules than today's.
    """
    found = _closed(recorded, period)
    today = Month(recorded=recorded, terms=terms.of(config), period=period, now=now)
    bases = [(closing, closed.rerated(recorded, period, closing, now)[1]) for closing in found.standing]
    runs = [
        run
        for run in _gained(today, _taken(found, bases), bases[0][1].projects.existence)
        if run["customer"] not in found.waiting
    ]
    known = {customer for customer, billed in found.billed.items() if billed.lines}
    projects = pl.col("project_id").is_in(sorted({run["project_id"] for run in runs}))
    out = []
    for closing, base in bases:
        concerned = {*base.segments.filter(projects)["customer"], *(run["customer"] for run in runs)}
        gained = sorted(customer for customer in concerned if found.is_settled_by(closing, customer))
        if gained:
            frozen = json.dumps(terms.document(_terms(base, today.terms, runs, known)))
            made = replace(
                closing,
                seq=recorded.as_of_seq,
                as_of=now,
                as_of_seq=recorded.as_of_seq,
                terms=frozen,
                parked={},
                settled=(),
                base=closing,
                gained=gained,
            )
            out.append(Supplement(recorded=recorded, period=period, closing=made, now=now))
    return out


def stored(recorded: Recorded, period: Period, seq: int) -> Supplement | None:
    """The supplement that a record journalled; None if the record is not a supplement."""
    found = next((closing for closing in closed.closings(recorded.at(seq)) if closing.seq == seq), None)
    if found is None or found.base is None:
        return None
    return Supplement(recorded=recorded.at(found.as_of_seq), period=period, closing=found, now=found.as_of)


def _closed(recorded: Recorded, period: Period) -> ClosedMonth:
    name = month_name(period)
    found = closed.month(recorded, name)
    if found is None:
        hint = f"`metering close {name}` closes it; a supplement bills afterwards what a close left to nobody"
        raise MeteringError(f"{name} is not closed", hint=hint)
    if any(closing.rules != terms.RULES for closing in found.standing):
        raise MeteringError(
            f"{name} was closed under older rules, which nothing rates again",
            hint="bill what it left to nobody by hand",
        )
    return found


def _taken(found: ClosedMonth, bases: Iterable[tuple[StoredClosing, Month]]) -> pl.DataFrame:
    """project_id, start, end of the time that a customer was billed for."""
    frames = []
    for closing, base in bases:
        names = [name for name in base.segments["customer"].unique() if found.is_settled_by(closing, name)]
        frames.append(base.segments.filter(pl.col("customer").is_in(names)).select("project_id", "start", "end"))
    return pl.concat(frames)


def _gained(today: Month, taken: pl.DataFrame, existence: pl.DataFrame) -> Iterator[Run]:
    """Time without a customer at the close that has one today, while the project existed as the closing knew it.

    `taken`: project_id, start, end of time that had a customer at the close.
    """
    changed = today.segments.join(taken, on=["project_id", "start", "end"], how="anti")
    mine = pl.col("project_id").is_in(changed["project_id"].unique().implode())
    month = today.period
    existed = existence.filter(mine).select(
        "project_id",
        start=pl.col("exists_from").dt.truncate("1s").fill_null(month.start),
        end=pl.col("exists_to").dt.truncate("1s").fill_null(month.end),
    )
    exists, holes = _periods(existed), _periods(taken.filter(mine))
    for row in changed.sort("project_id", "start").iter_rows(named=True):
        whole = Period(start=row["start"], end=row["end"])
        outside = without(whole, exists[row["project_id"]])
        for part in without(whole, [*outside, *holes[row["project_id"]]]):
            yield {**row, "start": part.start, "end": part.end}


def _periods(rows: pl.DataFrame) -> defaultdict[str, list[Period]]:
    """Project -> its periods; rows are project_id, start, end."""
    out: defaultdict[str, list[Period]] = defaultdict(list)
    for project, start, end in rows.select("project_id", "start", "end").iter_rows():
        if start < end:
            out[project].append(Period(start=start, end=end))
    return out


def _terms(base: Month, today: Terms, runs: Sequence[Run], known: Collection[str]) -> Terms:
    """The terms of the base closing with subscriptions for the runs; earlier mappings of these projects are kept.

    Plans are those of the closing. Today's are used for plans that did not exist then, and today's customers and
    discounts for customers who were not billed then; `known` are those who were.
    """
    then, projects = base.terms, {run["project_id"] for run in runs}
    added = _periods(pl.DataFrame(runs, schema=SEGMENTS))
    mapped = base.segments.filter(pl.col("project_id").is_in(sorted(projects))).iter_rows(named=True)
    own = segments.own_time(base.period, [row for row in then.subscriptions if row.project_id in projects])
    before = [*mapped, *({**row, "customer": None, "plan": None} for row in own.iter_rows(named=True))]
    kept = [
        {**row, "start": part.start, "end": part.end}
        for row in before
        for part in without(Period(start=row["start"], end=row["end"]), added[row["project_id"]])
    ]
    rows = [row for row in then.subscriptions if row.project_id not in projects]
    rows += [
        Subscription(
            project_id=run["project_id"],
            customer=run["customer"],
            plan=run["plan"],
            valid_from=run["start"],
            valid_to=run["end"],
        )
        for run in (*kept, *runs)
    ]
    new = {run["customer"] for run in runs} - set(known)
    discounts = [row for row in today.discounts if row.customer in new]
    return replace(
        then,
        card=_card(then.card, today.card, {run["plan"] for run in runs}),
        customers=_with(then.customers, (row for row in today.customers if row.id in new), lambda row: row.id),
        subscriptions=tuple(sorted(rows, key=terms.subscription_order)),
        discounts=_with(then.discounts, discounts, lambda row: row.customer),
    )


def _card(then: Card, today: Card, used: Collection[str]) -> Card:
    """The rate card of then, with used plans of today that it lacks and the meters that they price."""
    plans = _with(then.plans, (plan for plan in today.plans if plan.id in used), lambda plan: plan.id)
    priced = {price.meter for plan in plans for price in plan.prices}
    meters = _with(then.meters, (meter for meter in today.meters if meter.id in priced), lambda meter: meter.id)
    return replace(then, plans=plans, meters=meters)


def _with(then: Sequence[Row], today: Iterable[Row], key: Callable[[Row], str]) -> tuple[Row, ...]:
    """The rows of then, and the rows of today whose key is new."""
    had = {key(row) for row in then}
    return (*then, *(row for row in today if key(row) not in had))
