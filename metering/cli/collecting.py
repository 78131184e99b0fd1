"""Commands that write what they see: poll, backfill, tick, run."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metering.cli import kept
from metering.cli.base import (
    Json,
    api_keys,
    business_clock,
    config_for_writing,
    emit,
    endpoint_secrets,
    finish,
    in_words,
    moment,
    note,
    open_books,
    ping_url,
    read_config,
    real_time,
    with_config,
    with_format,
)
from metering.core.errors import CredentialsError, MeteringError, UsageError
from metering.core.period import Period, rfc3339

if TYPE_CHECKING:
    from metering.config import Config
    from metering.core.stop import Stop
    from metering.ledger.ledger import Ledger
    from metering.polling.readings import CycleReport
    from metering.service.logs import Log
    from metering.service.tick import Tick


@click.command()
@with_config
@with_format
def poll(config_path: Path, form: str | None) -> None:
    """One polling cycle now: inventory, history, quota counters."""
    config, clock = config_for_writing(config_path), business_clock()
    from metering.cli.world import reading
    from metering.service import tick as cycle

    with reading(config, clock) as (books, world):
        report = cycle.poll(books, config, api_keys(config), wiring=world)
    _tell(report, clock(), form)


@click.command()
@click.option("--from", "start", help="RFC 3339; default: as far back as Neon answers.")
@click.option("--to", "end", help="RFC 3339; default: now.")
@with_config
@with_format
def backfill(start: str | None, end: str | None, config_path: Path, form: str | None) -> None:
    """Reads as far back as the API allows: hourly where it still can, daily and monthly beyond."""
    config, clock = config_for_writing(config_path), business_clock()
    from metering.cli.world import reading
    from metering.service import tick as cycle

    since, until = moment("--from", start), moment("--to", end)
    if since and until and since >= until:
        raise UsageError("--from is not before --to")
    with reading(config, clock) as (books, world):
        report = cycle.backfill(books, config, api_keys(config), start=since, end=until, wiring=world)
    _tell(report, clock(), form)


@click.command()
@with_config
def tick(config_path: Path) -> None:
    """What cron calls: poll, evaluate quotas, deliver webhooks, close and report what is due."""
    from metering.cli.world import ended_by_signal

    config, clock = config_for_writing(config_path), business_clock()
    with ended_by_signal() as stop:
        done = one_tick(config, clock, stop)
    for sentence in (*done.all_faults, *done.notes):
        note(sentence)
    finish(_tick_code(done))


def one_tick(config: "Config", clock: Callable[[], datetime], stop: "Stop | None" = None) -> "Tick":
    """Runs a tick in its own ledger, writes the metrics, and requests the ping URL after a complete tick."""
    from metering.cli import author
    from metering.cli.money import report_formats, write_report
    from metering.cli.world import shown_progress, wiring
    from metering.operations import metrics
    from metering.reporting.write import FinalReportError
    from metering.service import tick as cycle

    with open_books(config, clock, author.scheduled("tick")) as books, shown_progress() as progress:

        def report_on(period: Period) -> None:
            with suppress(FinalReportError):  # it was written before a void; the next close writes it anew
                write_report(books.store, config, period, clock(), report_formats(config, period))

        done = cycle.tick(
            books,
            config,
            api_keys(config),
            endpoint_secrets(config),
            real_time=real_time,
            write_report=report_on,
            wiring=wiring(clock, progress, stop),
        )
        done.faults += _kept(books, config)
        try:
            metrics.write(books.store, config, clock())
        except OSError as error:  # what the tick did is durable; only the picture of it is missing
            done.notes.append(f"{metrics.TEXTFILE} was not written: {error.strerror}")
    if is_whole(done) and clock is real_time and not (stop and stop.is_asked):
        done.notes += _ping(config)
    return done


def _kept(books: "Ledger", config: "Config") -> list[str]:
    """Brings the backup up to date; delivers at once that it fails, or works again. Returns the fault."""
    from metering.alerts import delivering

    if config.backup.directory is None:
        return []
    done = kept.back_up(books, config)
    if done.is_news:
        delivering.deliver_due(books, config, endpoint_secrets(config), books.clock(), real_time)
    return [done.fault] if done.fault else []


def _ping(config: "Config") -> list[str]:
    """Requests the ping URL; returns the reason where that failed."""
    from metering.alerts import switch

    url = ping_url(config)
    if url is None:
        return []
    why = str(url) if isinstance(url, CredentialsError) else switch.ping(url.reveal(), config.reached_by)
    return [f"service.ping_url_env: nobody was told of this tick: {why}"] if why else []


def is_whole(done: "Tick") -> bool:
    """Whether the tick read and did everything that was due; a month that waits for a person does not matter."""
    return _code(done.report) == 0 and not done.faults


def _tick_code(done: "Tick") -> int:
    return _code(done.report) or (3 if done.faults or done.blocked else 0)


def _code(report: "CycleReport | None") -> int:
    if report is None:
        return 0
    return 5 if report.is_refused else 3 if report.faults else 0


WALK_COLUMNS = ("organization", "what", "grain", "period_start", "period_end", "pages", "complete", "reason")


def _organization(row: Json) -> Json:
    from metering.core.grain import GRAINS

    named = [{**walk, **({"grain": GRAINS[walk["grain"]]} if "grain" in walk else {})} for walk in row["walks"]]
    told: Json = in_words({**row, "walks": named})
    return told


def _tell(report: "CycleReport", now: datetime, form: str | None) -> None:
    """Prints the result of a cycle and ends with its exit code."""
    for fault in report.faults:
        note(fault)
    document: Json = {
        "as_of": rfc3339(now),
        "outcome": report.outcome,
        "requests": str(report.requests),
        "pages": str(report.pages),
        "changes": str(report.changes),
        "organizations": [_organization(row) for row in report.organizations],
        "faults": report.faults,
        "notes": report.notes,
    }
    rows = [{"organization": row["organization"], **walk} for row in document["organizations"] for walk in row["walks"]]
    emit(document, rows, form, WALK_COLUMNS)
    finish(_code(report))


@click.command()
@click.option(
    "--init", "is_patient", is_flag=True, help="Write a configuration where there is none, and wait for a sound one."
)
@with_config
def run(is_patient: bool, config_path: Path) -> None:
    """Runs as a service: ticks whenever a poll is due; SIGTERM ends it within 10 seconds."""
    from metering.cli.running import Running
    from metering.cli.serving import stopped
    from metering.cli.starting import usable_config
    from metering.service import logs

    log = logs.logger(sys.stderr, real_time, is_terminal=sys.stderr.isatty())
    with stopped() as ended:
        config = usable_config(config_path, log, ended) if is_patient else read_config(config_path)
        if config is not None:
            clock = business_clock()
            running = Running(
                config=config, path=config_path, clock=clock, log=log, one_tick=one_tick, ended=ended, tried_at=clock()
            )
            with _listening(config, lambda: running.config, clock, log):
                running.until_stopped()


@contextmanager
def _listening(
    config: "Config", config_of: "Callable[[], Config]", clock: Callable[[], datetime], log: "Log"
) -> Iterator[None]:
    """Serves the pages while the block runs. Without a free port it logs an error, since polling matters more."""
    from metering.cli.serving import application, ended_at_once, refuse_if_open, without_pages
    from metering.web.server import Listener
    from metering.web.watch import Watch

    refuse_if_open(config)
    if not config.service.listen:
        yield
        return
    watch = Watch(log.log)
    try:
        served = application(config, config_of, clock, watch)
    except CredentialsError as error:
        log.error("no dashboard is served", error=str(error))
        served = without_pages(config, config_of, clock, watch)
    try:
        pages = Listener(served, config.service.listen, watch)
    except MeteringError as error:
        log.error("no dashboard, no metrics and no health are served", error=str(error))
        yield
        return
    with ended_at_once(), pages:
        log.info("listening", address=pages.address, pages=["/", "/api", "/metrics", "/livez", "/readyz", "/healthz"])
        yield


COMMANDS: list[click.Command] = [poll, backfill, tick, run]
