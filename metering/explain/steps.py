"""One line of an invoice taken apart: numbers in, every step of its arithmetic out, exact.

The steps are plain JSON (decimal strings, or `n/d` where a number does not end), complete enough to be recomputed with
a calculator. Must not know where usage came from, nor a store: the caller brings observations and the price.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from metering.core.meters import Meter, denominator, scale
from metering.core.money import (
    Rounding,
    amount_text,
    exact_text,
    minor_units,
    parse_amount,
    quantity_text,
    round_amount,
)
from metering.core.parties import Discount
from metering.core.period import HOUR, Period, rfc3339
from metering.core.plans import Plan, Price
from metering.rating import columns, pools
from metering.rating.card import plain
from metering.rating.pools import Members

Json = dict[str, Any]
ZERO = Fraction(0)


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
    """The usage of one price version within a run: what fills the allowance and the tiers one after the other."""

    price: Price
    start: datetime
    end: datetime
    buckets: Sequence[Bucket]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Stretches in their order up to the one that is explained, the last; `share` is the run's part of the month."""

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
        """Whether nothing was rated before it: then it bears what is due without usage."""
        return len(self.stretches) == 1


def usage_line(run: Run, line: Mapping[str, Any]) -> Json:
    """The arithmetic of a line of kind usage, or of the flat fee of a tier that usage entered."""
    read = [_stretch(run, number) for number in range(len(run.stretches))]
    before = sum((quantity for _, quantity in read[:-1]), ZERO)
    after = before + read[-1][1]
    tier = int(str(line["key"]).removesuffix("/flat").rsplit("/", 1)[-1])
    out: Json = {
        "model": run.price.model,
        "unit": run.meter.unit,
        "price": plain(run.price),
        "stretches": [told for told, _ in read],
        "used_before": exact_text(before),
        "used_after": exact_text(after),
        "is_first": run.is_first,
        "allowance": _allowance(run),
        "billable_before": exact_text(columns.billable(run.price, run.share, before)),
        "billable_after": exact_text(columns.billable(run.price, run.share, after)),
    }
    tiers = _tiers(run, before, after)
    out["tiers"] = tiers
    out.update(_fee_amount(run, tiers[tier - 1]) if line["kind"] == "flat_fee" else _tier_amount(run, tiers[tier - 1]))
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
    """What each hour has beyond its own allowance, summed, then / divisor. Never pooled, never below zero."""
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
    """Every tier with what stood in it and what it cost before and after the stretch that is explained."""
    price = run.price
    now = _standing(run, after, run.costs[1])
    then = {} if run.is_first else _standing(run, before, run.costs[0])
    if price.model == "cost_plus":
        step = _step(now.get(("usage", 1), (ZERO, ZERO)), then.get(("usage", 1), (ZERO, ZERO)))
        cost = {"cost_before": exact_text(run.costs[0]), "cost_after": exact_text(run.costs[1])}
        return [{"tier": 1, **cost, "markup_percent": f"{price.markup_percent:f}", **step}]
    tiers = columns.tiers_of(price)
    above = [ZERO, *(Fraction(tier.up_to) for tier, _ in pairwise(tiers) if tier.up_to is not None)]
    out: list[Json] = []
    for number, (tier, low) in enumerate(zip(tiers, above, strict=True), start=1):
        told: Json = {"tier": number, "above": exact_text(low), "up_to": _decimal(tier.up_to)}
        if price.model == "package":
            told |= {"package_size": _decimal(price.package_size), "package_price": _decimal(tier.unit_price)}
        else:
            told |= {"unit_price": _decimal(tier.unit_price), "flat_fee": _decimal(tier.flat_fee)}
            fees = (standing.get(("flat_fee", number), (ZERO, ZERO))[0] for standing in (then, now))
            told |= dict(zip(("flat_fees_before", "flat_fees_after"), map(exact_text, fees), strict=True))
        key = ("usage", number)
        out.append({**told, **_step(now.get(key, (ZERO, ZERO)), then.get(key, (ZERO, ZERO)))})
    return out


def _standing(run: Run, used: Fraction, cost: Fraction) -> dict[tuple[str, int], tuple[Fraction, Fraction]]:
    """(kind, tier) -> (quantity, amount) of a cumulative quantity, by the rules that the invoice was rated by."""
    parts = columns.exact_parts(run.price, share=run.share, after=used, costs=(ZERO, cost))
    return {(part.kind, part.tier): (part.quantity, part.amount) for part in parts}


