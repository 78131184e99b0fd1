"""`upgrade`: moves a project to another plan, in this order: transfer, quotas, subscription.

Refuses where current usage reaches a quota of the new plan, unless forced. Each step checks first whether it is done
already, so that a second run continues where the first stopped. Each step is recorded in the ledger.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from metering.config import Config, subscription_rows
from metering.core.errors import CredentialsError, MeteringError, NeonError
from metering.core.plans import Plan
from metering.core.quotas import QUOTAS
from metering.ledger.ledger import Ledger
from metering.neon import parse_projects, wire
from metering.neon.session import Sessions
from metering.provisioning import quotas, subscription_file
from metering.provisioning.drift import Change, drift
from metering.provisioning.quotas import Keys, NeonOf, Standing
from metering.provisioning.subscription_file import Choice

Json = dict[str, Any]
ORGANIZATION_KEY = "api_key_org"
"""What `GET /auth` calls a key that may not transfer a project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The requested upgrade."""

    project_id: str
    plan: str
    transfer_to: str | None = None
    force: bool = False


@dataclass(slots=True, kw_only=True)
class Upgraded:
    """The steps in order, each with its result (done, already, by hand), and the lines of subscriptions.csv."""

    steps: list[Json] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def upgrade(ledger: Ledger, config: Config, keys: Keys, neon_of: NeonOf, wanted: Wanted) -> Upgraded:
    """Does the remaining steps. Raises MeteringError where something is unknown or refused, or fails."""
    ledger.refuse("upgrade_step")
    now = ledger.clock()
    plan = next((plan for plan in config.plans if plan.id == wanted.plan), None)
    if plan is None:
        raise MeteringError(
            f"there is no plan {wanted.plan!r}", hint=f"known: {', '.join(row.id for row in config.plans)}"
        )
    if wanted.transfer_to is not None and wanted.transfer_to not in keys:
        hint = "add it to [[organizations]]: its usage would not be read otherwise"
        raise MeteringError(f"the organization {wanted.transfer_to!r} is not configured", hint=hint)
    standing = _standing(ledger, config, keys, wanted, now)
    _refuse_own(config, wanted.project_id, now)
    work = _Work(ledger=ledger, config=config, keys=keys, neon_of=neon_of, wanted=wanted, plan=plan, before=standing)
    home = asyncio.run(work.move())
    work.quotas(home)
    work.subscription(now.replace(microsecond=0))
    return work.done


def _standing(ledger: Ledger, config: Config, keys: Keys, wanted: Wanted, now: datetime) -> Standing:
    """The project as it was last read. Raises MeteringError if it is unknown, or its organization is not configured."""
    found = quotas.standings(ledger.store, config, now)
    standing = next((one for one in found if one.project_id == wanted.project_id), None)
    if standing is None:
        raise MeteringError(
            f"no project {wanted.project_id!r} was read from Neon", hint="`metering poll` reads the inventory"
        )
    if standing.organization not in keys:
        raise MeteringError(
            f"{wanted.project_id} is in the organization {standing.organization}, which is not configured",
            hint="add it to [[organizations]]: a change needs a key of it",
        )
    return standing


def _refuse_own(config: Config, project_id: str, now: datetime) -> None:
    """Raises MeteringError where a current row marks the project as the operator's own: then no customer would pay."""
    own = (row for row in config.subscription_rows if row.is_own and row.project_id == project_id)
    for row in own:
        if (row.valid_from is None or row.valid_from <= now) and (row.valid_to is None or now < row.valid_to):
            raise MeteringError(
                f"{project_id} is a project of our own: {row.place} has no customer and no plan, so nobody would pay",
                hint="end that row with valid_to, add a row with its customer and a plan, and run the command again",
            )


