"""Invoice items and meter events as Stripe's API takes them, each with the key that makes sending it again harmless.

Pure. An item is one line's rounded amount in Stripe's integers, so that our rounding stands; taxes are items of their
own. Knows which customers Stripe does not know of; must not know how anything is sent.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from metering.core.errors import ConfigError, Fault
from metering.core.invoice import Invoice
from metering.core.money import amount_text, minor_units, parse_amount
from metering.core.period import parse_time
from metering.core.rows import Json
from metering.core.text import visible
from metering.export.documents import Book, tax_title
from metering.export.events import event_id
from metering.export.shares import shares

# docs.stripe.com/currencies: digits of its integers that are not 2. ISK and UGX have none, and are sent with 2.
_NO_DIGITS = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"}
)
_THREE_DIGITS = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
LONGEST_TEXT = 500
"""Stripe refuses longer descriptions and metadata."""


def items(book: Book) -> list[Json]:
    """One `{idempotency_key, params}` per line and tax. Raises ConfigError for all customers and amounts at fault."""
    faulty = [fault for document in book.documents for fault in faults(book, document)]
    if faulty:
        raise ConfigError(list(dict.fromkeys(faulty)))
    found = []
    for document in book.documents:
        for key, said, minor, period, more in _amounts(document):
            amount = stripe_amount(minor, document.currency)
            assert amount is not None, "it was seen to be no fault"
            own = item_key(document.issued_number, key)
            params = _params(book, document, said, amount, period, {"metering_key": own, "line": key, **more})
            found.append({"idempotency_key": own, "params": params})
    return found


def faults(book: Book, document: Invoice) -> list[Fault]:
    """Why Stripe would not take a document: it does not know the customer, or has no number for an amount."""
    found = list(_unknown({document.customer.id}, book.stripe_customers))
    for key, _, minor, _, _ in _amounts(document):
        if stripe_amount(minor, document.currency) is None:
            found.append(_inexpressible(document, key, minor))
    return found


def _amounts(document: Invoice) -> Iterator[tuple[str, str, int, tuple[str, str], dict[str, str]]]:
    """(key, words, minor units, period, metadata) of each line before tax, and of each tax that is due."""
    for share in shares(document):
        line = share.line
        names = ("project_id", "plan", "meter", "quantity", "unit")
        more = {name: value for name in names if (value := getattr(line, name)) is not None}
        yield line.key, share.said, share.net, (line.start, line.end), more
    for number, tax in enumerate(document.taxes, start=1):
        said = f"{tax_title(tax)} of {tax.base}"
        period = (document.period.start, document.period.end)
        minor = parse_amount(tax.amount, document.currency)
        if minor:
            yield f"tax/{number}", said, minor, period, {}


def _params(  # noqa: PLR0913, PLR0917 - what an item is made of
    book: Book, document: Invoice, said: str, amount: int, period: tuple[str, str], more: Mapping[str, str]
) -> Json:
    start, end = (int(parse_time(moment).timestamp()) for moment in period)
    metadata = {"invoice": document.issued_number, **more}
    return {
        "customer": book.stripe_customers[document.customer.id],
        "currency": document.currency.lower(),
        "amount": amount,
        "description": _short(f"{document.issued_number}: {said}"),
        "period": {"start": start, "end": end},
        "metadata": {name: _short(value) for name, value in metadata.items()},
    }


def item_key(number: str, line_key: str) -> str:
    """The idempotency key of one line: the same at every attempt, and no other line's."""
    return "metering-item-" + hashlib.sha256(json.dumps([number, line_key]).encode()).hexdigest()[:40]


def stripe_amount(minor: int, currency: str) -> int | None:
    """Stripe's integer for our minor units; None where Stripe has no number for it.

    Amounts of three digits must end in 0 there, so that a payment can be made of them.
    """
    digits = 0 if currency in _NO_DIGITS else 3 if currency in _THREE_DIGITS else 2
    ours = minor_units(currency)
    scaled, rest = divmod(minor * 10**digits, 10**ours)
    return None if rest or (digits == 3 and scaled % 10) else scaled


def _inexpressible(document: Invoice, key: str, minor: int) -> Fault:
    currency = document.currency
    amount = f"{amount_text(minor, currency)} {currency}"
    return Fault(
        where=f"{document.issued_number}, {key}", what=f"Stripe has no number for {amount}", right="bill it elsewhere"
    )


def meter_events(rows: Iterable[Json], stripe_customers: Mapping[str, str]) -> list[Json]:
    """Meter events for rows of events.counted: `identifier` is the event's id. Raises ConfigError for all unmapped."""
    rows = list(rows)
    if unknown := list(_unknown({row["customer"] for row in rows}, stripe_customers)):
        raise ConfigError(unknown)
    return [
        {
            "event_name": row["metric"],
            "payload": {"stripe_customer_id": stripe_customers[row["customer"]], "value": row["value"]},
            "timestamp": int(parse_time(row["start"]).timestamp()),
            "identifier": event_id(row),
        }
        for row in rows
    ]


def _unknown(wanted: Iterable[str], stripe_customers: Mapping[str, str]) -> Iterator[Fault]:
    right = "write its cus_… into the column stripe_customer"
    for name in sorted(set(wanted) - stripe_customers.keys()):
        yield Fault(where=f"customers.csv, {name}", what="is not mapped to a customer of Stripe's", right=right)


def lines(documents: Iterable[Json]) -> str:
    """JSON lines."""
    return "".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n" for one in documents)


def form(params: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The parameters as Stripe's forms spell them: `period[start]`, `metadata[invoice]`."""
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        key = f"{prefix}[{name}]" if prefix else name
        pairs += form(value, key) if isinstance(value, Mapping) else [(key, str(value))]
    return pairs


def _short(text: str) -> str:
    plain = " ".join(visible(text).split())
    return plain if len(plain) <= LONGEST_TEXT else plain[: LONGEST_TEXT - 1] + "…"
