"""How far forecasts of a month's compute are off, on the sandbox's fleet: the profile against a line through zero.

Both know the same at the same moments. Prints the mean and the median error in percent of the true month, their ratio,
and how often the truth lay in the profile's range.

    .venv/bin/python benchmarks/forecast.py [--projects 300] [--seed 1] [--weeks 4]
"""

import argparse
import statistics
import time
from datetime import UTC, datetime, timedelta

import polars as pl

from metering.core.period import HOUR, Period, month_of
from metering.quotas import evaluation
from metering.sandbox.consumption import COMPUTE, PUBLIC, Consumption, seconds_of
from metering.sandbox.fleet import Fleet
from metering.usage import forecast

MONTHS = [month_of(datetime(2026, month, 1, tzinfo=UTC)) for month in (9, 10)]
DAYS = (2, 4, 8, 12, 16, 20, 25)
LEAST = {COMPUTE: 5 * 3600, PUBLIC: 10**9}
NAMES = {COMPUTE: "compute", PUBLIC: "public transfer"}


def hours_of(consumption: Consumption, metric: int, period: Period) -> list[int]:
    """The final values of the hours of a period."""
    first, last = seconds_of(period.start) // 3600, seconds_of(period.end) // 3600
    return [consumption.day(hour // 24)[metric][hour % 24] for hour in range(first, last)]


def profile(values: list[int], start: datetime, now: datetime, weeks: int) -> tuple[pl.DataFrame, int]:
    """SLOTS and the spread of one project from its hours since `start`."""
    slots: dict[int, int] = {}
    days: dict[tuple[int, datetime], int] = {}
    for ahead, value in enumerate(values):
        moment = start + ahead * HOUR
        if now - weeks * timedelta(weeks=1) <= moment < now:
            slot = moment.weekday() * 24 + moment.hour
            slots[slot] = slots.get(slot, 0) + value * forecast.PARTS
            day = (moment.weekday(), moment.replace(hour=0))
            days[day] = days.get(day, 0) + value
    rows = [("p", "q", slot, value) for slot, value in slots.items()]
    per_weekday = [[total for (weekday, _), total in days.items() if weekday == one] for one in range(7)]
    spread = sum(weeks * sum(t * t for t in totals) - sum(totals) ** 2 for totals in per_weekday)
    return pl.DataFrame(rows, schema=forecast.SLOTS, orient="row"), spread


def judged(fleet: Fleet, metric: int, most_weeks: int) -> dict[int, list[tuple[float, float, bool | None]]]:
    """Day of the month -> (error of the line, error of the profile, whether the truth lay in its range) per project."""
    out: dict[int, list[tuple[float, float, bool | None]]] = {day: [] for day in DAYS}
    for project in fleet.projects.values():
        consumption = Consumption(project)
        for month in MONTHS:
            whole = Period(start=month.start - most_weeks * timedelta(weeks=1), end=month.end)
            values = hours_of(consumption, metric, whole)
            truth = sum(values[-month.hours() :])
            if truth < LEAST[metric]:
                continue
            for day in DAYS:
                now = month.start + timedelta(days=day, hours=9)
                begun = max(project.created_at, whole.start)
                weeks = min(most_weeks, (now - begun) // timedelta(weeks=1))
                if weeks >= 1:
                    out[day].append(one(values, whole.start, month, now, weeks, truth))
    return out


def one(  # noqa: PLR0913, PLR0917 - a project's hours, from when, and what is asked of them
    values: list[int], start: datetime, month: Period, now: datetime, weeks: int, truth: int
) -> tuple[float, float, bool | None]:
    """The errors of both methods for one project at one moment."""
    known = values[: (now - start) // HOUR]
    used = sum(known[(month.start - start) // HOUR :])
    slots, spread = profile(known, start, now, weeks)
    schema = {"project_id": pl.String, "quota": pl.String, "period_end": pl.Datetime("us", "UTC")}
    ends = pl.DataFrame([("p", "q", month.end)], schema=schema, orient="row")
    rest = forecast.rests(slots, ends, now)["rest"].sum()
    found = forecast.outlook(used, int(rest), weeks, spread, sum(forecast.hours_left(now, month.end)))
    line = evaluation.forecast(used, truth, month, now)
    assert line is not None and line["percent_at_period_end"] is not None
    naive = abs(float(line["percent_at_period_end"]) - 100)
    mine = abs(found.expected - truth) * 100 / truth
    is_inside = None if found.low is None or found.high is None else found.low <= truth <= found.high
    return naive, mine, is_inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--projects", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--weeks", type=int, default=forecast.MOST_WEEKS)
    asked = parser.parse_args()
    fleet = Fleet.around(datetime(2026, 11, 15, tzinfo=UTC), seed=asked.seed, projects=asked.projects)
    begun = time.perf_counter()
    for metric, name in NAMES.items():
        print(f"{name}: error in % of the month; line through zero / profile of up to {asked.weeks} weeks")
        for day, rows in judged(fleet, metric, asked.weeks).items():
            naive, mine = [row[0] for row in rows], [row[1] for row in rows]
            ranged = [row[2] for row in rows if row[2] is not None]
            print(
                f"  day {day + 1:2}, {len(rows):4} months"
                f": mean {statistics.mean(naive):5.1f} / {statistics.mean(mine):5.1f}"
                f" (ratio {statistics.mean(mine) / statistics.mean(naive):.2f})"
                f", median {statistics.median(naive):5.1f} / {statistics.median(mine):5.1f}"
                f", in range {100 * sum(ranged) / max(1, len(ranged)):3.0f} %"
            )
    print(f"{time.perf_counter() - begun:.1f} s")


if __name__ == "__main__":
    main()
