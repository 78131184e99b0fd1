"""Commands that explain and compare: explain, reconcile, backtest, advice, forecast."""

import json
import sys
from pathlib import Path

import click

from metering.cli.base import as_id, business_clock, emit, finish, note, read_config, with_config, with_format
from metering.core.errors import UsageError
from metering.core.period import parse_month


@click.command()
@click.argument("number", callback=as_id)
@click.argument("line", required=False)
@click.option("--month", metavar="MONTH", help="NUMBER is a customer's id: explain its draft of this month.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), help="Default: table on a terminal, json when piped."
)
@with_config
def explain(number: str, line: str | None, month: str | None, form: str | None, config_path: Path) -> None:
    """From an invoice's LINE (its key, or its number from 1) down to the pages behind it; without LINE, all lines."""
    from metering.explain import explain as explaining
    from metering.explain import text as explain_text
    from metering.ledger import reading

    config = read_config(config_path)
    with reading.open_reader(config.store.directory) as found:
        if month is None:
            told = explaining.explain(found, number, line)
        else:
            now = business_clock()()
            period = parse_month(month, now)
            told = explaining.explain_draft(found, config, period, now, customer=number, line=line)
    is_table = form == "table" or (form is None and sys.stdout.isatty())
    click.echo(explain_text.table(told) if is_table else json.dumps(told, indent=2, ensure_ascii=False))
    if told.get("agrees", True) is False:
        note(f"{number}: computed again, the line comes to {told['arithmetic']['amount']}")
        finish(1)


@click.command()
@click.argument("month")
@click.option("--invoice", "file", type=click.Path(path_type=Path, dir_okay=False), help="A CSV of its lines.")
@click.option("--total", metavar="AMOUNT", help="Its total in USD, without tax and credits.")
@with_config
@with_format
def reconcile(month: str, file: Path | None, total: str | None, config_path: Path, form: str | None) -> None:
    """Our computed Neon cost against Neon's own invoice, the difference split by cause."""
    from metering.analysis import neon_invoice
    from metering.analysis import reconcile as reconciling
    from metering.core.files import given_text
    from metering.invoicing.rated_month import months_of
    from metering.ledger import reading
    from metering.reporting import gather

    if (file is None) == (total is None):
        raise click.UsageError("write --invoice FILE or --total AMOUNT")
    config, now = read_config(config_path), business_clock()()
    lines = neon_invoice.parse(given_text(file), file.name) if file else []
    cents = _cents_of(total) if total is not None else 0
    with reading.open_reader(config.store.directory) as found:
        wanted = months_of(found, config, now).of(parse_month(month, now)).whole
        told = reconciling.by_lines(wanted, lines, file.name) if file else reconciling.by_total(wanted, cents)
    gather.keep_reconciliation(config, wanted.period, told)
    for said in told["notes"]:
        note(said)
    emit(told, reconciling.table_rows(told), form)


def _cents_of(text: str) -> int:
    from metering.analysis import neon_invoice

    try:
        return neon_invoice.cents_of(text)
    except ValueError as error:
        raise UsageError(f"--total: {error}", hint="write it like 1234.56") from None


@click.command()
@click.option(
    "--plans", "file", type=click.Path(path_type=Path, dir_okay=False), required=True, help="[[plans]] to try."
)
@click.option("--from", "first", metavar="MONTH", help="Default: the first month with any coverage.")
@click.option("--to", "last", metavar="MONTH", default="previous", show_default=True)
@with_config
@with_format
def backtest(file: Path, first: str | None, last: str, config_path: Path, form: str | None) -> None:
    """What history would have cost under other plans: who would pay less or more, revenue and margin."""
    from metering.analysis import backtest as testing
    from metering.analysis import plan_file
    from metering.billing.terms import months
    from metering.core import meters
    from metering.ledger import reading

    config, now = read_config(config_path), business_clock()()
    plans = plan_file.read(file, config.plans, meters.catalogue(config.meters))
    since = parse_month(first, now) if first else None
    with reading.open_reader(config.store.directory) as found:
        periods = months(found, since, parse_month(last, now), now)
        document = testing.backtest(found, config, plans, periods, now)
    for said in document["notes"]:
        note(said)
    emit(document, [*document["customers"], *({"customer": "total", **row} for row in document["totals"])], form)


@click.command()
@click.option(
    "--months", "count", type=click.IntRange(1, 24), default=3, show_default=True, help="How many, up to the last."
)
@with_config
@with_format
def advice(count: int, config_path: Path, form: str | None) -> None:
    """The cheapest of our plans for each customer, and of Neon's for each organization, by past usage."""
    from metering.analysis import advice as advising
    from metering.billing.terms import months
    from metering.core.period import previous_month
    from metering.ledger import reading

    config, now = read_config(config_path), business_clock()()
    last = first = previous_month(now)
    for _ in range(count - 1):
        first = previous_month(first.start)
    with reading.open_reader(config.store.directory) as found:
        document = advising.advice(found, config, months(found, first, last, now), now)
    for said in document["notes"]:
        note(said)
    emit(document, [*document["customers"], *document["organizations"]], form)


@click.command()
@with_config
@with_format
def forecast(config_path: Path, form: str | None) -> None:
    """What the running month will come to, per customer and for our Neon cost, if its rest is like the last weeks."""
    from msgspec.structs import replace

    from metering.core.invoice import printed
    from metering.invoicing import outlook
    from metering.invoicing.rated_month import months_of
    from metering.ledger import reading

    config, now = read_config(config_path), business_clock()()
    with reading.open_reader(config.store.directory) as found:
        expected = outlook.outlook(months_of(found, config, now).running.today)
    totals = [replace(row, customer="total") for row in expected.totals]
    rows = [*expected.customers, *totals, replace(expected.neon_cost, customer="our Neon cost")]
    emit(expected.document(), [printed(row) for row in rows], form)


COMMANDS: list[click.Command] = [explain, reconcile, backtest, advice, forecast]
