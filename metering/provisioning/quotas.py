"""`quotas plan` and `quotas apply`: our plans' quotas against what Neon has, and the PATCHes that make them agree.

Each project is read before and after its change: a change counts as applied when Neon shows it afterwards (the dates in
the answer to a PATCH are not usable). Each change is recorded before it is sent and after the answer.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from metering.billing import terms
from metering.config import Config
from metering.core.errors import CredentialsError, MeteringError, NeonError, PageRefusedError, UnreachableError
from metering.core.period import rfc3339
from metering.core.plans import Plan
from metering.core.quotas import QUOTAS
from metering.core.secrets import Secret
from metering.ledger.ledger import Ledger
from metering.neon import parse_projects
from metering.neon.client import Neon
from metering.neon.session import Session, Sessions
from metering.polling.readings import CycleReport
from metering.polling.recorder import Recorder
from metering.provisioning.drift import Change, drift, remaining, to_send
from metering.quotas import status
from metering.quotas.rows import QuotaRow
from metering.store.database import Store

SILENT_AFTER = 3
"""The number of consecutive projects without an answer, each after all retries, that ends the work on an account."""

Json = dict[str, Any]
Keys = Mapping[str, Secret | CredentialsError]
NeonOf = Callable[[str], Neon]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A project with its current plan, its quotas at Neon, and the usage of each quota."""

    organization: str
    project_id: str
    project_name: str | None
    customer: str | None
    plan: Plan | None
    held: Mapping[str, int]
    used: Mapping[str, int | None]

    def changes(self) -> list[Change]:
        """The changes that the plan asks for; none for a project without a plan."""
        return drift(self.held, self.plan.quota, self.used) if self.plan else []


def standings(store: Store, config: Config, now: datetime) -> list[Standing]:
    """Every listed project as the last poll saw it, sorted by project."""
    running = status.running(store, terms.of(config), now)
    rows = status.quota_rows(running, config.quota.thresholds_percent, include_unlimited=True)
    used: dict[str, dict[str, int | None]] = {}
    facts: dict[str, QuotaRow] = {}
    for row in rows:
        facts[row.project_id] = row
        used.setdefault(row.project_id, {})[row.quota] = row.used
    plans = {plan.id: plan for plan in config.plans}
    out = []
    for found in store.query("quotas/quota_counters").iter_rows(named=True):
        row = facts[found["project_id"]]
        out.append(
            Standing(
                organization=found["organization"],
                project_id=found["project_id"],
                project_name=row.project_name,
                customer=row.customer,
                plan=plans.get(row.plan or ""),
                held=json.loads(found["limits"]),
                used=used[found["project_id"]],
            )
        )
    return sorted(out, key=lambda one: one.project_id)


def plan(store: Store, config: Config, now: datetime) -> Json:
    """What `quotas plan` prints: the changes that `quotas apply` would make, and the projects without one."""
    found = standings(store, config, now)
    return {
        "as_of": rfc3339(now),
        "changes": [_told(one, change) for one in found for change in one.changes()],
        "kept": [
            {"project_id": one.project_id, "quota": name, "neon": str(limit)}
            for one in found
            for name, limit in sorted(one.held.items())
            if limit and one.plan and name not in one.plan.quota
        ],
        "unassigned": [one.project_id for one in found if one.plan is None],
    }


def _told(one: Standing, change: Change) -> Json:
    assert one.plan is not None, "only a plan makes changes"
    return {
        "organization": one.organization,
        "project_id": one.project_id,
        "project_name": one.project_name,
        "customer": one.customer,
        "plan": one.plan.id,
        "quota": change.quota,
        "unit": QUOTAS[change.quota].unit,
        "neon": None if change.was is None else str(change.was),
        "wanted": str(change.wanted),
        "used": None if change.used is None else str(change.used),
        "warning": change.warning,
    }


@dataclass(slots=True, kw_only=True)
class Applied:
    """The outcome: the rows of `plan` with `result` (applied, unchanged, refused, failed), and what went wrong."""

    rows: list[Json] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    is_refused: bool = False


def apply(  # noqa: PLR0913 - where it is written, by whom it is asked, and what for
    ledger: Ledger,
    config: Config,
    keys: Keys,
    neon_of: NeonOf,
    wanted: Sequence[Standing],
    *,
    reason: str,
    force: bool = False,
) -> Applied:
    """Changes these projects' quotas at Neon. A project whose usage reaches a lower limit is refused without `force`.

    A failed change is reported and leaves the project as it was; a second run does only what is missing.
    """
    ledger.refuse("quota_change")
    work = _Work(ledger=ledger, config=config, keys=keys, neon_of=neon_of, reason=reason, force=force)
    asyncio.run(work.run(wanted))
    work.done.rows.sort(key=lambda row: (row["project_id"], row["quota"]))
    return work.done


