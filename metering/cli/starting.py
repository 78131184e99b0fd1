"""How `run --init` begins: writes a configuration where there is none, and waits until the configuration can be used.

For containers: an empty volume or a faulty file must not end in restarts without end.
"""

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from metering.cli.base import read_config

if TYPE_CHECKING:
    from metering.config import Config
    from metering.service.logs import Log

LOOK_AGAIN_SECONDS = 5


def usable_config(path: Path, log: "Log", stop: threading.Event) -> "Config | None":
    """Reads the configuration again and again until it has no fault; None once stopped. Each new fault is logged."""
    from metering.core.errors import ConfigError

    if not path.exists():
        _write(path, log)
    told = ""
    while not stop.is_set():
        try:
            found = read_config(path)
            if found.open_to_others:
                raise ConfigError([found.open_to_others])
        except ConfigError as error:
            if str(error) != told:
                faults = [str(fault) for fault in error.faults]
                log.error("the configuration cannot be used; it is read again until it can", faults=faults)
            told = str(error)
        else:
            return found
        stop.wait(LOOK_AGAIN_SECONDS)
    return None


def _write(path: Path, log: "Log") -> None:
    """Writes what `init` writes into the directory of the configuration, or logs why not."""
    from metering.config import write_starter
    from metering.core.errors import MeteringError

    directory = path.absolute().parent
    if path.name != "config.toml":
        log.error("there is no configuration", path=str(path), hint="metering init writes a config.toml to begin with")
        return
    try:
        told = write_starter(directory)
    except MeteringError as error:
        log.error("no configuration was written", error=str(error), hint=_owner(directory))
        return
    log.info("a configuration was written", directory=str(directory), next_steps=told.splitlines())


def _owner(directory: Path) -> str:
    standing = next(one for one in (directory, *directory.parents) if one.exists())
    found = standing.stat()
    ours = f"this process is user {os.geteuid()} of group {os.getegid()}"
    return f"{standing} belongs to user {found.st_uid} of group {found.st_gid}, {ours}"
