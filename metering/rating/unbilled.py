"""Computes the value of usage that nobody was billed for, and by which plan.

Pure. A project's quantity of a meter is rated by the price at the month's end, with a full month's allowance: by the
organization's default plan where that prices the meter, else by the plan that would charge least; else the value is
unknown. A price that follows Neon's cost, or has an allowance per hour, cannot be rated from a sum and is skipped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction

from metering.core.meters import Meter, meter_for, quantity
from metering.core.money import COST_CURRENCY, Rounding, amount_text, largest_remainder, quantity_text
from metering.core.plans import Plan, Price
from metering.rating.alone import alone
from metering.rating.card import Card
from metering.rating.models import follows_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A project's usage of one metric, in Neon's unit."""

    project_id: str
    metric: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """The value of one usage, as printed; None where no meter counts it, or no price is known."""

    meter: str | None = None
    quantity: str | None = None
    unit: str | None = None
    worth: str | None = None
    currency: str | None = None
    priced_as: str | None = None


def valued(
    rows: Sequence[Usage], card: Card, at: datetime, default_plans: Mapping[str, str | None]
) -> list[tuple[int, Worth]]:
    """(place in `rows`, worth) of every row; those of one project and meter together. `priced_as` is a plan's id.

    `at`: the moment of the prices and of Neon's units; `default_plans`: project -> its organization's default plan.
    """
    priced = {price.meter for plan in card.plans for price in plan.prices}
    groups: dict[tuple[str, str | None], tuple[Meter | None, list[int]]] = {}
    for place, row in enumerate(rows):
        meter = meter_for(row.metric, priced, card.meters)
        groups.setdefault((row.project_id, meter.id if meter else None), (meter, []))[1].append(place)
    out: list[tuple[int, Worth]] = []
    for (project, _), (meter, places) in groups.items():
        values = [rows[place].value for place in places]
        out += zip(places, _worth(card, meter, values, at, default_plans.get(project)), strict=True)
    return out


def _worth(
    card: Card, meter: Meter | None, values: Sequence[int], at: datetime, default: str | None
) -> Iterator[Worth]:
    """The value of each usage of one project and meter, rated together."""
    found = _cheapest(card, meter, sum(values), at, default) if meter else None
    parts = largest_remainder(found[1], values) if found else [None] * len(values)
    for value, part in zip(values, parts, strict=True):
        worth = Worth()
        if meter:
            worth = Worth(meter=meter.id, quantity=quantity_text(quantity(value, meter, at)), unit=meter.unit)
        if found and part is not None:
            plan = found[0]
            worth = replace(worth, worth=amount_text(part, plan.currency), currency=plan.currency, priced_as=plan.id)
        yield worth


def _cheapest(card: Card, meter: Meter, value: int, at: datetime, default: str | None) -> tuple[Plan, int] | None:
    """The plan that prices the usage, and the amount in minor units for all values together, before rounding."""
    used = quantity(value, meter, at)
    in_force = [(plan, _in_force(plan, meter.id, at)) for plan in card.plans]
    amounts = [(plan, _amount(price, plan, used, card.rounding)) for plan, price in in_force if price]
    for plan, amount in amounts:
        if plan.id == default:
            return plan, amount
    # Amounts of two currencies cannot be compared: Neon's is preferred, then the first by its code.
    currency = min((plan.currency for plan, _ in amounts), key=lambda code: (code != COST_CURRENCY, code), default=None)
    alike = [(plan, amount) for plan, amount in amounts if plan.currency == currency]
    return min(alike, key=lambda found: (found[1], found[0].id), default=None)


def _in_force(plan: Plan, meter: str, at: datetime) -> Price | None:
    """The plan's price of the meter at the moment; None where a sum is not enough to rate it."""
    prices = [price for price in plan.prices if price.meter == meter and price.valid_from <= at]
    newest = max(prices, key=lambda price: price.valid_from, default=None)
    if newest is None or follows_cost(newest) or newest.included_per_hour is not None:
        return None
    return newest


def _amount(price: Price, plan: Plan, used: Fraction, mode: Rounding) -> int:
    return alone(price, share=Fraction(1), after=used, currency=plan.currency, mode=mode).amount
