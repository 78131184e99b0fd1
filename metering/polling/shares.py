"""What a polling run reads of a fleet whose full read does not fit in its budget: pure, `now` is a parameter.

Knows requests, projects and moments; must not know where they come from. A budget is a number of requests for history.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from metering.core.period import HOUR, Period, floor_hour
from metering.usage.coverage import HOURLY
from metering.usage.windows import HOURLY_REACH_HOURS, Window

PROJECTS_PER_REQUEST = 100
"""Projects on a page, and ids in one question."""
LOOKBACKS = (4 * HOUR, 8 * HOUR, 25 * HOUR, HOURLY_REACH_HOURS * HOUR)
"""How far back a project may be asked for: as few lengths as will do, so that many questions are one reading."""
LATE = 2 * HOUR
"""Values of an hour may still arrive so long after its end: what was read so shortly before is read again."""
UNREAD = 24 * HOUR
"""How far back a project is asked for that was never read: the sweep reads the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Projects to ask for over one window, in groups that fit into one request."""

    window: Window
    groups: tuple[tuple[str, ...], ...]


def requests_for(projects: int) -> int:
    """How many requests a full read over so many projects takes: one even for none."""
    return max(1, -(-projects // PROJECTS_PER_REQUEST))


def shares(left: int, needs: Mapping[str, int]) -> dict[str, int]:
    """Divides the requests that are left by the needs: at least one each while there are any, never more in total."""
    out = {}
    remaining = sum(needs.values())
    for name, need in sorted(needs.items(), key=lambda item: (item[1], item[0])):
        share = min(left, max(1, left * need // remaining)) if left > 0 else 0
        out[name] = share
        left -= share
        remaining -= need
    return out


def sweep_share(deadlines: Iterable[datetime], now: datetime, slot: timedelta) -> int:
    """How many pages of a read this slot must take so that each page, in order, can be read by its deadline."""
    share = 0
    for number, deadline in enumerate(deadlines, start=1):
        slots = max(1, (deadline - now) // slot)
        share = max(share, -(-number // slots))
    return share


def deadlines(
    done: Sequence[datetime], pages: int, before: Sequence[datetime], now: datetime, most: timedelta
) -> list[datetime]:
    """Deadlines of the pages of an open full read, then of the next one: each so long after it was last read.

    `done` are the times of the open read's pages so far, `before` those of the read before it. If there was none
    before, all pages are due so long after the open one began.
    """
    if not before:
        rest = [min(done, default=now) + most] * max(1, pages - len(done))
    else:
        last = len(before) - 1
        rest = [before[min(page, last)] + most for page in range(len(done), max(len(done) + 1, pages))]
    return [*rest, *(read_at + most for read_at in done)]


def rounds(unread: Iterable[tuple[str, datetime | None]], now: datetime, most: int) -> list[Round]:
    """At most `most` requests for projects given as (id, when it was last read), the longest unread first."""
    wanted = list(unread)[: most * PROJECTS_PER_REQUEST]
    by_lookback: dict[timedelta, list[str]] = {}
    for project_id, read_at in wanted:
        by_lookback.setdefault(_lookback(read_at, now), []).append(project_id)
    found = [_round(ids, lookback, now) for lookback, ids in sorted(by_lookback.items(), reverse=True)]
    spare = sum(len(one.groups) for one in found) - most
    while found and spare > 0:  # groups that are not full may be more than the requests that are left
        cut = found[-1].groups[: max(0, len(found[-1].groups) - spare)]
        spare -= len(found[-1].groups) - len(cut)
        found[-1:] = [Round(window=found[-1].window, groups=cut)] if cut else []
    return found


def _lookback(read_at: datetime | None, now: datetime) -> timedelta:
    unread = min(UNREAD if read_at is None else now - read_at + LATE, LOOKBACKS[-1])
    return next(lookback for lookback in LOOKBACKS if unread <= lookback)


def _round(ids: Sequence[str], lookback: timedelta, now: datetime) -> Round:
    groups = (tuple(ids[i : i + PROJECTS_PER_REQUEST]) for i in range(0, len(ids), PROJECTS_PER_REQUEST))
    end = floor_hour(now) + HOUR
    start = floor_hour(now) - lookback
    return Round(window=Window(grain=HOURLY, period=Period(start=start, end=end)), groups=tuple(groups))


def within_reach(window: Window, now: datetime, lasting: timedelta) -> Window | None:
    """The window without the hours that Neon will have dropped before the read ends; None if nothing remains."""
    if window.grain != HOURLY:
        return window
    earliest = floor_hour(now - HOURLY_REACH_HOURS * HOUR + lasting) + HOUR
    start = max(window.period.start, min(earliest, floor_hour(now) - HOUR))
    if start >= window.period.end:
        return None
    return Window(grain=HOURLY, period=Period(start=start, end=window.period.end))
