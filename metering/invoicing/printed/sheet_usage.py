"""The background of printed documents, and the usage that a document shows: quantities used and billed, daily charts.

Pure. Figures are exact sums of printed texts.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from msgspec import Struct

from metering.core.invoice import Invoice, Printed, by_project
from metering.core.money import Rounding, exact_sum, exact_text
from metering.core.period import Period, days, parse_time
from metering.core.rows import Row, column_sum, grouped
from metering.core.text import words
from metering.rendering import charts
from metering.rendering.figures import printed
from metering.rendering.localized import Format

CHARTS_SHOWN = 4
"""Meters whose days are drawn; the table below the charts has all."""


class MeterDays(Struct, frozen=True, kw_only=True):
    """The usage of one meter by day: {day, quantity, has_gap}."""

    meter: str
    unit: str
    days: Sequence[Row]


def _no_days(_customer: str) -> list[MeterDays]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What printed invoices of a month show in addition to the documents.

    `customers`: id -> its row of customers.csv; `project_names`: id -> name; `usage`: customer -> the month's usage
    rows of projects that no other customer paid for; `days`: customer -> the usage by day of the same
    projects; `locale`: for customers without one; `fonts`: a directory of further fonts for
    PDF; `by_number`: number of an issued document -> the background known at its closing, which replaces this one.
    """

    seller: Row
    rounding: Rounding = "half_up"
    locale: str = "en"
    fonts: Path | None = None
    customers: Mapping[str, Row] = field(default_factory=dict)
    project_names: Mapping[str, str | None] = field(default_factory=dict)
    usage: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    days: Callable[[str], list[MeterDays]] = _no_days
    by_number: Mapping[str, "Background"] = field(default_factory=dict)


def own_usage(
    usage: Iterable[Mapping[str, object]], payers: Mapping[str, Collection[str]]
) -> dict[str, list[Mapping[str, object]]]:
    """Customer -> the usage rows of its projects; `payers`: project -> its customers in the month.

    A project that changed its customer inside the month is left out, because its rows contain usage of both.
    """
    moved = {project for project, customers in payers.items() if len(customers) > 1}
    return grouped((row for row in usage if row["project_id"] not in moved), lambda row: str(row["customer"]))


def called(project_id: str | None, names: Mapping[str, str | None]) -> dict[str, str | None]:
    """A project's name, and its id if that differs; `All projects` for None."""
    if project_id is None:
        return {"project": "All projects", "project_id": None}
    name = names.get(project_id)
    return {"project": name or project_id, "project_id": project_id if name and name != project_id else None}


def quantities(invoice: Invoice, background: Background, form: Format) -> list[Printed]:
    """Quantities used, billed and not billed (included or free of charge) per project, meter and unit."""
    owned = list(by_project(invoice.lines))
    lines = [line for line in owned if line.kind == "usage"]
    billed = grouped(lines, lambda line: (line.project_id, line.meter, line.unit))
    projects = {line.project_id for line in owned}
    usage = background.usage.get(invoice.customer.id, ())
    metered = (row for row in usage if row["meter"] is not None and row["project_id"] in projects)
    table: list[Printed] = []
    for key, rows in sorted(grouped(metered, lambda row: (row["project_id"], row["meter"], row["unit"])).items()):
        used = column_sum(rows, "quantity")
        charged = exact_sum(line.quantity for line in billed.get(key, []))
        numbers = {"used": used, "billed": charged, "not_billed": max(used - charged, Fraction(0))}
        table.append(
            {
                **called(key[0], background.project_names),
                "meter": words(key[1]),
                "unit": key[2],
                **{name: form.number(_thousandths(value)) for name, value in numbers.items()},
            }
        )
    return table


def _thousandths(value: Fraction) -> str:
    """Rounded half away from zero to three decimals; the lines have all digits."""
    return printed(exact_text(value), 3).replace(",", "")


def used_charts(invoice: Invoice, background: Background, form: Format) -> list[Printed]:
    """Daily usage of each meter, by descending amount and then by name."""
    billed = grouped(invoice.lines, lambda line: line.meter)
    amount = {meter: exact_sum(line.amount for line in lines) for meter, lines in billed.items()}
    found = background.days(invoice.customer.id)
    ordered = sorted(found, key=lambda row: (-amount.get(row.meter, Fraction(0)), row.meter))
    period = Period(start=parse_time(invoice.period.start), end=parse_time(invoice.period.end))
    length = len(list(days(period)))
    return [
        {
            "meter": words(row.meter),
            "unit": row.unit,
            "svg": charts.daily_bars(f"days-{index}", words(row.meter), row.unit, row.days, length)
            if index < CHARTS_SHOWN
            else None,
            "alt": charts.days_in_words(row.unit, row.days),
            "first": form.day(row.days[0]["day"]),
            "last": form.day(row.days[-1]["day"]),
            "days": [
                {
                    "day": form.day(day["day"]),
                    "quantity": form.number(_thousandths(Fraction(day["quantity"]))),
                    "has_gap": day["has_gap"],
                }
                for day in row.days
            ],
        }
        for index, row in enumerate(ordered)
        if row.days
    ]
