"""Where a quota will stand at the end of its period, from the project's own weeks: an hour of the week is as it was.

Method `profile`: the mean of each of the 168 hours of the week over the last one to four whole weeks, added up over the
hours that are left; the range holds what happens in about eight of ten cases, from how much days of one weekday differ
and how few were seen. Pure and in whole numbers; knows no store, and no clock.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import isqrt

import polars as pl

from metering.core.period import HOUR, floor_hour

WEEK_HOURS = 168
MOST_WEEKS = 4
PARTS = 24
"""Values count in 24ths, so that a day's bucket can be spread over its hours without a rest."""
Z_NUMERATOR, Z_DENOMINATOR = 7, 4
"""Standard deviations either way; so many hold eight of ten months of the sandbox's fleet (benchmarks/forecast.py).

A normal distribution would need 1.28 of them: few weeks are seen, and projects sleep and wake.
"""

SLOTS: dict[str, pl.DataType] = {
    "project_id": pl.String(),
    "quota": pl.String(),
    "slot": pl.Int64(),
    "value": pl.Int128(),
}
"""What was used in each hour of the week (0 is Monday 00:00 UTC), summed over the project's weeks, in 24ths."""
SPREAD: dict[str, pl.DataType] = {"project_id": pl.String(), "quota": pl.String(), "spread": pl.Int128()}
"""weeks x (sum of squared daily totals) - (squared sums per weekday, added): 0 where all weeks are alike."""

Key = tuple[str, str]
"""(project_id, quota)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What one quota will have used at the period's end: as expected, and the range of it."""

    expected: int
    low: int | None
    high: int | None


def slots_of(profile: pl.DataFrame) -> pl.DataFrame:
    """SLOTS from usage_profile.sql with its projects' names."""
    quotas = ("compute_time_seconds", "data_transfer_bytes")
    long = profile.unpivot(
        on=list(quotas), index=["project_id", "grain", "slot"], variable_name="quota", value_name="value"
    ).filter(pl.col("value") != 0)
    value = pl.col("value").cast(pl.Int128)
    hourly = long.filter(pl.col("grain") == 0).with_columns(value=value * PARTS)
    hours = pl.DataFrame({"hour": list(range(24))}, schema={"hour": pl.Int64})
    daily = long.filter(pl.col("grain") != 0).with_columns(value=value).join(hours, how="cross")
    every = [hourly, daily.with_columns(slot=pl.col("slot").cast(pl.Int64) + pl.col("hour"))]
    return (
        pl.concat([frame.select(pl.col(name).cast(kind) for name, kind in SLOTS.items()) for frame in every])
        .group_by("project_id", "quota", "slot")
        .agg(pl.col("value").sum())
        .filter(pl.col("value") != 0)
    )


def spread_of(days: pl.DataFrame, weeks: pl.DataFrame) -> pl.DataFrame:
    """SPREAD from usage_spread.sql with its projects' names; `weeks`: project_id, weeks."""
    total, squares = pl.col("total").cast(pl.Int128), pl.col("squares").cast(pl.Int128)
    return (
        days.group_by("project_id", "quota", "weekday")
        .agg(total.sum(), squares.sum())
        .join(weeks, on="project_id")
        .group_by("project_id", "quota")
        .agg(spread=(pl.col("weeks").cast(pl.Int128) * pl.col("squares") - pl.col("total") * pl.col("total")).sum())
        .select(pl.col(name).cast(kind) for name, kind in SPREAD.items())
    )


@lru_cache(maxsize=64)
def hours_left(now: datetime, end: datetime) -> tuple[int, ...]:
    """How often each hour of the week still begins in [now, end)."""
    counts = [0] * WEEK_HOURS
    for slot in _slots_ahead(now, end):
        counts[slot] += 1
    return tuple(counts)


def _slots_ahead(now: datetime, end: datetime) -> Iterator[int]:
    first = floor_hour(now) if floor_hour(now) == now else floor_hour(now) + HOUR
    start = first.weekday() * 24 + first.hour
    for ahead in range(max(0, (end - first) // HOUR)):
        yield (start + ahead) % WEEK_HOURS


def rests(slots: pl.DataFrame, ends: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """project_id, quota, rest: what the weeks add up to over the hours left, in 24ths of as many weeks.

    `ends`: project_id, quota, period_end.
    """
    counts = [
        (end, slot, count)
        for end in ends["period_end"].unique().sort()
        for slot, count in enumerate(hours_left(now, end))
        if count
    ]
    schema = {"period_end": ends.schema["period_end"], "slot": pl.Int64(), "count": pl.Int128()}
    left = pl.DataFrame(counts, schema=schema, orient="row")
    return (
        slots.join(ends, on=["project_id", "quota"])
        .join(left, on=["period_end", "slot"])
        .group_by("project_id", "quota")
        .agg(rest=(pl.col("value") * pl.col("count")).sum())
    )


def outlook(used: int, rest: int, weeks: int, spread: int | None, hours: int) -> Outlook:
    """Adds to what was used what the weeks make expect. `hours`: how many are left; `spread` as in SPREAD.

    One week alone shows no difference between weeks, and gives no range.
    """
    expected = used + rest // (PARTS * weeks)
    if weeks < 2 or spread is None:
        return Outlook(expected=expected, low=None, high=None)
    # variance of a day = spread / (weeks * 7 * (weeks - 1)); of D days to come, whose mean was seen over 7 * weeks
    # days: variance * (D + D * D / (7 * weeks)), with D = hours / 24.
    seen = 7 * weeks
    numerator = spread * hours * (24 * seen + hours) * Z_NUMERATOR**2
    denominator = weeks * 7 * (weeks - 1) * 24 * 24 * seen * Z_DENOMINATOR**2
    half = isqrt(max(0, numerator) // denominator)
    return Outlook(expected=expected, low=max(used, expected - half), high=expected + half)


def reached_at(  # noqa: PLR0913, PLR0917 - from where, to where, how fast, and within which time
    used: int, target: int, slots: Mapping[int, int], weeks: int, now: datetime, end: datetime
) -> datetime | None:
    """The end of the hour in which `target` is expected to be reached; None where it is reached already, or never."""
    if used >= target or not slots:
        return None
    missing = (target - used) * PARTS * weeks
    first = floor_hour(now) if floor_hour(now) == now else floor_hour(now) + HOUR
    for ahead, slot in enumerate(_slots_ahead(now, end)):
        missing -= slots.get(slot, 0)
        if missing <= 0:
            return first + (ahead + 1) * HOUR
    return None


def by_key(slots: pl.DataFrame, wanted: Iterable[Key]) -> dict[Key, dict[int, int]]:
    """The slots of a few projects and quotas, for `reached_at`."""
    keys: Sequence[Key] = list(wanted)
    names = pl.DataFrame(keys, schema={"project_id": pl.String, "quota": pl.String}, orient="row")
    out: dict[Key, dict[int, int]] = {}
    for project, quota, slot, value in slots.join(names, on=["project_id", "quota"], how="semi").iter_rows():
        out.setdefault((project, quota), {})[slot] = value
    return out
