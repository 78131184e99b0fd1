"""A rated month's invoices as drafts, and what each plan would bill."""

from collections.abc import Callable

from metering.billing.month import Month
from metering.invoicing import lines as invoice
from metering.invoicing import tax

Sums = dict[tuple[str, str, str], int]
"""(customer, plan, currency) -> minor units; discounts stand under the plan `-`."""


NO_PLAN = "-"


def billed(month: Month, is_of: Callable[[str], bool] = lambda _: True) -> Sums:
    """What every customer, or those of a part, would be billed for the month before tax, by plan and currency."""
    currency_of = {plan.id: plan.currency for plan in month.terms.card.plans}
    known = {customer.id: customer for customer in month.terms.customers}
    out: Sums = {}
    for customer, lines in invoice.lines(month.period, month.segments, month.charges, month.rates).items():
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
