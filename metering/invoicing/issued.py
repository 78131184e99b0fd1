"""Issued invoices and credit notes, read from the store."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import polars as pl

from metering.core.errors import MeteringError
from metering.core.period import Period, month_name
from metering.core.rows import Row
from metering.invoicing import tax
from metering.store.database import Store

Json = dict[str, Any]


class Documents(Sequence[Json]):
    """Issued invoices and credit notes, each decoded when it is looked at: a month may have hundreds of thousands."""

    def __init__(self, found: pl.DataFrame) -> None:
        """`found` has `document`, as it was frozen, and `status`, as it is now."""
        self._found = found

    def __len__(self) -> int:
        return self._found.height

    def __iter__(self) -> Iterator[Json]:
        return map(_shown, self._found.iter_rows(named=True))

    @overload
    def __getitem__(self, place: int) -> Json: ...
    @overload
    def __getitem__(self, place: slice) -> "Documents": ...
    def __getitem__(self, place: int | slice) -> "Json | Documents":
        if isinstance(place, slice):
            return Documents(self._found[place])
        return _shown(self._found.row(place, named=True))


def invoice(store: Store, number: str) -> Json:
    """One issued invoice, or credit note, by its number."""
    found = store.query("invoicing/invoice_by_number", number=number)
    if found.is_empty():
        raise MeteringError(f"no invoice has the number {number!r}", hint="`metering invoices MONTH` lists them")
    return _shown(found.row(0, named=True))


def issued_in(store: Store, period: Period) -> Documents:
    """What was issued for a month, void ones and credit notes too, by customer and number."""
    return Documents(store.query("invoicing/month_invoices", month=month_name(period)))


def _shown(row: Json) -> Json:
    document: Json = json.loads(row["document"])
    return {**document, "status": row["status"]}


def stands(document: Json) -> bool:
    """Whether it is an invoice that is not void."""
    return document["status"] != "void" and document.get("kind") != "credit_note"


def counts_as_revenue(invoice: Row) -> bool:
    """Whether an invoice adds to revenue: neither a void one does, nor the credit note that cancels it."""
    return bool(invoice["status"] != "void" and invoice.get("kind") != "credit_note")


def counted(invoices: Iterable[Row]) -> list[Row]:
    """The invoices that add to revenue."""
    return [invoice for invoice in invoices if counts_as_revenue(invoice)]


def lines_of(invoices: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Every line of the counted invoices before tax, with its invoice's customer and currency."""
    for invoice in counted(invoices):
        for line in tax.lines_before_tax(invoice):
            yield {**line, "customer": invoice["customer"]["id"], "currency": invoice["currency"]}


def written(document: Json) -> bytes:
    """A document as it is frozen."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def frozen_invoice(draft: Json | None, issued: Json) -> str:
    """The document that a draft becomes when it is issued as `issued` was; what `verify` compares byte by byte."""
    if draft is None:
        return ""
    given = {name: issued[name] for name in ("number", "status", "issued_at", "due_at")}
    return written({**draft, **given}).decode()
