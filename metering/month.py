"""A month put together from the store: what counts, whose it is, what it costs. Reads the store, writes nothing.

Everything is computed as it was known at one journal record (`as_of_seq`), so that a closed month can be computed
again to the same bytes.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import polars as pl

from metering import cost, invoice, ratecard, rating, usage
from metering import terms as terms_of_month
from metering.config import Price
from metering.coverage import Certified, Coverage, selection
from metering.meters import meter_for
from metering.money import quantity_text
from metering.neon_cost import NeonCost
from metering.period import DAY, HOUR, Period, rfc3339
from metering.poll import certified_of
from metering.store import Store
from metering.terms import Terms
from metering.usage import USAGE, Int128, Moment

LATEST = 2**63
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Month:
    """A calendar month as known at `as_of_seq` and rated by `terms`. Frames are computed when first asked for."""

    store: Store
    terms: Terms
    period: Period
    now: datetime
    as_of_seq: int = LATEST

    @cached_property
    def is_open(self) -> bool:
        """Whether the month is not over."""
        return self.now < self.period.end

    @cached_property
    def certified(self) -> dict[str, Certified]:
        """Per organization, with those that were never read."""
        known = certified_of(self.store, self.as_of_seq)
        return {**{org.id: Certified() for org in self.terms.organizations}, **known}

    @cached_property
    def coverage(self) -> Coverage:
        """Over the configured organizations, less the sponsored ones."""
        counted = {org.id: self.certified[org.id] for org in self.terms.organizations if not org.sponsored}
        reasons: dict[str, str] = {}
        for organization, kind, reason in self.store.query("gap_reasons", as_of_seq=self.as_of_seq).iter_rows():
            reasons[organization] = f"{kind}: {reason}" if reason else kind
        return Coverage(month=self.period, certified=counted, reasons=reasons)

    @cached_property
    def existence(self) -> pl.DataFrame:
        """When each project existed."""
        facts = self.store.query(
            "project_facts", period_start=self.period.start, period_end=self.period.end, as_of_seq=self.as_of_seq
        )
        return usage.existence(facts, self.period.start)

    @cached_property
    def sightings(self) -> pl.DataFrame:
        """Names and organizations, as inventory showed them."""
        return self.store.query("sightings", period_start=self.period.start, as_of_seq=self.as_of_seq)

    @cached_property
    def segments(self) -> pl.DataFrame:
        """ratecard.SEGMENTS."""
        return ratecard.segments(
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
    def _rated(self) -> tuple[pl.DataFrame, dict[int, Price]]:
        return ratecard.pieces(self.segments, self.terms.card.plans, self.terms.card.meters)

    @property
    def pieces(self) -> pl.DataFrame:
        """ratecard.PIECES."""
        return self._rated[0]

    @property
    def prices(self) -> dict[int, Price]:
        """The price behind each price_no."""
        return self._rated[1]

    @cached_property
    def parts(self) -> pl.DataFrame:
        """Which grain counts from when to when in each organization, cut where a price changes."""
        dated = [*self.prices.values(), *(price for plan in cost.price_list() for price in plan.prices)]
        cuts = sorted(
            {price.valid_from for price in dated if self.period.start < price.valid_from < self.period.end}
        )
        slices = [
            Period(start=a, end=b) for a, b in zip([self.period.start, *cuts], [*cuts, self.period.end], strict=True)
        ]
        rows = []
        for organization, certified in sorted(self.certified.items()):
            for timeframes in selection(certified, self.period, is_open=self.is_open):
                for slice_ in slices:
                    if common := timeframes.period.overlap(slice_):
                        rows.append((organization, timeframes.grain, common.start, common.end))
        schema = {"organization": pl.String, "grain": pl.UInt8, "period_start": Moment, "period_end": Moment}
        return pl.DataFrame(rows, schema=schema, orient="row").with_row_index("part_no")

    @cached_property
    def sums(self) -> pl.DataFrame:
        """USAGE summed over each part: one row per organization, project, part and metric."""
        with self.store.frames(part=self.parts):
            found = self.store.query(
                "usage_sums", period_start=self.period.start, period_end=self.period.end, as_of_seq=self.as_of_seq
            )
        return (
            found.join(self.parts.drop("organization"), on="part_no", how="left")
            .with_columns(start="period_start", end="period_end", read_at=pl.lit(None, dtype=Moment))
            .select(pl.col(name).cast(kind) for name, kind in USAGE.items())
            .sort("organization", "project_id", "metric", "start")
        )

    def buckets(self, wanted: pl.DataFrame) -> pl.DataFrame:
        """USAGE bucket by bucket for the (project_id, metric) pairs of `wanted`."""
        with self.store.frames(part=self.parts, wanted=wanted):
            found = self.store.query(
                "usage_buckets", period_start=self.period.start, period_end=self.period.end, as_of_seq=self.as_of_seq
            )
        return (
            found.with_columns(start="timeframe_start")
            .with_columns(end=usage.bucket_end())
            .select(pl.col(name).cast(kind) for name, kind in USAGE.items())
            .sort("organization", "project_id", "metric", "start")
        )

    @cached_property
    def undivided(self) -> pl.Series:
        """The projects whose usage of the month needs no cutting for our plans."""
        return usage.undivided(self.segments, self.existence, (self.period.start, self.period.end))

    @cached_property
    def cost(self) -> NeonCost:
        """What Neon charges us."""
        return NeonCost(
            store=self.store,
            terms=self.terms,
            period=self.period,
            as_of_seq=self.as_of_seq,
            sums=self.sums,
            buckets=self.buckets,
            segments=self.segments,
            undivided=self.undivided,
            pieces=self.pieces,
            prices=self.prices,
        )

    @cached_property
    def placed(self) -> pl.DataFrame:
        """USAGE with `segment_no`: sums where nothing inside them makes a difference, buckets elsewhere."""
        fine = self._fine_metrics()
        pairs = self.sums.select("project_id", "metric").unique()
        is_fine = ~pl.col("project_id").is_in(self.undivided.implode()) | pl.col("metric").is_in(fine)
        wanted = pairs.filter(is_fine).sort("project_id", "metric")
        rows = self.sums
        if wanted.height:
            single = {meter.id for meter in self.terms.card.meters if len(meter.divisors) > 1}
            dated = {metric for meter in self.terms.card.meters if meter.id in single for metric in meter.metrics}
            buckets = self.buckets(wanted).with_columns(
                read_at=pl.when(pl.col("metric").is_in(sorted(dated))).then("read_at")
            )
            rows = pl.concat([rows.join(wanted, on=["project_id", "metric"], how="anti"), buckets])
        return usage.assigned(rows, self.segments, ["project_id"], "segment_no")

    def _fine_metrics(self) -> list[str]:
        """Metrics that are needed bucket by bucket everywhere: allowances per hour, units that changed, late prices."""
        meters = {meter.id: meter for meter in self.terms.card.meters}
        first = {}
        for plan in self.terms.card.plans:
            for price in plan.prices:
                key = (plan.id, price.meter)
                first[key] = min(first.get(key, price.valid_from), price.valid_from)
        names = {price.meter for price in self.prices.values() if price.included_per_hour is not None}
        names |= {meter.id for meter in meters.values() if len(meter.divisors) > 1}
        names |= {meter for (_, meter), start in first.items() if self.period.start < start < self.period.end}
        return sorted({metric for name in names for metric in meters[name].metrics})

    @cached_property
    def _used(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        return usage.used(self.placed, self.pieces, self.terms.card.meters)

    @cached_property
    def charges(self) -> pl.DataFrame:
        """rating.CHARGES."""
        has_markup = any(price.model == "cost_plus" for price in self.prices.values())
        costs = dict(self.cost.marked_up()) if has_markup else None
        return rating.charges(self.pieces, self._used[0], self.prices, self.segments, costs)

    @cached_property
    def unassigned(self) -> list[Json]:
        """Usage of projects that are nobody's: [{project_id, metric, value}]."""
        nobody = self.placed.filter(pl.col("segment_no").is_null())
        return [{**row, "value": str(row["value"])} for row in usage.by_metric(nobody, ["project_id"])]

    @cached_property
    def unpriced(self) -> list[Json]:
        """Usage that no price took: [{project_id, metric, value, reason}]."""
        rest = self._used[1].filter(pl.col("segment_no").is_not_null())
        return [
            {
                **row,
                "value": str(row["value"]),
                "reason": usage.unpriced_reason(row["metric"], self.terms.card.meters),
            }
            for row in usage.by_metric(rest, ["project_id"])
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

    def drafts(self) -> list[Json]:
        """The month's invoices as drafts, in the contract's shape."""
        card = invoice.rates(
            self.terms.card.plans,
            self.prices,
            self.terms.card.meters,
            rounding=self.terms.card.rounding,
            prorate=self.terms.card.prorate,
        )
        coverage = self.coverage_json()
        customers = self.segments["customer"].unique().to_list()
        return invoice.invoices(
            self.period,
            self.segments,
            self.charges,
            card,
            self.terms.customers,
            as_of=self.now,
            coverage=dict.fromkeys(customers, coverage),
            rate_card_sha256=self.terms_sha256,
        )

    def names(self) -> dict[str, str | None]:
        """Each project's last name."""
        last = self.sightings.filter(pl.col("name").is_not_null()).sort("project_id", "seen_at", maintain_order=True)
        return dict(last.group_by("project_id", maintain_order=True).agg(pl.col("name").last()).iter_rows())

    def owners(self) -> dict[str, tuple[str, str]]:
        """Each project's customer and plan in force last in the month."""
        last = self.segments.sort("project_id", "start").group_by("project_id", maintain_order=True)
        rows = last.agg(pl.col("customer").last(), pl.col("plan").last()).iter_rows()
        return {project: (customer, plan) for project, customer, plan in rows}


def usage_json(month: Month, *, by: str | None = None, project: str | None = None) -> Json:
    """What `usage` prints: contract section 3."""
    rows = month.sums
    keys = ["organization", "project_id"]
    if by is not None:
        pairs = rows.select("project_id", "metric").unique()
        every = "1h" if by == "hour" else "1d"
        rows = month.buckets(pairs).with_columns(start=pl.col("start").dt.truncate(every))
        keys = [*keys, "start"]
    if project is not None:
        rows = rows.filter(pl.col("project_id") == project)
    return {
        "period": {"start": rfc3339(month.period.start), "end": rfc3339(month.period.end)},
        "as_of": rfc3339(month.now),
        "coverage": {**month.coverage_json(), "gaps": month.coverage.gaps(month.now)},
        "usage": _usage_rows(month, rows, keys, by),
    }


def _usage_rows(month: Month, rows: pl.DataFrame, keys: list[str], by: str | None) -> list[Json]:
    names, owners = month.names(), month.owners()
    priced = {plan.id: {price.meter for price in plan.prices} for plan in month.terms.card.plans}
    read = rows.with_columns(pl.col("value").cast(Int128))
    out = []
    for row in usage.by_metric(read, keys):
        customer, plan = owners.get(row["project_id"], (None, None))
        meter = meter_for(row["metric"], priced.get(plan or "", ()), month.terms.card.meters)
        spans = {}
        if by is not None:
            spans = {"start": rfc3339(row["start"]), "end": rfc3339(row["start"] + (HOUR if by == "hour" else DAY))}
        out.append(
            {
                "organization": row["organization"],
                "project_id": row["project_id"],
                "project_name": names.get(row["project_id"]),
                "customer": customer,
                "plan": plan,
                **spans,
                "metric": row["metric"],
                "value": str(row["value"]),
                "meter": meter.id if meter else None,
                "quantity": quantity_text(usage.quantity(row["value"], meter, month.now)) if meter else None,
                "unit": meter.unit if meter else None,
            }
        )
    return out
