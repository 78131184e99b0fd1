"""Issued invoices and credit notes, read from the store."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import msgspec
import polars as pl

from metering.core.errors import MeteringError
from metering.core.invoice import Invoice, Printed, converted, decoded
from metering.core.period import Period, month_name
from metering.core.rows import Row
from metering.invoicing.lines import tax
from metering.store.database import Store

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is written, and its status as it is now."""

    text: str
    status: str

    @property
    def invoice(self) -> Invoice:
        """What the document says, for those who compute with it."""
        found = decoded(self.text)
        return found if found.status == self.status else msgspec.structs.replace(found, status=self.status)

    def printed(self) -> Printed:
        """The JSON object as it was written, with the status of now."""
        return {**json.loads(self.text), "status": self.status}


class Documents(Sequence[Document]):
    """Issued invoices and credit notes, each made when it is looked at: a month may have hundreds of thousands."""

    def __init__(self, found: pl.DataFrame) -> None:
        """`found` has `document`, as it was frozen, and `status`, as it is now."""
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
    """What was issued for a month, void ones and credit notes too, by customer and number."""
    return Documents(store.query("invoicing/month_invoices", month=month_name(period)))


def read(documents: Iterable[Document]) -> Iterator[Invoice]:
    """What the documents say, one after the other."""
    return (document.invoice for document in documents)


def standing(documents: Iterable[Document]) -> Iterator[Invoice]:
    """The invoices that are not void."""
    return (invoice for invoice in read(documents) if invoice.stands)


def counts_as_revenue(invoice: Row) -> bool:
    """Whether an invoice adds to revenue: neither a void one does, nor the credit note that cancels it."""
    return bool(invoice["status"] != "void" and invoice.get("kind") != "credit_note")


def counted(invoices: Iterable[Row]) -> list[Row]:
    """The invoices that add to revenue."""
    return [invoice for invoice in invoices if counts_as_revenue(invoice)]


def lines_of(invoices: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Every line of the counted invoices before tax, with its invoice's customer and currency."""
    for invoice in counted(invoices):
        lines = invoice["lines"]
        if invoice.get("tax_inclusive"):
            lines = msgspec.to_builtins(tax.lines_before_tax(converted(invoice)))
        for line in lines:
            yield {**line, "customer": invoice["customer"]["id"], "currency": invoice["currency"]}


def as_document(draft: Json) -> Document:
    """A draft as a document."""
    return Document(written(draft).decode(), draft["status"])


def written(document: Json) -> bytes:
    """A document as it is frozen."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def frozen_invoice(draft: Json | None, issued: Json) -> str:
    """The document that a draft becomes when it is issued as `issued` was; what `verify` compares byte by byte."""
    if draft is None:
        return ""
    given = {name: issued[name] for name in ("number", "status", "issued_at", "due_at")}
    return written({**draft, **given}).decode()
