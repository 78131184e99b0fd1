"""Commands around the product: init, check, demo, sandbox, verify, rebuild."""

import sys
from pathlib import Path

import click

from metering.cli.base import (
    api_keys,
    business_clock,
    emit,
    endpoint_secrets,
    finish,
    note,
    open_books,
    ping_url,
    read_config,
    real_time,
    with_config,
    with_format,
)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path())
def init(directory: Path) -> None:
    """Writes a commented config.toml with example customers and subscriptions; never overwrites."""
    from metering.config import write_starter

    click.echo(write_starter(directory))


@click.command()
@click.option("--send-test", is_flag=True, help="Also send a test event to every webhook and channel.")
@with_config
@with_format
def check(send_test: bool, config_path: Path, form: str | None) -> None:
    """Everything that can be known before the first poll: configuration, credentials, store, endpoints."""
    from metering.cli.serving import later_secrets
    from metering.core.errors import ConfigError
    from metering.service import check as checks

    try:
        config, clock = read_config(config_path), business_clock()
    except ConfigError as error:
        right = error.hint or f"correct {error.faults[0].where}"
        raise ConfigError(error.faults, hint=f"not ready: first {right}") from None
    found = checks.check(
        config,
        api_keys(config),
        endpoint_secrets(config),
        clock,
        real_time,
        send_test=send_test,
        ping=ping_url(config),
        later=later_secrets(config),
    )
    emit(found.document(), found.rows(), form)
    for fault in found.faults:
        note(fault)
    is_table = form == "table" or (form is None and sys.stdout.isatty())
    if is_table:
        click.echo(found.verdict)
    elif found.exit_code:
        note(found.verdict)
    finish(found.exit_code)


@click.command()
@click.option("--projects", type=click.IntRange(1, 100_000), default=200, show_default=True)
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Default: metering-demo.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--serve", "is_served", is_flag=True, help="Then keep the dashboard up until Ctrl-C.")
def demo(projects: int, directory: Path | None, seed: int, is_served: bool) -> None:
    """No account needed: a sandbox API, two months of usage, alerts, invoices and a report."""
    from metering.cli.demo import demo as rehearse
    from metering.cli.serving import serve_until_stopped

    target = directory or Path("metering-demo")
    code = rehearse.demo(target, projects=projects, seed=seed, real_time=real_time, is_terminal=sys.stderr.isatty())
    if is_served:
        serve_until_stopped(read_config(target / "config.toml"), lambda: rehearse.ENDS_AT)
    finish(code)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8471, show_default=True, help="0: any free one.")
@click.option("--projects", type=click.IntRange(0, 100_000), default=200, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--now", "moment", help="The server's time (RFC 3339), standing still. Default: the real time.")
@click.option("--fault", "faults", multiple=True, help="What to get wrong, such as 429:0.1 or truncate:0.02.")
def sandbox(port: int, projects: int, seed: int, moment: str | None, faults: tuple[str, ...]) -> None:
    """The sandbox Neon API alone: a server for rehearsals and for other people's clients."""
    from metering.core.errors import UsageError
    from metering.core.period import parse_time, whole_second
    from metering.sandbox.gate import Clock
    from metering.sandbox.server import main

    try:
        clock = Clock.at(whole_second(parse_time(moment))) if moment else Clock(real_time)
    except ValueError as error:
        raise UsageError(f"--now: {error}") from None
    main(port=port, projects=projects, seed=seed, clock=clock, faults=faults)


@click.command()
@click.option("--quick", "is_quick", is_flag=True, help="Only what takes seconds however old the store is.")
@with_config
def verify(is_quick: bool, config_path: Path) -> None:
    """Re-derives everything: hash chain, store against journal, final invoices rated again to the same bytes."""
    from metering.operations import verify as audit

    config, clock = read_config(config_path), business_clock()
    with open_books(config, clock) as books:
        found = (audit.quick if is_quick else audit.verify)(config.store.directory, books.store)
        found.notes += [f"nothing is promised: {one.what}" for one in books.obstacles()]
    click.echo(f"{found.records} journal records, {found.tables} tables, {found.invoices} invoices checked")
    for told in found.notes:
        click.echo(told)
    for fault in found.faults:
        note(fault)
    click.echo("everything agrees" if not found.faults else f"{len(found.faults)} faults")
    finish(1 if found.faults else 0)


@click.command()
@with_config
def rebuild(config_path: Path) -> None:
    """Builds the store anew from the journal."""
    from metering.operations import rebuild as building

    config, clock = read_config(config_path), business_clock()
    done = building.rebuild(config.store.directory)
    click.echo(f"rebuilt from {done.records} journal records")
    building.go_on_after_loss(config.store.directory, clock, done)
    if done.lost:
        with open_books(config, clock):  # the new epoch has a line of its own in the backup
            place = f"the backup in {config.backup.directory}" if config.backup.directory else "a backup"
        note(f"records up to {done.lost} were written here and are lost; {place} may have them")
        note(f"what the old store held of them is kept as {building.LOST}, if it was there")
        note("closing, voiding, sending and changes at Neon wait for `metering store adopt --i-compared`")
        finish(3)


COMMANDS: list[click.Command] = [init, check, demo, sandbox, verify, rebuild]
