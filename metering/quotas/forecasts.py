"""The forecasts of quota rows: each project's weeks, from the store, for forecast.py; a line where there are none."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from metering.billing.month import Month
from metering.billing.sums import parts_of
from metering.billing.weeks import settled_weeks, whole_weeks
from metering.core.frames import Moment
from metering.core.period import Period, floor_hour, parse_time
from metering.core.quotas import EXCEEDED_PERCENT
from metering.quotas import evaluation
from metering.usage import forecast
from metering.usage.coverage import MONTHLY, Certified, Timeframes, selection

Json = dict[str, Any]
QUOTAS = ("compute_time_seconds", "data_transfer_bytes")
"""What history measures hour by hour."""
FLOOR_PERCENT = 40
"""A quota of which a line uses less by the period's end keeps the line: its weeks would cost more than they tell."""


def with_forecasts(month: Month, rows: Sequence[Json], thresholds_percent: Sequence[int]) -> list[Json]:
    """The rows with their `forecast` by the project's own weeks where there is one whole week, else by a line."""
    measured = [row for row in rows if _is_measured(row) and _is_near(row)]
    found = _by_profile(month, measured, sorted({*thresholds_percent, EXCEEDED_PERCENT})) if measured else {}
    return [{**row, "forecast": found.get(_key(row)) or _linear(row, thresholds_percent)} for row in rows]


def _is_measured(row: Json) -> bool:
    return bool(row["quota"] in QUOTAS and row["limit"] and row["used"]) and row["level"] != "unknown"


def _is_near(row: Json) -> bool:
    """Whether the weeks are worth reading: not where even the line ends far below the quota."""
    line = row["forecast"]
    return line is None or int(line["percent_at_period_end"].partition(".")[0]) >= FLOOR_PERCENT


def _key(row: Json) -> forecast.Key:
    return row["project_id"], row["quota"]


def _linear(row: Json, thresholds_percent: Sequence[int]) -> Json | None:
    """The line through zero at the period's start and what is used now, as evaluation drew it; with every threshold."""
    if row["forecast"] is None:
        return None
    period = Period(start=parse_time(row["period"]["start"]), end=parse_time(row["period"]["end"]))
    used, limit, observed_at = int(row["used"]), int(row["limit"]), parse_time(row["observed_at"])
    reached = {}
    for percent in sorted(thresholds_percent):
        line = evaluation.forecast(used * 100, limit * percent, period, observed_at)
        reached[f"reaches_{percent}_at"] = line["reaches_100_at"] if line else None
    return {**row["forecast"], **reached, "percent_low": None, "percent_high": None, "method": "linear"}


def _by_profile(month: Month, rows: Sequence[Json], thresholds: Sequence[int]) -> dict[forecast.Key, Json]:
    weeks = whole_weeks(month, [row["project_id"] for row in rows])
    known = dict(weeks.select("project_id", "weeks").iter_rows())
    if not known:
        return {}
    slots, spread = _read(month, weeks)
    # What a counter shows and history never did cannot be carried on from history.
    used = set(slots.select("project_id", "quota").unique().iter_rows())
    mine = [row for row in rows if _key(row) in used]
    moments = {text: parse_time(text) for text in {row["period"]["end"] for row in mine}}
    left = {text: sum(forecast.hours_left(month.now, moment)) for text, moment in moments.items()}
    ends = pl.DataFrame(
        [(*_key(row), moments[row["period"]["end"]]) for row in mine],
        schema={"project_id": pl.String, "quota": pl.String, "period_end": Moment},
        orient="row",
    )
    rests = _numbers(forecast.rests(slots, ends, month.now))
    spreads = _numbers(spread)
    outlooks = {}
    for row in mine:
        hours, key = left[row["period"]["end"]], _key(row)
        outlooks[key] = forecast.outlook(
            int(row["used"]), rests.get(key, 0), known[row["project_id"]], spreads.get(key), hours
        )
    rising = [row for row in mine if outlooks[_key(row)].expected * 100 >= thresholds[0] * int(row["limit"])]
    paths = forecast.by_key(slots, [_key(row) for row in rising])
    return {
        _key(row): _told(
            row, outlooks[_key(row)], paths.get(_key(row), {}), known[row["project_id"]], thresholds, month.now
        )
        for row in mine
    }


def _numbers(frame: pl.DataFrame) -> dict[forecast.Key, int]:
    return {(project, name): value for project, name, value in frame.iter_rows()}


def _told(  # noqa: PLR0913, PLR0917 - a row, what is expected of it, and when
    row: Json, found: forecast.Outlook, path: Mapping[int, int], weeks: int, thresholds: Sequence[int], now: datetime
) -> Json:
    used, limit, end = int(row["used"]), int(row["limit"]), parse_time(row["period"]["end"])
    reached = {
        percent: forecast.reached_at(used, -(-limit * percent // 100), path, weeks, now, end) for percent in thresholds
    }
    return dict(forecast.told(found, limit, reached, weeks))


def _read(month: Month, weeks: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    window = settled_weeks(month)
    counted = {organization: _counting(certified, window) for organization, certified in month.certified.items()}
    keys = month.store.query("billing/project_keys")
    # Where which buckets of each project count: in its whole weeks.
    stretches = (
        weeks.join(keys, on="project_id")
        .join(parts_of(counted), on="organization")
        .select("project_key", "grain", counts_from=pl.max_horizontal("period_start", "since"), counts_to="period_end")
    )
    span = {"period_start": window.start, "period_end": floor_hour(month.now)}
    with month.store.frames(counted=stretches):
        profile = month.store.query("quotas/usage_profile", **span)
        days = month.store.query("quotas/usage_spread", **span)
    names = keys.select("project_key", "project_id")
    profile, days = (frame.join(names, on="project_key") for frame in (profile, days))
    return forecast.slots_of(profile), forecast.spread_of(days, weeks.select("project_id", "weeks"))


def _counting(certified: Certified, window: Period) -> list[Timeframes]:
    return [part for part in selection(certified, window, is_open=True) if part.grain != MONTHLY]
