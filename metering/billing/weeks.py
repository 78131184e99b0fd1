"""The whole weeks before a moment whose usage is settled: what forecasts look back on. Reads the store."""

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from metering.billing.month import Month
from metering.core.frames import Moment
from metering.core.period import DAY, HOUR, Period, floor_day, floor_hour, without
from metering.usage import forecast

SETTLING = 2 * HOUR
"""The newest hours may be missing yet without being a gap."""


WEEK = timedelta(weeks=1)


# -- the weeks


def settled_weeks(month: Month) -> Period:
    """The whole weeks before a month's moment whose usage is settled."""
    end = floor_day(month.now) + DAY
    return Period(start=floor_day(month.now - forecast.MOST_WEEKS * WEEK), end=end)


def whole_weeks(month: Month, projects: Sequence[str]) -> pl.DataFrame:
    """project_id, weeks, since: the whole weeks without a gap that each project has behind it, at most four."""
    now, window = floor_hour(month.now), settled_weeks(month)
    starts = {}
    for organization, certified in month.knowledge.certified.items():
        until = Period(start=window.start, end=max(window.start, now - SETTLING))
        holes = without(until, certified.covered(until))
        starts[organization] = holes[-1].end if holes else window.start
    homes = pl.DataFrame(list(starts.items()), schema={"organization": pl.String, "known_from": Moment}, orient="row")
    last = month.projects.sightings.sort("project_id", "seen_at", maintain_order=True).group_by("project_id").last()
    began = pl.max_horizontal("known_from", pl.col("exists_from").fill_null(window.start))
    weeks = ((pl.lit(now, dtype=Moment) - began).dt.total_hours() // forecast.WEEK_HOURS).clip(0, forecast.MOST_WEEKS)
    return (
        pl.DataFrame({"project_id": sorted(set(projects))}, schema={"project_id": pl.String})
        .join(last.select("project_id", "organization"), on="project_id")
        .join(homes, on="organization")
        .join(month.projects.existence, on="project_id", how="left")
        .with_columns(weeks=weeks)
        .with_columns(since=pl.lit(now, dtype=Moment) - pl.duration(weeks=pl.col("weeks")))
        .filter(pl.col("weeks") > 0)
        .select("project_id", "weeks", "since")
    )
