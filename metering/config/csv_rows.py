"""Reads customers.csv and subscriptions.csv: their rows, or all their faults, each with file, row and key.

Knows the columns of the two files and which rows contradict each other. Must not know the rest of the configuration:
plan ids and their currencies are parameters.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from metering.config.csv_file import Table
from metering.config.faults import faults_of
from metering.core.errors import Fault
from metering.core.ids import respelled
from metering.core.money import MINOR_UNITS
from metering.core.parties import MAY_DIFFER, Customer, DatedTax, Subscription, tax_columns
from metering.core.period import rfc3339
from metering.core.values import closest

Row = TypeVar("Row", Customer, Subscription)

_PLACE = ("line", "place")
_CUSTOMER_COLUMNS = ("customer", *(name for name in Customer.model_fields if name not in {"id", "dated", *_PLACE}))
_SUBSCRIPTION_COLUMNS = tuple(name for name in Subscription.model_fields if name not in _PLACE)
_FIELD_OF_COLUMN = {"customer": "id"}
_EVER = datetime.min.replace(tzinfo=UTC)


def customer_rows(path: Path) -> tuple[list[Customer], list[Fault], list[Fault]]:
    """The customers of a CSV file in its order, its faults, and notes on ids that are read in another spelling.

    Several rows of one customer must have dated taxes.
    """
    table = Table(path, _CUSTOMER_COLUMNS, ("customer",))
    rows = _parsed(table, Customer, _FIELD_OF_COLUMN)
    by_id: dict[str, list[Customer]] = {}
    for row in rows:
        by_id.setdefault(row.id, []).append(row)
        if row.currency and row.currency not in MINOR_UNITS:
            right = "write an ISO 4217 code such as USD"
            table.fault(f"{row.place}, currency", f"{row.currency!r} is no currency in use", right)
        if row.tax_inclusive and row.tax_rate_percent is None:
            right = "write the rate that the prices include (0 where there is none)"
            table.fault(f"{row.place}, tax_inclusive", "is true, but tax_rate_percent is missing", right)
        if row.tax_from and row.tax_to and row.tax_to <= row.tax_from:
            right = f"write a date after tax_from, {row.tax_from:%Y-%m-%d}"
            table.fault(f"{row.place}, tax_to", f"{row.tax_to:%Y-%m-%d} is no later than tax_from", right)
    table.faults.extend(fault for found in by_id.values() for fault in _tax_faults(found))
    return [_one_customer(found) for found in by_id.values()], table.faults, table.notes


def _one_customer(rows: Sequence[Customer]) -> Customer:
    """Merges the rows of one customer, which differ only in their dated tax; the latest tax becomes the current one."""
    if len(rows) == 1 and rows[0].tax_from is None and rows[0].tax_to is None:
        return rows[0]
    ordered = sorted(rows, key=_tax_start)
    taxes = tuple(map(tax_columns, ordered))
    own = {name: getattr(ordered[-1], name) for name in MAY_DIFFER}
    return rows[0].model_copy(update={**own, "tax_from": None, "tax_to": None, "dated": taxes})


def _tax_faults(rows: Sequence[Customer]) -> Iterator[Fault]:
    """Faults between the rows of one customer: other columns differ, two taxes overlap, or a time has no tax."""
    first = rows[0]
    for row in rows[1:]:
        if row.tax_from is None and row.tax_to is None:
            what = f"{row.id!r} stands in line {first.line} already"
            right = "keep one row, or give each its time in tax_from and tax_to"
            yield Fault(where=f"{row.place}, customer", what=what, right=right)
        for name in Customer.model_fields:
            if name not in {*DatedTax.model_fields, *_PLACE} and getattr(row, name) != getattr(first, name):
                what = f"differs between lines {first.line} and {row.line} of {row.id!r}"
                right = f"the dated rows of one customer differ only in {', '.join(MAY_DIFFER)}"
                yield Fault(where=f"{row.place}, {name}", what=what, right=right)
    dated = [row for row in rows if row is first or row.tax_from or row.tax_to]
    for earlier, later in pairwise(sorted(dated, key=_tax_start)):
        lines = f"lines {earlier.line} and {later.line}"
        if earlier.tax_to is None or _tax_start(later)[0] < earlier.tax_to:
            right = "end the earlier one with tax_to, on the day on which the later one begins with tax_from"
            yield Fault(
                where=f"{later.place}, tax_from", what=f"{later.id!r} has two taxes at once: {lines}", right=right
            )
        elif _tax_start(later)[0] > earlier.tax_to:
            what = f"{later.id!r} has no tax from {earlier.tax_to:%Y-%m-%d} to {later.tax_from:%Y-%m-%d}: {lines}"
            right = f"write {earlier.tax_to:%Y-%m-%d}, on which the row before ends"
            yield Fault(where=f"{later.place}, tax_from", what=what, right=right)


def _tax_start(row: Customer) -> tuple[datetime, int]:
    return row.tax_from or _EVER, row.line


def subscription_rows(path: Path, plan_ids: set[str]) -> tuple[list[Subscription], list[Fault], list[Fault]]:
    """The subscriptions of a CSV file in its order, its faults, and notes on ids that are read in another spelling.

    Unknown plans, empty and overlapping times are faults.
    """
    table = Table(path, _SUBSCRIPTION_COLUMNS, ("project_id", "customer", "plan"))
    sound = []
    for row in _parsed(table, Subscription, {}):
        sound.append(row)
        if (row.customer is None) != (row.plan is None):
            empty = "customer" if row.customer is None else "plan"
            right = "write both, or leave both empty for a project of your own that nobody is billed for"
            table.fault(f"{row.place}, {empty}", "is empty", right)
        if row.plan is not None and row.plan not in plan_ids:
            table.fault(f"{row.place}, plan", f"there is no plan {row.plan!r}", closest(row.plan, plan_ids))
        if row.valid_from and row.valid_to and row.valid_to <= row.valid_from:
            right = f"write a time after valid_from, {rfc3339(row.valid_from)}"
            table.fault(f"{row.place}, valid_to", f"{rfc3339(row.valid_to)} is no later than valid_from", right)
            sound.pop()
    table.faults.extend(_overlaps(sound))
    return sound, table.faults, table.notes


def _parsed(table: Table, model: type[Row], field_of: Mapping[str, str]) -> list[Row]:
    column_of = {field: column for column, field in field_of.items()}
    out = []
    for where, line, cells in table.records:
        table.notes.extend(respelled(cells, where, ", "))
        values: dict[str, object] = {field_of.get(column, column): cell for column, cell in cells.items()}
        try:
            out.append(model.model_validate({**values, "line": line, "place": where}))
        except ValidationError as error:
            for fault in faults_of(error, model, ()):
                column = column_of.get(fault.where, fault.where)
                table.fault(f"{where}, {column}", fault.what, fault.right)
    return out


def _overlaps(rows: list[Subscription]) -> Iterator[Fault]:
    for project_id, group in groupby(sorted(rows, key=attrgetter("project_id")), attrgetter("project_id")):
        reaching: Subscription | None = None
        # The rows are sorted by start, so only the row with the latest end so far can overlap the next one.
        for row in sorted(group, key=_start):
            if reaching and (reaching.valid_to is None or _start(row)[0] < reaching.valid_to):
                first, second = sorted((row, reaching), key=attrgetter("line"))
                what = f"{project_id} has two subscriptions at once: lines {first.line} and {second.line}"
                right = "end one with valid_to no later than the other's valid_from"
                yield Fault(where=f"{second.place}, project_id", what=what, right=right)
            if not reaching or (reaching.valid_to and (not row.valid_to or row.valid_to > reaching.valid_to)):
                reaching = row


def _start(row: Subscription) -> tuple[datetime, int]:
    return row.valid_from or _EVER, row.line


def currency_faults(
    customers: list[Customer], subscriptions: list[Subscription], currency_of_plan: Mapping[str, str]
) -> Iterator[Fault]:
    """Faults of customers whose currency differs from their plan's, or whose plans have two currencies."""
    own = {row.id: row for row in customers if row.currency}
    first: dict[str, tuple[Subscription, str, str]] = {}
    for row in subscriptions:
        plan, payer = row.plan, row.customer
        currency = currency_of_plan.get(plan) if plan else None
        if plan is None or payer is None or currency is None:
            continue
        (earlier, held, other_currency), customer = first.setdefault(payer, (row, plan, currency)), own.get(payer)
        if customer and customer.currency != currency:
            other = f"pays in {customer.currency} ({customer.place})"
        elif other_currency != currency:
            other = f"has plan {held!r} in {other_currency} (line {earlier.line})"
        else:
            continue
        yield Fault(
            where=f"{row.place}, plan",
            what=f"plan {row.plan!r} is in {currency}, but customer {row.customer!r} {other}",
            right="an invoice has one currency",
        )
