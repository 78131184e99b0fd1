"""Factur-X: an invoice on paper (PDF/A-3) that carries the same invoice as XML.

The XML is einvoice.py's, the page documents.py's; the library factur-x puts one into the other. The time of day that it
writes into the file is replaced with the document's own, so that the same invoice is the same bytes.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from metering.billing.month import Month
from metering.config import Config
from metering.core.invoice import Invoice
from metering.export import einvoice
from metering.export.documents import Book
from metering.invoicing.issued import issued_in
from metering.invoicing.printed.documents import invoice_pdf, made_at
from metering.invoicing.printed.printing import background
from metering.rendering.typeset import Typesetter

_XMP_TIME = re.compile(rb"(<xmp:(?:Create|Modify)Date>)[^<]{25}")
_PDF_TIME = re.compile(rb"(Date \(D\\072)[0-9]{14}")


def writer(book: Book, month: Month, config: Config) -> Callable[[Invoice], bytes]:
    """Turns documents of the book into PDFs, one after the other. Raises MeteringError for one that cannot be."""
    found = background(month, config, issued_in(month.recorded.store, month.period), book.papers)
    typesetter = Typesetter(found.fonts)

    def file(document: Invoice) -> bytes:
        xml = einvoice.file(book, document, "cii")
        page = invoice_pdf(document, found, typesetter)
        return _dated(_embedded(page, xml, document, book.seller(document).name), made_at(document))

    return file


def _embedded(page: bytes, xml: bytes, document: Invoice, seller: str) -> bytes:
    from facturx import generate_from_binary  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra

    kind = "Credit note" if document.is_credit_note else "Invoice"
    title = f"{kind} {document.issued_number}"
    told = {"author": seller, "keywords": "Factur-X", "title": title, "subject": f"{title} of {seller}"}
    made: bytes = generate_from_binary(
        page,
        xml,
        flavor="factur-x",
        level="en16931",
        check_xsd=False,
        pdf_metadata=told,
        lang="en",
        afrelationship="alternative",
        xmp_compression=False,
    )
    return made


def _dated(pdf: bytes, moment: datetime) -> bytes:
    """The file with this moment in place of the times of day, which are as long."""
    utc = moment.astimezone(UTC)
    dated = _XMP_TIME.sub(rb"\g<1>" + f"{utc:%Y-%m-%dT%H:%M:%S}+00:00".encode(), pdf)
    return _PDF_TIME.sub(rb"\g<1>" + f"{utc:%Y%m%d%H%M%S}".encode(), dated)
