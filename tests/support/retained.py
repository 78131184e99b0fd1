"""A life of two closed months whose pages retention drops; for tests of what stands in for them.

As a command it does what a tick does for retention, in a directory that holds such a life:

    python -m tests.support.retained DIRECTORY
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from metering.core.stop import Stop
from metering.ledger.ledger import open_ledger
from metering.operations import retention, verify
from metering.store import database, journal, snapshots
from tests.support.card import plan, price, subscription
from tests.support.pages_of import Books, books, moment
from tests.support.scribe import rows

HOUR = 3600
PRO = plan("pro", price(unit_price="0.10"), base_fee="20.00")
MAPPED = (subscription("a", "one", "pro"), subscription("b", "two", "pro"))
A = {"id": "a", "name": "a", "created_at": "2026-01-01T00:00:00Z"}
B = {"id": "b", "name": "b", "created_at": "2026-01-01T00:00:00Z"}
LATER = moment("2026-11-20")


def life(directory: Path) -> Iterator[Books]:
    """September and October of the customers one and two, each read in the month after and closed; it is 20 November.

    The journal has a segment for October (September's pages, inventory, its close) and one for November.
    """
    with books(directory, "2026-10-03", plans=(PRO,), subscriptions=MAPPED) as found:
        found.see(A, B)
        found.use("a", "2026-09-10T05", compute_unit_seconds=100 * HOUR)
        found.use("b", "2026-09-10T05", compute_unit_seconds=10 * HOUR)
        found.read("2026-09")
        found.close("2026-09")
        found.now = moment("2026-11-03")
        found.use("b", "2026-10-02T05", compute_unit_seconds=HOUR)
        found.read("2026-10")
        found.close("2026-10")
        found.now = LATER
        yield found


def lived(directory: Path) -> Path:
    """The same, at rest."""
    for _ in life(directory):
        pass
    return directory


def tend(desk: Books, days: int = 30, stop: Stop | None = None) -> list[str]:
    """The first tick of a day."""
    return retention.tend(desk.ledger, days, desk.now, stop or Stop(), is_new_day=True)


def tended(directory: Path) -> Path:
    """The same at rest, after retention."""
    with open_ledger(directory, lambda: LATER) as ledger:
        assert retention.tend(ledger, 30, LATER, Stop(), is_new_day=True) == []
    return directory


DROPPED = {1: False, 3: False, 5: False, 7: False, 9: False, 14: True, 16: True, 18: True}
"""What `bodies` then says."""


def bodies(directory: Path) -> dict[int, bool]:
    """Record number of each page -> whether its body is there."""
    pages = (record for record in journal.read(directory / "journal") if record.kind == "page")
    return {page.seq: not page.is_dropped for page in pages}


def tables(directory: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row that readers see."""
    with snapshots.open_reader(directory) as found:
        return {name: rows(found, name) for name in database.tables(found)}


def agreed(directory: Path) -> verify.Findings:
    """What `verify` says; it must find nothing wrong."""
    with open_ledger(directory, lambda: LATER) as ledger:
        found = verify.verify(directory, ledger.store)
    assert found.faults == []
    return found


if __name__ == "__main__":
    tended(Path(sys.argv[1]))
