"""Finds the reasons that prevent the close of a month, all at once, each with a sentence and a remedy.

Pure. Must not know the store, who asks, or whether the month is then closed.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction

from metering.core.invoice import Printed
from metering.core.period import HOUR, Period, month_name, parse_time, rfc3339
from metering.rendering.figures import money_text

COST_CURRENCY = "USD"
MOST_NAMED = 10
"""The most projects or names listed below a reason."""
BY_ITSELF = "first_close"
"""Kind of the reason that prevents only automatic closes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A reason that prevents a close. `kind` is its name in JSON; `projects` are the ids of the projects concerned.

    `neon_cost` is Neon's charge for these projects, a decimal string in US dollars; None if it is not known.
    """

    kind: str
    what: str
    way_out: str
    projects: tuple[str, ...] = ()
    is_of_nobody: bool = False
    """Whether `neon_cost` counts only the time in which the projects had no customer."""
    details: tuple[str, ...] = ()
    neon_cost: str | None = None

    @property
    def sentence(self) -> str:
        """The reason in words, with the number of projects and Neon's cost."""
        cost = "cost unknown" if self.neon_cost is None else f"cost {self.neon_cost} {COST_CURRENCY}"
        count = len(self.projects)
        return f"{self.what} ({count} project{'' if count == 1 else 's'}, Neon {cost})"

    def document(self) -> Printed:
        """The JSON object; counts are decimal strings."""
        return {
            "kind": self.kind,
            "reason": self.sentence,
            "what": self.what,
            "way_out": self.way_out,
            "projects": str(len(self.projects)),
            "neon_cost": self.neon_cost,
            "details": list(self.details),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Waivers:
    """Reasons that a person gave for closing in spite of gaps (`incomplete`) or unassigned usage (`unassigned`)."""

    incomplete: str | None = None
    unassigned: str | None = None


NO_WAIVERS = Waivers()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of a month that decide whether it may close.

    `gaps`: as usage/coverage.py returns them; `projects_of`: organization -> its projects with usage; `unassigned`:
    projects with usage and without a customer; `asked`: (project, name, plan) where a project name contains a plan
    that does not exist; `examples`: example plan of `init` -> projects on it; `alarms`: open review items as (id,
    summary); `obstacles`: (kind, sentence, remedy) of states of the store in which no month may close.
    """

    month: Period
    now: datetime
    settled_at: datetime
    seller: str
    gaps: Sequence[Mapping[str, str]] = ()
    projects_of: Mapping[str, Collection[str]]
    unassigned: Collection[str] = ()
    asked: Sequence[tuple[str, str, str]] = ()
    examples: Mapping[str, Collection[str]]
    alarms: Sequence[tuple[str, str]] = ()
    obstacles: Sequence[tuple[str, str, str]] = ()
    is_first_by_itself: bool = False
    """Whether this close is automatic and no close of this store was ever typed by a person."""


def reasons(facts: Facts, waivers: Waivers = NO_WAIVERS) -> list[Reason]:
    """Every reason that is not waived, in the order in which to resolve them; `neon_cost` is not filled in."""
    found: Iterable[Iterator[Reason]] = (
        _obstacles(facts),
        _early(facts),
        _gaps(facts, waivers),
        _seller(facts),
        _examples(facts),
        _asked(facts, waivers),
        _unassigned(facts, waivers),
        _alarms(facts),
        _first(facts),
    )
    return [reason for some in found for reason in some]


def costed(found: Iterable[Reason], cost_of: Callable[[Collection[str], bool], Fraction | None]) -> list[Reason]:
    """The reasons with `neon_cost`; `cost_of(projects, is_of_nobody)` returns US dollars, or None if not known."""
    out = []
    for reason in found:
        cost = cost_of(reason.projects, reason.is_of_nobody)
        out.append(replace(reason, neon_cost=None if cost is None else money_text(cost, COST_CURRENCY)))
    return out


def told(month: Period, found: Sequence[Reason]) -> str:
    """All reasons as one text: a line per reason with its remedy, and its details below it."""
    lines = [f"{month_name(month)} is not closed:"]
    for reason in found:
        lines.append(f"  {reason.sentence}: {reason.way_out}")
        lines += [f"    {detail}" for detail in reason.details]
    return "\n".join(lines)


def _obstacles(facts: Facts) -> Iterator[Reason]:
    for kind, what, way_out in facts.obstacles:
        yield Reason(kind=kind, what=what, way_out=way_out, projects=_everybody(facts))


def _early(facts: Facts) -> Iterator[Reason]:
    name, everybody = month_name(facts.month), _everybody(facts)
    if facts.now < facts.month.end:
        yield Reason(
            kind="not_over",
            what=f"{name} is not over until {rfc3339(facts.month.end)}",
            way_out=f"wait; `metering invoices {name}` shows drafts meanwhile",
            projects=everybody,
        )
    elif facts.now < facts.settled_at:
        yield Reason(
            kind="not_settled",
            what=f"the usage of {name} may still settle until {rfc3339(facts.settled_at)}",
            way_out=f"metering close {name} then, or lower schedule.settle_hours",
            projects=everybody,
        )


def _gaps(facts: Facts, waivers: Waivers) -> Iterator[Reason]:
    if facts.now < facts.month.end or not facts.gaps or waivers.incomplete:
        return
    lengths = [(parse_time(gap["end"]) - parse_time(gap["start"])) // HOUR for gap in facts.gaps]
    concerned = {gap["organization"] for gap in facts.gaps}
    yield Reason(
        kind="gaps",
        what=f"{month_name(facts.month)} lacks {sum(lengths)} hours",
        way_out=(
            f"metering backfill may still read them; otherwise: "
            f"metering close {month_name(facts.month)} --allow-incomplete REASON"
        ),
        projects=_sorted(project for one in concerned for project in facts.projects_of.get(one, ())),
        details=tuple(
            f"{gap['organization']}: {length} h from {gap['start']} to {gap['end']} ({gap['reason']})"
            for gap, length in zip(facts.gaps, lengths, strict=True)
        ),
    )


def _seller(facts: Facts) -> Iterator[Reason]:
    if not facts.seller.strip():
        yield Reason(
            kind="seller",
            what="seller.name is empty: invoices would name no seller",
            way_out=f'write name = "…" under [seller] in config.toml, then: metering close {month_name(facts.month)}',
            projects=_everybody(facts),
        )


def _examples(facts: Facts) -> Iterator[Reason]:
    for plan, projects in sorted(facts.examples.items()):
        yield Reason(
            kind="example_plan",
            what=f"the plan {plan} still has example = true, as init wrote it",
            way_out=(
                f"write your prices and take example = true out of the plan, "
                f"then: metering close {month_name(facts.month)}"
            ),
            projects=_sorted(projects),
        )


def _asked(facts: Facts, waivers: Waivers) -> Iterator[Reason]:
    if waivers.unassigned:
        return
    by_plan: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for project, name, plan in facts.asked:
        by_plan[plan].append((project, name))
    for plan, rows in sorted(by_plan.items()):
        yield Reason(
            kind="unknown_plan",
            what=f"names ask for the plan {plan}, which does not exist",
            way_out=(
                f"add the plan to config.toml or map the projects in subscriptions.csv; to leave them unbilled: "
                f"metering close {month_name(facts.month)} --allow-unassigned REASON"
            ),
            projects=_sorted(project for project, _ in rows),
            is_of_nobody=True,
            details=_some(sorted({f"{project}: {name}" for project, name in rows})),
        )


def _unassigned(facts: Facts, waivers: Waivers) -> Iterator[Reason]:
    projects = _sorted(set(facts.unassigned) - {project for project, _, _ in facts.asked})
    if projects and not waivers.unassigned:
        yield Reason(
            kind="unassigned",
            what="usage of projects that nobody pays for",
            way_out=(
                f"map them: subscriptions.csv, customers.project_name_pattern or default_plan; to leave them unbilled: "
                f"metering close {month_name(facts.month)} --allow-unassigned REASON"
            ),
            projects=projects,
            is_of_nobody=True,
            details=_some(projects),
        )


def _alarms(facts: Facts) -> Iterator[Reason]:
    if facts.alarms:
        several = len(facts.alarms) > 1
        yield Reason(
            kind="alarm",
            what=f"{len(facts.alarms)} alarm{'s are' if several else ' is'} open",
            way_out="once it is clear what happened: metering acknowledge ID --reason TEXT",
            projects=_everybody(facts),
            details=tuple(f"{alarm_id}: {summary}" for alarm_id, summary in facts.alarms),
        )


def _first(facts: Facts) -> Iterator[Reason]:
    if facts.is_first_by_itself:
        yield Reason(
            kind=BY_ITSELF,
            what="the first close of this store is typed by a person",
            way_out=f"metering close {month_name(facts.month)}; later months then close by themselves",
            projects=_everybody(facts),
        )


def _everybody(facts: Facts) -> tuple[str, ...]:
    return _sorted(project for projects in facts.projects_of.values() for project in projects)


def _sorted(projects: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(projects)))


def _some(names: Sequence[str]) -> tuple[str, ...]:
    more = len(names) - MOST_NAMED
    return (*names[:MOST_NAMED], *([f"and {more} more"] if more > 0 else []))
