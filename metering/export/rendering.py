"""Renders one export: reads what the format needs from the store and the configuration, returns its bytes.

Writes nothing. FORMATS is the one list of formats: what each takes, what writes it, and what it cannot
express.
"""

import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache, partial

from metering.billing import cost
from metering.billing.month import Month
from metering.config import Config
from metering.core.errors import Fault, MeteringError, UsageError
from metering.core.invoice import Invoice
from metering.core.period import month_name, rfc3339
from metering.core.rows import Json
from metering.export import (
    beancount,
    documents,
    einvoice,
    events,
    facturx,
    focus,
    focus_columns,
    hledger,
    quickbooks,
    stripe,
    xero,
)
from metering.export.documents import Book
from metering.invoicing.printed.paper import Papers, papers
from metering.invoicing.rated_month import RatedMonth

_ORDER = ("organization", "project_id", "start", "end", "metric")
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The request for an export: `form` is a key of FORMATS, `suffix` the file's ending: `.parquet`, `.zip`, `.pdf`."""

    form: str
    suffix: str = ""
    number: str | None = None
    only: str | None = None
    with_drafts: bool = False
    is_cost: bool = False
    is_events: bool = False
    with_accounts: bool = False
    by: str = "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A document that a format cannot express, and why."""

    number: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """An export's bytes, and the documents that are not in it.

    `parts` are the files that it comes in where the importer does not take all at once; `content` is empty then.
    """

    content: bytes
    refused: Sequence[Refused] = ()
    parts: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format: the options that it takes, what writes it, and what it cannot express of a document."""

    options: frozenset[str]
    write: Callable[[Month, Config, Wanted], Rendered]
    faults: Callable[[Book, Invoice], Iterable[Fault]] | None = None


def render(month: Month, config: Config, wanted: Wanted) -> Rendered:
    """The export; equal facts give equal bytes. A document that the format cannot express never stops the others."""
    return FORMATS[wanted.form].write(month, config, wanted)


def book(month: Month, config: Config, wanted: Wanted) -> Book:
    """The documents that are wanted."""
    return documents.book(month, config, with_drafts=wanted.with_drafts, number=wanted.number, only=wanted.only)


def sifted(found: Book, form: str) -> tuple[Book, list[Refused]]:
    """The book without the documents that the format cannot express, and those."""
    faults_of = FORMATS[form].faults
    if faults_of is None:
        return found, []
    sound, refused = [], []
    for document in found.documents:
        if faults := list(dict.fromkeys(faults_of(found, document))):
            refused.append(Refused(number=document.number or "", reason="; ".join(map(str, faults))))
        else:
            sound.append(document)
    return replace(found, documents=sound), refused


def meter_events(month: Month, config: Config, wanted: Wanted) -> list[Json]:
    """The month's meter events for Stripe."""
    known = papers(month.recorded.store, config, month.period)
    return stripe.meter_events(_counted(month, known, wanted), documents.stripe_customers(known))


def _counted(month: Month, known: Papers, wanted: Wanted) -> list[Json]:
    """The month's events, each for the customer that its bucket was billed to, by the terms of its closing."""
    if not known.closings:
        return events.counted(month, wanted.by)
    waiting = set(month.recorded.store.query("invoicing/pending_customers", month=month_name(month.period))["customer"])
    out: dict[str, Json] = {}
    for seq, closed in known.closings.items():
        for row in events.counted(replace(month, terms=closed.terms), wanted.by):
            if row["customer"] not in waiting and known.home(row["customer"]) == seq:
                out.setdefault(events.event_id(row), row)
    if waiting:
        own = (row for row in events.counted(month, wanted.by) if row["customer"] in waiting)
        out = {events.event_id(row): row for row in own} | out
    return sorted(out.values(), key=lambda row: [row[name] for name in _ORDER])


def _names(month: Month, found: Book) -> Callable[[Invoice], Mapping[str, str | None]]:
    """The names of a document's projects, as they were known at its closing."""

    @cache
    def known(as_of_seq: int) -> Mapping[str, str | None]:
        return replace(month, recorded=month.recorded.at(as_of_seq)).projects.names()

    def names(document: Invoice) -> Mapping[str, str | None]:
        closed = found.papers.closing(document)
        return known(month.recorded.as_of_seq if closed is None else closed.as_of_seq)

    return names


def neon_costs(month: Month) -> list[focus_columns.Row]:
    """What Neon charges us for the month, as FOCUS rows."""
    prices: dict[str, set[Decimal]] = {}
    for plan in cost.price_list():
        for price in plan.prices:
            found = [price.unit_price, *(tier.unit_price for tier in price.tiers)]
            prices.setdefault(price.meter, set()).update(one for one in found if one is not None)
    period = (rfc3339(month.period.start), rfc3339(month.period.end))
    status = "open" if month.is_open else "computed"
    return focus.costs(month.cost.rows, prices, period, month.projects.names(), status)


def _focus(month: Month, config: Config, wanted: Wanted) -> Rendered:
    """FOCUS: the documents' lines, or with `is_cost` what Neon charges."""
    if wanted.is_cost:
        rated = RatedMonth(recorded=month.recorded, config=config, period=month.period, now=month.now)
        rows = neon_costs(rated.whole)
    else:
        found = book(month, config, wanted)
        rows = focus.charges(found, _names(month, found))
    is_parquet = wanted.suffix == ".parquet"
    return Rendered(content=focus_columns.parquet_bytes(rows) if is_parquet else focus_columns.csv_text(rows).encode())


