"""Keeps journal and store equal: appends a record, then projects it into rows, live and in a rebuild alike.

Every record kind has one projection. Must not know prices or what is done with the rows.
"""

__all__ = [
    "alarms",
    "alert_log",
    "backup_record",
    "healing",
    "history",
    "landing",
    "ledger",
    "lineage",
    "projections",
    "reading",
]
