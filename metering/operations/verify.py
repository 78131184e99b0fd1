"""`verify`: derives everything that the store holds again, and compares."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.core.errors import JournalDamagedError
from metering.core.files import data_directory
from metering.core.invoice import Invoice
from metering.core.period import month_of, parse_time
from metering.invoicing.amending import corrections, supplement
from metering.invoicing.amending.voiding import credit_note
from metering.invoicing.drafts import draft_invoices
from metering.invoicing.issued import Document, as_issued
from metering.ledger import landing, ledger
from metering.store import checkpoint, damage, database, journal
from metering.store.database import Store
from metering.store.journal import JOURNAL
from metering.store.record import Record

PROMISED = frozenset(
    {
        *("alert", "outbox", "delivery_attempt", "endpoint", "terms", "closing", "invoice", "parked"),
        *("quota_change", "upgrade_step", "alarm", "unit_check", "checkpoint", "dropped_pages", "stripe_send"),
        *("epoch", "adoption", "skipped_number", "witness", "deed"),
    }
)
"""Tables that no page fills: their records are never dropped, so that they are always derived from the first one."""
PAGES_AT_ONCE = 10_000


@dataclass(slots=True, kw_only=True)
class Findings:
    """Counts of what was checked, and every fault as a sentence; `notes` say what could not be derived again."""

    records: int = 0
    tables: int = 0
    invoices: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(directory: Path, live: Store) -> Findings:
    """Checks the hash chain, the store against a replay of the journal, the SQL checks, and re-rates final invoices.

    If bodies of pages were dropped, the replay begins with the oldest checkpoint that replaces all of them.
    """
    found = Findings()
    with ExitStack() as opened:
        try:
            begin, promised = _begin(directory / JOURNAL, live, opened, found)
            fresh = database.in_memory(begin)
            opened.enter_context(closing(fresh.connection))
            found.records, _ = ledger.replay(directory, fresh)
            _compare(live, fresh, promised, found)
        except JournalDamagedError as error:
            found.faults.append(str(error))
            return found
    found.faults += _checked(live)
    _verify_invoices(live, found)
    return found


def quick(directory: Path, live: Store) -> Findings:
    """Checks what takes seconds however old the store is: blocks of the database files, the SQL checks.

    Who opened the ledger has compared the end of the journal with the store and with the high-water mark.
    """
    found = Findings(records=int(live.query("store/position").item(0, "seq")), tables=len(database.tables(live)))
    found.faults += [f"{name} has damaged blocks" for name in damage.damaged_files(directory)]
    found.faults += _checked(live)
    return found


def _checked(live: Store) -> Iterator[str]:
    """A sentence for each check of `sql/checks` that finds rows."""
    for file in sorted((data_directory("sql") / "checks").glob("*.sql")):
        rows = live.check(file.stem)
        if rows.height:
            yield f"check {file.stem}: {rows.height} rows, the first {rows.row(0)}"


def _begin(
    kept: Path, live: Store, opened: ExitStack, found: Findings
) -> tuple[Callable[[Store], None] | None, Store | None]:
    """The checkpoint that the replay begins with, and a store of all records that are not pages.

    Both are None if no body was dropped: the replay then begins with an empty store.

    If there are checkpoints, the whole chain is read: records that are not pages are projected into that store, which
    `opened` closes, and the pages' headers are compared with the table that names them.
    """
    known = checkpoint.checkpoints(kept)
    if not known:
        return None, None
    promised = database.in_memory()
    opened.enter_context(closing(promised.connection))
    faults = {one.seq: one.fault() for one in known}
    found.faults += filter(None, faults.values())
    dropped = last = 0
    waiting = _promises_landed(kept, promised)
    while pages := list(islice(waiting, PAGES_AT_ONCE)):
        found.faults += _strangers(live, pages)
        gone = [page.seq for page in pages if page.is_dropped]
        dropped, last = dropped + len(gone), max([last, *gone])
    if not dropped:
        return None, None
    base = next((one for one in known if one.seq >= last and not faults[one.seq]), None)
    if base is None:
        raise JournalDamagedError(f"no whole checkpoint stands in for the pages dropped up to record {last}")
    found.notes.append(
        f"the bodies of {dropped} pages, up to record {last}, were dropped under store.keep_pages_days: their headers"
        f" and hashes hold; what they showed stands on the checkpoint at record {base.seq}, which was compared with a"
        " replay when it was made"
    )
    return base.load, promised


def _promises_landed(kept: Path, promised: Store) -> Iterator[Record]:
    """Yields every page of the journal, and projects each record of another kind on the way."""
    for record in journal.read(kept):
        if record.kind == "page":
            yield record
        else:
            landing.land_promise(promised, record)


def _strangers(live: Store, pages: Sequence[Record]) -> list[str]:
    """Faults of the store's table of pages: it must name these pages by number, hash and request."""
    names = ("request_id", "received_at")
    headers = pl.DataFrame(
        [(page.seq, page.sha256, *(page.data[name] for name in names)) for page in pages],
        schema={"seq": pl.UInt64, "sha256": pl.String, **dict.fromkeys(names, pl.String)},
        orient="row",
    )
    with live.frames(headers=headers):
        strange = live.query("operations/pages_unlike_headers")["seq"].to_list()
    return [f"table page: record {strange[0]} is another page in the journal"] if strange else []


