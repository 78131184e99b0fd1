"""Signed links for customers: each is for one customer and ends at one moment.

The secret makes and checks links; a new secret invalidates all of them.
"""

import hashlib
from datetime import datetime, timedelta

from itsdangerous import BadData, URLSafeSerializer

from metering.core.errors import CredentialsError, UsageError
from metering.core.ids import canonical
from metering.core.period import parse_time, rfc3339
from metering.core.secrets import Secret

SHORTEST_SECRET = 20
MOST_DAYS = 400


def serializer(secret: Secret) -> URLSafeSerializer:
    """The serializer that signs and verifies links."""
    signer = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeSerializer(secret.reveal(), salt="metering customer link", signer_kwargs=signer)


def refuse_weak(secret: Secret, what: str) -> Secret:
    """Returns the secret; raises CredentialsError where it could be guessed."""
    if len(secret.reveal()) < SHORTEST_SECRET:
        raise CredentialsError(f"{what} is shorter than {SHORTEST_SECRET} characters", hint="openssl rand -base64 32")
    return secret


def sign(customer: str, until: datetime, secret: Secret) -> str:
    """The signed last part of the address of the customer's page."""
    return str(serializer(secret).dumps([customer, rfc3339(until)]))


def made(customer: str, now: datetime, days: int, secret: Secret) -> str:
    """The path `/usage/…` of a link for so many days. Raises UsageError for an invalid number of days."""
    if not 1 <= days <= MOST_DAYS:
        raise UsageError(f"a link lasts 1 to {MOST_DAYS} days")
    return f"/usage/{sign(customer, now + timedelta(days=days), secret)}"


def opened(token: str, now: datetime, secret: Secret) -> str | None:
    """The customer of the link; None where the signature is wrong or the link has expired."""
    try:
        customer, until = serializer(secret).loads(token)
        is_over = parse_time(until) <= now
    except (BadData, ValueError, TypeError, AttributeError):
        return None
    return None if is_over else canonical(str(customer))
