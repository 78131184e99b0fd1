"""One polling cycle: inventory, history, quota counters; every page is journalled before it is understood.

Accounts are polled side by side, the organizations of one account in turn (they share its rate budget). What could
not be read is reported and left uncertified: the next cycle asks for it again. Where the whole walks of an account do
not fit in what its budget allows until the next slot, each of its organizations reads its share (thrift).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import polars as pl

from metering import counters
from metering.activity import requests_for, shares
from metering.config import Config, Organization, ScheduleConfig, Secret
from metering.coverage import HOURLY_REACH_HOURS, Certified, Wanted, Window, windows
from metering.errors import (
    ClockError,
    CredentialsError,
    NeonError,
    PageRefusedError,
    StoppedError,
    UnavailableError,
)
from metering.history import History, metric_lists
from metering.intake import Asked, Intake, Report
from metering.ledger import Ledger
from metering.neon import Neon
from metering.period import Period, floor_day, floor_month, rfc3339, slot_start
from metering.stop import Stop
from metering.store import Store
from metering.thrift import Means, Thrift, leave_sweeps

COUNTER_SHARE = 2
"""At most one in so many of the requests that a cycle's time allows goes to counters."""

Wants = Callable[[Organization, Certified], Wanted]
_BAD_REQUEST = 400
Done = TypeVar("Done")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Polled:
    """An organization that can be asked, and its row of the report."""

    organization: Organization
    key: Secret
    row: dict[str, Any]

    @staticmethod
    def of(organization: Organization, key: Secret) -> "_Polled":
        row = {"organization": organization.id, "walks": [], "counters": 0}
        return _Polled(organization=organization, key=key, row=row)


