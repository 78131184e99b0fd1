"""Usage that a month's invoices leave out, by reason: quantities, Neon's charge, and its value by our prices.

Reads a month, writes nothing. Must not decide whether that prevents a close.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from fractions import Fraction

import msgspec
from msgspec import UNSET, Struct, UnsetType

from metering.billing.month import Month
from metering.core import meters
from metering.core.money import COST_CURRENCY
from metering.core.rows import grouped
from metering.invoicing import readiness
from metering.invoicing.blockers import Waivers
from metering.invoicing.unbilled_sums import Amount, MetricValue, NotBilled
from metering.invoicing.unbilled_sums import worth as unbilled_sums_worth
from metering.rating import unbilled
from metering.rating.unbilled import Usage
from metering.rendering.figures import money_text


class ValuedUsage(Struct, frozen=True, kw_only=True):
    """A project's usage of one metric that is not billed, with its value by the plan `priced_as`, if any."""

    project_id: str
    metric: str
    value: str
    reason: str | UnsetType = UNSET
    meter: str | None
    quantity: str | None
    unit: str | None
    worth: str | None
    currency: str | None
    priced_as: str | None


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


def valued(month: Month, rows: Sequence[Mapping[str, str]]) -> list[ValuedUsage]:
    """The value of rows (project_id, metric, value, perhaps `reason`), in their order by project and meter.

    By the prices at the month's end, or now if that is earlier.
    """
    default_plans = {row.id: row.default_plan for row in month.terms.organizations}
    seen = month.usage.sums.select("project_id", "organization").unique().sort("project_id", "organization")
    defaults = {project: default_plans.get(organization) for project, organization in seen.iter_rows()}
    at = min(month.now, month.period.end - timedelta(seconds=1))
    usages = [Usage(project_id=row["project_id"], metric=row["metric"], value=int(row["value"])) for row in rows]
    return [
        msgspec.convert({**rows[place], **asdict(worth)}, ValuedUsage)
        for place, worth in unbilled.valued(usages, month.terms.card, at, defaults)
    ]


def not_billed(month: Month) -> list[NotBilled]:
    """What the month's invoices leave out, by reason in the order of WHY."""
    asked = {project for project, _, _ in readiness.asked_plans(month)}
    unassigned = [
        {"reason": "unknown_plan" if row["project_id"] in asked else "unassigned", **row}
        for row in month.unbilled.unassigned
    ]
    own = [{"reason": "own", **row} for row in month.unbilled.own]
    rows = grouped(valued(month, [*unassigned, *own, *month.unbilled.unpriced]), lambda row: str(row.reason))
    out = [_told(month, reason, rows[reason]) for reason in WHY if reason in rows]
    hours = month.coverage.hours() - month.coverage.covered_hours()
    return [*out, NotBilled(reason="gaps", hours=str(hours))] if hours else out


def _told(month: Month, reason: str, rows: Sequence[ValuedUsage]) -> NotBilled:
    used = grouped(rows, lambda row: row.metric)
    cost = _cost(month, rows, is_of_nobody=reason in _OF_NOBODY)
    return NotBilled(
        reason=reason,
        projects=str(len({row.project_id for row in rows})),
        usage=[
            MetricValue(metric=metric, value=str(sum(int(row.value) for row in found)))
            for metric, found in sorted(used.items())
        ],
        neon_cost=None if cost is None else money_text(cost, COST_CURRENCY),
        worth=[
            Amount(currency=one.currency, amount=one.worth)
            for one in unbilled_sums_worth((row.currency, row.worth) for row in rows)
            if one.currency and one.worth and reason != "own"
        ],
    )


def _cost(month: Month, rows: Sequence[ValuedUsage], *, is_of_nobody: bool) -> Fraction | None:
    """Neon's charge for the usage of these projects; None if no price of Neon's is known for a metric or plan."""
    by_metric = {metric: meter.id for meter in meters.built_in() for metric in meter.metrics}
    wanted = {(row.project_id, by_metric.get(row.metric)) for row in rows}
    charged = [
        Fraction(row.amount)
        for row in month.cost.rows
        if (row.project_id, row.meter) in wanted and (row.customer is None) == is_of_nobody
    ]
    return None if month.cost.notes and not charged else sum(charged, Fraction(0))


def sentences(rows: Iterable[NotBilled], waivers: Waivers) -> list[str]:
    """A sentence per row of `not_billed`, with the reason that a person gave for leaving it out."""
    given = dict.fromkeys(("gaps", "not_known"), waivers.incomplete) | dict.fromkeys(
        ("unassigned", "unknown_plan"), waivers.unassigned
    )
    out = []
    for row in rows:
        told = [
            f"{row.hours} hours"
            if row.hours
            else f"usage of {row.projects} project{'' if row.projects == '1' else 's'}"
        ]
        if row.neon_cost is not None:
            told.append(f"Neon cost {row.neon_cost} {COST_CURRENCY}")
        if row.worth:
            told.append("worth " + " and ".join(f"{one.amount} {one.currency}" for one in row.worth))
        why = given.get(row.reason)
        out.append(f"not billed: {', '.join(told)}: {WHY[row.reason]}" + (f" (reason given: {why})" if why else ""))
    return out
