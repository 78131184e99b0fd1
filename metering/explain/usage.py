"""Explains lines of usage: the pieces and observations from which a line was rated, and its arithmetic.

Reads the store, writes nothing.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import polars as pl

from metering.billing.month import Month
from metering.core.invoice import Line
from metering.core.period import parse_time
from metering.explain import cost, evidence, steps
from metering.explain.evidence import of_group
from metering.explain.steps import Run, Stretch
from metering.invoicing.drafts import line_rates
from metering.rating.models import follows_cost

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pieces:
    """The pieces of a line's run up to the line's price version, and their share of the month."""

    frame: pl.DataFrame
    share: Fraction

    def versions(self) -> list[pl.DataFrame]:
        """The pieces of each price version, in order."""
        return self.frame.sort("version_rank", "start").partition_by("version_rank", maintain_order=True)


def usage(month: Month, customer: str, line: Line) -> Json:
    """Explains a line of usage, or of a flat fee due to usage: arithmetic, ownership and observations."""
    pieces = _pieces_of(month, customer, line)
    plan, meter = evidence.plan_of(month, line), evidence.meter_of(month, line)
    buckets, seen = evidence.observations(month, pieces.frame, meter.metrics)
    versions = pieces.versions()
    stretches = [
        Stretch(
            price=month.prices[version["price_no"][0]],
            start=version["start"].min(),  # type: ignore[arg-type]
            end=version["end"].max(),  # type: ignore[arg-type]
            buckets=[bucket for number in version["piece_no"] for bucket in buckets.get(number, ())],
        )
        for version in versions
    ]
    run = Run(
        plan=plan,
        meter=meter,
        stretches=stretches,
        share=pieces.share,
        month=month.period,
        rounding=month.terms.card.rounding,
        costs=_costs(month, versions, follows_cost(stretches[-1].price)),
    )
    stretch_of = {number: at for at, version in enumerate(versions, start=1) for number in version["piece_no"]}
    told = [{"stretch": stretch_of[row.pop("piece_no")], **row} for row in seen]
    pool = (customer, plan.id, meter.id, versions[-1]["price_no"][0], stretches[-1].start)
    members = line_rates(month).pools.get(pool, ()) if line.project_id is None else ()
    arithmetic = steps.usage_line(run, line)
    if follows_cost(run.price):
        numbers = pl.Series([stretch_of[number] for number in pieces.frame["piece_no"]], dtype=pl.Int64)
        ours = pieces.frame.with_columns(stretch=numbers)
        found = (cost.behind(bill, ours, meter.metrics) for bill in month.cost.bills)
        arithmetic["neon"] = [row for rows in found for row in rows]
    return {
        "arithmetic": arithmetic | steps.split_over(members, pieces.frame["denominator"][0], arithmetic, plan.currency),
        "ownership": evidence.ownership(month, pieces.frame["project_id"].unique().sort().to_list()),
        "observations": told,
    }


def _pieces_of(month: Month, customer: str, line: Line) -> _Pieces:
    charge = charge_of(month, customer, line).row(0, named=True)
    run = of_group(customer, line)
    if line.project_id is not None:
        run = run & (pl.col("project_id") == line.project_id) & (pl.col("segment_no") == charge["segment_no"])
    mine = month.pieces.filter(run)
    rank = mine.filter(pl.col("piece_no") == charge["piece_no"])["version_rank"][0]
    return _Pieces(
        frame=mine.filter(pl.col("version_rank") <= rank), share=Fraction(charge["share_num"], charge["share_den"])
    )


def charge_of(month: Month, customer: str, line: Line) -> pl.DataFrame:
    """The charges of the piece that the line is for."""
    is_project = pl.col("project_id").eq_missing(pl.lit(line.project_id, dtype=pl.String))
    return month.charges.filter(of_group(customer, line) & is_project & (pl.col("start") == parse_time(line.start)))


def _costs(month: Month, versions: list[pl.DataFrame], is_cost_plus: bool) -> tuple[Fraction, Fraction]:
    """What Neon charges for the run's usage before the last version, and with it."""
    if not is_cost_plus:
        return Fraction(0), Fraction(0)
    costs = dict(month.cost.marked_up())
    sums = [
        sum((costs.get(number, Fraction(0)) for number in version["piece_no"]), Fraction(0)) for version in versions
    ]
    return sum(sums[:-1], Fraction(0)), sum(sums, Fraction(0))
