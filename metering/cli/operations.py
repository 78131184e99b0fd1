"""Commands for operators: backup, metrics, acknowledge."""

from pathlib import Path

import click

from metering.cli.base import as_id, business_clock, emit, open_books, read_config, with_config, with_format


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="Then delete all but the newest N backups there.")
@with_config
def backup(directory: Path, keep: int | None, config_path: Path) -> None:
    """A consistent, verified copy of journal and snapshot, in a new directory under DIRECTORY."""
    from metering.store import backup as copying

    config, now = read_config(config_path), business_clock()()
    made = copying.backup(config.store.directory, directory, now)
    click.echo(f"{made.path}: {made.records} journal records, {made.bytes} bytes, verified")
    for path in copying.prune(directory, keep) if keep else ():
        click.echo(f"{path}: deleted")


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


COMMANDS: list[click.Command] = [backup, metrics, acknowledge]
