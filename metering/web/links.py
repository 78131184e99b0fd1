"""A customer's own link: signed, for one customer and until one moment.

Pure but for the signature. Whoever has the secret can make one, and a new secret ends all of them at once.
"""

import hashlib
from datetime import datetime, timedelta

from itsdangerous import BadData, URLSafeSerializer

from metering.core.errors import CredentialsError, UsageError
from metering.core.ids import canonical
from metering.core.period import parse_time, rfc3339
from metering.core.secrets import Secret

SHORTEST_SECRET = 20
DAYS = 30
"""So long a link lasts where nothing else is asked for."""
MOST_DAYS = 400


def serializer(secret: Secret) -> URLSafeSerializer:
    """What signs and opens them."""
    signer = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeSerializer(secret.reveal(), salt="metering customer link", signer_kwargs=signer)


def refuse_weak(secret: Secret, what: str) -> Secret:
    """The secret; raises CredentialsError for one that could be guessed."""
    if len(secret.reveal()) < SHORTEST_SECRET:
        raise CredentialsError(f"{what} is shorter than {SHORTEST_SECRET} characters", hint="openssl rand -base64 32")
    return secret


def sign(customer: str, until: datetime, secret: Secret) -> str:
    """What the address of the customer's page ends with."""
    return str(serializer(secret).dumps([customer, rfc3339(until)]))


def made(customer: str, now: datetime, days: int, secret: Secret) -> str:
    """`/usage/…`: a link that lasts so many days. Raises UsageError for a number that is no time."""
    if not 1 <= days <= MOST_DAYS:
        raise UsageError(f"a link lasts 1 to {MOST_DAYS} days")
    return f"/usage/{sign(customer, now + timedelta(days=days), secret)}"


def opened(token: str, now: datetime, secret: Secret) -> str | None:
    """The customer that the link was made for; None where it is not ours or is over."""
    try:
        customer, until = serializer(secret).loads(token)
        is_over = parse_time(until) <= now
    except (BadData, ValueError, TypeError, AttributeError):
        return None
    return None if is_over else canonical(str(customer))
