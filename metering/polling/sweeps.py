"""A cycle's history where a full walk does not fit in its budget: the active, those near a quota, a part of a sweep.

The sweep is a full walk that may span cycles; it alone certifies hours. How far it has come is asked of the store.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from metering.core.period import DAY, HOUR, Period
from metering.neon.client import Seen
from metering.polling import shares
from metering.polling.history import History
from metering.polling.intake import Begun
from metering.store.database import Store
from metering.usage.coverage import HOURLY
from metering.usage.windows import HOURLY_REACH_HOURS, Window

NEAR_REST = HOUR
"""A project near a quota that nothing moved in is not asked for again before."""
FAILED_BATCHES = 2
"""After so many readings by project that broke, the rest of the budget goes to the sweep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a cycle has for one organization: `most` requests in a slot, and `pages` that its full walk takes."""

    now: datetime
    slot: timedelta
    sweep_most: timedelta
    most: int
    pages: int

    @property
    def lasting(self) -> timedelta:
        """How long a sweep may take: as configured, or what these means allow if that is longer, with room to spare."""
        slots = -(-2 * self.pages // max(1, self.most))
        return max(self.sweep_most, slots * self.slot)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSweep:
    """A sweep as the store knows it."""

    window: Window
    params: dict[str, str]
    begun: Begun


def open_sweeps(store: Store, organization: str) -> list[OpenSweep]:
    """The organization's open sweeps, the newest first; the store has landed all that is known of them."""
    found = []
    for row in store.query("polling/open_sweeps", organization=organization).iter_rows(named=True):
        cursors = store.query("polling/sweep_cursors", walk=row["walk"])["cursor"].to_list()
        items = set(store.query("polling/sweep_items", walk=row["walk"])["project_id"])
        seen = Seen(cursor=cursors[-1], cursors={cursor for cursor in cursors if cursor}, items=items)
        begun = Begun(walk=row["walk"], first_sent_at=row["first_sent_at"], pages=len(cursors), seen=seen)
        window = Window(grain=row["grain"], period=Period(start=row["period_start"], end=row["period_end"]))
        found.append(OpenSweep(window=window, params=json.loads(row["params"]), begun=begun))
    return found


def leave_sweeps(history: History, store: Store, reason: str) -> None:
    """Ends what earlier cycles left open: a whole walk does it all."""
    for sweep in open_sweeps(store, history.organization.id):
        history.leave(sweep.window, sweep.params, sweep.begun, reason)


