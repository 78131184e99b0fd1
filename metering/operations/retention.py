"""Retention: checkpoints of the store, and the bodies of old pages, which are dropped once a checkpoint replaces them.

A checkpoint is proven before it is named: a second store (`proof/`) starts from the checkpoint before it, projects the
journal's records from there, a portion in each tick, and must equal the live store, table by table. The body of a page
is dropped when it is older than `store.keep_pages_days`, its segment gets no more records and holds nothing younger, a
whole checkpoint covers it, and every month that it touches is closed for all customers, with no adjustment to come.
"""

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from metering.billing.recorded import Recorded
from metering.core.stop import Stop
from metering.invoicing.amending import corrections
from metering.ledger import ledger
from metering.ledger.landing import Landing
from metering.ledger.ledger import Ledger
from metering.operations import verify
from metering.operations.rebuild import PROOF
from metering.store import checkpoint, database, journal
from metering.store.journal import JOURNAL, Segment
from metering.store.record import Record

PORTION_BYTES = 512 * 1024 * 1024
"""So many bytes, as they were received, are landed again in one tick, which goes on a minute or two longer."""
CHECKPOINT_DAYS = 31
"""A rebuild never takes more records than those of so many days, and of the days that a proof takes."""
KEPT_CHECKPOINTS = 2

Range = tuple[int, int]


def tend(books: Ledger, keep_pages_days: int, now: datetime, stop: Stop, *, is_new_day: bool) -> list[str]:
    """Continues the retention work under way; on a new day also starts what is due. Returns faults as sentences.

    Raises JournalDamagedError if the journal is damaged.
    """
    if keep_pages_days == 0:
        return []
    try:
        books.flush()
        _rewrite(books.directory / JOURNAL, _last_drop(books), stop)
        is_proven = False
        if (books.directory / PROOF).exists() or (is_new_day and _is_checkpoint_due(books, now)):
            if not _proof_is_level(books, stop):
                return []
            faults = _differences(books)
            if faults:
                return faults
            _check_point(books)
            is_proven = True
        if (is_new_day or is_proven) and not stop.is_asked:
            _drop(books, keep_pages_days, now, stop)
    except (OSError, database.DatabaseError) as error:
        return [f"retention: {str(error).splitlines()[0]}; no page was dropped that a rebuild needs"]
    return []


def _is_checkpoint_due(books: Ledger, now: datetime) -> bool:
    since: datetime | None = books.store.query("operations/checkpoint_facts")["since"].item()
    return since is not None and now - since >= timedelta(days=CHECKPOINT_DAYS)


def _proof_is_level(books: Ledger, stop: Stop) -> bool:
    """Projects a portion of the journal into the second store; returns whether it now holds every record."""
    proof, kept = books.directory / PROOF, books.directory / JOURNAL
    proof.mkdir(mode=0o700, exist_ok=True)
    second = ledger.open_store(proof, kept)
    with closing(second.connection):
        Landing(second).apply_all(_portion(ledger.lacking(second, kept), stop))
        return bool(second.query("store/position").row(0) == books.store.query("store/position").row(0))


def _portion(records: Iterator[Record], stop: Stop) -> Iterator[Record]:
    landed = 0
    for record in records:
        if landed >= PORTION_BYTES or stop.is_asked:
            return
        landed += record.size
        yield record


def _differences(books: Ledger) -> list[str]:
    second = database.open_writer(books.directory / PROOF)
    with closing(second.connection):
        return [
            f"table {table} is not what the journal gives: {difference}; no checkpoint was made (`metering verify`)"
            for table in database.tables(books.store)
            if (difference := verify.difference(books.store, second, table))
        ]


def _check_point(books: Ledger) -> None:
    """Writes and names a checkpoint of the second store; removes old ones if there are enough newer ones."""
    second = database.open_writer(books.directory / PROOF)
    with closing(second.connection):
        made = checkpoint.write(second, books.directory / JOURNAL)
    books.record(checkpoint.RECORD, {"up_to": made.seq, "manifest_sha256": made.sha256})
    shutil.rmtree(books.directory / PROOF)
    named = [found for found in checkpoint.checkpoints(books.directory / JOURNAL) if _is_named(books, found.seq)]
    unwanted = named[:-KEPT_CHECKPOINTS]
    for found in checkpoint.checkpoints(books.directory / JOURNAL):
        if found in unwanted or found not in named:
            checkpoint.remove(found)


def _is_named(books: Ledger, seq: int) -> bool:
    return not books.store.query("operations/checkpoint_of", seq=seq).is_empty()


def _drop(books: Ledger, keep_pages_days: int, now: datetime, stop: Stop) -> None:
    """Drops the bodies that may be dropped: journals it, then writes the segments anew."""
    ranges = to_drop(books, now - timedelta(days=keep_pages_days), now)
    if ranges:
        books.record("pages_dropped", {"ranges": ranges, "keep_pages_days": keep_pages_days})
        _rewrite(books.directory / JOURNAL, ranges, stop)


def to_drop(books: Ledger, before: datetime, now: datetime) -> list[Range]:
    """(first, last) of each range of records whose bodies may be dropped, in order."""
    kept = books.directory / JOURNAL
    recent = books.store.query("operations/first_page_since", since=before)["seq"].item()
    old = [segment for segment in journal.sealed(kept) if recent is None or segment.last < recent]
    if not old or (months := settled_months(books, now)) == []:
        return []
    newest = checkpoint.base(kept)
    covered = [segment.last for segment in old if newest is not None and segment.last <= newest.seq]
    if not covered:
        return []
    found = books.store.query("operations/pages_to_drop", before=before, settled=months, until_seq=covered[-1])
    return [(int(first), int(last)) for first, last in found.select("first_seq", "last_seq").iter_rows()]


def settled_months(books: Ledger, now: datetime) -> list[str]:
    """The months that are closed for every customer and have no adjustment that is not billed yet."""
    closed = books.store.query("operations/settled_months")["month"].to_list()
    unsettled = (
        corrections.months_to_correct(Recorded(store=books.store, as_of_seq=books.journal.seq), now)
        if closed
        else set()
    )
    return [month for month in closed if month not in unsettled]


def _last_drop(books: Ledger) -> list[Range]:
    """The ranges that were journalled last: an earlier process may have stopped before it dropped their bodies."""
    return [(int(first), int(last)) for first, last in books.store.query("operations/last_drop").iter_rows()]


def _rewrite(kept: Path, ranges: list[Range], stop: Stop) -> None:
    """Writes the segments anew that still have bodies within the ranges; ends early if a stop is requested."""
    for segment in journal.sealed(kept) if ranges else ():
        mine = [(first, last) for first, last in ranges if first <= segment.last and last >= segment.first]
        if mine and not stop.is_asked and not _is_rewritten(segment, mine):
            journal.drop_bodies(segment, partial(_is_within, mine))


def _is_rewritten(segment: Segment, ranges: list[Range]) -> bool:
    """Whether a page within the ranges has no body: a segment is written anew as a whole."""
    has_bodies = False
    for record in journal.records_of(segment):
        if record.sha256 and _is_within(ranges, record):
            if record.is_dropped:
                return True
            has_bodies = True
    return not has_bodies


def _is_within(ranges: list[Range], record: Record) -> bool:
    return record.kind == "page" and any(first <= record.seq <= last for first, last in ranges)
