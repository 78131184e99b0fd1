"""One polling cycle: inventory, history, quota counters; every page is journalled before it is understood.

Accounts are polled side by side, the organizations of one account in turn (they share its rate budget). What could
not be read is reported and left uncertified: the next cycle asks for it again.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from metering import meters
from metering.config import Config, Organization, Secret
from metering.coverage import GRAIN_NAMES, Certified, Wanted, Window, windows
from metering.errors import CredentialsError, MeteringError, NeonError, PageRefusedError, UnavailableError
from metering.ledger import Ledger
from metering.neon import Answer, Neon
from metering.pages import QUOTAS
from metering.period import DAY, Period, floor_day, floor_month, rfc3339
from metering.store import Store

HISTORY = "consumption_history/v2/projects"
COUNTER_FLOOR_PERCENT = 40
"""Below this share of its quota a project's counters are read once in COUNTER_REST, above it whenever it moved."""
COUNTER_REST = timedelta(hours=6)
COUNTER_SHARE = 2
"""At most one in so many requests of a cycle's general budget goes to counters."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What one cycle read, changed and missed. `faults` are sentences; any of them makes the cycle incomplete."""

    started_at: datetime
    organizations: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    pages: int = 0
    changes: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_refused: bool = False

    @property
    def outcome(self) -> str:
        """complete, partial, or refused where a key was."""
        return "refused" if self.is_refused else "partial" if self.faults else "complete"


class Cycle:
    """The parts that one cycle shares. `progress` is called with a sentence fragment and (done, of) page counts."""

    def __init__(
        self,
        ledger: Ledger,
        config: Config,
        keys: Mapping[str, Secret | CredentialsError],
        neon_of: Callable[[str], Neon],
        *,
        now: datetime,
        progress: Callable[[str, int], None] = lambda what, count: None,
    ) -> None:
        self.ledger, self.config, self.keys, self.neon_of = ledger, config, keys, neon_of
        self.now = now
        self.progress = progress
        self.report = Report(started_at=now)
        self.walk = int(ledger.store.query("next_walk").item())

    async def run(self, wanted: Callable[[Organization, Certified], Wanted], *, command: str) -> Report:
        """Polls every organization and journals the cycle."""
        accounts: dict[str, list[Organization]] = {}
        for organization in self.config.organizations:
            accounts.setdefault(organization.account, []).append(organization)
        before = int(self.ledger.store.query("change_count").item())
        await asyncio.gather(*(self._account(account, found, wanted) for account, found in accounts.items()))
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

    async def _account(
        self, account: str, organizations: Iterable[Organization], wanted: Callable[[Organization, Certified], Wanted]
    ) -> None:
        neon = self.neon_of(account)
        try:
            for organization in organizations:
                await self._organization(neon, organization, wanted)
        except CredentialsError as error:
            self.report.is_refused = True
            self._fault(f"account {account}", error)
        finally:
            self.report.requests += neon.requests
            await neon.close()

    async def _organization(
        self, neon: Neon, organization: Organization, wanted: Callable[[Organization, Certified], Wanted]
    ) -> None:
        key = self.keys[organization.id]
        if isinstance(key, CredentialsError):
            self.report.is_refused = True
            self._fault(f"organization {organization.id}", key)
            return
        row: dict[str, Any] = {"organization": organization.id, "walks": [], "counters": 0}
        self.report.organizations.append(row)
        await self._inventory(neon, organization, key, row)
        if not organization.sponsored:
            for window in self._windows(organization, wanted):
                await self._history(neon, organization, key, window, row)
        await self._counters(neon, organization, key, row)

    def _windows(
        self, organization: Organization, wanted: Callable[[Organization, Certified], Wanted]
    ) -> list[Window]:
        self.ledger.flush()
        certified = certified_of(self.ledger.store).get(organization.id, Certified())
        return windows(certified, wanted(organization, certified), self.now)

    async def _inventory(self, neon: Neon, organization: Organization, key: Secret, row: dict[str, Any]) -> None:
        params = {"org_id": organization.id, "limit": "400"}
        walk = _Walk(cycle=self, endpoint="inventory", organization=organization.id)
        await walk.run(neon, "projects", params, key, row)
        deleted = _Walk(cycle=self, endpoint="recoverable", organization=organization.id, is_optional=True)
        await deleted.run(neon, "projects", {**params, "recoverable": "true"}, key, row)

    async def _history(
        self, neon: Neon, organization: Organization, key: Secret, window: Window, row: dict[str, Any]
    ) -> None:
        names = [metric for meter in meters.catalogue(self.config.meters) for metric in meter.metrics]
        asked = list(dict.fromkeys([*meters.KNOWN_METRICS, *names]))
        params = {
            "org_id": organization.id,
            "from": rfc3339(window.period.start),
            "to": rfc3339(window.period.end),
            "granularity": GRAIN_NAMES[window.grain],
            "metrics": ",".join(asked),
            "limit": "100",
        }
        walk = _Walk(cycle=self, endpoint="history", organization=organization.id, window=window)
        error = await walk.run(neon, HISTORY, params, key, row)
        if isinstance(error, NeonError) and error.status == 400 and len(asked) > len(meters.KNOWN_METRICS):
            self.report.notes.append(f"{organization.id}: Neon does not know one of the metrics of [[meters]]")
            walk = _Walk(cycle=self, endpoint="history", organization=organization.id, window=window)
            await walk.run(neon, HISTORY, {**params, "metrics": ",".join(meters.KNOWN_METRICS)}, key, row)

    async def _counters(self, neon: Neon, organization: Organization, key: Secret, row: dict[str, Any]) -> None:
        budget = self.config.neon.requests_per_minute * self.config.schedule.poll_minutes // COUNTER_SHARE
        candidates = self.ledger.store.query(
            "counter_candidates", organization=organization.id, since=floor_month(self.now)
        )
        for project_id, needs_branches in counters_due(candidates, self._plan_limits(), self.now, budget):
            try:
                answer = await neon.get(f"projects/{project_id}", {}, key)
                self._page(answer, "project", organization.id, self._next_walk(), {"project_id": project_id})
                row["counters"] += 1
                self.progress(f"{organization.id}: quota counters", 1)
                if needs_branches:
                    walk = self._next_walk()
                    async for page in neon.walk(f"projects/{project_id}/branches", {"limit": "100"}, key):
                        self._page(page, "branches", organization.id, walk, {"project_id": project_id})
            except UnavailableError as error:
                self.report.notes.append(f"{organization.id}: {error}")  # deleted since the inventory was read
            except CredentialsError:
                raise
            except (NeonError, PageRefusedError) as error:
                self._fault(f"organization {organization.id}, counters of {project_id}", error)

    def _plan_limits(self) -> dict[str, set[str]]:
        """Which quotas any of our plans sets: a project without a quota at Neon may fall back to them."""
        return {name: {plan.id for plan in self.config.plans if plan.quota.get(name)} for name in QUOTAS}

    def _next_walk(self) -> int:
        self.walk += 1
        return self.walk - 1

    def _page(
        self, answer: Answer, endpoint: str, organization: str, walk: int, more: Mapping[str, Any] | None = None
    ) -> None:
        self.report.pages += 1
        self.ledger.record(
            "page",
            {
                "walk": walk,
                "endpoint": endpoint,
                "organization": organization,
                "path": answer.path,
                "params": answer.params,
                "sent_at": rfc3339(answer.sent_at),
                "received_at": rfc3339(answer.received_at),
                "request_id": answer.request_id,
                **(more or {}),
            },
            body=answer.body,
        )

    def _fault(self, where: str, error: MeteringError) -> None:
        self.report.faults.append(f"{where}: {error}" + (f" ({error.hint})" if error.hint else ""))


