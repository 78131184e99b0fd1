"""A platform whose month is drawn from a seed: who pays for which project when, at which prices and taxes.

`Plot` is what happens, told twice: as configuration for the product, and as facts for oracle_month.py.
"""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from metering.config import Config
from metering.config.models import CustomersConfig
from metering.core.parties import Customer, Discount, Subscription
from metering.core.period import DAY, HOUR, floor_hour, parse_time, rfc3339
from metering.core.plans import Plan
from metering.sandbox.fleet import PAID_ORGANIZATION, SPONSORED_ORGANIZATION
from metering.sandbox.project import Project
from metering.sandbox.state import State, truth_table
from metering.store import journal
from tests.simulate import MONTH
from tests.support.oracle_month import Facts, Stay, Tax

Json = dict[str, Any]
PATTERN = r"(?P<platform>[^-]+)-(?P<customer>[^-]+)-(?P<plan>[^-]+)-(?P<created>\d+)"
PAYERS = ("alder", "birch", "cedar", "dogwood", "elm")
CHOICES = ("steady", "tiered", "pooled")
GONE_PLAN = "legacy"
"""A plan that names ask for and that does not exist."""
INCLUSIVE = "elm"
"""Whose prices include the tax."""
GRADUATED = {
    "model": "graduated",
    "included": "20",
    "minimum": "6.50",
    "maximum": "40.00",
    "tiers": [
        {"up_to": "50", "unit_price": "0.30", "flat_fee": "1.00"},
        {"unit_price": "0.18", "flat_fee": "4.00"},
    ],
}
POOLED = {
    "model": "graduated",
    "scope": "customer",
    "included": "30",
    "tiers": [{"up_to": "100", "unit_price": "0.16"}, {"unit_price": "0.12", "flat_fee": "2.50"}],
}
COMPUTE = "compute_unit_seconds"
QUANTITIES = {
    "compute": ({COMPUTE}, 3600),
    "storage": ({"root_branch_bytes_month", "child_branch_bytes_month"}, 10**9),
    "public_transfer": ({"public_network_transfer_bytes"}, 10**9),
}


def plans(changed_at: datetime) -> dict[str, Json]:
    """Four plans; the price of compute in `steady` and `tiered` changes inside the month."""
    return {
        "basic": {"base_fee": "3.00", "prices": {"compute": [(None, {"model": "per_unit", "unit_price": "0.10"})]}},
        "steady": {
            "base_fee": "17.00",
            "prices": {
                "compute": [
                    (None, {"model": "per_unit", "unit_price": "0.21"}),
                    (changed_at, {"model": "per_unit", "unit_price": "0.34"}),
                ],
                "public_transfer": [(None, {"model": "per_unit", "unit_price": "0.09"})],
            },
        },
        "tiered": {
            "base_fee": "9.99",
            "minimum": "25.00",
            "prices": {
                "compute": [(None, GRADUATED), (changed_at, {**GRADUATED, "minimum": "9.50", "maximum": "55.00"})]
            },
        },
        "pooled": {
            "base_fee": "11.00",
            "base_fee_scope": "customer",
            "prices": {
                "compute": [(None, POOLED)],
                "storage": [
                    (None, {"model": "per_unit", "unit_price": "0.35", "scope": "customer", "minimum": "0.80"})
                ],
            },
        },
    }


