"""The database and the files of the journal: open, lock, migrate, snapshot, checkpoint, backup.

Knows how bytes and rows are kept. Must not know what they mean.
"""

__all__ = [
    "backup",
    "checkpoint",
    "continuous",
    "damage",
    "database",
    "high_water",
    "journal",
    "lock",
    "migrations",
    "record",
    "restoring",
    "snapshots",
    "witness",
]
