"""The exportable documents of a month: what was issued, with buyer and seller.

Reads the store and the configuration, writes nothing. Accounting gets final documents only; drafts are included
only where a caller asks for them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metering.billing.month import Month
from metering.config.exports import ExportsConfig
from metering.config.models import Config, SellerConfig
from metering.core.errors import MeteringError
from metering.core.parties import Customer
from metering.core.period import month_name
from metering.invoicing.closing import month_invoices
from metering.invoicing.paper import Papers, papers

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The documents of a month (invoice objects of the public interface), sorted by customer and number."""

    documents: Sequence[Json]
    papers: Papers
    names: ExportsConfig
    stripe_customers: Mapping[str, str] = field(default_factory=dict)
    """Customer -> what Stripe calls it today."""

    def customer(self, document: Json) -> Customer:
        """Who pays a document, as it was issued."""
        return self.papers.of(document).customer(document)

    def seller(self, document: Json) -> SellerConfig:
        """Who issued a document."""
        return self.papers.of(document).seller


def book(
    month: Month, config: Config, *, with_drafts: bool = False, number: str | None = None, only: str | None = None
) -> Book:
    """The month's book; `only` takes its `invoices` or its `credit_notes`, `number` one document alone.

    Raises MeteringError where the month has none of that number.
    """
    found = issued(month)
    if with_drafts:
        found = month_invoices(month.store, config, month.period, month.now)["invoices"]
    documents = [document for document in found if number in {None, document["number"]}]
    if number is not None and not documents:
        raise MeteringError(f"no document of the month has the number {number!r}", hint="see: metering invoices MONTH")
    if only is not None:
        documents = [document for document in documents if is_credit_note(document) == (only == "credit_notes")]
    known = papers(month.store, config, month.period)
    return Book(
        documents=sorted(documents, key=lambda document: (document["customer"]["id"], document["number"] or "")),
        papers=known,
        names=config.exports,
        stripe_customers=stripe_customers(known),
    )


def stripe_customers(known: Papers) -> dict[str, str]:
    """Customer -> its Stripe id today; for those whose row of customers.csv is gone, its id at the close."""
    rows: dict[str, Customer] = {}
    for found in (*(closed.paper for closed in known.closings.values()), known.today):
        rows |= found.customers
    return {name: row.stripe_customer for name, row in rows.items() if row.stripe_customer}


def issued(month: Month) -> list[Json]:
    """All documents issued for the month: invoices, void ones too, and credit notes."""
    rows = month.store.query("invoicing/month_invoices", month=month_name(month.period)).iter_rows(named=True)
    return [{**json.loads(row["document"]), "status": row["status"]} for row in rows]


def is_credit_note(document: Json) -> bool:
    """Whether it cancels an invoice; its amounts are below zero then."""
    return document.get("kind") == "credit_note"


def tax_title(tax: Json) -> str:
    """An entry of a document's taxes in words: `VAT 21 %`."""
    return f"{tax['name']} {tax['rate_percent']} %"


def tax_name(rate: str, taxed: str, untaxed: str) -> str:
    """What another system calls the tax of a line; `{rate}` in its name is filled in."""
    return taxed.replace("{rate}", rate) if rate.strip("0.") else untaxed
