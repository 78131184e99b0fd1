"""Commands for whoever runs it: backup, metrics."""

from pathlib import Path

import click

from metering.cli.base import business_clock, read_config, with_config


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@with_config
def backup(directory: Path, config_path: Path) -> None:
    """A consistent, verified copy of journal and snapshot, in a new directory under DIRECTORY."""
    from metering import backup as copying

    config, now = read_config(config_path), business_clock()()
    made = copying.backup(config.store.directory, directory, now)
    click.echo(f"{made.path}: {made.records} journal records, {made.bytes} bytes, verified")


@click.command()
@with_config
def metrics(config_path: Path) -> None:
    """The state in Prometheus' text format; `tick` writes the same to metrics.prom in the store directory."""
    from metering import metrics as state
    from metering import store

    config, now = read_config(config_path), business_clock()()
    with store.open_reader(config.store.directory) as found:
        click.echo(state.exposition(found, config, now), nl=False)


COMMANDS: list[click.Command] = [backup, metrics]
