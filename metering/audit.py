"""`verify` and `rebuild`: everything that the store holds is derived again, and must come out the same."""

import contextlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metering import corrections, journal, ledger, lock, store, terms
from metering.close import frozen_invoice
from metering.errors import JournalDamagedError
from metering.files import data_directory
from metering.ledger import JOURNAL
from metering.month import Month
from metering.period import month_of, parse_time
from metering.store import Store


@dataclass(slots=True, kw_only=True)
class Findings:
    """What was looked at, and every fault as a sentence."""

    records: int = 0
    tables: int = 0
    invoices: int = 0
    faults: list[str] = field(default_factory=list)


def verify(directory: Path, live: Store) -> Findings:
    """Checks the hash chain, the store against a replay of the journal, the SQL checks, and re-rates final invoices."""
    found = Findings()
    fresh = store.in_memory()
    try:
        found.records, _ = ledger.replay(directory, fresh)
    except JournalDamagedError as error:
        found.faults.append(str(error))
        return found
    for table in tables(live):
        found.tables += 1
        difference = _difference(live, fresh, table)
        if difference:
            found.faults.append(f"table {table}: {difference}")
    for file in sorted((data_directory("sql") / "checks").glob("*.sql")):
        rows = live.check(file.stem)
        if rows.height:
            found.faults.append(f"check {file.stem}: {rows.height} rows, the first {rows.row(0)}")
    _verify_invoices(live, found)
    return found


def tables(of: Store) -> list[str]:
    """The tables that the journal gives, by name."""
    rows = of.connection.execute(
        "select table_name from duckdb_tables() where schema_name = 'main' and not internal order by table_name"
    ).fetchall()
    return [name for (name,) in rows if name != "migration"]


def _difference(live: Store, fresh: Store, table: str) -> str:
    sums = []
    for one in (live, fresh):
        (row,) = one.connection.execute(
            f"select count(*), bit_xor(hash(t)), sum(hash(t)::hugeint) from {table} as t"  # noqa: S608 - a table of ours
        ).fetchall()
        sums.append(row)
    if sums[0] == sums[1]:
        return ""
    return f"{sums[0][0]} rows in the store, {sums[1][0]} by the journal" + (
        "" if sums[0][0] != sums[1][0] else ", and some differ"
    )


def _verify_invoices(live: Store, found: Findings) -> None:
    """Rates every closing again, with its own terms and as it was known then, and compares the bytes."""
    for closing in live.query("all_closings").iter_rows(named=True):
        start = parse_time(f"{closing['month']}-01T00:00:00Z")
        month = Month(
            store=live,
            terms=terms.from_document(json.loads(closing["terms"])),
            period=month_of(start),
            now=closing["as_of"],
            as_of_seq=closing["as_of_seq"],
        )
        due = corrections.due(month)
        drafts = {draft["customer"]["id"]: draft for draft in month.drafts(due.lines, due.currencies)}
        for row in live.query("invoices_of_closing", seq=closing["seq"]).iter_rows(named=True):
            found.invoices += 1
            issued: dict[str, Any] = json.loads(row["document"])
            again = frozen_invoice(drafts.get(row["customer"]), issued)
            if again != row["document"]:
                found.faults.append(f"invoice {row['number']}: rated again it differs")
    for row in live.query("credit_notes").iter_rows(named=True):
        found.invoices += 1
        note, original = json.loads(row["document"]), json.loads(row["original"])
        given = {name: note[name] for name in ("number", "reason", "issued_at")}
        if json.dumps(corrections.credit_note(original, **given)) != json.dumps(note):
            found.faults.append(f"credit note {row['number']}: it does not cancel {note['credits']}")


def rebuild(directory: Path) -> int:
    """Builds the database anew from the journal alone and publishes it; returns the number of records.

    The old database stays in its place until the new one stands. The caller holds no lock. Raises StoreBusyError,
    JournalDamagedError.
    """
    with lock.held(directory):
        journal.Journal(directory / JOURNAL).close()  # repairs a torn tail
        building = directory / "rebuild"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(mode=0o700)
        try:
            target = store.open_writer(building)
            with contextlib.closing(target.connection):
                records, _ = ledger.replay(directory, target)
                target.connection.execute("checkpoint")
            # The old log goes first: without it the old database is an earlier state, beside the new one it is poison.
            path = directory / store.DATABASE
            path.with_name(path.name + ".wal").unlink(missing_ok=True)
            (building / store.DATABASE).replace(path)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        store.publish(store.open_writer(directory), directory)
    return records
