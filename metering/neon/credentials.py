"""One organization's way to ask Neon: its key, looked up again once where it is refused, and how much it has asked.

An access token lives for an hour and is rewritten by somebody else, and a key may be exchanged at any moment: what is
refused may be out of date and no more. Organizations with one key share it, and its refusal. Knows no store.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass

from metering.core.errors import CredentialsError
from metering.core.secrets import Secret
from metering.neon.client import Answer, Neon, Seen, walk


@dataclass(slots=True, kw_only=True)
class Key:
    """A key in use. `read` looks where it came from; None where nothing else can come from there."""

    secret: Secret
    read: Callable[[], Secret] | None = None
    refusal: CredentialsError | None = None

    def check(self) -> None:
        """Raises what Neon said of it, where that was no: it is not asked with again."""
        if self.refusal is not None:
            raise self.refusal

    def renew(self, refused: Secret, error: CredentialsError) -> None:
        """Makes the key another than the refused one; raises CredentialsError where there is no other."""
        if self.secret != refused:
            return  # somebody else has looked meanwhile
        try:
            found = self.read() if self.read else refused
        except CredentialsError as unreadable:
            found, error = refused, unreadable
        if found == refused:
            self.refusal = error
            raise error
        self.secret = found


@dataclass(slots=True, kw_only=True)
class Caller:
    """Asks for one organization. Its requests are counted as they are sent, retries too."""

    neon: Neon
    key: Key
    history_requests: int = 0

    async def get(self, path: str, params: Mapping[str, str], *, history: bool = False) -> Answer:
        """As Neon.get. A key that is refused is read again, and the question asked with the new one, once."""
        self.key.check()
        secret = self.key.secret
        try:
            return await self._ask(path, params, secret, history=history)
        except CredentialsError as error:
            self.key.renew(secret, error)
        secret = self.key.secret
        try:
            return await self._ask(path, params, secret, history=history)
        except CredentialsError as error:
            if self.key.secret == secret:
                self.key.refusal = error
            raise

    def walk(
        self, path: str, params: Mapping[str, str], *, history: bool = False, seen: Seen | None = None
    ) -> AsyncGenerator[Answer, None]:
        """As Neon.walk."""
        return walk(lambda asked: self.get(path, asked, history=history), path, params, self.key.secret, seen)

    async def _ask(self, path: str, params: Mapping[str, str], secret: Secret, *, history: bool) -> Answer:
        def count() -> None:
            self.history_requests += history

        return await self.neon.get(path, params, secret, history=history, count=count)
