"""The command line: the only place that reads argv, the environment and the wall clock, and sets exit codes.

One short function per command; what a command needs is imported inside it, so that `metering --help` is quick.
"""

import errno
import os
import sys

import click

from metering import __version__
from metering.cli import (
    changing,
    collecting,
    correcting,
    explaining,
    exporting,
    money,
    operations,
    reading,
    serving,
    tools,
)
from metering.core.errors import DISK_HINT, MeteringError

__all__ = ["main"]


_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="metering")
def cli() -> None:
    """Usage metering and billing for platforms that give each of their customers a Neon Postgres project."""


for _module in (tools, collecting, reading, money, exporting, correcting, explaining, changing, operations, serving):
    for _command in _module.COMMANDS:
        cli.add_command(_command)


def main() -> None:
    """Runs the command line and exits with the contract's codes. What it writes is its owner's alone."""
    os.umask(0o077)
    try:
        code = cli.main(prog_name="metering", standalone_mode=False)
    except MeteringError as error:
        click.echo(f"metering: {error}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"metering: {place}{error.strerror or error}", err=True)
        if error.errno in _DISK_FAULTS:
            click.echo(f"  {DISK_HINT}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
