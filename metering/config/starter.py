"""Writes the files that a new user needs: config.toml, its two CSV files, and the dashboard's password.

Knows the example rows; config.toml is the file that the project ships. Must never overwrite a file.
"""

import os
import secrets
import shlex
from pathlib import Path

from metering.core.errors import MeteringError
from metering.core.files import data_file

CUSTOMERS = """\
customer,name,currency,tax_rate_percent,tax_name,email,address,tax_id,country
acme,Acme Ltd,USD,21,VAT,billing@acme.example,"1 Example Street, 1000 Example",BE0123456749,BE
beta,Beta GmbH,USD,0,,billing@beta.example,,,
"""
SUBSCRIPTIONS = """\
project_id,customer,plan,valid_from,valid_to
calm-dawn-12345678,acme,pro,2026-01-01,
quiet-river-87654321,beta,pro,2026-01-15T12:00:00Z,2026-06-01
"""
DOOR_KEY = "dashboard-token"
_SWITCHED_ON = ('file = "customers.csv"', 'subscriptions = "subscriptions.csv"', f'token_file = "{DOOR_KEY}"')
_OURS_ALONE = 0o600


def write_starter(directory: Path) -> str:
    """Writes the files and returns the next steps. Raises MeteringError before writing if one of them exists."""
    token = secrets.token_urlsafe(32)
    texts = {
        "config.toml": _config(),
        "customers.csv": CUSTOMERS,
        "subscriptions.csv": SUBSCRIPTIONS,
        DOOR_KEY: f"{token}\n",
    }
    standing = [str(directory / name) for name in texts if _stands(directory / name)]
    if standing:
        raise MeteringError(
            f"{', '.join(standing)} exist{'s' if len(standing) == 1 else ''} already; nothing was written",
            hint="name another directory: metering init DIR",
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            _write(directory / name, text, _OURS_ALONE if name == DOOR_KEY else 0o666)
    except OSError as error:
        raise MeteringError(
            f"{error.filename or directory}: {error.strerror}", hint="name another directory"
        ) from error
    return _next(directory, list(texts))


def _write(path: Path, text: str, mode: int) -> None:
    # O_EXCL fails if another process has created the file in between.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)


def _stands(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _config() -> str:
    text = data_file("config.toml").read_text(encoding="utf-8")
    for line in _SWITCHED_ON:
        assert text.count(f"# {line}\n") == 1, f"config.toml shows {line} once, switched off"
        text = text.replace(f"# {line}\n", f"{line}\n")
    return text


def _next(directory: Path, names: list[str]) -> str:
    config = "" if directory.resolve() == Path.cwd() else f" --config {shlex.quote(str(directory / 'config.toml'))}"
    written = "\n".join(f"  {directory / name}" for name in names)
    return f"""\
Written:
{written}
Next:
  1. In config.toml: your organization's id, who pays (default_plan, or customers and subscriptions), seller.name, and
     your prices; then take out example = true. No month closes before that.
  2. export NEON_API_KEY=…   (an API key of the organization's)
  3. metering check{config}
  4. metering backfill{config}
  5. metering tick{config}, from cron or as metering run: the first month that begins after it may close by itself,
     once you have typed a first metering close
  6. metering serve{config}, or metering run, shows the dashboard; its password is what {directory / DOOR_KEY} holds
"""
