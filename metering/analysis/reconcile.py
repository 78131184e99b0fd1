"""Our computed cost of a month against Neon's own invoice, and why they differ.

For every cause that can be worked out the month is rated again as if it were so: by another scope of the transfer
allowance, by one plan for the whole month, from days instead of hours, without the projects that were deleted. Reads
the store, writes nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, partial
from typing import Any

import polars as pl
from msgspec.structs import replace as with_changes

from metering.analysis import causes
from metering.analysis.causes import Bounds, Candidate, Split
from metering.analysis.neon_invoice import CURRENCY, InvoiceLine
from metering.billing import cost
from metering.billing.cost import CostRow
from metering.billing.month import Month
from metering.billing.neon_cost import HOURLY_METRIC
from metering.core.money import amount_text, parse_amount, round_amount
from metering.core.period import DAY, rfc3339
from metering.core.plans import Price

Json = dict[str, Any]
Row = Mapping[str, Any]
Key = tuple[str | None, str | None]
"""(organization, meter) as far as the invoice tells them apart."""

ROUNDING_CENTS = 2
"""Per organization and meter: Neon may round a quantity to hundredths before pricing it, and the amount."""
STORAGE = ("storage_root", "storage_child", "instant_restore", "snapshots")
"""Meters in GB-months, whose unit changed once: byte-hours are 744 times as many."""
MONTH_HOURS = 744


def by_total(month: Month, total: int) -> Json:
    """The month against the total of Neon's invoices, in cents."""
    line = InvoiceLine(organization=None, meter=None, words="total", quantity=None, cents=total)
    return _document(month, [line], {}, _Grouping(lines=None))


def by_lines(month: Month, lines: Sequence[InvoiceLine], name: str) -> Json:
    """The month against the lines of Neon's invoices; `name` says where they came from."""
    return _document(month, lines, {"file": name}, _Grouping(lines=lines))


