"""The projects of a month: when each existed, what it was called, and whose it was. Reads the store.

Must not know prices.
"""

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from metering.billing.knowledge import Knowledge
from metering.billing.recorded import Recorded
from metering.billing.sums import MonthUsage
from metering.billing.terms import Terms
from metering.core.frames import Moment
from metering.core.period import Period
from metering.rating import segments as subscribed
from metering.usage import existence, known


@dataclass(frozen=True, kw_only=True)
class Projects:
    """Existence, names and owners, computed when first asked for.

    `inventory`: (existence, sightings) if they are given: a closed month is rated again with its own.
    """

    recorded: Recorded
    terms: Terms
    period: Period
    knowledge: Knowledge
    usage: MonthUsage
    inventory: tuple[pl.DataFrame, pl.DataFrame] | None

    @cached_property
    def existence(self) -> pl.DataFrame:
        """When each project existed."""
        if self.inventory is not None:
            return self.inventory[0]
        listed = self.recorded.once("billing/project_facts")
        outside = self.recorded.once("billing/used_outside", period_start=self.period.start, period_end=self.period.end)
        facts = (
            listed.join(self.usage.spans, on="project_id", how="full", coalesce=True)
            .join(outside, on="project_id", how="full", coalesce=True)
            .filter(pl.any_horizontal(pl.col("is_listed", "first_start").is_not_null(), "was_used_before"))
            .with_columns(pl.col("is_listed", "was_used_before", "is_used_after").fill_null(value=False))
        )
        return existence.existence(facts, self.period.start)

    @cached_property
    def sightings(self) -> pl.DataFrame:
        """Names and organizations, as inventory showed them; without a name, projects gone before anybody looked."""
        if self.inventory is not None:
            return self.inventory[1]
        shown = self.recorded.once("billing/sightings")
        gone = known.gone(self.knowledge.unseen).with_columns(
            seen_at=pl.lit(self.period.start, dtype=Moment), name=pl.lit(None, dtype=pl.String)
        )
        return pl.concat([shown, gone.select(shown.columns)], how="vertical_relaxed")

    @cached_property
    def segments(self) -> pl.DataFrame:
        """SEGMENTS: the stretches of each project with one customer and one plan."""
        terms = self.terms
        return subscribed.segments(
            self.period,
            self.existence,
            self.sightings,
            terms.subscriptions,
            terms.organizations,
            terms.pattern,
            terms.card.plans,
            terms.card.prorate,
        )

    @cached_property
    def own_time(self) -> pl.DataFrame:
        """OWN: the stretches in which a project is the operator's own."""
        return subscribed.own_time(self.period, self.terms.subscriptions)

    @property
    def gone_unseen(self) -> list[str]:
        """Projects billed under their own id because they were gone before anybody looked, sorted."""
        gone = {one.project_id for one in self.knowledge.unseen if one.is_gone} - self.knowledge.mapped
        return sorted(gone.intersection(self.segments["project_id"]))

    def names(self) -> dict[str, str | None]:
        """Each project's last name."""
        last = self.sightings.filter(pl.col("name").is_not_null()).sort("project_id", "seen_at", maintain_order=True)
        return dict(last.group_by("project_id", maintain_order=True).agg(pl.col("name").last()).iter_rows())

    def payers(self) -> dict[str, set[str]]:
        """Each project's customers in the month; more than one where it moved."""
        pairs = self.segments.select("project_id", "customer").unique().sort("project_id", "customer")
        grouped = pairs.group_by("project_id", maintain_order=True).agg("customer")
        return {project: set(customers) for project, customers in grouped.iter_rows()}

    def owners(self) -> dict[str, tuple[str, str]]:
        """Each project's customer and plan in force last in the month."""
        last = self.segments.sort("project_id", "start").group_by("project_id", maintain_order=True)
        rows = last.agg(pl.col("customer").last(), pl.col("plan").last()).iter_rows()
        return {project: (customer, plan) for project, customer, plan in rows}
