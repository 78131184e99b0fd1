"""One polling cycle: inventory, history, quota counters; every page is journalled before it is understood.

Accounts are polled side by side. What could not be read is reported and left uncertified: the next cycle asks for it
again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from metering.config.models import Config, ScheduleConfig
from metering.core.errors import CredentialsError
from metering.core.parties import Organization
from metering.core.period import Period, floor_day, floor_month, rfc3339
from metering.core.secrets import Secret
from metering.core.secrets import secret as key_of
from metering.core.stop import Stop
from metering.ledger.ledger import Ledger
from metering.neon.client import Neon
from metering.neon.credentials import Caller, Key
from metering.polling.account import Account, Polled, keys_in_use, together
from metering.polling.intake import Intake, Report
from metering.store.database import Store
from metering.usage.coverage import Certified, certified_of
from metering.usage.windows import HOURLY_REACH_HOURS, Wanted, Window, not_to_renew, windows

Wants = Callable[[Organization, Certified], Wanted]


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
        before = int(self.ledger.store.query("polling/change_count").item())
        await together(*(self._account(account, found, wants) for account, found in accounts.items()))
        self.ledger.flush()
        report = self.report
        report.changes = int(self.ledger.store.query("polling/change_count").item()) - before
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
        found = self._polled(neon, organizations)
        try:
            await Account(
                neon=neon,
                config=self.config,
                intake=self.intake,
                found=found,
                windows=lambda organization: self._windows(organization, wants),
                now=self.now,
                is_bounded=self.is_bounded,
            ).read()
        finally:
            self.report.requests += neon.requests
            await neon.close()
        for users, key in keys_in_use(account, found):
            if key.refusal is not None:
                self.report.is_refused = True
                self.report.fault(users, key.refusal)
        for stopped in {polled.stopped for polled in found if polled.stopped}:
            self.report.fault(f"account {account}", stopped)
            break

    def _polled(self, neon: Neon, organizations: Iterable[Organization]) -> list[Polled]:
        """The organizations that have a key."""
        found: list[Polled] = []
        keys: dict[tuple[Path | None, Secret], Key] = {}
        for organization in organizations:
            secret, file = self.keys[organization.id], organization.api_key_file
            if isinstance(secret, CredentialsError):
                self.report.is_refused = True
                self.report.fault(f"organization {organization.id}", secret)
                continue
            key = keys.setdefault((file, secret), Key(secret=secret, read=_reading(file)))
            found.append(Polled(organization=organization, caller=Caller(neon=neon, key=key)))
            self.report.organizations.append(found[-1].row)
        return found

    def _windows(self, organization: Organization, wants: Wants) -> list[Window]:
        self.ledger.flush()
        certified = read_of(self.ledger.store).get(organization.id, Certified())
        return windows(certified, wants(organization, certified), self.now)


def _reading(file: Path | None) -> Callable[[], Secret] | None:
    """Reads a key's file once more; the environment of a process stays what it is."""
    return (lambda: key_of(None, file, {})) if file else None


def read_of(store: Store, *, after: int = 0) -> dict[str, Certified]:
    """What is certified per organization and for each of its projects: what need not be read again."""
    holes: dict[str, list[tuple[int, Period]]] = {}
    for row in store.query("billing/unread_hours", as_of_seq=2**63).iter_rows(named=True):
        hole = (row["grain"], Period(start=row["period_start"], end=row["period_end"]))
        holes.setdefault(row["organization"], []).append(hole)
    found = certified_of(store.query("billing/coverage_of", as_of_seq=2**63, after=after))
    return {name: certified.less(holes.get(name, ())) for name, certified in found.items()}


def wanted_by_poll(store: Store, schedule: ScheduleConfig, now: datetime) -> Wants:
    """A poll heals from the running month's start, or from the first hour ever certified; it sweeps once a day."""
    # A walk that takes hours reaches back by so much less.
    hours = min(160, HOURLY_REACH_HOURS - schedule.sweep_hours - 4)

    def wanted(organization: Organization, certified: Certified) -> Wanted:
        known = [period.start for period in (*certified.hourly, *certified.daily, *certified.monthly)]
        swept_at = store.query("polling/last_sweep", organization=organization.id, hours=hours).item()
        return Wanted(
            since=min([floor_month(now), *known]),
            sweep=swept_at is None or not floor_day(now) <= swept_at <= now,
            reread_hours=schedule.reread_hours,
        )

    return wanted


def wanted_by_backfill(store: Store, start: datetime, end: datetime | None, now: datetime) -> Wants:
    """A backfill reads [start, end) as far back as Neon still answers, also what is certified: it may be revised.

    What was read since the last one that was complete, it does not read again: one that was interrupted goes on.
    """
    fresh = read_of(store, after=int(store.query("polling/last_backfill").item()))

    def wanted(organization: Organization, certified: Certified) -> Wanted:
        known = not_to_renew(certified, fresh.get(organization.id, Certified()), now)
        return Wanted(since=start, until=end, sweep=end is None, known=known)

    return wanted
