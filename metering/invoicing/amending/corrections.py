"""Adjustments for usage that became known after a month was closed.

A closed month is rated again with the terms, names and existence of its closing and the usage known now. The customer's
next invoice carries the difference to what was billed. Everything is computed as of one journal record, so that an
invoice with adjustments can be computed again to the same bytes. Reads the store, writes nothing.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.billing.terms import Terms
from metering.core.invoice import Invoice, Line, in_order, with_first
from metering.core.period import Period, month_name, month_of, parse_time, previous_month
from metering.invoicing.amending import closed
from metering.invoicing.amending.closed import NOTHING, Basis, Billed, StoredClosing
from metering.invoicing.drafts import line_rates
from metering.invoicing.lines import adjustment, tax
from metering.invoicing.lines import assembly as invoice
from metering.usage.coverage import Certified, certified_of, selection

LONGEST_REASON = 300
"""An event carries so much of a reason; the credit note has all of it."""


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """By customer: adjustment lines of closed months, their currency, and conflicts that prevent an invoice.

    `billed` are lines of the month itself that supplementary invoices have billed: a new invoice does not repeat them.
    """

    lines: Mapping[str, Sequence[Line]] = field(default_factory=dict)
    billed: Mapping[str, Sequence[Line]] = field(default_factory=dict)
    currencies: Mapping[str, str] = field(default_factory=dict)
    conflicts: Mapping[str, str] = field(default_factory=dict)


def due(month: Month) -> Corrections:
    """The adjustments that the month's invoices must carry, for all earlier closed months whose usage changed."""
    closings = closed.closings(month.recorded)
    earlier = sorted({closing.month for closing in closings if closing.month < month_name(month.period)})
    lines: defaultdict[str, list[Line]] = defaultdict(list)
    bases: defaultdict[str, set[Basis]] = defaultdict(set)
    for name in earlier:
        for customer, found, added in _of_month(month.recorded, name, closings, month.now):
            bases[customer] |= found
            lines[customer].extend(added)
    for customer, basis, kept in _kept(month, closings):
        bases[customer].add(basis)
        lines[customer].extend(kept)
    supplements = closed.supplements(month.recorded, month_name(month.period))
    for customer, billed in supplements.items():
        bases[customer] |= billed.bases
    inclusive = _inclusive(month.terms)
    conflicts = {
        customer: f"{why}; void and close those anew"
        for customer, found in bases.items()
        if (why := contradiction(found, is_inclusive=customer in inclusive))
    }
    return Corrections(
        lines={customer: added for customer, added in lines.items() if added and customer not in conflicts},
        billed={customer: billed.lines for customer, billed in supplements.items()},
        currencies={customer: min(found)[0] for customer, found in bases.items() if len(found) == 1},
        conflicts=conflicts,
    )


def contradiction(bases: set[Basis], *, is_inclusive: bool) -> str | None:
    """The reason why corrections and the month's own lines cannot be on one invoice; None if `bases` show no reason."""
    currencies = sorted({currency for currency, _ in bases})
    if len(currencies) > 1:
        return f"corrections of closed months would be in {' and '.join(currencies)}"
    if {is_taxed for _, is_taxed in bases} - {is_inclusive}:
        now, then = ("with", "without") if is_inclusive else ("without", "with")
        return f"its prices are {now} tax, and corrections of closed months {then} it"
    return None


def _inclusive(of_month: Terms) -> set[str]:
    """The customers whose prices include the tax."""
    return {customer.id for customer in of_month.customers if customer.tax_inclusive}


def shown(month: Month) -> Corrections:
    """The corrections that drafts show: only a closed month and the next month to be closed have any."""
    known = {closing.month for closing in closed.closings(month.recorded)}
    is_next = {month_name(month.period), month_name(previous_month(month.period.start))} & known
    return due(month) if is_next else Corrections()


def months_to_correct(recorded: Recorded, now: datetime) -> set[str]:
    """Closed months with an adjustment that no invoice carries yet."""
    closings = closed.closings(recorded)
    names = {closing.month for closing in closings}
    return {name for name in names if any(True for _ in _of_month(recorded, name, closings, now))}


def _of_month(
    recorded: Recorded, name: str, closings: Sequence[StoredClosing], now: datetime
) -> Iterator[tuple[str, set[Basis], list[Line]]]:
    """(customer, bases, adjustment lines) of one closed month, sorted by customer within each closing.

    Closings under older rules are not rated again and have no adjustments.
    """
    period = month_of(parse_time(f"{name}-01T00:00:00Z"))
    if all(closing.rules != terms.RULES for closing in closings if closing.month == name):
        return
    if not _is_changed(recorded, period, _settled_seq(recorded, name, closings)):
        return
    found = closed.month(recorded, name, closings)
    assert found is not None, "the caller knows that it is closed"
    for closing in found.standing:
        if closing.rules != terms.RULES:
            continue
        rated, of_month = _rated_again(recorded, period, closing, now)
        currency_of, inclusive = {plan.id: plan.currency for plan in of_month.card.plans}, _inclusive(of_month)
        for customer in sorted(rated.keys() | found.billed.keys()):
            if not found.is_settled_by(closing, customer):
                continue
            was = found.billed.get(customer, NOTHING)
            again = rated.get(customer, [])
            bases = was.bases | {(currency_of[line.plan], customer in inclusive) for line in again if line.plan}
            added: list[Line] = []
            if len(bases) == 1:
                added = adjustment.adjustments(was.lines, again, min(bases)[0])
            if added or len(bases) > 1:
                yield customer, bases, added


