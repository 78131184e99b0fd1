"""What Neon charges us for a month: the month's usage of each organization under Neon's own dated price list.

Organizations are taken one by one: Neon bills them apart, and a project that moved is billed by both for its part.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from metering import cost, meters, rating, usage
from metering.config import Organization

if TYPE_CHECKING:
    from metering.month import Month

HOURLY_METRIC = "extra_branches_month"
"""Neon's branch allowance counts by the hour."""
Moment = usage.Moment


class NeonCost:
    """The cost of a month, computed when first asked for."""

    def __init__(self, month: "Month") -> None:
        self.month = month
        self.plans = cost.price_list()

    @cached_property
    def _bills(self) -> list[tuple[Organization, pl.DataFrame, dict[int, tuple[Fraction, Fraction]], list[str]]]:
        found = []
        for organization in self.month.terms.organizations:
            if not organization.sponsored:
                pieces, billed, notes = self._bill(organization)
                found.append((organization, pieces, billed, notes))
        return found

    def _bill(
        self, organization: Organization
    ) -> tuple[pl.DataFrame, dict[int, tuple[Fraction, Fraction]], list[str]]:
        month = self.month
        periods = self._periods(organization)
        segments, unknown = cost.segments(month.period, periods, [organization], self.plans)
        notes = [
            f"Neon's prices for the plan {plan or '(none named)'} of {name} are not known: its usage has no cost here"
            for name, plan in unknown
        ]
        pieces, prices = cost.pieces(segments, cost.cuts_of(month.segments, month.pieces), self.plans)
        rows = usage.assigned(self._rows(organization, segments), segments, ["project_id"], "segment_no")
        used, _ = usage.used(rows, pieces, meters.built_in())
        return pieces, cost.by_piece(rating.charges(pieces, used, prices, segments), pieces, used), notes

    def _periods(self, organization: Organization) -> pl.DataFrame:
        month = self.month
        found = month.store.query(
            "neon_periods",
            organization=organization.id,
            period_start=month.period.start,
            period_end=month.period.end,
            as_of_seq=month.as_of_seq,
        )
        start = pl.max_horizontal(
            pl.col("period_start").fill_null(month.period.start), pl.lit(month.period.start, dtype=Moment)
        )
        return found.select(
            "project_id",
            "neon_plan",
            organization=pl.lit(organization.id),
            start=start.dt.truncate("1s"),
            end=start.shift(-1).over("project_id").dt.truncate("1s"),
        ).with_columns(
            # The first period also has what lies before it: usage never falls beside the bill.
            start=pl.when(pl.col("start") == pl.col("start").min().over("project_id"))
            .then(pl.lit(month.period.start, dtype=Moment))
            .otherwise("start")
        )

    def _rows(self, organization: Organization, segments: pl.DataFrame) -> pl.DataFrame:
        """The organization's usage, bucket by bucket where Neon's or our plan changes or an allowance is hourly."""
        month = self.month
        sums = month.sums.filter(pl.col("organization") == organization.id)
        divided = segments.group_by("project_id").len().filter(pl.col("len") > 1)["project_id"]
        is_whole = pl.col("project_id").is_in(month.undivided.implode()) & ~pl.col("project_id").is_in(
            divided.implode()
        )
        wanted = sums.filter(~is_whole | (pl.col("metric") == HOURLY_METRIC)).select("project_id", "metric").unique()
        if wanted.is_empty():
            return sums
        buckets = month.buckets(wanted).filter(pl.col("organization") == organization.id)
        return pl.concat(
            [
                sums.join(wanted, on=["project_id", "metric"], how="anti"),
                buckets.with_columns(read_at=pl.lit(None, dtype=Moment)),
            ]
        )

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Per organization, project, our customer and plan, and meter: quantity billed and amount in USD."""
        return [
            row
            for _, pieces, billed, _ in self._bills
            for row in cost.rows(billed, pieces, self.month.segments)
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be priced."""
        return tuple(note for *_, notes in self._bills for note in notes)

    def marked_up(self) -> Iterator[tuple[int, Fraction]]:
        """(piece_no of ours, Neon's cost) for the prices of model cost_plus."""
        totals: dict[int, Fraction] = {}
        for _, pieces, billed, _ in self._bills:
            found = cost.for_cost_plus(
                billed, pieces, self.month.pieces, self.month.prices, self.month.terms.card.meters
            )
            for piece_no, amount in found.items():
                totals[piece_no] = totals.get(piece_no, Fraction(0)) + amount
        yield from totals.items()
