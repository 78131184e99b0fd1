"""The report arranged for paper: sections of tables whose cells are texts, and charts as SVG.

A noun: the report's dictionary in, plain JSON for the template out. Every figure comes from the report; here it is only
printed, and long tables are cut, with word of how many rows the files beside hold.
"""

from collections.abc import Iterator
from typing import Any

from metering.core.money import COST_CURRENCY
from metering.core.rows import Row
from metering.rendering import figures
from metering.reporting import cells
from metering.reporting import paper_revenue as revenue
from metering.reporting import paper_usage as usage


def paper(report: Row) -> dict[str, Any]:
    """What `report.typ` prints."""
    head = report["report"]
    return {
        "title": head["title"],
        "seller": report["seller"]["name"] or "",
        "stamp": "Draft" if head["is_draft"] else None,
        "as_of": figures.printed_moment(head["as_of"]),
        "state": _state(report),
        "banners": list(_banners(report)),
        "cards": list(_cards(report)),
        "sections": [
            {"title": title, "text": text, "parts": [part for part in parts if part]}
            for title, text, parts in _sections(report)
        ],
        "method": list(_method(report)),
        "foot": head["generator"],
    }


def _state(report: Row) -> str:
    counts = report["report"]["documents"]
    kinds = [("final", "final"), ("draft", "draft"), ("void", "void"), ("credit_note", "credit notes")]
    return ", ".join(f"{counts[kind]} {name}" for kind, name in kinds if counts[kind]) or "no invoices"


def _banners(report: Row) -> Iterator[dict[str, str]]:
    coverage = report["coverage"]
    hours = f"{cells.count(coverage['covered_hours'])} of {cells.count(coverage['hours'])} hours"
    if coverage["complete"]:
        yield {"level": "good", "text": f"Complete: every hour that had to be read was read, {hours}."}
    else:
        text = f"Incomplete: {hours}; usage of the others is not known, which is not the same as none."
        yield {"level": "warn", "text": text}
    for row in report["report"]["accepted"]:
        yield {"level": "warn", "text": f"Closed all the same: {row['what']}. Reason given: {row['reason']}"}
    if not report["checks"]["agree"]:
        differing = ", ".join(report["checks"]["differing"][:10])
        yield {"level": "bad", "text": f"Lines and totals disagree on {differing}. Do not send them."}
    for note in report["costs"]["notes"]:
        yield {"level": "warn", "text": note}


def _cards(report: Row) -> Iterator[dict[str, str]]:
    for row in report["totals"]:
        before = "all of last month" if report["report"]["is_open"] else "last month"
        against = f"{cells.change(row)} against {before}" if row["change"] is not None else ""
        yield _card("Revenue before tax", cells.money(row["subtotal"], row["currency"]), row["currency"], against)
    cost, margin = report["costs"], report["margin"]
    yield _card(
        "Neon cost", cells.money(cost["total"], COST_CURRENCY), COST_CURRENCY, "by Neon’s price list, before tax"
    )
    share = f"{figures.printed(margin['margin_percent'])} % of revenue" if margin["margin_percent"] else ""
    yield _card("Margin", cells.money(margin["margin"], COST_CURRENCY), COST_CURRENCY, share)
    counts = report["figures"]
    projects = f"{cells.count(counts['projects_with_usage'])} projects with usage"
    yield _card("Customers invoiced", cells.count(counts["customers_invoiced"]), "", projects)
    reached = counts["quotas_at_least"][-1]["count"]
    alerts = f"{counts['alerts']} alerts recorded in {report['report']['title']}"
    yield _card("Quotas reached now", cells.count(reached), "", f"of {cells.count(counts['quotas'])}; {alerts}")


def _card(what: str, value: str, unit: str, note: str) -> dict[str, str]:
    return {"what": what, "value": value, "unit": unit if value != cells.NONE else "", "note": note}


def _sections(report: Row) -> Iterator[tuple[str, str, list[dict[str, Any] | None]]]:
    yield (
        "Revenue",
        "Before tax. Void invoices and the credit notes that cancel them count nowhere.",
        revenue.revenue(report),
    )
    if report["outlook"]:
        yield (
            "Outlook",
            f"What this month will come to, before tax; {report['outlook']['method']}.",
            [revenue.outlook(report)],
        )
    yield "Customers", "", [*revenue.customers(report), *revenue.movers(report)]
    yield "Came, went, changed", revenue.changed(report), revenue.changes(report)
    yield "Usage", "By day, in UTC.", [usage.usage(report), *usage.daily_charts(report)]
    yield "Neon cost", "Our own computation by Neon’s published price list.", usage.costs(report)
    yield (
        "Organizations",
        "How fresh the data are, and Neon’s cost of each.",
        [usage.organizations(report), usage.reconciled(report)],
    )
    yield "Quotas and alerts", "The fullest first; percentages are cut, not rounded.", usage.quotas(report)
    yield "Not billed", "What it would be worth by the plan named, less its allowance.", usage.not_billed(report)


def _method(report: Row) -> Iterator[str]:
    mode = "half to even" if report["report"]["rounding"] == "half_even" else "half away from zero"
    yield (
        f"Quantities and prices are exact up to the line. Each line is rounded once, {mode}; totals add rounded lines; "
        "tax is rounded once per rate."
    )
    yield (
        "Neon’s cost is computed from the same usage and Neon’s dated price list; nothing is converted. The margin "
        "includes the cost of usage that nobody was invoiced for."
    )
    checks = report["checks"]
    agree = "add up" if checks["agree"] else "do not add up"
    yield f"Lines, subtotals, taxes and totals {agree} on {cells.count(checks['invoices'])} invoices."
