"""Which quota counters a polling run reads, most urgent first: each project costs a request, and requests are scarce.

Pure: a frame of candidates in, project ids out; `now` is a parameter.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from metering.core.period import DAY, HOUR

FLOOR_PERCENT = 40
"""Below this share of its quota a project that moves is read once in REST, above it in every polling run."""
REST = 6 * HOUR
LAG = HOUR
"""Counters may lag by this much: usage shortly before a reading may not be in it."""
FREE_READS = 100
"""A polling run that needs fewer requests than these also reads projects that could rest."""

_NEW, _NEAR, _RESTED, _RESTING = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A project to ask for. `needs_branches`: also ask for its branches' sizes, which is one more request."""

    project_id: str
    needs_branches: bool

    @property
    def requests(self) -> int:
        """How many requests it takes from the budget."""
        return 2 if self.needs_branches else 1


def smallest_limits(quotas: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Per quota, the smallest limit of our plans, which may apply to a project that has none at Neon."""
    out: dict[str, int] = {}
    for quota in quotas:
        for name, limit in quota.items():
            if limit > 0:
                out[name] = min(limit, out.get(name, limit))
    return out


def due(candidates: pl.DataFrame, plan_limits: Mapping[str, int], now: datetime, budget: int) -> list[Reading]:
    """What to read with at most `budget` requests; the rows are those of `counter_candidates.sql`.

    Takes only projects that have a quota, may have one by our plans, or have unknown settings. Order: never read in
    this billing period; near a quota and moved; moved and rested, or with branches that broke off, or not read for a
    day. If these are few, the others follow, the longest unread first.
    """
    ranked = []
    for row in candidates.iter_rows(named=True):
        limits = _limits(row, plan_limits)
        if not limits and (row["has_settings"] or row["observed_at"] is not None):
            continue
        reading = Reading(project_id=row["project_id"], needs_branches="logical_size_bytes" in limits)
        ranked.append((*_need(row, limits, now), reading.project_id, reading))
    out: list[Reading] = []
    spent = 0
    for need, *_, reading in sorted(ranked, key=lambda entry: entry[:4]):
        most = min(budget, FREE_READS) if need == _RESTING else budget
        if spent + reading.requests > most:
            break
        spent += reading.requests
        out.append(reading)
    return out


def near(candidates: pl.DataFrame, plan_limits: Mapping[str, int], now: datetime) -> list[str]:
    """The projects that are above the floor of a quota or will pass it, the nearest to the quota first."""
    found = []
    for row in candidates.filter(pl.col("observed_at").is_not_null()).iter_rows(named=True):
        limits = _limits(row, plan_limits)
        percent = max((_percent(row, name, limit, now) for name, limit in limits.items()), default=0)
        if percent >= FLOOR_PERCENT:
            found.append((-percent, row["project_id"]))
    return [project_id for _, project_id in sorted(found)]


def _limits(row: Mapping[str, Any], plan_limits: Mapping[str, int]) -> dict[str, int]:
    """The project's limits above zero; those of our plans if Neon names none."""
    shown = {**json.loads(row["limits"]), **json.loads(row["counter_limits"] or "{}")}
    return {**plan_limits, **{name: limit for name, limit in shown.items() if limit}}


def _need(row: Mapping[str, Any], limits: Mapping[str, int], now: datetime) -> tuple[int, int, datetime]:
    """The sort key: (urgency, minus its percent, when it was read last); the smallest comes first."""
    observed_at: datetime | None = row["observed_at"]
    if observed_at is None or (row["period_end"] is not None and row["period_end"] <= now):
        return _NEW, 0, now
    percent = max((_percent(row, name, limit, now) for name, limit in limits.items()), default=0)
    if "logical_size_bytes" in limits and not _has_branches(row, observed_at):
        return _RESTED, 0, observed_at
    has_moved = row["moved_at"] is not None and row["moved_at"] > observed_at - LAG
    if has_moved and percent >= FLOOR_PERCENT:
        return _NEAR, -percent, observed_at
    age: timedelta = now - observed_at
    is_rested = age >= DAY or (has_moved and age >= REST)
    return (_RESTED if is_rested else _RESTING), 0, observed_at


def _has_branches(row: Mapping[str, Any], observed_at: datetime) -> bool:
    """Whether the branches' sizes were read together with the counters."""
    return row["branches_observed_at"] is not None and row["branches_observed_at"] >= observed_at


def _percent(row: Mapping[str, Any], name: str, limit: int, now: datetime) -> int:
    """Percent of the limit, extrapolated to now at the average pace of the period so far."""
    used = row.get(name)
    if used is None:
        return 0
    start: datetime | None = row["period_start"]
    observed_at: datetime = row["observed_at"]
    seconds = (observed_at - start) // timedelta(seconds=1) if start else 0
    if seconds <= 0 or now <= observed_at:
        return int(used) * 100 // limit
    return int(used) * 100 * ((now - observed_at) // timedelta(seconds=1) + seconds) // (limit * seconds)
