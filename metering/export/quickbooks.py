"""QuickBooks Online's files of invoices: one row per line, the same InvoiceNo on all rows of a document.

Every line is a quantity of 1 at its rounded amount before tax, with its part of the tax beside it; a credit note is a
document below zero. Pure.
"""

from collections.abc import Iterator
from dataclasses import replace

from metering.export import csv_file
from metering.export.csv_file import Cell
from metering.export.documents import Book, tax_name
from metering.export.shares import shares

COLUMNS = (
    *("InvoiceNo", "Customer", "InvoiceDate", "DueDate", "Memo", "Item(Product/Service)", "ItemDescription"),
    *("ItemQuantity", "ItemRate", "ItemAmount", "ItemTaxCode", "ItemTaxAmount", "Currency", "ServiceDate"),
)


MOST_AT_ONCE = 100
"""QuickBooks Online imports so many invoices from one file."""


def file(book: Book) -> str:
    """One CSV file of all documents."""
    return csv_file.file(COLUMNS, _rows(book))


def files(book: Book) -> list[str]:
    """The CSV files that can be imported one after the other, each of at most MOST_AT_ONCE whole documents."""
    starts = range(0, max(1, len(book.documents)), MOST_AT_ONCE)
    return [file(replace(book, documents=book.documents[start : start + MOST_AT_ONCE])) for start in starts]


def _rows(book: Book) -> Iterator[tuple[Cell, ...]]:
    names = book.names
    for document in book.documents:
        issued = document.issued_on
        buyer, reason = csv_file.name(book.customer(document).name), csv_file.name(document.reason)
        head = (document.issued_number, buyer, issued, document.due_on or issued, reason)
        for share in shares(document):
            tax_code = tax_name(share.rate, names.quickbooks_tax_code, names.quickbooks_no_tax_code)
            amounts = ("1", share.net_text, share.net_text, tax_code, share.tax_text)
            said = (names.quickbooks_item, csv_file.name(share.said))
            yield (*head, *said, *amounts, document.currency, share.line.start[:10])