@dataclass(slots=True, kw_only=True)
class _Work:
    ledger: Ledger
    config: Config
    keys: Keys
    neon_of: NeonOf
    reason: str
    force: bool
    done: Applied = field(default_factory=Applied)
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = Recorder(ledger=self.ledger, report=CycleReport(started_at=self.ledger.clock()))

    async def run(self, wanted: Sequence[Standing]) -> None:
        """Works account by account, because the organizations of an account share a rate budget."""
        accounts = {row.id: row.account for row in self.config.organizations}
        self._tell_strangers([one for one in wanted if one.organization not in accounts])
        for account in sorted({accounts[one.organization] for one in wanted if one.organization in accounts}):
            neon = self.neon_of(account)
            try:
                await self._account(neon, account, [one for one in wanted if accounts.get(one.organization) == account])
            except CredentialsError as error:
                self.done.is_refused = True
                self.done.faults.append(f"account {account}: {error} ({error.hint})")
            finally:
                await neon.close()

    def _tell_strangers(self, strangers: Sequence[Standing]) -> None:
        """Reports projects of organizations that are not configured any more: there is no key to change them with."""
        for one in strangers:
            self._tell(one, one.changes(), "failed")
        for organization, count in sorted(Counter(one.organization for one in strangers).items()):
            self.done.faults.append(f"organization {organization} is not configured: {count} projects stay as they are")

    async def _account(self, neon: Neon, account: str, wanted: Sequence[Standing]) -> None:
        """Works project by project; stops after several consecutive projects without an answer."""
        in_a_row = 0
        sessions = Sessions(neon=neon, keys=self.keys, organizations=self.config.organizations)
        for number, one in enumerate(wanted):
            if in_a_row == SILENT_AFTER:
                for left in wanted[number:]:
                    self._tell(left, left.changes(), "failed")
                untried = f"{len(wanted) - number} more were not tried"
                self.done.faults.append(f"account {account}: {in_a_row} projects in a row got no answer; {untried}")
                return
            in_a_row = 0 if await self._project(sessions, one) else in_a_row + 1

    async def _project(self, sessions: Sessions, one: Standing) -> bool:
        """Applies the changes of one project; returns whether Neon answered at all."""
        session = sessions.of(one.organization)
        try:
            now = await self._look(session, one)
            changes = now.changes()
            if any(change.is_below_usage for change in changes) and not self.force:
                self._tell(now, changes, "refused")
                self.done.faults += [
                    f"{one.project_id}, {change.quota}: refused without --force: {change.warning}"
                    for change in changes
                    if change.is_below_usage
                ]
            elif changes:
                await self._change(session, now, changes)
            else:
                self._tell(now, one.changes(), "unchanged")
        except CredentialsError:
            raise
        except (NeonError, PageRefusedError) as error:
            self._tell(one, one.changes(), "failed")
            self.done.faults.append(_sentence(one, error))
            return not isinstance(error, UnreachableError)
        return True

    async def _look(self, session: Session, one: Standing) -> Standing:
        """Reads the project from Neon; the page is recorded like any other."""
        answer = await session.get(f"projects/{one.project_id}", {})
        facts = parse_projects.project(answer.body)
        more = {"project_id": one.project_id}
        self.recorder.page(answer, "project", one.organization, self.recorder.next_walk(), more)
        used = {name: _larger(one.used.get(name), facts.counters.get(name)) for name in QUOTAS}
        return replace(one, held=facts.limits, used=used)

    async def _change(self, session: Session, one: Standing, changes: Sequence[Change]) -> None:
        body = {"project": {"settings": {"quota": to_send(one.held, changes)}}}
        self._record(one, changes, "sending")
        try:
            await session.change("PATCH", f"projects/{one.project_id}", body)
            left = remaining((await self._look(session, one)).held, changes)
            if left:
                raise NeonError(f"Neon does not show the new limit of {', '.join(change.quota for change in left)}")
        except (MeteringError, OSError) as error:
            self._record(one, changes, "failed", str(error))
            raise
        self._record(one, changes, "done")
        self._tell(one, changes, "applied")

    def _record(self, one: Standing, changes: Sequence[Change], phase: str, error: str = "") -> None:
        assert one.plan is not None, "only a plan makes changes"
        self.ledger.record(
            "quota_change",
            {
                "organization": one.organization,
                "project_id": one.project_id,
                "plan": one.plan.id,
                "phase": phase,
                "quotas": {change.quota: {"was": change.was, "wanted": change.wanted} for change in changes},
                "reason": self.reason,
                "error": error,
            },
        )

    def _tell(self, one: Standing, changes: Sequence[Change], result: str) -> None:
        self.done.rows += [{**_told(one, change), "result": result} for change in changes]


def _larger(known: int | None, shown: int | None) -> int | None:
    """The larger of counter and history: both are late, and a counter may be stuck."""
    found = [number for number in (known, shown) if number is not None]
    return max(found) if found else None


def _sentence(one: Standing, error: MeteringError) -> str:
    return f"{one.project_id}: {error}" + (f" ({error.hint})" if error.hint else "")
