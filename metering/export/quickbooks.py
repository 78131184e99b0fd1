"""QuickBooks Online's file of invoices: one row per line, the same InvoiceNo on all rows of a document.

Every line is a quantity of 1 at its rounded amount before tax, with its part of the tax beside it; a credit note is a
document below zero. Pure.
"""

from collections.abc import Iterator

from metering.export import csv_file
from metering.export.csv_file import Cell
from metering.export.documents import Book, tax_name
from metering.export.shares import shares

COLUMNS = (
    *("InvoiceNo", "Customer", "InvoiceDate", "DueDate", "Memo", "Item(Product/Service)", "ItemDescription"),
    *("ItemQuantity", "ItemRate", "ItemAmount", "ItemTaxCode", "ItemTaxAmount", "Currency", "ServiceDate"),
)


def file(book: Book) -> str:
    """The CSV file."""
    return csv_file.file(COLUMNS, _rows(book))


def _rows(book: Book) -> Iterator[tuple[Cell, ...]]:
    names = book.names
    for document in book.documents:
        issued = document["issued_at"][:10]
        buyer, reason = csv_file.text(book.customer(document).name), csv_file.text(document.get("reason"))
        head = (document["number"], buyer, issued, (document["due_at"] or issued)[:10], reason)
        for share in shares(document):
            tax_code = tax_name(share.rate, names.quickbooks_tax_code, names.quickbooks_no_tax_code)
            amounts = ("1", share.net_text, share.net_text, tax_code, share.tax_text)
            said = (names.quickbooks_item, csv_file.text(share.said))
            yield (*head, *said, *amounts, document["currency"], share.line["from"][:10])
