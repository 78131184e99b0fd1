"""Whether a store may promise anything: numbers, documents, money at Stripe, changes at Neon.

It may not while its clock is behind its last record, nor while it may be one of two: restored, rebuilt from a journal
that lost records, copied. Reading Neon and telling of quotas go on. Must not know what is promised.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from metering.core.errors import MeteringError
from metering.core.period import parse_time, rfc3339
from metering.store import backup, high_water, witness
from metering.store.database import Store

CLOCK, WITNESS = "clock", "witness"
"""The kinds of obstacle, as a refused close names them."""
TOLERANCE = timedelta(minutes=5)
"""By so much a clock may be behind the last record."""
FORBIDDEN_BY: Mapping[str, frozenset[str]] = {
    "close": frozenset([CLOCK, WITNESS]),
    "void": frozenset([CLOCK, WITNESS]),
    "stripe_try": frozenset([CLOCK, WITNESS]),
    "quota_change": frozenset([WITNESS]),
    "upgrade_step": frozenset([WITNESS]),
}
"""Kind of record -> the obstacles that forbid it."""
ADOPT = "compare what was issued with what this store holds, then `metering store adopt --i-compared`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a store may not promise, and what to do."""

    kind: str
    what: str
    way_out: str

    def document(self) -> dict[str, str]:
        """As JSON."""
        return {"kind": self.kind, "reason": self.what, "way_out": self.way_out}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The epoch (empty: the first), why it began, whether a person adopted it, and the witness that is recorded."""

    epoch: str
    because: str | None
    lost_up_to: int | None
    is_adopted: bool
    witness: str | None


def of(store: Store) -> Lineage:
    """As the store has it."""
    return Lineage(**store.query("ledger/lineage").row(0, named=True))


def numbers(store: Store) -> dict[str, int]:
    """Series -> its last number."""
    return dict(store.query("ledger/last_numbers").iter_rows())


def obstacles(
    store: Store, directory: Path, now: datetime, witness_path: Path | None, latest_at: str = ""
) -> list[Obstacle]:
    """All of them; `latest_at` is the time of the last record, by the high-water mark where it is not given."""
    if not latest_at:
        mark = high_water.marked(directory)
        latest_at = mark.latest_at if mark else ""
    return [*_clock(now, latest_at), *_epoch(directory, of(store)), *against(store, directory, witness_path)]


def is_behind(now: datetime, latest_at: str) -> bool:
    """Whether a clock shows a time before the last record, by more than the tolerance."""
    return bool(latest_at) and now < parse_time(latest_at) - TOLERANCE


def refuse(found: list[Obstacle], kind: str) -> None:
    """Raises MeteringError where an obstacle forbids a record of this kind."""
    for one in found:
        if one.kind in FORBIDDEN_BY.get(kind, ()):
            raise MeteringError(one.what, hint=one.way_out)


def _clock(now: datetime, latest_at: str) -> list[Obstacle]:
    if not is_behind(now, latest_at):
        return []
    what = f"the clock shows {rfc3339(now)}, and the last record was written at {latest_at}"
    hint = "set the clock right; if it is right and the record's time was wrong, `metering store adopt --clock`"
    return [Obstacle(kind=CLOCK, what=what, way_out=hint)]


def _epoch(directory: Path, found: Lineage) -> list[Obstacle]:
    if backup.is_one(directory):
        what = "this store is a backup that was opened: others may have gone on from where it was made"
    elif found.is_adopted:
        return []
    elif found.because == "rebuilt":
        what = f"this store was rebuilt without its last records (up to {found.lost_up_to}): what they promised is lost"
    else:
        what = "this store was restored from a backup: what was promised after it was made is not in it"
    return [Obstacle(kind=WITNESS, what=what, way_out=ADOPT)]


def against(store: Store, directory: Path, path: Path | None) -> list[Obstacle]:
    """What the configured witness, and the recorded one, have against this store."""
    recorded = of(store).witness
    if path is None:
        what = f"the witness {recorded} is recorded, and `store.witness` is not configured"
        return [Obstacle(kind=WITNESS, what=what, way_out=f"configure it again; else {ADOPT}")] if recorded else []
    if not path.exists():
        what = f"the witness {path} is gone"
        hint = f"mount its disk again; if it is lost, {ADOPT}"
        return [Obstacle(kind=WITNESS, what=what, way_out=hint)] if recorded else []
    try:
        with witness.held(path) as one:
            said = one.says()
    except (OSError, MeteringError) as error:
        return [Obstacle(kind=WITNESS, what=f"the witness cannot be read: {error}", way_out=ADOPT)]
    seq, digest = store.query("store/position").row(0)
    against = said and witness.objection(said, directory, int(seq), str(digest))
    hint = f"let one store alone go on: {ADOPT}"
    return [Obstacle(kind=WITNESS, what=f"this store may be one of two: {against}", way_out=hint)] if against else []
