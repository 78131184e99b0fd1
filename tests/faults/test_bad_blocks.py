"""A block that goes bad while the store is used is set aside and made anew; it never reaches the readers' copy."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from metering.store import damage
from tests.support.platform_desk import Desk, copied
from tests.support.two_customers import closed_september

BLOCK, HEADERS = 256 * 1024, 3 * 4096


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """September 2026 is closed for two customers."""
    with closed_september(tmp_path_factory.mktemp("closed")) as desk:
        yield desk


@pytest.fixture
def desk(closed: Desk, tmp_path: Path) -> Iterator[Desk]:
    with copied(closed, tmp_path) as found:
        yield found


def flip(path: Path, place: int) -> None:
    """One bit of one byte."""
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def places(path: Path, count: int, seed: int) -> list[int]:
    """Places in different parts of the file: of its headers one, the others in its blocks."""
    chance, size = random.Random(seed), path.stat().st_size
    return [chance.randrange(size * i // count, size * (i + 1) // count) for i in range(count)]


def test_every_flipped_bit_of_a_database_is_seen_without_opening_it(closed: Desk, tmp_path: Path) -> None:
    kept, path = closed.directory / "var" / "metering.duckdb", tmp_path / "metering.duckdb"
    path.write_bytes(kept.read_bytes())
    assert not damage.has_damage(path)
    for place in [0, 9, 4096 + 8, HEADERS, HEADERS + 8, HEADERS + BLOCK - 1, *places(path, 32, seed=1)]:
        flip(path, place)
        assert damage.has_damage(path) or _is_of_no_block(path, place), place
        flip(path, place)


def _is_of_no_block(path: Path, place: int) -> bool:
    """A block that was never written is empty; a single bit in it is none that anybody reads."""
    start = HEADERS + (place - HEADERS) // BLOCK * BLOCK
    return path.read_bytes()[start : start + BLOCK].count(0) >= BLOCK - 1


def test_a_file_that_was_cut_has_damage(tmp_path: Path) -> None:
    path = tmp_path / "metering.duckdb"
    path.write_bytes(b"short")
    assert damage.has_damage(path)


@pytest.mark.parametrize("name", ["metering.duckdb", "snapshot.duckdb"])
@pytest.mark.parametrize("part", range(3))
def test_a_bad_block_is_set_aside_and_ticks_and_readers_go_on(desk: Desk, name: str, part: int) -> None:
    before = desk.good("invoices", "2026-09")
    path = desk.directory / "var" / name
    flip(path, places(path, 3, seed=7)[part])
    for command in (("invoices", "2026-09"), ("tick",), ("tick",), ("usage", "2026-09"), ("invoices", "2026-09")):
        ran = desk.run(*command)
        assert ran.code == 0, (command, ran)
        assert "Traceback" not in ran.err
    assert desk.good("invoices", "2026-09") == before
    assert not damage.damaged_files(desk.directory / "var")
    assert desk.run("verify").code == 0


def test_both_files_may_be_bad_at_once(desk: Desk) -> None:
    before = desk.good("invoices", "2026-09")
    for name in ("metering.duckdb", "snapshot.duckdb"):
        flip(desk.directory / "var" / name, HEADERS + 20_000)
    ran = desk.run("invoices", "2026-09")
    assert ran.code == 0, ran
    assert "damaged blocks" in ran.err
    assert desk.good("invoices", "2026-09") == before
    assert desk.run("verify").code == 0


def test_a_quick_verify_names_the_file_that_has_bad_blocks(desk: Desk) -> None:
    assert desk.run("verify", "--quick").code == 0
    flip(desk.directory / "var" / "snapshot.duckdb", HEADERS + 20_000)
    ran = desk.run("verify", "--quick")
    assert ran.code == 1
    assert "snapshot.duckdb has damaged blocks" in ran.err
    assert desk.run("verify", "--quick").code == 0


def test_a_bad_block_that_no_query_reads_is_found_before_it_is_published(desk: Desk) -> None:
    path = desk.directory / "var" / "metering.duckdb"
    size = path.stat().st_size
    for place in range(HEADERS + 100_000, size, BLOCK):
        flip(path, place)
    assert desk.run("tick").code == 0
    assert not damage.damaged_files(desk.directory / "var")
    assert desk.run("verify").code == 0
