"""The money in a month's report: totals, margin, what was sold, plans, customers, projects and who changed most.

A noun: facts in, tables out. Amounts of two currencies are never added and there are no exchange rates, so a margin
exists only in the currency in which Neon charges. Revenue is always before tax.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from metering.core.money import COST_CURRENCY, exact_text, percent
from metering.core.rows import Row, Table, column_sum, distinct, grouped
from metering.rendering.figures import money_text
from metering.reporting.facts import Facts
from metering.reporting.invoiced import by_project, counted, lines_of
from metering.reporting.margin import cost_is_known, currency_of, margin_before, margin_columns

MOVERS_SHOWN = 5


def compared(now: Fraction, before: Fraction | None, currency: str) -> dict[str, str | None]:
    """The columns of a comparison with the month before; all null where there is nothing to compare with."""
    if before is None:
        return {"previous_subtotal": None, "change": None, "change_percent": None}
    return {
        "previous_subtotal": money_text(before, currency),
        "change": money_text(now - before, currency),
        "change_percent": percent(now - before, before),
    }


def totals(facts: Facts) -> Table:
    """One row per currency of this month or the one before; what a void invoice held counts nowhere."""
    now, before = (grouped(counted(rows), currency_of) for rows in (facts.invoices, facts.previous_invoices))
    return [
        _total(currency, now.get(currency, []), before.get(currency, []) if facts.previous_invoices else None)
        for currency in sorted(now.keys() | before.keys())
    ]


def _total(currency: str, invoices: Sequence[Row], before: Sequence[Row] | None) -> dict[str, Any]:
    subtotal, total = column_sum(invoices, "subtotal"), column_sum(invoices, "total")
    return {
        "currency": currency,
        "invoices": len(invoices),
        "customers": len({row["customer"]["id"] for row in invoices}),
        "subtotal": money_text(subtotal, currency),
        "tax": money_text(total - subtotal, currency),
        "total": money_text(total, currency),
        **compared(subtotal, None if before is None else column_sum(before, "subtotal"), currency),
    }


def taxes(facts: Facts) -> Table:
    """Base and tax of the counted invoices, one row per currency, rate, name and category; the highest rate first."""
    entries = [{**tax, "currency": row["currency"]} for row in counted(facts.invoices) for tax in row["taxes"]]
    groups = grouped(entries, lambda tax: (currency_of(tax), -Fraction(tax["rate_percent"]), *_named(tax)))
    return [
        {
            "currency": currency,
            "name": name,
            "rate_percent": exact_text(-rate),
            "category": category or None,
            "base": money_text(column_sum(rows, "base"), currency),
            "amount": money_text(column_sum(rows, "amount"), currency),
        }
        for (currency, rate, name, category), rows in sorted(groups.items())
    ]


def _named(tax: Row) -> tuple[str, str]:
    return str(tax["name"]), str(tax.get("category") or "")


def revenue_by_currency(facts: Facts) -> dict[str, Fraction]:
    """Currency -> the sum of all counted lines."""
    return {
        currency: column_sum(rows, "amount")
        for currency, rows in grouped(lines_of(facts.invoices), currency_of).items()
    }


def billed(facts: Facts) -> Table:
    """What was sold: one row per currency and meter or other kind of line, the largest amount first."""
    revenue, table = revenue_by_currency(facts), []
    groups = grouped(
        lines_of(facts.invoices), lambda row: (currency_of(row), str(row["kind"]), str(row["meter"] or ""))
    )
    for (currency, kind, meter), lines in groups.items():
        amount, units = column_sum(lines, "amount"), distinct(lines, "unit")
        table.append(
            {
                "currency": currency,
                "kind": kind,
                "meter": meter or None,
                "lines": len(lines),
                "quantity": exact_text(column_sum(lines, "quantity")) if len(units) == 1 else None,
                "unit": units[0] if len(units) == 1 else None,
                "amount": money_text(amount, currency),
                "share_percent": percent(amount, revenue[currency]),
            }
        )
    return sorted(table, key=lambda row: (row["currency"], -Fraction(row["amount"]), row["kind"], row["meter"] or ""))


def plans(facts: Facts) -> Table:
    """Revenue per currency and plan, the largest first, and what Neon charges for the plan's projects."""
    revenue, table = revenue_by_currency(facts), []
    costs, costs_before = (grouped(rows, _plan_of) for rows in (facts.costs, facts.previous_costs))
    groups, groups_before = (
        grouped(lines_of(rows), lambda row: (currency_of(row), _plan_of(row)))
        for rows in (facts.invoices, facts.previous_invoices)
    )
    for (currency, plan), lines in groups.items():
        amount, kinds = column_sum(lines, "amount"), grouped(lines, lambda row: str(row["kind"]))
        metered = [*kinds.get("usage", []), *kinds.get("flat_fee", [])]
        has_cost = bool(plan) and cost_is_known(facts)
        before = column_sum(groups_before.get((currency, plan), []), "amount") if facts.previous_invoices else None
        table.append(
            {
                "currency": currency,
                "plan": plan or None,
                "customers": len(distinct(lines, "customer")),
                "projects": len(distinct(by_project(lines), "project_id")),
                "base_fees": money_text(column_sum(kinds.get("base_fee", []), "amount"), currency),
                "usage": money_text(column_sum(metered, "amount"), currency),
                "amount": money_text(amount, currency),
                "share_percent": percent(amount, revenue[currency]),
                **compared(amount, before, currency),
                **margin_columns(amount, currency, column_sum(costs.get(plan, []), "amount") if has_cost else None),
                **margin_before(
                    facts, before if plan else None, currency, column_sum(costs_before.get(plan, []), "amount")
                ),
            }
        )
    return sorted(table, key=lambda row: (row["currency"], -Fraction(row["amount"]), row["plan"] or ""))


