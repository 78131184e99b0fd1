"""Counters of projects as a frame that quotas are evaluated from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from metering.core.quotas import QUOTAS
from metering.quotas.readings import COUNTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One project as `GET /projects/{id}` showed it; limits are its `settings.quota`."""

    project_id: str
    observed_at: datetime
    period_start: datetime | None
    period_end: datetime | None
    counters: Mapping[str, int | None]
    limits: Mapping[str, int]


def counters_frame(readings: Iterable[Counter]) -> pl.DataFrame:
    """Counters as a frame of schema COUNTERS; quota fields that this version does not know are left out."""
    lines = [
        (
            one.project_id,
            name,
            one.counters.get(name),
            one.limits.get(name),
            one.period_start,
            one.period_end,
            one.observed_at,
        )
        for one in readings
        for name in QUOTAS
    ]
    return pl.DataFrame(lines, schema=COUNTERS, orient="row")
