"""Says who runs this command, and from where: what a record keeps of the person that caused it.

A claim, not a proof: whoever may write the journal may write any name into it.
"""

import os
import pwd
import socket
from collections.abc import Mapping

from metering.core.author import Author
from metering.core.text import legible

SCHEDULER = "scheduler"
_MOST_CHARACTERS = 100


def typed(environ: Mapping[str, str] = os.environ) -> Author:
    """The person at the command line: METERING_ACTOR, whoever used sudo, or the user of this process."""
    user = own_user()
    claimed = legible(environ.get("METERING_ACTOR") or environ.get("SUDO_USER") or user).strip()[:_MOST_CHARACTERS]
    client = environ.get("SSH_CONNECTION", "").partition(" ")[0]
    ssh = f", ssh from {legible(client)[:_MOST_CHARACTERS]}" if client else ""
    return Author(who=user if claimed in {"", user} else f"{claimed} (as {user})", origin=f"cli on {_host()}{ssh}")


def scheduled(job: str) -> Author:
    """Nobody: a job that is due by itself."""
    return Author(who=SCHEDULER, origin=f"{job} on {_host()}")


def by_web(who: str, peer: str) -> Author:
    """A person at the dashboard, whose request came from this address."""
    return Author(who=who, origin=f"web from {peer} on {_host()}")


def own_user() -> str:
    """The name of the user that this process runs as, or its number where it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def _host() -> str:
    return socket.gethostname() or "this machine"
