"""One polling run: inventory, history, quota counters; every page is journalled before it is interpreted.

Accounts are polled side by side. What could not be read is reported and left uncertified: the next run asks again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from metering.config import Config
from metering.core.deadline import Deadline
from metering.core.errors import CredentialsError
from metering.core.parties import Organization
from metering.core.period import rfc3339
from metering.core.secrets import Secret
from metering.core.stop import Stop
from metering.ledger.ledger import Ledger
from metering.neon.client import Neon
from metering.neon.session import Sessions
from metering.polling.account import Account, Polled, credentials_in_use
from metering.polling.readings import CycleReport
from metering.polling.recorder import Recorder
from metering.polling.side_by_side import together
from metering.polling.wanted import Wants, missing_windows


@dataclass(slots=True, kw_only=True)
class Cycle:
    """The parts that one polling run shares. `progress` is called with a sentence fragment and a number of answers.

    After `deadline` nothing more is read; a backfill has none.
    """

    ledger: Ledger
    config: Config
    keys: Mapping[str, Secret | CredentialsError]
    neon_of: Callable[[str], Neon]
    now: datetime
    stop: Stop
    progress: Callable[[str, int], None]
    checks_clock: bool
    deadline: Deadline
    report: CycleReport = field(init=False)
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.report = CycleReport(started_at=self.now)
        self.recorder = Recorder(
            ledger=self.ledger,
            report=self.report,
            stop=self.stop,
            progress=self.progress,
            checks_clock=self.checks_clock,
        )

    async def run(self, wants: Wants, *, command: str) -> CycleReport:
        """Polls every organization and journals the run."""
        accounts: dict[str, list[Organization]] = {}
        for organization in self.config.organizations:
            accounts.setdefault(organization.account, []).append(organization)
        before = int(self.ledger.store.query("polling/change_count").item())
        await together(*(self._account(account, members, wants) for account, members in accounts.items()))
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
        polled = self._polled(neon, organizations, wants)
        try:
            await Account(
                config=self.config,
                recorder=self.recorder,
                polled=polled,
                wants=wants,
                now=self.now,
                deadline=self.deadline,
            ).read()
        finally:
            self.report.requests += neon.requests
            await neon.close()
        for users, credential in credentials_in_use(account, polled):
            if credential.refusal is not None:
                self._refuse(users, credential.refusal)
        for stopped in {one.stopped for one in polled if one.stopped}:
            self.report.fault(f"account {account}", stopped)
            break

    def _polled(self, neon: Neon, organizations: Iterable[Organization], wants: Wants) -> list[Polled]:
        """The organizations that have a key, with the windows that they lack."""
        polled: list[Polled] = []
        sessions = Sessions(neon=neon, keys=self.keys, organizations=organizations)
        for organization in organizations:
            try:
                session = sessions.of(organization.id)
            except CredentialsError as error:
                self._refuse(f"organization {organization.id}", error)
                continue
            windows = missing_windows(self.ledger.store, organization, wants, self.now)
            polled.append(Polled(organization=organization, session=session, windows=windows))
            self.report.organizations.append(polled[-1].row)
        return polled

    def _refuse(self, where: str, error: CredentialsError) -> None:
        self.report.is_refused = True
        self.report.fault(where, error)
