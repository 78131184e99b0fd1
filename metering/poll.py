"""One polling cycle: inventory, history, quota counters; every page is journalled before it is understood.

Accounts are polled side by side, the organizations of one account in turn (they share its rate budget). What could
not be read is reported and left uncertified: the next cycle asks for it again.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from metering import counters, meters
from metering.config import Config, Organization, Secret
from metering.coverage import GRAIN_NAMES, Certified, Wanted, Window, windows
from metering.errors import (
    ClockError,
    CredentialsError,
    MeteringError,
    NeonError,
    PageRefusedError,
    StoppedError,
    UnavailableError,
)
from metering.intake import Asked, Intake, Report
from metering.ledger import Ledger
from metering.neon import Neon
from metering.period import Period, floor_day, floor_month, rfc3339
from metering.stop import Stop
from metering.store import Store

HISTORY = "consumption_history/v2/projects"
NEWEST_METRICS = frozenset({"snapshot_storage_bytes_month"})
"""What Neon added last: a server that refuses the list of metrics may not have it yet."""
COUNTER_SHARE = 2
"""At most one in so many of the requests that a cycle's time allows goes to counters."""

Wants = Callable[[Organization, Certified], Wanted]
_BAD_REQUEST = 400


@dataclass(slots=True, kw_only=True)
class Cycle:
    """The parts that one cycle shares. `progress` is called with a sentence fragment and a number of answers."""

    ledger: Ledger
    config: Config
    keys: Mapping[str, Secret | CredentialsError]
    neon_of: Callable[[str], Neon]
    now: datetime
    stop: Stop
    progress: Callable[[str, int], None]
    checks_clock: bool
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
        most = self.config.neon.requests_per_minute * self.config.schedule.poll_minutes // COUNTER_SHARE
        try:
            for organization in organizations:
                most -= await self._organization(neon, organization, wants, most)
        except CredentialsError as error:
            self.report.is_refused = True
            self.report.fault(f"account {account}", error)
        except StoppedError as error:
            self.report.fault(f"account {account}", error)
        finally:
            self.report.requests += neon.requests
            await neon.close()

    async def _organization(self, neon: Neon, organization: Organization, wants: Wants, most_counters: int) -> int:
        """Returns how many requests its quota counters took."""
        key = self.keys[organization.id]
        if isinstance(key, CredentialsError):
            self.report.is_refused = True
            self.report.fault(f"organization {organization.id}", key)
            return 0
        row: dict[str, Any] = {"organization": organization.id, "walks": [], "counters": 0}
        self.report.organizations.append(row)
        await self._inventory(neon, organization, key, row)
        if not organization.sponsored:
            for window in self._windows(organization, wants):
                error = await self._history(neon, organization, key, window, row)
                if isinstance(error, UnavailableError | ClockError):
                    break  # no other window is any better
        return await self._counters(neon, organization, key, row, most_counters)

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

    async def _history(
        self, neon: Neon, organization: Organization, key: Secret, window: Window, row: dict[str, Any]
    ) -> MeteringError | None:
        """Asks for all metrics; where Neon refuses the list, for fewer (facts 12)."""
        attempts = metric_lists(metric for meter in self.config.meters for metric in meter.metrics)
        error: MeteringError | None = None
        for number, metrics in enumerate(attempts, start=1):
            asked = Asked(
                endpoint="history",
                organization=organization.id,
                path=HISTORY,
                params={
                    "org_id": organization.id,
                    "from": rfc3339(window.period.start),
                    "to": rfc3339(window.period.end),
                    "granularity": GRAIN_NAMES[window.grain],
                    "metrics": ",".join(metrics),
                    "limit": "100",
                },
                window=window,
                forgiven=frozenset() if number == len(attempts) else frozenset({_BAD_REQUEST}),
            )
            error = await self.intake.read(neon, asked, key, row)
            if not (isinstance(error, NeonError) and error.status == _BAD_REQUEST):
                break
        return error

    async def _counters(
        self, neon: Neon, organization: Organization, key: Secret, row: dict[str, Any], most: int
    ) -> int:
        candidates = self.ledger.store.query(
            "counter_candidates", organization=organization.id, since=floor_month(self.now)
        )
        limits = counters.smallest_limits(plan.quota for plan in self.config.plans)
        before = neon.requests
        for reading in counters.due(candidates, limits, self.now, most):
            self.stop.check()
            try:
                await self._counter(neon, organization.id, key, reading)
                row["counters"] += 1
            except UnavailableError as error:
                self.report.notes.append(f"{organization.id}: {error}")  # deleted since the inventory was read
            except (CredentialsError, StoppedError):
                raise
            except (NeonError, PageRefusedError) as error:
                self.report.fault(f"organization {organization.id}, counters of {reading.project_id}", error)
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


def metric_lists(configured: Iterable[str]) -> list[list[str]]:
    """What to ask history for: all that is known and configured; then what Neon names; then that less the newest."""
    known = list(meters.KNOWN_METRICS)
    lists = [
        list(dict.fromkeys([*known, *configured])),
        known,
        [metric for metric in known if metric not in NEWEST_METRICS],
    ]
    return [metrics for i, metrics in enumerate(lists) if metrics not in lists[:i]]


def certified_of(store: Store, as_of_seq: int = 2**63) -> dict[str, Certified]:
    """What is certified per organization, as known at a record."""
    found: dict[str, list[tuple[int, Period]]] = {}
    for organization, grain, start, end in store.query("coverage_of", as_of_seq=as_of_seq).iter_rows():
        found.setdefault(organization, []).append((grain, Period(start=start, end=end)))
    return {organization: Certified.of(periods) for organization, periods in found.items()}


def wanted_by_poll(store: Store, now: datetime) -> Wants:
    """A poll heals from the running month's start, or from the first hour ever certified; it sweeps once a day."""
    swept = dict(store.query("last_sweep").iter_rows())

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
