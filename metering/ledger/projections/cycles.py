"""Projects records of the kind `cycle`: a polling run has ended.

cycle  {command, started_at, ended_at, requests, pages, changes, outcome, faults: [sentence]}
"""

import json

from metering.core.period import parse_time
from metering.ledger.projections.rollup import roll_daily
from metering.store.database import Store
from metering.store.record import Record


def apply_cycle(store: Store, record: Record) -> None:
    """Inserts the run, forgets what killed runs left behind, and sums up the days once a day.

    A walk that never ended leaves omissions and projects; those of an open resumable read stay.
    """
    store.write("delete_unfinished_omissions")
    store.write("delete_unfinished_walk_projects")
    data = record.data
    store.write(
        "insert_cycle",
        seq=record.seq,
        started_at=parse_time(data["started_at"]),
        ended_at=parse_time(data["ended_at"]),
        faults=json.dumps(data["faults"]),
        **{name: data[name] for name in ("command", "requests", "pages", "changes", "outcome")},
    )
    roll_daily(store, record.seq, parse_time(data["ended_at"]))
