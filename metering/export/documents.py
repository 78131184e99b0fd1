"""The exportable documents of a month: what was issued, with buyer and seller.

Reads the store and the configuration, writes nothing. Accounting gets final documents only; drafts are included
only where a caller asks for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metering.billing.month import Month
from metering.config import Config, ExportsConfig, SellerConfig
from metering.core.errors import MeteringError
from metering.core.invoice import Invoice, TaxEntry
from metering.core.parties import Customer
from metering.invoicing.closing import month_invoices
from metering.invoicing.issued import Document, issued_in
from metering.invoicing.printed.paper import Papers, papers


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The documents of a month, sorted by customer and number."""

    documents: Sequence[Invoice]
    papers: Papers
    names: ExportsConfig
    stripe_customers: Mapping[str, str] = field(default_factory=dict)
    """Customer -> what Stripe calls it today."""

    def customer(self, document: Invoice) -> Customer:
        """Who pays a document, as it was issued."""
        return self.papers.of(document).customer(document)

    def seller(self, document: Invoice) -> SellerConfig:
        """Who issued a document."""
        return self.papers.of(document).seller


def book(
    month: Month, config: Config, *, with_drafts: bool = False, number: str | None = None, only: str | None = None
) -> Book:
    """The month's book; `only` takes its `invoices` or its `credit_notes`, `number` one document alone.

    Raises MeteringError where the month has none of that number.
    """
    found: Sequence[Document] = issued_in(month.recorded.store, month.period)
    if with_drafts:
        found = month_invoices(month).documents
    documents = [document for one in found if number in {None, (document := one.invoice).number}]
    if number is not None and not documents:
        raise MeteringError(f"no document of the month has the number {number!r}", hint="see: metering invoices MONTH")
    if only is not None:
        documents = [document for document in documents if document.is_credit_note == (only == "credit_notes")]
    known = papers(month.recorded.store, config, month.period)
    return Book(
        documents=sorted(documents, key=lambda document: (document.customer.id, document.number or "")),
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


def tax_title(tax: TaxEntry) -> str:
    """An entry of a document's taxes in words: `VAT 21 %`."""
    return f"{tax.name} {tax.rate_percent} %"


def tax_name(rate: str, taxed: str, untaxed: str) -> str:
    """What another system calls the tax of a line; `{rate}` in its name is filled in."""
    return taxed.replace("{rate}", rate) if rate.strip("0.") else untaxed
