"""An invoice, draft or credit note as it is printed, stored and read: one struct for each JSON object in it.

The order of the fields is the order of the keys; a field that has its default is not written. Amounts, prices and
quantities are decimal texts. Pure. Must not know how a figure came about, nor what a document looks like.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import cast

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import fields, replace

from metering.core.printed_texts import CurrencyCode, Figure, InvoiceStatus, Stamp

Printed = dict[str, object]
"""A document, or a part of one, as the JSON object that commands and files show."""

CREDIT_NOTE = "credit_note"
SUPPLEMENT = "supplement"


class Buyer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who pays."""

    id: str
    name: str


class Span(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A half-open time."""

    start: Stamp
    end: Stamp


class Covered(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many of the month's hours were read."""

    hours: int
    covered_hours: int
    complete: bool
    grain: str | None = None


class TaxEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tax on the lines of one rate, name and category, rounded once."""

    name: str
    rate_percent: Figure
    category: str | None = None
    base: Figure
    amount: Figure


class ProjectPart(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a project has in a customer's line."""

    project_id: str
    quantity: str
    amount: str


class End(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the two ends whose difference a line is."""

    quantity: str
    amount: str
    packages: str | None = None


class Shared(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole line that was shared over the taxes of its month: the part goes by `weights`, at `place` from 1."""

    key: str
    start: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    quantity: str
    amount: str
    unit_price: str | None
    weights: list[str]
    place: str


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. Documents of the first version say no tax by line: `tax_rate_percent` is UNSET there."""

    key: str
    kind: str
    project_id: str | None
    plan: str | None
    meter: str | None
    description: str
    start: Stamp = msgspec.field(name="from")
    end: Stamp = msgspec.field(name="to")
    quantity: Figure
    unit: str | None
    unit_price: Figure | None
    amount: Figure
    grain: str | UnsetType | None = UNSET
    package_size: str | None = None
    packages: str | None = None
    basis: dict[str, str] | None = None
    reduced_grain: bool = False
    before: End | None = None
    after: End | None = None
    projects: list[ProjectPart] | None = None
    shared: Shared | None = None
    tax_rate_percent: Figure | UnsetType | None = UNSET
    tax_name: str | UnsetType | None = UNSET
    tax_category: str | None = None
    tax_note: str | None = None

    @property
    def rate(self) -> str | None:
        """The rate of its tax in percent; None where it has none."""
        return self.tax_rate_percent or None

    @property
    def has_said_tax(self) -> bool:
        """Whether it says its tax, be it none."""
        return self.tax_rate_percent is not UNSET


@cache
def _ordered(names: tuple[str, ...]) -> type[Line]:
    """`Line` with its fields in another order, that of the keys in its text."""
    if names == Line.__struct_fields__:
        return Line
    known = {field.name: field for field in fields(Line)}
    made = msgspec.defstruct(
        "Line",
        [
            (name, known[name].type, msgspec.field(name=known[name].encode_name, default=known[name].default))
            for name in names
        ],
        namespace={"rate": Line.rate, "has_said_tax": Line.has_said_tax},
        frozen=True,
        kw_only=True,
        omit_defaults=True,
    )
    return cast("type[Line]", made)


def with_last(line: Line, *names: str) -> Line:
    """The line; in its text these keys come last."""
    kept = (name for name in line.__struct_fields__ if name not in names)
    return _ordered((*kept, *names))(**{name: getattr(line, name) for name in line.__struct_fields__})


def with_first(line: Line, *names: str) -> Line:
    """The line; in its text these keys come first."""
    return with_last(line, *(name for name in line.__struct_fields__ if name not in names))


@cache
def _form(keys: tuple[str, ...]) -> type[Line]:
    """The line that writes these keys in their order."""
    name_of = {field.encode_name: field.name for field in fields(Line)}
    names = [name_of[key] for key in keys if key in name_of]
    order = Line.__struct_fields__
    if names == sorted(names, key=order.index):
        return Line
    return _ordered((*names, *(name for name in order if name not in names)))


class Invoice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A document: an invoice or draft, or by its `kind` a supplement or a credit note."""

    number: str | None
    status: InvoiceStatus
    kind: str | None = None
    supplements: list[str] | None = None
    credits: str | None = None
    reason: str | None = None
    customer: Buyer
    currency: CurrencyCode
    period: Span
    issued_at: Stamp | None
    due_at: Stamp | None
    lines: list[Line]
    tax_inclusive: bool = False
    subtotal: Figure
    taxes: list[TaxEntry]
    total: Figure
    coverage: Covered | None
    as_of: Stamp | None
    rate_card_sha256: str | None

    @property
    def is_credit_note(self) -> bool:
        """Whether it cancels an invoice; its amounts are below zero then."""
        return self.kind == CREDIT_NOTE

    @property
    def issued_number(self) -> str:
        """The number of a document that is issued."""
        assert self.number is not None, "a draft has no number"
        return self.number

    @property
    def issued_on(self) -> str:
        """The day of issue of a document that is issued."""
        assert self.issued_at is not None, "a draft is not issued"
        return self.issued_at[:10]

    @property
    def due_on(self) -> str | None:
        """The day on which it is due; a credit note never is."""
        return self.due_at and self.due_at[:10]

    @property
    def stands(self) -> bool:
        """Whether it adds to revenue: neither a void invoice does, nor the credit note that cancels it."""
        return self.status != "void" and not self.is_credit_note

    @property
    def says_taxes(self) -> bool:
        """Whether every line says its tax."""
        return all(line.has_said_tax for line in self.lines)


def by_project(lines: Iterable[Line]) -> Iterator[Line]:
    """Every line that is a project's, and the parts that projects have in the customer's lines."""
    for line in lines:
        if line.projects is not None:
            for part in line.projects:
                yield replace(line, project_id=part.project_id, quantity=part.quantity, amount=part.amount)
        elif line.project_id is not None:
            yield line


decoded = msgspec.json.Decoder(Invoice).decode
"""A stored document; keys that this version does not know are left out."""


def converted(document: Mapping[str, object]) -> Invoice:
    """The document of a JSON object."""
    return msgspec.convert(document, Invoice)


class _Rows(Struct):
    lines: list[dict[str, object]]


def in_order(document: Mapping[str, object]) -> Invoice:
    """The document of a JSON object; its lines, written again, have their keys in the order of that object."""
    rows = msgspec.convert(document, _Rows).lines
    return replace(converted(document), lines=[msgspec.convert(row, _form(tuple(row))) for row in rows])


encoded = msgspec.json.Encoder().encode
"""A document as it is stored."""


def printed(part: Struct) -> Printed:
    """A document, or a part of one, as its JSON object."""
    return cast("Printed", msgspec.to_builtins(part))
