"""Commands for operators: backup, metrics, acknowledge, history."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metering.cli import kept
from metering.cli.base import (
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

if TYPE_CHECKING:
    from datetime import datetime

    from metering.config import Config


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="Then delete all but the newest N backups there.")
@click.option(
    "--begin", "begins", is_flag=True, help="Without DIRECTORY: begin a new backup beside the one that is there."
)
@with_config
def backup(directory: Path | None, keep: int | None, begins: bool, config_path: Path) -> None:
    """A consistent, verified copy of journal and snapshot, in a new directory under DIRECTORY.

    Without DIRECTORY: brings `backup.directory` of the configuration up to date, and reads all of it back.
    """
    from metering.store import backup as copying

    if directory is None and keep:
        raise click.UsageError("--keep needs a DIRECTORY")
    if directory is not None and begins:
        raise click.UsageError("--begin is about the backup.directory that is configured: name no DIRECTORY")
    config = read_config(config_path)
    if directory is None:
        _continuous(config, begins=begins)
        return
    now = business_clock()()
    made = copying.backup(config.store.directory, directory, now)
    click.echo(f"{made.path}: {made.records} journal records, {made.bytes} bytes, verified")
    for path in copying.prune(directory, keep) if keep else ():
        click.echo(f"{path}: deleted")


def _continuous(config: "Config", *, begins: bool) -> None:
    """Brings the configured backup up to date and verifies it; a failure is announced when the books are closed."""
    from metering.core.errors import BackupError, UsageError
    from metering.service import backing_up
    from metering.store import continuous, restoring

    if config.backup.directory is None:
        hint = 'name a DIRECTORY, or configure [backup] directory = "…"'
        raise UsageError("no backup.directory is configured", hint=hint)
    with open_books(config, business_clock()) as books, suppress(BackupError):
        backing_up.follow_quietly(books, config, is_patient=True, begins=begins)
    state = continuous.state_of(config.store.directory)
    if state is None or kept.exit_code():
        note("nothing was verified")
        finish(3)
        return
    past = restoring.opened(config.backup.directory / state.line, None)
    click.echo(f"{past.path}: {past.extent.records} journal records, verified")


@click.command()
@with_config
def metrics(config_path: Path) -> None:
    """The state in Prometheus' text format; `tick` writes the same to metrics.prom in the store directory."""
    from metering.ledger import reading
    from metering.operations import metrics as state

    config, now = read_config(config_path), business_clock()()
    with reading.open_reader(config.store.directory) as found:
        click.echo(state.exposition(found, config, now), nl=False)


@click.command()
@click.argument("alarm", metavar="ID", callback=as_id)
@click.option("--reason", metavar="TEXT", required=True, help="What was found; it is recorded.")
@click.option("--count", metavar="ORGANIZATION", help="Whose usage counts, of what two report; `both`: of each.")
@with_config
@with_format
def acknowledge(alarm: str, reason: str, count: str | None, config_path: Path, form: str | None) -> None:
    """Clears an alarm that `status` lists: a month may close again, a new metric parks nobody."""
    from metering.invoicing import alarms

    if not reason.strip():
        raise click.UsageError("--reason needs a text")
    config, clock = read_config(config_path), business_clock()
    with open_books(config, clock) as books:
        row = alarms.acknowledge(books, alarm, reason.strip(), count)
    emit(row, [row], form)


@click.command()
@click.option("--customer", metavar="ID", callback=as_id, help="Only what made or held documents of this customer.")
@click.option("--since", metavar="TIME", help="Only from this day or time on: 2026-10-01, 2026-10-01T12:00:00Z.")
@click.option("--kind", metavar="KIND", help="Only records of this kind: close, void, quota_change, …")
@with_config
@with_format
def history(customer: str | None, since: str | None, kind: str | None, config_path: Path, form: str | None) -> None:
    """Who did what, when and from where; the latest first."""
    from metering.core.errors import UsageError
    from metering.ledger import history as deeds
    from metering.ledger import reading

    if kind is not None and kind not in deeds.KINDS:
        raise UsageError(f"there is no kind {kind!r}", hint=f"write one of {', '.join(deeds.KINDS)}")
    config = read_config(config_path)
    with reading.open_reader(config.store.directory) as found:
        rows = deeds.history(found, customer=customer, since=_moment(since), kind=kind)
    emit({"history": rows}, rows, form, deeds.COLUMNS)


def _moment(text: str | None) -> "datetime | None":
    """A day (its midnight in UTC) or a time. Raises UsageError for anything else."""
    from metering.core.errors import UsageError
    from metering.core.period import parse_time

    if text is None:
        return None
    try:
        return parse_time(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError:
        raise UsageError(f"--since: {text!r} is no time", hint="write 2026-10-01 or 2026-10-01T12:00:00Z") from None


COMMANDS: list[click.Command] = [backup, metrics, acknowledge, history]