class Thrift:
    """One organization's history in one cycle. Its requests are counted against the means.

    Besides the sweep by the hour there may be one by the day or month, which heals what hours no longer tell. It has
    weeks for that, so it takes a day, and whatever nobody else needs.
    """

    def __init__(self, history: History, store: Store, windows: Callable[[], Sequence[Window]], means: Means) -> None:
        """`windows` tells which walks are owed."""
        self.organization = history.organization.id
        self._history, self._store, self._means = history, store, means
        self._windows, self._owed = windows, windows()
        self._spent = 0
        self._has_begun = self._is_stuck = False
        self._ended: set[int] = set()

    async def begin(self) -> None:
        """Reads as much of the sweep as it takes to see every page in time. This needs to know of no project."""
        self._has_begun = True
        await self._sweep(self._hourly, self._reserve())

    async def rest(self, near: Iterable[str]) -> None:
        """Reads who was active, then who is near a quota, then more of the sweeps, as far as the means go."""
        reserve = 0 if self._has_begun else self._reserve()
        unread = _unread(self._store, self.organization, near, self._means)
        await self._batches(unread, self._left - reserve - self._healing_share())
        await self._sweep(self._hourly, reserve)
        await self._sweep(self._healing, self._left)
        await self._sweep(self._hourly, self._left)

    @property
    def _hourly(self) -> list[Window]:
        return [window for window in self._owed if window.grain == HOURLY]

    @property
    def _healing(self) -> list[Window]:
        return [window for window in self._owed if window.grain != HOURLY]

    @property
    def _left(self) -> int:
        return self._means.most - self._spent

    def _reserve(self) -> int:
        """What sweeps by the hour must read in this slot so that each page is read again in time.

        The pages of the one that is open fall due again with the next one.
        """
        if not self._hourly:
            return 0
        means, sweep = self._means, self._open({HOURLY})
        before = self._store.query("polling/last_full_walk", organization=self.organization)["sent_at"].to_list()
        mine = self._store.query("polling/pages_sent", walk=sweep.begun.walk)["sent_at"].to_list() if sweep else []
        due = shares.deadlines(mine, means.pages, before, means.now, means.sweep_most)
        return min(means.most, shares.sweep_share(due, means.now, means.slot))

    def _healing_share(self) -> int:
        return -(-self._means.pages * self._means.slot // max(DAY, self._means.lasting)) if self._healing else 0

    def _open(self, grains: Iterable[int]) -> OpenSweep | None:
        found = open_sweeps(self._store, self.organization)
        return next((sweep for sweep in found if sweep.window.grain in grains), None)

    async def _sweep(self, windows: Sequence[Window], most: int) -> None:
        """Goes on with the sweep of such windows, or begins one; what broke is not tried again in this cycle."""
        before, grains = self._history.spent, {window.grain for window in windows}
        if most <= 0 or self._is_stuck or not windows:
            return
        if sweep := self._goes_on(grains):
            is_over, error = await self._history.resume(sweep.window, sweep.params, sweep.begun, most)
            # By the hour the next may begin at once: what fell due meanwhile would be too much for the next slot.
            is_last = is_over and (error is not None or sweep.window.grain != HOURLY)
            self._note(sweep.window, before, is_over=is_last, is_stuck=error is not None)
            if not is_over:
                return
            self._owed = self._windows()
            windows = [window for window in self._owed if window.grain in grains]
        for window in _in_turn(self._store, self.organization, windows):
            left = most - (self._history.spent - before)
            asked = shares.within_reach(window, self._means.now, self._means.lasting)
            if window.grain in self._ended or asked is None or left <= 0:
                continue
            start = self._history.spent
            is_over, error = await self._history.sweep(asked, left)
            self._note(window, start, is_over=is_over, is_stuck=error is not None)
            if not is_over:
                return

    def _goes_on(self, grains: set[int]) -> OpenSweep | None:
        """The sweep to go on with; one that took too long, or would outlast what Neon keeps, is left."""
        self._history.intake.ledger.flush()
        latest = self._open(grains)
        if latest is None:
            return None
        if not self._history.is_asked_with(latest.params):
            self._history.leave(latest.window, latest.params, latest.begun, "history is asked for otherwise now")
            return None
        age = self._history.intake.ledger.clock() - latest.begun.first_sent_at  # it may be younger than the cycle
        is_hourly = latest.window.grain == HOURLY
        is_lost = is_hourly and latest.window.period.start < self._means.now - HOURLY_REACH_HOURS * HOUR
        lasting = self._means.lasting if is_hourly else max(DAY, self._means.lasting)
        if timedelta() <= age <= 2 * lasting and not is_lost:
            return latest
        self._history.leave(latest.window, latest.params, latest.begun, "it was open for too long")
        return None

    def _note(self, window: Window, before: int, *, is_over: bool, is_stuck: bool) -> None:
        self._spent += self._history.spent - before
        self._is_stuck = is_stuck
        if is_over:
            self._ended.add(window.grain)

    async def _batches(self, unread: Sequence[tuple[str, datetime | None]], most: int) -> None:
        before, failed = self._history.spent, 0
        for found in shares.rounds(unread, self._means.now, most):
            left = most - (self._history.spent - before)
            if left <= 0 or failed >= FAILED_BATCHES:
                break
            failed += await self._history.batches(found, left) is not None
        self._spent += self._history.spent - before


def _in_turn(store: Store, organization: str, windows: Sequence[Window]) -> list[Window]:
    """The grain whose walk ended the longest ago comes first, the finer of equals."""
    ended = dict(store.query("polling/last_walks", organization=organization).iter_rows())
    return sorted(windows, key=lambda window: (ended.get(window.grain, 0), window.grain))


def _unread(store: Store, organization: str, near: Iterable[str], means: Means) -> list[tuple[str, datetime | None]]:
    """(project, when it was read): who was active, then who is near a quota and was not read for a while."""
    since = means.now - means.lasting - 3 * HOUR
    active = store.query("polling/active_projects", organization=organization, now=means.now, moved_since=since).rows()
    known = {project_id for project_id, _ in active}
    wanted = [project_id for project_id in near if project_id not in known]
    if not wanted:
        return active
    reads = store.query("billing/project_reads").filter(organization=organization)
    read_at = dict(reads.select("project_id", "history_read_at").iter_rows())
    rested = [(name, read_at.get(name)) for name in wanted]
    return [*active, *(row for row in rested if row[1] is None or means.now - row[1] >= NEAR_REST)]
