"""Readers beside a cycle that reads, lands and publishes: neither waits for the other."""

from pathlib import Path

import pytest

from metering.store import snapshots
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk
from tests.support.quiet_time import stopwatch

MOST_SECONDS = 1.0


@pytest.fixture
def desk(tmp_path: Path):
    with served(PlainNeon()) as neon:
        for organization in ("org-a", "org-b"):
            fleet = neon.fleet(organization)
            for number in range(150):
                project = f"{organization}-calm-{number:03d}"
                fleet.project(project)
                for hour in range(0, 12, 2):
                    fleet.use(project, f"2026-10-05T{hour:02d}:00", compute_unit_seconds=number + hour)
        desk = Desk(
            directory=tmp_path,
            neon=neon,
            now="2026-10-05T12:00:00Z",
            organizations=("org-a", "org-b"),
            default_plan="pro",
            more="[schedule]\nclose_day = 0\n",
        )
        desk.good("poll")
        desk.now = "2026-10-05T13:00:00Z"
        yield desk


def test_a_reader_is_never_kept_waiting_while_a_cycle_is_read_landed_and_published(desk: Desk) -> None:
    directory, waits, seen = desk.directory / "var", [], set()
    process = desk.spawn("tick", "--config", str(desk.write()))
    while process.poll() is None:
        with stopwatch() as watch, snapshots.open_reader(directory) as reading:
            seen.add(reading.query("store/position").item(0, "seq"))
            reading.query("billing/freshness")
        waits.append(watch.seconds)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert len(waits) > 3
    assert max(waits) < MOST_SECONDS
    with snapshots.open_reader(directory) as reading:
        seen.add(reading.query("store/position").item(0, "seq"))
    assert len(seen) == 2, "what was published before, then what the tick published, and nothing in between"


def test_a_reader_that_never_lets_go_keeps_no_cycle_waiting_and_sees_what_it_opened(desk: Desk) -> None:
    directory = desk.directory / "var"
    with snapshots.open_reader(directory) as reading:
        before = reading.query("store/position").item(0, "seq")
        ran = desk.ran("tick")
        assert ran.code == 0, ran
        assert reading.query("store/position").item(0, "seq") == before
    with snapshots.open_reader(directory) as reading:
        assert reading.query("store/position").item(0, "seq") > before
