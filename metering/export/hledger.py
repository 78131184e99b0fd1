"""An hledger journal: one transaction per document, a posting per line, what is owed on the other side.

Pure. `check --strict` accepts it as it stands once its accounts and commodities are declared.
"""

import re
from collections.abc import Iterator

from metering.core.invoice import Invoice
from metering.core.money import amount_text, minor_units, parse_amount
from metering.core.text import visible
from metering.export.documents import Book, tax_title
from metering.export.shares import payable, shares

_MARKS = re.compile(r"[;|]")
"""What begins a comment or ends a payee."""


def file(book: Book, *, with_accounts: bool = False) -> str:
    """The journal; `with_accounts` also declares accounts and commodities, for a file that stands alone."""
    blocks = ["\n".join(_transaction(book, document)) for document in book.documents]
    if with_accounts and book.documents:
        blocks.insert(0, "\n".join(_declared(book)))
    return "".join(f"{block}\n\n" for block in blocks).removesuffix("\n")


def _declared(book: Book) -> Iterator[str]:
    names = book.names
    for account in sorted({names.receivable_account, names.revenue_account, names.tax_account}):
        yield f"account {account}"
    for currency in sorted({document.currency for document in book.documents}):
        digits = minor_units(currency)
        yield f"commodity {currency} 1,000.{'0' * digits}"


def _transaction(book: Book, document: Invoice) -> Iterator[str]:
    names, currency = book.names, document.currency
    kind = "Credit note" if document.is_credit_note else "Invoice"
    payee, buyer = _text(book.customer(document).name), _tag(document.customer.id)
    title = f"{kind} for {document.period.start[:7]}"
    yield f"{document.issued_on} * ({document.issued_number}) {payee} | {title}  ; customer:{buyer}"
    yield _posting(names.receivable_account, currency, payable(document), _due(document))
    for share in shares(document):
        project = f", project:{_tag(share.project_id)}" if share.project_id else ""
        yield _posting(names.revenue_account, currency, -share.net, f"{_comment(share.said)}{project}")
    for tax in document.taxes:
        yield _posting(names.tax_account, currency, -parse_amount(tax.amount, currency), _comment(tax_title(tax)))


def _due(document: Invoice) -> str:
    return f"due:{document.due_on}" if document.due_on else ""


def _posting(account: str, currency: str, minor: int, comment: str) -> str:
    amount = amount_text(minor, currency)
    return f"    {account}  {currency} {amount}" + (f"  ; {comment}" if comment else "")


def _text(value: str) -> str:
    """Words on one line that begin no comment and end no payee."""
    return _MARKS.sub(",", " ".join(visible(value).split()))


def _comment(value: str) -> str:
    """Words of a comment: without a colon they hold no tag."""
    return _text(value).replace(":", ",")


def _tag(value: str) -> str:
    """A tag's value: it ends at a comma."""
    return _text(value).replace(",", " ")
