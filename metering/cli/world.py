"""Connects a cycle that a command starts with the real world, or with a rehearsal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import click

from metering.cli.base import open_books, real_time
from metering.config import Config
from metering.core.signals import ending
from metering.core.stop import Stop
from metering.ledger.ledger import Ledger
from metering.service import wiring as world


def wiring(
    clock: Callable[[], datetime], progress: Callable[[str, int], None], stop: Stop | None = None
) -> world.Wiring:
    """The wiring of a cycle: for real, or as a rehearsal where METERING_NOW is set."""
    return world.Wiring(progress=progress, stop=stop or Stop(), is_rehearsed=clock is not real_time)


@contextmanager
def ended_by_signal() -> Iterator[Stop]:
    """A stop that SIGTERM asks for: a page in hand is finished, the rest is reported as not read."""
    stop = Stop()
    with ending(stop.ask):
        yield stop


@contextmanager
def shown_progress() -> Iterator[Callable[[str, int], None]]:
    """Counts pages on a terminal's stderr; shows nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _what, _count: None
        return
    counts: dict[str, int] = {}

    def show(what: str, count: int) -> None:
        counts[what] = counts.get(what, 0) + count
        click.echo(f"\r\x1b[K{what}: {counts[what]} answers", nl=False, err=True)

    yield show
    click.echo("\r\x1b[K", nl=False, err=True)


@contextmanager
def reading(config: Config, clock: Callable[[], datetime]) -> Iterator[tuple[Ledger, world.Wiring]]:
    """The open ledger and the wiring of a run that SIGTERM ends."""
    opened = open_books(config, clock)
    with ended_by_signal() as stop, opened as books, shown_progress() as progress:
        yield books, wiring(clock, progress, stop)
