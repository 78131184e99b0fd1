"""Commands that change something at Neon: quotas plan, quotas apply, upgrade."""

from pathlib import Path

import click

from metering.cli.base import (
    api_keys,
    as_id,
    business_clock,
    emit,
    finish,
    note,
    open_books,
    read_config,
    with_config,
    with_format,
)
from metering.core.errors import MeteringError
from metering.core.period import rfc3339


@click.group()
def quotas() -> None:
    """The plans' quotas against what Neon has."""


@quotas.command(name="plan")
@with_config
@with_format
def quotas_plan(config_path: Path, form: str | None) -> None:
    """What `quotas apply` would change, by what was last read; asks nobody."""
    from metering.ledger import reading
    from metering.provisioning import quotas as changing

    config, now = read_config(config_path), business_clock()()
    with reading.open_reader(config.store.directory) as found:
        document = changing.plan(found, config, now)
    emit(document, document["changes"], form)


@quotas.command(name="apply")
@click.option("--force", is_flag=True, help="Also limits that current usage reaches: Neon suspends those projects.")
@click.option("--project", "projects", multiple=True, metavar="ID", help="Only this project; may be given again.")
@with_config
@with_format
def quotas_apply(force: bool, projects: tuple[str, ...], config_path: Path, form: str | None) -> None:
    """Makes Neon's quotas what the plans say; looks at each project before and after."""
    from metering.cli.world import wiring
    from metering.provisioning import quotas as changing
    from metering.service import wiring as world

    config, clock = read_config(config_path), business_clock()
    with open_books(config, clock) as books:
        found = changing.standings(books.store, config, clock())
        if unknown := sorted(set(projects) - {one.project_id for one in found}):
            hint = "`metering poll` reads the inventory"
            raise MeteringError(f"no project {', '.join(map(repr, unknown))} was read from Neon", hint=hint)
        wanted = [one for one in found if one.changes() and (not projects or one.project_id in projects)]
        done = changing.apply(
            books,
            config,
            api_keys(config),
            world.clients(config, books, wiring(clock, lambda _what, _count: None)),
            wanted,
            reason="quotas apply --force" if force else "quotas apply",
            force=force,
        )
    for fault in done.faults:
        note(fault)
    emit({"as_of": rfc3339(clock()), "changes": done.rows}, done.rows, form)
    finish(5 if done.is_refused else 3 if done.faults else 0)


@click.command()
@click.argument("project", callback=as_id)
@click.option("--plan", "plan_id", metavar="P", required=True, callback=as_id, help="The plan that it gets.")
@click.option("--transfer-to", metavar="ORG", help="The organization that it moves to; needs a personal key.")
@click.option("--force", is_flag=True, help="Also where current usage reaches the new plan's quotas.")
@with_config
@with_format
def upgrade(  # noqa: PLR0913, PLR0917 - click hands over what was typed
    project: str, plan_id: str, transfer_to: str | None, force: bool, config_path: Path, form: str | None
) -> None:
    """Another plan for a project: transfer, then quotas, then its line in subscriptions.csv."""
    from metering.cli.world import wiring
    from metering.provisioning import upgrade as upgrading
    from metering.service import wiring as world

    config, clock = read_config(config_path), business_clock()
    wanted = upgrading.Wanted(project_id=project, plan=plan_id, transfer_to=transfer_to, force=force)
    with open_books(config, clock) as books:
        neon_of = world.clients(config, books, wiring(clock, lambda _what, _count: None))
        done = upgrading.upgrade(books, config, api_keys(config), neon_of, wanted)
    if any(step["result"] == "by hand" for step in done.steps):
        note("no subscriptions file is configured; the plan is another once these lines stand in one:")
        for line in done.lines:
            note(line)
    document = {"as_of": rfc3339(clock()), "project_id": project, "plan": plan_id, "steps": done.steps}
    emit(document, done.steps, form)


COMMANDS: list[click.Command] = [quotas, upgrade]
