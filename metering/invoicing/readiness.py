"""Says when a month may close and what prevents it: gathers the facts that blockers.py judges.

Reads the store only; must not close anything.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from fractions import Fraction

import polars as pl

from metering.billing.month import Month
from metering.config import Config, ScheduleConfig
from metering.core.frames import Moment
from metering.core.period import Period, month_of, parse_time
from metering.invoicing import blockers
from metering.invoicing.blockers import NO_WAIVERS, Facts, Reason, Waivers
from metering.ledger import lineage
from metering.rating import segments
from metering.store.database import Store


def first_month(store: Store, schedule: ScheduleConfig) -> Period | None:
    """The first month that may close by itself: the configured one, otherwise the first after a complete poll.

    None before the first complete poll. Earlier months are closed by hand only.
    """
    if schedule.first_month is not None:
        return month_of(parse_time(f"{schedule.first_month}-01T00:00:00Z"))
    polled_at: datetime | None = store.query("invoicing/first_complete_poll")["started_at"].item()
    return None if polled_at is None else month_of(month_of(polled_at).end)


def may_close_by_itself(first: Period | None, month: Period) -> bool:
    """Whether the month is the first one, or a later one."""
    return first is not None and first.start <= month.start


def settled_at(schedule: ScheduleConfig, month: Period) -> datetime:
    """When the month's usage counts as complete: `settle_hours` after its end."""
    return month.end + timedelta(hours=schedule.settle_hours)


def closes_from(schedule: ScheduleConfig, month: Period) -> datetime:
    """When the month is settled and close_day is reached; for a month closed by hand, when it is settled."""
    return max(settled_at(schedule, month), month.end + timedelta(days=max(schedule.close_day, 1) - 1))


def reasons(
    month: Month,
    config: Config,
    waivers: Waivers = NO_WAIVERS,
    *,
    is_by_itself: bool = False,
    is_closed: bool = False,
) -> list[Reason]:
    """The reasons that prevent the month's close, without costs. `is_by_itself`: no person typed the close.

    `is_closed`: the month is closed for some customers; unassigned usage was decided then and is no reason.
    """
    facts = Facts(
        month=month.period,
        now=month.now,
        settled_at=settled_at(config.schedule, month.period),
        seller=config.seller.name,
        gaps=month.coverage.gaps(month.now),
        projects_of=_projects_of(month),
        unassigned=() if is_closed else _of_nobody(month),
        asked=() if is_closed else asked_plans(month),
        examples=_examples(month),
        alarms=[
            (row["alarm_id"], row["summary"])
            for row in month.recorded.store.query("invoicing/alarms_that_stop").to_dicts()
        ],
        obstacles=[(one.kind, one.what, one.way_out) for one in _obstacles(month, config)],
        is_first_by_itself=is_by_itself and not is_typed(month.recorded.store),
    )
    return blockers.reasons(facts, waivers)


def _obstacles(month: Month, config: Config) -> list[lineage.Obstacle]:
    return lineage.obstacles(month.recorded.store, config.store.directory, month.now, config.store.witness)


def costed(month: Month, found: Sequence[Reason]) -> list[Reason]:
    """The reasons with Neon's charge for the projects of each."""
    if not found:
        return []
    whole: defaultdict[str, Fraction] = defaultdict(Fraction)
    nobodys: defaultdict[str, Fraction] = defaultdict(Fraction)
    for row in month.cost.rows:
        whole[row.project_id] += Fraction(row.amount)
        if row.customer is None:
            nobodys[row.project_id] += Fraction(row.amount)
    has_unknown = bool(month.cost.notes)

    def cost_of(projects: Collection[str], is_of_nobody: bool) -> Fraction | None:
        costs = nobodys if is_of_nobody else whole
        total = sum((costs.get(project, Fraction(0)) for project in projects), Fraction(0))
        return None if has_unknown and projects and not total else total

    return blockers.costed(found, cost_of)


def is_typed(store: Store) -> bool:
    """Whether this store has any closing; without one, only a person may close."""
    return not store.query("invoicing/closed_months").is_empty()


def asked_plans(month: Month) -> list[tuple[str, str, str]]:
    """(project, name, plan) where a project's name in the month contains a plan that does not exist, sorted.

    Projects with rows in subscriptions.csv are left out: only these rows map them.
    """
    seen = month.projects.sightings.sort("project_id", "seen_at", maintain_order=True)
    unknown = dict(segments.unknown_plans(seen["name"].unique(), month.terms.pattern, month.terms.card.plans))
    if not unknown:
        return []
    mapped = [row.project_id for row in month.terms.subscriptions]
    project, seen_at = pl.col("project_id"), pl.col("seen_at").cast(Moment)
    start, end = (pl.lit(moment, dtype=Moment) for moment in (month.period.start, month.period.end))
    rows = (
        seen.with_columns(
            since=pl.when(project == project.shift(1)).then(seen_at),
            until=pl.when(project == project.shift(-1)).then(seen_at.shift(-1)),
        )
        .filter(pl.col("name").is_in(list(unknown)), ~project.is_in(mapped))
        .join(month.projects.existence.unique("project_id"), on="project_id")
        .filter(
            pl.max_horizontal(start, "since", "exists_from") < pl.min_horizontal(end, "until", "exists_to"),
        )
        .select("project_id", "name")
        .unique()
        .sort("project_id", "name")
    )
    return [(project_id, name, unknown[name]) for project_id, name in rows.iter_rows()]


def _of_nobody(month: Month) -> set[str]:
    """Projects with usage and without a customer, except those not known yet: these are gaps of the inventory."""
    used = {row["project_id"] for row in month.unbilled.unassigned if int(row["value"]) > 0}
    return used - month.knowledge.not_known


def _projects_of(month: Month) -> dict[str, set[str]]:
    """Organization -> its projects with usage in the month."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for organization, project in month.usage.sums.select("organization", "project_id").unique().iter_rows():
        found[organization].add(project)
    return found


def _examples(month: Month) -> dict[str, set[str]]:
    """Plan -> its projects in the month, for plans with the example prices of `init`."""
    examples = [plan.id for plan in month.terms.card.plans if plan.example]
    found: defaultdict[str, set[str]] = defaultdict(set)
    rows = month.segments.filter(pl.col("plan").is_in(examples)) if examples else month.segments.clear()
    for plan, project in rows.select("plan", "project_id").unique().iter_rows():
        found[plan].add(project)
    return found
