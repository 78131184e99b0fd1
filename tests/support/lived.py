"""A life of polling, made up from a seed: for tests that kill it, rebuild it, or ask whether its checks hold.

As a command it goes on for ever in a directory, prints the number of every record that was acknowledged, and may kill
itself between two records:

    python -m tests.support.lived DIRECTORY [RECORDS UNTIL DEATH]
"""

import os
import random
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from metering.core.period import HOUR
from metering.ledger.ledger import open_ledger
from tests.support.scribe import Page, Scribe, inventory_body

START = datetime(2026, 10, 5, tzinfo=UTC)
METRICS = ("compute_unit_seconds", "root_branch_bytes_month", "extra_branches_month", "nobody_knows")
SIZES = (0, 1, 5, 5, 5, 3600, 2**40, 2**63 - 1, 2**63, 2**70)
PROJECTS = [f"project-{number}" for number in range(8)]


def short(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H}"


def a_page(chance: random.Random, projects: list[str], start: datetime, hours: int) -> Page:
    """Some buckets of some projects; some metrics left out, some null."""
    return {
        project: [
            (
                short(start + number * HOUR),
                {metric: chance.choice((*SIZES, None)) for metric in METRICS if chance.random() < 0.7},
            )
            for number in range(hours)
            if chance.random() < 0.7
        ]
        for project in projects
    }


def a_cycle(record: Callable[..., int], first_walk: int, seed: int) -> None:
    """Inventory, counters and history of two organizations, whose walks take turns, and the cycle's end."""
    chance = random.Random(seed)
    now = START + timedelta(hours=chance.randrange(48), minutes=chance.randrange(60))
    window = (short(now - 6 * HOUR), short(now + HOUR))
    numbers = [first_walk - 1]
    scribes = [
        Scribe(record=record, organization=name, window=window, sent=f"{now:%Y-%m-%dT%H:%M}", walks=numbers)
        for name in ("org-a", "org-b")
    ]
    for scribe in scribes:
        listed = [{"id": name, "name": f"{name}-{chance.randrange(3)}"} for name in PROJECTS if chance.random() < 0.9]
        scribe.inventory(inventory_body(*listed), kind=chance.choice(("", "", "broken")))
        scribe.counters(chance.choice(PROJECTS), compute_time_seconds=chance.randrange(10**6))
        scribe.branches(chance.choice(PROJECTS), chance.randrange(10**9), chance.choice((None, 7)))
    walks = [scribe.begin() for scribe in scribes]
    for number in range(0, len(PROJECTS), 2):
        for scribe, walk in zip(scribes, walks, strict=True):
            listed_here = PROJECTS[number : number + 2] + ([PROJECTS[0]] if chance.random() < 0.1 else [])
            scribe.page(walk, a_page(chance, list(dict.fromkeys(listed_here)), now - 6 * HOUR, 7))
    for scribe, walk in zip(scribes, walks, strict=True):
        scribe.end(walk, kind=chance.choice(("", "", "", "broken")))
    scribes[0].cycle()


def main(directory: Path, until_death: int | None) -> None:
    """Lives until it is killed."""
    left = [until_death]

    def clock() -> datetime:
        # The ledger asks for the time between two records.
        if left[0] is not None:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
        return START

    with open_ledger(directory, clock) as ledger:

        def record(kind: str, data: dict[str, object], *, body: bytes = b"") -> int:
            seq = ledger.record(kind, data, body=body)
            print(seq, flush=True)
            return seq

        print(ledger.journal.seq, flush=True)
        while True:
            a_cycle(record, int(ledger.store.query("polling/next_walk").item()), seed=ledger.journal.seq)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
