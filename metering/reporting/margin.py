"""Neon's cost in a month's report, and the margin that it leaves of the revenue.

A noun: facts in, columns and tables out. Neon charges in one currency and there are no exchange rates, so a margin
exists only in that currency. Must not know how revenue is grouped.
"""

from fractions import Fraction
from typing import Any

from metering.core.money import COST_CURRENCY, exact_text, percent
from metering.core.rows import Row, column_sum, grouped
from metering.rendering.figures import money_text
from metering.reporting.facts import Facts
from metering.reporting.invoiced import counted


def currency_of(row: Row) -> str:
    """The currency of an invoice or of one of its lines."""
    return str(row["currency"])


def margin_columns(revenue: Fraction, currency: str | None, cost: Fraction | None) -> dict[str, str | None]:
    """Neon's cost (null where unknown) and what it leaves of the revenue (null in other currencies than Neon's)."""
    has_margin = cost is not None and currency == COST_CURRENCY
    return {
        "neon_cost": None if cost is None else money_text(cost, COST_CURRENCY),
        "margin": money_text(revenue - cost, COST_CURRENCY) if has_margin and cost is not None else None,
        "margin_percent": percent(revenue - cost, revenue) if has_margin and cost is not None else None,
    }


def cost_is_known(facts: Facts) -> bool:
    """Usage without any cost row costs nothing (Neon's allowances cover it), unless some could not be priced."""
    return bool(facts.costs) or not (facts.usage and facts.cost_notes)


def margin_before(facts: Facts, revenue: Fraction | None, currency: str, cost: Fraction) -> dict[str, str | None]:
    """`previous_neon_cost` and `previous_margin`; null where the month before is not known."""
    is_known = bool(facts.previous_costs) and revenue is not None
    before = margin_columns(revenue or Fraction(0), currency, cost if is_known else None)
    return {f"previous_{name}": before[name] for name in ("neon_cost", "margin")}


def margin(facts: Facts) -> dict[str, Any]:
    """Revenue in US dollars less Neon's cost of everything that is not billed in another currency.

    What nobody pays for (unassigned projects, customers without an invoice) costs too, so it lowers the margin; it is
    also given on its own as `cost_not_billed`.
    """
    payers = {
        currency: {row["customer"]["id"] for row in rows}
        for currency, rows in grouped(counted(facts.invoices), currency_of).items()
    }
    here = payers.get(COST_CURRENCY, set())
    others = sorted(payers.keys() - {COST_CURRENCY})
    elsewhere = {customer for currency in others for customer in payers[currency]} - here
    anyone = here | elsewhere
    cost_elsewhere = column_sum((row for row in facts.costs if row["customer"] in elsewhere), "amount")
    cost_of_nobody = column_sum((row for row in facts.costs if row["customer"] not in anyone), "amount")
    cost = column_sum(facts.costs, "amount") - cost_elsewhere
    revenue = column_sum((row for row in counted(facts.invoices) if row["currency"] == COST_CURRENCY), "subtotal")
    is_known = cost_is_known(facts) and (bool(here) or not others)
    return {
        "currency": COST_CURRENCY,
        "revenue": money_text(revenue, COST_CURRENCY),
        **margin_columns(revenue, COST_CURRENCY, cost if is_known else None),
        "cost_not_billed": money_text(cost_of_nobody, COST_CURRENCY) if is_known else None,
        "cost_billed_in_other_currencies": money_text(cost_elsewhere, COST_CURRENCY) if is_known else None,
        "currencies_without_margin": others,
    }


def costs(facts: Facts) -> dict[str, Any]:
    """What Neon charges us: the total and one row per meter, the dearest first; exact, so it may have more digits."""
    total, table = column_sum(facts.costs, "amount"), []
    for (meter, unit), rows in grouped(facts.costs, lambda row: (str(row["meter"]), str(row["unit"]))).items():
        amount = column_sum(rows, "amount")
        table.append(
            {
                "meter": meter,
                "unit": unit,
                "quantity": exact_text(column_sum(rows, "quantity")),
                "amount": money_text(amount, COST_CURRENCY),
                "share_percent": percent(amount, total),
            }
        )
    return {
        "currency": COST_CURRENCY,
        "total": money_text(total, COST_CURRENCY) if cost_is_known(facts) else None,
        "meters": sorted(table, key=lambda row: (-Fraction(row["amount"]), row["meter"], row["unit"])),
        "notes": list(facts.cost_notes),
    }