@dataclass(slots=True, kw_only=True)
class _Walk:
    """One list, from its first page to its last or to where it breaks; the ledger gets its end in any case."""

    cycle: Cycle
    endpoint: str
    organization: str
    window: Window | None = None
    is_optional: bool = False

    async def run(
        self, neon: Neon, path: str, params: Mapping[str, str], key: Secret, row: dict[str, Any]
    ) -> MeteringError | None:
        """Returns what broke it. Raises CredentialsError once the end is journalled."""
        cycle, number, pages = self.cycle, self.cycle._next_walk(), 0  # noqa: SLF001 - same module
        first_sent_at = cycle.ledger.clock()
        more = self._span()
        error: MeteringError | None = None
        try:
            async for answer in neon.walk(path, params, key, history=self.endpoint == "history"):
                first_sent_at = answer.sent_at if pages == 0 else first_sent_at
                pages += 1
                cycle._page(answer, self.endpoint, self.organization, number, more)  # noqa: SLF001
                cycle.progress(f"{self.organization}: {self._name()}", 1)
        except MeteringError as caught:
            error = caught
        kind, reason = _kind_of(error)
        cycle.ledger.record(
            "walk",
            {
                "walk": number,
                "endpoint": self.endpoint,
                "organization": self.organization,
                "grain": None,
                "period_start": None,
                "period_end": None,
                **more,
                "first_sent_at": rfc3339(first_sent_at),
                "kind": kind,
                "reason": reason,
            },
        )
        self._tell(number, pages, error, row)
        if isinstance(error, CredentialsError):
            raise error
        return error

    def _span(self) -> dict[str, Any]:
        if self.window is None:
            return {}
        period = self.window.period
        return {
            "grain": self.window.grain,
            "period_start": rfc3339(period.start),
            "period_end": rfc3339(period.end),
        }

    def _name(self) -> str:
        return f"{GRAIN_NAMES[self.window.grain]} history" if self.window else self.endpoint

    def _tell(self, number: int, pages: int, error: MeteringError | None, row: dict[str, Any]) -> None:
        ended = self.cycle.ledger.store.query("walk_end", walk=number).row(0, named=True)
        told = {"what": self._name(), **self._span(), "pages": pages, "complete": ended["is_complete"]}
        if not ended["is_complete"]:
            told["reason"] = ended["reason"]
        row["walks"].append(told)
        if ended["is_complete"] or isinstance(error, CredentialsError):
            return
        where = f"organization {self.organization}, {self._name()}"
        if self.is_optional and isinstance(error, NeonError) and error.status in {400, 403, 404}:
            self.cycle.report.notes.append(f"{where}: {error}")
        elif error is not None:
            self.cycle._fault(where, error)  # noqa: SLF001
        else:
            self.cycle.report.faults.append(f"{where}: a page was refused: {ended['reason']}")


