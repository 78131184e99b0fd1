"""Checks the store and the published snapshot: directory, lock, space, projects, the next close.

Writes only the lock and a test file that it removes again.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from metering.alerts import endpoints
from metering.config import Config
from metering.core.errors import StoreBusyError
from metering.core.files import sync_directory
from metering.core.period import rfc3339
from metering.ledger import lineage, reading
from metering.operations import month_states
from metering.service.check_references import Listed
from metering.service.findings import Checked
from metering.store import database as door
from metering.store import lock

Json = dict[str, Any]

_INCOMPLETE = 3
_MAY_LACK = "after a power cut it may lack files that were just made"
LITTLE_SPACE_BYTES = 1_000_000_000


def directory_section(directory: Path, out: Checked) -> Json:
    """Whether the directory is writable, which process holds the lock, the free space. Creates no directory."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    section: Json = {
        "directory": str(directory),
        "exists": existing == directory,
        "is_writable": True,
        "lock": "free",
        "lock_holder": None,
        "free_bytes": None,
        "has_snapshot": (directory / door.SNAPSHOT).exists(),
    }
    try:
        with tempfile.TemporaryFile(dir=existing, prefix=".check-") as file:
            file.write(b"metering")
            file.flush()
        if not sync_directory(existing):
            out.tell(
                "store", "durability", "note", f"the file system of {existing} cannot sync directories: {_MAY_LACK}"
            )
        if section["exists"]:
            with lock.held(directory):
                pass
        out.tell("store", "directory", "ok", f"{directory} " + ("is writable" if section["exists"] else "can be made"))
        section["free_bytes"] = str(_free(existing, out))
    except StoreBusyError as busy:
        section.update(lock="held", lock_holder=str(busy.process_id))
        out.tell("store", "lock", "note", f"{busy}; a poll would have to wait")
    except OSError as error:
        section["is_writable"] = False
        out.tell("store", "directory", "fault", f"{existing} takes no files: {error.strerror or error}", exit_code=1)
    return section


def _free(existing: Path, out: Checked) -> int:
    free = shutil.disk_usage(existing).free
    if free < LITTLE_SPACE_BYTES:
        out.tell("store", "space", "note", f"only {free // 1_000_000} MB are free")
    return free


def listed(config: Config, out: Checked) -> list[Listed]:
    """Every project as the last inventory showed it; none where there is no store yet."""
    found: list[Listed] = []
    try:
        with reading.open_reader(config.store.directory) as store:
            for organization in config.organizations:
                rows = store.query("ledger/latest_sightings", organization=organization.id)
                rows = rows.select("project_id", "name", "is_listed")
                found += [Listed(organization=organization.id, **row) for row in rows.iter_rows(named=True)]
    except Exception as error:  # any error of the engine about a damaged copy is a finding
        text = str(error).partition("\n")[0]
        out.tell("store", "snapshot", "fault", f"the readers' copy cannot be read: {text}", exit_code=1)
    return found


def recipients(config: Config, out: Checked) -> None:
    """A fault for each endpoint that is off or given up."""
    try:
        with reading.open_reader(config.store.directory) as store:
            rows = endpoints.failing(store, config)
    except Exception as error:  # the damaged copy is a fault already; this line says why there is no answer
        out.tell("endpoints", "deliveries", "note", f"cannot be told: {str(error).partition(chr(10))[0]}")
        return
    for row in rows:
        detail = f"{row['state']} since {rfc3339(row['since'])}: {row['error']}; {row['undelivered']} not delivered"
        out.tell(f"endpoint {endpoints.shown(row['endpoint'])}", "deliveries", "fault", detail, _INCOMPLETE)


def closing(config: Config, out: Checked) -> list[str]:
    """A line for the next month that closes by itself, with what it lacks; one for each month that needs a person."""
    for plan in config.plans:
        if plan.example:
            detail = "has example = true: no month that uses it closes; write your prices and take the line out"
            out.tell(f"plan {plan.id}", "example", "fault", detail, _INCOMPLETE)
    if config.plans and not config.seller.name.strip():
        detail = 'is empty: no month closes; write name = "…" under [seller]'
        out.tell("seller", "name", "fault", detail, _INCOMPLETE)
    try:
        with reading.open_reader(config.store.directory) as store:
            lines = month_states.coming(store, config, out.as_of)
            stopped_by = lineage.obstacles(store, config.store.directory, out.as_of, config.store.witness)
    except Exception as error:  # the damaged copy is a fault already; this line says why there is no answer
        out.tell("closing", "month", "note", f"cannot be told: {str(error).partition(chr(10))[0]}")
        return []
    for line in lines:
        out.tell("closing", "month", "note", line)
    for one in stopped_by:
        out.tell("store", one.kind, "fault", f"{one.what}: {one.way_out}", _INCOMPLETE)
    return lines
