"""Usage that a month's invoices leave out, by reason: quantities, Neon's charge, and its value by our prices.

Reads a month, writes nothing. Must not decide whether that prevents a close.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import timedelta
from fractions import Fraction
from typing import Any

from metering.billing.month import Month
from metering.core import meters
from metering.core.money import COST_CURRENCY
from metering.core.rows import Row, Table, distinct, grouped
from metering.invoicing import readiness
from metering.invoicing.blockers import Waivers
from metering.invoicing.unbilled_sums import worth as unbilled_sums_worth
from metering.rating import unbilled
from metering.rating.unbilled import Usage
from metering.rendering.figures import money_text

Json = dict[str, Any]
WHY = {
    "unassigned": "nobody pays for the project",
    "not_known": "no list of projects has shown the project yet",
    "unknown_plan": "the project's name asks for a plan that does not exist",
    "own": "a project of our own",
    "not_in_plan": "the plan has no price for it",
    "no_meter": "no meter knows it",
    "gaps": "nobody read these hours",
}
"""The reasons in the order of output."""
_OF_NOBODY = {"unassigned", "not_known", "unknown_plan", "own"}


def valued(month: Month, rows: Sequence[Row]) -> Table:
    """The rows with the value of their usage by the prices at the month's end, or now if that is earlier."""
    default_plans = {row.id: row.default_plan for row in month.terms.organizations}
    seen = month.usage.sums.select("project_id", "organization").unique().sort("project_id", "organization")
    defaults = {project: default_plans.get(organization) for project, organization in seen.iter_rows()}
    at = min(month.now, month.period.end - timedelta(seconds=1))
    usages = [Usage(project_id=row["project_id"], metric=row["metric"], value=int(row["value"])) for row in rows]
    return [
        {**rows[place], **asdict(worth)} for place, worth in unbilled.valued(usages, month.terms.card, at, defaults)
    ]


def not_billed(month: Month) -> list[Json]:
    """A row per reason: projects, hours not read, usage, neon_cost, worth. Numbers are decimal strings."""
    asked = {project for project, _, _ in readiness.asked_plans(month)}
    unassigned = [
        {"reason": "unknown_plan" if row["project_id"] in asked else "unassigned", **row}
        for row in month.unbilled.unassigned
    ]
    own = [{"reason": "own", **row} for row in month.unbilled.own]
    rows = grouped(valued(month, [*unassigned, *own, *month.unbilled.unpriced]), lambda row: str(row["reason"]))
    out = [_told(month, reason, rows[reason]) for reason in WHY if reason in rows]
    hours = month.coverage.hours() - month.coverage.covered_hours()
    return [*out, {**_EMPTY, "reason": "gaps", "hours": str(hours)}] if hours else out


_EMPTY: Json = {"reason": None, "projects": None, "hours": None, "usage": [], "neon_cost": None, "worth": []}


def _told(month: Month, reason: str, rows: Sequence[Row]) -> Json:
    used = grouped(rows, lambda row: str(row["metric"]))
    cost = _cost(month, rows, is_of_nobody=reason in _OF_NOBODY)
    return {
        "reason": reason,
        "projects": str(len(distinct(rows, "project_id"))),
        "hours": None,
        "usage": [
            {"metric": metric, "value": str(sum(int(row["value"]) for row in found))}
            for metric, found in sorted(used.items())
        ],
        "neon_cost": None if cost is None else money_text(cost, COST_CURRENCY),
        "worth": [
            {"currency": row["currency"], "amount": row["worth"]}
            for row in unbilled_sums_worth(rows)
            if row["currency"] and reason != "own"
        ],
    }


def _cost(month: Month, rows: Sequence[Row], *, is_of_nobody: bool) -> Fraction | None:
    """Neon's charge for the usage of these projects; None if no price of Neon's is known for a metric or plan."""
    by_metric = {metric: meter.id for meter in meters.built_in() for metric in meter.metrics}
    wanted = {(row["project_id"], by_metric.get(row["metric"])) for row in rows}
    charged = [
        Fraction(row.amount)
        for row in month.cost.rows
        if (row.project_id, row.meter) in wanted and (row.customer is None) == is_of_nobody
    ]
    return None if month.cost.notes and not charged else sum(charged, Fraction(0))


def sentences(rows: Iterable[Row], waivers: Waivers) -> list[str]:
    """A sentence per row of `not_billed`, with the reason that a person gave for leaving it out."""
    given = dict.fromkeys(("gaps", "not_known"), waivers.incomplete) | dict.fromkeys(
        ("unassigned", "unknown_plan"), waivers.unassigned
    )
    out = []
    for row in rows:
        told = [
            f"{row['hours']} hours"
            if row["hours"]
            else f"usage of {row['projects']} project{'' if row['projects'] == '1' else 's'}"
        ]
        if row["neon_cost"] is not None:
            told.append(f"Neon cost {row['neon_cost']} {COST_CURRENCY}")
        if row["worth"]:
            told.append("worth " + " and ".join(f"{one['amount']} {one['currency']}" for one in row["worth"]))
        why = given.get(row["reason"])
        out.append(f"not billed: {', '.join(told)}: {WHY[row['reason']]}" + (f" (reason given: {why})" if why else ""))
    return out
