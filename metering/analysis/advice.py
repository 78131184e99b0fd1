"""Which plan would be cheapest: ours for each customer, Neon's for each organization, by the usage of some months.

Every plan of today is tried on the whole time as if it had been the only one; a plan whose quota some project's usage
reached does not fit. Reads the store, writes nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import polars as pl

from metering.analysis.plan_file import backdated
from metering.billing.cost import CostRow
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.billing.terms import Terms
from metering.config import Config
from metering.core.money import amount_text, parse_amount
from metering.core.parties import Subscription
from metering.core.period import Period, month_name, rfc3339
from metering.core.plans import Plan
from metering.invoicing.drafts import NO_PLAN, billed
from metering.invoicing.rated_month import RatedMonth
from metering.store.database import Store

Json = dict[str, Any]
NEON_PLANS = ("launch", "scale", "agent")
COST_CURRENCY = "USD"
PRIVATE_METRIC = "private_network_transfer_bytes"
WITHOUT_PRIVATE_LINK = "launch"
_MEASURED = {
    "compute_unit_seconds": "compute_time_seconds",
    "public_network_transfer_bytes": "data_transfer_bytes",
    "private_network_transfer_bytes": "data_transfer_bytes",
}
"""Metric -> the quota that counts the same thing."""


def advice(store: Store, config: Config, periods: Sequence[Period], now: datetime) -> Json:
    """The document that `advice` prints: a row per customer and one per organization."""
    found, known = _Found(), Recorded(store=store)
    for period in periods:
        rated = RatedMonth(recorded=known, config=config, period=period, now=now)
        for month, is_of in rated.parts:
            _try_ours(found, month, is_of, config.plans)
        _try_neons(found, rated.whole)
        if not rated.whole.coverage.is_complete():
            found.notes.append(f"{month_name(period)} is not covered completely")
    return {
        "period": {"start": rfc3339(periods[0].start), "end": rfc3339(periods[-1].end)},
        "as_of": rfc3339(now),
        "customers": [_customer(found, customer) for customer in sorted(found.paid)],
        "organizations": [_organization(found, name) for name in sorted(found.costs)],
        "notes": found.notes,
    }


@dataclass(slots=True, kw_only=True)
class _Found:
    """Sums over the months, in minor units."""

    paid: dict[str, int] = field(default_factory=dict)
    currencies: dict[str, set[str]] = field(default_factory=dict)
    plans: dict[str, set[str]] = field(default_factory=dict)
    tried: dict[tuple[str, str], int] = field(default_factory=dict)
    """(customer, plan)"""
    unfit: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """(customer, plan) -> the quotas that some project's usage reached."""
    currency_of: dict[str, str] = field(default_factory=dict)
    costs: dict[str, dict[str, int]] = field(default_factory=dict)
    """Organization -> plan of Neon's, or `-` for as it was -> cents."""
    neon_plans: dict[str, set[str]] = field(default_factory=dict)
    has_private: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


# -- ours


def _try_ours(found: _Found, month: Month, is_of: Callable[[str], bool], plans: Sequence[Plan]) -> None:
    for (customer, name, currency), amount in billed(month, is_of).items():
        found.paid[customer] = found.paid.get(customer, 0) + amount
        found.currencies.setdefault(customer, set()).add(currency)
        if name != NO_PLAN:
            found.plans.setdefault(customer, set()).add(name)
    reached = _largest_use(month)
    for plan in plans:
        found.currency_of[plan.id] = plan.currency
        alone = replace(month, terms=_only(month.terms, month.segments, backdated(plan)))
        for (customer, _, _), amount in billed(alone, is_of).items():
            key = (customer, plan.id)
            found.tried[key] = found.tried.get(key, 0) + amount
        for customer, used in ((customer, used) for customer, used in reached.items() if is_of(customer)):
            unfit = {name for name, limit in plan.quota.items() if limit and used.get(name, 0) >= limit}
            found.unfit.setdefault((customer, plan.id), set()).update(unfit)


