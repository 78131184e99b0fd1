"""Lines that go with time: base fees and the minimums of plans.

Knows the printed shape of these lines. Must not know usage, nor the document that carries the lines. Amounts are whole
minor units until they are printed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from itertools import groupby

import polars as pl

from metering.core.money import Rounding, amount_text, parse_amount, quantity_text, round_amount
from metering.core.period import Period, rfc3339
from metering.core.plans import Plan
from metering.invoicing.lines import tax_cuts
from metering.invoicing.lines.rates import Rates
from metering.rating.bounds import united
from metering.rating.segments import counted

Json = dict[str, object]


@lru_cache(maxsize=4096)
def _time_text(moment: datetime) -> str:
    return rfc3339(moment)


@lru_cache(maxsize=4096)
def _share_text(part: int, whole: int) -> str:
    return quantity_text(Fraction(part, whole))


def base_fee_lines(month: Period, segments: pl.DataFrame, card: Rates) -> Iterator[tuple[str, Json]]:
    """Each plan's fee for the time that its subscription and the project existed, rounded cumulatively."""
    begin, finish = counted(pl.col("start"), pl.col("end"), month, card.prorate)
    rows = segments.with_columns(fee_from=begin, fee_to=finish)
    by_project = [plan.id for plan in card.plans.values() if plan.base_fee and plan.base_fee_scope == "project"]
    by_customer = [plan.id for plan in card.plans.values() if plan.base_fee and plan.base_fee_scope == "customer"]
    owned = rows.filter(pl.col("plan").is_in(by_project)).sort("project_id", "plan", "start")
    for (project, plan), group in groupby(
        owned.iter_rows(named=True), key=lambda row: (row["project_id"], row["plan"])
    ):
        yield from _fee_parts(card.plans[plan], project, _cut(_spans(group), card), month, card.rounding)
    paid = rows.filter(pl.col("plan").is_in(by_customer)).sort("customer", "plan", "start", "end")
    for (_, plan), group in groupby(paid.iter_rows(named=True), key=lambda row: (row["customer"], row["plan"])):
        yield from _fee_parts(card.plans[plan], None, _cut(_united(group), card), month, card.rounding)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """A stretch of time that a base fee is due for: as printed, and in the seconds that count."""

    customer: str
    start: datetime
    end: datetime
    fee_from: datetime
    fee_to: datetime


def _spans(rows: Iterable[Mapping[str, object]]) -> list[_Span]:
    return [_Span(**{name: row[name] for name in _Span.__slots__}) for row in rows]  # type: ignore[arg-type]


def _united(rows: Iterable[Mapping[str, object]]) -> list[_Span]:
    """The union of a customer's time in one plan over all its projects; rows come sorted by start."""
    out: list[_Span] = []
    for span in _spans(rows):
        if out and span.start <= out[-1].end:
            last = out.pop()
            out.append(
                _Span(
                    customer=last.customer,
                    start=last.start,
                    end=max(last.end, span.end),
                    fee_from=last.fee_from,
                    fee_to=max(last.fee_to, span.fee_to),
                )
            )
        else:
            out.append(span)
    return out


def _cut(spans: Iterable[_Span], card: Rates) -> list[_Span]:
    """The spans cut where their customer's tax changes."""
    return [
        _Span(customer=span.customer, start=start, end=end, fee_from=begin, fee_to=finish)
        for span in spans
        for start, end, begin, finish in tax_cuts.parts(
            card.customers.get(span.customer), (span.start, span.end), (span.fee_from, span.fee_to)
        )
    ]


def _fee_parts(
    plan: Plan, project: str | None, spans: Sequence[_Span], month: Period, mode: Rounding
) -> Iterator[tuple[str, Json]]:
    for span, seconds, so_far in _timed(spans, month):
        earlier = so_far - seconds
        due, charged = (
            round_amount(Fraction(plan.base_fee) * Fraction(part, month.seconds), plan.currency, mode)
            for part in (so_far, earlier)
        )
        if due == charged and not seconds:
            continue
        sides = {"before": (earlier, charged), "after": (so_far, due)} if len(spans) > 1 else {}
        yield (
            span.customer,
            {
                "key": f"{project or span.customer}/base_fee/{plan.id}/{_time_text(span.start)}/1",
                "kind": "base_fee",
                "project_id": project,
                "plan": plan.id,
                "meter": None,
                "description": plan.name,
                "from": _time_text(span.start),
                "to": _time_text(span.end),
                "quantity": _share_text(seconds, month.seconds),
                "unit": "month",
                "unit_price": f"{plan.base_fee:f}",
                "amount": amount_text(due - charged, plan.currency),
                **{
                    name: {"quantity": _share_text(part, month.seconds), "amount": amount_text(minor, plan.currency)}
                    for name, (part, minor) in sides.items()
                },
            },
        )


def _timed(spans: Iterable[_Span], month: Period) -> Iterator[tuple[_Span, int, int]]:
    """Each span with the seconds that it counts, and those counted up to its end."""
    counted_to, so_far = month.start, 0
    for span in spans:
        # Time is counted once: where proration moves bounds onto each other, the earlier part has it.
        begin = max(span.fee_from, counted_to)
        seconds = max(0, int((span.fee_to - begin).total_seconds()))
        counted_to = max(counted_to, span.fee_to)
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
    month: Period, segments: pl.DataFrame, by_customer: Mapping[str, Sequence[Json]], card: Rates
) -> Iterator[tuple[str, Json]]:
    """What a plan's lines lack to its least amount, in proportion to the time for which the customer had the plan."""
    with_minimum = [plan.id for plan in card.plans.values() if plan.minimum]
    for (customer, plan_id), seconds in held_seconds(month, segments, with_minimum, card).items():
        plan = card.plans[plan_id]
        own = (line for line in by_customer.get(customer, ()) if line["plan"] == plan_id)
        charged = sum(parse_amount(str(line["amount"]), plan.currency) for line in own)
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
            {
                "key": f"{customer}/minimum/{plan.id}/{rfc3339(month.start)}/1",
                "kind": "minimum",
                "project_id": None,
                "plan": plan.id,
                "meter": None,
                "description": f"{plan.name}: minimum of {for_month} a month{part}",
                "from": rfc3339(month.start),
                "to": rfc3339(month.end),
                "quantity": quantity_text(share),
                "unit": "month",
                "unit_price": None,
                "amount": amount_text(least - charged, plan.currency),
                "basis": {"minimum": due, "charged": amount_text(charged, plan.currency)},
            },
        )
