"""The terms of a month: plans, meters, customers and subscriptions, everything but usage that a figure depends on.

They are frozen when a month is closed, so that its invoices can be rated again to the same bytes after the
configuration has changed. Reads no file: the caller has read the configuration.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from metering.core.dated_tax import changes
from metering.core.errors import UsageError
from metering.core.invoice import Printed
from metering.core.meters import catalogue
from metering.core.parties import Customer, Discount, Organization, Subscription
from metering.core.period import Period, month_name, month_of
from metering.core.plans import Plan
from metering.rating.card import Card, canonical, from_canonical, plain
from metering.store.database import Store

if TYPE_CHECKING:
    from metering.config import Config

RULES = 2
"""The number of the rules that this version closes months by: what its figures mean. Documents closed under other rules
are kept and shown, never computed again. It goes up whenever an issued document would be computed differently."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """`card` rates, the rest says whose project it is and who pays."""

    card: Card
    customers: tuple[Customer, ...]
    subscriptions: tuple[Subscription, ...]
    organizations: tuple[Organization, ...]
    pattern: str | None
    discounts: tuple[Discount, ...] = ()

    def plan(self, plan_id: str) -> Plan:
        """The plan of that id; asserts that there is one."""
        return next(plan for plan in self.card.plans if plan.id == plan_id)

    @cached_property
    def sha256(self) -> str:
        """The hash that an invoice names as its rate card."""
        text = json.dumps(document(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def dated_metrics(self) -> list[str]:
        """Metrics whose unit depends on when a page was read."""
        dated = (meter for meter in self.card.meters if len(meter.divisors) > 1)
        return sorted({metric for meter in dated for metric in meter.metrics})

    def tax_changes(self, period: Period) -> dict[str, list[datetime]]:
        """Customer -> the moments of the period from which on its tax is another, of those that have any."""
        found = {row.id: changes(row, period.start, period.end) for row in self.customers if row.dated}
        return {customer: moments for customer, moments in found.items() if moments}


def of(config: "Config") -> Terms:
    """The terms in force by a configuration."""
    return Terms(
        card=Card(
            plans=config.plans,
            meters=catalogue(config.meters),
            rounding=config.invoices.rounding,
            prorate=config.invoices.prorate,
        ),
        customers=tuple(sorted(config.customer_rows, key=lambda row: row.id)),
        subscriptions=tuple(sorted(config.subscription_rows, key=subscription_order)),
        organizations=tuple(sorted(config.organizations, key=lambda row: row.id)),
        pattern=config.customers.project_name_pattern,
        discounts=config.discounts,
    )


def subscription_order(row: Subscription) -> tuple[str, str, str]:
    """What subscriptions are sorted by."""
    return row.project_id, str(row.valid_from or ""), row.customer or ""


def document(terms: Terms) -> Printed:
    """The terms as JSON knows them; where a row stood in its file and how a key is found are no part of them."""
    return {
        "card": json.loads(canonical(terms.card)),
        "customers": [_row(row) for row in terms.customers],
        "subscriptions": [_row(row) for row in terms.subscriptions],
        "organizations": [
            {"id": row.id, "default_plan": row.default_plan, "sponsored": row.sponsored, "plan": row.plan}
            for row in terms.organizations
        ],
        "pattern": terms.pattern,
        # Only where there are some: terms that were frozen before discounts existed keep their hash.
        **({"discounts": [plain(row) for row in terms.discounts]} if terms.discounts else {}),
    }


_NO_TERMS = {"line", "place"}
"""Where a row stood."""
_TAX = {"tax_inclusive", "tax_category", "tax_note", "tax_from", "tax_to", "dated"}
_ONLY_WHERE_GIVEN = {*_TAX, "street", "city", "postcode", "stripe_customer"}
"""Columns newer than the first terms: absent where nothing is given, so that old terms keep their hash."""


def _row(row: Customer | Subscription) -> Printed:
    """A CSV row without the place where it stood."""
    found = plain(row)
    assert isinstance(found, dict)
    return {
        name: value
        for name, value in found.items()
        if name not in _NO_TERMS and (value or name not in _ONLY_WHERE_GIVEN)
    }


class _Document(Struct):
    """The parts of `document`."""

    card: Printed
    customers: list[Printed]
    subscriptions: list[Printed]
    organizations: list[Printed]
    pattern: str | None
    discounts: list[Printed] = []


def from_document(found: Mapping[str, object]) -> Terms:
    """The terms whose `document` this is."""
    parts = msgspec.convert(found, _Document)
    return Terms(
        card=from_canonical(json.dumps(parts.card).encode()),
        customers=tuple(Customer.model_validate(row) for row in parts.customers),
        subscriptions=tuple(Subscription.model_validate(row) for row in parts.subscriptions),
        organizations=tuple(
            Organization.model_validate({**row, "api_key_env": "FROZEN"}) for row in parts.organizations
        ),
        pattern=parts.pattern,
        discounts=tuple(Discount.model_validate(row) for row in parts.discounts),
    )


def months(store: Store, first: Period | None, last: Period, now: datetime) -> list[Period]:
    """The calendar months from `first`, or else the first one with any coverage, to `last`."""
    if first is None:
        known = store.query("billing/first_coverage", before=now)["period_start"]
        start = known.min()
        first = month_of(start) if isinstance(start, datetime) and start < last.start else last
    if first.start > last.start:
        raise UsageError(f"{month_name(first)} is after {month_name(last)}")
    out = [first]
    while out[-1].start < last.start:
        out.append(month_of(out[-1].end))
    return out