def _only(terms: Terms, segments: pl.DataFrame, plan: Plan) -> Terms:
    """The terms as if everybody had this plan for as long as they had any."""
    rows = tuple(
        Subscription(project_id=project, customer=customer, plan=plan.id, valid_from=start, valid_to=end)
        for project, customer, start, end in segments.select("project_id", "customer", "start", "end").iter_rows()
    )
    return replace(terms, subscriptions=rows, card=replace(terms.card, plans=(plan,)))


def _largest_use(month: Month) -> dict[str, dict[str, int]]:
    """Customer -> quota -> the most that one project used of it in the month, as far as history measures it."""
    owners = month.projects.owners()
    sums = (
        month.usage.sums.filter(pl.col("metric").is_in(list(_MEASURED)))
        .with_columns(quota=pl.col("metric").replace_strict(_MEASURED, return_dtype=pl.String))
        .group_by("project_id", "quota")
        .agg(pl.col("value").sum())
    )
    out: dict[str, dict[str, int]] = {}
    for project, quota, value in sums.iter_rows():
        if project in owners:
            mine = out.setdefault(owners[project][0], {})
            mine[quota] = max(value, mine.get(quota, 0))
    return out


def _customer(found: _Found, customer: str) -> Json:
    currencies = found.currencies[customer]
    currency = min(currencies)
    options: dict[str, int] = {}
    unfit: dict[str, list[str]] = {}
    for plan, code in sorted(found.currency_of.items()):
        if code != currency or len(currencies) > 1:
            continue
        if reached := found.unfit.get((customer, plan)):
            unfit[plan] = sorted(reached)
        else:
            options[plan] = found.tried.get((customer, plan), 0)
    best = min(options, key=lambda plan: (options[plan], plan), default=None)
    is_better = best is not None and options[best] < found.paid[customer]
    return {
        "customer": customer,
        "advice": best if is_better else "keep",
        "plans": sorted(found.plans.get(customer, ())),
        "currency": currency,
        "paid": amount_text(found.paid[customer], currency),
        "cheapest": best,
        "would_pay": None if best is None else amount_text(options[best], currency),
        "saves": None if best is None else amount_text(found.paid[customer] - options[best], currency),
        "options": {plan: amount_text(amount, currency) for plan, amount in options.items()},
        "does_not_fit": unfit,
    }


# -- Neon's


def _try_neons(found: _Found, month: Month) -> None:
    used = month.usage.sums.filter((pl.col("metric") == PRIVATE_METRIC) & (pl.col("value") > 0))
    found.has_private |= set(used["organization"])
    for name, plans in month.cost.plans_of.items():
        found.neon_plans.setdefault(name, set()).update(plans)
    _add_cost(found, "-", month.cost.rows)
    for plan in NEON_PLANS:
        organizations = tuple(row.model_copy(update={"plan": plan}) for row in month.terms.organizations)
        by_plan = replace(month.cost, terms=replace(month.terms, organizations=organizations))
        _add_cost(found, plan, by_plan.rows)


def _add_cost(found: _Found, plan: str, rows: Iterable[CostRow]) -> None:
    for row in rows:
        mine = found.costs.setdefault(row.organization, {})
        mine[plan] = mine.get(plan, 0) + parse_amount(row.amount, COST_CURRENCY)


def _organization(found: _Found, name: str) -> Json:
    costs = found.costs[name]
    fitting = [
        plan
        for plan in NEON_PLANS
        if plan in costs and not (plan == WITHOUT_PRIVATE_LINK and name in found.has_private)
    ]
    best = min(fitting, key=lambda plan: (costs[plan], NEON_PLANS.index(plan)), default=None)
    is_better = best is not None and costs[best] < costs.get("-", 0)
    return {
        "organization": name,
        "advice": best if is_better else "keep",
        "plans": sorted(found.neon_plans.get(name, ())),
        "currency": COST_CURRENCY,
        "cost": amount_text(costs.get("-", 0), COST_CURRENCY),
        "cheapest": best,
        "would_cost": None if best is None else amount_text(costs[best], COST_CURRENCY),
        "saves": None if best is None else amount_text(costs.get("-", 0) - costs[best], COST_CURRENCY),
        "options": {plan: amount_text(costs[plan], COST_CURRENCY) for plan in NEON_PLANS if plan in costs},
        "does_not_fit": [WITHOUT_PRIVATE_LINK] if name in found.has_private else [],
    }
