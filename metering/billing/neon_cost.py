"""What Neon charges us for a month: the month's usage of each organization under Neon's own dated price list.

Organizations are taken one by one: Neon bills them apart, and a project that moved is billed by both for its part.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from functools import cached_property

import polars as pl

from metering.billing import cost
from metering.billing.cost import Bill, CostRow
from metering.billing.recorded import Recorded
from metering.billing.sums import MonthUsage
from metering.billing.terms import Terms
from metering.core import meters
from metering.core.frames import Moment
from metering.core.parties import Organization
from metering.core.period import HOUR, Period
from metering.core.plans import Plan, Price
from metering.rating import charges
from metering.usage import attribution, quantities

HOURLY_METRIC = "extra_branches_month"
"""Neon's branch allowance counts by the hour."""


@dataclass(frozen=True, kw_only=True)
class NeonCost:
    """The cost of a month, computed when first asked for; the fields are those of a month.

    `plans`: Neon's price list, another than the shipped one to ask what would be; `every`: the length of the buckets
    from which allowances per hour are taken where finer ones are known; `rest`: USAGE that is expected besides.
    """

    recorded: Recorded
    terms: Terms
    period: Period
    usage: MonthUsage
    segments: pl.DataFrame
    pieces: pl.DataFrame
    prices: dict[int, Price]
    plans: tuple[Plan, ...] = field(default_factory=cost.price_list)
    every: timedelta = HOUR
    rest: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=attribution.USAGE))

    @cached_property
    def bills(self) -> list[Bill]:
        """What each organization is charged; a sponsored one pays nothing."""
        return [priced.bill(self.rest) for priced in self._priced()]

    def totals(self, rests: Sequence[pl.DataFrame]) -> list[int]:
        """Cents in USD: what `total` is with each of these in the place of `rest`; the usage is read once."""
        sums = [0] * len(rests)
        for priced in self._priced():
            for number, rest in enumerate(rests):
                bill = priced.bill(rest)
                sums[number] += cost.total(bill.billed, bill.pieces)
        return sums

    def _priced(self) -> Iterator["_Priced"]:
        """The organizations that pay, one after the other."""
        return (self._of(organization) for organization in self.terms.organizations if not organization.sponsored)

    def _of(self, organization: Organization) -> "_Priced":
        segments, unknown = cost.segments(self.period, self._periods(organization), [organization], self.plans)
        notes = [
            f"Neon's prices for the plan {plan or '(none named)'} of {name} are not known: its usage has no cost here"
            for name, plan in unknown
        ]
        our_segments, our_pieces = self._ours(organization)
        cuts = cost.cuts_of(our_segments, our_pieces)
        pieces, prices = cost.pieces(segments, cuts, self.plans)
        return _Priced(
            organization=organization.id,
            our_segments=our_segments,
            our_pieces=our_pieces,
            segments=segments,
            pieces=pieces,
            prices=prices,
            rows=self._rows(organization, pl.concat([cuts, cost.cuts_of(segments)]), pieces),
            notes=notes,
        )

    def _ours(self, organization: Organization) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Our segments and pieces, each from its first bucket on: what Neon charges for a bucket follows its usage."""
        parts = self.usage.parts.filter(pl.col("organization") == organization.id)
        segments = attribution.reaching_back(self.segments, parts, ["project_id"])
        pieces = attribution.reaching_back(self.pieces, parts, ["project_id", "segment_no", "meter"])
        owner = segments.select("project_id", "segment_no", owned_from="start")
        within = pieces.join(owner, on=["project_id", "segment_no"]).with_columns(
            start=pl.max_horizontal("start", "owned_from")
        )
        return segments, within.select(self.pieces.columns)

    def _periods(self, organization: Organization) -> pl.DataFrame:
        found = self.recorded.query(
            "billing/neon_periods",
            organization=organization.id,
            period_start=self.period.start,
            period_end=self.period.end,
        )
        start = pl.max_horizontal(
            pl.col("period_start").fill_null(self.period.start), pl.lit(self.period.start, dtype=Moment)
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
            .then(pl.lit(self.period.start, dtype=Moment))
            .otherwise("start")
        )

    def _rows(self, organization: Organization, cuts: pl.DataFrame, pieces: pl.DataFrame) -> pl.DataFrame:
        """The organization's usage, cut where Neon's or our plan changes, by buckets where an allowance is hourly."""
        hourly = pieces.filter(pl.col("hourly_num").is_not_null()).select("project_id").unique()
        apart = hourly.with_columns(metric=pl.lit(HOURLY_METRIC))
        if self.every == HOUR:
            return self.usage.cut(cuts, apart).filter(pl.col("organization") == organization.id)
        day = pl.col("start").dt.truncate(self.every)
        buckets = self.usage.buckets(apart, every=self.every).with_columns(
            start=day, end=pl.max_horizontal("end", day + self.every)
        )
        rows = self.usage.cut(cuts).join(apart, on=["project_id", "metric"], how="anti")
        return pl.concat([rows, buckets]).filter(pl.col("organization") == organization.id)

    @cached_property
    def rows(self) -> list[CostRow]:
        """Per organization, project, our customer and plan, and meter: quantity billed and amount in USD."""
        return [row for bill in self.bills for row in cost.rows(bill.billed, bill.pieces, bill.our_segments)]

    @cached_property
    def total(self) -> int:
        """Cents in USD: what the amounts of `rows` add up to, without making them."""
        return sum(cost.total(bill.billed, bill.pieces) for bill in self.bills)

    @property
    def plans_of(self) -> dict[str, list[str]]:
        """Organization -> the plans of Neon's that its usage of the month was priced by, in order of their names."""
        return {bill.organization: bill.pieces["plan"].unique().sort().to_list() for bill in self.bills}

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be priced."""
        return tuple(note for bill in self.bills for note in bill.notes)

    def marked_up(self) -> Iterator[tuple[int, Fraction]]:
        """(piece_no of ours, Neon's cost) for the prices of model cost_plus."""
        totals: dict[int, Fraction] = {}
        for bill in self.bills:
            found = cost.for_cost_plus(bill.billed, bill.pieces, bill.our_pieces, self.prices, self.terms.card.meters)
            for piece_no, amount in found.items():
                totals[piece_no] = totals.get(piece_no, Fraction(0)) + amount
        yield from totals.items()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Priced:
    """An organization's usage (`rows`) with Neon's segments and prices for it, and ours; fields as in `Bill`."""

    organization: str
    our_segments: pl.DataFrame
    our_pieces: pl.DataFrame
    segments: pl.DataFrame
    pieces: pl.DataFrame
    prices: Mapping[int, Price]
    rows: pl.DataFrame
    notes: Sequence[str]

    def bill(self, rest: pl.DataFrame) -> Bill:
        """The bill for the usage and that of `rest`."""
        found = pl.concat([self.rows, rest.filter(pl.col("organization") == self.organization)])
        rows = attribution.assigned(found, self.segments, ["project_id"], "segment_no")
        used, _ = quantities.used(rows, self.pieces, meters.built_in())
        return Bill(
            organization=self.organization,
            our_segments=self.our_segments,
            our_pieces=self.our_pieces,
            pieces=self.pieces,
            prices=self.prices,
            used=used,
            billed=cost.by_piece(charges.charges(self.pieces, used, self.prices, self.segments), self.pieces, used),
            notes=self.notes,
        )
