"""Brings the continuous backup up to date at the end of a command, and keeps the exit code of a failure."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from metering.config import Config
    from metering.ledger.ledger import Ledger
    from metering.service.backing_up import Followed

_INCOMPLETE = 3
_FAULT = "metering.backup_fault"


@contextmanager
def backed_up(books: "Ledger", config: "Config") -> Iterator[None]:
    """Brings the backup up to date after the block, also if the block fails; prints a sentence if the backup fails."""
    if config.backup.directory is None:
        yield
        return
    from metering.core.errors import MeteringError
    from metering.service import backing_up

    try:
        yield
    except BaseException:
        with suppress(MeteringError, OSError):  # the first error says why; the next command goes on with the backup
            backing_up.follow_quietly(books, config)
        raise
    told, done = click.get_current_context().meta.get(_FAULT), back_up(books, config)
    for sentence in (done.fault, done.note):
        if sentence and sentence != told:
            click.echo(f"metering: {sentence}", err=True)


def back_up(books: "Ledger", config: "Config") -> "Followed":
    """Brings the backup up to date. If the last call of a command failed, the command ends with 3."""
    from metering.service import backing_up

    done = backing_up.follow(books, config)
    click.get_current_context().meta[_FAULT] = done.fault
    return done


def exit_code() -> int:
    """3 if the last attempt to bring the backup up to date failed, otherwise 0."""
    return _INCOMPLETE if click.get_current_context().meta.get(_FAULT) else 0
