"""The command line: the only place that reads argv, the environment and the wall clock, and sets exit codes.

One short function per command. A command's module is imported when the command is asked for, and what the command
needs is imported inside it: `metering usage` loads no other command, and `metering --help` is quick.
"""

import errno
import importlib
import os
import sys
from collections.abc import Iterator, Mapping

import click

from metering import __version__
from metering.cli import streams
from metering.core import exhaustion, signals
from metering.core.errors import DISK_HINT, MeteringError
from metering.ledger.healing import healed

__all__ = ["main"]


_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


_MODULES = {
    "tools": ("init", "check", "demo", "sandbox", "verify", "rebuild"),
    "collecting": ("poll", "backfill", "tick", "run"),
    "reading": ("status", "usage", "quota", "alerts", "invoices", "invoice"),
    "money": ("price", "close", "report"),
    "exporting": ("export",),
    "correcting": ("void",),
    "explaining": ("explain", "reconcile", "backtest", "advice", "forecast"),
    "changing": ("quotas", "upgrade"),
    "operations": ("backup", "metrics", "acknowledge", "history"),
    "serving": ("serve",),
    "stores": ("restore", "store"),
}
"""Module of this package -> its commands: each module lists them as COMMANDS."""
_MODULE_OF = {command: module for module, commands in _MODULES.items() for command in commands}


class _Commands(Mapping[str, click.Command]):
    """Name -> command; imports a command's module when the command is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        module = importlib.import_module(f"metering.cli.{_MODULE_OF[name]}")
        commands: list[click.Command] = module.COMMANDS
        return next(command for command in commands if command.name == name)

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULE_OF)

    def __len__(self) -> int:
        return len(_MODULE_OF)


@click.group(commands=_Commands(), context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="metering")
def cli() -> None:
    """Usage metering and billing for platforms that give each of their customers a Neon Postgres project."""


@cli.result_callback()
def ended(_result: object) -> None:
    """Ends a command that did not say how it ended."""
    from metering.cli.base import finish

    finish(0)


def _run() -> object:
    with exhaustion.in_a_sentence():
        return cli.main(prog_name="metering", standalone_mode=False)


def main() -> None:
    """Runs the command line and exits with the contract's codes. What it writes is its owner's alone."""
    os.umask(0o077)
    streams.prepare()
    try:
        with signals.ending(lambda: None, grace_seconds=0):
            code = healed(_run, lambda done: click.echo(f"metering: {done}", err=True))
    except MeteringError as error:
        if isinstance(error, streams.OutputError):
            streams.give_up_output()
        click.echo(f"metering: {error}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _end_interrupted()
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except BrokenPipeError:
        streams.give_up_output()
        sys.exit(0)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"metering: {place}{error.strerror or error}", err=True)
        if error.errno in _DISK_FAULTS:
            click.echo(f"  {DISK_HINT}", err=True)
        sys.exit(1)
    except RuntimeError:
        if not signals.is_asked():
            raise
        _end_interrupted()  # the database was interrupted in a query
    sys.exit(code if isinstance(code, int) else 0)


def _end_interrupted() -> None:
    if signals.is_asked():
        click.echo("metering: ended by SIGTERM; what was recorded stays, run it again for the rest", err=True)
    sys.exit(signals.INTERRUPTED)