def _compare(live: Store, fresh: Store, promised: Store | None, found: Findings) -> None:
    """Compares each table with the replay; if that began with a checkpoint, also with the records that are no pages."""
    for table in database.tables(live):
        found.tables += 1
        others = [fresh, promised] if promised is not None and table in PROMISED else [fresh]
        differences = {difference(live, other, table) for other in others}
        found.faults += [f"table {table}: {told}" for told in sorted(differences) if told]


def difference(live: Store, fresh: Store, table: str) -> str:
    """How a table of the store differs from the one replayed from the journal; empty if it does not."""
    mine, theirs = live.fingerprint(table), fresh.fingerprint(table)
    if mine == theirs:
        return ""
    return f"{mine[0]} rows in the store, {theirs[0]} by the journal" + (
        "" if mine[0] != theirs[0] else ", and some differ"
    )


def _verify_invoices(live: Store, found: Findings) -> None:
    """Rates every closing again, by its own pricing terms and the knowledge of then, and compares the bytes."""
    for closed in live.query("operations/all_closings").iter_rows(named=True):
        if closed["rules"] != terms.RULES:
            _verify_kept(live, closed, found)
            continue
        drafts = {draft.customer.id: draft for draft in _rated_again(live, closed)}
        for row in live.query("operations/invoices_of_closing", seq=closed["seq"]).iter_rows(named=True):
            found.invoices += 1
            draft, issued = drafts.get(row["customer"]), Document(row["document"], "final").invoice
            if draft is None or as_issued(draft, issued) != row["document"]:
                found.faults.append(f"invoice {row['number']}: rated again it differs")
    for row in live.query("operations/credit_notes").iter_rows(named=True):
        found.invoices += 1
        note, original = Document(row["document"], "final"), Document(row["original"], "void")
        if not (_cancels(note, original) if row["rules"] == terms.RULES else _takes_back(note, original)):
            found.faults.append(f"credit note {row['number']}: it does not cancel {note.invoice.credits}")


def _rated_again(live: Store, closed: dict[str, Any]) -> list[Invoice]:
    """The drafts of a closing, or of a supplement, by its own pricing terms and the knowledge of then."""
    known = Recorded(store=live)
    period = month_of(parse_time(f"{closed['month']}-01T00:00:00Z"))
    if found := supplement.stored(known, period, closed["seq"]):
        return found.drafts
    month = Month(
        recorded=known.at(closed["as_of_seq"]),
        terms=terms.from_document(json.loads(closed["terms"])),
        period=period,
        now=closed["as_of"],
    )
    due = corrections.due(month)
    return draft_invoices(month, due.lines, due.currencies, due.billed)


def _verify_kept(live: Store, closed: dict[str, Any], found: Findings) -> None:
    """Checks that the documents of a closing under older rules, which is not rated again, name its pricing terms.

    Their bytes and sums are checked elsewhere, like those of every document.
    """
    text = json.dumps(json.loads(closed["terms"]), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    issued = live.query("operations/invoices_of_closing", seq=closed["seq"])
    for row in issued.iter_rows(named=True):
        if json.loads(row["document"])["rate_card_sha256"] != sha256:
            found.faults.append(f"invoice {row['number']}: it names another rate card than its closing's")
    found.invoices += issued.height
    found.notes.append(
        f"{closed['month']} was closed under older rules ({closed['rules']}, today {terms.RULES}) by record"
        f" {closed['seq']}: its {issued.height} invoices hold to the byte and add up; they are not rated again"
    )


def _cancels(note: Document, original: Document) -> bool:
    """Whether the note is, to the byte, the credit note that today's rules give the original."""
    said = note.invoice
    again = credit_note(original, number=said.issued_number, reason=said.reason or "", issued_at=said.issued_at or "")
    return again.text == note.text


def _takes_back(note: Document, original: Document) -> bool:
    """Whether the note has every amount of the original with the opposite sign; its form may follow older rules."""

    def amounts(of: Invoice, sign: int) -> list[Decimal]:
        sums = [of.subtotal, of.total, *(tax.amount for tax in of.taxes), *(line.amount for line in of.lines)]
        return [sign * Decimal(amount) for amount in sums]

    return amounts(note.invoice, -1) == amounts(original.invoice, 1)
