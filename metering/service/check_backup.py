"""Checks the continuous backup: its directory, how far it goes, and whether it fails.

Writes only a test file that it removes again.
"""

import tempfile
from pathlib import Path
from typing import Any

from metering.config import Config
from metering.ledger import backup_record, reading
from metering.ledger.backup_record import Standing
from metering.service.findings import Checked

Json = dict[str, Any]
_INCOMPLETE = 3


def section(config: Config, out: Checked) -> Json | None:
    """The backup's section of the JSON document; None if no backup is configured."""
    directory = config.backup.directory
    if directory is None:
        return None
    is_usable = _look(directory, config.store.directory, out)
    try:
        with reading.open_reader(config.store.directory) as store:
            found = backup_record.standing(store, config.store.directory, directory)
    except Exception as error:  # the damaged copy is a fault already; this line says why there is no answer
        out.tell("backup", "records", "note", f"cannot be told: {str(error).partition(chr(10))[0]}")
        found = None
    if found:
        _tell(found, out)
    return {
        "directory": str(directory),
        "is_usable": is_usable,
        "records": None if found is None or found.records is None else str(found.records),
        "lacks": None if found is None else str(found.lacks),
        "written_at": found.written_at if found else None,
        "failing_since": found.failing.since if found and found.failing else None,
    }


def _look(directory: Path, store: Path, out: Checked) -> bool:
    """Whether the directory exists and is writable."""
    try:
        with tempfile.TemporaryFile(dir=directory, prefix=".check-") as file:
            file.write(b"metering")
            file.flush()
    except FileNotFoundError:
        detail = f"{directory} is not there: mount its disk, or make it (it is never made by itself)"
        out.tell("backup", "directory", "fault", detail, _INCOMPLETE)
        return False
    except OSError as error:
        detail = f"{directory} takes no files: {error.strerror or error}"
        out.tell("backup", "directory", "fault", detail, _INCOMPLETE)
        return False
    out.tell("backup", "directory", "ok", f"{directory} is writable")
    if store.exists() and store.stat().st_dev == directory.stat().st_dev:
        out.tell("backup", "disk", "note", f"{directory} is on the disk of the store: both are lost together")
    return True


def _tell(found: Standing, out: Checked) -> None:
    if found.failing:
        detail = f"fails since {found.failing.since}: {found.failing.error}"
        out.tell("backup", "records", "fault", f"{detail}; {found.failing.way_out}", _INCOMPLETE)
    elif found.records is None:
        out.tell("backup", "records", "note", "nothing is kept yet: the next command that writes begins it")
    else:
        lacks = f"lacks {found.lacks} records" if found.lacks else "lacks nothing"
        detail = f"holds {found.records} records, {lacks}; brought up to date at {found.written_at}"
        out.tell("backup", "records", "note" if found.lacks else "ok", detail)
