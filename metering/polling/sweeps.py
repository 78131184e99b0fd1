"""Reads history within a request budget: active projects, then those near a quota, then a part of the resumable read.

A resumable read is a full read that may span polling runs; it alone certifies hours. The store knows how far it is.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from metering.core.period import DAY, HOUR, Period
from metering.neon.walk import Seen
from metering.polling import shares
from metering.polling.history import History
from metering.polling.readings import Reading
from metering.polling.wanted import Wants, missing_windows
from metering.store.database import Store
from metering.usage.coverage import HOURLY
from metering.usage.windows import HOURLY_REACH_HOURS, Window

NEAR_REST = HOUR
"""How long an idle project near a quota is not asked for again."""
FAILED_BATCHES = 2
"""After so many broken readings by project, the rest of the budget goes to the resumable read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBudget:
    """What a run may spend on one organization: `most` requests in a slot; its full read takes `pages`."""

    now: datetime
    slot: timedelta
    sweep_most: timedelta
    most: int
    pages: int

    @property
    def lasting(self) -> timedelta:
        """How long a resumable read may take: as configured, or as long as this budget needs, with room to spare."""
        slots = -(-2 * self.pages // max(1, self.most))
        return max(self.sweep_most, slots * self.slot)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSweep:
    """A resumable read that an earlier run left open."""

    window: Window
    params: dict[str, str]
    reading: Reading


def open_sweeps(store: Store, organization: str) -> list[OpenSweep]:
    """The organization's open resumable reads, the newest first. Flush the ledger before."""
    found = []
    for row in store.query("polling/open_sweeps", organization=organization).iter_rows(named=True):
        cursors = store.query("polling/sweep_cursors", walk=row["walk"])["cursor"].to_list()
        items = set(store.query("polling/sweep_items", walk=row["walk"])["project_id"])
        seen = Seen(cursor=cursors[-1], cursors={cursor for cursor in cursors if cursor}, items=items)
        reading = Reading(walk=row["walk"], first_sent_at=row["first_sent_at"], pages=len(cursors), seen=seen)
        window = Window(grain=row["grain"], period=Period(start=row["period_start"], end=row["period_end"]))
        found.append(OpenSweep(window=window, params=json.loads(row["params"]), reading=reading))
    return found


def leave_sweeps(history: History, store: Store, reason: str) -> None:
    """Ends all open resumable reads of an organization, because a full read replaces them."""
    for sweep in open_sweeps(store, history.organization.id):
        history.leave(sweep.window, sweep.params, sweep.reading, reason)


class BudgetedReader:
    """One organization's history in one run, within its request budget.

    Besides the resumable read by the hour there may be one by the day or month, for hours that Neon no longer keeps.
    It may take weeks, so it gets a small share and the requests that are left over.
    """

    def __init__(self, history: History, wants: Wants, windows: Sequence[Window], budget: RequestBudget) -> None:
        """`windows` are missing now; once a read has ended, what `wants` still misses is computed again."""
        self.organization = history.organization.id
        self._history, self._store, self._budget = history, history.recorder.ledger.store, budget
        self._wants, self._missing = wants, windows
        self._spent = 0
        self._has_begun = self._is_stuck = False
        self._ended: set[int] = set()

    async def begin(self) -> None:
        """Reads the part of the resumable read that is due in this slot. Needs no inventory."""
        self._has_begun = True
        await self._sweep(self._hourly, self._reserve())

    async def rest(self, near: Iterable[str]) -> None:
        """Reads active projects, then those near a quota, then more of the resumable reads, within the budget."""
        reserve = 0 if self._has_begun else self._reserve()
        unread = _unread(self._store, self.organization, near, self._budget)
        await self._batches(unread, self._left - reserve - self._healing_share())
        await self._sweep(self._hourly, reserve)
        await self._sweep(self._healing, self._left)
        await self._sweep(self._hourly, self._left)

    @property
    def _hourly(self) -> list[Window]:
        return [window for window in self._missing if window.grain == HOURLY]

    @property
    def _healing(self) -> list[Window]:
        return [window for window in self._missing if window.grain != HOURLY]

    @property
    def _left(self) -> int:
        return self._budget.most - self._spent

    def _reserve(self) -> int:
        """How many pages by the hour this slot must read so that each page is read again in time.

        The pages of the open read fall due again with the next one.
        """
        if not self._hourly:
            return 0
        budget, sweep = self._budget, self._open({HOURLY})
        before = self._store.query("polling/last_full_walk", organization=self.organization)["sent_at"].to_list()
        done = self._store.query("polling/pages_sent", walk=sweep.reading.walk)["sent_at"].to_list() if sweep else []
        due = shares.deadlines(done, budget.pages, before, budget.now, budget.sweep_most)
        return min(budget.most, shares.sweep_share(due, budget.now, budget.slot))

    def _healing_share(self) -> int:
        return -(-self._budget.pages * self._budget.slot // max(DAY, self._budget.lasting)) if self._healing else 0

    def _open(self, grains: Iterable[int]) -> OpenSweep | None:
        found = open_sweeps(self._store, self.organization)
        return next((sweep for sweep in found if sweep.window.grain in grains), None)

    async def _sweep(self, windows: Sequence[Window], most: int) -> None:
        """Continues the resumable read of such windows, or begins one; a broken one is not tried again in this run."""
        before, grains = self._history.spent, {window.grain for window in windows}
        if most <= 0 or self._is_stuck or not windows:
            return
        if sweep := self._goes_on(grains):
            is_over, error = await self._history.resume(sweep.window, sweep.params, sweep.reading, most)
            # After an hourly read the next begins at once: what fell due meanwhile would be too much for one slot.
            is_last = is_over and (error is not None or sweep.window.grain != HOURLY)
            self._note(sweep.window, before, is_over=is_last, is_stuck=error is not None)
            if not is_over:
                return
            self._history.recorder.ledger.flush()
            self._missing = missing_windows(self._store, self._history.organization, self._wants, self._budget.now)
            windows = [window for window in self._missing if window.grain in grains]
        for window in _in_turn(self._store, self.organization, windows):
            left = most - (self._history.spent - before)
            asked = shares.within_reach(window, self._budget.now, self._budget.lasting)
            if window.grain in self._ended or asked is None or left <= 0:
                continue
            start = self._history.spent
            is_over, error = await self._history.sweep(asked, left)
            self._note(window, start, is_over=is_over, is_stuck=error is not None)
            if not is_over:
                return

    def _goes_on(self, grains: set[int]) -> OpenSweep | None:
        """The read to continue; leaves one that took too long, or would outlast what Neon keeps."""
        self._history.recorder.ledger.flush()
        latest = self._open(grains)
        if latest is None:
            return None
        if not self._history.is_asked_with(latest.params):
            self._history.leave(latest.window, latest.params, latest.reading, "history is asked for otherwise now")
            return None
        age = (
            self._history.recorder.ledger.clock() - latest.reading.first_sent_at
        )  # it may have begun after the polling run did
        is_hourly = latest.window.grain == HOURLY
        is_lost = is_hourly and latest.window.period.start < self._budget.now - HOURLY_REACH_HOURS * HOUR
        lasting = self._budget.lasting if is_hourly else max(DAY, self._budget.lasting)
        if timedelta() <= age <= 2 * lasting and not is_lost:
            return latest
        self._history.leave(latest.window, latest.params, latest.reading, "it was open for too long")
        return None

    def _note(self, window: Window, before: int, *, is_over: bool, is_stuck: bool) -> None:
        self._spent += self._history.spent - before
        self._is_stuck = is_stuck
        if is_over:
            self._ended.add(window.grain)

    async def _batches(self, unread: Sequence[tuple[str, datetime | None]], most: int) -> None:
        before, failed = self._history.spent, 0
        for wanted in shares.rounds(unread, self._budget.now, most):
            left = most - (self._history.spent - before)
            if left <= 0 or failed >= FAILED_BATCHES:
                break
            failed += await self._history.batches(wanted, left) is not None
        self._spent += self._history.spent - before


def _in_turn(store: Store, organization: str, windows: Sequence[Window]) -> list[Window]:
    """The windows, ordered by how long ago the last read of their grain ended, then from fine to coarse."""
    ended = dict(store.query("polling/last_walks", organization=organization).iter_rows())
    return sorted(windows, key=lambda window: (ended.get(window.grain, 0), window.grain))


def _unread(
    store: Store, organization: str, near: Iterable[str], budget: RequestBudget
) -> list[tuple[str, datetime | None]]:
    """(project, when it was last read): active ones, then those near a quota that were not read for a while."""
    since = budget.now - budget.lasting - 3 * HOUR
    active = store.query("polling/active_projects", organization=organization, now=budget.now, moved_since=since).rows()
    known = {project_id for project_id, _ in active}
    wanted = [project_id for project_id in near if project_id not in known]
    if not wanted:
        return active
    reads = store.query("billing/project_reads").filter(organization=organization)
    read_at = dict(reads.select("project_id", "history_read_at").iter_rows())
    rested = [(name, read_at.get(name)) for name in wanted]
    return [*active, *(row for row in rested if row[1] is None or budget.now - row[1] >= NEAR_REST)]
