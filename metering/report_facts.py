"""What a report of a month is made from, and the ways in which all its parts group and add rows.

A noun: plain rows in, plain rows out. Must not know what the report shows, files, templates, the store or the clock.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any, TypeVar

from metering import tax
from metering.figures import exact_sum
from metering.money import Rounding, exact_text
from metering.period import DAY, Period, days, parse_time

# Rows are plain dictionaries with the keys of the public interface; this is the one place that says so.
Row = Mapping[str, Any]
Table = list[dict[str, Any]]
Key = TypeVar("Key")

COST_CURRENCY = "USD"
"""Neon's price list is in US dollars; there are no exchange rates here, so a margin exists in this currency alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a report of a month is made from; money, quantities and values are decimal strings.

    `invoices` and `previous_invoices` (of the month before) are invoice objects of the public interface; a credit note
    has `"kind": "credit_note"`, the number that it cancels in `credits`, and amounts below zero. `usage`, `quotas`,
    `unassigned`, `unpriced` and `coverage` are as their commands print them. `alerts`: alert_id, type, project_id,
    project_name, customer, quota, threshold_percent, percent, observed_at, status. `costs` (what Neon charges us):
    organization, project_id, customer, plan, meter, quantity, unit, amount, currency. `days`: day, meter, quantity.
    `cost_notes` are sentences about costs that could not be known; `previous_costs` are of the month before.
    `inventory` and `organizations` are as month_inventory.py gives them, `base_fees` plan -> its base fee. `unassigned`
    and `unpriced` are valued by worth.py. `outlook` is what `forecast` prints, of the running month alone.
    `reconciliation` is what the month's last `reconcile` printed. `is_closed`: whether the month has a closing, and
    `accepted` are the reasons that a person gave for closing it all the same, as (what was accepted, reason).
    """

    month: Period
    as_of: datetime
    seller: Mapping[str, str | None]
    invoices: Sequence[Row]
    previous_invoices: Sequence[Row]
    usage: Sequence[Row]
    previous_usage: Sequence[Row]
    coverage: Row
    quotas: Sequence[Row]
    alerts: Sequence[Row]
    unassigned: Sequence[Row]
    unpriced: Sequence[Row]
    costs: Sequence[Row]
    days: Sequence[Row]
    rounding: Rounding = "half_up"
    thresholds_percent: tuple[int, ...] = (80, 95)
    cost_notes: tuple[str, ...] = ()
    previous_costs: Sequence[Row] = ()
    inventory: Sequence[Row] = ()
    organizations: Sequence[Row] = ()
    base_fees: Mapping[str, str] = field(default_factory=dict)
    outlook: Row | None = None
    reconciliation: Row | None = None
    is_closed: bool = True
    accepted: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        foreign = sorted({str(row["currency"]) for row in self.costs} - {COST_CURRENCY})
        assert not foreign, f"Neon charges in {COST_CURRENCY}, not in {foreign}"


def counts_as_revenue(invoice: Row) -> bool:
    """Whether an invoice adds to revenue: neither a void one does, nor the credit note that cancels it."""
    return bool(invoice["status"] != "void" and invoice.get("kind") != "credit_note")


def counted(invoices: Iterable[Row]) -> list[Row]:
    """The invoices that add to revenue."""
    return [invoice for invoice in invoices if counts_as_revenue(invoice)]


def lines_of(invoices: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Every line of the counted invoices before tax, with its invoice's customer and currency."""
    for invoice in counted(invoices):
        for line in tax.lines_before_tax(invoice):
            yield {**line, "customer": invoice["customer"]["id"], "currency": invoice["currency"]}


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """Key -> its rows, both in the order of the rows."""
    groups: defaultdict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def column_sum(rows: Iterable[Row], column: str) -> Fraction:
    """The exact sum of a column of decimal strings."""
    return exact_sum(row[column] for row in rows)


def distinct(rows: Iterable[Row], column: str) -> list[str]:
    """The values of a column, sorted, each once, without null."""
    return sorted({row[column] for row in rows} - {None})


def every_day(month: Period, as_of: datetime, gaps: Iterable[Row], rows: Iterable[Row]) -> Table:
    """Every day of the month that had begun by `as_of`, with the sum of its rows {day, quantity}.

    `has_gap` marks a day of which something is not known.
    """
    known = grouped(rows, lambda row: str(row["day"])[:10])
    unknown = [Period(start=parse_time(gap["start"]), end=parse_time(gap["end"])) for gap in gaps]
    return [
        {
            "day": f"{day:%Y-%m-%d}",
            "quantity": exact_text(column_sum(known.get(f"{day:%Y-%m-%d}", []), "quantity")),
            "has_gap": any(gap.overlap(Period(start=day, end=day + DAY)) for gap in unknown),
        }
        for day in days(month)
        if day < as_of
    ]
