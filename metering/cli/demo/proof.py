"""Computes the expected amounts of the demo's invoices: the sandbox's usage times the price list, in fractions.

Must not use rating code, because it checks that code.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from fractions import Fraction

from metering.billing.month import Month
from metering.core.invoice import Invoice
from metering.core.money import parse_amount, round_amount
from metering.core.plans import Plan, Price


def billed(invoices: Iterable[Invoice]) -> dict[tuple[str, str], int]:
    """Cents of usage per project and meter, from the invoices."""
    out: dict[tuple[str, str], int] = {}
    for line in (line for invoice in invoices for line in invoice.lines if line.kind in {"usage", "flat_fee"}):
        key = (line.project_id or "", line.meter or "")
        out[key] = out.get(key, 0) + parse_amount(line.amount, "USD")
    return {key: cents for key, cents in out.items() if cents}


def usage_times_price(month: Month, truth: dict[tuple[str, str, str], int]) -> dict[tuple[str, str], int]:
    """Cents of usage per project and meter, by what the sandbox metered and the price list, without any rating code."""
    owners = month.projects.owners()
    amounts: dict[tuple[str, str], int] = {}
    plans = {plan.id: plan for plan in month.terms.card.plans}
    sizes = {meter.id: (meter.metrics, Fraction(meter.divisors[-1].divisor)) for meter in month.terms.card.meters}
    for project in {key[1] for key in truth}:
        if project not in owners:
            continue
        for price in _in_force(plans[owners[project][1]], month.period.start):
            if price.included_per_hour is not None:
                continue  # needs every hour, which a day's bucket no longer has
            metrics, divisor = sizes[price.meter]
            value = sum(value for (_, owner, metric), value in truth.items() if owner == project and metric in metrics)
            cents = sum(
                round_amount(amount, "USD", "half_up")
                for amount in _tier_amounts(price, Fraction(value) / divisor - Fraction(price.included))
            )
            if cents:
                amounts[project, price.meter] = cents
    return {**amounts, **_hourly_of(month)}


def _in_force(plan: Plan, at: datetime) -> list[Price]:
    newest: dict[str, Price] = {}
    for price in sorted(plan.prices, key=lambda price: price.valid_from):
        if price.valid_from <= at:
            newest[price.meter] = price
    return list(newest.values())


def _tier_amounts(price: Price, quantity: Fraction) -> Iterator[Fraction]:
    """One amount per tier entered, by the definition of a graduated price."""
    bounds = [(tier.up_to, tier.unit_price, tier.flat_fee) for tier in price.tiers]
    if not bounds:
        assert price.unit_price is not None
        bounds = [(None, price.unit_price, Fraction(0))]  # type: ignore[list-item]
    low = Fraction(0)
    for up_to, unit_price, flat_fee in bounds:
        if quantity <= low:
            return
        high = quantity if up_to is None else min(quantity, Fraction(up_to))
        yield (high - low) * Fraction(unit_price) + Fraction(flat_fee)
        low = Fraction(up_to) if up_to is not None else high


def _hourly_of(month: Month) -> dict[tuple[str, str], int]:
    """Branches beyond the allowance per hour, day by day, since the previous month is known by days only."""
    rows = month.usage.buckets(
        month.usage.sums.filter(month.usage.sums["metric"] == "extra_branches_month").select("project_id", "metric")
    )
    owners = month.projects.owners()
    plans = {plan.id: plan for plan in month.terms.card.plans}
    beyond: dict[str, Fraction] = {}
    for project, start, end, value in rows.select("project_id", "start", "end", "value").iter_rows():
        for price in _in_force(plans[owners[project][1]], month.period.start) if project in owners else ():
            if price.meter == "extra_branches" and price.included_per_hour is not None:
                hours = (end - start) // timedelta(hours=1)
                over = max(Fraction(0), value - Fraction(price.included_per_hour) * hours)
                assert price.unit_price is not None
                beyond[project] = beyond.get(project, Fraction(0)) + over / 744 * Fraction(price.unit_price)
    cents = {project: round_amount(amount, "USD", "half_up") for project, amount in beyond.items()}
    return {(project, "extra_branches"): amount for project, amount in cents.items() if amount}
