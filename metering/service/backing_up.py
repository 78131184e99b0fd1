"""Keeps the continuous backup up to date: the journal and the configuration in force.

A failure stops nothing: it is announced, and the next writing command tries again. Must not know the backup's layout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from metering.alerts import recording
from metering.config import Config
from metering.core import signals
from metering.core.deadline import Deadline
from metering.core.errors import BackupError
from metering.core.period import rfc3339
from metering.ledger import backup_record, lineage
from metering.ledger.ledger import Ledger
from metering.store import backup, continuous

MOST_SECONDS = 120
"""Time limit of the backup in one command; the first backup of a large store is spread over several commands."""
LAST_SECONDS = 1
"""Time limit after SIGTERM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """The result: the fault with its remedy, a note, and whether an event was recorded that is to be delivered."""

    fault: str = ""
    note: str = ""
    is_news: bool = False


def follow(ledger: Ledger, config: Config) -> Followed:
    """Brings the configured backup up to date, and records an event when it begins to fail or works again."""
    directory, now = config.backup.directory, ledger.clock()
    if directory is None or backup.is_one(ledger.directory):
        return Followed()
    ledger.flush()
    try:
        lacks = follow_quietly(ledger, config)
        is_news = lacks == 0 and _recover(ledger, config, now)
        lacks = follow_quietly(ledger, config) if is_news else lacks
    except BackupError as error:
        is_news = _announce(ledger, config, directory, (str(error), error.hint), now)
        return Followed(fault=f"{error}; {error.hint}", is_news=is_news)
    note = f"the backup in {directory} lacks {lacks} records: the next command that writes goes on" if lacks else ""
    return Followed(note=note, is_news=is_news)


def follow_quietly(ledger: Ledger, config: Config, *, is_patient: bool = False, begins: bool = False) -> int:
    """Brings the configured backup up to date; returns the number of records that it lacks when its time is over.

    `is_patient`: without a time limit. Raises BackupError.
    """
    directory, now = config.backup.directory, ledger.clock()
    if directory is None or backup.is_one(ledger.directory):
        return 0
    goes_on = (lambda: True) if is_patient else _in_time()
    source = source_of(ledger, config.kept_files)
    return continuous.follow(source, directory, rfc3339(now), goes_on=goes_on, begins=begins)


def source_of(ledger: Ledger, files: dict[str, Path]) -> continuous.Source:
    """The source of a backup: an open store and the files of its configuration."""
    return continuous.Source(
        directory=ledger.directory,
        epoch=lineage.of(ledger.store).epoch,
        records=ledger.journal.seq,
        latest_at=ledger.journal.latest_at,
        files=files,
    )


def _in_time() -> Callable[[], bool]:
    patient, urgent = Deadline(MOST_SECONDS), Deadline(LAST_SECONDS)
    return lambda: not (urgent if signals.is_asked() else patient).has_passed


# -- events


def _announce(ledger: Ledger, config: Config, directory: Path, why: tuple[str, str], now: datetime) -> bool:
    """Records `backup.failing` with (error, remedy), unless an earlier one lasts; returns whether it is new."""
    if backup_record.failing(ledger.store):
        return False
    data = {
        "directory": recording.clipped(str(directory)),
        "since": rfc3339(now),
        "error": recording.clipped(why[0]),
        "way_out": recording.clipped(why[1]),
        "summary": recording.clipped(
            f"The backup in {directory} fails: a lost disk would lose what comes from here on."
        ),
    }
    identity = [directory, rfc3339(now), ledger.journal.seq]
    return recording.announce(ledger, "backup.failing", data, identity, config=config, now=now) is not None


def _recover(ledger: Ledger, config: Config, now: datetime) -> bool:
    """Records `backup.recovered` if the last event was `backup.failing`; returns whether it did."""
    told = backup_record.failing(ledger.store)
    if told is None:
        return False
    data = {
        "directory": told.directory,
        "since": told.since,
        "resolves": told.alert_id,
        "recovered_at": rfc3339(now),
        "summary": f"The backup in {told.directory} is up to date again; it was not since {told.since}.",
    }
    recording.announce(ledger, "backup.recovered", data, [told.alert_id], config=config, now=now)
    return True
