"""Checks the organizations: sends three cheap requests for each to Neon, in the way that a poll sends them.

Knows what each kind of key may do. Must not print a key: it names the variable or the file that holds it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from metering.config import Config
from metering.core import meters
from metering.core.errors import CredentialsError, MeteringError, NeonError, UnavailableError, UnreachableError
from metering.core.parties import Organization
from metering.core.period import HOUR, floor_hour, rfc3339
from metering.core.secrets import Secret
from metering.neon import legacy, parse_history, readable, wire
from metering.neon.client import Neon
from metering.neon.endpoints import HISTORY, metric_lists
from metering.neon.session import Session, Sessions
from metering.service.clients import client_settings
from metering.service.findings import Checked, Finding

Json = dict[str, Any]
Keys = Mapping[str, Secret | CredentialsError]

MOST_RETRIES = 2
"""A person waits for the result, so an organization that does not answer three times is reported as silent."""
LARGEST_CLOCK_DIFFERENCE = timedelta(minutes=5)

KINDS = {
    "api_key_user": "personal",
    "api_key_org": "organization",
    "oauth": "oauth",
    "keycloak": "session",
    "session_cookie": "session",
}
"""Key type that `GET /auth` answers -> our word for it. A key of a project is reported as one of an organization."""
ABILITIES = {
    "personal": "sees every organization of its user, with history; may move projects between them",
    "organization": "sees one organization, with history; may not move projects to another",
    "project": "sees one project and no history; polling needs a personal or an organization's key",
    "oauth": "sees what its user granted, for about an hour",
    "session": "sees what its user sees, until the session ends",
}


async def organizations(config: Config, keys: Keys, clock: Callable[[], datetime], out: Checked) -> list[Json]:
    """Checks all accounts in parallel, and the organizations of an account one by one: they share its rate budget."""
    if not config.organizations:
        out.tell("configuration", "organizations", "note", "no organization is configured: a poll has nothing to read")
    patient = client_settings(config.neon, network=config.reached_by, most_retries=MOST_RETRIES)
    accounts: dict[str, list[Organization]] = {}
    for organization in config.organizations:
        accounts.setdefault(organization.account, []).append(organization)

    async def account(members: list[Organization]) -> list[tuple[Json, list[Finding]]]:
        neon = Neon(patient, clock=clock)
        try:
            return [await _Asked(neon=neon, config=config, organization=one, now=clock()).run(keys) for one in members]
        finally:
            await neon.close()

    answers = [pair for group in await asyncio.gather(*map(account, accounts.values())) for pair in group]
    answers.sort(key=lambda pair: str(pair[0]["organization"]))
    for _, findings in answers:
        out.findings += findings
    return [section for section, _ in answers]


@dataclass(slots=True, kw_only=True)
class _Asked:
    """The check of one organization, with the requests that a poll would send."""

    neon: Neon
    config: Config
    organization: Organization
    now: datetime
    findings: list[Finding] = field(default_factory=list)
    kind: str | None = None
    is_silent: bool = False
    """So far nobody answered at all."""

    async def run(self, keys: Keys) -> tuple[Json, list[Finding]]:
        """The organization's part of the document; adds its findings."""
        found: Json = {"key": "unknown", "inventory": "unknown", "history": "unknown"}
        if isinstance(keys[self.organization.id], CredentialsError):
            found["key"] = "missing"
        try:
            session = Sessions(neon=self.neon, keys=keys, organizations=[self.organization]).of(self.organization.id)
            await self._kind(session)
            found["inventory"] = await self._inventory(session)
            found["history"] = await self._history(session)
        except CredentialsError as error:
            found["key"] = "refused" if found["key"] == "unknown" else found["key"]
            self._tell("key", "fault", _sentence(error), exit_code=5)
        else:
            found["key"] = self._tell_key(found)
        section = {
            "organization": self.organization.id,
            "account": self.organization.account,
            "sponsored": self.organization.sponsored,
            "key_source": self._source(),
            "key_kind": self.kind,
            "key_may": ABILITIES.get(self.kind or ""),
            **found,
        }
        return section, self.findings

    def _source(self) -> str:
        one = self.organization
        return f"environment {one.api_key_env}" if one.api_key_env else f"file {one.api_key_file}"

    def _tell_key(self, found: Json) -> str:
        if self.kind is None and found["inventory"] == "unknown" and found["history"] in {"unknown", "not_expected"}:
            self._tell(
                "key", "note", f"{self._source()}: nobody answered, so it is not known whether it opens anything"
            )
            return "unknown"
        kind = f"{self.kind} key" if self.kind else "a key of an unknown kind"
        self._tell(
            "key", "ok", f"{self._source()}: {kind}" + (f", {may}" if (may := ABILITIES.get(self.kind or "")) else "")
        )
        return "ok"

    async def _kind(self, session: Session) -> None:
        try:
            answer = await session.get("auth", {})
            method = wire.auth_method(answer.body)
        except CredentialsError:
            raise
        except UnavailableError:
            return  # a key may lack the permission for GET /auth
        except MeteringError as error:
            self.is_silent = isinstance(error, UnreachableError)
            self._tell("key", "note", f"what kind of key it is could not be learned: {error}")
            return
        self.kind = KINDS.get(method)
        self._compare_clocks(answer.server_date)

    async def _inventory(self, session: Session) -> str:
        params = {"org_id": self.organization.id, "limit": "1"}
        try:
            body = (await session.get("projects", params)).body
            projects, unavailable, unreadable = readable.inventory(body)
        except CredentialsError:
            raise
        except MeteringError as error:
            self.is_silent = self.is_silent and isinstance(error, UnreachableError)
            if isinstance(error, UnavailableError) and "scoped to" in str(error):
                self.kind = "project"
            self._tell("inventory", "fault", f"projects are not visible: {_sentence(error)}", exit_code=3)
            return _state(error)
        self.is_silent = False
        is_empty = not projects and not unavailable and not unreadable
        self._tell("inventory", "ok", "visible" + (", and there is no project yet" if is_empty else ""))
        return "visible"

    async def _history(self, session: Session) -> str:
        if self.organization.sponsored:
            self._tell("history", "ok", "none is expected: the organization is sponsored")
            return "not_expected"
        if self.is_silent:
            self._tell("history", "note", "was not asked for: nobody answered")
            return "unknown"
        own = self.organization.history
        try:
            await self._answers(session, own)
        except CredentialsError:
            raise
        except MeteringError as error:
            said = f"history is not available: {_sentence(error)}"
            if isinstance(error, UnavailableError):
                said += await self._elsewhere(session, "legacy" if own == "v2" else "v2")
            self._tell("history", "fault", said, exit_code=3)
            return _state(error)
        self._tell("history", "ok", "available" + (" at the legacy endpoint" if own == "legacy" else ""))
        return "visible"

    async def _elsewhere(self, session: Session, other: str) -> str:
        """Advice on the setting `history` when the other endpoint answers and the configured one does not."""
        try:
            await self._answers(session, other)
        except MeteringError:
            return ""
        return f'; the {other} endpoint answers: set history = "{other}" for this organization'

    async def _answers(self, session: Session, history: str) -> None:
        """Requests one hour of one project's history; raises what Neon.get raises. Notes metrics unknown to Neon."""
        lists = metric_lists(history, (metric for meter in self.config.meters for metric in meter.metrics))
        try:
            await self._last_hour(session, history, lists[0])
        except NeonError as error:
            if error.status != 400 or lists[1] != list(meters.KNOWN_METRICS):
                raise
            await self._last_hour(session, history, lists[1])
            self._tell("history", "note", f"Neon does not know one of the metrics of [[meters]]: {error}")

    async def _last_hour(self, session: Session, history: str, metrics: list[str]) -> None:
        end = floor_hour(self.now)
        params = {
            "org_id": self.organization.id,
            "from": rfc3339(end - HOUR),
            "to": rfc3339(end),
            "granularity": "hourly",
            "metrics": ",".join(metrics),
            "limit": "1",
        }
        body = (await session.get(HISTORY[history], params, history=True)).body
        readable.by_rows(body, lambda page: parse_history.history(legacy.retold(page) if history == "legacy" else page))

    def _compare_clocks(self, server_date: datetime | None) -> None:
        if server_date is not None and abs(server_date - self.now) > LARGEST_CLOCK_DIFFERENCE:
            times = f"here it is {rfc3339(self.now)}, at Neon {rfc3339(server_date)}"
            self._tell("clock", "note", f"{times}: poll asks for hours by the clock here")

    def _tell(self, check: str, state: str, detail: str, *, exit_code: int = 0) -> None:
        subject = f"organization {self.organization.id}"
        self.findings.append(Finding(subject=subject, check=check, state=state, detail=detail, exit_code=exit_code))


def _state(error: MeteringError) -> str:
    return "not_visible" if isinstance(error, UnavailableError) else "unknown"


def _sentence(error: MeteringError) -> str:
    has_hint = error.hint and not isinstance(error, UnreachableError)  # its hint speaks of polls
    return str(error) + (f" ({error.hint})" if has_hint else "")
