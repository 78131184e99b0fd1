"""Finds thresholds that quota rows reach for the first time; each crossing has its reason. Pure.

Must not know the form or the recipient of an alert.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from metering.core.quotas import EXCEEDED_PERCENT
from metering.quotas.rows import QuotaRow


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class CrossingKey:
    """The identity of a crossing, which is alerted once. A raised limit or a new period makes a new key."""

    project_id: str
    quota: str
    period_start: datetime
    limit: int
    threshold_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A threshold that was reached; `status` is `send`, or `superseded` by a higher threshold of the same quota."""

    key: CrossingKey
    status: str
    reason: str
    row: QuotaRow


def crossings(
    rows: Iterable[QuotaRow], already_recorded: Collection[CrossingKey], thresholds_percent: Sequence[int]
) -> list[Crossing]:
    """New crossings, sorted by key. If a quota has several at once, the highest is sent and the others are superseded.

    A row without a percentage has no crossing; with a stuck counter the history counts.
    """
    recorded = set(already_recorded)
    rising = sorted({*thresholds_percent, EXCEEDED_PERCENT})
    found = [crossing for row in rows for crossing in _crossings_of(row, recorded, rising)]
    return sorted(found, key=lambda crossing: crossing.key)


def _crossings_of(row: QuotaRow, recorded: set[CrossingKey], rising: Sequence[int]) -> Iterator[Crossing]:
    if row.used is None or row.limit is None:
        return
    keys = [key_of(row, threshold) for threshold in rising]
    reached = [key for key in keys if row.reaches(key.threshold_percent)]
    for key in reached:
        if key in recorded:
            continue
        highest = max(other.threshold_percent for other in recorded.intersection(keys).union(reached))
        if key.threshold_percent == highest:
            yield Crossing(key=key, status="send", reason=f"{row.percent} % is at or above {highest} %", row=row)
        else:
            why = f"{row.percent} % is at or above {key.threshold_percent} %, told by the alert for {highest} %"
            yield Crossing(key=key, status="superseded", reason=why, row=row)


def key_of(row: QuotaRow, threshold_percent: int) -> CrossingKey:
    """The key of a quota row's crossing of a threshold; the row must have a limit."""
    assert row.limit is not None, "without a limit nothing is reached"
    return CrossingKey(
        project_id=row.project_id,
        quota=row.quota,
        period_start=row.period.start,
        limit=row.limit,
        threshold_percent=threshold_percent,
    )