def _document(month: Month, lines: Sequence[InvoiceLine], source: Json, grouping: "_Grouping") -> Json:
    splits = _splits(_WhatIfs(month=month), lines, grouping)
    computed, invoiced = sum(part.computed for part in splits), sum(part.invoiced for part in splits)
    parts = causes.summed(part.split for part in splits)
    assert sum(parts.values()) == invoiced - computed
    return {
        "period": {"start": rfc3339(month.period.start), "end": rfc3339(month.period.end)},
        "as_of": rfc3339(month.now),
        "currency": CURRENCY,
        "source": {"total": amount_text(invoiced, CURRENCY), **source},
        "computed": amount_text(computed, CURRENCY),
        "invoiced": amount_text(invoiced, CURRENCY),
        "difference": amount_text(invoiced - computed, CURRENCY),
        "causes": [{"cause": cause, "amount": amount_text(amount, CURRENCY)} for cause, amount in parts.items()],
        "lines": [_told(part) for part in splits],
        "coverage": month.coverage.document(),
        "notes": _notes(month, lines, grouping),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One key of the comparison."""

    key: Key
    computed: int
    invoiced: int
    split: Split
    considered: Sequence[Candidate]


def _told(part: _Part) -> Json:
    organization, meter = part.key
    return {
        "organization": organization,
        "meter": meter,
        "computed": amount_text(part.computed, CURRENCY),
        "invoiced": amount_text(part.invoiced, CURRENCY),
        "difference": amount_text(part.invoiced - part.computed, CURRENCY),
        "causes": {cause: amount_text(amount, CURRENCY) for cause, amount in part.split.parts.items() if amount},
        "because": [one.what for one in part.split.taken],
        "considered": [
            {"cause": one.cause, "amount": amount_text(one.amount, CURRENCY), "what": one.what}
            for one in part.considered
        ],
    }


def _notes(month: Month, lines: Iterable[InvoiceLine], grouping: "_Grouping") -> list[str]:
    out = list(month.cost.notes)
    if not month.coverage.is_complete():
        coverage = month.coverage.document()
        out.append(f"only {coverage['covered_hours']} of {coverage['hours']} hours are covered: our cost is too low")
    if grouping.is_itemised:
        out += [f"no meter of ours is billed as {line.words!r}" for line in lines if line.meter is None]
    return out


# -- what is compared with what


class _Grouping:
    """Which key an (organization, meter) falls under: as coarse as the invoice's lines; without lines, one total."""

    def __init__(self, *, lines: Sequence[InvoiceLine] | None) -> None:
        self.is_itemised = lines is not None
        self._has_organizations = any(line.organization for line in lines or ())
        self._meters = {line.meter for line in lines or ()}

    def __call__(self, organization: str | None, meter: str | None) -> Key:
        if not self.is_itemised:
            return None, None
        is_whole = "storage" in self._meters and meter in {"storage_root", "storage_child"}
        return organization if self._has_organizations else None, "storage" if is_whole else meter


def _splits(whatifs: "_WhatIfs", lines: Sequence[InvoiceLine], grouping: "_Grouping") -> list[_Part]:
    computed = whatifs.cents(whatifs.ours, grouping)
    invoiced: dict[Key, int] = {}
    for line in lines:
        key = grouping(line.organization, line.meter)
        invoiced[key] = invoiced.get(key, 0) + line.cents
    candidates = whatifs.candidates(grouping)
    bounds = whatifs.bounds(grouping)
    out = []
    for key in sorted(computed.keys() | invoiced.keys(), key=lambda key: (key[0] or "", key[1] or "")):
        ours, theirs = computed.get(key, 0), invoiced.get(key, 0)
        mine = candidates.get(key, [])
        found = causes.split(theirs - ours, mine, bounds.get(key, Bounds(rounding=0)))
        out.append(_Part(key=key, computed=ours, invoiced=theirs, split=found, considered=mine))
    return out


@dataclass(frozen=True, kw_only=True)
class _WhatIfs:
    """The month's cost as we compute it, and under each alternative assumption."""

    month: Month

    @cached_property
    def ours(self) -> list[CostRow]:
        """Neon's charge as we compute it."""
        return self.month.cost.rows

    def cents(self, rows: Iterable[CostRow], grouping: "_Grouping") -> dict[Key, int]:
        """Cents per key."""
        out: dict[Key, int] = {}
        for row in rows:
            key = grouping(row.organization, row.meter)
            out[key] = out.get(key, 0) + parse_amount(row.amount, CURRENCY)
        return out

    def candidates(self, grouping: "_Grouping") -> dict[Key, list[Candidate]]:
        """The change that each cause would make, per key; causes without a change are left out."""
        before = self.cents(self.ours, grouping)
        out: dict[Key, list[Candidate]] = {}
        for cause, what, rows in self._alternatives():
            after = self.cents(rows, grouping)
            for key in before.keys() | after.keys():
                amount = after.get(key, 0) - before.get(key, 0)
                if amount:
                    out.setdefault(key, []).append(Candidate(cause=cause, amount=amount, what=what))
        return out

    def _alternatives(self) -> Iterator[tuple[str, str, list[CostRow]]]:
        """Cause, what it is in words, and the rows that it would give."""
        yield "rounding", "each project's amount is rounded by itself", [_own_cents(row) for row in self.ours]
        for scope, words in (("customer", "organization"), ("project", "project")):
            rows = self._by_plans(partial(_with_scope, scope=scope))
            yield "allowance scope", f"the included transfer counts once per {words}", rows
        yield "allowance scope", "no transfer is included", self._by_plans(_without_transfer)
        gone = self._deleted
        yield (
            "deleted projects",
            f"{len(gone)} deleted projects are not billed",
            [row for row in self.ours if row.project_id not in gone],
        )
        for plan in self._plans_of_divided():
            yield "plan change", f"the whole month is billed by the plan {plan}", self._by_one_plan(plan)
        yield (
            "unit change",
            "storage is billed in byte-hours taken for byte-months",
            _storage(self.ours, MONTH_HOURS, 1),
        )
        yield "unit change", "storage is divided by 744 once more", _storage(self.ours, 1, MONTH_HOURS)

    def _by_plans(self, change: Callable[[Price], Price]) -> list[CostRow]:
        """The rows by a price list in which `change` was made to every price."""
        plans = tuple(
            plan.model_copy(update={"prices": tuple(change(price) for price in plan.prices)})
            for plan in cost.price_list()
        )
        return replace(self.month.cost, plans=plans).rows

    def _by_one_plan(self, plan: str) -> list[CostRow]:
        terms = self.month.terms
        divided = {name for name, plans in self.month.cost.plans_of.items() if plan in plans and len(plans) > 1}
        organizations = tuple(
            row.model_copy(update={"plan": plan}) if row.id in divided else row for row in terms.organizations
        )
        return replace(self.month.cost, terms=replace(terms, organizations=organizations)).rows

    def _plans_of_divided(self) -> list[str]:
        """The plans of organizations that had more than one in the month."""
        return sorted({plan for plans in self.month.cost.plans_of.values() if len(plans) > 1 for plan in plans})

    @cached_property
    def _deleted(self) -> set[str]:
        """Projects that ended inside the month."""
        ended = self.month.projects.existence.filter(pl.col("exists_to") < self.month.period.end)
        return set(ended["project_id"])

    def bounds(self, grouping: "_Grouping") -> dict[Key, Bounds]:
        """Per key: the most that rounding can add up to, and the bounds that coarse buckets leave for branches."""
        rounded: dict[Key, set[tuple[str, str]]] = {}
        for row in self.ours:
            key = grouping(row.organization, row.meter)
            rounded.setdefault(key, set()).add((row.organization, row.meter))
        ours = self.cents(self.ours, grouping)
        low = self.cents(replace(self.month.cost, every=DAY).rows, grouping)
        high = self.cents(self._by_plans(_without_hourly), grouping) if self._has_coarse_branches() else ours
        return {
            key: Bounds(
                rounding=ROUNDING_CENTS * len(members),
                granularity=(min(0, low.get(key, 0) - ours[key]), max(0, high.get(key, 0) - ours[key])),
            )
            for key, members in rounded.items()
        }

    def _has_coarse_branches(self) -> bool:
        rows = self.month.usage.sums.filter((pl.col("metric") == HOURLY_METRIC) & (pl.col("grain") > 0))
        return not rows.is_empty()


def _own_cents(row: CostRow) -> CostRow:
    return with_changes(row, amount=amount_text(round_amount(Fraction(row.exact), CURRENCY), CURRENCY))


def _with_scope(price: Price, *, scope: str) -> Price:
    return price.model_copy(update={"scope": scope}) if price.meter == "public_transfer" else price


def _without_transfer(price: Price) -> Price:
    return price.model_copy(update={"included": Decimal(0)}) if price.meter == "public_transfer" else price


def _without_hourly(price: Price) -> Price:
    return price if price.included_per_hour is None else price.model_copy(update={"included_per_hour": Decimal(0)})


def _storage(rows: Iterable[CostRow], factor: int, divisor: int) -> list[CostRow]:
    """The rows with their storage in another unit."""
    out = []
    for row in rows:
        if row.meter in STORAGE:
            exact = Fraction(row.exact) * factor / divisor
            out.append(with_changes(row, amount=amount_text(round_amount(exact, CURRENCY), CURRENCY)))
        else:
            out.append(row)
    return out


def table_rows(document: Json) -> list[Json]:
    """The comparison as rows: a line for each key with what was found, and the total with every cause."""
    whole = {name: document[name] for name in ("computed", "invoiced", "difference")}
    causes_of = {row["cause"]: row["amount"] for row in document["causes"]}
    rows = [*document["lines"], {"organization": "total", "meter": None, **whole, "causes": causes_of}]
    return [
        {
            **{name: row[name] for name in ("organization", "meter", "computed", "invoiced", "difference")},
            **{cause: row["causes"].get(cause, "") for cause in causes.CAUSES},
        }
        for row in rows
    ]
