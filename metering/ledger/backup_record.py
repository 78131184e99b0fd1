"""The state of the continuous backup: how far it goes, when it was updated, and since when it fails.

Comes from the alert log and the note in the store directory; the backup itself is not read. Must not copy.
"""

import json
from pathlib import Path

import msgspec

from metering.store import continuous
from metering.store.database import Store


class Failing(msgspec.Struct, frozen=True, kw_only=True):
    """A failing backup: since when, why, and the remedy. `alert_id` is the id of the event."""

    alert_id: str
    directory: str
    since: str
    error: str
    way_out: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The configured backup: directory, last record, number of lacking records; `records` is None before the first."""

    directory: str
    records: int | None = None
    lacks: int
    written_at: str | None = None
    failing: Failing | None = None


def failing(store: Store) -> Failing | None:
    """The last `backup.failing` event, if it has not ended."""
    told = store.query("ledger/last_backup_event")
    if told.is_empty() or told["event_type"].item() != "backup.failing":
        return None
    return msgspec.convert(json.loads(told["body"].item())["data"], type=Failing)


def standing(store: Store, directory: Path, backup: Path | None) -> Standing | None:
    """The state of a store directory's backup; None if no backup is configured."""
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
