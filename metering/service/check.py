"""Everything that can be known before the first poll: values and their origins, keys, what they see, store, endpoints.

Asks Neon three cheap questions per organization and writes nothing but the lock and a file that it takes away again.
Knows what each kind of key may do. Must not print a key: it names the variable or the file that holds it.
"""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from metering.alerts import check as check_endpoints
from metering.alerts import switch
from metering.config.models import Config
from metering.core import meters
from metering.core.errors import (
    CredentialsError,
    MeteringError,
    NeonError,
    StoreBusyError,
    UnavailableError,
    UnreachableError,
)
from metering.core.parties import Organization
from metering.core.period import HOUR, floor_hour, rfc3339
from metering.core.secrets import Secret
from metering.neon import legacy, parse_history, readable, wire
from metering.neon.client import Neon
from metering.neon.endpoints import HISTORY, metric_lists
from metering.neon.session import Session, Sessions
from metering.operations import month_states
from metering.service import check_parties, check_references
from metering.service.check_references import Listed
from metering.service.clients import client_settings
from metering.store import database as door
from metering.store import lock

Json = dict[str, Any]
Clock = Callable[[], datetime]
Keys = Mapping[str, Secret | CredentialsError]

_INCOMPLETE = 3
MOST_RETRIES = 2
"""Somebody waits for the answer: what stays silent three times is told as it is."""
LITTLE_SPACE_BYTES = 1_000_000_000
LARGEST_CLOCK_DIFFERENCE = timedelta(minutes=5)

