"""One organization's session with Neon: its key, read again from its file if Neon refuses it, and a count of requests.

An access token lives for an hour and is rewritten by another program, and a key may be exchanged at any moment, so a
refused key may only be out of date. Organizations with one key share it, and its refusal. Knows no store.
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metering.core import secrets
from metering.core.errors import CredentialsError
from metering.core.parties import Organization
from metering.core.secrets import Secret
from metering.neon.client import Neon
from metering.neon.walk import Answer, Seen, walk


@dataclass(slots=True, kw_only=True)
class Credential:
    """A key in use, and the file that it is read from again; a key from the environment stays what it is."""

    secret: Secret
    file: Path | None = None
    refusal: CredentialsError | None = None

    async def use(self, ask: Callable[[Secret], Awaitable[Answer]]) -> Answer:
        """Asks with the key, and once more with a new one if Neon refuses it. A refused key is not used again."""
        if self.refusal is not None:
            raise self.refusal
        secret = self.secret
        try:
            return await ask(secret)
        except CredentialsError as error:
            self._renew(secret, error)
        secret = self.secret
        try:
            return await ask(secret)
        except CredentialsError as error:
            if self.secret == secret:
                self.refusal = error
            raise

    def _renew(self, refused: Secret, error: CredentialsError) -> None:
        """Replaces the refused key; raises CredentialsError if the file holds no other."""
        if self.secret != refused:
            return  # another request has renewed it meanwhile
        try:
            renewed = secrets.secret(None, self.file, os.environ) if self.file else refused
        except CredentialsError as unreadable:
            renewed, error = refused, unreadable
        if renewed == refused:
            self.refusal = error
            raise error
        self.secret = renewed


@dataclass(slots=True, kw_only=True)
class Session:
    """Asks Neon on behalf of one organization; `history_requests` counts what is sent, retries too."""

    neon: Neon
    credential: Credential
    history_requests: int = 0

    async def get(self, path: str, params: Mapping[str, str], *, history: bool = False) -> Answer:
        """Returns the answer of `Neon.get`; a refused key is renewed once."""

        def count() -> None:
            self.history_requests += history

        return await self.credential.use(lambda key: self.neon.get(path, params, key, history=history, count=count))

    async def change(self, method: str, path: str, body: Mapping[str, object]) -> Answer:
        """Returns the answer of `Neon.change`; a refused key is renewed once, since a refused change did not happen."""
        return await self.credential.use(lambda key: self.neon.change(method, path, body, key))

    def walk(
        self, path: str, params: Mapping[str, str], *, history: bool = False, seen: Seen | None = None
    ) -> AsyncGenerator[Answer, None]:
        """Yields every page of a list, in order, from where `seen` stands."""
        return walk(lambda asked: self.get(path, asked, history=history), path, params, self.credential.secret, seen)


@dataclass(slots=True, kw_only=True)
class Sessions:
    """The sessions of an account's organizations, by id. Organizations with the same key share one credential."""

    neon: Neon
    keys: Mapping[str, Secret | CredentialsError]
    organizations: Iterable[Organization]
    _credentials: dict[tuple[Path | None, Secret], Credential] = field(default_factory=dict)
    _sessions: dict[str, Session] = field(default_factory=dict)

    def of(self, organization: str) -> Session:
        """The organization's session; raises the CredentialsError that stands in place of its key."""
        if organization not in self._sessions:
            key = self.keys[organization]
            if isinstance(key, CredentialsError):
                raise key
            file = next(row.api_key_file for row in self.organizations if row.id == organization)
            credential = self._credentials.setdefault((file, key), Credential(secret=key, file=file))
            self._sessions[organization] = Session(neon=self.neon, credential=credential)
        return self._sessions[organization]
