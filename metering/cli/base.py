"""Shared by all commands: options, configuration, the business clock, and the output of data."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from metering.cli import kept
from metering.core.errors import UnpublishedError, UsageError
from metering.core.formulas import opened
from metering.core.ids import canonical
from metering.core.period import YEARS, parse_time, rfc3339, whole_second
from metering.core.text import legible

if TYPE_CHECKING:
    from metering.config import Config
    from metering.core.author import Author
    from metering.core.errors import CredentialsError
    from metering.core.secrets import Secret
    from metering.ledger.ledger import Ledger

Function = TypeVar("Function", bound=Callable[..., Any])
Clock = Callable[[], datetime]
Json = dict[str, Any]
_FAILED = 1
_UNPUBLISHED = "metering.unpublished"


def with_config(function: Function) -> Function:
    """--config PATH."""
    option = click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        envvar="METERING_CONFIG",
        default=Path("config.toml"),
        show_default="./config.toml",
        help="The configuration file; METERING_CONFIG names it too.",
    )
    return option(function)


def with_format(function: Function) -> Function:
    """--format table|json|csv."""
    option = click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json", "csv"]),
        default=None,
        help="How to print. Default: table on a terminal, json when piped.",
    )
    return option(function)


def as_id(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Callback of an option or argument with an id: its canonical form."""
    return None if value is None else canonical(value)


def real_time() -> datetime:
    """The time of the machine's clock, in whole seconds as all moments here."""
    return whole_second(datetime.now(UTC))


def business_clock() -> Clock:
    """The real time; or the fixed moment of METERING_NOW, in whole seconds, which is announced on stderr."""
    text = os.environ.get("METERING_NOW")
    if not text:
        return real_time
    try:
        moment = whole_second(parse_time(text))
    except ValueError as error:
        raise UsageError(f"METERING_NOW is not a time: {error}", hint="write 2026-10-15T12:00:00Z") from None
    if moment.year not in YEARS:
        years = f"{YEARS.start} to {YEARS.stop - 1}"
        raise UsageError(f"METERING_NOW is outside the years {years}", hint="write 2026-10-15T12:00:00Z")
    click.echo(f"metering: rehearsing at {rfc3339(moment)} (METERING_NOW)", err=True)
    return lambda: moment


def moment(option: str, text: str | None) -> datetime | None:
    """The moment that an option names, as a date or a time. Raises UsageError."""
    if text is None:
        return None
    try:
        return whole_second(parse_time(text + "T00:00:00Z" if len(text) == len("2026-10-01") else text))
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint="write 2026-10-01 or 2026-10-01T00:00:00Z") from None


def read_config(path: Path, environ: Mapping[str, str] = os.environ) -> "Config":
    """Reads the configuration. Raises ConfigError with all faults, including those of rate card and channels."""
    from metering.alerts import channels
    from metering.config import read
    from metering.core import meters
    from metering.rating import validation

    return read(
        path,
        environ=environ,
        card_faults=lambda found: validation.faults(found.plans, meters.catalogue(found.meters)),
        channel_keys=channels.keys_of,
    )


def config_for_writing(path: Path) -> "Config":
    """Reads the configuration; raises StoreBusyError before heavy imports where another process holds the store."""
    from metering.store import lock

    config = read_config(path)
    lock.refuse_if_held(config.store.directory)
    return config


@contextmanager
def open_books(config: "Config", clock: Clock, by: "Author | None" = None) -> "Iterator[Ledger]":
    """The ledger, open for writing, compared with the witness that is configured. Raises as `open_ledger`.

    At the end the continuous backup is brought up to date. Where only that fails, or the readers' copy, the command
    goes on to say what it did, and ends with 3 or 1. `by` caused what is recorded; by default who typed the command.
    """
    from metering.cli import author
    from metering.ledger.ledger import open_ledger

    is_done = False
    try:
        with open_ledger(config.store.directory, clock, config.store.witness, by=by or author.typed()) as books:
            with kept.backed_up(books, config):
                yield books
            is_done = True
    except UnpublishedError as error:
        if not is_done:
            raise
        note(f"{error}\n  {error.hint}")
        click.get_current_context().meta[_UNPUBLISHED] = True


