"""A rated month's invoices as drafts, and what each plan would bill."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import polars as pl

from metering.billing.month import Month
from metering.core.invoice import Covered, Invoice, Line
from metering.invoicing.lines import assembly as invoice
from metering.invoicing.lines import tax
from metering.invoicing.lines.rates import Rates

NO_LINES: Mapping[str, Sequence[Line]] = {}
NO_CURRENCIES: Mapping[str, str] = {}

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
        own = min(currency_of[line.plan] for line in lines if line.plan is not None)
        priced = [(currency_of.get(line.plan or NO_PLAN, own), line) for line in lines]
        for currency in sorted({code for code, _ in priced}):
            mine = [line for code, line in priced if code == currency]
            inclusive = customer in known and known[customer].tax_inclusive
            net = tax.nets(mine, currency, month.terms.card.rounding, is_inclusive=inclusive)
            for line, amount in zip(mine, net, strict=True):
                key = (customer, line.plan or NO_PLAN, currency)
                out[key] = out.get(key, 0) + amount
    return out


def line_rates(month: Month) -> Rates:
    """The rate card as lines are made from it."""
    terms = month.terms
    return Rates(
        plans={plan.id: plan for plan in terms.card.plans},
        prices=month.prices,
        meters={meter.id: meter for meter in terms.card.meters},
        rounding=terms.card.rounding,
        prorate=terms.card.prorate,
        discounts=terms.discounts,
        customers={customer.id: customer for customer in terms.customers},
        pools=month.pool_members,
    )


def currency_conflicts(month: Month, currencies: Mapping[str, str] = NO_CURRENCIES) -> dict[str, str]:
    """Customers whose invoice would be in two currencies, and which; `currencies` are those of corrections."""
    return invoice.conflicts(month.segments, line_rates(month), currencies)


def draft_invoices(
    month: Month,
    corrections: Mapping[str, Sequence[Line]] = NO_LINES,
    currencies: Mapping[str, str] = NO_CURRENCIES,
    billed: Mapping[str, Sequence[Line]] = NO_LINES,
) -> list[Invoice]:
    """The month's invoices as drafts, less those in conflict.

    By customer: `corrections` are adjustment lines of closed months, `currencies` theirs; `billed` what supplements
    of this month have billed already.
    """
    conflicts = currency_conflicts(month, currencies)
    is_sound = ~pl.col("customer").is_in(sorted(conflicts))
    return invoice.invoices(
        month.period,
        month.segments.filter(is_sound),
        month.charges.filter(is_sound),
        line_rates(month),
        as_of=month.now,
        coverage=msgspec.convert(month.coverage.document(), Covered),
        rate_card_sha256=month.terms.sha256,
        corrections={customer: lines for customer, lines in corrections.items() if customer not in conflicts},
        currencies={customer: code for customer, code in currencies.items() if customer not in conflicts},
        billed=billed,
    )


def tax_conflicts(month: Month, drafts: Iterable[Invoice]) -> dict[str, str]:
    """Customers whose draft cannot be issued because of its taxes, and why."""
    known = line_rates(month).customers
    found = {draft.customer.id: tax.conflicts(draft.lines, known.get(draft.customer.id)) for draft in drafts}
    return {customer: why for customer, why in found.items() if why}
