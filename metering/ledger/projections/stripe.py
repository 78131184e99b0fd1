"""Projects records of what was sent to Stripe into rows, live and in a rebuild alike.

Knows the table of sql/migrations/0009_stripe.sql and two kinds of record. Must not decide anything.

    stripe_try    {kind, at, items: [{key, document, sha256}]}            before any of them is sent
    stripe_told   {told: [{key, state, remote_id, error}]}                the state of each afterwards
"""

from collections.abc import Callable

from metering.core.period import parse_time
from metering.store.database import Store
from metering.store.record import Record


def apply_try(store: Store, record: Record) -> None:
    """Inserts items or events that are about to be sent."""
    data = record.data
    common = {"seq": record.seq, "kind": data["kind"], "at": parse_time(data["at"])}
    rows = ({name: item.get(name) for name in ("key", "document", "sha256")} for item in data["items"])
    store.write_each("try_stripe_send", [{**common, **row} for row in rows])


def apply_told(store: Store, record: Record) -> None:
    """Writes how each attempt to send ended."""
    told = record.data["told"]
    if told:
        store.write_each("end_stripe_send", [{"seq": record.seq, **one} for one in told])


KINDS: dict[str, Callable[[Store, Record], None]] = {
    "stripe_try": apply_try,
    "stripe_told": apply_told,
}
"""Record kind -> its projection."""
