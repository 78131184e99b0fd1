"""The view of a new snapshot replaces the old one when its figures are ready; a failure is reported."""

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
from metering.web import figures
from metering.web.view import MOST_MONTHS, opened
from metering.web.views import Views
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
    views = Views(lambda: world, lambda: web_world.NOW)
    first = views.current()
    assert first.get(figures.data_as_of) == "2026-10-05T11:55:00Z"
    later = web_world.NOW + timedelta(minutes=10)
    cycle(world, later)
    assert views.current() is first, "nobody waits for the next one"
    awaited(lambda: views.current() is not first)
    assert views.current().get(figures.data_as_of) == "2026-10-05T12:10:00Z"
    assert figures.documents in views.current().month("current").known, "its figures are there already"
    assert first.get(figures.data_as_of) == "2026-10-05T11:55:00Z", "whoever reads the first goes on reading it"


def test_after_a_change_its_maker_sees_it_at_once(world):
    views = Views(lambda: world, lambda: web_world.NOW)
    views.current()
    cycle(world, web_world.NOW + timedelta(minutes=10))
    views.renew()
    assert views.current().get(figures.data_as_of) == "2026-10-05T12:10:00Z"


def test_a_snapshot_that_cannot_be_read_leaves_the_one_before_it_and_says_so(world):
    views = Views(lambda: world, lambda: web_world.NOW)
    first = views.current()
    path = world.store.directory / database.SNAPSHOT
    with held(world.store.directory):  # who writes makes a new one; nobody else may
        path.unlink()
        path.write_bytes(b"not a database")
        views.current()
        awaited(lambda: views.trouble is not None)
        assert "cannot be opened" in views.trouble
        assert views.current() is first
    cycle(world, web_world.NOW + timedelta(minutes=10))
    awaited(lambda: views.current() is not first)
    assert views.trouble is None


def test_another_hour_is_another_view_since_coverage_is_counted_by_it(world):
    now = [web_world.NOW]
    views = Views(lambda: world, lambda: now[0])
    first = views.current()
    now[0] += timedelta(minutes=59)
    assert views.current() is first
    now[0] += timedelta(minutes=1)
    awaited(lambda: views.current() is not first)
    assert views.current().now == now[0]


def test_while_the_first_snapshot_is_made_there_is_none_to_show(tmp_path):
    config = web_world.configured(tmp_path)
    views = Views(lambda: config, lambda: web_world.NOW)
    with held(config.store.directory), pytest.raises(StoreBusyError):
        views.current()
    assert views.current().get(figures.data_as_of) is None
    config.store.directory.joinpath(database.SNAPSHOT).write_bytes(b"")
    with pytest.raises(StoreDamagedError):
        views.current()


def test_a_figure_is_computed_once_however_many_ask_at_the_same_time(world):
    view = opened(world, web_world.NOW)
    found, barrier = [], threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        found.append(view.month("current").get(figures.report))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len({id(report) for report in found}) == 1


def test_the_outlook_is_what_the_command_prints_and_keeps_no_page_waiting(world):
    view = opened(world, web_world.NOW)
    with view.turn:  # as if a page computed something long
        found = view.outlook(wait_seconds=PATIENCE_SECONDS)
    assert found == outlook.outlook(view.month("current").get(figures.rated).whole).document()
    assert view.outlook() is found


def test_who_looked_ahead_from_one_snapshot_finds_the_next_looked_ahead_too(world):
    views = Views(lambda: world, lambda: web_world.NOW)
    first = views.current()
    first.outlook(wait_seconds=PATIENCE_SECONDS)
    cycle(world, web_world.NOW + timedelta(minutes=10))
    awaited(lambda: views.current() is not first)
    awaited(lambda: views.current().ahead.is_asked)


def test_a_view_that_nobody_reads_any_more_is_gone_without_a_search_for_garbage(world):
    view = opened(world, web_world.NOW)
    figures.prepare(view)
    view.outlook(wait_seconds=PATIENCE_SECONDS)
    parts = (view, view.month("current").get(figures.rated).whole, view.get(figures.quota_sheet), view.ahead)
    gone = [weakref.ref(part) for part in parts]
    gc.collect()
    gc.disable()
    try:
        del view, parts
        awaited(lambda: [found() for found in gone] == [None] * 4)
    finally:
        gc.enable()


def test_it_keeps_the_figures_of_so_many_months_and_no_more(world):
    view = opened(world, web_world.NOW)
    names = ["2026-10", "2026-09", "2026-08", "2026-07"]
    kept = [view.month(name).known for name in names]
    assert len(names) == MOST_MONTHS + 1
    assert view.month("2026-09").known is kept[1]
    assert view.month("2026-10").known is not kept[0]
