"""The exact arithmetic of a line of usage, step by step.

The steps are plain JSON (decimal strings, or `n/d` where a number does not end), complete enough to be recomputed with
a calculator. Must not know where usage came from, nor a store: the caller brings observations and the price.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from metering.core.invoice import Line, printed
from metering.core.meters import Meter, denominator, scale
from metering.core.money import (
    Rounding,
    amount_text,
    exact_text,
    minor_units,
    quantity_text,
    round_amount,
)
from metering.core.period import HOUR, Period, rfc3339
from metering.core.plans import Plan, Price
from metering.rating import pools
from metering.rating.card import plain
from metering.rating.exact import PricedTier
from metering.rating.models import billable, exact_parts, tiers_of
from metering.rating.pools import Members

Json = dict[str, Any]
ZERO = Fraction(0)
NOTHING = (ZERO, ZERO)

Standing = Mapping[tuple[str, int], tuple[Fraction, Fraction]]
"""(kind, tier) -> (quantity, amount) of a cumulative quantity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One value of one project: a timeframe of one metric under one of Neon's billing periods, as last observed."""

    project_id: str
    metric: str
    start: datetime
    end: datetime
    value: int
    read_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """The usage of one price version within a run; stretches use up allowance and tiers one after the other."""

    price: Price
    start: datetime
    end: datetime
    buckets: Sequence[Bucket]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Stretches in order, of which the last is explained; `share` is the run's part of the month."""

    plan: Plan
    meter: Meter
    stretches: Sequence[Stretch]
    share: Fraction
    month: Period
    rounding: Rounding
    costs: tuple[Fraction, Fraction] = (ZERO, ZERO)

    @property
    def price(self) -> Price:
        """The price of the stretch that is explained."""
        return self.stretches[-1].price

    @property
    def is_first(self) -> bool:
        """Whether nothing was rated before it; the first stretch also has what is due without usage."""
        return len(self.stretches) == 1


def usage_line(run: Run, line: Line) -> Json:
    """The arithmetic of a line of kind usage, or of the flat fee of a tier that usage entered."""
    read = [_stretch(run, number) for number in range(len(run.stretches))]
    before = sum((quantity for _, quantity in read[:-1]), ZERO)
    after = before + read[-1][1]
    tier = int(line.key.removesuffix("/flat").rsplit("/", 1)[-1])
    out: Json = {
        "model": run.price.model,
        "unit": run.meter.unit,
        "price": plain(run.price),
        "stretches": [told for told, _ in read],
        "used_before": exact_text(before),
        "used_after": exact_text(after),
        "is_first": run.is_first,
        "allowance": _allowance(run),
        "billable_before": exact_text(billable(run.price, run.share, before)),
        "billable_after": exact_text(billable(run.price, run.share, after)),
    }
    tiers = _tiers(run, before, after)
    out["tiers"] = tiers
    out.update(_fee_amount(run, tiers[tier - 1]) if line.kind == "flat_fee" else _tier_amount(run, tiers[tier - 1]))
    return out


def _stretch(run: Run, number: int) -> tuple[Json, Fraction]:
    """A stretch as JSON and its quantity in the meter's unit."""
    stretch = run.stretches[number]
    per_hour = stretch.price.included_per_hour
    values = _by_metric(run.meter, stretch) if per_hour is None else _beyond(run.meter, stretch, Fraction(per_hour))
    quantity = sum((exact for _, exact in values), ZERO)
    told = {
        "stretch": number + 1,
        "is_of_this_line": number == len(run.stretches) - 1,
        "from": rfc3339(stretch.start),
        "to": rfc3339(stretch.end),
        "price_valid_from": rfc3339(stretch.price.valid_from),
        "values": [row for row, _ in values],
        "quantity": exact_text(quantity),
    }
    return told, quantity


def _by_metric(meter: Meter, stretch: Stretch) -> list[tuple[Json, Fraction]]:
    """Value by divisor for each metric; a metric read under two units gives two rows."""
    groups: dict[tuple[str, Fraction], list[int]] = {}
    for bucket in stretch.buckets:
        groups.setdefault((bucket.metric, _divisor(meter, bucket.read_at)), []).append(bucket.value)
    out = []
    for (metric, divisor), values in sorted(groups.items()):
        exact = Fraction(sum(values)) / divisor
        row = {
            "metrics": [metric],
            "buckets": str(len(values)),
            "value": str(sum(values)),
            "divisor": exact_text(divisor),
            "quantity": exact_text(exact),
        }
        out.append((row, exact))
    return out


