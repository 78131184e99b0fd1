"""Commands about money: price, close, report."""

import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metering.cli.base import (
    Json,
    as_id,
    business_clock,
    emit,
    finish,
    note,
    open_books,
    read_config,
    with_config,
    with_format,
)
from metering.core.ids import canonical
from metering.core.period import Period, month_name, parse_month, rfc3339

if TYPE_CHECKING:
    from metering.config import Config
    from metering.core.invoice import Invoice
    from metering.invoicing.blockers import Waivers
    from metering.invoicing.closing import Closing
    from metering.store.database import Store

DEFAULT_FORMATS = {"html", "csv", "json"}


@click.command()
def price() -> None:
    """Rates quantities, read as JSON lines from stdin, against the price in each line."""
    from metering.analysis import price_lines

    has_error = False
    for line in sys.stdin.buffer:
        text = line.decode("utf-8", errors="replace")
        if not text.strip():
            continue
        answer = price_lines.rate_line(text)
        has_error |= price_lines.is_error(answer)
        click.echo(answer)
    finish(1 if has_error else 0)


@click.command()
@click.argument("month")
@click.option("--dry-run", is_flag=True, help="Show what would be issued; change nothing.")
@click.option("--allow-incomplete", metavar="REASON", help="Close over gaps; the reason is recorded.")
@click.option("--allow-unassigned", metavar="REASON", help="Leave usage of nobody unbilled; the reason is recorded.")
@click.option(
    "--release", metavar="CUSTOMER", callback=as_id, help="Close it for this parked customer only; needs --reason."
)
@click.option("--reason", metavar="TEXT", help="Why the parked invoice is right; it is recorded.")
@click.option(
    "--supplement", is_flag=True, help="Bill what a closed month left to nobody and that is mapped to a customer now."
)
@with_config
@with_format
def close(  # noqa: PLR0913, PLR0917 - one parameter per option
    month: str,
    dry_run: bool,
    allow_incomplete: str | None,
    allow_unassigned: str | None,
    release: str | None,
    reason: str | None,
    supplement: bool,
    config_path: Path,
    form: str | None,
) -> None:
    """Rates, numbers and freezes the month's invoices; running it again changes nothing."""
    from metering.cli.reading import INVOICE_COLUMNS, invoice_head
    from metering.invoicing import close as closing
    from metering.ledger import reading
    from metering.service import tick

    config, clock = read_config(config_path), business_clock()
    now = clock()
    period = parse_month(month, now)
    waivers = _waivers(allow_incomplete, allow_unassigned)
    released = _released(release, reason, is_supplement=supplement)
    if supplement:
        done = _supplemented(config, clock, period, now, waivers, dry_run=dry_run)
    elif dry_run:
        with reading.open_reader(config.store.directory) as found:
            done = closing.rehearse(found, config, period, now, waivers=waivers, release=released)
    else:
        with open_books(config, clock) as books:
            done = tick.close_typed(books, config, period, now, waivers=waivers, release=released)
    is_reported = not done.is_new or _write_final(config, period, now)
    document = _closed(done, config)
    _tell(done, document, period)
    rows = [invoice_head(invoice) for invoice in document["invoices"]]
    if dry_run and not supplement:
        document |= _would_be(done, config.store.directory, now, is_compared=not released)
        rows = _dry_run_rows(document)
    emit(document, rows, form, () if dry_run and not supplement else INVOICE_COLUMNS)
    finish(3 if done.parked or done.blocked_by or not is_reported else 0)


def _supplemented(  # noqa: PLR0913 - the options of the command
    config: "Config", clock: Callable[[], datetime], period: Period, now: datetime, waivers: "Waivers", *, dry_run: bool
) -> "Closing":
    """The result of a supplement, or of its dry run."""
    from metering.invoicing.amending import supplementing
    from metering.ledger import reading
    from metering.service import tick as cycle

    if dry_run:
        with reading.open_reader(config.store.directory) as found:
            return supplementing.rehearse_supplement(found, config, period, now)
    with open_books(config, clock) as books:
        return cycle.supplement_typed(books, config, period, now, waivers=waivers)


def _tell(done: "Closing", document: Json, period: Period) -> None:
    """Prints on stderr what prevents the close, held customers, unbilled usage, and customers without a row."""
    from metering.invoicing import blockers, unbilled
    from metering.service import check_references

    if done.blocked_by:
        note(f"it would be refused: {blockers.told(period, done.blocked_by)}")
    for customer, why in sorted(done.parked.items()):
        note(f"{customer} is parked: {why}")
    for sentence in unbilled.sentences(done.not_billed, done.waivers):
        note(sentence)
    if done.gone_unseen:
        count = f"{done.gone_unseen} project{'' if done.gone_unseen == 1 else 's'}"
        note(f"billed under the project's id: {count}, gone before anybody looked")
    if said := check_references.told_without_row(document["customers_without_row"]):
        note(said)


