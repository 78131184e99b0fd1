"""Commands that correct what was issued: void."""

from pathlib import Path

import click

from metering.cli.base import Json, business_clock, emit, open_books, read_config, with_config, with_format


@click.command()
@click.argument("number")
@click.option("--reason", metavar="TEXT", required=True, help="Why; it stands on the credit note.")
@with_config
@with_format
def void(number: str, reason: str, config_path: Path, form: str | None) -> None:
    """Voids a final invoice with a credit note; `close MONTH` then issues that customer anew."""
    from metering.alerts.invoices import announce_invoices
    from metering.invoicing.amending.voiding import void as voiding_void

    if not reason.strip():
        raise click.UsageError("--reason needs a text")
    config, clock = read_config(config_path), business_clock()
    now = clock()
    with open_books(config, clock) as books:
        note = voiding_void(books, number, reason.strip(), now)
        announce_invoices(books, config, [note.invoice], now)
    document: Json = note.printed()
    emit(document, document["lines"], form)


COMMANDS: list[click.Command] = [void]
