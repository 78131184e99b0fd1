"""Observations summed by project and day, once a day: the table `observation_day`, and how far it reaches.

It is made when the record of a polling run is projected, only from the store and the record's own time, so a rebuild
gives the same rows. The caller holds the transaction.
"""

from datetime import datetime

from metering.core.period import floor_day
from metering.store.database import Store


def roll_daily(store: Store, seq: int, at: datetime) -> None:
    """Sums the observations since the last rollup, if that was on an earlier day."""
    last = store.query("billing/last_rollup", as_of_seq=seq).row(0, named=True)
    if last["rolled_at"] is None or floor_day(last["rolled_at"]) < floor_day(at):
        roll(store, seq, at, after=last["seq"])


def roll(store: Store, seq: int, at: datetime, *, after: int) -> None:
    """Sums the observations of the records behind `after`, up to `seq`."""
    store.insert_from("observation_day", "ledger/observations_by_day", after=after, seq=seq)
    store.write("insert_rollup", seq=seq, at=at)
