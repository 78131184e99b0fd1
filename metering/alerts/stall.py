"""Records `poll.stalled` and `poll.recovered`, each once per stall.

A stall is derived from the ledger, so any process can notice it. A tick that could not read everything reports it. If
no tick ran at all, nothing here can report it (the dead-man's switch does), and the next successful tick reports
neither event. Must not poll or deliver.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from metering.alerts import recording
from metering.config import Config
from metering.core.patience import SLOTS
from metering.core.period import HOUR, parse_time, rfc3339, slot_start
from metering.ledger.ledger import Ledger

Json = dict[str, Any]
MOST_FAULTS = 5
LONGEST_FAULT = 300


def is_stalled(since: datetime, now: datetime, poll_minutes: int, *, is_tried: bool) -> bool:
    """Whether no cycle was complete in SLOTS slots after that of `since`; the current slot counts if `is_tried`."""
    slot = timedelta(minutes=poll_minutes)
    silence = slot_start(now, poll_minutes) - slot_start(since, poll_minutes)
    missed = silence // slot - (0 if is_tried else 1)
    return missed >= SLOTS and silence >= HOUR


def announce(ledger: Ledger, config: Config, now: datetime, *, is_tried: bool) -> None:
    """Records a stall or its end, unless it is recorded already. `is_tried`: a poll of the current slot has ended."""
    found = ledger.store.query("alerts/poll_record").row(0, named=True)
    since: datetime | None = found["last_complete_at"] or found["first_at"]
    if since is None:
        return
    minutes = config.schedule.poll_minutes
    if is_stalled(since, now, minutes, is_tried=is_tried):
        data = _stall(since, found["last_complete_at"], json.loads(found["faults"]), minutes)
        recording.announce(ledger, "poll.stalled", data, [rfc3339(since)], config=config, now=now)
    elif found["last_complete_at"]:
        _recover(ledger, config, found["last_complete_at"], now)


def _stall(since: datetime, last_complete_at: datetime | None, faults: list[str], poll_minutes: int) -> Json:
    known = f"since {rfc3339(since)}" if last_complete_at else f"since the first at {rfc3339(since)}"
    return {
        "since": rfc3339(since),
        "last_complete_at": last_complete_at and rfc3339(last_complete_at),
        "poll_minutes": str(poll_minutes),
        "faults": [fault[:LONGEST_FAULT] for fault in faults[:MOST_FAULTS]],
        "summary": f"No polling cycle was complete {known}: usage and quotas are as old as that.",
    }


def _recover(ledger: Ledger, config: Config, complete_at: datetime, now: datetime) -> None:
    """Records the end of the last stall, if it has ended and is not recorded yet."""
    stalls = ledger.store.query("alerts/last_stall")
    if stalls.is_empty():
        return
    stall = json.loads(stalls.item())["data"]
    since = stall["since"]
    if parse_time(since) == complete_at:
        return  # no cycle was complete since it began
    data = {
        "since": since,
        "resolves": stall["alert_id"],
        "recovered_at": rfc3339(complete_at),
        "summary": f"Polling is complete again at {rfc3339(complete_at)}; it was not since {since}.",
    }
    recording.announce(ledger, "poll.recovered", data, [since], config=config, now=now)