def _secret_of(variable: str | None, file: Path | None) -> "Secret | CredentialsError":
    """The secret in a variable or a file, or the error why there is none."""
    from metering.core.errors import CredentialsError
    from metering.core.secrets import secret

    try:
        return secret(variable, file, os.environ)
    except CredentialsError as error:
        return error


def api_keys(config: "Config") -> "dict[str, Secret | CredentialsError]":
    """Organization -> its key, or the error why it has none."""
    return {row.id: _secret_of(row.api_key_env, row.api_key_file) for row in config.organizations}


def endpoint_secrets(config: "Config") -> "dict[str, Secret | CredentialsError]":
    """Endpoint -> its secret, or the reason why it cannot be used, for endpoints that have one."""
    having = (one for one in config.endpoints if one.secret_env is not None or one.secret_file is not None)
    return {one.endpoint: _secret_of(one.secret_env, one.secret_file) for one in having}


def ping_url(config: "Config") -> "Secret | CredentialsError | None":
    """The URL that is requested after a complete tick, or why it is missing; None where none is configured."""
    variable = config.service.ping_url_env
    return None if variable is None else _secret_of(variable, None)


def note(text: str) -> None:
    """Prints a line on stderr."""
    click.echo(f"metering: {text}", err=True)


def emit(document: Any, rows: Sequence[Mapping[str, Any]], form: str | None, columns: Sequence[str] = ()) -> None:
    """Prints the document as JSON, or its rows as CSV or an aligned table; `columns` are printed also without rows."""
    form = form or ("table" if sys.stdout.isatty() else "json")
    if form == "json":
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif form == "csv":
        click.echo(_csv(rows, columns), nl=False)
    else:
        click.echo(_table(rows, columns))


def in_words(value: Any) -> Any:
    """The value with every integer in it as a decimal string, as all counts are printed."""
    if isinstance(value, Mapping):
        return {name: in_words(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [in_words(inner) for inner in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def flat(row: Mapping[str, Any]) -> dict[str, str]:
    """Nested members as dotted columns, everything as text; lists are left out."""
    out: dict[str, str] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            out.update({f"{name}.{inner}": text for inner, text in flat(value).items()})
        elif not isinstance(value, list):
            out[name] = "" if value is None else "true" if value is True else "false" if value is False else str(value)
    return out


def _columns(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> list[str]:
    """All column names in order; a member that is null in some rows and nested in others has nested columns only."""
    names = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    owners = {name.rpartition(".")[0] for name in names}
    return [name for name in names if name not in owners]


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Prints CSV (RFC 4180, with LF); text that a spreadsheet would take for a formula gets a leading apostrophe."""
    flats = [flat(row) for row in rows]
    out = io.StringIO()
    names = _columns(flats, columns)
    writer = csv.DictWriter(out, names, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: text if _is_number(text) else opened(text) for name, text in row.items()} for row in flats)
    return out.getvalue()


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    if not rows:
        return "(nothing)"
    flats = [{name: legible(text) for name, text in flat(row).items()} for row in rows]
    names = _columns(flats, columns)
    cells = [names, *([row.get(name, "") for name in names] for row in flats)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    is_right = [all(_is_number(line[i]) for line in cells[1:] if line[i]) for i in range(len(names))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, is_right, strict=True)
        ).rstrip()
        for line in cells
    )


def finish(code: int) -> None:
    """Ends the command with this exit code; with 1 where readers do not see yet what it did, 3 where no backup does."""
    context = click.get_current_context()
    context.exit(code or (_FAILED if context.meta.get(_UNPUBLISHED) else kept.exit_code()))
