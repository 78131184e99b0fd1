"""How the journal's records of what was sent to Stripe become rows: the same code for what happens now and a rebuild.

Knows the table of sql/migrations/0009_stripe.sql and two kinds of record. Must not decide anything.

    stripe_try    {kind, at, items: [{key, document, sha256}]}            before anything of it leaves
    stripe_told   {told: [{key, state, remote_id, error}]}                what is known of each afterwards
"""

from collections.abc import Callable
from typing import Any

import duckdb

from metering.core.period import parse_time

Row = dict[str, Any]

# An attempt whose outcome is not known stays the first of its kind until one is.
_TRY = """
insert into stripe_send values ($key, $seq, $kind, $document, 'tried', $at, null, null, $sha256)
on conflict (key) do update
set seq = $seq, state = 'tried', first_tried_at = coalesce(first_tried_at, excluded.first_tried_at), error = null,
    sha256 = $sha256
"""
_TOLD = """
update stripe_send
set seq = $seq, state = $state, first_tried_at = null, remote_id = $remote_id, error = $error
where key = $key
"""


def apply_try(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """Items or events that are about to be sent."""
    data = record["data"]
    common = {"seq": record["seq"], "kind": data["kind"], "at": parse_time(data["at"])}
    rows = ({name: item.get(name) for name in ("key", "document", "sha256")} for item in data["items"])
    connection.executemany(_TRY, [{**common, **row} for row in rows])


def apply_told(connection: duckdb.DuckDBPyConnection, record: Row) -> None:
    """What Stripe said of them."""
    told = record["data"]["told"]
    if told:
        connection.executemany(_TOLD, [{"seq": record["seq"], **one} for one in told])


KINDS: dict[str, Callable[[duckdb.DuckDBPyConnection, Row], None]] = {
    "stripe_try": apply_try,
    "stripe_told": apply_told,
}
"""Record kind -> what it does to the store."""
