"""The state of endpoints: which are off, have exhausted their attempts, have a new address or were removed.

The state belongs to an endpoint's name and address: with a new URL or secret it is delivered to again. Each change is
a journal record. Opens no socket.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from urllib.parse import urlsplit

from metering.alerts import recipients, recording
from metering.config import Config
from metering.core.errors import CredentialsError, MeteringError
from metering.core.period import rfc3339
from metering.core.rows import Row
from metering.core.secrets import Secret
from metering.ledger.ledger import Ledger
from metering.store.database import Store

_STATES = {"disabled": "is off: it answered that it is gone (410)", "exhausted": "took nothing in all attempts"}
_WAYS_OUT = {
    "disabled": "give it another URL or secret, or run `metering alerts enable {name}`",
    "exhausted": "mend the receiver, then `metering alerts resend ALERT_ID` or `metering alerts enable {name}`",
}


def shown(endpoint: str) -> str:
    """An endpoint without secrets: a webhook's URL without its query, which may hold a token; a channel's name."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc}{parts.path}" if parts.netloc else endpoint


def failing(store: Store, config: Config) -> list[Row]:
    """The configured endpoints that are off or out of attempts: endpoint, state, since, error, undelivered."""
    configured = {one.endpoint for one in config.endpoints}
    rows = store.query("ledger/endpoints_failing").iter_rows(named=True)
    return [row for row in rows if row["endpoint"] in configured]


# -- what changed


def tend(ledger: Ledger, config: Config, secrets: Mapping[str, Secret | CredentialsError], now: datetime) -> list[str]:
    """Resumes endpoints with a new address, and abandons messages for removed ones. Returns a sentence for each."""
    ready, _ = recipients.ready(config, secrets)
    configured = {one.endpoint for one in config.endpoints}
    notes = []
    for row in ledger.store.query("alerts/endpoint_states").iter_rows(named=True):
        name = row["endpoint"]
        if name not in configured:
            if row["pending"]:
                _record(ledger, "abandoned", now, endpoint=name)
                notes.append(
                    f"{shown(name)} is not configured any more: {row['pending']} messages for it are abandoned"
                )
        elif name in ready and _has_moved(row, ready[name].address):
            _record(ledger, "moved", now, endpoint=name, address=ready[name].address)
            was = f"was off since {rfc3339(row['disabled_at'])}" if row["disabled_at"] else "was failing"
            notes.append(f"{shown(name)} has a new address and is told again; it {was}")
    return notes


def _has_moved(row: Row, address: str) -> bool:
    """Whether the recorded state is of another address; an endpoint that is off at an unknown address counts as one."""
    if row["disabled_at"]:
        return bool(row["address"] != address)
    return bool(row["tried"] and row["address"] and row["address"] != address)


def _record(ledger: Ledger, change: str, now: datetime, **facts: str) -> None:
    """Journals a change; `facts` are endpoint or alert_id, and the address of an endpoint that is resumed."""
    data = {"endpoint": None, "alert_id": None, "address": "", **facts, "change": change, "due_at": rfc3339(now)}
    ledger.record("endpoint", data)


# -- what others are told


def announce_failing(ledger: Ledger, config: Config, now: datetime) -> int:
    """Records `delivery.failing` once per failing endpoint and failure; returns the number of new events.

    All endpoints get the event. The failing one gets it too, once it has a new address.
    """
    new = 0
    for row in failing(ledger.store, config):
        since, name = rfc3339(row["since"]), shown(row["endpoint"])
        short = row["endpoint"] if ":" in row["endpoint"] and not urlsplit(row["endpoint"]).netloc else name
        data = {
            "endpoint": recording.clipped(name),
            "state": row["state"],
            "since": since,
            "error": recording.clipped(row["error"]),
            "way_out": recording.clipped(_WAYS_OUT[row["state"]].format(name=short)),
            "summary": recording.clipped(f"{name} {_STATES[row['state']]}."),
        }
        identity = [row["endpoint"], row["state"], since]
        new += recording.announce(ledger, "delivery.failing", data, identity, config=config, now=now) is not None
    return new


# -- what a person asks for


def enable(
    ledger: Ledger, config: Config, secrets: Mapping[str, Secret | CredentialsError], name: str, now: datetime
) -> str:
    """Resumes deliveries to an endpoint; waiting messages are due at once. Returns its name in the ledger.

    Raises MeteringError for an unknown endpoint, CredentialsError for one without a usable secret.
    """
    endpoint = _named(name, [one.endpoint for one in config.endpoints], "is not configured")
    ready, faults = recipients.ready(config, secrets)
    if endpoint not in ready:
        raise CredentialsError(next(fault for fault in faults if fault.startswith(endpoint)))
    _record(ledger, "enabled", now, endpoint=endpoint, address=ready[endpoint].address)
    return endpoint


def drop(ledger: Ledger, target: str, now: datetime) -> int:
    """Drops the messages that wait for an endpoint, or the pending deliveries of an alert; returns their number.

    An endpoint may have none left: the command typed again after a crash succeeds. Raises MeteringError if `target` is
    neither an alert nor a known endpoint.
    """
    store = ledger.store
    if recording.is_recorded(store, target):
        waiting = [row for row in _waiting(store) if row["alert_id"] == target]
        _record(ledger, "dropped", now, alert_id=target)
        return len(waiting)
    rows = store.query("alerts/endpoint_states").iter_rows(named=True)
    pending = {str(row["endpoint"]): int(row["pending"]) for row in rows}
    endpoint = _named(target, list(pending), "is no alert, and nothing waits for it")
    if pending[endpoint]:
        _record(ledger, "dropped", now, endpoint=endpoint)
    return pending[endpoint]


def _waiting(store: Store) -> Iterator[Row]:
    rows = store.query("ledger/alert_deliveries").iter_rows(named=True)
    return (row for row in rows if row["state"] == "pending")


def _named(name: str, endpoints: Sequence[str], why: str) -> str:
    """The endpoint with this name; a channel's kind may be left out. Raises MeteringError unless exactly one fits."""
    found = [one for one in endpoints if name in {one, one.partition(":")[2]}]
    if len(found) == 1:
        return found[0]
    hint = f"there are {', '.join(map(shown, endpoints))}" if endpoints else "`metering alerts list` shows the log"
    raise MeteringError(f"{name!r} {'could be several' if found else why}", hint=hint)
