"""Lines that go with time, taken apart: base fees, minimums, maximums and flat fees due without usage.

Computes them anew from a month and the time held in it. Reads the store, writes nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from metering.billing.month import Month
from metering.core.parties import Customer
from metering.core.period import parse_time
from metering.core.plans import Plan
from metering.explain import bounds as explain_bounds
from metering.explain import evidence, fees, steps
from metering.explain.bounds import Version
from metering.explain.evidence import is_same_group, of_group
from metering.explain.fees import FeeSpan
from metering.invoicing.drafts import line_rates
from metering.invoicing.lines import tax_cuts
from metering.invoicing.lines.fees import held_seconds
from metering.rating import bounds, pools
from metering.rating import segments as ratecard

Json = dict[str, Any]


def base_fee(month: Month, customer: str, line: Json) -> Json:
    """A part of a base fee."""
    plan = month.terms.plan(line["plan"])
    begin, finish = ratecard.counted(pl.col("start"), pl.col("end"), month.period, month.terms.card.prorate)
    rows = month.segments.with_columns(counted_from=begin, counted_to=finish).filter(pl.col("plan") == plan.id)
    if line["project_id"] is None:
        rows = rows.filter(pl.col("customer") == customer).sort("start", "end")
        spans = _united(_spans(rows))
    else:
        rows = rows.filter(pl.col("project_id") == line["project_id"]).sort("start")
        spans = _spans(rows)
    spans = _cut(spans, line_rates(month).customers)
    return {
        "arithmetic": fees.base_fee(plan, spans, month.period, month.terms.card.rounding, line["from"]),
        "ownership": evidence.ownership(month, rows["project_id"].unique().sort().to_list()),
        "observations": [],
    }


def _spans(rows: pl.DataFrame) -> list[FeeSpan]:
    names = ("customer", "start", "end", "counted_from", "counted_to")
    return [FeeSpan(**dict(zip(names, row, strict=True))) for row in rows.select(names).iter_rows()]


def _united(spans: Iterable[FeeSpan]) -> list[FeeSpan]:
    """The union of a customer's time in one plan over all of its projects; spans come sorted by start."""
    out: list[FeeSpan] = []
    for span in spans:
        if out and span.start <= out[-1].end:
            last = out.pop()
            span = FeeSpan(  # noqa: PLW2901 - the span grows by what it meets
                customer=last.customer,
                start=last.start,
                end=max(last.end, span.end),
                counted_from=last.counted_from,
                counted_to=max(last.counted_to, span.counted_to),
            )
        out.append(span)
    return out


def _cut(spans: Iterable[FeeSpan], customers: Mapping[str, Customer]) -> list[FeeSpan]:
    """The spans cut where their customer's tax changes."""
    return [
        FeeSpan(customer=span.customer, start=start, end=end, counted_from=begin, counted_to=finish)
        for span in spans
        for start, end, begin, finish in tax_cuts.parts(
            customers.get(span.customer), (span.start, span.end), (span.counted_from, span.counted_to)
        )
    ]


def without_usage(month: Month, segments: pl.DataFrame, document: Mapping[str, Any], line: Json) -> Json:
    """A minimum, a discount above a maximum, or a flat fee due because no tier was entered."""
    customer, plan = document["customer"]["id"], month.terms.plan(line["plan"])
    card = month.terms.card
    found = bounds.held(month.period, segments, card.plans, card.meters, card.prorate)
    is_project = pl.col("project_id").eq_missing(pl.lit(line["project_id"], dtype=pl.String))
    mine = of_group(customer, line) & is_project
    rows = found.rows.filter(mine).sort("price_no")
    held = {
        number: (seconds, whole) for number, seconds, whole in rows.select("price_no", "seconds", "whole").iter_rows()
    }
    # Usage that came late may be of versions, or of a project, that nobody held at the close.
    late = dict.fromkeys(month.charges.filter(mine)["price_no"], (0, 1))
    versions = [
        Version(price=found.prices[number], seconds=seconds, whole=whole)
        for number, (seconds, whole) in sorted((late | held).items())
    ]
    frame = month.pieces.filter(of_group(customer, line))
    if line["project_id"] is not None:
        frame = frame.filter(pl.col("project_id") == line["project_id"])
    if line["kind"] == "flat_fee":
        number = rows.filter(pl.col("start") == parse_time(line["from"]))["price_no"][0]
        version = Version(price=found.prices[number], seconds=held[number][0], whole=held[number][1])
        arithmetic = explain_bounds.idle_fee(plan, version, card.rounding)
        members = pools.together(line_rates(month).pools, 4).get((customer, plan.id, line["meter"], number), ())
    else:
        own = [one for one in document["lines"] if is_same_group(one, line) and one["kind"] in {"usage", "flat_fee"}]
        arithmetic = explain_bounds.bound(plan, versions, own, card.rounding)
        members = pools.together(line_rates(month).pools, 3).get((customer, plan.id, line["meter"]), ())
    meter = next(meter for meter in card.meters if meter.id == line["meter"])
    _, seen = evidence.observations(month, frame, meter.metrics)
    rank = dict(frame.select("piece_no", "version_rank").iter_rows())
    shared = members if line["project_id"] is None else ()
    return {
        "arithmetic": arithmetic | steps.split_over(shared, frame["denominator"][0], arithmetic, plan.currency),
        "ownership": evidence.ownership(month, frame["project_id"].unique().sort().to_list()),
        "observations": [{"stretch": rank[row.pop("piece_no")], **row} for row in seen],
    }


def _is_of(line: Mapping[str, Any], one: Mapping[str, Any]) -> bool:
    """Whether a line of the document is this line, or a part of it."""
    return bool(one.get("shared", one)["key"] == line["key"])


def plan_minimum(month: Month, segments: pl.DataFrame, document: Mapping[str, Any], line: Json) -> Json:
    """What a plan's lines lack to the plan's minimum."""
    plan: Plan = month.terms.plan(line["plan"])
    own = [
        one
        for one in document["lines"]
        if one["plan"] == plan.id and not _is_of(line, one) and one["kind"] != "adjustment"
    ]
    held = held_seconds(month.period, segments, [plan.id], line_rates(month))[document["customer"]["id"], plan.id]
    rounding = month.terms.card.rounding
    return {
        "arithmetic": explain_bounds.plan_minimum(plan, held, month.period, own, rounding),
        "observations": [],
    }
