"""Commands that read the published snapshot: usage, quota, alerts list, invoices, invoice, status."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metering.cli.base import (
    Clock,
    Json,
    business_clock,
    emit,
    endpoint_secrets,
    finish,
    in_words,
    open_books,
    read_config,
    real_time,
    with_config,
    with_format,
)
from metering.core.period import parse_month

if TYPE_CHECKING:
    from metering.config import Config
    from metering.core.author import Author
    from metering.store.database import Store


_FILE = click.Path(path_type=Path, dir_okay=False)
INVOICE_COLUMNS = (
    *("number", "status", "customer.id", "customer.name", "currency", "subtotal", "total"),
    *("issued_at", "due_at", "lines"),
)
PROJECT_COLUMNS = ("organization", "project_id", "history_read_at", "last_active_at")
"""What a CSV file or a table of each command has, rows or none."""


@click.command()
@click.argument("month")
@click.option("--by", type=click.Choice(["day", "hour"]), help="A row per day or hour.")
@click.option("--project", help="Only this project.")
@with_config
@with_format
def usage(month: str, by: str | None, project: str | None, config_path: Path, form: str | None) -> None:
    """Usage per organization, project and metric, with coverage."""
    from metering.billing import usage_document
    from metering.invoicing.rated_month import months_of
    from metering.ledger import reading

    config, now = read_config(config_path), business_clock()()
    with reading.open_reader(config.store.directory) as found:
        wanted = months_of(found, config, now).of(parse_month(month, now))
        document: Json = usage_document.usage(wanted.whole, by=by, project=project).document()
    emit(document, document["usage"], form, usage_document.BY_COLUMNS if by else usage_document.COLUMNS)


@click.command()
@click.option("--all", "include_unlimited", is_flag=True, help="Also quotas without a limit.")
@click.option("--cost", "with_cost", is_flag=True, help="Also what the month will come to, in JSON.")
@with_config
@with_format
def quota(include_unlimited: bool, with_cost: bool, config_path: Path, form: str | None) -> None:
    """Percentage of every quota, its level and forecast."""
    from metering.core.period import rfc3339
    from metering.invoicing import outlook
    from metering.invoicing.rated_month import months_of
    from metering.ledger import reading
    from metering.quotas import status as quota_status
    from metering.quotas.rows import COLUMNS

    config, now = read_config(config_path), business_clock()()
    with reading.open_reader(config.store.directory) as found:
        running = months_of(found, config, now).running.today
        quotas = quota_status.quota_rows(running, config.quota.thresholds_percent, include_unlimited=include_unlimited)
        rows = [row.document() for row in quotas]
        document: Json = {"as_of": rfc3339(now), "quotas": rows}
        if with_cost:
            document["month"] = outlook.outlook(running).document()
    emit(document, rows, form, COLUMNS)


@click.command()
@click.argument("month")
@with_config
@with_format
def invoices(month: str, config_path: Path, form: str | None) -> None:
    """The invoices of a month; drafts are computed for a month that is not closed."""
    from metering.invoicing.closing import month_invoices
    from metering.invoicing.rated_month import months_of
    from metering.ledger import reading

    config, now = read_config(config_path), business_clock()()
    with reading.open_reader(config.store.directory) as found:
        wanted = months_of(found, config, now).of(parse_month(month, now))
        document: Json = month_invoices(wanted.today).printed()
    emit(document, [invoice_head(invoice) for invoice in document["invoices"]], form, INVOICE_COLUMNS)


def invoice_head(invoice: Json) -> Json:
    """One row for a whole invoice."""
    names = ("number", "status", "customer", "currency", "subtotal", "total", "issued_at", "due_at")
    return {**{name: invoice[name] for name in names}, "lines": str(len(invoice["lines"]))}


@click.command()
@click.argument("number")
@click.option("--pdf", "pdf_path", type=_FILE, help="Write it as PDF instead of printing it.")
@click.option("--html", "html_path", type=_FILE, help="Write it as a page instead of printing it.")
@with_config
@with_format
def invoice(number: str, pdf_path: Path | None, html_path: Path | None, config_path: Path, form: str | None) -> None:
    """One issued invoice or credit note."""
    from metering.invoicing.issued import invoice as issued_invoice
    from metering.ledger import reading

    config = read_config(config_path)
    with reading.open_reader(config.store.directory) as found:
        if pdf_path is None and html_path is None:
            document: Json = issued_invoice(found, number).printed()
            emit(document, document["lines"], form)
        else:
            _write_invoice(found, config, number, pdf_path, html_path)


def _write_invoice(
    found: "Store", config: "Config", number: str, pdf_path: Path | None, html_path: Path | None
) -> None:
    from metering.core.files import write_whole
    from metering.invoicing.printed.documents import invoice_pdf, page_writer
    from metering.invoicing.printed.printable import printable
    from metering.rendering.typeset import Typesetter

    document, background = printable(found, config, number, business_clock()())
    if pdf_path is not None:
        write_whole(pdf_path, invoice_pdf(document, background, Typesetter(background.fonts)))
    if html_path is not None:
        write_whole(html_path, page_writer(background)(document).encode("utf-8"))


@click.command()
@click.option("--projects", "with_projects", is_flag=True, help="Also when each project was last read.")
@with_config
@with_format
def status(with_projects: bool, config_path: Path, form: str | None) -> None:
    """Freshness, gaps, outbox, the last cycle, what is due next, sizes."""
    from metering.ledger import reading
    from metering.operations import status as state

    config, now = read_config(config_path), business_clock()()
    with reading.open_reader(config.store.directory) as found:
        document = state.status(found, config, now)
        projects = state.projects(found) if with_projects else []
    if with_projects:
        emit({**document, "projects": projects}, projects, form, PROJECT_COLUMNS)
        return
    rows: list[Any] = [{"what": name, "value": text} for name, text in state.lines(document)]
    emit(document, rows, form)


@click.command()
@click.argument("action", type=click.Choice(["list", "resend", "enable", "drop", "test"]), default="list")
@click.argument("target", metavar="[ALERT_ID|ENDPOINT]", required=False)
@with_config
@with_format
def alerts(action: str, target: str | None, config_path: Path, form: str | None) -> None:
    """The alert log with its deliveries; `resend ID` sends one again, `test` tries every endpoint.

    `enable ENDPOINT` tells an endpoint again that was off or given up; `drop ENDPOINT` or `drop ID` ends what waits.
    """
    changes = {"resend": _resend, "enable": _enable, "drop": _drop}
    if (action in changes) != (target is not None):
        usage = (
            "`alerts list`, `alerts resend ID`, `alerts enable ENDPOINT`, `alerts drop ENDPOINT|ID` or `alerts test`"
        )
        raise click.UsageError(f"write {usage}")
    config = read_config(config_path)
    if target is not None:
        changes[action](config, target)
    elif action == "list":
        _list_alerts(config, form)
    else:
        _test_endpoints(config, form)


def _list_alerts(config: "Config", form: str | None) -> None:
    from metering.core.invoice import printed
    from metering.ledger import reading
    from metering.ledger.alert_log import COLUMNS, log

    with reading.open_reader(config.store.directory) as found:
        rows = [printed(row) for row in log(found)]
    for row in rows:
        row["deliveries"] = in_words(row["deliveries"])
    emit({"alerts": rows}, rows, form, COLUMNS)


def resend(config: "Config", clock: Clock, alert_id: str, by: "Author | None" = None) -> list[str]:
    """Makes an alert due again and delivers what is due; returns the endpoints."""
    from metering.alerts import delivering, recording

    with open_books(config, clock, by) as books:
        endpoints = recording.resend(books, alert_id, config, clock())
        delivering.deliver_due(books, config, endpoint_secrets(config), clock(), real_time)
    return endpoints


def _resend(config: "Config", alert_id: str) -> None:
    for endpoint in resend(config, business_clock(), alert_id):
        click.echo(f"due again at {endpoint}")


def _enable(config: "Config", name: str) -> None:
    """Lets an endpoint be told again, and delivers what is due."""
    from metering.alerts import delivering, endpoints

    clock, secrets = business_clock(), endpoint_secrets(config)
    with open_books(config, clock) as books:
        endpoint = endpoints.enable(books, config, secrets, name, clock())
        done = delivering.deliver_due(books, config, secrets, clock(), real_time)
    click.echo(
        f"{endpoints.shown(endpoint)} is told again; {done.outcomes.get('delivered', 0)} messages were delivered"
    )


def _drop(config: "Config", target: str) -> None:
    """Ends what waits for an endpoint or of an alert."""
    from metering.alerts import endpoints

    clock = business_clock()
    with open_books(config, clock) as books:
        count = endpoints.drop(books, target, clock())
    click.echo(f"{count} messages are abandoned")


def _test_endpoints(config: "Config", form: str | None) -> None:
    from metering.alerts import delivering

    sent = delivering.test_event(config, endpoint_secrets(config), business_clock()(), real_time)
    rows = [
        {"endpoint": endpoint, "outcome": attempt.outcome, "status": attempt.status, "error": attempt.error}
        for endpoint, attempt in sent
    ]
    emit({"endpoints": rows}, rows, form)
    finish(0 if all(row["outcome"] == "delivered" for row in rows) else 1)


COMMANDS: list[click.Command] = [status, usage, quota, alerts, invoices, invoice]
