"""Commands that say why: explain."""

import json
import sys
from pathlib import Path

import click

from metering.cli.base import finish, note, read_config, with_config


@click.command()
@click.argument("number")
@click.argument("line", required=False)
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), help="Default: table on a terminal, json when piped."
)
@with_config
def explain(number: str, line: str | None, form: str | None, config_path: Path) -> None:
    """From an invoice's LINE (its key, or its number from 1) down to the pages behind it; without LINE, all lines."""
    from metering import explain as explaining
    from metering import explain_text, store

    config = read_config(config_path)
    with store.open_reader(config.store.directory) as found:
        told = explaining.explain(found, number, line)
    is_table = form == "table" or (form is None and sys.stdout.isatty())
    click.echo(explain_text.table(told) if is_table else json.dumps(told, indent=2, ensure_ascii=False))
    if not told.get("agrees", True):
        note(f"{number}: computed again, the line comes to {told['arithmetic']['amount']}")
        finish(1)


COMMANDS: list[click.Command] = [explain]
