"""A rated month's invoices as drafts, and what each plan would bill."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from metering.billing.month import Month
from metering.invoicing.lines import assembly as invoice
from metering.invoicing.lines import tax
from metering.invoicing.lines.rates import Rates
from metering.invoicing.lines.rates import rates as rates_rates

NO_LINES: Mapping[str, Sequence[dict[str, Any]]] = {}
NO_CURRENCIES: Mapping[str, str] = {}
Json = dict[str, Any]

Sums = dict[tuple[str, str, str], int]
"""(customer, plan, currency) -> minor units; discounts stand under the plan `-`."""


NO_PLAN = "-"


def billed(month: Month, is_of: Callable[[str], bool] = lambda _: True) -> Sums:
    """What every customer, or those of a part, would be billed for the month before tax, by plan and currency."""
    currency_of = {plan.id: plan.currency for plan in month.terms.card.plans}
    known = {customer.id: customer for customer in month.terms.customers}
    out: Sums = {}
    for customer, lines in invoice.lines(month.period, month.segments, month.charges, line_rates(month)).items():
        if not is_of(customer):
            continue
        own = min(currency_of[str(line["plan"])] for line in lines if line["plan"] is not None)
        priced = [(currency_of.get(str(line["plan"]), own), line) for line in lines]
        for currency in sorted({code for code, _ in priced}):
            mine = [line for code, line in priced if code == currency]
            inclusive = customer in known and known[customer].tax_inclusive
            net = tax.nets(mine, currency, month.terms.card.rounding, is_inclusive=inclusive)
            for line, amount in zip(mine, net, strict=True):
                key = (customer, str(line["plan"] or NO_PLAN), currency)
                out[key] = out.get(key, 0) + amount
    return out


def line_rates(month: Month) -> Rates:
    """The rate card as lines are made from it."""
    return rates_rates(
        month.terms.card.plans,
        month.prices,
        month.terms.card.meters,
        rounding=month.terms.card.rounding,
        prorate=month.terms.card.prorate,
        discounts=month.terms.discounts,
        customers=month.terms.customers,
        pools=month.pool_members,
    )


def currency_conflicts(month: Month, currencies: Mapping[str, str] = NO_CURRENCIES) -> dict[str, str]:
    """Customers whose invoice would be in two currencies, and which; `currencies` are those of corrections."""
    return invoice.conflicts(month.segments, line_rates(month), currencies)


def draft_invoices(
    month: Month,
    corrections: Mapping[str, Sequence[Json]] = NO_LINES,
    currencies: Mapping[str, str] = NO_CURRENCIES,
    billed: Mapping[str, Sequence[Json]] = NO_LINES,
) -> list[Json]:
    """The month's invoices as drafts, in the contract's shape, less those in conflict.

    By customer: `corrections` are adjustment lines of closed months, `currencies` theirs; `billed` what supplements
    of this month have billed already.
    """
    conflicts = currency_conflicts(month, currencies)
    is_sound = ~pl.col("customer").is_in(sorted(conflicts))
    coverage = month.coverage.document()
    customers = {*month.segments["customer"].unique(), *corrections}
    return invoice.invoices(
        month.period,
        month.segments.filter(is_sound),
        month.charges.filter(is_sound),
        line_rates(month),
        as_of=month.now,
        coverage=dict.fromkeys(customers, coverage),
        rate_card_sha256=month.terms.sha256,
        corrections={customer: lines for customer, lines in corrections.items() if customer not in conflicts},
        currencies={customer: code for customer, code in currencies.items() if customer not in conflicts},
        billed=billed,
    )


def tax_conflicts(month: Month, drafts: Iterable[Json]) -> dict[str, str]:
    """Customers whose draft cannot be issued because of its taxes, and why."""
    known = line_rates(month).customers
    found = {
        customer: tax.conflicts(draft["lines"], known.get(customer))
        for draft in drafts
        if (customer := draft["customer"]["id"])
    }
    return {customer: why for customer, why in found.items() if why}
