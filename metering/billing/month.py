"""A month put together from the store: its usage, its projects, its charges and what Neon charges us. Writes nothing.

Everything is computed as it was known at one journal record, so that a closed month can be computed
again to the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import polars as pl

from metering.billing import cost
from metering.billing.knowledge import Knowledge
from metering.billing.neon_cost import NeonCost
from metering.billing.projects import Projects
from metering.billing.recorded import Recorded
from metering.billing.sums import MonthUsage
from metering.billing.terms import Terms
from metering.billing.unbilled_usage import UnbilledUsage
from metering.core.period import Period
from metering.core.plans import Price
from metering.rating import charges, models, pools
from metering.rating.pieces import priced_pieces
from metering.usage import attribution, quantities
from metering.usage.coverage import Coverage, selection


@dataclass(frozen=True, kw_only=True)
class Month:
    """A calendar month as known at a record and rated by `terms`. Everything is computed when first asked for.

    `inventory`: (existence, sightings) if they are given: a closed month is rated again with its own. `rest`: USAGE
    that is expected of the rest of the month `known`, rated beside the usage of that one.
    """

    recorded: Recorded
    terms: Terms
    period: Period
    now: datetime
    inventory: tuple[pl.DataFrame, pl.DataFrame] | None = None
    rest: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=attribution.USAGE))
    known: "Month | None" = None

    @property
    def is_open(self) -> bool:
        """Whether the month is not over."""
        return self.now < self.period.end

    @cached_property
    def knowledge(self) -> Knowledge:
        """Which hours were read, and which projects are known."""
        return Knowledge(
            recorded=self.recorded,
            organizations=self.terms.organizations,
            mapped=frozenset(row.project_id for row in self.terms.subscriptions),
            period=self.period,
            is_open=self.is_open,
        )

    @cached_property
    def coverage(self) -> Coverage:
        """The hours that are covered in every organization that is not sponsored."""
        return self.knowledge.coverage(self.usage.sums if self.knowledge.not_known else None)

    @cached_property
    def usage(self) -> MonthUsage:
        """What was used, in the timeframes that count."""
        if self.known is not None:
            return self.known.usage
        known = self.knowledge
        plans = (*self.terms.card.plans, *cost.price_list())
        prices = {price.valid_from for plan in plans for price in plan.prices}
        return MonthUsage(
            recorded=self.recorded,
            period=self.period,
            counted={
                organization: selection(certified, self.period, is_open=self.is_open)
                for organization, certified in known.certified.items()
            },
            cuts=prices.union(
                *(frame[name] for frame in (known.uncertified, known.unread) for name in ("start", "end")),
                *self._tax_changes.values(),
            ),
            left_out=known.unread.clear() if self.is_open else known.unread,
        )

    @cached_property
    def projects(self) -> Projects:
        """When projects existed, what they were called and whose they were."""
        if self.known is not None:
            return self.known.projects
        return Projects(
            recorded=self.recorded,
            terms=self.terms,
            period=self.period,
            knowledge=self.knowledge,
            usage=self.usage,
            inventory=self.inventory,
        )

    @property
    def segments(self) -> pl.DataFrame:
        """SEGMENTS: the stretches of each project with one customer and one plan."""
        return self.projects.segments

    @cached_property
    def _tax_changes(self) -> dict[str, list[datetime]]:
        return self.terms.tax_changes(self.period)

    @cached_property
    def _rated(self) -> tuple[pl.DataFrame, dict[int, Price]]:
        if self.known is not None:
            return self.known._rated
        return priced_pieces(self.segments, self.terms.card.plans, self.terms.card.meters, self._tax_changes)

    @property
    def pieces(self) -> pl.DataFrame:
        """PIECES: the stretches of each segment and meter under one price."""
        return self._rated[0]

    @property
    def prices(self) -> dict[int, Price]:
        """The price behind each price_no."""
        return self._rated[1]

    @cached_property
    def cost(self) -> NeonCost:
        """What Neon charges us."""
        return NeonCost(
            recorded=self.recorded,
            terms=self.terms,
            period=self.period,
            usage=self.usage,
            segments=self.segments,
            pieces=self.pieces,
            prices=self.prices,
            rest=self.rest,
        )

    @cached_property
    def _placed(self) -> pl.DataFrame:
        """USAGE with `segment_no`: sums where nothing inside them makes a difference, buckets elsewhere."""
        if self.known is not None:
            rest = attribution.assigned(self.rest, self.segments, ["project_id"], "segment_no")
            return pl.concat([self.known._placed, rest])
        metrics = quantities.metrics_of(self.terms.card.meters)
        hourly = self.pieces.filter(pl.col("hourly_num").is_not_null()).select("project_id", "meter").unique()
        # Buckets of one value need not be told apart, unless a meter adds them to those of another metric.
        is_single = pl.len().over("meter") == 1
        pairs = hourly.join(metrics.with_columns(is_single=is_single), on="meter")
        apart = pairs.filter("is_single").select("project_id", "metric")
        sums = self.usage.cut(cost.cuts_of(self.segments, self.projects.own_time), apart)
        dated = sums.filter(pl.col("metric").is_in(self.terms.dated_metrics)).select("project_id", "metric")
        wanted = pl.concat([dated, pairs.filter(~pl.col("is_single")).select("project_id", "metric")]).unique()
        rows = self.usage.with_buckets(sums, wanted, read_at=self.terms.dated_metrics)
        return attribution.assigned(rows, self.segments, ["project_id"], "segment_no")

    @cached_property
    def _used(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Usage by piece; and the rows that no price took."""
        return quantities.used(self._placed, self.pieces, self.terms.card.meters)

    @cached_property
    def pool_members(self) -> Mapping[pools.Pool, pools.Members]:
        """The projects that share an allowance, and what each has of it."""
        return pools.pools(self.pieces, self._used[0], self.prices)

    @cached_property
    def charges(self) -> pl.DataFrame:
        """CHARGES: what each piece or pool comes to, tier by tier."""
        has_markup = any(models.follows_cost(price) for price in self.prices.values())
        costs = dict(self.cost.marked_up()) if has_markup else None
        return charges.charges(self.pieces, self._used[0], self.prices, self.segments, costs)

    @cached_property
    def unbilled(self) -> UnbilledUsage:
        """The usage that no invoice has."""
        return UnbilledUsage(
            placed=self._placed,
            unpriced_rows=self._used[1],
            segments=self.segments,
            own_time=self.projects.own_time,
            meters=self.terms.card.meters,
            not_known=self.knowledge.not_known,
        )
