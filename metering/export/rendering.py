"""One export, whole: reads what the format needs from the store and the configuration, and gives its bytes.

A verb that writes nothing. Which options a format takes stands here as data, so that one that does not belong is told.
"""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from metering import cost
from metering.config import Config
from metering.errors import UsageError
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
from metering.export.documents import Book, Json
from metering.month import Month
from metering.period import rfc3339

OPTIONS: Mapping[str, frozenset[str]] = {
    "focus": frozenset({"drafts", "cost", "number"}),
    "stripe": frozenset({"events", "by", "send", "number"}),
    "xero": frozenset({"number", "only"}),
    "quickbooks": frozenset({"number", "only"}),
    "beancount": frozenset({"accounts", "number"}),
    "hledger": frozenset({"accounts", "number"}),
    "ubl": frozenset({"number"}),
    "facturx": frozenset({"number"}),
    "cloudevents": frozenset({"by"}),
    "lago": frozenset({"by"}),
}
"""Format -> the options that it takes."""
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be exported: `form` is a key of OPTIONS, `suffix` the file's ending: `.parquet`, `.zip`, `.pdf`."""

    form: str
    suffix: str = ""
    number: str | None = None
    only: str | None = None
    with_drafts: bool = False
    is_cost: bool = False
    is_events: bool = False
    with_accounts: bool = False
    by: str = "day"


def render(month: Month, config: Config, wanted: Wanted) -> bytes:
    """The export's bytes; equal facts give equal bytes. Raises ConfigError with all that the format lacks."""
    if wanted.form == "stripe" and wanted.is_events:
        return stripe.lines(meter_events(month, config, wanted)).encode()
    if wanted.form == "focus" and wanted.is_cost:
        return _focus(wanted, neon_costs(month))
    if wanted.form in {"cloudevents", "lago"}:
        write = events.cloudevents if wanted.form == "cloudevents" else events.lago
        return write(events.counted(month, wanted.by)).encode()
    found = book(month, config, wanted)
    if wanted.form == "focus":
        return _focus(wanted, focus.charges(found, month.names()))
    if wanted.form in {"ubl", "facturx"}:
        return _one_or_zip(_einvoices(found, month, config, wanted), wanted.suffix)
    return _TEXTS[wanted.form](found, wanted).encode()


def book(month: Month, config: Config, wanted: Wanted) -> Book:
    """The documents that are wanted."""
    return documents.book(month, config, with_drafts=wanted.with_drafts, number=wanted.number, only=wanted.only)


def meter_events(month: Month, config: Config, wanted: Wanted) -> list[Json]:
    """The month's meter events for Stripe."""
    return stripe.meter_events(events.counted(month, wanted.by), {row.id: row for row in config.customer_rows})


_TEXTS: Mapping[str, Callable[[Book, Wanted], str]] = {
    "stripe": lambda book, _: stripe.lines(stripe.items(book)),
    "xero": lambda book, _: xero.file(book),
    "quickbooks": lambda book, _: quickbooks.file(book),
    "beancount": lambda book, wanted: beancount.file(book, with_accounts=wanted.with_accounts),
    "hledger": lambda book, wanted: hledger.file(book, with_accounts=wanted.with_accounts),
}


def neon_costs(month: Month) -> list[focus_columns.Row]:
    """What Neon charges us for the month, as FOCUS rows."""
    prices: dict[str, set[Decimal]] = {}
    for plan in cost.price_list():
        for price in plan.prices:
            found = [price.unit_price, *(tier.unit_price for tier in price.tiers)]
            prices.setdefault(price.meter, set()).update(one for one in found if one is not None)
    period = (rfc3339(month.period.start), rfc3339(month.period.end))
    status = "open" if month.is_open else "computed"
    return focus.costs(month.cost.rows, prices, period, month.names(), status)


def _focus(wanted: Wanted, rows: list[focus_columns.Row]) -> bytes:
    return focus_columns.parquet_bytes(rows) if wanted.suffix == ".parquet" else focus_columns.csv_text(rows).encode()


def _einvoices(book: Book, month: Month, config: Config, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of each; a document's number is letters, digits, dots, dashes and underscores."""
    if wanted.form == "facturx" and wanted.suffix in {".pdf", ".zip"}:
        yield from ((f"{one['number']}.pdf", pdf) for one, pdf in facturx.files(book, month, config))
        return
    syntax = "ubl" if wanted.form == "ubl" else "cii"
    yield from ((f"{one['number']}.xml", xml) for one, xml in einvoice.files(book, syntax))


def _one_or_zip(files: Iterable[tuple[str, bytes]], suffix: str) -> bytes:
    """The only file as it is (nothing where there is none), or a ZIP of all that is the same whenever it is made."""
    found = list(files)
    if suffix != ".zip":
        if len(found) > 1:
            hint = "write -o FILE.zip for all of them, or --number NUMBER for one"
            raise UsageError(f"the month has {len(found)} documents, one file each", hint=hint)
        return found[0][1] if found else b""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in sorted(found):
            entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
            archive.writestr(entry, content)
    return out.getvalue()
