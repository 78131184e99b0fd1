"""What is known of the continuous backup: how far it goes, when it was brought up to date, and since when it fails.

From the alert log and from what the store's directory remembers: the backup itself is not asked. Must not copy.
"""

import json
from pathlib import Path

import msgspec

from metering.store import continuous
from metering.store.database import Store


class Failing(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that fails: since when, why, and what to do. `alert_id` is that of the event."""

    alert_id: str
    directory: str
    since: str
    error: str
    way_out: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where the configured backup is, up to which record it goes and how many it lacks; None: it was never made."""

    directory: str
    records: int | None = None
    lacks: int
    written_at: str | None = None
    failing: Failing | None = None


def failing(store: Store) -> Failing | None:
    """What was announced and has not ended."""
    told = store.query("ledger/last_backup_event")
    if told.is_empty() or told["event_type"].item() != "backup.failing":
        return None
    return msgspec.convert(json.loads(told["body"].item())["data"], type=Failing)


def standing(store: Store, directory: Path, backup: Path | None) -> Standing | None:
    """How the backup of a store directory stands; None where none is configured."""
    if backup is None:
        return None
    last, state = int(store.query("store/position").item(0, "seq")), continuous.state_of(directory)
    if state is None or state.directory != str(backup):
        return Standing(directory=str(backup), lacks=last, failing=failing(store))
    return Standing(
        directory=str(backup),
        records=state.records,
        lacks=max(0, last - state.records),
        written_at=state.written_at,
        failing=failing(store),
    )
