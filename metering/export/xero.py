"""Xero's file of sales invoices: one row per line, the same InvoiceNumber on all rows of a document.

Xero multiplies and adds up again, so every line is a quantity of 1 at its rounded amount before tax, with its part of
the tax beside it. A credit note is a document below zero, which Xero imports as one. Pure.
"""

from collections.abc import Iterator

from metering.core.invoice import Invoice
from metering.export import csv_file
from metering.export.csv_file import Cell
from metering.export.documents import Book, tax_name
from metering.export.shares import Share, shares

COLUMNS = (
    *("*ContactName", "EmailAddress", "POAddressLine1", "POCity", "POPostalCode", "POCountry", "*InvoiceNumber"),
    *("Reference", "*InvoiceDate", "*DueDate", "*Description", "*Quantity", "*UnitAmount", "*AccountCode"),
    *("*TaxType", "TaxAmount", "TrackingName1", "TrackingOption1", "Currency"),
)
"""Those of Xero's template that we fill; the ones with a star must be."""


def file(book: Book) -> str:
    """The CSV file."""
    return csv_file.file(COLUMNS, _rows(book))


def _rows(book: Book) -> Iterator[tuple[Cell, ...]]:
    for document in book.documents:
        head = _head(book, document)
        for share in shares(document):
            yield (*head, *_line(book, document, share))


def _head(book: Book, document: Invoice) -> tuple[Cell, ...]:
    buyer = book.customer(document)
    address = (buyer.street or buyer.address, buyer.city, buyer.postcode, buyer.country)
    issued = document.issued_on
    return (
        *(csv_file.name(value) for value in (buyer.name, buyer.email, *address)),
        document.issued_number,
        document.credits or document.period.start[:7],
        issued,
        document.due_on or issued,
    )


def _line(book: Book, document: Invoice, share: Share) -> tuple[Cell, ...]:
    names = book.names
    return (
        csv_file.name(share.said),
        "1",
        share.net_text,
        names.xero_account_code,
        tax_name(share.rate, names.xero_tax_type, names.xero_no_tax_type),
        share.tax_text,
        "Project" if share.project_id else None,
        csv_file.name(share.project_id),
        document.currency,
    )
