"""Signatures of webhooks by the Standard Webhooks specification: keys from a secret, headers of an attempt. Pure."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from metering import __version__
from metering.alerts.targets import Endpoint, Message
from metering.core.errors import CredentialsError


def keys(secret: str) -> tuple[bytes, ...]:
    """The keys of a secret: one `whsec_…`, or several separated by commas or blanks, which all sign.

    Raises CredentialsError unless each is `whsec_` and base64 of 24 to 64 bytes. The message does not repeat it.
    """
    found = tuple(_key(part) for part in re.split(r"[,\s]+", secret.strip()) if part)
    if not found:
        raise CredentialsError("the webhook secret is empty", hint=_SECRET_HINT)
    return found


_SECRET_HINT = "a secret is whsec_ and then base64 of 24 to 64 random bytes"  # noqa: S105 - a sentence, not a secret


def _key(text: str) -> bytes:
    prefix, _, encoded = text.partition("_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        key = b""
    if prefix != "whsec" or not 24 <= len(key) <= 64:
        raise CredentialsError("a webhook secret is malformed", hint=_SECRET_HINT)
    return key


def signature(signing_keys: Sequence[bytes], event_id: str, timestamp: int, body: bytes) -> str:
    """The signature: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`, one per key, separated by blanks."""
    assert "." not in event_id, "a dot would make two different messages sign alike"
    signed = f"{event_id}.{timestamp}.".encode() + body
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in signing_keys)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def headers(endpoint: Endpoint, message: Message, now: datetime) -> dict[str, str]:
    """The headers of one attempt. The id is the same at every attempt; the timestamp is the attempt's."""
    common = {
        "content-type": "application/json",
        "user-agent": f"metering/{__version__}",
        "accept-encoding": "identity",
        **endpoint.headers,
    }
    if not endpoint.keys:
        return common
    timestamp = (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return {
        **common,
        "webhook-id": message.event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(endpoint.keys, message.event_id, timestamp, message.body),
    }
