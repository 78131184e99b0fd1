"""The report of one month as one dictionary: what was billed, used, spent at Neon, missing, and worth a look.

A noun: facts in, figures out; every sum, share and comparison of the report is made here or in report_money, once, from
exact texts. Must not know files, templates, the store or the clock.
"""

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from metering import __version__
from metering.core.invoice import Printed, printed
from metering.core.money import exact_text, percent, percent_truncated
from metering.core.period import Period, days, month_name, parse_time, rfc3339
from metering.core.rows import Row, Table, column_sum, distinct, every_day, grouped
from metering.invoicing.unbilled_sums import worth
from metering.rendering.figures import printed_month
from metering.reporting import changes, margin, money, watch
from metering.reporting.facts import Facts
from metering.reporting.invoiced import counted


def build(facts: Facts) -> dict[str, Any]:
    """The whole report; numbers are decimal strings, lists are sorted, equal facts give an equal dictionary."""
    changed = changes.changes(facts)
    return {
        "report": _head(facts),
        "seller": {key: facts.seller.get(key) for key in ("name", "address", "country", "tax_id")},
        "coverage": _coverage(facts.coverage),
        "figures": _figures(facts),
        "totals": money.totals(facts),
        "taxes": money.taxes(facts),
        "outlook": dict(facts.outlook) if facts.outlook else None,
        "reconciliation": dict(facts.reconciliation) if facts.reconciliation else None,
        "margin": margin.margin(facts),
        "billed": money.billed(facts),
        "plans": money.plans(facts),
        "customers": money.customers(facts),
        "movers": money.movers(facts),
        "changes": changed,
        "change_counts": changes.counts(changed),
        "adjustments": changes.adjustments(facts),
        "meters": _meters(facts),
        "costs": margin.costs(facts),
        "projects": money.projects(facts),
        "quotas": sorted(map(dict, facts.quotas), key=_quota_order),
        "alerts": sorted(map(dict, facts.alerts), key=lambda row: (row["observed_at"], row["alert_id"])),
        "unassigned": _by_project_and_metric(facts.unassigned),
        "unpriced": _by_project_and_metric(facts.unpriced),
        "unbilled_worth": {
            "unassigned": _worth(facts.unassigned),
            "unpriced": _worth(facts.unpriced),
        },
        "organizations": watch.organizations(facts),
        "idle": watch.idle(facts),
        "branches": watch.branches(facts),
        "checks": money.checks(facts),
        "usage": sorted(
            map(dict, facts.usage), key=lambda row: (row["organization"], row["project_id"], row["metric"])
        ),
    }


def _worth(rows: Iterable[Row]) -> list[Printed]:
    return [printed(row) for row in worth((row.get("currency"), row.get("worth")) for row in rows)]


def _by_project_and_metric(rows: Iterable[Row]) -> Table:
    return sorted(map(dict, rows), key=lambda row: (row["project_id"], row["metric"]))


def _quota_order(row: Row) -> tuple[bool, Fraction, str, str]:
    """The fullest first; what has no percentage last."""
    return row["percent"] is None, -Fraction(row["percent"] or 0), row["project_id"], row["quota"]


def _head(facts: Facts) -> dict[str, Any]:
    statuses = Counter("credit_note" if row.get("kind") == "credit_note" else row["status"] for row in facts.invoices)
    is_open = facts.as_of < facts.month.end
    return {
        "month": month_name(facts.month),
        "title": printed_month(facts.month),
        "period": {"start": rfc3339(facts.month.start), "end": rfc3339(facts.month.end)},
        "days": len(list(days(facts.month))),
        "as_of": rfc3339(facts.as_of),
        "is_open": is_open,
        "journal_seq": str(facts.journal_seq),
        "is_draft": is_open or not facts.is_closed or statuses["draft"] > 0,
        "accepted": [{"what": what, "reason": reason} for what, reason in facts.accepted],
        "documents": {kind: statuses[kind] for kind in ("final", "draft", "void", "credit_note")},
        "rounding": facts.rounding,
        "thresholds_percent": list(facts.thresholds_percent),
        "generator": f"metering {__version__}",
    }


def _coverage(coverage: Row) -> dict[str, Any]:
    gaps = [
        {**gap, "hours": Period(start=parse_time(gap["start"]), end=parse_time(gap["end"])).hours()}
        for gap in sorted(coverage["gaps"], key=lambda gap: (gap["organization"], gap["start"], gap["end"]))
    ]
    share = percent_truncated(int(coverage["covered_hours"]), int(coverage["hours"]))
    return {**coverage, "percent": share, "gaps": gaps, "organizations": distinct(gaps, "organization")}


def _figures(facts: Facts) -> dict[str, Any]:
    """The small counts at the top of the report."""
    percents = [Fraction(row["percent"]) for row in facts.quotas if row["percent"] is not None]
    return {
        "customers_invoiced": len({row["customer"]["id"] for row in counted(facts.invoices)}),
        "projects_with_usage": len(distinct(facts.usage, "project_id")),
        "quotas": len(facts.quotas),
        "quotas_unknown": sum(row["level"] == "unknown" for row in facts.quotas),
        "quotas_at_least": [
            {"threshold_percent": threshold, "count": sum(value >= threshold for value in percents)}
            for threshold in sorted({*facts.thresholds_percent, 100})
        ],
        "alerts": len(facts.alerts),
        "unassigned_projects": len(distinct(facts.unassigned, "project_id")),
        "unpriced_projects": len(distinct(facts.unpriced, "project_id")),
    }


def _meters(facts: Facts) -> Table:
    """Usage per meter, in its unit: the month, the month before (null where nothing is known of it) and each day."""
    before = grouped(_metered(facts.previous_usage), _meter_key)
    daily = grouped(facts.days, lambda row: str(row["meter"]))
    table: Table = []
    for (meter, unit), rows in sorted(grouped(_metered(facts.usage), _meter_key).items()):
        quantity = column_sum(rows, "quantity")
        quantity_before = column_sum(before.get((meter, unit), []), "quantity") if facts.previous_usage else None
        table.append(
            {
                "meter": meter,
                "unit": unit,
                "projects": len(distinct(rows, "project_id")),
                "quantity": exact_text(quantity),
                "previous_quantity": None if quantity_before is None else exact_text(quantity_before),
                "change_percent": percent(quantity - (quantity_before or 0), quantity_before or 0),
                "days": every_day(facts.month, facts.as_of, facts.coverage["gaps"], daily.get(meter, [])),
            }
        )
    return table


def _metered(usage: Iterable[Row]) -> Iterable[Row]:
    return (row for row in usage if row["meter"] is not None)


def _meter_key(row: Row) -> tuple[str, str]:
    return str(row["meter"]), str(row["unit"])