def _plan_of(row: Row) -> str:
    return str(row["plan"] or "")


def customers(facts: Facts) -> Table:
    """One row per customer and currency invoiced in the month, the largest amount first."""
    costs, costs_before = (
        grouped(rows, lambda row: str(row["customer"] or "")) for rows in (facts.costs, facts.previous_costs)
    )
    before = _by_customer(facts.previous_invoices)
    table = [
        _customer(
            facts,
            (invoices, before.get((customer, currency), [])),
            (costs.get(customer, []), costs_before.get(customer, [])),
        )
        for (customer, currency), invoices in _by_customer(facts.invoices).items()
    ]
    return sorted(table, key=lambda row: (row["currency"], -Fraction(row["subtotal"]), row["customer"]))


def _by_customer(invoices: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    return grouped(counted(invoices), lambda row: (str(row["customer"]["id"]), currency_of(row)))


def _customer(
    facts: Facts, billed: tuple[Sequence[Row], Sequence[Row]], costs: tuple[Sequence[Row], Sequence[Row]]
) -> dict[str, Any]:
    """`billed` and `costs`: of the month and of the month before."""
    invoices, before = billed
    currency, lines = currency_of(invoices[0]), [line for invoice in invoices for line in invoice["lines"]]
    subtotal, total = column_sum(invoices, "subtotal"), column_sum(invoices, "total")
    previous = column_sum(before, "subtotal") if facts.previous_invoices else None
    return {
        "customer": invoices[0]["customer"]["id"],
        "customer_name": invoices[0]["customer"]["name"],
        "currency": currency,
        "plans": distinct(lines, "plan"),
        "projects": len(distinct(by_project(lines), "project_id")),
        "invoices": distinct(invoices, "number"),
        "status": "draft" if any(invoice["status"] == "draft" for invoice in invoices) else "final",
        "subtotal": money_text(subtotal, currency),
        "tax": money_text(total - subtotal, currency),
        "total": money_text(total, currency),
        **compared(subtotal, previous, currency),
        **margin_columns(subtotal, currency, column_sum(costs[0], "amount") if cost_is_known(facts) else None),
        **margin_before(facts, previous, currency, column_sum(costs[1], "amount")),
    }


def movers(facts: Facts) -> dict[str, Any]:
    """Per currency the customers who gained and lost most since the month before; `reason` is changed, new or left."""
    is_comparable = bool(facts.previous_invoices)
    table: Table = []
    now, before = _by_customer(facts.invoices), _by_customer(facts.previous_invoices)
    for customer, currency in sorted(now.keys() | before.keys()) if is_comparable else []:
        rows, rows_before = now.get((customer, currency), []), before.get((customer, currency), [])
        amount, amount_before = column_sum(rows, "subtotal"), column_sum(rows_before, "subtotal")
        table.append(
            {
                "customer": customer,
                "customer_name": (rows or rows_before)[0]["customer"]["name"],
                "currency": currency,
                "reason": "changed" if rows and rows_before else "new" if rows else "left",
                "subtotal": money_text(amount, currency),
                **compared(amount, amount_before, currency),
            }
        )
    gains = sorted((row for row in table if Fraction(row["change"]) > 0), key=lambda row: -Fraction(row["change"]))
    losses = sorted((row for row in table if Fraction(row["change"]) < 0), key=lambda row: Fraction(row["change"]))
    return {
        "is_comparable": is_comparable,
        "gains": [row for rows in _sorted_groups(gains) for row in rows[:MOVERS_SHOWN]],
        "losses": [row for rows in _sorted_groups(losses) for row in rows[:MOVERS_SHOWN]],
    }


def _sorted_groups(rows: Table) -> list[Table]:
    return [group for _, group in sorted(grouped(rows, currency_of).items())]


def projects(facts: Facts) -> Table:
    """One row per project and customer: what it brought in and what Neon charges for it, the dearest at Neon first."""
    lines = grouped(
        by_project(lines_of(facts.invoices)),
        lambda row: (str(row["project_id"]), str(row["customer"])),
    )
    costs = grouped(facts.costs, lambda row: (str(row["project_id"]), str(row["customer"] or "")))
    names = {row["project_id"]: row["project_name"] for row in facts.usage}
    table = [
        _project(facts, key, lines.get(key, []), costs.get(key, []), names.get(key[0]))
        for key in lines.keys() | costs.keys()
    ]
    return sorted(table, key=lambda row: (-Fraction(row["neon_cost"] or 0), row["project_id"], row["customer"] or ""))


def _project(
    facts: Facts, key: tuple[str, str], lines: Sequence[Row], costs: Sequence[Row], name: str | None
) -> dict[str, Any]:
    currency, amount = (currency_of(lines[0]) if lines else None), column_sum(lines, "amount")
    # Without a line nobody pays: in Neon's currency that is a loss of the whole cost.
    return {
        "project_id": key[0],
        "project_name": name,
        "customer": key[1] or None,
        "plans": distinct([*lines, *costs], "plan"),
        "currency": currency,
        "amount": money_text(amount, currency) if currency else None,
        **margin_columns(
            amount, currency or COST_CURRENCY, column_sum(costs, "amount") if cost_is_known(facts) else None
        ),
    }


def checks(facts: Facts) -> dict[str, Any]:
    """Whether lines add up to subtotals, and subtotals and taxes to totals, on every invoice and for the month.

    Lines that include tax add up to totals.
    """
    invoices = counted(facts.invoices)
    differing = sorted(
        invoice["number"] or invoice["customer"]["id"]
        for invoice in invoices
        if column_sum(invoice["lines"], "amount")
        != Fraction(invoice["total" if invoice.get("tax_inclusive") else "subtotal"])
        or Fraction(invoice["subtotal"]) + column_sum(invoice["taxes"], "amount") != Fraction(invoice["total"])
    )
    return {"invoices": len(invoices), "agree": not differing, "differing": differing}
