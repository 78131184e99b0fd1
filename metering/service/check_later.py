"""Checks what only later commands need: login and secrets of the dashboard, Stripe's, fonts, the address to listen on.

Must not read a secret: the caller passes the reason why one cannot be used.
"""

import errno
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metering.config import Config
from metering.core.addresses import listen_parts
from metering.core.errors import CredentialsError
from metering.service.findings import Checked

Json = dict[str, Any]
Later = Mapping[str, CredentialsError | None]
"""`dashboard.token`, `dashboard.tokens[0]`, `dashboard.link_secret`, `stripe.secret`, if configured -> why it is
refused (None: usable)."""

_FAULTY = 4
_REFUSED = 5
_FONTS = {".ttf", ".otf", ".ttc"}
_TAKEN = "is taken: by `metering run` or `serve`, or by another program"


def sections(config: Config, later: Later, out: Checked) -> Json:
    """Sections `dashboard`, `stripe` and `fonts` of the document: `ok`, a reason, or null if not configured."""
    if fault := config.open_to_others:
        out.tell(fault.where, "others", "fault", f"{fault.what}; {fault.right}", _FAULTY)
    elif config.dashboard.names() and not config.dashboard.asks_who:
        out.tell("dashboard", "hosts", "note", "has neither a token nor a trusted proxy, so only customers are let in")
    states = {key: _secret(config, key, why, out) for key, why in later.items()}
    return {
        "dashboard": {
            **{name: states.get(f"dashboard.{name}") for name in ("token", "link_secret")},
            "tokens": [
                {"name": one.name, "roles": sorted(one.roles), "state": states.get(f"dashboard.tokens[{at}]")}
                for at, one in enumerate(config.dashboard.tokens)
            ],
        },
        "stripe": {"secret": states.get("stripe.secret")},
        "fonts": _fonts(config.invoices.fonts, out),
    }


def _secret(config: Config, key: str, why: CredentialsError | None, out: Checked) -> str:
    section, name = key.split(".")
    variable, file = _sources(config, section, name)
    source = f"environment {variable}" if variable else f"file {file}"
    if why is None:
        out.tell(section, name, "ok", f"{source}: usable")
        return "ok"
    out.tell(section, name, "fault", f"{source}: {why}" + (f" ({why.hint})" if why.hint else ""), _REFUSED)
    return str(why)


def _sources(config: Config, section: str, name: str) -> tuple[str | None, Path | None]:
    """The environment variable and the file of a secret; one of the two is given."""
    if name.startswith("tokens["):
        token = config.dashboard.tokens[int(name.removeprefix("tokens[").removesuffix("]"))]
        return token.token_env, token.token_file
    given = getattr(config, section)
    return getattr(given, f"{name}_env"), getattr(given, f"{name}_file")


def _fonts(directory: Path | None, out: Checked) -> str | None:
    if directory is None:
        return None
    try:
        found = [path for path in directory.iterdir() if path.suffix.lower() in _FONTS]
    except OSError as error:
        why = f"{directory}: {error.strerror}"
        out.tell("invoices", "fonts", "fault", f"{why}; no PDF can be made", _FAULTY)
        return why
    if not found:
        out.tell("invoices", "fonts", "note", f"{directory} holds no .ttf, .otf or .ttc")
    return "ok"


def listen(address: str, out: Checked) -> str | None:
    """Binds the address for a moment without accepting connections: `ok`, a reason, or null for no address."""
    if not address:
        return None
    host, port = listen_parts(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            is_taken = error.errno == errno.EADDRINUSE
            why = _TAKEN if is_taken else f"cannot be listened on: {error.strerror}"
            out.tell(
                "service", "listen", "note" if is_taken else "fault", f"{address} {why}", 0 if is_taken else _FAULTY
            )
            return why
    return "ok"
