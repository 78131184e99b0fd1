"""Records review items ("alarms"), each once, and lists them."""

import hashlib
import json
from datetime import datetime

from metering.core.period import rfc3339
from metering.core.rows import Json
from metering.ledger.ledger import Ledger
from metering.store.database import Store


def raise_once(
    ledger: Ledger, kind: str, identity: tuple[str, ...], organization: str, **facts: str | None
) -> str | None:
    """Records a review item once per `identity`. Returns its sentence, None if it was recorded before.

    `facts`: summary and, if they apply, project_id, metric, other (an organization) and month.
    """
    alarm_id = "alarm_" + hashlib.sha256(json.dumps([kind, *identity]).encode()).hexdigest()[:12]
    if not ledger.store.query("ledger/alarm_known", alarm_id=alarm_id).is_empty():
        return None
    data = {"project_id": None, "metric": None, **facts}
    ledger.record("alarm", {"alarm_id": alarm_id, "kind": kind, "organization": organization, **data})
    return f"{alarm_id}: {data['summary']}"


def listed(store: Store) -> list[Json]:
    """Every review item, the open ones first, then by age."""
    return [
        {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in row.items()}
        for row in store.query("ledger/alarms").iter_rows(named=True)
    ]
