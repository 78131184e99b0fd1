"""A new snapshot takes the place of the one before it once its figures are there; what fails on the way is told."""

import gc
import threading
import time
import weakref
from datetime import timedelta
from pathlib import Path

import pytest

from metering.core.errors import StoreBusyError, StoreDamagedError
from metering.invoicing import outlook
from metering.ledger.ledger import open_ledger
from metering.store import database
from metering.store.lock import held
from metering.web.edition import MOST_MONTHS, Edition, Editions
from tests.support import books, web_world

PATIENCE_SECONDS = 60


def cycle(config, at) -> None:
    """A cycle that read nothing new, published."""
    with open_ledger(config.store.directory, lambda: at) as ledger:
        counted = {"requests": 1, "pages": 1, "changes": 0, "outcome": "complete", "faults": []}
        ledger.record(
            "cycle", {"command": "poll", "started_at": books.stamp(at), "ended_at": books.stamp(at), **counted}
        )


def awaited(condition) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)


@pytest.fixture
def world(tmp_path: Path):
    return web_world.lived_in(tmp_path)


def test_the_next_snapshot_is_shown_once_its_figures_are_there(world):
    editions = Editions(lambda: world, lambda: web_world.NOW)
    first = editions.current()
    assert first.data_as_of == "2026-10-05T11:55:00Z"
    later = web_world.NOW + timedelta(minutes=10)
    cycle(world, later)
    assert editions.current() is first, "nobody waits for the next one"
    awaited(lambda: editions.current() is not first)
    assert editions.current().data_as_of == "2026-10-05T12:10:00Z"
    assert "once documents" in vars(editions.current().month("current")), "its figures are there already"
    assert first.data_as_of == "2026-10-05T11:55:00Z", "whoever reads the first goes on reading it"


def test_after_a_change_its_maker_sees_it_at_once(world):
    editions = Editions(lambda: world, lambda: web_world.NOW)
    editions.current()
    cycle(world, web_world.NOW + timedelta(minutes=10))
    editions.renew()
    assert editions.current().data_as_of == "2026-10-05T12:10:00Z"


def test_a_snapshot_that_cannot_be_read_leaves_the_one_before_it_and_says_so(world):
    editions = Editions(lambda: world, lambda: web_world.NOW)
    first = editions.current()
    path = world.store.directory / database.SNAPSHOT
    path.unlink()
    path.write_bytes(b"not a database")
    editions.current()
    awaited(lambda: editions.trouble is not None)
    assert "cannot be opened" in editions.trouble
    assert editions.current() is first
    cycle(world, web_world.NOW + timedelta(minutes=10))
    awaited(lambda: editions.current() is not first)
    assert editions.trouble is None


def test_another_hour_is_another_edition_since_coverage_is_counted_by_it(world):
    now = [web_world.NOW]
    editions = Editions(lambda: world, lambda: now[0])
    first = editions.current()
    now[0] += timedelta(minutes=59)
    assert editions.current() is first
    now[0] += timedelta(minutes=1)
    awaited(lambda: editions.current() is not first)
    assert editions.current().now == now[0]


def test_while_the_first_snapshot_is_made_there_is_none_to_show(tmp_path):
    config = web_world.configured(tmp_path)
    editions = Editions(lambda: config, lambda: web_world.NOW)
    with held(config.store.directory), pytest.raises(StoreBusyError):
        editions.current()
    assert editions.current().is_empty
    config.store.directory.joinpath(database.SNAPSHOT).write_bytes(b"")
    with pytest.raises(StoreDamagedError):
        editions.current()


def test_a_figure_is_computed_once_however_many_ask_at_the_same_time(world):
    edition = Edition(world, web_world.NOW)
    found, barrier = [], threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        found.append(edition.month("current").report)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len({id(report) for report in found}) == 1


def test_the_outlook_is_what_the_command_prints_and_keeps_no_page_waiting(world):
    edition = Edition(world, web_world.NOW)
    with edition.turn:  # as if a page computed something long
        found = edition.outlook(wait_seconds=PATIENCE_SECONDS)
    assert found == outlook.outlook(edition.month("current").month)
    assert edition.outlook() is found


def test_who_looked_ahead_from_one_snapshot_finds_the_next_looked_ahead_too(world):
    editions = Editions(lambda: world, lambda: web_world.NOW)
    first = editions.current()
    first.outlook(wait_seconds=PATIENCE_SECONDS)
    cycle(world, web_world.NOW + timedelta(minutes=10))
    awaited(lambda: editions.current() is not first)
    awaited(lambda: editions.current().is_looked_ahead)


def test_an_edition_that_nobody_reads_any_more_is_gone_without_a_search_for_garbage(world):
    edition = Edition(world, web_world.NOW)
    edition.prepare()
    edition.outlook(wait_seconds=PATIENCE_SECONDS)
    parts = (edition, edition.month("current"), edition.month("current").month, edition.quota_sheet)
    gone = [weakref.ref(part) for part in parts]
    gc.collect()
    gc.disable()
    try:
        del edition, parts
        awaited(lambda: [found() for found in gone] == [None] * 4)
    finally:
        gc.enable()


def test_it_keeps_the_figures_of_so_many_months_and_no_more(world):
    edition = Edition(world, web_world.NOW)
    names = ["2026-10", "2026-09", "2026-08", "2026-07"]
    kept = [edition.month(name) for name in names]
    assert len(names) == MOST_MONTHS + 1
    assert edition.month("2026-09") is kept[1]
    assert edition.month("2026-10") is not kept[0]
