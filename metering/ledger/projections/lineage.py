"""How the journal's records about the store itself become rows: epochs, adoptions, and its witness.

Knows the tables of sql/migrations/0016_lineage.sql and three kinds of record. Must not decide anything.

    epoch    {epoch, because, lost_up_to, numbers: {series: last number that lost records gave out}}
    adopt    {epoch, compared, clock, numbers: {series: last number}}
    witness  {path}
"""

from collections.abc import Callable, Mapping

from metering.store.database import Store
from metering.store.record import Record

_EPOCH = ("epoch", "because", "lost_up_to")


def apply_epoch(store: Store, record: Record) -> None:
    """From here on the store is another than the one that its last records were written in."""
    store.write("insert_epoch", seq=record.seq, **{name: record.data[name] for name in _EPOCH})
    _skip(store, record, record.data.get("numbers", {}))


def apply_adopt(store: Store, record: Record) -> None:
    """A person said that it may go on, and behind which numbers."""
    data = record.data
    store.write("insert_adoption", seq=record.seq, is_compared=data["compared"], is_clock=data["clock"])
    _skip(store, record, data["numbers"])


def apply_witness(store: Store, record: Record) -> None:
    """Names the file that the store is compared with."""
    store.write("insert_witness", seq=record.seq, path=record.data["path"])


def _skip(store: Store, record: Record, numbers: Mapping[str, int]) -> None:
    """Each series goes on behind its number."""
    for series, position in sorted(numbers.items()):
        store.write("insert_skipped_number", seq=record.seq, series=series, position=position)


KINDS: dict[str, Callable[[Store, Record], None]] = {
    "epoch": apply_epoch,
    "adopt": apply_adopt,
    "witness": apply_witness,
}
"""Record kind -> what it does to the store."""