def _kind_of(error: MeteringError | None) -> tuple[str, str]:
    if error is None:
        return "", ""
    if isinstance(error, CredentialsError):
        return "credentials", str(error)
    return ("unavailable" if isinstance(error, UnavailableError) else "broken"), str(error)


def certified_of(store: Store, as_of_seq: int = 2**63) -> dict[str, Certified]:
    """What is certified per organization, as known at a record."""
    found: dict[str, list[tuple[int, Period]]] = {}
    for organization, grain, start, end in store.query("coverage_of", as_of_seq=as_of_seq).iter_rows():
        found.setdefault(organization, []).append((grain, Period(start=start, end=end)))
    return {organization: Certified.of(periods) for organization, periods in found.items()}


def wanted_by_poll(store: Store, now: datetime) -> Callable[[Organization, Certified], Wanted]:
    """A poll heals from the running month's start, or from the first hour ever certified; it sweeps once a day."""
    swept = dict(store.query("last_sweep").iter_rows())

    def wanted(organization: Organization, certified: Certified) -> Wanted:
        known = [period.start for period in (*certified.hourly, *certified.daily, *certified.monthly)]
        swept_at = swept.get(organization.id)
        return Wanted(
            since=min([floor_month(now), *known]),
            sweep=swept_at is None or swept_at < floor_day(now),
        )

    return wanted


def wanted_by_backfill(start: datetime, end: datetime | None) -> Callable[[Organization, Certified], Wanted]:
    """A backfill heals [start, end), as far back as Neon still answers."""
    return lambda organization, certified: Wanted(since=start, until=end, sweep=end is None)


def counters_due(
    candidates: pl.DataFrame, plan_limits: Mapping[str, set[str]], now: datetime, budget: int
) -> list[tuple[str, bool]]:
    """(project, whether its branches' sizes are wanted too) in the order of need; `budget` requests at most.

    Read are projects that have (or, by our plans, may have) a quota and were never read in this billing period, or
    moved since they were read and are near a quota; those far from any quota only once in COUNTER_REST.
    """
    ranked: list[tuple[int, datetime, str, bool]] = []
    plans_limit = {name for name, plans in plan_limits.items() if plans}
    for row in candidates.iter_rows(named=True):
        limits = {**json.loads(row["limits"]), **json.loads(row["counter_limits"] or "{}")}
        named = {name for name, limit in limits.items() if limit} | plans_limit
        observed_at: datetime | None = row["observed_at"]
        if not named and (row["has_settings"] or observed_at is not None):
            continue
        needs_branches = "logical_size_bytes" in named
        if observed_at is None or (row["period_end"] is not None and row["period_end"] <= now):
            ranked.append((-10_000, now, row["project_id"], needs_branches))
            continue
        percent = max((_percent(row, name, limit) for name, limit in limits.items() if limit), default=0)
        moved = row["moved_at"] is not None and row["moved_at"] > observed_at - timedelta(hours=1)
        is_near = percent >= COUNTER_FLOOR_PERCENT
        if (moved and (is_near or now - observed_at >= COUNTER_REST)) or now - observed_at >= DAY:
            ranked.append((-percent, observed_at, row["project_id"], needs_branches))
    out: list[tuple[str, bool]] = []
    for _, _, project_id, needs_branches in sorted(ranked):
        budget -= 2 if needs_branches else 1
        if budget < 0:
            break
        out.append((project_id, needs_branches))
    return out


def _percent(row: Mapping[str, Any], name: str, limit: int) -> int:
    used = row.get(name)
    return 0 if used is None else int(used) * 100 // limit