def _stripe(month: Month, config: Config, wanted: Wanted) -> Rendered:
    """Stripe's invoice items, or with `is_events` its meter events."""
    if wanted.is_events:
        return Rendered(content=stripe.lines(meter_events(month, config, wanted)).encode())
    return _texts(lambda found, _: [stripe.lines(stripe.items(found))], month, config, wanted)


def _events(write: Callable[[list[Json]], str], month: Month, config: Config, wanted: Wanted) -> Rendered:
    """The month's usage as events."""
    return Rendered(content=write(_counted(month, papers(month.recorded.store, config, month.period), wanted)).encode())


def _texts(files: Callable[[Book, Wanted], list[str]], month: Month, config: Config, wanted: Wanted) -> Rendered:
    """The documents as text: most formats come in one file, whatever the month has."""
    found, refused = sifted(book(month, config, wanted), wanted.form)
    return _in_parts([text.encode() for text in files(found, wanted)], refused, wanted)


def _in_parts(parts: list[bytes], refused: Sequence[Refused], wanted: Wanted) -> Rendered:
    """The only part as it is; several as files of their own, or in a ZIP."""
    if len(parts) == 1:
        return Rendered(content=parts[0], refused=refused)
    if wanted.suffix != ".zip":
        return Rendered(content=b"", refused=refused, parts=parts)
    named = [(f"{wanted.form}-{number}.csv", part) for number, part in enumerate(parts, start=1)]
    return Rendered(content=_one_or_zip(named, wanted.suffix), refused=refused)


def _refuse_many(found: Sequence[Invoice], refused: int, suffix: str) -> None:
    """Several documents go into a ZIP only."""
    if suffix != ".zip" and len(found) + refused > 1:
        hint = "write -o FILE.zip for all of them, or --number NUMBER for one"
        raise UsageError(f"the month has {len(found) + refused} documents, one file each", hint=hint)


def _einvoices(month: Month, config: Config, wanted: Wanted) -> Rendered:
    """A file per document; several go into a ZIP."""
    found, refused = sifted(book(month, config, wanted), wanted.form)
    _refuse_many(found.documents, len(refused), wanted.suffix)
    files, failed = _einvoice_files(found, month, config, wanted)
    refused += failed
    return Rendered(content=_one_or_zip(files, wanted.suffix) if files or not refused else b"", refused=refused)


def _einvoice_files(
    found: Book, month: Month, config: Config, wanted: Wanted
) -> tuple[list[tuple[str, bytes]], list[Refused]]:
    """(file name, content) of each; a document's number is letters, digits, dots, dashes and underscores."""
    is_pdf = wanted.form == "facturx" and wanted.suffix in {".pdf", ".zip"}
    syntax = "ubl" if wanted.form == "ubl" else "cii"
    einvoice.generator(syntax)
    if is_pdf and found.documents:
        write = facturx.writer(found, month, config)
    else:
        write = partial(einvoice.file, found, syntax=syntax)
    files, failed = [], []
    for one in found.documents:
        try:
            files.append((f"{one.number}.{'pdf' if is_pdf else 'xml'}", write(one)))
        except MeteringError as error:
            failed.append(Refused(number=one.number or "", reason=str(error)))
    return files, failed


def _one_or_zip(found: Sequence[tuple[str, bytes]], suffix: str) -> bytes:
    """The only file as it is (nothing where there is none), or a ZIP of all that is the same whenever it is made."""
    if suffix != ".zip":
        return found[0][1] if found else b""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in sorted(found):
            entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
            archive.writestr(entry, content)
    return out.getvalue()


_NUMBER = frozenset({"number"})
FORMATS: Mapping[str, Format] = {
    "focus": Format(options=_NUMBER | {"drafts", "cost"}, write=_focus),
    "stripe": Format(options=_NUMBER | {"events", "by", "send"}, write=_stripe, faults=stripe.faults),
    "xero": Format(options=_NUMBER | {"only"}, write=partial(_texts, lambda found, _: [xero.file(found)])),
    "quickbooks": Format(options=_NUMBER | {"only"}, write=partial(_texts, lambda found, _: quickbooks.files(found))),
    "beancount": Format(
        options=_NUMBER | {"accounts"},
        write=partial(_texts, lambda found, wanted: [beancount.file(found, with_accounts=wanted.with_accounts)]),
    ),
    "hledger": Format(
        options=_NUMBER | {"accounts"},
        write=partial(_texts, lambda found, wanted: [hledger.file(found, with_accounts=wanted.with_accounts)]),
    ),
    "ubl": Format(options=_NUMBER, write=_einvoices, faults=einvoice.faults),
    "facturx": Format(options=_NUMBER, write=_einvoices, faults=einvoice.faults),
    "cloudevents": Format(options=frozenset({"by"}), write=partial(_events, events.cloudevents)),
    "lago": Format(options=frozenset({"by"}), write=partial(_events, events.lago)),
}
"""Name -> format. A new format is its own module and one entry here; the command line reads the names from here."""