def _beyond(meter: Meter, stretch: Stretch, allowance: Fraction) -> list[tuple[Json, Fraction]]:
    """The sum of what each hour used beyond its own allowance, by divisor. An hour never counts below zero."""
    groups: dict[tuple[str, datetime, datetime, Fraction], int] = {}
    for bucket in stretch.buckets:
        key = (bucket.project_id, bucket.start, bucket.end, _divisor(meter, bucket.read_at))
        groups[key] = groups.get(key, 0) + bucket.value
    beyond: dict[Fraction, Fraction] = {}
    for (_, start, end, divisor), value in groups.items():
        free = allowance * ((end - start) // HOUR)
        beyond[divisor] = beyond.get(divisor, ZERO) + max(ZERO, value - free)
    out = []
    for divisor, units in sorted(beyond.items()):
        mine = [value for (*_, other), value in groups.items() if other == divisor]
        row = {
            "metrics": list(meter.metrics),
            "buckets": str(len(mine)),
            "value": str(sum(mine)),
            "included_per_hour": exact_text(allowance),
            "beyond": exact_text(units),
            "divisor": exact_text(divisor),
            "quantity": exact_text(units / divisor),
        }
        out.append((row, units / divisor))
    return out


def _divisor(meter: Meter, read_at: datetime) -> Fraction:
    return Fraction(denominator(meter), scale(meter, read_at))


def _allowance(run: Run) -> Json | None:
    included = Fraction(run.price.included)
    if not included:
        return None
    seconds = run.share * run.month.seconds
    return {
        "included": exact_text(included),
        "share": exact_text(run.share),
        "share_seconds": exact_text(seconds),
        "month_seconds": str(run.month.seconds),
        "quantity": exact_text(included * run.share),
    }


def _tiers(run: Run, before: Fraction, after: Fraction) -> list[Json]:
    """Every tier with its quantity and amount before and after the explained stretch."""
    now = _standing(run, after, run.costs[1])
    then = {} if run.is_first else _standing(run, before, run.costs[0])
    return [
        {"tier": number, **_terms(run, tier), **_fees(tier, number, then, now), **_step(("usage", number), then, now)}
        for number, tier in enumerate(tiers_of(run.price), start=1)
    ]


def _terms(run: Run, tier: PricedTier) -> Json:
    """The terms of a tier as the price states them; for a markup also the cost that it applies to."""
    if tier.markup_percent is not None:
        cost = {"cost_before": exact_text(run.costs[0]), "cost_after": exact_text(run.costs[1])}
        return {**cost, "markup_percent": _decimal(tier.markup_percent)}
    ends = {"above": exact_text(Fraction(tier.low)), "up_to": _decimal(tier.up_to)}
    if tier.package_size is not None:
        return {**ends, "package_size": _decimal(tier.package_size), "package_price": _decimal(tier.unit_price)}
    return {**ends, "unit_price": _decimal(tier.unit_price)}


def _fees(tier: PricedTier, number: int, then: Standing, now: Standing) -> Json:
    """A tier's flat fee, and how many were due before and after."""
    if tier.markup_percent is not None or (tier.package_size is not None and not tier.flat_fee):
        return {}
    before, after = (standing.get(("flat_fee", number), NOTHING)[0] for standing in (then, now))
    fees = {"flat_fees_before": exact_text(before), "flat_fees_after": exact_text(after)}
    return {"flat_fee": _decimal(tier.flat_fee), **fees}


def _standing(run: Run, used: Fraction, cost: Fraction) -> Standing:
    """Quantity and amount of each tier for a cumulative quantity, by the rules that rated the invoice."""
    parts = exact_parts(run.price, share=run.share, after=used, costs=(ZERO, cost))
    return {(part.kind, part.tier): (part.quantity, part.amount) for part in parts}


def _step(key: tuple[str, int], then: Standing, now: Standing) -> Json:
    (quantity_before, amount_before), (quantity_after, amount_after) = then.get(key, NOTHING), now.get(key, NOTHING)
    return {
        "quantity_before": exact_text(quantity_before),
        "quantity_after": exact_text(quantity_after),
        "quantity": exact_text(quantity_after - quantity_before),
        "amount_before": exact_text(amount_before),
        "amount_after": exact_text(amount_after),
        "amount": exact_text(amount_after - amount_before),
    }


def _decimal(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"


def _tier_amount(run: Run, tier: Json) -> Json:
    return {
        "tier": tier["tier"],
        "quantity": tier["quantity"],
        "exact": tier["amount"],
        **rounded(Fraction(tier["amount"]), run),
    }


def rounded(exact: Fraction, run: Run) -> Json:
    """The amount, rounded once to the currency's minor units."""
    currency = run.plan.currency
    return {
        "rounding": {"mode": run.rounding, "digits": minor_units(currency)},
        "amount": amount_text(round_amount(exact, currency, run.rounding), currency),
    }


def _fee_amount(run: Run, tier: Json) -> Json:
    fees = Fraction(tier["flat_fees_after"]) - Fraction(tier["flat_fees_before"])
    exact = fees * Fraction(tier["flat_fee"])
    return {"tier": tier["tier"], "quantity": exact_text(fees), "exact": exact_text(exact), **rounded(exact, run)}


def split_over(members: Members, denominator: int, arithmetic: Json, currency: str) -> Json:
    """How a customer's line is shared by its projects: what each used under this price, and its part of the line."""
    if not members:
        return {}
    amount = int(Fraction(arithmetic["amount"]) * 10 ** arithmetic["rounding"]["digits"])
    quantity = quantity_text(Fraction(arithmetic["quantity"]))
    return {
        "used_by_project": [
            {"project_id": project, "used": exact_text(Fraction(used, denominator))} for project, used in members
        ],
        "projects": [*map(printed, pools.parts(members, quantity, amount, currency))],
    }
