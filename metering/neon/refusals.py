"""What an answer other than success means: which may be asked again, and the error that each of the others becomes.

Neon answers 423, 429 and 5xx to requests that may be repeated; 401, 403, 404 and 406 are final. No message holds a key.
"""

from metering.core.errors import CredentialsError, NeonError, PageRefusedError, UnavailableError
from metering.core.secrets import Secret
from metering.core.text import legible
from metering.neon import wire

RETRYABLE = frozenset({408, 423, 425, 429, *range(500, 600)} - {501, 505})
"""Statuses worth a repetition; a gateway has its own above 500, and 501 and 505 will not change."""
NOTHING_HAPPENED = frozenset({423, 503})
"""Statuses after which a change may be repeated: locked by another operation, and unavailable."""


def refused_reading(path: str, status: int, message: str) -> NeonError | CredentialsError:
    """The error of a GET that was answered with a final status."""
    text = f"GET {path} was answered {status}" + (f": {message}" if message else "")
    if status == 401:
        return CredentialsError(text, hint="the key was revoked or mistyped; set a valid one and poll again")
    if status in {403, 404}:
        return UnavailableError(text, status=status, hint="the key may not see it; this is unknown, not zero")
    if status == 406:
        return NeonError(text, status=status, hint="the window lies outside what Neon keeps at this granularity")
    return NeonError(text, status=status)


def refused_change(text: str, status: int) -> NeonError | CredentialsError:
    """The error of a change that Neon refused."""
    if status == 401:
        return CredentialsError(text, hint="the key was revoked or mistyped; set a valid one")
    if status in {403, 404}:
        return UnavailableError(text, status=status, hint="this key may not change it, or it is not there")
    return NeonError(text, status=status)


def message_of(body: bytes, key: Secret) -> str:
    """The message of an error body, short and on one line; empty if the body is not one."""
    try:
        return clean(wire.error_message(body), key)
    except PageRefusedError:
        return ""


def clean(text: str, key: Secret) -> str:
    """Text from the server, fit for a message: without the key, on one line, printable, at most 300 characters."""
    words = " ".join(text.replace(key.reveal(), "***").split())
    return legible(words)[:300]