@dataclass(slots=True, kw_only=True)
class _Work:
    ledger: Ledger
    config: Config
    keys: Keys
    neon_of: NeonOf
    wanted: Wanted
    plan: Plan
    before: Standing
    done: Upgraded = field(default_factory=Upgraded)

    async def move(self) -> str:
        """Refuses a forbidden upgrade; transfers the project where requested. Returns its organization afterwards."""
        accounts = {row.id: row.account for row in self.config.organizations}
        neon = self.neon_of(accounts[self.before.organization])
        try:
            sessions = Sessions(neon=neon, keys=self.keys, organizations=self.config.organizations)
            facts = await self._look(sessions)
            self._refuse_below_usage(facts)
            home = facts.organization if facts.organization in self.keys else self.before.organization
            target = self.wanted.transfer_to
            if target is None:
                return home
            if home == target:
                self._step("transfer", "already", {"from": home, "to": target})
            else:
                await self._transfer(sessions, home, target)
            return target
        finally:
            await neon.close()

    async def _look(self, sessions: Sessions) -> parse_projects.ProjectFacts:
        """Reads the project from Neon; a key of its former organization no longer sees it."""
        path = f"projects/{self.wanted.project_id}"
        try:
            answer = await sessions.of(self.before.organization).get(path, {})
        except NeonError as error:
            if error.status not in {403, 404} or self.wanted.transfer_to is None:
                raise
            answer = await sessions.of(self.wanted.transfer_to).get(path, {})
        return parse_projects.project(answer.body)

    def _refuse_below_usage(self, facts: parse_projects.ProjectFacts) -> None:
        used = {name: _larger(self.before.used.get(name), facts.counters.get(name)) for name in QUOTAS}
        below = [change for change in drift(facts.limits, self.plan.quota, used) if change.is_below_usage]
        if below and not self.wanted.force:
            raise MeteringError(
                f"{self.wanted.project_id} has used more than {self.plan.id} allows:\n  "
                + "\n  ".join(map(_said, below)),
                hint="--force does it all the same",
            )

    async def _transfer(self, sessions: Sessions, home: str, target: str) -> None:
        session = sessions.of(home)
        method = wire.auth_method((await session.get("auth", {})).body)
        if method == ORGANIZATION_KEY:
            raise CredentialsError(
                f"the key of {home} is an organization's, which may not transfer projects",
                hint="give that organization a personal key of an admin of it who is a member of the other",
            )
        detail = {"from": home, "to": target}
        body = {"destination_org_id": target, "project_ids": [self.wanted.project_id]}
        with self._journalled("transfer", detail):
            await session.change("POST", f"organizations/{home}/projects/transfer", body)
            shown = (await self._look(sessions)).organization
            if shown and shown != target:
                raise NeonError(f"Neon still shows {self.wanted.project_id} in {shown}")
        self._step("transfer", "done", detail)

    def quotas(self, home: str) -> None:
        """Applies the new plan's quotas, as `quotas apply` does."""
        standing = replace(self.before, organization=home, plan=self.plan)
        applied = quotas.apply(
            self.ledger,
            self.config,
            self.keys,
            self.neon_of,
            [standing],
            reason="upgrade --force" if self.wanted.force else "upgrade",
            force=self.wanted.force,
        )
        if applied.faults:
            raise MeteringError("\n".join(applied.faults), hint="run the command again: it does what is left")
        changed = [row for row in applied.rows if row["result"] == "applied"]
        detail = {row["quota"]: {"was": row["neon"], "wanted": row["wanted"]} for row in changed}
        self._step("quotas", "done" if changed else "already", detail)

    def subscription(self, at: datetime) -> None:
        """Changes the project's row in subscriptions.csv; without that file, returns the lines to add by hand."""
        before = None
        if self.before.plan is not None and self.before.customer is not None:
            before = Choice(project_id=self.wanted.project_id, customer=self.before.customer, plan=self.before.plan.id)
        if before is not None and before.plan == self.plan.id:
            self._step("subscription", "already", {"plan": self.plan.id})
            return
        after = Choice(
            project_id=self.wanted.project_id,
            customer=before.customer if before else self.wanted.project_id,
            plan=self.plan.id,
        )
        file = self.config.customers.subscriptions
        if file is None:
            _, self.done.lines = subscription_file.switched(subscription_file.empty(), before, after, at)
            self._step("subscription", "by hand", {"lines": self.done.lines})
            return
        text, self.done.lines = subscription_file.switched(_text(file), before, after, at)
        detail = {"file": file.name, "lines": self.done.lines}
        with self._journalled("subscription", detail):
            _write(file, text, {plan.id for plan in self.config.plans})
        self._step("subscription", "done", detail)

    def _step(self, step: str, result: str, detail: Mapping[str, Any]) -> None:
        self.done.steps.append({"step": step, "result": result, **detail})

    @contextmanager
    def _journalled(self, step: str, detail: Mapping[str, Any]) -> Iterator[None]:
        """Records the intent, runs the step, and records its outcome."""

        def say(phase: str, error: str = "") -> None:
            told = {"project_id": self.wanted.project_id, "plan": self.plan.id, "step": step, "phase": phase}
            self.ledger.record("upgrade_step", {**told, "detail": dict(detail), "error": error})

        say("sending")
        try:
            yield
        except (MeteringError, OSError) as error:
            say("failed", str(error))
            raise
        say("done")


def _said(change: Change) -> str:
    return f"{change.quota}: {change.warning}"


def _larger(known: int | None, shown: int | None) -> int | None:
    found = [number for number in (known, shown) if number is not None]
    return max(found) if found else None


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise MeteringError(f"{file} cannot be read: {error.strerror}") from None


def _write(file: Path, text: str, plans: set[str]) -> None:
    """Validates the new text, then replaces the file by rename; its mode stays."""
    temporary = file.with_name(f"{file.name}.new")
    try:
        temporary.write_bytes(text.encode())
        _, faults, _ = subscription_rows(temporary, plans)
        if faults:
            raise MeteringError("\n".join(map(str, faults)), hint=f"{file.name} was left as it is")
        temporary.chmod(file.stat().st_mode)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(file)
    except OSError as error:
        raise MeteringError(f"{file} cannot be written: {error.strerror}", hint="add the lines by hand") from None
    finally:
        temporary.unlink(missing_ok=True)