KINDS = {
    "api_key_user": "personal",
    "api_key_org": "organization",
    "oauth": "oauth",
    "keycloak": "session",
    "session_cookie": "session",
}
"""What `GET /auth` calls a key, in our words; a project's key calls itself an organization's."""
ABILITIES = {
    "personal": "sees every organization of its user, with history; may move projects between them",
    "organization": "sees one organization, with history; may not move projects to another",
    "project": "sees one project and no history; polling needs a personal or an organization's key",
    "oauth": "sees what its user granted, for about an hour",
    "session": "sees what its user sees, until the session ends",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One answer. `state` is ok, note or fault; a fault has the exit code that it deserves."""

    subject: str
    check: str
    state: str
    detail: str
    exit_code: int = 0


@dataclass(slots=True, kw_only=True)
class Checked:
    """What was found. `sections` is the JSON document without its findings; `origins` is (key, value, source)."""

    as_of: datetime
    path: Path
    origins: list[tuple[str, str | None, str]] = field(default_factory=list)
    sections: Json = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """A sentence for each thing that stands in the way of a poll or a delivery."""
        return [f"{found.subject}: {found.detail}" for found in self.findings if found.state == "fault"]

    @property
    def exit_code(self) -> int:
        """5 where a key or secret is missing or refused, else 1 where nothing can be stored, else 3, else 0."""
        codes = {found.exit_code for found in self.findings if found.state == "fault"}
        return next((code for code in (5, 1, 3) if code in codes), 0)

    @property
    def verdict(self) -> str:
        """The last line: `ready`, or `not ready` and what to do first."""
        worst = [found for found in self.findings if found.state == "fault" and found.exit_code == self.exit_code]
        return f"not ready: first {worst[0].subject}: {worst[0].detail}" if self.exit_code else "ready"

    def document(self) -> Json:
        """The whole as JSON; counts are decimal strings."""
        return {
            "as_of": rfc3339(self.as_of),
            "is_ready": self.exit_code == 0,
            "verdict": self.verdict,
            "configuration": {
                "path": str(self.path),
                "values": [{"key": key, "value": value, "source": source} for key, value, source in self.origins],
            },
            **self.sections,
            "faults": self.faults,
            "notes": [f"{found.subject}: {found.detail}" for found in self.findings if found.state == "note"],
        }

    def rows(self) -> list[Json]:
        """The findings, then every value with its source, for a table or CSV."""
        found = [
            {"subject": row.subject, "check": row.check, "state": row.state, "detail": row.detail}
            for row in self.findings
        ]
        return found + [
            {"subject": "configuration", "check": key, "state": source, "detail": "" if value is None else value}
            for key, value, source in self.origins
        ]

    def tell(self, subject: str, check: str, state: str, detail: str, exit_code: int = 0) -> None:
        """Adds a finding."""
        self.findings.append(Finding(subject=subject, check=check, state=state, detail=detail, exit_code=exit_code))


def check(  # noqa: PLR0913 - what the command line has
    config: Config,
    keys: Keys,
    secrets: Mapping[str, Secret],
    clock: Clock,
    real_time: Clock,
    *,
    send_test: bool,
    ping: Secret | CredentialsError | None = None,
) -> Checked:
    """Looks at everything, and stops at nothing. `secrets` has those of webhooks and channels, where there is one.

    `ping` is the URL of a dead-man's switch, which is not asked: that would say that a tick was complete.
    """
    out = Checked(as_of=clock(), path=config.path, origins=origins(config))
    out.tell("configuration", "faults", "ok", f"{config.path} has none")
    out.sections["organizations"] = asyncio.run(_organizations(config, keys, clock, out))
    out.sections["store"] = _store(config.store.directory, out)
    out.sections.update(check_references.sections(config, _listed(config, out), out.as_of, out.tell))
    out.sections["tax_ids"] = check_parties.tax_id_section(config, out.tell)
    out.sections["taxes_ended"] = check_parties.ended_taxes(config, out.as_of, out.tell)
    out.sections["closing"] = _closing(config, out)
    told = check_endpoints.look(config, secrets, clock(), real_time, out.tell, send_test=send_test)
    out.sections["webhooks"], out.sections["channels"] = told.webhooks, told.channels
    out.sections["service"] = _service(config, ping, out)
    return out


# -- configuration


def origins(config: Config) -> list[tuple[str, str | None, str]]:
    """(key, value as text or None, "file", "default", "command line" or "environment NAME"), sorted by key."""
    found = ((key, _text(_value(config, key)), source) for key, source in config.origins.items())
    return sorted(found, key=lambda row: [part.zfill(6) if part.isdigit() else part for part in _parts(row[0])])


def _parts(key: str) -> list[str]:
    return re.findall(r"[^.\[\]]+", key)


def _value(config: Config, key: str) -> object:
    node: object = config
    for part in _parts(key):
        if isinstance(node, tuple):
            node = node[int(part)]
        else:
            node = node.get(part) if isinstance(node, dict) else getattr(node, part)
    return node


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, tuple | list):
        return ", ".join(_text(item) or "" for item in value)
    return rfc3339(value) if isinstance(value, datetime) else str(value)


# -- Neon


async def _organizations(config: Config, keys: Keys, clock: Clock, out: Checked) -> list[Json]:
    """Accounts side by side, the organizations of one account in turn: they share its rate budget."""
    if not config.organizations:
        out.tell("configuration", "organizations", "note", "no organization is configured: a poll has nothing to read")
    patient = client_settings(config.neon, most_retries=MOST_RETRIES)
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
    """One organization, asked as a poll would ask."""

    neon: Neon
    config: Config
    organization: Organization
    now: datetime
    findings: list[Finding] = field(default_factory=list)
    kind: str | None = None
    is_silent: bool = False
    """So far nobody answered at all."""

    async def run(self, keys: Keys) -> tuple[Json, list[Finding]]:
        """The organization's part of the document, and what to tell."""
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
            return  # a key may be forbidden to ask what it is
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
        """What to set where the other endpoint of history has what this one has not."""
        try:
            await self._answers(session, other)
        except MeteringError:
            return ""
        return f'; the {other} endpoint answers: set history = "{other}" for this organization'

    async def _answers(self, session: Session, history: str) -> None:
        """Asks for an hour of one project; raises what Neon.get raises. Metrics that Neon does not know are told of."""
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


# -- store


def _store(directory: Path, out: Checked) -> Json:
    """Whether the directory takes files, who holds the lock, how much room there is. Creates no directory."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    section: Json = {
        "directory": str(directory),
        "exists": existing == directory,
        "is_writable": True,
        "lock": "free",
        "lock_holder": None,
        "free_bytes": None,
        "has_snapshot": (directory / door.SNAPSHOT).exists(),
    }
    try:
        with tempfile.TemporaryFile(dir=existing, prefix=".check-") as file:
            file.write(b"metering")
            file.flush()
        if section["exists"]:
            with lock.held(directory):
                pass
        out.tell("store", "directory", "ok", f"{directory} " + ("is writable" if section["exists"] else "can be made"))
        section["free_bytes"] = str(_free(existing, out))
    except StoreBusyError as busy:
        section.update(lock="held", lock_holder=str(busy.process_id))
        out.tell("store", "lock", "note", f"{busy}; a poll would have to wait")
    except OSError as error:
        section["is_writable"] = False
        out.tell("store", "directory", "fault", f"{existing} takes no files: {error.strerror or error}", exit_code=1)
    return section


def _free(existing: Path, out: Checked) -> int:
    free = shutil.disk_usage(existing).free
    if free < LITTLE_SPACE_BYTES:
        out.tell("store", "space", "note", f"only {free // 1_000_000} MB are free")
    return free


def _listed(config: Config, out: Checked) -> list[Listed]:
    """Every project that inventory has shown, as it was shown last; none where there is no store yet."""
    found: list[Listed] = []
    try:
        with door.open_reader(config.store.directory) as store:
            for organization in config.organizations:
                rows = store.query("ledger/latest_sightings", organization=organization.id)
                rows = rows.select("project_id", "name", "is_listed")
                found += [Listed(organization=organization.id, **row) for row in rows.iter_rows(named=True)]
    except Exception as error:  # whatever the engine says of a damaged copy is a finding here
        text = str(error).partition("\n")[0]
        out.tell("store", "snapshot", "fault", f"the readers' copy cannot be read: {text}", exit_code=1)
    return found


def _closing(config: Config, out: Checked) -> list[str]:
    """Which month closes next by itself and what is missing for it, which waits for a person; a line each."""
    for plan in config.plans:
        if plan.example:
            detail = "has example = true: no month that uses it closes; write your prices and take the line out"
            out.tell(f"plan {plan.id}", "example", "fault", detail, _INCOMPLETE)
    if config.plans and not config.seller.name.strip():
        detail = 'is empty: no month closes; write name = "…" under [seller]'
        out.tell("seller", "name", "fault", detail, _INCOMPLETE)
    try:
        with door.open_reader(config.store.directory) as store:
            lines = month_states.coming(store, config, out.as_of)
    except Exception as error:  # a damaged copy is a fault above; here it only says why nothing is known
        out.tell("closing", "month", "note", f"cannot be told: {str(error).partition(chr(10))[0]}")
        return []
    for line in lines:
        out.tell("closing", "month", "note", line)
    return lines


# -- service


def _service(config: Config, ping: Secret | CredentialsError | None, out: Checked) -> Json:
    """What `run` would show and whom ticks would tell; nothing of it stands in the way of a poll."""
    why = str(ping) if isinstance(ping, CredentialsError) else switch.ping_fault(ping.reveal()) if ping else ""
    if ping is not None:
        source = f"environment {config.service.ping_url_env}"
        out.tell("service", "ping", "note" if why else "ok", f"{source}: {why or 'usable'}")
    return {"listen": config.service.listen or None, "ping": None if ping is None else why or "ok"}