@dataclass(frozen=True, kw_only=True)
class Outage:
    """`GET /projects` does not answer as it should: 500, 403, a `page` or a `row` that cannot be read."""

    kind: str
    start: datetime
    end: datetime
    organizations: tuple[str, ...]
    project: str

    def is_at(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


@dataclass(frozen=True, kw_only=True)
class Plot:
    """What happens. `named` are projects mapped by their names, `hidden` is one that no list ever shows."""

    projects: tuple[Project, ...]
    hidden: str
    named: frozenset[str]
    changed_at: datetime
    subscriptions: tuple[Subscription, ...]
    renames: tuple[tuple[datetime, str, str], ...]
    taxes: Mapping[str, Sequence[tuple[datetime | None, Tax]]]
    outages: tuple[Outage, ...]

    def config(self, config: Config) -> Config:
        """The configuration with everything that documents depend on."""
        return config.model_copy(
            update={
                "plans": tuple(_plan(name, terms) for name, terms in plans(self.changed_at).items()),
                "customer_rows": tuple(_customer(name, rows) for name, rows in sorted(self.taxes.items())),
                "subscription_rows": self.subscriptions,
                "customers": CustomersConfig(project_name_pattern=PATTERN),
                "discounts": (Discount.model_validate({"customer": "birch", "percent": "10"}),),
            }
        )

    def facts(self, hours: Mapping[tuple[str, datetime], Mapping[str, int]], names: "Names") -> Facts:
        """The month for the oracle: by the true usage of every hour, and by when which name was first read."""
        second = lambda moment: (moment - MONTH.start) // timedelta(seconds=1)  # noqa: E731 - a word for one line
        buckets = {
            (project, second(hour), second(hour + HOUR)): _quantities(values)
            for (project, hour), values in hours.items()
        }
        stays = {project.id: self._stays(project, names, hours) for project in self.projects}
        length = second(MONTH.end)
        return Facts(
            length=length,
            plans={name: _dated(terms, second) for name, terms in plans(self.changed_at).items()},
            stays={
                name: [
                    Stay(
                        customer=customer,
                        plan=plan,
                        start=0 if start is None else second(start),
                        end=length if end is None else second(end),
                    )
                    for start, end, customer, plan in found
                ]
                for name, found in stays.items()
            },
            buckets=buckets,
            taxes={
                customer: [(second(start) if start else -(10**9), tax) for start, tax in rows]
                for customer, rows in self.taxes.items()
            },
            discounts={"birch": "10"},
            inclusive={INCLUSIVE},
        )

    def _stays(self, project: Project, names: "Names", hours: Iterable[tuple[str, datetime]]) -> list[tuple]:
        """(from, to, customer, plan) of a project's time."""
        low, high = project.created_at, project.deleted_at
        rows = [(row.valid_from, row.valid_to, row.customer, row.plan) for row in self._rows(project.id)]
        shown = names.of(project.id)
        if not rows and not shown:
            used = sorted(hour for name, hour in hours if name == project.id)
            return [(used[0], used[-1] + HOUR, project.id, "basic")] if used else []
        if not rows:
            starts = [None, *(moment for moment, _ in shown[1:]), None]
            rows = [(starts[at], starts[at + 1], *_by_name(project.id, name)) for at, (_, name) in enumerate(shown)]
        clipped = (
            (max(low, start) if start else low, min(filter(None, (end, high)), default=None), *rest)
            for start, end, *rest in rows
        )
        return [row for row in clipped if row[3] != GONE_PLAN and (row[1] is None or row[0] < row[1])]

    def asks_for_a_plan_that_is_gone(self, names: "Names") -> set[str]:
        """The projects that do so, in some of the month's time."""
        out = set()
        for project in (project for project in self.projects if not self._rows(project.id)):
            shown = names.of(project.id)
            ends = [*(start for start, _ in shown[1:]), MONTH.end]
            for at, (start, name) in enumerate(shown):
                since = max(project.created_at, MONTH.start, *([start] if at else []))
                is_there = since < min(ends[at], project.deleted_at or ends[at])
                out |= {project.id} if is_there and f"-{GONE_PLAN}-" in name else set()
        return out

    def _rows(self, project_id: str) -> list[Subscription]:
        return [row for row in self.subscriptions if row.project_id == project_id]


def _by_name(project_id: str, name: str) -> tuple[str, str]:
    parts = name.split("-")
    return (parts[1], parts[2]) if len(parts) == 4 else (project_id, "basic")


def _plan(name: str, terms: Json) -> Plan:
    prices = [
        {**price, "meter": meter, "valid_from": start or datetime(2026, 1, 1, tzinfo=MONTH.start.tzinfo)}
        for meter, versions in terms["prices"].items()
        for start, price in versions
    ]
    return Plan.model_validate({**terms, "id": name, "name": name.title(), "currency": "USD", "prices": prices})


def _dated(terms: Json, second) -> Json:
    prices = {
        meter: [(second(start) if start else -(10**9), price) for start, price in versions]
        for meter, versions in terms["prices"].items()
    }
    return {**terms, "prices": prices}


def _customer(name: str, rows: Sequence[tuple[datetime | None, Tax]]) -> Customer:
    starts = [start for start, _ in rows]
    taxes = [
        {"tax_from": start, "tax_to": end, "tax_rate_percent": rate, "tax_name": text, "tax_category": category}
        for start, end, (_, (rate, text, category)) in zip(starts, [*starts[1:], None], rows, strict=True)
    ]
    own = {name: value for name, value in taxes[-1].items() if name not in {"tax_from", "tax_to"}}
    dated = {"dated": taxes} if len(rows) > 1 else {}
    told = {"id": name, "name": f"{name.title()} Ltd", "street": "1 Lane", "tax_inclusive": name == INCLUSIVE}
    return Customer.model_validate({**told, **own, **dated})


def _quantities(values: Mapping[str, int]) -> dict[str, Fraction]:
    found = {
        meter: Fraction(sum(values.get(metric, 0) for metric in metrics), divisor)
        for meter, (metrics, divisor) in QUANTITIES.items()
    }
    return {**found, "other": Fraction(sum(values.values()))}


def true_hours(state: State) -> dict[tuple[str, datetime], dict[str, int]]:
    """(project, hour) -> metric -> value, of every hour of the month, whichever organization the project was in."""
    out: dict[tuple[str, datetime], dict[str, int]] = {}
    hour = MONTH.start
    while hour < MONTH.end:
        for row in truth_table(state, hour, hour + HOUR):
            values = out.setdefault((str(row["project_id"]), hour), {})
            values[str(row["metric"])] = values.get(str(row["metric"]), 0) + int(row["value"])
        hour += HOUR
    return out


class Names:
    """Which names the journal's raw pages show from when: (moment, name) of each project, its changes alone."""

    def __init__(self, directory: Path) -> None:
        self._shown: dict[str, list[tuple[datetime, str]]] = {}
        for record in journal.read(directory / "journal"):
            if record.kind == "page" and record.data["endpoint"] in {"inventory", "recoverable"}:
                self._take(parse_time(record.data["received_at"]), record.body)

    def of(self, project_id: str) -> list[tuple[datetime, str]]:
        return self._shown.get(project_id, [])

    def changes(self) -> int:
        return sum(len(shown) - 1 for shown in self._shown.values())

    def _take(self, at: datetime, body: bytes) -> None:
        try:
            rows = json.loads(body)["projects"]
        except (ValueError, KeyError, TypeError):
            return
        for row in rows:
            if isinstance(row["id"], str) and isinstance(row["name"], str):
                shown = self._shown.setdefault(row["id"], [])
                if not shown or shown[-1][1] != row["name"]:
                    shown.append((at, row["name"]))


# -- what is drawn


def drawn(state: State, seed: int) -> Plot:
    """The plot of a seed, on the projects of its fleet; their lives and names are part of it."""
    chance = random.Random(f"platform {seed}")
    fleet = sorted(state.projects, key=lambda project: project.number)
    paid = [project.id for project in fleet if project.number % 4 != 3]
    chance.shuffle(paid)
    hidden, by_default, *rest = paid
    named = rest[: max(3, len(fleet) // 3)]
    renamed = frozenset(named[:-1])
    lives = [_lived(project, chance, hidden, renamed) for project in fleet]
    projects = tuple(replace(project, name=_name(project, by_default, chance)) for project in lives)
    mapped = [project for project in projects if project.id not in {hidden, by_default, *named}]
    ours = random.Random(f"ours {seed}")
    return Plot(
        projects=projects,
        hidden=hidden,
        named=frozenset(named),
        changed_at=moment(chance, MONTH.start + 3 * DAY, MONTH.end - 3 * DAY),
        subscriptions=tuple(_perhaps_ours(row, ours) for project in mapped for row in _subscriptions(project, chance)),
        renames=tuple(
            sorted(row for project in projects if project.id in renamed for row in _renames(project, chance))
        ),
        taxes=_taxes(chance),
        outages=tuple(_outages(chance, sorted(renamed))),
    )


def moment(chance: random.Random, low: datetime, high: datetime) -> datetime:
    """A whole second, often a full hour, now and then a midnight."""
    found = low + timedelta(seconds=chance.randrange(int((high - low).total_seconds())))
    grain = chance.choice(["second", "second", "hour", "day"])
    if grain == "second":
        return found
    return floor_hour(found) if grain == "hour" else found.replace(hour=0, minute=0, second=0)


def _lived(project: Project, chance: random.Random, hidden: str, renamed: Iterable[str]) -> Project:
    """The project with a life and a size of its own; who is hidden is gone within the month, who moves stays."""
    born, died = MONTH.start - 20 * DAY + timedelta(hours=chance.randrange(300)), None
    activity = chance.choice(["idle", "light", "moderate", "moderate", "always"])
    if project.id == hidden:
        born = MONTH.start + timedelta(seconds=chance.randrange(86400, 12 * 86400))
        died = born + timedelta(seconds=chance.randrange(2 * 86400, 8 * 86400))
        activity = "always"
    elif len(project.homes) == 1 and chance.random() < 0.4:
        born = MONTH.start + timedelta(seconds=chance.randrange(14 * 86400))
        if project.id not in renamed and chance.random() < 0.5:
            died = born + timedelta(seconds=chance.randrange(86400, 14 * 86400))
    homes = ((born, project.homes[0][1]), *project.homes[1:])
    return replace(project, created_at=born, deleted_at=died, homes=homes, activity=activity)


def _name(project: Project, by_default: str, chance: random.Random) -> str:
    """By the pattern, also where subscriptions decide alone; one project has a name of its own."""
    if project.id == by_default:
        return f"scratch {project.number}"
    return f"acme-{chance.choice(PAYERS)}-{chance.choice(CHOICES)}-{project.number}"


def _renames(project: Project, chance: random.Random) -> list[tuple[datetime, str, str]]:
    """One to three, now and then to a name that asks for a plan that does not exist, or to one of no pattern."""
    low = max(MONTH.start, project.created_at)
    names = [_name(project, "", chance) for _ in range(chance.randrange(1, 4))]
    odd = {0: f"acme-alder-{GONE_PLAN}-{project.number}", 1: f"scratch {project.number}"}
    return [(moment(chance, low, MONTH.end), project.id, odd.get(chance.randrange(12), name)) for name in names]


def _subscriptions(project: Project, chance: random.Random) -> list[Subscription]:
    """Rows one after the other; between two of them there may be hours that nobody pays for."""
    cuts = sorted({moment(chance, MONTH.start, MONTH.end) for _ in range(chance.randrange(4))})
    rows, start = [], None
    for end in [*cuts, None]:
        row = {"project_id": project.id, "customer": chance.choice(PAYERS), "plan": chance.choice(CHOICES)}
        rows.append(Subscription.model_validate({**row, "valid_from": start, "valid_to": end}))
        if end is None:
            break
        start = end + timedelta(seconds=chance.randrange(60 * 3600)) if chance.random() < 0.3 else end
        later = next((cut for cut in cuts if cut > end), None)
        if later is not None and start >= later:
            start = end
    return rows


def _perhaps_ours(row: Subscription, chance: random.Random) -> Subscription:
    """The row, or one that says that the project is the operator's own in that time."""
    return row.model_copy(update={"customer": None, "plan": None}) if chance.random() < 0.25 else row


def _taxes(chance: random.Random) -> dict[str, list[tuple[datetime | None, Tax]]]:
    """Changes at the month's start, inside it, to reverse charge and perhaps back; none for elm, no tax for dogwood."""
    inside = [MONTH.start + chance.randrange(1, 31) * DAY for _ in range(2)]
    there, back = MONTH.start + chance.randrange(1, 20) * DAY, MONTH.start + chance.randrange(20, 31) * DAY
    returns = [(back, ("20", "VAT", None))] if chance.random() < 0.5 else []
    return {
        "alder": [(None, ("19", "VAT", None)), (MONTH.start, ("16", "VAT", None))],
        "birch": [(None, ("21", "VAT", None)), (inside[0], ("23.5", "VAT", None))],
        "cedar": [(None, ("20", "VAT", None)), (there, ("0", "VAT", "AE")), *returns],
        "elm": [(None, ("7.7", "MwSt", "S"))],
    }


def _outages(chance: random.Random, shown: Sequence[str]) -> list[Outage]:
    """Up to three days each, some days apart; now and then one over the first poll, or over the month's end."""
    out, at = [], MONTH.start + chance.choice([-3, chance.randrange(8 * 24)]) * HOUR
    while at < MONTH.end - 5 * DAY:
        out.append(_outage(chance, shown, at, at + chance.randrange(6, 72) * HOUR))
        at = out[-1].end + chance.randrange(4 * 24, 9 * 24) * HOUR
    if chance.random() < 0.5:
        start = MONTH.end - chance.randrange(2, 30) * HOUR
        out.append(_outage(chance, shown, start, MONTH.end + chance.randrange(37, 42) * HOUR))
    return out


def _outage(chance: random.Random, shown: Sequence[str], start: datetime, end: datetime) -> Outage:
    """`shown` are projects of the paid organization, one of which is on the page or row that cannot be read."""
    kind = chance.choice(["500", "403", "page", "row"])
    one, other = (PAID_ORGANIZATION,), (SPONSORED_ORGANIZATION,)
    organizations = chance.choice([one, other, one + other]) if kind in {"500", "403"} else one
    return Outage(kind=kind, start=start, end=end, organizations=organizations, project=chance.choice(list(shown)))


def late_usage(
    plot: Plot, hours: Mapping[tuple[str, datetime], Mapping[str, int]], chance: random.Random
) -> dict[tuple[str, datetime], int]:
    """What compute of some of the month's last hours turns out to have been more, or less."""
    used = [key for key, values in sorted(hours.items()) if key[1] >= MONTH.end - 30 * HOUR and values.get(COMPUTE)]
    chosen = chance.sample(used, min(8, len(used)))
    return {
        (project, hour): chance.choice([40_000, 3_600, 1, -(hours[project, hour][COMPUTE] // 2)])
        for project, hour in chosen
    }


def as_shown(late: Mapping[tuple[str, datetime], int]) -> dict[tuple[str, str], int]:
    """The hours as the API writes them."""
    return {(project, rfc3339(hour)): more for (project, hour), more in late.items()}
