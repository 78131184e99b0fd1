"""Commands about the store itself: `restore` makes one of a backup, `store adopt` lets one go on by a person's word."""

from pathlib import Path

import click

from metering.cli.base import business_clock, emit, note, open_books, read_config, with_config, with_format


@click.command()
@click.argument("backup", type=click.Path(path_type=Path, file_okay=False, exists=True))
@with_config
def restore(backup: Path, config_path: Path) -> None:
    """Copies a backup into the store directory, which must be empty; it closes nothing until `store adopt`."""
    from metering.store import backup as copying

    config = read_config(config_path)
    files = copying.restore(backup, config.store.directory)
    click.echo(f"{files} files were copied into {config.store.directory}")
    note("closing, voiding, sending and changes at Neon wait for `metering store adopt --i-compared`")


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