def _write_final(config: "Config", period: Period, now: datetime) -> bool:
    """Writes the report of a month that was just closed, also in the formats of its draft; whether that succeeded."""
    from metering.core.errors import MeteringError
    from metering.ledger import reading

    try:
        with reading.open_reader(config.store.directory) as found:
            write_report(found, config, period, now, report_formats(config, period))
    except (OSError, MeteringError) as error:
        note(f"the month is closed; its report was not written: {error} (metering report {month_name(period)})")
        return False
    return True


def report_formats(config: "Config", period: Period) -> set[str]:
    """The default formats of a report, and those that exist already for the month."""
    from metering.reporting import write as reports

    return DEFAULT_FORMATS | reports.formats_in(config.store.directory / "reports" / month_name(period))


def _waivers(allow_incomplete: str | None, allow_unassigned: str | None) -> "Waivers":
    """The reasons given; raises click.UsageError where one is blank."""
    from metering.invoicing.blockers import Waivers

    for option, reason in (("--allow-incomplete", allow_incomplete), ("--allow-unassigned", allow_unassigned)):
        if reason is not None and not reason.strip():
            raise click.UsageError(f"{option} needs a reason")
    return Waivers(
        incomplete=allow_incomplete and allow_incomplete.strip(),
        unassigned=allow_unassigned and allow_unassigned.strip(),
    )


def _released(release: str | None, reason: str | None, *, is_supplement: bool) -> dict[str, str]:
    """The customer whose hold is released, with the reason; raises click.UsageError where the options do not fit."""
    if (release is None) != (reason is None) or (reason is not None and not reason.strip()):
        raise click.UsageError("write --release CUSTOMER --reason TEXT")
    if is_supplement and release:
        raise click.UsageError("--supplement and --release do not go together")
    return {release: reason.strip()} if release is not None and reason is not None else {}


def _closed(done: "Closing", config: "Config") -> Json:
    """The result of a close as JSON."""
    from metering.core.invoice import printed
    from metering.invoicing.issued import read
    from metering.service import check_references

    return {
        "period": {"start": rfc3339(done.month.start), "end": rfc3339(done.month.end)},
        "issued": done.issued,
        "parked": [{"customer": name, "reason": why} for name, why in sorted(done.parked.items())],
        "invoices": [one.printed() for one in done.invoices],
        "unassigned": done.unassigned,
        "unpriced": done.unpriced,
        "not_billed": [printed(row) for row in done.not_billed],
        "gone_unseen": str(done.gone_unseen),
        "allow_incomplete": done.waivers.incomplete,
        "allow_unassigned": done.waivers.unassigned,
        "customers_without_row": check_references.without_row(
            config, (canonical(one.customer.id) for one in read(done.invoices))
        ),
    }


def _would_be(done: "Closing", directory: Path, now: datetime, *, is_compared: bool) -> Json:
    """The part of the document that only a dry run has."""
    from metering.invoicing.issued import standing

    invoices = standing(done.invoices)
    return {
        "blocked_by": [row.document() for row in done.blocked_by],
        "differences": done.differences,
        "since_draft": _since_draft(directory, done.month, invoices, now) if is_compared else None,
    }


def _since_draft(directory: Path, period: Period, invoices: "Iterable[Invoice]", now: datetime) -> Json | None:
    """The differences from the last dry run; saves this one in its place."""
    from metering.invoicing import last_draft

    standing = list(invoices)
    found = last_draft.compared(directory, period, standing)
    try:
        last_draft.keep(directory, period, standing, now)
    except OSError as error:
        note(f"the next dry run cannot be compared with this one: {error}")
    return found


def _dry_run_rows(document: Json) -> list[Json]:
    """One row per customer: the total beside the month before and the last draft."""
    parked = {row["customer"]: row["reason"] for row in document["parked"]}
    drafts = {(row["customer"], row["currency"]): row for row in (document["since_draft"] or {}).get("customers", ())}
    rows = []
    for row in document["differences"]:
        draft = drafts.get((row["customer"], row["currency"]), {})
        since = {"draft": draft.get("draft"), "since_draft": draft.get("difference")}
        rows.append({**row, **since, "parked": parked.get(row["customer"])})
    return rows


@click.command()
@click.argument("month")
@click.option(
    "--format", "formats", default="html,csv,json", show_default=True, help="html, pdf, xlsx, csv, json, parquet."
)
@with_config
def report(month: str, formats: str, config_path: Path) -> None:
    """The month for finance, as files under reports/MONTH/ of the store; prints their paths."""
    from metering.ledger import reading

    config, now = read_config(config_path), business_clock()()
    period = parse_month(month, now)
    asked = {name.strip() for name in formats.split(",") if name.strip()}
    with reading.open_reader(config.store.directory) as found:
        paths = write_report(found, config, period, now, asked)
    for path in paths:
        click.echo(str(path))


def write_report(store: "Store", config: "Config", period: Period, now: datetime, formats: set[str]) -> list[Path]:
    """Writes the report's files; returns their paths."""
    from metering.reporting import gather

    return gather.write(store, config, period, now, formats)


COMMANDS: list[click.Command] = [price, close, report]
