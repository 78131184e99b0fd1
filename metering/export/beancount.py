"""A beancount journal: one transaction per document, a posting per line, what is owed on the other side.

Pure. Amounts are the invoice's, so that every transaction balances without a rounding account; credit notes are
transactions with the other sign.
"""

import re
from collections.abc import Iterator

from metering.core.invoice import Invoice
from metering.core.money import amount_text, parse_amount
from metering.core.text import visible
from metering.export.documents import Book, tax_title
from metering.export.shares import payable, shares

_LINK = re.compile(r"[A-Za-z0-9\-_/.]+")


def file(book: Book, *, with_accounts: bool = False) -> str:
    """The journal; `with_accounts` also opens the accounts, for a file that stands alone."""
    blocks = ["\n".join(_transaction(book, document)) for document in book.documents]
    if with_accounts and book.documents:
        first = min(document.issued_on for document in book.documents)
        names = book.names
        accounts = (names.receivable_account, names.revenue_account, names.tax_account)
        blocks.insert(0, "\n".join(f"{first} open {account}" for account in sorted(set(accounts))))
    return "".join(f"{block}\n\n" for block in blocks).removesuffix("\n")


def _transaction(book: Book, document: Invoice) -> Iterator[str]:
    names, currency = book.names, document.currency
    link = f" ^{document.issued_number}" if _LINK.fullmatch(document.issued_number) else ""
    kind = "Credit note" if document.is_credit_note else "Invoice"
    title = f"{kind} {document.issued_number} for {document.period.start[:7]}"
    yield f"{document.issued_on} * {_text(book.customer(document).name)} {_text(title)}{link}"
    yield f"  invoice: {_text(document.issued_number)}"
    yield f"  customer: {_text(document.customer.id)}"
    if document.due_on:
        yield f"  due: {document.due_on}"
    yield f"  {names.receivable_account}  {amount_text(payable(document), currency)} {currency}"
    for share in shares(document):
        yield f"  {names.revenue_account}  {amount_text(-share.net, currency)} {currency}"
        yield f"    description: {_text(share.said)}"
        yield f"    plan: {_text(share.line.plan or '')}"
        if share.line.meter:
            yield f"    meter: {_text(share.line.meter)}"
        if share.project_id:
            yield f"    project: {_text(share.project_id)}"
    for tax in document.taxes:
        yield f"  {names.tax_account}  {amount_text(-parse_amount(tax.amount, currency), currency)} {currency}"
        yield f"    tax: {_text(tax_title(tax))}"


def _text(value: str) -> str:
    """A string on one line: without control characters and direction marks, quotes and backslashes escaped."""
    plain = " ".join(visible(value).split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'
