"""The command that hands the month on to other systems: export."""

from pathlib import Path

import click

from metering.cli.base import business_clock, note, read_config, with_config
from metering.errors import UsageError
from metering.period import month_name, parse_month

FORMATS = ("focus", "stripe", "xero", "quickbooks", "beancount", "hledger", "ubl", "facturx", "cloudevents", "lago")


@click.command()
@click.argument("form", metavar="FORMAT", type=click.Choice(FORMATS))
@click.argument("month")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Default: standard output.")
@click.option("--number", metavar="NUMBER", help="Only this document.")
@click.option("--drafts", is_flag=True, help="focus: also what is not final yet.")
@click.option("--cost", is_flag=True, help="focus: what Neon charges you, not what you charge.")
@click.option("--accounts", is_flag=True, help="beancount, hledger: declare the accounts too.")
@click.option("--events", is_flag=True, help="stripe: meter events, not invoice items.")
@click.option("--by", type=click.Choice(["day", "hour"]), help="Events: of a day (default) or an hour each.")
@with_config
def export(  # noqa: PLR0913, PLR0917 - one parameter per option
    form: str,
    month: str,
    output: Path | None,
    number: str | None,
    drafts: bool,
    cost: bool,
    accounts: bool,
    events: bool,
    by: str | None,
    config_path: Path,
) -> None:
    """The month's invoices or usage as other systems take them; what is exported for accounting is final."""
    from metering import store
    from metering.export import rendering
    from metering.files import write_whole

    given = {"drafts": drafts, "cost": cost, "accounts": accounts, "events": events, "by": by, "number": number}
    _refuse_misplaced(form, {name for name, value in given.items() if value})
    config, now = read_config(config_path), business_clock()()
    period = parse_month(month, now)
    wanted = rendering.Wanted(
        form=form,
        suffix=output.suffix if output else "",
        number=number,
        with_drafts=drafts,
        is_cost=cost,
        is_events=events,
        with_accounts=accounts,
        by=by or "day",
    )
    with store.open_reader(config.store.directory) as found:
        content = rendering.render(found, config, period, now, wanted)
    if not content:
        note(f"{month_name(period)} has nothing to export as {form}")
    if output:
        write_whole(output, content)
    else:
        click.echo(content.decode(), nl=False)


def _refuse_misplaced(form: str, given: set[str]) -> None:
    from metering.export.rendering import OPTIONS

    for name in sorted(given - OPTIONS[form]):
        takes = ", ".join(f"--{option}" for option in sorted(OPTIONS[form]))
        raise UsageError(f"{form} takes no --{name}", hint=f"it takes: {takes}")


COMMANDS: list[click.Command] = [export]
