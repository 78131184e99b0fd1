"""Sends invoice items and meter events to Stripe, each once: tries are journalled before, outcomes after.

Stripe forgets an idempotency key after a day. What was tried longer ago without a known outcome is looked for at Stripe
first (items), or left alone and told (meter events, which cannot be looked for). `now` is the real time: Stripe's rules
are of the real world.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from metering.core.errors import MeteringError
from metering.core.period import rfc3339
from metering.export.documents import Book
from metering.export.stripe import form, items
from metering.export.stripe_api import Answer, Stripe
from metering.ledger.ledger import Ledger

Json = dict[str, Any]

AT_ONCE = 50
"""So many are tried between two records; after a crash no more than these are asked again."""
WORKERS = 4
KEY_LIVES = timedelta(hours=23)
"""Stripe keeps a key, and a meter event's identifier, for at least 24 hours."""
OLDEST_EVENT = timedelta(days=35)
_PATHS = {"item": "/v1/invoiceitems", "event": "/v1/billing/meter_events"}


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The outcome of a sending: counts, and what is not done with the reason, sorted by key.

    `left` was not tried, because Stripe did not answer what came before it.
    """

    sent: int = 0
    already: int = 0
    left: int = 0
    refused: list[Json] = field(default_factory=list)
    in_doubt: list[Json] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parcel:
    """One thing to send."""

    key: str
    document: str | None
    customer: str
    params: Json

    @property
    def sha256(self) -> str:
        """The hash of the form as it is sent."""
        return hashlib.sha256(urlencode(form(self.params)).encode()).hexdigest()


def send_items(ledger: Ledger, stripe: Stripe, book: Book, now: datetime) -> Sent:
    """Sends the book's invoice items. A void invoice that never left is left out together with its credit note."""
    known = _known(ledger)
    left_out = _cancelled(book, {row["document"] for row in known.values()})
    kept = [document for document in book.documents if document.number not in left_out]
    parcels = [
        _Parcel(
            key=item["idempotency_key"],
            document=item["params"]["metadata"]["invoice"],
            customer=item["params"]["customer"],
            params=item["params"],
        )
        for item in items(replace(book, documents=kept))
    ]
    return _send(ledger, stripe, "item", parcels, known, now)


def send_events(ledger: Ledger, stripe: Stripe, events: Iterable[Json], now: datetime) -> Sent:
    """Sends meter events. Raises MeteringError where some are older than Stripe takes."""
    parcels = [
        _Parcel(
            key=event["identifier"],
            document=None,
            customer=event["payload"]["stripe_customer_id"],
            params=event,
        )
        for event in events
    ]
    known = _known(ledger)
    oldest = int((now - OLDEST_EVENT).timestamp())
    late = [one for one in parcels if one.params["timestamp"] < oldest and not _is_sent(known.get(one.key))]
    if late:
        raise MeteringError(
            f"{len(late)} of {len(parcels)} events are of before {rfc3339(now - OLDEST_EVENT)}",
            hint="Stripe takes meter events of the last 35 days: send them by then, or send invoice items",
        )
    return _send(ledger, stripe, "event", parcels, known, now)


def _known(ledger: Ledger) -> dict[str, Json]:
    return {row["key"]: row for row in ledger.store.query("export/stripe_sends").iter_rows(named=True)}


def _is_sent(row: Json | None) -> bool:
    return row is not None and row["state"] == "sent"


def _cancelled(book: Book, touched: set[str | None]) -> set[str | None]:
    """Numbers of void invoices of which nothing was ever tried, and of the credit notes that cancel such."""
    return {
        document.number
        for document in book.documents
        if (document.status == "void" and document.number not in touched)
        or (document.is_credit_note and not touched & {document.number, document.credits})
    }


def _send(  # noqa: PLR0913, PLR0917 - what is sent, whither, and what is known of it
    ledger: Ledger, stripe: Stripe, kind: str, parcels: Sequence[_Parcel], known: Mapping[str, Json], now: datetime
) -> Sent:
    due = [one for one in parcels if not _is_sent(known.get(one.key))]
    doubtful = {one.key for one in due if _is_doubtful(known.get(one.key), now)}
    if kind == "item":
        told = _found_again(stripe, [one for one in due if one.key in doubtful], known)
        _record(ledger, told)
    else:
        told = dict.fromkeys(doubtful, Answer(state="unknown", error="tried a day ago or more: look for it at Stripe"))
    ready = [one for one in due if one.key not in told]
    for begin in range(0, len(ready), AT_ONCE):
        answers = _tried(ledger, stripe, kind, ready[begin : begin + AT_ONCE], now)
        told |= answers
        if all(answer.state == "unknown" for answer in answers.values()):
            break
    return Sent(
        sent=sum(answer.state == "sent" for answer in told.values()),
        already=len(parcels) - len(due),
        left=len(due) - len(told),
        refused=_listed(due, told, "refused"),
        in_doubt=_listed(due, told, "unknown"),
    )


def _is_doubtful(row: Json | None, now: datetime) -> bool:
    """Whether it was tried so long ago that Stripe may have forgotten the key."""
    return row is not None and row["first_tried_at"] is not None and now - row["first_tried_at"] >= KEY_LIVES


def _found_again(stripe: Stripe, doubtful: Sequence[_Parcel], known: Mapping[str, Json]) -> dict[str, Answer]:
    """The items among doubtful ones that Stripe turns out to have."""
    out: dict[str, Answer] = {}
    for customer in sorted({one.customer for one in doubtful}):
        mine = [one for one in doubtful if one.customer == customer]
        since = min(known[one.key]["first_tried_at"] for one in mine) - timedelta(days=1)
        there = stripe.items_since(customer, int(since.timestamp()))
        out |= {one.key: Answer(state="sent", remote_id=there[one.key]) for one in mine if one.key in there}
    return out


def _tried(ledger: Ledger, stripe: Stripe, kind: str, batch: Sequence[_Parcel], now: datetime) -> dict[str, Answer]:
    """Journals the attempt, sends, journals what is known of it, whatever happens in between."""
    listed = [{"key": one.key, "document": one.document, "sha256": one.sha256} for one in batch]
    ledger.record("stripe_try", {"kind": kind, "at": rfc3339(now), "items": listed})
    answers: dict[str, Answer] = {}

    def send(one: _Parcel) -> None:
        answers[one.key] = stripe.create(_PATHS[kind], form(one.params), one.key)

    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            for done in [pool.submit(send, one) for one in batch]:
                done.result()
    finally:
        _record(ledger, answers)
    return answers


def _record(ledger: Ledger, answers: Mapping[str, Answer]) -> None:
    """Journals the known outcomes; an unknown outcome stays `tried`."""
    told = [
        {"key": key, "state": answer.state, "remote_id": answer.remote_id, "error": answer.error}
        for key, answer in sorted(answers.items())
        if answer.state != "unknown"
    ]
    if told:
        ledger.record("stripe_told", {"told": told})


def _listed(parcels: Iterable[_Parcel], told: Mapping[str, Answer], state: str) -> list[Json]:
    found = [one for one in parcels if one.key in told and told[one.key].state == state]
    return [
        {"key": one.key, "document": one.document, "customer": one.customer, "error": told[one.key].error}
        for one in sorted(found, key=lambda one: one.key)
    ]
