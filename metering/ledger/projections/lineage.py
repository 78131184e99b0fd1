"""How the journal's records about the store itself become rows: epochs, adoptions, and its witness.

Knows the tables of sql/migrations/0016_lineage.sql and three kinds of record. Must not decide anything.

    epoch    {epoch, because, lost_up_to}
    adopt    {epoch, compared, clock, numbers: {series: last number}}
    witness  {path}
"""

from collections.abc import Callable

from metering.store.database import Store
from metering.store.record import Record

_EPOCH = ("epoch", "because", "lost_up_to")


def apply_epoch(store: Store, record: Record) -> None:
    """From here on the store is another than the one that its last records were written in."""
    store.write("insert_epoch", seq=record.seq, **{name: record.data[name] for name in _EPOCH})


def apply_adopt(store: Store, record: Record) -> None:
    """A person said that it may go on, and behind which numbers."""
    data = record.data
    store.write("insert_adoption", seq=record.seq, is_compared=data["compared"], is_clock=data["clock"])
    for series, position in sorted(data["numbers"].items()):
        store.write("insert_skipped_number", seq=record.seq, series=series, position=position)


def apply_witness(store: Store, record: Record) -> None:
    """Names the file that the store is compared with."""
    store.write("insert_witness", seq=record.seq, path=record.data["path"])


KINDS: dict[str, Callable[[Store, Record], None]] = {
    "epoch": apply_epoch,
    "adopt": apply_adopt,
    "witness": apply_witness,
}
"""Record kind -> what it does to the store."""
