"""What came, went and changed in a month: customers, projects, plans; and the corrections of earlier months.

A noun: facts in, tables out. Which of two plans is the higher is told by their base fees.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from metering.core.period import parse_time
from metering.core.rows import Row, Table, grouped
from metering.reporting.facts import Facts
from metering.reporting.invoiced import counted
from metering.reporting.margin import currency_of

CHANGES = (
    *("new customer", "lost customer", "new project", "deleted project", "moved project"),
    *("upgrade", "downgrade", "other plan"),
)
"""In the order in which they are told."""


def changes(facts: Facts) -> Table:
    """One row per change: {change, customer, customer_name, project_id, project_name, was, now, amount, currency}.

    `was` and `now` are plans, of a project that moved customers; `amount` is what the customer was invoiced for before
    tax, in this month or, of one who is lost, in the month before. Customers who have no invoice to compare are left
    out where the month before has none at all.
    """
    known = [row["customer"] for row in (*facts.previous_invoices, *facts.invoices)]
    names = {customer["id"]: customer["name"] for customer in known}
    rows = [*_customers(facts), *(row for project in facts.inventory for row in _project(facts, project))]
    rows = [{**row, "customer_name": names.get(row["customer"])} for row in rows]
    return sorted(
        rows,
        key=lambda row: (
            CHANGES.index(row["change"]),
            row["customer"] or "",
            row["project_id"] or "",
            row["currency"] or "",
        ),
    )


def _customers(facts: Facts) -> Iterator[dict[str, Any]]:
    """Who is invoiced for the first time after a month without, and who no more."""
    if not facts.previous_invoices:
        return
    now, before = (
        {(str(row["customer"]["id"]), currency_of(row)): row for row in counted(invoices)}
        for invoices in (facts.invoices, facts.previous_invoices)
    )
    customers_now, customers_before = ({customer for customer, _ in known} for known in (now, before))
    for (customer, _), invoice in now.items():
        if customer not in customers_before:
            yield _row("new customer", invoice=invoice)
    for (customer, _), invoice in before.items():
        if customer not in customers_now:
            yield _row("lost customer", invoice=invoice)


def _project(facts: Facts, project: Row) -> Iterator[dict[str, Any]]:
    if _is_inside(facts, project["created_at"]):
        yield _row("new project", project, now=project["plan"])
    if _is_inside(facts, project["deleted_at"]):
        yield _row("deleted project", project, was=project["plan"])
    was_customer, was, now = project["previous_customer"], project["previous_plan"], project["plan"]
    if was_customer and project["customer"] and was_customer != project["customer"]:
        yield _row("moved project", project, was=was_customer, now=project["customer"])
    if was and now and was != now:
        fees = [Decimal(facts.base_fees.get(plan, "0")) for plan in (was, now)]
        change = "upgrade" if fees[1] > fees[0] else "downgrade" if fees[1] < fees[0] else "other plan"
        yield _row(change, project, was=was, now=now)


def _is_inside(facts: Facts, at: str | None) -> bool:
    return at is not None and facts.month.contains(parse_time(at))


def _row(
    change: str,
    project: Row | None = None,
    *,
    invoice: Row | None = None,
    was: str | None = None,
    now: str | None = None,
) -> dict[str, Any]:
    return {
        "change": change,
        "customer": invoice["customer"]["id"] if invoice else project["customer"] if project else None,
        "project_id": project["project_id"] if project else None,
        "project_name": project["project_name"] if project else None,
        "was": was,
        "now": now,
        "amount": invoice["subtotal"] if invoice else None,
        "currency": currency_of(invoice) if invoice else None,
    }


def counts(table: Table) -> Table:
    """How many of each kind of change there are; customers of two currencies are one."""
    groups = grouped(table, lambda row: str(row["change"]))
    return [
        {"change": change, "count": len({(row["customer"], row["project_id"]) for row in groups.get(change, ())})}
        for change in CHANGES
    ]


def adjustments(facts: Facts) -> Table:
    """Corrections of earlier months on the month's invoices, by customer and key."""
    names = ("project_id", "plan", "meter", "description", "from", "to", "quantity", "unit", "amount")
    rows = [
        {
            "number": invoice["number"],
            "customer": invoice["customer"]["id"],
            "customer_name": invoice["customer"]["name"],
            **{name: line[name] for name in names},
            "currency": currency_of(invoice),
        }
        for invoice in counted(facts.invoices)
        for line in invoice["lines"]
        if line["kind"] == "adjustment"
    ]
    return sorted(rows, key=lambda row: (row["customer"], row["from"], row["project_id"] or "", row["meter"] or ""))
