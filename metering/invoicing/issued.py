"""Issued invoices and credit notes, read from the store."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import msgspec
import polars as pl

from metering.core.errors import MeteringError
from metering.core.invoice import Invoice, Printed, decoded, encoded
from metering.core.period import Period, month_name
from metering.store.database import Store


@dataclass(frozen=True, slots=True)
class Document:
    """The stored text of a document, and its current status."""

    text: str
    status: str

    @property
    def invoice(self) -> Invoice:
        """The document as a struct, with its current status."""
        found = decoded(self.text)
        return found if found.status == self.status else msgspec.structs.replace(found, status=self.status)

    def printed(self) -> Printed:
        """The JSON object as it was stored, with the current status."""
        return {**json.loads(self.text), "status": self.status}


class Documents(Sequence[Document]):
    """A lazy sequence of issued invoices and credit notes: a month may have hundreds of thousands."""

    def __init__(self, found: pl.DataFrame) -> None:
        """`found` has the columns `document` (the stored text) and `status` (the current one)."""
        self._found = found.select("document", "status")

    def __len__(self) -> int:
        return self._found.height

    def __iter__(self) -> Iterator[Document]:
        return (Document(*row) for row in self._found.iter_rows())

    @overload
    def __getitem__(self, place: int) -> Document: ...
    @overload
    def __getitem__(self, place: slice) -> "Documents": ...
    def __getitem__(self, place: int | slice) -> "Document | Documents":
        return Documents(self._found[place]) if isinstance(place, slice) else Document(*self._found.row(place))


def invoice(store: Store, number: str) -> Document:
    """One issued invoice, or credit note, by its number."""
    found = store.query("invoicing/invoice_by_number", number=number)
    if found.is_empty():
        raise MeteringError(f"no invoice has the number {number!r}", hint="`metering invoices MONTH` lists them")
    return Documents(found)[0]


def issued_in(store: Store, period: Period) -> Documents:
    """All documents issued for a month, including void ones and credit notes, by customer and number."""
    return Documents(store.query("invoicing/month_invoices", month=month_name(period)))


def read(documents: Iterable[Document]) -> Iterator[Invoice]:
    """The documents as structs."""
    return (document.invoice for document in documents)


def standing(documents: Iterable[Document]) -> Iterator[Invoice]:
    """The invoices that are not void."""
    return (invoice for invoice in read(documents) if invoice.stands)


def as_document(draft: Invoice) -> Document:
    """A draft as a document."""
    return Document(encoded(draft).decode(), draft.status)


def as_issued(draft: Invoice, like: Invoice) -> str:
    """The text of a draft with the number and dates of an issued document; `verify` compares the two byte by byte."""
    given = {name: getattr(like, name) for name in ("number", "status", "issued_at", "due_at")}
    return encoded(msgspec.structs.replace(draft, **given)).decode()
