"""How the journal's records of what was sent to Stripe become rows: the same code for what happens now and a rebuild.

Knows the table of sql/migrations/0009_stripe.sql and two kinds of record. Must not decide anything.

    stripe_try    {kind, at, items: [{key, document, sha256}]}            before anything of it leaves
    stripe_told   {told: [{key, state, remote_id, error}]}                what is known of each afterwards
"""

from collections.abc import Callable
from typing import Any

from metering.core.period import parse_time
from metering.store.database import Store

Row = dict[str, Any]


def apply_try(store: Store, record: Row) -> None:
    """Items or events that are about to be sent."""
    data = record["data"]
    common = {"seq": record["seq"], "kind": data["kind"], "at": parse_time(data["at"])}
    rows = ({name: item.get(name) for name in ("key", "document", "sha256")} for item in data["items"])
    store.write_each("try_stripe_send", [{**common, **row} for row in rows])


def apply_told(store: Store, record: Row) -> None:
    """What Stripe said of them."""
    told = record["data"]["told"]
    if told:
        store.write_each("end_stripe_send", [{"seq": record["seq"], **one} for one in told])


KINDS: dict[str, Callable[[Store, Row], None]] = {
    "stripe_try": apply_try,
    "stripe_told": apply_told,
}
"""Record kind -> what it does to the store."""