def _step(now: tuple[Fraction, Fraction], then: tuple[Fraction, Fraction]) -> Json:
    return {
        "quantity_before": exact_text(then[0]),
        "quantity_after": exact_text(now[0]),
        "quantity": exact_text(now[0] - then[0]),
        "amount_before": exact_text(then[1]),
        "amount_after": exact_text(now[1]),
        "amount": exact_text(now[1] - then[1]),
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
    """The one rounding: to the currency's minor digits."""
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
        "projects": pools.parts(members, quantity, amount, currency),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSpan:
    """Time that a base fee is due for, as printed and as counted."""

    customer: str
    start: datetime
    end: datetime
    counted_from: datetime
    counted_to: datetime


def base_fee(plan: Plan, spans: Iterable[FeeSpan], month: Period, mode: Rounding, line_from: str) -> Json:
    """The arithmetic of a base fee: parts of one plan's fee are rounded cumulatively, so that they sum to the whole."""
    fee, due_before, seconds_before, counted_to = Fraction(plan.base_fee), 0, 0, month.start
    told: list[Json] = []
    for span in spans:
        begin = max(span.counted_from, counted_to)
        seconds = max(0, (span.counted_to - begin).days * 86_400 + (span.counted_to - begin).seconds)
        counted_to = max(counted_to, span.counted_to)
        exact = fee * Fraction(seconds_before + seconds, month.seconds)
        due = round_amount(exact, plan.currency, mode)
        told.append(
            {
                "customer": span.customer,
                "from": rfc3339(span.start),
                "to": rfc3339(span.end),
                "counted_from": rfc3339(begin),
                "counted_to": rfc3339(max(begin, span.counted_to)),
                "seconds": str(seconds),
                "seconds_so_far": str(seconds_before + seconds),
                "exact_so_far": exact_text(exact),
                "due_so_far": amount_text(due, plan.currency),
                "due_before": amount_text(due_before, plan.currency),
                "amount": amount_text(due - due_before, plan.currency),
            }
        )
        due_before, seconds_before = due, seconds_before + seconds
        if told[-1]["from"] == line_from:
            break
    return {
        "model": "base_fee",
        "base_fee": _decimal(plan.base_fee),
        "month_seconds": str(month.seconds),
        "spans": told,
        "quantity": exact_text(Fraction(int(told[-1]["seconds"]), month.seconds)),
        "rounding": {"mode": mode, "digits": minor_units(plan.currency)},
        "amount": told[-1]["amount"],
    }


def discount(
    row: Discount,
    lines: Iterable[Mapping[str, Any]],
    earlier: Iterable[Mapping[str, Any]],
    currency: str,
    mode: Rounding,
) -> Json:
    """The arithmetic of a discount: its part of what `lines` come to less the `earlier` discounts."""
    whole = [{"key": line["key"], "amount": line["amount"]} for line in lines]
    before = [{"key": line["key"], "amount": line["amount"]} for line in earlier]
    left = sum((Fraction(line["amount"]) for line in (*whole, *before)), ZERO)
    exact = left * Fraction(row.percent) / 100 if row.percent is not None else Fraction(row.amount or 0)
    taken = min(round_amount(exact, currency, mode), round_amount(left, currency, mode))
    return {
        "model": "discount",
        "percent": None if row.percent is None else _decimal(row.percent),
        "fixed": None if row.amount is None else _decimal(row.amount),
        "lines": whole,
        "earlier": before,
        "left": amount_text(round_amount(left, currency, mode), currency),
        "exact": exact_text(-exact),
        "rounding": {"mode": mode, "digits": minor_units(currency)},
        "amount": amount_text(-taken, currency),
    }


def _gross(entry: Mapping[str, str], currency: str) -> str:
    """What the lines of one tax come to with it."""
    return amount_text(sum(parse_amount(entry[name], currency) for name in ("base", "amount")), currency)


def totals(document: Mapping[str, Any]) -> Json:
    """How an invoice's lines become its total."""
    return {
        "lines": [line["amount"] for line in document["lines"]],
        "tax_inclusive": bool(document.get("tax_inclusive")),
        "subtotal": document["subtotal"],
        "taxes": [{**entry, "gross": _gross(entry, document["currency"])} for entry in document["taxes"]],
        "total": document["total"],
    }