@dataclass(slots=True, kw_only=True)
class Cycle:
    """The parts that one cycle shares. `progress` is called with a sentence fragment and a number of answers.

    `is_bounded`: it must not take longer than its slot; a backfill may.
    """

    ledger: Ledger
    config: Config
    keys: Mapping[str, Secret | CredentialsError]
    neon_of: Callable[[str], Neon]
    now: datetime
    stop: Stop
    progress: Callable[[str, int], None]
    checks_clock: bool
    is_bounded: bool = True
    report: Report = field(init=False)
    intake: Intake = field(init=False)

    def __post_init__(self) -> None:
        self.report = Report(started_at=self.now)
        self.intake = Intake(
            ledger=self.ledger,
            report=self.report,
            stop=self.stop,
            progress=self.progress,
            checks_clock=self.checks_clock,
        )

    async def run(self, wants: Wants, *, command: str) -> Report:
        """Polls every organization and journals the cycle."""
        accounts: dict[str, list[Organization]] = {}
        for organization in self.config.organizations:
            accounts.setdefault(organization.account, []).append(organization)
        before = int(self.ledger.store.query("change_count").item())
        await asyncio.gather(*(self._account(account, found, wants) for account, found in accounts.items()))
        self.ledger.flush()
        report = self.report
        report.changes = int(self.ledger.store.query("change_count").item()) - before
        report.organizations.sort(key=lambda row: str(row["organization"]))
        self.ledger.record(
            "cycle",
            {
                "command": command,
                "started_at": rfc3339(report.started_at),
                "ended_at": rfc3339(self.ledger.clock()),
                "requests": report.requests,
                "pages": report.pages,
                "changes": report.changes,
                "outcome": report.outcome,
                "faults": report.faults,
            },
        )
        return report

    async def _account(self, account: str, organizations: Iterable[Organization], wants: Wants) -> None:
        neon = self.neon_of(account)
        try:
            await self._read(neon, self._polled(organizations), wants)
        except CredentialsError as error:
            self.report.is_refused = True
            self.report.fault(f"account {account}", error)
        except StoppedError as error:
            self.report.fault(f"account {account}", error)
        finally:
            self.report.requests += neon.requests
            await neon.close()

    def _polled(self, organizations: Iterable[Organization]) -> list[_Polled]:
        """The organizations that have a key."""
        found = []
        for organization in organizations:
            key = self.keys[organization.id]
            if isinstance(key, CredentialsError):
                self.report.is_refused = True
                self.report.fault(f"organization {organization.id}", key)
            else:
                found.append(_Polled.of(organization, key))
                self.report.organizations.append(found[-1].row)
        return found

    async def _read(self, neon: Neon, found: Sequence[_Polled], wants: Wants) -> None:
        """Inventory, then history and counters of each organization.

        Where whole walks take more than a slot allows (first as far as the last inventory tells), each reads its share,
        and what has budgets of its own goes on side by side.
        """
        thrifty = self._thrifty(neon, found, wants)
        refused = await _both(self._inventories(neon, found), _each(one.begin() for one in thrifty.values()))
        shown = found if refused is None else found[: found.index(refused[0])]
        thrifty = thrifty or self._thrifty(neon, shown, wants)
        if thrifty:
            await _both(self._rest(thrifty, shown), self._all_counters(neon, shown))
        else:
            most = self._most_counters()
            for polled in shown:
                if not polled.organization.sponsored:
                    await self._history(neon, polled, wants)
                most -= await self._counters(neon, polled, most)
        if refused is not None:
            raise refused[1]

    async def _inventories(self, neon: Neon, found: Iterable[_Polled]) -> tuple[_Polled, CredentialsError] | None:
        """Reads inventory up to the first organization whose key is refused; returns that."""
        for polled in found:
            try:
                await self._inventory(neon, polled.organization, polled.key, polled.row)
            except CredentialsError as error:
                return polled, error
        return None

    async def _rest(self, thrifty: Mapping[str, Thrift], shown: Iterable[_Polled]) -> None:
        for polled in shown:
            if thrift := thrifty.get(polled.organization.id):
                near = counters.near(self._candidates(polled.organization), self._limits(), self.now)
                await thrift.rest(near)

    async def _all_counters(self, neon: Neon, shown: Iterable[_Polled]) -> None:
        most = self._most_counters()
        for polled in shown:
            most -= await self._counters(neon, polled, most)

    def _most_counters(self) -> int:
        return self.config.neon.requests_per_minute * self.config.schedule.poll_minutes // COUNTER_SHARE

    def _thrifty(self, neon: Neon, found: Sequence[_Polled], wants: Wants) -> dict[str, Thrift]:
        """How each organization reads its share; empty where whole walks fit."""
        means = self._means(found, wants)
        return {
            polled.organization.id: Thrift(
                self._asking(neon, polled),
                self.ledger.store,
                self._windows(polled.organization, wants),
                means[polled.organization.id],
            )
            for polled in found
            if polled.organization.id in means
        }

    def _means(self, found: Iterable[_Polled], wants: Wants) -> dict[str, Means]:
        """What each organization may spend in this slot; empty where all that is wanted fits, or there is no hurry."""
        if not self.is_bounded:
            return {}
        listed = dict(self.ledger.store.query("listed_counts").iter_rows())
        wanted = [polled.organization for polled in found if not polled.organization.sponsored]
        pages = {row.id: requests_for(listed.get(row.id, 0)) for row in wanted}
        needs = {row.id: pages[row.id] * len(self._windows(row, wants)) for row in wanted}
        schedule, per_minute = self.config.schedule, self.config.neon.history_requests_per_minute
        if sum(needs.values()) <= per_minute * schedule.poll_minutes:
            return {}
        left = self._left(pages, per_minute)
        return {
            name: Means(
                now=self.now,
                slot=timedelta(minutes=schedule.poll_minutes),
                sweep_most=timedelta(hours=schedule.sweep_hours),
                most=most,
                pages=pages[name],
            )
            for name, most in shares(left, pages).items()
        }

    def _left(self, organizations: Iterable[str], per_minute: int) -> int:
        """Requests for history that the account has until the next slot begins."""
        minutes = self.config.schedule.poll_minutes
        slot = slot_start(self.now, minutes)
        requests = self.ledger.store.query("history_requests", since=slot, now=self.now)
        spent: dict[str, int] = dict(requests.iter_rows())
        by_count = per_minute * minutes - sum(spent.get(name, 0) for name in organizations)
        time_left = slot + timedelta(minutes=minutes) - self.ledger.clock()
        by_time = -(-time_left * per_minute // timedelta(minutes=1))
        return max(0, min(by_count, by_time))

    def _asking(self, neon: Neon, polled: _Polled) -> History:
        return History(
            intake=self.intake,
            neon=neon,
            organization=polled.organization.id,
            key=polled.key,
            row=polled.row,
            lists=metric_lists(metric for meter in self.config.meters for metric in meter.metrics),
        )

    async def _history(self, neon: Neon, polled: _Polled, wants: Wants) -> None:
        history = self._asking(neon, polled)
        if self.is_bounded:
            leave_sweeps(history, self.ledger.store, "a whole walk takes its place")
        for window in self._windows(polled.organization, wants):
            error = await history.walk(window)
            if isinstance(error, UnavailableError | ClockError):
                break  # no other window is any better

    def _candidates(self, organization: Organization) -> pl.DataFrame:
        since = floor_month(self.now)
        return self.ledger.store.query("counter_candidates", organization=organization.id, since=since)

    def _limits(self) -> dict[str, int]:
        return counters.smallest_limits(plan.quota for plan in self.config.plans)

    def _windows(self, organization: Organization, wants: Wants) -> list[Window]:
        self.ledger.flush()
        certified = certified_of(self.ledger.store).get(organization.id, Certified())
        return windows(certified, wants(organization, certified), self.now)

    async def _inventory(self, neon: Neon, organization: Organization, key: Secret, row: dict[str, Any]) -> None:
        params = {"org_id": organization.id, "limit": "400"}
        listed = Asked(endpoint="inventory", organization=organization.id, path="projects", params=params)
        await self.intake.read(neon, listed, key, row)
        deleted = Asked(
            endpoint="recoverable",
            organization=organization.id,
            path="projects",
            params={**params, "recoverable": "true"},
            forgiven=frozenset({_BAD_REQUEST, 403, 404}),  # a beta: where it is missing, history still bills
        )
        await self.intake.read(neon, deleted, key, row)

    async def _counters(self, neon: Neon, polled: _Polled, most: int) -> int:
        """Returns how many requests they took."""
        organization, before = polled.organization.id, neon.requests
        for reading in counters.due(self._candidates(polled.organization), self._limits(), self.now, most):
            self.stop.check()
            try:
                await self._counter(neon, organization, polled.key, reading)
                polled.row["counters"] += 1
            except UnavailableError as error:
                self.report.notes.append(f"{organization}: {error}")  # deleted since the inventory was read
            except (CredentialsError, StoppedError):
                raise
            except (NeonError, PageRefusedError) as error:
                self.report.fault(f"organization {organization}, counters of {reading.project_id}", error)
        return neon.requests - before

    async def _counter(self, neon: Neon, organization: str, key: Secret, reading: counters.Reading) -> None:
        """Branches first: a project counts as read once all of it is."""
        path, more = f"projects/{reading.project_id}", {"project_id": reading.project_id}
        if reading.needs_branches:
            walk = self.intake.next_walk()
            async for page in neon.walk(f"{path}/branches", {"limit": "100"}, key):
                self.intake.page(page, "branches", organization, walk, more)
        answer = await neon.get(path, {}, key)
        self.intake.page(answer, "project", organization, self.intake.next_walk(), more)
        self.intake.progress(f"{organization}: quota counters", 1)


async def _each(work: Iterable[Awaitable[None]]) -> None:
    for one in work:
        await one


async def _both(one: Awaitable[Done], other: Awaitable[None]) -> Done:
    """The result of one, once both have ended; raises what either raised."""
    done, failed = await asyncio.gather(one, other, return_exceptions=True)
    for outcome in (failed, done):
        if isinstance(outcome, BaseException):
            raise outcome
    return cast("Done", done)


def certified_of(store: Store, as_of_seq: int = 2**63) -> dict[str, Certified]:
    """What is certified per organization, as known at a record."""
    found: dict[str, list[tuple[int, Period]]] = {}
    for organization, grain, start, end in store.query("coverage_of", as_of_seq=as_of_seq).iter_rows():
        found.setdefault(organization, []).append((grain, Period(start=start, end=end)))
    return {organization: Certified.of(periods) for organization, periods in found.items()}


def wanted_by_poll(store: Store, schedule: ScheduleConfig, now: datetime) -> Wants:
    """A poll heals from the running month's start, or from the first hour ever certified; it sweeps once a day."""
    # A walk that takes hours reaches back by so much less.
    hours = min(160, HOURLY_REACH_HOURS - schedule.sweep_hours - 4)
    swept = dict(store.query("last_sweep", hours=hours).iter_rows())

    def wanted(organization: Organization, certified: Certified) -> Wanted:
        known = [period.start for period in (*certified.hourly, *certified.daily, *certified.monthly)]
        swept_at = swept.get(organization.id)
        return Wanted(
            since=min([floor_month(now), *known]),
            sweep=swept_at is None or not floor_day(now) <= swept_at <= now,
        )

    return wanted


def wanted_by_backfill(start: datetime, end: datetime | None) -> Wants:
    """A backfill heals [start, end), as far back as Neon still answers."""
    return lambda _organization, _certified: Wanted(since=start, until=end, sweep=end is None)
