"""Commands that change something at Neon: quotas plan, quotas apply."""

from pathlib import Path

import click

from metering.cli.base import api_keys, business_clock, emit, finish, note, read_config, with_config, with_format
from metering.period import rfc3339


@click.group()
def quotas() -> None:
    """The plans' quotas against what Neon has."""


@quotas.command(name="plan")
@with_config
@with_format
def quotas_plan(config_path: Path, form: str | None) -> None:
    """What `quotas apply` would change, by what was last read; asks nobody."""
    from metering import quotas as changing
    from metering import store

    config, now = read_config(config_path), business_clock()()
    with store.open_reader(config.store.directory) as found:
        document = changing.plan(found, config, now)
    emit(document, document["changes"], form)


@quotas.command(name="apply")
@click.option("--force", is_flag=True, help="Also limits that current usage reaches: Neon suspends those projects.")
@click.option("--project", "projects", multiple=True, metavar="ID", help="Only this project; may be given again.")
@with_config
@with_format
def quotas_apply(force: bool, projects: tuple[str, ...], config_path: Path, form: str | None) -> None:
    """Makes Neon's quotas what the plans say; looks at each project before and after."""
    from metering import cycle, ledger
    from metering import quotas as changing
    from metering.cli.collecting import wiring

    config, clock = read_config(config_path), business_clock()
    with ledger.open_ledger(config.store.directory, clock) as books:
        found = changing.standings(books.store, config, clock())
        if unknown := sorted(set(projects) - {one.project_id for one in found}):
            raise click.UsageError(f"no project {', '.join(unknown)} was read from Neon")
        wanted = [one for one in found if one.changes() and (not projects or one.project_id in projects)]
        done = changing.apply(
            books,
            config,
            api_keys(config),
            cycle.clients(config, books, wiring(clock, lambda _what, _count: None)),
            wanted,
            reason="quotas apply --force" if force else "quotas apply",
            force=force,
        )
    for fault in done.faults:
        note(fault)
    emit({"as_of": rfc3339(clock()), "changes": done.rows}, done.rows, form)
    finish(5 if done.is_refused else 3 if done.faults else 0)


COMMANDS: list[click.Command] = [quotas]
