"""Lines that depend on time only: base fees and the minimums of plans.

Must not know usage or the document that contains the lines. Amounts are whole minor units until they are written.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

import polars as pl

from metering.core.invoice import End, Line
from metering.core.money import Rounding, amount_text, parse_amount, quantity_text, round_amount
from metering.core.period import Period, rfc3339
from metering.core.plans import Plan
from metering.invoicing.lines import tax_cuts
from metering.invoicing.lines.rates import Rates
from metering.rating.bounds import united
from metering.rating.segments import counted


@lru_cache(maxsize=4096)
def _time_text(moment: datetime) -> str:
    return rfc3339(moment)


@lru_cache(maxsize=4096)
def _share_text(part: int, whole: int) -> str:
    return quantity_text(Fraction(part, whole))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Time that a base fee is due for: as printed, and in the seconds that count."""

    customer: str
    start: datetime
    end: datetime
    counted_from: datetime
    counted_to: datetime


def base_fee_lines(month: Period, segments: pl.DataFrame, card: Rates) -> Iterator[tuple[str, Line]]:
    """Base fees for the time in which project and subscription both existed. Parts of one fee sum to the whole fee."""
    for plan, project, spans in fee_spans(month, segments, card):
        yield from _fee_parts(plan, project, spans, month, card.rounding)


def fee_spans(month: Period, segments: pl.DataFrame, card: Rates) -> Iterator[tuple[Plan, str | None, Sequence[Span]]]:
    """The time of each base fee, cut where its customer's tax changes; a fee of a project, or (None) of a customer."""
    begin, finish = counted(pl.col("start"), pl.col("end"), month, card.prorate)
    rows = segments.with_columns(counted_from=begin, counted_to=finish)
    for scope, owner in (("project", "project_id"), ("customer", "customer")):
        plans = [plan.id for plan in card.plans.values() if plan.base_fee and plan.base_fee_scope == scope]
        held = rows.filter(pl.col("plan").is_in(plans)).sort(owner, "plan", "start", "end")
        for (name, plan), group in groupby(held.iter_rows(named=True), key=itemgetter(owner, "plan")):
            spans = [Span(**{field: row[field] for field in Span.__slots__}) for row in group]
            is_project = scope == "project"
            yield card.plans[plan], name if is_project else None, _cut(spans if is_project else _united(spans), card)


def _united(spans: Iterable[Span]) -> list[Span]:
    """The union of a customer's time in one plan over all its projects; spans come sorted by start."""
    out: list[Span] = []
    for span in spans:
        if out and span.start <= out[-1].end:
            last = out[-1]
            end, counted_to = max(last.end, span.end), max(last.counted_to, span.counted_to)
            out[-1] = replace(last, end=end, counted_to=counted_to)
        else:
            out.append(span)
    return out


def _cut(spans: Iterable[Span], card: Rates) -> list[Span]:
    """The spans cut where their customer's tax changes."""
    return [
        Span(customer=span.customer, start=start, end=end, counted_from=begin, counted_to=finish)
        for span in spans
        for start, end, begin, finish in tax_cuts.parts(
            card.customers.get(span.customer), (span.start, span.end), (span.counted_from, span.counted_to)
        )
    ]


def _fee_parts(
    plan: Plan, project: str | None, spans: Sequence[Span], month: Period, mode: Rounding
) -> Iterator[tuple[str, Line]]:
    for span, seconds, so_far in _timed(spans, month):
        earlier = so_far - seconds
        due, charged = (
            round_amount(Fraction(plan.base_fee) * Fraction(part, month.seconds), plan.currency, mode)
            for part in (so_far, earlier)
        )
        if due == charged and not seconds:
            continue
        sides = {"before": (earlier, charged), "after": (so_far, due)} if len(spans) > 1 else {}
        ends = {
            name: End(quantity=_share_text(part, month.seconds), amount=amount_text(minor, plan.currency))
            for name, (part, minor) in sides.items()
        }
        line = Line(
            key=f"{project or span.customer}/base_fee/{plan.id}/{_time_text(span.start)}/1",
            kind="base_fee",
            project_id=project,
            plan=plan.id,
            meter=None,
            description=plan.name,
            start=_time_text(span.start),
            end=_time_text(span.end),
            quantity=_share_text(seconds, month.seconds),
            unit="month",
            unit_price=f"{plan.base_fee:f}",
            amount=amount_text(due - charged, plan.currency),
            before=ends.get("before"),
            after=ends.get("after"),
        )
        yield span.customer, line


def _timed(spans: Iterable[Span], month: Period) -> Iterator[tuple[Span, int, int]]:
    """Each span with its counted seconds, and with the seconds counted up to its end."""
    counted_to, so_far = month.start, 0
    for span in spans:
        # Proration may move bounds so that two parts overlap: the earlier part counts that time.
        begin = max(span.counted_from, counted_to)
        seconds = max(0, int((span.counted_to - begin).total_seconds()))
        counted_to = max(counted_to, span.counted_to)
        so_far += seconds
        yield span, seconds, so_far


def held_seconds(
    month: Period, segments: pl.DataFrame, plans: Iterable[str], card: Rates
) -> dict[tuple[str, str], int]:
    """(customer, plan) -> the seconds of the month for which the customer held the plan, with any project."""
    held = united(segments.filter(pl.col("plan").is_in(sorted(plans))), ["customer", "plan"], month, card.prorate)
    rows = held.select("customer", "plan", "seconds").sort("customer", "plan").iter_rows()
    return {(customer, plan): seconds for customer, plan, seconds in rows}


def minimum_lines(
    month: Period, segments: pl.DataFrame, by_customer: Mapping[str, Sequence[Line]], card: Rates
) -> Iterator[tuple[str, Line]]:
    """A line for each plan whose other lines are below its minimum, prorated to the time of the subscription."""
    with_minimum = [plan.id for plan in card.plans.values() if plan.minimum]
    for (customer, plan_id), seconds in held_seconds(month, segments, with_minimum, card).items():
        plan = card.plans[plan_id]
        own = (line for line in by_customer.get(customer, ()) if line.plan == plan_id)
        charged = sum(parse_amount(line.amount, plan.currency) for line in own)
        share = Fraction(seconds, month.seconds)
        least, whole = (
            round_amount(Fraction(plan.minimum) * part, plan.currency, card.rounding) for part in (share, Fraction(1))
        )
        if least <= charged:
            continue
        due, for_month = amount_text(least, plan.currency), amount_text(whole, plan.currency)
        part = "" if share == 1 else f", {due} for {quantity_text(share)} of it"
        yield (
            customer,
            Line(
                key=f"{customer}/minimum/{plan.id}/{rfc3339(month.start)}/1",
                kind="minimum",
                project_id=None,
                plan=plan.id,
                meter=None,
                description=f"{plan.name}: minimum of {for_month} a month{part}",
                start=rfc3339(month.start),
                end=rfc3339(month.end),
                quantity=quantity_text(share),
                unit="month",
                unit_price=None,
                amount=amount_text(least - charged, plan.currency),
                basis={"minimum": due, "charged": amount_text(charged, plan.currency)},
            ),
        )
