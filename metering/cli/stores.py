"""Commands about the store itself: `restore` makes one of a backup, `store adopt` lets one go on by a person's word."""

from collections.abc import Mapping
from pathlib import Path

import click

from metering.cli.base import business_clock, emit, moment, note, open_books, read_config, with_config, with_format

CONFIGURATION = "configuration"
"""In the store directory: the configuration of then, where another one is in force now."""


@click.command()
@click.argument("backup", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--at", "until", metavar="T", help="As it was then (RFC 3339); default: as it was last.")
@with_config
def restore(backup: Path, until: str | None, config_path: Path) -> None:
    """Makes the store directory, which must be empty, of a backup; it closes nothing until `store adopt`.

    A configuration that is not there is restored too; one that is there stays, and that of then lies with the store.
    """
    from metering.store import restoring

    past = restoring.opened(backup, moment("--at", until))
    if past.configuration and not config_path.exists():
        _lay_out_configuration(past.configuration, config_path)
    config = read_config(config_path)
    files = restoring.put(past, config.store.directory)
    click.echo(
        f"{files} files were copied into {config.store.directory}: {past.extent.records} records, "
        f"the last of {past.extent.latest_at}"
    )
    now = {name: path.read_bytes() for name, path in config.kept_files.items()}
    if past.configuration and [*past.configuration.values()] != [*now.values()]:
        place = config.store.directory / CONFIGURATION
        restoring.lay_out(past.configuration, place)
        note(f"the configuration of then is another than {config.path} and what it names: it lies in {place}")
    for other in past.others:
        note(f"{past.path} was taken; there is also {other}")
    note("closing, voiding, sending and changes at Neon wait for `metering store adopt --i-compared`")


def _lay_out_configuration(files: Mapping[str, bytes], config_path: Path) -> None:
    """Writes a configuration that is not there, under the name that the command gives it."""
    from metering.store import restoring

    (_, content), *others = files.items()
    for path in restoring.lay_out({config_path.name: content, **dict(others)}, config_path.absolute().parent):
        click.echo(f"{path}: restored")


@click.group()
def store() -> None:
    """What a person decides about the store itself."""


@store.command()
@click.option("--i-compared", "is_compared", is_flag=True, help="What was issued was compared with this store.")
@click.option("--clock", "is_clock", is_flag=True, help="The clock is right, and the last records were dated too late.")
@click.option("--number", "given", multiple=True, metavar="NUMBER", help="The last number given out elsewhere.")
@with_config
@with_format
def adopt(is_compared: bool, is_clock: bool, given: tuple[str, ...], config_path: Path, form: str | None) -> None:
    """Lets a restored, rebuilt or copied store issue again, behind every number that was ever given out."""
    from metering.invoicing.amending import adopting

    if is_compared == is_clock:
        raise click.UsageError("say one of --i-compared and --clock")
    config, clock = read_config(config_path), business_clock()
    seen = [adopting.series_of(one, config.invoices.number) for one in given]
    with open_books(config, clock) as books:
        done = adopting.adopt(books, is_compared=is_compared, is_clock=is_clock, seen=seen)
    emit(done, [done], form)


COMMANDS: list[click.Command] = [restore, store]
