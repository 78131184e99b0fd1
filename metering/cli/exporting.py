"""The command that exports a month for other systems: export."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from metering.cli.base import (
    Clock,
    business_clock,
    emit,
    finish,
    in_words,
    note,
    open_books,
    read_config,
    real_time,
    with_config,
)
from metering.core.errors import MeteringError, UsageError
from metering.core.period import Period, month_name, parse_month

if TYPE_CHECKING:
    from metering.config import Config
    from metering.export.rendering import Wanted


class _Format(click.ParamType[str]):
    """The type of a format's name. It imports the list of formats only to check a name: `--help` stays quick."""

    name = "choice"

    @staticmethod
    def _choice() -> click.Choice[str]:
        from metering.export.rendering import FORMATS

        return click.Choice(tuple(FORMATS))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, if it is a format; else a usage error that lists the formats."""
        return self._choice().convert(value, param, ctx)

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """The list of formats, for the error about a missing one."""
        return self._choice().get_missing_message(param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The formats that begin with the typed text."""
        return self._choice().shell_complete(ctx, param, incomplete)


@click.command()
@click.argument("form", metavar="FORMAT", type=_Format())
@click.argument("month")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Default: standard output.")
@click.option("--number", metavar="NUMBER", help="Only this document.")
@click.option("--only", type=click.Choice(["invoices", "credit_notes"]), help="xero, quickbooks: one kind alone.")
@click.option("--drafts", is_flag=True, help="focus: also what is not final yet.")
@click.option("--cost", is_flag=True, help="focus: what Neon charges you, not what you charge.")
@click.option("--accounts", is_flag=True, help="beancount, hledger: declare the accounts too.")
@click.option("--events", is_flag=True, help="stripe: meter events, not invoice items.")
@click.option("--send", is_flag=True, help="stripe: send it, each item or event once.")
@click.option("--by", type=click.Choice(["day", "hour"]), help="Events: of a day (default) or an hour each.")
@with_config
def export(form: str, month: str, output: Path | None, config_path: Path, **given: Any) -> None:
    """The month's invoices or usage as other systems take them; what is exported for accounting is final."""
    from metering.billing import terms
    from metering.billing.month import Month
    from metering.billing.recorded import Recorded
    from metering.export import rendering, written
    from metering.ledger import reading

    _refuse_misplaced(form, {name for name, value in given.items() if value})
    if given["send"] and output:
        raise UsageError("--send writes no file", hint="leave -o out, or --send")
    config, clock = read_config(config_path), business_clock()
    period = parse_month(month, clock())
    wanted = _wanted(form, output, given)
    if given["send"]:
        _send(config, clock, period, wanted)
        return
    with reading.open_reader(config.store.directory) as found:
        of_month = Month(recorded=Recorded(store=found), terms=terms.of(config), period=period, now=clock())
        done = rendering.render(of_month, config, wanted)
        made = written.Made(
            what=f"{form} {month_name(period)}",
            seq=int(found.query("store/position").item(0, "seq")),
            is_draft=wanted.with_drafts and found.query("invoicing/closing_facts", month=month_name(period)).is_empty(),
        )
    for refused in done.refused:
        note(f"{refused.number} is left out: {refused.reason}")
    if not done.content and not done.refused and not done.parts:
        note(f"{month_name(period)} has nothing to export as {form}")
    if output and form == "quickbooks" and not wanted.number:
        _refuse_leftovers(output, max(1, len(done.parts)))
    if done.parts:
        for path, content in _numbered(done.parts, output, f"{form} takes no more of {month_name(period)} at once"):
            written.write(config.store.directory, path, content, made)
            click.echo(str(path))
    elif output and (done.content or not done.refused):
        written.write(config.store.directory, output, done.content, made)
    elif not output:
        click.echo(done.content.decode(), nl=False)
    finish(3 if done.refused else 0)


def _wanted(form: str, output: Path | None, given: Mapping[str, Any]) -> "Wanted":
    from metering.export import rendering

    return rendering.Wanted(
        form=form,
        suffix=output.suffix if output else "",
        number=given["number"],
        only=given["only"],
        with_drafts=given["drafts"],
        is_cost=given["cost"],
        is_events=given["events"],
        with_accounts=given["accounts"],
        by=given["by"] or "day",
    )


def _numbered(parts: "Sequence[bytes]", output: Path | None, why: str) -> "Iterator[tuple[Path, bytes]]":
    """The parts with their paths, FILE-1, FILE-2, …. Raises UsageError where no file is named."""
    if output is None:
        hint = "write -o FILE.csv for numbered files, -o FILE.zip for all in one, or --number NUMBER for one document"
        raise UsageError(f"{why}: it comes in {len(parts)} files", hint=hint)
    for number, content in enumerate(parts, start=1):
        yield _part(output, number), content


def _part(output: Path, number: int) -> Path:
    return output.with_name(f"{output.stem}-{number}{output.suffix}")


def _refuse_leftovers(output: Path, count: int) -> None:
    """Raises MeteringError where an earlier export left a file that would be imported together with the new ones.

    `count` is the number of new files: the file itself, or its parts.
    """
    if output.suffix == ".zip":
        return
    strays = [output] if count > 1 else [_part(output, 1)]
    strays.append(_part(output, count + 1 if count > 1 else 2))
    found = [str(path) for path in strays if path.exists()]
    if found:
        raise MeteringError(
            f"left over from an earlier export, and no part of this one: {', '.join(found)}",
            hint="take those files and any that follow them away, or write to another name",
        )


def _refuse_misplaced(form: str, given: set[str]) -> None:
    from metering.export.rendering import FORMATS

    options = FORMATS[form].options
    for name in sorted(given - options):
        takes = ", ".join(f"--{option}" for option in sorted(options))
        raise UsageError(f"{form} takes no --{name}", hint=f"it takes: {takes}")


def _send(config: "Config", clock: Clock, period: Period, wanted: "Wanted") -> None:
    """Sends to Stripe and prints the result; ends with 3 where something is left to do."""
    from metering.billing import terms
    from metering.billing.month import Month
    from metering.billing.recorded import Recorded
    from metering.core.errors import ConfigError, Fault
    from metering.core.secrets import secret
    from metering.export import rendering, sending
    from metering.export.stripe_api import Stripe

    found = config.stripe
    if found.secret_env is None and found.secret_file is None:
        right = "give either secret_env or secret_file"
        raise ConfigError([Fault(where="stripe.secret_env", what="is missing", right=right)])
    key = secret(found.secret_env, found.secret_file, os.environ)
    left_out: Sequence[rendering.Refused] = ()
    with (
        closing(Stripe(found.base_url, key, network=config.reached_by)) as stripe,
        open_books(config, clock) as books,
    ):
        month = Month(recorded=Recorded(store=books.store), terms=terms.of(config), period=period, now=clock())
        if wanted.is_events:
            events = rendering.meter_events(month, config, wanted)
            done = sending.send_events(books, stripe, events, real_time())
        else:
            book, left_out = rendering.sifted(rendering.book(month, config, wanted), "stripe")
            done = sending.send_items(books, stripe, book, real_time())
            for refused in left_out:
                note(f"{refused.number} is left out: {refused.reason}")
    rows = [{"state": name, **row} for name in ("refused", "in_doubt") for row in getattr(done, name)]
    emit(in_words(asdict(done)), rows or [{"sent": done.sent, "already": done.already}], None)
    finish(3 if rows or done.left or left_out else 0)


COMMANDS: list[click.Command] = [export]
