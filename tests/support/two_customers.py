"""A desk whose September 2026 two customers used: bee 101 CU-hours, ant 102."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk

HOUR = 3600


@contextmanager
def two_customers(directory: Path, now: str = "2026-10-02T12:00:00Z", more: str = "") -> Iterator[Desk]:
    """Nothing is read yet. `more` goes into config.toml."""
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        for project, hours in (("bee-1", 101), ("ant-1", 102)):
            fleet.project(project)
            fleet.use(project, "2026-09-10", grain="daily", compute_unit_seconds=hours * HOUR)
        yield Desk(directory=directory, neon=neon, now=now, default_plan="pro", more=more)


@contextmanager
def closed_september(directory: Path, now: str = "2026-10-02T12:00:00Z") -> Iterator[Desk]:
    """All that Neon has is read, and September 2026 is closed for both: INV-2026-000001 and INV-2026-000002."""
    with two_customers(directory, now=now) as desk:
        desk.good("backfill")
        desk.good("close", "2026-09")
        yield desk
