"""Assembles lines, taxes and totals of each customer from charges and time: the drafts of a month.

Knows the shape of an invoice; usage.py and fees.py know the shape of its lines. Must not know where usage came from,
how an invoice is numbered or when it is issued.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import polars as pl
from msgspec.structs import replace

from metering.core.dated_tax import changes
from metering.core.errors import ConfigError, Fault
from metering.core.invoice import Buyer, Covered, Invoice, Line, Span
from metering.core.period import Period, rfc3339
from metering.invoicing.lines import tax, tax_cuts
from metering.invoicing.lines.discount import discount_lines, of_customer
from metering.invoicing.lines.fees import base_fee_lines, minimum_lines
from metering.invoicing.lines.rates import Rates
from metering.invoicing.lines.remainder import remainder
from metering.invoicing.lines.usage import usage_lines

_NO_LINES: Mapping[str, Sequence[Line]] = {}
_NO_CURRENCIES: Mapping[str, str] = {}


def invoices(  # noqa: PLR0913 - time, usage, prices and people are separate facts
    month: Period,
    segments: pl.DataFrame,
    charges: pl.DataFrame,
    card: Rates,
    *,
    as_of: datetime | None = None,
    coverage: Covered | None = None,
    rate_card_sha256: str | None = None,
    corrections: Mapping[str, Sequence[Line]] = _NO_LINES,
    currencies: Mapping[str, str] = _NO_CURRENCIES,
    billed: Mapping[str, Sequence[Line]] = _NO_LINES,
) -> list[Invoice]:
    """Drafts of the month, sorted by customer; `number` and the dates of issue are null.

    By customer: `corrections` are adjustment lines of closed months; `currencies` are needed for customers who have no
    plan any more; `billed` are lines of this month that were billed before, which the drafts do not bill again. A
    customer without lines gets no invoice. Raises ConfigError if a customer would need two currencies.
    """
    by_customer = lines(month, segments, charges, card)
    currency = _currencies(segments, card, currencies)
    _complete(by_customer, currency, card, billed, corrections)
    head = _head(month, coverage, rfc3339(as_of) if as_of else None, rate_card_sha256)
    return [
        _invoice(head, customer, by_customer[customer], currency[customer], card)
        for customer in sorted(by_customer)
        if by_customer[customer]
    ]


def _head(month: Period, coverage: Covered | None, as_of: str | None, rate_card_sha256: str | None) -> Invoice:
    """A draft of the month without a customer."""
    return Invoice(
        number=None,
        status="draft",
        customer=Buyer(id="", name=""),
        currency="",
        period=Span(start=rfc3339(month.start), end=rfc3339(month.end)),
        issued_at=None,
        due_at=None,
        lines=[],
        subtotal="",
        taxes=[],
        total="",
        coverage=coverage,
        as_of=as_of,
        rate_card_sha256=rate_card_sha256,
    )


def _invoice(head: Invoice, customer: str, found: Sequence[Line], currency: str, card: Rates) -> Invoice:
    """The draft of a customer."""
    known = card.customers.get(customer)
    totals = tax.totals(found, currency, card.rounding, is_inclusive=known is not None and known.tax_inclusive)
    return replace(
        head,
        customer=Buyer(id=customer, name=known.name if known else customer),
        currency=currency,
        lines=sorted(found, key=lambda line: line.key),
        tax_inclusive=totals.tax_inclusive,
        subtotal=totals.subtotal,
        taxes=totals.taxes,
        total=totals.total,
    )


def _complete(
    by_customer: dict[str, list[Line]],
    currency: Mapping[str, str],
    card: Rates,
    billed: Mapping[str, Sequence[Line]],
    corrections: Mapping[str, Sequence[Line]],
) -> None:
    """Subtracts what was billed before and adds the corrections, in place."""
    for customer in billed.keys() & by_customer.keys():
        by_customer[customer] = remainder(billed[customer], by_customer[customer], currency[customer], card.rounding)
    for customer, added in corrections.items():
        by_customer.setdefault(customer, []).extend(added)


_ONE_CURRENCY = "an invoice has one currency"


def _currencies(segments: pl.DataFrame, card: Rates, given: Mapping[str, str]) -> dict[str, str]:
    """The currency of every customer. Raises ConfigError with all customers whose plans or own row contradict it."""
    out, conflicting = _one_currency(segments, card, given)
    if conflicting:
        found = conflicting.items()
        raise ConfigError([Fault(where=f"customer {name}", what=what, right=_ONE_CURRENCY) for name, what in found])
    return out


def conflicts(segments: pl.DataFrame, card: Rates, currencies: Mapping[str, str] = _NO_CURRENCIES) -> dict[str, str]:
    """Customers that `invoices` would refuse because of two currencies, each with a sentence that names both."""
    return _one_currency(segments, card, currencies)[1]


def _one_currency(
    segments: pl.DataFrame, card: Rates, given: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The currency of every customer; and for each customer with a second currency, what is in it."""
    out, conflicting = dict(given), {}
    for name, row in card.customers.items():
        if row.currency and out.setdefault(name, row.currency) != row.currency:
            conflicting[name] = f"{name!r} pays in {row.currency}, corrections of closed months are in {out[name]}"
    for customer, plan in segments.select("customer", "plan").unique().sort("customer", "plan").iter_rows():
        currency = card.plans[plan].currency
        if out.setdefault(customer, currency) != currency:
            what = f"plan {plan!r} is in {currency}, other charges of {customer!r} are in {out[customer]}"
            conflicting.setdefault(customer, what)
    return out, conflicting


def lines(month: Period, segments: pl.DataFrame, charges: pl.DataFrame, card: Rates) -> dict[str, list[Line]]:
    """Usage, flat fee, base fee, minimum and discount lines of every customer with their taxes, unsorted."""
    out: dict[str, list[Line]] = defaultdict(list)
    for customer, line in usage_lines(month, segments, charges, card):
        out[customer].append(line)
    for customer, line in base_fee_lines(month, segments, card):
        out[customer].append(line)
    _share(out, month, card)
    for customer, line in list(minimum_lines(month, segments, out, card)):
        out[customer].append(line)
    _share(out, month, card)
    for customer in sorted({discount.customer for discount in card.discounts} & out.keys()):
        currencies = _currencies_of(out[customer], card)
        if len(currencies) == 1:
            given = of_customer(card.discounts, customer, month)
            for line in list(discount_lines(month, out[customer], min(currencies), given, card.rounding)):
                out[customer].append(line)
                _share({customer: out[customer]}, month, card)
    return {customer: tax.taxed(found, card.customers.get(customer)) for customer, found in out.items()}


def _currencies_of(found: Iterable[Line], card: Rates) -> set[str]:
    return {card.plans[line.plan].currency for line in found if line.plan is not None}


def _share(out: Mapping[str, list[Line]], month: Period, card: Rates) -> None:
    """Splits lines that span a change of their customer's tax, in place."""
    for customer, found in out.items():
        row = card.customers.get(customer)
        if row is None or not changes(row, month.start, month.end):
            continue
        currencies = _currencies_of(found, card)
        if len(currencies) == 1:  # with two there is no invoice
            found[:] = tax_cuts.shared(found, row, min(currencies))
