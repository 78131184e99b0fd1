"""Explains lines that depend on time only: base fees, minimums, maximums and flat fees due without usage.

Computes them again from a month and its segments. Reads the store, writes nothing.
"""

from typing import Any

import polars as pl

from metering.billing.month import Month
from metering.core.invoice import Invoice, Line
from metering.core.period import parse_time
from metering.explain import bounds as explain_bounds
from metering.explain import evidence, fees, steps
from metering.explain.bounds import Version
from metering.explain.evidence import is_same_group, of_group
from metering.invoicing.drafts import line_rates
from metering.invoicing.lines.fees import fee_spans, held_seconds
from metering.rating import bounds, pools

Json = dict[str, Any]


def base_fee(month: Month, customer: str, line: Line) -> Json:
    """Explains a part of a base fee."""
    plan = evidence.plan_of(month, line)
    is_own = pl.col("customer") == customer if line.project_id is None else pl.col("project_id") == line.project_id
    rows = month.segments.filter(is_own & (pl.col("plan") == plan.id))
    [(_, _, spans)] = fee_spans(month.period, rows, line_rates(month))
    return {
        "arithmetic": fees.base_fee(plan, spans, month.period, month.terms.card.rounding, line.start),
        "ownership": evidence.ownership(month, rows["project_id"].unique().sort().to_list()),
        "observations": [],
    }


def without_usage(month: Month, segments: pl.DataFrame, document: Invoice, line: Line) -> Json:
    """A minimum, a discount above a maximum, or a flat fee due because no tier was entered."""
    customer, card = document.customer.id, month.terms.card
    plan, meter = evidence.plan_of(month, line), evidence.meter_of(month, line)
    found = bounds.held(month.period, segments, card.plans, card.meters, card.prorate)
    is_project = pl.col("project_id").eq_missing(pl.lit(line.project_id, dtype=pl.String))
    mine = of_group(customer, line) & is_project
    rows = found.rows.filter(mine).sort("price_no")
    held = {
        number: (seconds, whole) for number, seconds, whole in rows.select("price_no", "seconds", "whole").iter_rows()
    }
    # Late usage may belong to price versions or projects that had no customer at the close.
    late = dict.fromkeys(month.charges.filter(mine)["price_no"], (0, 1))
    versions = [
        Version(price=found.prices[number], seconds=seconds, whole=whole)
        for number, (seconds, whole) in sorted((late | held).items())
    ]
    frame = month.pieces.filter(of_group(customer, line))
    if line.project_id is not None:
        frame = frame.filter(pl.col("project_id") == line.project_id)
    if line.kind == "flat_fee":
        number = rows.filter(pl.col("start") == parse_time(line.start))["price_no"][0]
        version = Version(price=found.prices[number], seconds=held[number][0], whole=held[number][1])
        arithmetic = explain_bounds.idle_fee(plan, version, card.rounding)
        members = pools.together(line_rates(month).pools, 4).get((customer, plan.id, meter.id, number), ())
    else:
        own = [one for one in document.lines if is_same_group(one, line) and one.kind in {"usage", "flat_fee"}]
        arithmetic = explain_bounds.bound(plan, versions, own, card.rounding)
        members = pools.together(line_rates(month).pools, 3).get((customer, plan.id, meter.id), ())
    _, seen = evidence.observations(month, frame, meter.metrics)
    rank = dict(frame.select("piece_no", "version_rank").iter_rows())
    shared = members if line.project_id is None else ()
    return {
        "arithmetic": arithmetic | steps.split_over(shared, frame["denominator"][0], arithmetic, plan.currency),
        "ownership": evidence.ownership(month, frame["project_id"].unique().sort().to_list()),
        "observations": [{"stretch": rank[row.pop("piece_no")], **row} for row in seen],
    }


def _is_of(line: Line, one: Line) -> bool:
    """Whether a line of the document is this line, or a part of it."""
    return (one.shared or one).key == line.key


def plan_minimum(month: Month, segments: pl.DataFrame, document: Invoice, line: Line) -> Json:
    """Explains the line that raises a plan's lines to its minimum."""
    plan = evidence.plan_of(month, line)
    own = [one for one in document.lines if one.plan == plan.id and not _is_of(line, one) and one.kind != "adjustment"]
    held = held_seconds(month.period, segments, [plan.id], line_rates(month))[document.customer.id, plan.id]
    rounding = month.terms.card.rounding
    return {
        "arithmetic": explain_bounds.plan_minimum(plan, held, month.period, own, rounding),
        "observations": [],
    }
