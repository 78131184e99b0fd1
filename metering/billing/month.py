"""A month put together from the store: what counts, whose it is, what it costs. Reads the store, writes nothing.

Everything is computed as it was known at one journal record (`as_of_seq`), so that a closed month can be computed
again to the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import polars as pl

from metering.billing import cost
from metering.billing import terms as terms_of_month
from metering.billing.neon_cost import NeonCost
from metering.billing.sums import MonthUsage
from metering.billing.terms import Terms
from metering.core.dated_tax import changes
from metering.core.frames import Moment
from metering.core.period import HOUR, Period, without
from metering.core.plans import Price
from metering.rating import charges, models, pools, segments
from metering.rating.pieces import priced_pieces
from metering.store.database import Store
from metering.usage import attribution, known
from metering.usage.coverage import Certified, Coverage, certified_of, selection
from metering.usage.known import Unseen

LATEST = 2**63
Json = dict[str, Any]

_HOURS: dict[str, pl.DataType] = {"organization": pl.String(), "start": Moment, "end": Moment}


@dataclass(frozen=True, kw_only=True)
class Month:
    """A calendar month as known at `as_of_seq` and rated by `terms`. Frames are computed when first asked for."""

    store: Store
    terms: Terms
    period: Period
    now: datetime
    as_of_seq: int = LATEST
    inventory: tuple[pl.DataFrame, pl.DataFrame] | None = None
    """(existence, sightings) where they are given: a closed month is rated again with its own."""

    @cached_property
    def is_open(self) -> bool:
        """Whether the month is not over."""
        return self.now < self.period.end

    @cached_property
    def certified(self) -> dict[str, Certified]:
        """Per organization, with those that were never read."""
        known = certified_of(self.store.query("billing/coverage_of", as_of_seq=self.as_of_seq, after=0))
        return {**{org.id: Certified() for org in self.terms.organizations}, **known}

    @cached_property
    def coverage(self) -> Coverage:
        """Over the configured organizations, less the sponsored ones."""
        counted = {org.id: self.certified[org.id] for org in self.terms.organizations if not org.sponsored}
        reasons: dict[str, str] = {}
        for organization, kind, reason in self.store.query("billing/gap_reasons", as_of_seq=self.as_of_seq).iter_rows():
            reasons[organization] = f"{kind}: {reason}" if reason else kind
        unread: dict[str, list[tuple[Period, str]]] = {}
        for organization, project, start, end, fault in self.unread.iter_rows():
            why = f"unreadable: project {project}: {fault}"
            unread.setdefault(organization, []).append((Period(start=start, end=end), why))
        unlisted = {organization: self._without_inventory(organization) for organization in counted}
        return Coverage(month=self.period, certified=counted, reasons=reasons, unread=unread, unlisted=unlisted)

    @cached_property
    def unread(self) -> pl.DataFrame:
        """Hours of the month that are certified for an organization but not for one of its projects, and why."""
        found = self.store.query("billing/unread_hours", as_of_seq=self.as_of_seq)
        return found.select(
            "organization",
            "project_id",
            start=pl.max_horizontal("period_start", pl.lit(self.period.start, dtype=Moment)),
            end=pl.min_horizontal("period_end", pl.lit(self.period.end, dtype=Moment)),
            fault="fault",
        ).filter(pl.col("start") < pl.col("end"))

    @cached_property
    def _reads(self) -> dict[str, Json]:
        """Organization -> when its last complete inventory reads began."""
        found = self.store.query("billing/inventory_reads", as_of_seq=self.as_of_seq)
        return {row["organization"]: row for row in found.iter_rows(named=True)}

    @cached_property
    def _unseen(self) -> list[Unseen]:
        """Projects that history reports and inventory never showed."""
        return known.unseen(
            self.store.query("billing/unseen_projects", as_of_seq=self.as_of_seq),
            {organization: row["whole_at"] for organization, row in self._reads.items()},
            [row.id for row in self.terms.organizations if not row.sponsored],
        )

    @cached_property
    def _mapped(self) -> frozenset[str]:
        """Projects with rows in subscriptions.csv."""
        return frozenset(row.project_id for row in self.terms.subscriptions)

    @cached_property
    def not_known(self) -> list[Unseen]:
        """Projects that are not yet known: nobody is billed for them."""
        return [one for one in self._unseen if not one.is_gone and one.project_id not in self._mapped]

    @property
    def gone_unseen(self) -> list[str]:
        """Projects billed under their own id because they were gone before anybody looked, sorted."""
        gone = {one.project_id for one in self._unseen if one.is_gone}
        return sorted(gone.intersection(self.segments["project_id"]).difference(self._mapped))

    @cached_property
    def _not_known_used(self) -> pl.DataFrame:
        """organization, project_id, start, end: what the month has of projects that are not yet known."""
        names = pl.Series([one.project_id for one in self.not_known], dtype=pl.String)
        used = self.sums.filter(pl.col("project_id").is_in(names.implode()), pl.col("value") != 0)
        return used.group_by("organization", "project_id").agg(pl.col("start").min(), pl.col("end").max())

    def _without_inventory(self, organization: str) -> tuple[Period, ...]:
        used: list[Period] = []
        if self.not_known:
            rows = self._not_known_used.filter(pl.col("organization") == organization).select("start", "end")
            used = [Period(start=start, end=end) for start, end in rows.iter_rows()]
        read_at = self._reads.get(organization, {}).get("read_at")
        return known.stretches(self.period, read_at, used, is_over=not self.is_open)

    @cached_property
    def usage(self) -> MonthUsage:
        """What was used, in the timeframes that count."""
        plans = (*self.terms.card.plans, *cost.price_list())
        prices = {price.valid_from for plan in plans for price in plan.prices}
        return MonthUsage(
            store=self.store,
            period=self.period,
            counted={
                organization: selection(certified, self.period, is_open=self.is_open)
                for organization, certified in self.certified.items()
            },
            cuts=prices.union(
                *(frame[name] for frame in (self.uncertified, self.unread) for name in ("start", "end")),
                *self.tax_changes.values(),
            ),
            as_of_seq=self.as_of_seq,
            left_out=self.unread.clear() if self.is_open else self.unread,
        )

    @property
    def sums(self) -> pl.DataFrame:
        """USAGE, summed."""
        return self.usage.sums

    @property
    def parts(self) -> pl.DataFrame:
        """Which grain counts from when to when in each organization."""
        return self.usage.parts

    @cached_property
    def existence(self) -> pl.DataFrame:
        """When each project existed."""
        if self.inventory is not None:
            return self.inventory[0]
        known = self.store.query("billing/project_facts", as_of_seq=self.as_of_seq)
        outside = self.store.query(
            "billing/used_outside", period_start=self.period.start, period_end=self.period.end, as_of_seq=self.as_of_seq
        )
        facts = (
            known.join(self.usage.spans, on="project_id", how="full", coalesce=True)
            .join(outside, on="project_id", how="full", coalesce=True)
            .filter(pl.any_horizontal(pl.col("is_listed", "first_start").is_not_null(), "was_used_before"))
            .with_columns(pl.col("is_listed", "was_used_before", "is_used_after").fill_null(value=False))
        )
        return attribution.existence(facts, self.period.start)

    @cached_property
    def sightings(self) -> pl.DataFrame:
        """Names and organizations, as inventory showed them; without a name, projects gone before anybody looked."""
        if self.inventory is not None:
            return self.inventory[1]
        shown = self.store.query("billing/sightings", as_of_seq=self.as_of_seq)
        gone = known.gone(self._unseen).with_columns(
            seen_at=pl.lit(self.period.start, dtype=Moment), name=pl.lit(None, dtype=pl.String)
        )
        return pl.concat([shown, gone.select(shown.columns)], how="vertical_relaxed")

    @cached_property
    def segments(self) -> pl.DataFrame:
        """segments.SEGMENTS."""
        return segments.segments(
            self.period,
            self.existence,
            self.sightings,
            self.terms.subscriptions,
            self.terms.organizations,
            self.terms.pattern,
            self.terms.card.plans,
            self.terms.card.prorate,
        )

    @cached_property
    def tax_changes(self) -> dict[str, list[datetime]]:
        """Customer -> the moments of the month from which on its tax is another, where there are any."""
        rows = (row for row in self.terms.customers if row.dated)
        found = {row.id: changes(row, self.period.start, self.period.end) for row in rows}
        return {customer: moments for customer, moments in found.items() if moments}

    @cached_property
    def _rated(self) -> tuple[pl.DataFrame, dict[int, Price]]:
        return priced_pieces(self.segments, self.terms.card.plans, self.terms.card.meters, self.tax_changes)

    @property
    def pieces(self) -> pl.DataFrame:
        """The segments cut where their prices change, as rating.pieces.PIECES."""
        return self._rated[0]

    @property
    def prices(self) -> dict[int, Price]:
        """The price behind each price_no."""
        return self._rated[1]

    @cached_property
    def uncertified(self) -> pl.DataFrame:
        """Hours of the running month that count although no complete walk has seen them: organization, start, end."""
        rows = [
            (organization, period.start, period.end)
            for organization, certified in sorted(self.certified.items())
            for period in without(self.period, certified.covered(self.period))
            if self.is_open
        ]
        return pl.DataFrame(rows, schema=_HOURS, orient="row")

    def with_buckets(self, sums: pl.DataFrame, wanted: pl.DataFrame, *, every: timedelta = HOUR) -> pl.DataFrame:
        """The sums, with the (project_id, metric) pairs of `wanted` bucket by bucket (`read_at`: where it matters)."""
        if wanted.is_empty():
            return sums
        buckets = self.usage.buckets(wanted, every=every, read_at=self.dated_metrics)
        return pl.concat([sums.join(wanted, on=["project_id", "metric"], how="anti"), buckets])

    @property
    def dated_metrics(self) -> list[str]:
        """Metrics whose unit depends on when a page was read."""
        dated = (meter for meter in self.terms.card.meters if len(meter.divisors) > 1)
        return sorted({metric for meter in dated for metric in meter.metrics})

    def is_partial(self, rows: pl.DataFrame) -> pl.Series:
        """Which rows of USAGE hold observations of hours that are not certified."""
        is_unsure = pl.lit(value=True)
        unsure, unread = (frame.with_columns(is_partial=is_unsure) for frame in (self.uncertified, self.unread))
        of_all = attribution.assigned(rows, unsure, ["organization"], "is_partial")["is_partial"]
        of_one = attribution.assigned(rows, unread, ["organization", "project_id"], "is_partial")["is_partial"]
        return of_all.fill_null(value=False) | of_one.fill_null(value=False)

    @cached_property
    def cost(self) -> NeonCost:
        """What Neon charges us."""
        return NeonCost(
            store=self.store,
            terms=self.terms,
            period=self.period,
            as_of_seq=self.as_of_seq,
            usage=self.usage,
            segments=self.segments,
            pieces=self.pieces,
            prices=self.prices,
        )

    @cached_property
    def placed(self) -> pl.DataFrame:
        """USAGE with `segment_no`: sums where nothing inside them makes a difference, buckets elsewhere."""
        metrics = attribution.metrics_of(self.terms.card.meters)
        hourly = self.pieces.filter(pl.col("hourly_num").is_not_null()).select("project_id", "meter").unique()
        # Buckets of one value need not be told apart, unless a meter adds them to those of another metric.
        is_single = pl.len().over("meter") == 1
        pairs = hourly.join(metrics.with_columns(is_single=is_single), on="meter")
        apart = pairs.filter("is_single").select("project_id", "metric")
        sums = self.usage.cut(cost.cuts_of(self.segments, self.own_time), apart)
        dated = sums.filter(pl.col("metric").is_in(self.dated_metrics)).select("project_id", "metric")
        wanted = pl.concat([dated, pairs.filter(~pl.col("is_single")).select("project_id", "metric")]).unique()
        return attribution.assigned(self.with_buckets(sums, wanted), self.segments, ["project_id"], "segment_no")

    @cached_property
    def _used(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        return attribution.used(self.placed, self.pieces, self.terms.card.meters)

    @cached_property
    def pool_members(self) -> Mapping[pools.Pool, pools.Members]:
        """The projects that share an allowance, and what each has of it."""
        return pools.pools(self.pieces, self._used[0], self.prices)

    @cached_property
    def charges(self) -> pl.DataFrame:
        """rating.CHARGES."""
        has_markup = any(models.follows_cost(price) for price in self.prices.values())
        costs = dict(self.cost.marked_up()) if has_markup else None
        return charges.charges(self.pieces, self._used[0], self.prices, self.segments, costs)

    @cached_property
    def own_time(self) -> pl.DataFrame:
        """segments.OWN."""
        return segments.own_time(self.period, self.terms.subscriptions)

    @cached_property
    def _of_nobody(self) -> pl.DataFrame:
        """USAGE without a segment; `is_own` is true where the project is the operator's own, else null."""
        nobody = self.placed.filter(pl.col("segment_no").is_null())
        return attribution.assigned(nobody, self.own_time, ["project_id"], "is_own")

    @cached_property
    def unassigned(self) -> list[Json]:
        """Usage of projects that are nobody's: [{project_id, metric, value}]; `reason` where they are not yet known."""
        rows = _told(self._of_nobody.filter(pl.col("is_own").is_null()))
        return known.marked(rows, frozenset(one.project_id for one in self.not_known))

    @cached_property
    def own(self) -> list[Json]:
        """Usage of the operator's own projects, which nobody is billed for: [{project_id, metric, value}]."""
        return _told(self._of_nobody.filter("is_own"))

    @cached_property
    def unpriced(self) -> list[Json]:
        """Usage that no price took: [{project_id, metric, value, reason}]."""
        rest = self._used[1].filter(pl.col("segment_no").is_not_null())
        return [
            {
                **row,
                "value": str(row["value"]),
                "reason": attribution.unpriced_reason(row["metric"], self.terms.card.meters),
            }
            for row in attribution.by_metric(rest, ["project_id"])
        ]

    @property
    def without_meter(self) -> list[Json]:
        """Usage that no meter counts, by whose it is: [{customer, project_id, metric}]."""
        keys = ["project_id", "segment_no"]
        owned = self._used[1].join(self.segments.select(*keys, "customer"), on=keys)
        rows = attribution.by_metric(owned, ["customer", "project_id"])
        return [
            {name: row[name] for name in ("customer", "project_id", "metric")}
            for row in rows
            if attribution.unpriced_reason(row["metric"], self.terms.card.meters) == "no_meter"
        ]

    @cached_property
    def terms_sha256(self) -> str:
        """What invoices name as their rate card."""
        return terms_of_month.sha256(self.terms)

    def coverage_json(self) -> Json:
        """The coverage member of an invoice."""
        coverage = self.coverage
        return {
            "hours": coverage.hours(),
            "covered_hours": coverage.covered_hours(),
            "complete": coverage.is_complete(),
            "grain": coverage.grain(),
        }

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


def _told(rows: pl.DataFrame) -> list[Json]:
    return [{**row, "value": str(row["value"])} for row in attribution.by_metric(rows, ["project_id"])]
