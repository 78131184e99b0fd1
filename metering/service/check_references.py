"""Checks references to customers, plans and projects: names that match nothing, and names that nearly match.

Compares the configuration with the projects that the last poll listed. Must not ask Neon or read the store.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from metering.config import Config
from metering.core import name_patterns
from metering.core.ids import Neighbours
from metering.core.values import closest
from metering.rating import segments

Json = dict[str, Any]
Tell = Callable[..., None]
"""Adds a finding: takes subject, check, state, detail and, for a fault, its exit code."""

MOST_NAMED = 10
_INCOMPLETE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A project as the last inventory showed it; `name` is None where it is unknown."""

    project_id: str
    name: str | None
    organization: str
    is_listed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A place that names a customer: `what` (a subscription, a discount, a project's name), at `where`."""

    customer: str
    what: str
    where: str


def sections(config: Config, projects: Sequence[Listed], now: datetime, tell: Tell) -> Json:
    """The parts of the document; adds faults and notes through `tell`."""
    for note in config.respelled[:MOST_NAMED]:
        tell(note.where, "spelling", "note", f"{note.what}; {note.right}")
    tell_more(config.respelled, "configuration", "spelling", "note", tell)
    payers = _payers(config, projects)
    return {
        "unknown_plans": _unknown_plans(config, projects, tell),
        "customers_without_row": _without_row(config, payers, tell),
        "references": [
            *_customers(config, payers, tell, may_have_more=_may_have_more(config, projects)),
            *_unseen(config, projects, now, tell),
        ],
    }


def without_row(config: Config, customers: Iterable[str]) -> Json:
    """The number of customers without a row in customers.csv, and the first of them; zero without the file."""
    known = {row.id for row in config.customer_rows}
    found = sorted(set(customers) - known) if config.customers.file else []
    return {"count": str(len(found)), "named": found[:MOST_NAMED]}


def told_without_row(found: Json) -> str:
    """The sentence about `without_row`; empty where every customer has a row."""
    count = int(found["count"])
    if not count:
        return ""
    names = ", ".join(found["named"]) + (f" and {count - MOST_NAMED} more" if count > MOST_NAMED else "")
    have = "customer has no row" if count == 1 else "customers have no row"
    return f"{count} {have} in customers.csv, so no name, no address and no tax: {names}"


def _payers(config: Config, projects: Sequence[Listed]) -> Mapping[str, Reference]:
    """Customer -> the first reference that assigns a project to it."""
    out: dict[str, Reference] = {}
    for row in config.subscription_rows:
        if row.customer:
            found = Reference(customer=row.customer, what="subscription", where=f"{row.place}, customer")
            out.setdefault(row.customer, found)
    subscribed = {row.project_id for row in config.subscription_rows}
    free = [one for one in projects if one.is_listed and one.project_id not in subscribed]
    named = name_patterns.matched((one.name for one in free), config.customers.project_name_pattern)
    defaults = {row.id for row in config.organizations if row.default_plan}
    plans = {plan.id for plan in config.plans}
    for one in free:
        customer, plan = named.get(one.name or "", (None, None))
        if customer is not None and plan in plans:
            found = Reference(customer=customer, what="project name", where=f"project {one.name}")
            out.setdefault(customer, found)
        elif customer is None and one.organization in defaults:
            found = Reference(customer=one.project_id, what="project", where=f"project {one.project_id}")
            out.setdefault(one.project_id, found)
    return out


def _may_have_more(config: Config, projects: Sequence[Listed]) -> bool:
    """Whether unknown customers may still appear: before the first poll, where projects' names say who pays."""
    has_default = any(row.default_plan for row in config.organizations)
    return not projects and (has_default or config.customers.project_name_pattern is not None)


def _without_row(config: Config, payers: Mapping[str, Reference], tell: Tell) -> Json:
    found = without_row(config, payers)
    if said := told_without_row(found):
        tell("customers", "rows", "note", said)
    elif config.customers.file:
        tell("customers", "rows", "ok", "each customer that is known has a row in customers.csv")
    return found


def _customers(config: Config, payers: Mapping[str, Reference], tell: Tell, *, may_have_more: bool) -> list[Json]:
    """References whose customer nearly matches a row of customers.csv, and references to unknown customers.

    `may_have_more`: the first poll may add customers, so an unknown customer is not a fault yet.
    """
    rows = {row.id: row for row in config.customer_rows}
    by_row, by_any = Neighbours(rows), Neighbours({*rows, *payers})
    out: list[Json] = []
    faults: list[tuple[Reference, str | None, str]] = []
    for one in [*payers.values(), *_discounts(config)]:
        near = by_row.by_form(one.customer) if one.customer not in rows else None
        if near is not None:
            right = f"did you mean {near!r} ({rows[near].place})? They differ only by case or form; else give it a row"
            faults.append((one, near, f"{one.customer!r} has no row in customers.csv; {right}"))
        elif one.customer not in rows and one.customer not in payers:
            near = by_any.nearest(one.customer)
            right = f"did you mean {near!r}?" if near else _some("known customers", {*rows, *payers})
            detail = f"{one.customer!r} is nobody: no row of customers.csv, subscription or project has this customer"
            if may_have_more:
                tell(one.where, "customer", "note", f"{one.customer!r} is not known before the first poll; {right}")
                out.append(_row(one, near))
            else:
                faults.append((one, near, f"{detail}; {right}"))
    for one, _, detail in faults[:MOST_NAMED]:
        tell(one.where, "customer", "fault", detail, _INCOMPLETE)
    tell_more(faults, "customers", "customer", "fault", tell)
    return [*(_row(one, near) for one, near, _ in faults), *out]


def _discounts(config: Config) -> Iterator[Reference]:
    for index, discount in enumerate(config.discounts):
        yield Reference(customer=discount.customer, what="discount", where=f"discounts[{index}].customer")


def _row(one: Reference, near: str | None) -> Json:
    return {"where": one.where, "what": one.what, "name": one.customer, "nearest": near}


def _some(what: str, names: Iterable[str]) -> str:
    found = sorted(names)
    if not found:
        return f"there are no {what}"
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"{what}: {', '.join(found[:MOST_NAMED])}{more}"


def _unseen(config: Config, projects: Sequence[Listed], now: datetime, tell: Tell) -> list[Json]:
    """Current subscriptions of projects that inventory never showed; a fault if an id differs only in case or form."""
    if not projects:
        return []
    known = {one.project_id for one in projects}
    neighbours, seen, told = Neighbours(known), set(known), []
    for row in config.subscription_rows:
        if row.project_id in seen or (row.valid_to is not None and row.valid_to <= now):
            continue
        seen.add(row.project_id)
        told.append((row, neighbours.by_form(row.project_id)))
    for row, near in told[:MOST_NAMED]:
        found = near or neighbours.nearest(row.project_id)
        right = f"; did you mean {found!r}?" if found else ""
        detail = f"no poll has shown a project {row.project_id!r}{right}"
        tell(f"{row.place}, project_id", "project", "fault" if near else "note", detail, _INCOMPLETE if near else 0)
    state = "fault" if any(near for _, near in told[MOST_NAMED:]) else "note"
    tell_more(told, "subscriptions", "project", state, tell)
    return [
        {"where": f"{row.place}, project_id", "what": "subscription", "name": row.project_id, "nearest": near}
        for row, near in told
    ]


def _unknown_plans(config: Config, projects: Sequence[Listed], tell: Tell) -> list[Json]:
    """Projects with a plan in their name, by the pattern, that does not exist: nobody pays for them."""
    subscribed = {row.project_id for row in config.subscription_rows}
    names = (one.name for one in projects if one.is_listed and one.project_id not in subscribed)
    found = segments.unknown_plans(names, config.customers.project_name_pattern, config.plans)
    ids = {plan.id for plan in config.plans}
    for name, plan in found[:MOST_NAMED]:
        detail = f"its name asks for the plan {plan!r}, which does not exist; {closest(plan, ids)}"
        tell(f"project {name}", "plan", "fault", detail, _INCOMPLETE)
    tell_more(found, "projects", "plan", "fault", tell)
    return [{"project_name": name, "plan": plan} for name, plan in found]


def tell_more(found: Sequence[object], subject: str, check: str, state: str, tell: Tell) -> None:
    """Adds one finding with the number of entries beyond the MOST_NAMED that were listed one by one."""
    if len(found) > MOST_NAMED:
        code = _INCOMPLETE if state == "fault" else 0
        tell(subject, check, state, f"and {len(found) - MOST_NAMED} more of this kind", code)
