"""Quotas of projects, chosen so that at one moment some are above 80 %, 95 % and 100 %; and the counters.

Pure; the counters are those of `GET /projects/{id}`, up to an hour behind, and for some projects stuck at zero.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from metering.core.period import HOUR, floor_month
from metering.sandbox.consumption import (
    COMPUTE,
    PRIVATE,
    PUBLIC,
    Consumption,
    active_seconds,
    root_size,
    seconds_of,
    written_bytes,
)
from metering.sandbox.project import Project

_TARGETS = (88, 98, 130, 45, 97, 84)
_NAMES = (
    "compute_time_seconds",
    "data_transfer_bytes",
    "compute_time_seconds",
    "active_time_seconds",
    "logical_size_bytes",
    "written_data_bytes",
)
_UNTOUCHED = 36_000_000


def with_quotas(projects: Iterable[Project], tuned_at: datetime) -> list[Project]:
    """The projects, every second one that is not idle with a quota that stands at a chosen percent at `tuned_at`."""
    out, ordinal = [], 0
    for project in projects:
        is_metered = project.activity in ("light", "moderate", "always") and project.created_at < tuned_at
        ordinal += is_metered
        out.append(_metered(project, ordinal // 2, tuned_at) if is_metered and ordinal % 2 else project)
    return out


def _metered(project: Project, ordinal: int, tuned_at: datetime) -> Project:
    name, percent = _NAMES[ordinal % len(_NAMES)], _TARGETS[ordinal % len(_TARGETS)]
    used = counters(Consumption(project), floor_month(tuned_at), tuned_at - HOUR)[name]
    limit = max(1, used * 100 // percent) if used else _UNTOUCHED
    quota = ((name, limit), ("active_time_seconds", 0)) if ordinal % 4 == 0 else ((name, limit),)
    is_stuck = ordinal % 9 == 8 or project.is_counter_stuck
    return replace(project, quota=quota, is_counter_stuck=is_stuck)


def counters(consumption: Consumption, period_start: datetime, until: datetime) -> dict[str, int]:
    """The five counters from the period's start to `until`, as they truly are; `logical_size_bytes` is the root's."""
    start = max(period_start, floor_month(consumption.project.created_at))
    amounts = consumption.final(seconds_of(start), max(seconds_of(start), seconds_of(until)))
    compute = amounts[COMPUTE]
    return {
        "active_time_seconds": active_seconds(consumption.project, compute),
        "compute_time_seconds": compute,
        "written_data_bytes": written_bytes(compute),
        "data_transfer_bytes": amounts[PUBLIC] + amounts[PRIVATE],
        "logical_size_bytes": root_size(consumption.project, seconds_of(until) // 86400),
    }


def reported(consumption: Consumption, period_start: datetime, now: datetime) -> dict[str, int]:
    """The counters as `GET /projects/{id}` shows them at `now`: up to an hour behind, or stuck at zero."""
    project = consumption.project
    shown = counters(consumption, period_start, now - timedelta(minutes=project.counter_lag_minutes))
    del shown["logical_size_bytes"]
    if project.is_counter_stuck:
        shown["compute_time_seconds"] = shown["data_transfer_bytes"] = 0
    return shown
