"""`backtest`: what history would have cost under other plans: who would pay less or more, revenue and margin.

A plan of the file takes the place of the one of the same id; owners, existence and usage of projects
stay as they were. Amounts are net of tax and after discounts. Reads the store, writes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.billing.terms import Terms
from metering.config import Config
from metering.core.errors import ConfigError, Fault
from metering.core.money import COST_CURRENCY, amount_text, parse_amount
from metering.core.period import Period, month_name, rfc3339
from metering.core.plans import Plan
from metering.invoicing.drafts import Sums, billed
from metering.invoicing.rated_month import RatedMonth
from metering.store.database import Store

Json = dict[str, Any]

Owner = tuple[str | None, str | None]
"""(customer, plan); None where a project was nobody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Sums over all months before and after, our Neon cost of each customer and plan in cents, customers' names."""

    before: Sums = field(default_factory=dict)
    after: Sums = field(default_factory=dict)
    cost: dict[Owner, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def backtest(store: Store, config: Config, plans: Sequence[Plan], periods: Sequence[Period], now: datetime) -> Json:
    """The document that `backtest` prints. Raises ConfigError where no plan of these months has such an id."""
    found, tried, notes = Result(), set[str](), list[str]()
    known = Recorded(store=store)
    for period in periods:
        rated = RatedMonth(recorded=known, config=config, period=period, now=now)
        for month, is_of in rated.parts:
            tried |= {plan.id for plan in month.terms.card.plans}
            found.names.update({row.id: row.name for row in month.terms.customers})
            _add(found.before, billed(month, is_of))
            _add(found.after, billed(replace(month, terms=with_plans(month.terms, plans)), is_of))
        _add_cost(found.cost, rated.whole)
        if not rated.whole.coverage.is_complete():
            notes.append(f"{month_name(period)} is not covered completely: its figures are too low")
    if not tried & {plan.id for plan in plans}:
        right = f"a plan takes the place of one of these: {', '.join(sorted(tried))}"
        raise ConfigError(
            [
                Fault(where=f"plans[{i}].id", what=f"no plan has the id {plan.id}", right=right)
                for i, plan in enumerate(plans)
            ]
        )
    return {
        "period": {"start": rfc3339(periods[0].start), "end": rfc3339(periods[-1].end)},
        "as_of": rfc3339(now),
        "plans_tried": [plan.id for plan in plans],
        "customers": list(_customers(found)),
        "plans": list(_plans(found)),
        "totals": list(_totals(found)),
        "notes": notes,
    }


def with_plans(of_month: Terms, plans: Iterable[Plan]) -> Terms:
    """The terms with these plans in the place of those of the same ids."""
    tried = {plan.id: plan for plan in plans}
    merged = tuple(tried.get(plan.id, plan) for plan in of_month.card.plans)
    return replace(of_month, card=replace(of_month.card, plans=merged))


def _add(sums: Sums, more: Sums) -> None:
    for key, amount in more.items():
        sums[key] = sums.get(key, 0) + amount


def _add_cost(cost: dict[Owner, int], month: Month) -> None:
    for row in month.cost.rows:
        key = (row.customer, row.plan)
        cost[key] = cost.get(key, 0) + parse_amount(row.amount, COST_CURRENCY)


# -- rows


def _customers(found: Result) -> Iterator[Json]:
    """One row per customer and currency, those who would pay most more first."""
    before, after = _by(found.before, 0), _by(found.after, 0)
    cost: dict[str | None, int] = {}
    for (customer, _), amount in found.cost.items():
        cost[customer] = cost.get(customer, 0) + amount
    keys = sorted(before.keys() | after.keys(), key=lambda key: (before.get(key, 0) - after.get(key, 0), key))
    for customer, currency in keys:
        difference = after.get((customer, currency), 0) - before.get((customer, currency), 0)
        yield {
            "customer": customer,
            "name": found.names.get(customer, customer),
            **_amounts(before.get((customer, currency), 0), after.get((customer, currency), 0), currency),
            **_margins(before, after, (customer, currency), cost.get(customer, 0)),
            "result": "loses" if difference > 0 else "wins" if difference < 0 else "same",
        }


def _plans(found: Result) -> Iterator[Json]:
    before, after = _by(found.before, 1), _by(found.after, 1)
    cost: dict[str | None, int] = {}
    for (_, plan), amount in found.cost.items():
        cost[plan] = cost.get(plan, 0) + amount
    for plan, currency in sorted(before.keys() | after.keys()):
        yield {
            "plan": plan,
            **_amounts(before.get((plan, currency), 0), after.get((plan, currency), 0), currency),
            **_margins(before, after, (plan, currency), cost.get(plan, 0)),
        }


def _totals(found: Result) -> Iterator[Json]:
    before, after = _by(found.before, None), _by(found.after, None)
    customers = list(_customers(found))
    for key in sorted(before.keys() | after.keys()):
        mine = [row for row in customers if row["currency"] == key[1]]
        yield {
            **_amounts(before.get(key, 0), after.get(key, 0), key[1]),
            **_margins(before, after, key, _cost_of_all(found)),
            "winners": str(sum(row["result"] == "wins" for row in mine)),
            "losers": str(sum(row["result"] == "loses" for row in mine)),
        }


def _cost_of_all(found: Result) -> int:
    """Our Neon cost of all usage except what is billed in another currency; unassigned usage costs too."""
    payers: dict[bool, set[str]] = {True: set(), False: set()}
    for customer, _, currency in found.before.keys() | found.after.keys():
        payers[currency == COST_CURRENCY].add(customer)
    elsewhere = payers[False] - payers[True]
    return sum(amount for (customer, _), amount in found.cost.items() if customer not in elsewhere)


def _by(sums: Sums, place: int | None) -> dict[tuple[str, str], int]:
    """Sums by the customer (0), the plan (1) or nothing (None), and the currency."""
    out: dict[tuple[str, str], int] = {}
    for key, amount in sums.items():
        name = ("" if place is None else key[place], key[2])
        out[name] = out.get(name, 0) + amount
    return out


def _amounts(before: int, after: int, currency: str) -> Json:
    return {
        "currency": currency,
        "before": amount_text(before, currency),
        "after": amount_text(after, currency),
        "difference": amount_text(after - before, currency),
    }


def _margins(
    before: Mapping[tuple[str, str], int], after: Mapping[tuple[str, str], int], key: tuple[str, str], cost: int
) -> Json:
    """Revenue less our Neon cost, where both are in one currency."""
    if key[1] != COST_CURRENCY:
        return {"cost": None, "margin_before": None, "margin_after": None}
    return {
        "cost": amount_text(cost, COST_CURRENCY),
        "margin_before": amount_text(before.get(key, 0) - cost, COST_CURRENCY),
        "margin_after": amount_text(after.get(key, 0) - cost, COST_CURRENCY),
    }
