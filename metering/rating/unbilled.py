"""What usage that nobody was billed for would be worth, and by which plan that is said.

Pure. A project's quantity of a meter is rated by the price in force at the month's end, its allowance taken off as if
the project had been on that plan all month: by the organization's default plan where that prices the meter, else by
the plan that would charge least, else it is not known. What costs Neon's price plus something, or has an allowance
per hour, cannot be told from a sum and is passed over.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any

from metering.core.meters import Meter, meter_for, quantity
from metering.core.money import COST_CURRENCY, Rounding, amount_text, largest_remainder, quantity_text
from metering.core.plans import Plan, Price
from metering.core.rows import Row, Table, grouped
from metering.rating.alone import alone
from metering.rating.card import Card
from metering.rating.models import follows_cost

UNKNOWN: dict[str, Any] = {"worth": None, "currency": None, "priced_as": None}


def valued(
    rows: Iterable[Row],
    card: Card,
    at: datetime,
    default_plans: Mapping[str, str | None],
) -> Table:
    """The rows {project_id, metric, value} with meter, quantity, unit, worth, currency and `priced_as`, a plan's id.

    `at`: prices in force then count, and units as Neon told them then; `default_plans`: project -> its organization's.
    """
    priced = {price.meter for plan in card.plans for price in plan.prices}
    meters = {meter.id: meter for meter in card.meters}
    measured = [{**row, **_measured(row, meter_for(row["metric"], priced, card.meters), at)} for row in rows]
    out: Table = []
    for (project, meter), group in grouped(measured, lambda row: (row["project_id"], row["meter"])).items():
        found = _cheapest(card, meters[meter], group, at, default_plans.get(project)) if meter else None
        if found is None:
            out += [{**row, **UNKNOWN} for row in group]
            continue
        plan, amount = found
        for row, part in zip(group, _parts(amount, group), strict=True):
            worth = amount_text(part, plan.currency)
            out.append({**row, "worth": worth, "currency": plan.currency, "priced_as": plan.id})
    return out


def _measured(row: Row, meter: Meter | None, at: datetime) -> dict[str, str | None]:
    if meter is None:
        return {"meter": None, "quantity": None, "unit": None}
    return {"meter": meter.id, "quantity": quantity_text(quantity(int(row["value"]), meter, at)), "unit": meter.unit}


def _parts(amount: int, rows: Sequence[Row]) -> list[int]:
    """The amount over the metrics of a meter, by their values."""
    return largest_remainder(amount, [int(row["value"]) for row in rows])


def _cheapest(
    card: Card, meter: Meter, rows: Sequence[Row], at: datetime, default: str | None
) -> tuple[Plan, int] | None:
    """The plan to say it by, and the amount in minor units, of what the rows come to together before any rounding."""
    used = quantity(sum(int(row["value"]) for row in rows), meter, at)
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
    """The plan's price of the meter at that moment, where a sum is enough to rate it."""
    prices = [price for price in plan.prices if price.meter == meter and price.valid_from <= at]
    newest = max(prices, key=lambda price: price.valid_from, default=None)
    if newest is None or follows_cost(newest) or newest.included_per_hour is not None:
        return None
    return newest


def _amount(price: Price, plan: Plan, used: Fraction, mode: Rounding) -> int:
    return alone(price, share=Fraction(1), after=used, currency=plan.currency, mode=mode).amount
