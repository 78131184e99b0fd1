"""What persons and the scheduler did: the rows that `history` prints."""

from datetime import datetime
from typing import Any

from metering.core.period import rfc3339
from metering.ledger.projections import deeds
from metering.store.database import Store

KINDS = tuple(sorted(deeds.KINDS))
"""The kinds of records that tell what somebody did."""
COLUMNS = ("at", "who", "from", "kind", "what", "seq")


def history(
    store: Store, *, customer: str | None = None, since: datetime | None = None, kind: str | None = None
) -> list[dict[str, Any]]:
    """The deeds, the latest first: all, or of a kind, since a moment, with documents of a customer."""
    found = store.query("ledger/history", customer=customer, since=since, kind=kind)
    return [
        {
            "at": rfc3339(row["done_at"]),
            "who": row["who"],
            "from": row["origin"],
            "kind": row["kind"],
            "what": row["what"],
            "seq": str(row["seq"]),
        }
        for row in found.iter_rows(named=True)
    ]