def _kept(month: Month, closings: Sequence[StoredClosing]) -> Iterator[tuple[str, Basis, list[Line]]]:
    """(customer, basis, adjustment lines) of voided invoices of this month, for months closed under older rules.

    Such months are not rated again, so the invoice that replaces the voided one repeats these lines unchanged.
    """
    name = month_name(month.period)
    older = {closing.month for closing in closings if closing.rules != terms.RULES and closing.month < name}
    if not older:
        return
    stays = cache(lambda earlier: _stays(month.recorded, earlier, closings))
    for customer, document in _voided(month.recorded, name).items():
        adjusted = [line for line in tax.lines_of(document) if line.kind == "adjustment"]
        kept = [line for line in adjusted if line.start[:7] in older and stays(line.start[:7])(customer)]
        if not document.says_taxes:  # such lines were written with the tax first
            kept = [with_first(line, "tax_rate_percent", "tax_name") for line in kept]
        if kept:
            yield customer, (document.currency, document.tax_inclusive), kept


def _voided(recorded: Recorded, name: str) -> dict[str, Invoice]:
    """Customer -> the voided invoice of a month that was not replaced."""
    out: dict[str, Invoice] = {}
    for row in recorded.query("invoicing/billed_for_month", month=name).iter_rows(named=True):
        if row["month"] == name:
            out.pop(row["customer"], None)
            out |= {row["customer"]: in_order(json.loads(row["document"]))} if row["is_void"] else {}
    return out


def _stays(recorded: Recorded, name: str, closings: Sequence[StoredClosing]) -> Callable[[str], bool]:
    """A predicate: whether a customer's valid invoice for the month is from a closing under older rules."""
    rules = {closing.seq: closing.rules for closing in closings}
    found = closed.month(recorded, name, closings)
    assert found is not None, "the caller knows that it is closed"
    return lambda customer: (
        not (found.billed.get(customer, NOTHING).is_waiting or rules[found.home(customer)] == terms.RULES)
    )


def _settled_seq(recorded: Recorded, name: str, closings: Sequence[StoredClosing]) -> int:
    """A record up to which every change of the month has been billed.

    It is the record of the last closing of a later month that put nobody on hold and came after all closings of the
    month itself and all voids; otherwise the record of the month's first closing.
    """
    own = [closing.as_of_seq for closing in closings if closing.month == name]
    last = max([int(recorded.once("invoicing/last_void").item()), *own])
    first: dict[str, StoredClosing] = {}
    for closing in closings:
        first.setdefault(closing.month, closing)
    whole = (c.as_of_seq for month, c in first.items() if month > name and not c.parked and c.as_of_seq >= last)
    return max([min(own), *whole])


def _is_changed(recorded: Recorded, period: Period, after: int) -> bool:
    """Whether billable usage of the month may have changed since the record `after`."""
    if after >= recorded.as_of_seq:
        return False
    span = {"period_start": period.start, "period_end": period.end}
    if recorded.once("invoicing/is_changed_since", after=after, **span).item():
        return True
    both = (recorded.at(after), recorded)
    before, unread = (one.once("billing/unread_hours") for one in both)
    if not before.equals(unread):
        return True
    then, known = (certified_of(one.once("billing/coverage_of", after=0)) for one in both)
    return any(
        selection(then.get(organization, Certified()), period, is_open=False)
        != selection(certified, period, is_open=False)
        for organization, certified in known.items()
    )


def history(recorded: Recorded, name: str, customer: str, now: datetime) -> tuple[Billed, Month, Month] | None:
    """Both sides of an adjustment: what a customer was billed, the month as its closing saw it, the month rated again.

    None if the month is not closed, or the customer's closing was under older rules.
    """
    found = closed.month(recorded, name)
    if found is None:
        return None
    closing = next(closing for closing in found.closings if closing.seq == found.home(customer))
    if closing.rules != terms.RULES:
        return None
    period = month_of(parse_time(f"{name}-01T00:00:00Z"))
    return found.billed.get(customer, NOTHING), *closed.rerated(recorded, period, closing, now)


def first_closed(recorded: Recorded, period: Period, now: datetime) -> Month | None:
    """A closed month by its first closing and the usage known now; None if it is not closed."""
    mine = [closing for closing in closed.closings(recorded) if closing.month == month_name(period)]
    return closed.rerated(recorded, period, mine[0], now)[1] if mine else None


def closed_parts(
    recorded: Recorded, period: Period, now: datetime
) -> tuple[list[tuple[Month, Callable[[str], bool]]], Callable[[str], bool]]:
    """A closed month once by each closing that anything stands by, with its customers; and who waits to be closed."""
    found = closed.month(recorded, month_name(period))
    if found is None:
        return [], lambda _: False
    parts: list[tuple[Month, Callable[[str], bool]]] = [
        (closed.rerated(recorded, period, closing, now)[1], partial(found.is_settled_by, closing))
        for closing in found.standing
    ]
    return parts, lambda customer: customer in found.waiting


def _rated_again(
    recorded: Recorded, period: Period, closing: StoredClosing, now: datetime
) -> tuple[dict[str, list[Line]], Terms]:
    """(Customer -> lines by the closing's terms, names and base fees and by the usage known now; those terms)."""
    then, rated = closed.rerated(recorded, period, closing, now)
    lines = invoice.lines(period, then.segments, rated.charges, line_rates(rated))
    return lines, rated.terms
