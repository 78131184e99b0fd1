"""Usage of some projects together, meter by meter, day by day or hour by hour: what charts of one customer show.

Sums are exact and in the meter's unit. Reads the store through a month; knows no price.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from fractions import Fraction

import polars as pl
from msgspec import Struct

from metering.billing.month import Month
from metering.core.meters import Meter, meter_for, quantity
from metering.core.money import quantity_text
from metering.core.period import DAY, HOUR, Period, parse_time, rfc3339

HOURLY = 0
Gap = Mapping[str, str]
"""A stretch that nothing certifies, as coverage prints it."""


class Slot(Struct, frozen=True, kw_only=True):
    """What was used in a day or an hour; `has_gap` where something of it is not known."""

    start: str
    quantity: str
    has_gap: bool


class MeterProfile(Struct, frozen=True, kw_only=True):
    """The usage of one meter, in all and slot by slot."""

    meter: str
    unit: str
    quantity: str
    slots: list[Slot]


def by_day(month: Month, projects: Collection[str], gaps: Collection[Gap]) -> list[MeterProfile]:
    """The profile of each meter, with a slot for each day that has begun.

    A bucket longer than a day stands on the day of its start. `gaps` are those of the projects' organizations.
    """
    return _profile(month, projects, month.period, DAY, gaps)


def by_hour(month: Month, projects: Collection[str], day: Period, gaps: Collection[Gap]) -> list[MeterProfile]:
    """The profile of each meter, with a slot for each hour of one day; what is known only by the day is left out."""
    return _profile(month, projects, day, HOUR, gaps)


def _profile(
    month: Month, projects: Collection[str], within: Period, every: timedelta, gaps: Collection[Gap]
) -> list[MeterProfile]:
    holes = [Period(start=parse_time(gap["start"]), end=parse_time(gap["end"])) for gap in gaps]
    count = (min(within.end, month.now) - within.start + every - timedelta(microseconds=1)) // every
    slots = [Period(start=at, end=at + every) for at in (within.start + every * number for number in range(count))]
    table = []
    for meter, known in sorted(_sums(month, projects, within, every).items(), key=lambda item: item[0].id):
        rows = [
            Slot(
                start=rfc3339(slot.start),
                quantity=quantity_text(known.get(slot.start, Fraction(0))),
                has_gap=any(hole.overlap(slot) for hole in holes),
            )
            for slot in slots
        ]
        whole = quantity_text(sum(known.values(), Fraction(0)))
        table.append(MeterProfile(meter=meter.id, unit=meter.unit, quantity=whole, slots=rows))
    return table


def _sums(
    month: Month, projects: Collection[str], within: Period, every: timedelta
) -> dict[Meter, dict[datetime, Fraction]]:
    """What the projects used of each meter in each slot."""
    mine = month.usage.sums.filter(pl.col("project_id").is_in(list(projects)))
    wanted = mine.select("project_id", "metric").unique()
    buckets = month.usage.buckets(wanted, every=every, read_at=month.terms.dated_metrics)
    if every == HOUR:
        buckets = buckets.filter(pl.col("grain") == HOURLY)
    inside = buckets.filter((pl.col("start") >= within.start) & (pl.col("start") < within.end))
    slot = pl.col("start").dt.truncate("1d" if every == DAY else "1h")
    return metered(month, inside.group_by("metric", "read_at", slot=slot).agg(pl.col("value").sum()))


def metered(month: Month, rows: pl.DataFrame) -> dict[Meter, dict[datetime, Fraction]]:
    """Quantities of rows (metric, slot, read_at, value), in the meter that a plan prices, else the first of them."""
    priced = {price.meter for plan in month.terms.card.plans for price in plan.prices}
    return quantities(
        (
            (meter, slot, read_at, value)
            for metric, slot, read_at, value in rows.select("metric", "slot", "read_at", "value").iter_rows()
            if (meter := meter_for(metric, priced, month.terms.card.meters))
        ),
        month.now,
    )


def quantities(
    rows: Iterable[tuple[Meter, datetime, datetime | None, int]], now: datetime
) -> dict[Meter, dict[datetime, Fraction]]:
    """Rows (meter, slot, when the page was read, value) summed by meter and slot, by the divisor of each reading.

    Where the unit never changed no reading is given, and `now` stands for it.
    """
    sums: dict[Meter, dict[datetime, Fraction]] = {}
    for meter, slot, read_at, value in rows:
        known = sums.setdefault(meter, {})
        known[slot] = known.get(slot, Fraction(0)) + quantity(value, meter, read_at or now)
    return sums
