"""Secrets: read from the environment or from a private file, never shown.

Knows how a key is kept safely; knows nothing of what it gives access to.
"""

import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from metering.core.errors import CredentialsError

_MOST_BYTES = 16_384
_GROUP_MAY_READ = 0o040
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""What systemd calls the directory of a unit's credentials; they may be readable by the unit's group."""


class Secret:
    """A key that prints, formats, compares and pickles as `***`; only `reveal` gives it away."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The key itself: for the one place that sends or signs with it."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __format__(self, _spec: str) -> str:
        return "***"

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        return Secret, ("***",)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(Secret)


def secret(env_name: str | None, file_path: Path | None, environ: Mapping[str, str]) -> Secret:
    """The secret that an environment variable or a private file holds, without the newline at its end.

    Raises CredentialsError where it is missing, empty, not one line of ASCII, or readable by group or others; systemd's
    credentials and files on a read-only mount, as Kubernetes hands them over, may be readable by their group.
    """
    assert (env_name is None) != (file_path is None), "config.read lets exactly one of the two through"
    if file_path is not None:
        directory = environ.get(_CREDENTIALS)
        return _checked(_private_text(file_path, Path(directory) if directory else None), f"the file {file_path}")
    text = environ.get(env_name or "")
    if text is None:
        raise CredentialsError(
            f"the environment variable {env_name} is not set", hint=f"export {env_name}=… before the command"
        )
    return _checked(text, f"the environment variable {env_name}")


def _checked(text: str, source: str) -> Secret:
    text = text.rstrip("\r\n")
    if not text.strip():
        raise CredentialsError(f"{source} is empty", hint="put the key there, and nothing else")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise CredentialsError(f"{source} does not hold one key alone", hint="put the key there, and nothing else")
    return Secret(text)


def _private_text(path: Path, credentials: Path | None) -> str:
    # The open file is examined, not its name, so that nobody can exchange it in between. A symbolic link is followed.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise CredentialsError(f"{path} does not exist", hint="put the key into it, then chmod 600") from None
    except OSError as error:
        raise CredentialsError(f"{path} cannot be read: {error.strerror}", hint=f"see: ls -l {path}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CredentialsError(f"{path} is not a regular file", hint="name a file that holds the key")
        is_mounted = bool(os.fstatvfs(descriptor).f_flag & os.ST_RDONLY)
        if status.st_mode & 0o077 & ~(_GROUP_MAY_READ if is_mounted or _is_below(path, credentials) else 0):
            hint = f"mount {path} with mode 0440 (Kubernetes: defaultMode)" if is_mounted else f"chmod 600 {path}"
            raise CredentialsError(f"{path} can be read by group or others", hint=hint)
        return os.read(descriptor, _MOST_BYTES).decode("utf-8-sig", errors="replace")
    finally:
        os.close(descriptor)


def _is_below(path: Path, directory: Path | None) -> bool:
    return directory is not None and path.resolve().is_relative_to(directory.resolve())
