"""Bits that flip at rest, one in each file that a store has: told, and no answer is another one."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flips import PLACES, Shelf, flips, shelf
from tests.support.deeds import memory


@pytest.fixture(scope="module")
def kept() -> Iterator[Shelf]:
    with tempfile.TemporaryDirectory(dir=memory()) as directory, shelf(Path(directory)) as found:
        yield found


def test_a_bit_that_flips_at_rest_is_told_and_changes_no_answer(kept: Shelf) -> None:
    """One of each file; `python -m tests.flips --each 64` takes more."""
    came = dict(flips(kept, 1, seed=1))
    assert set(came) == set(PLACES)
    assert {kind: what for kind, what in came.items() if what not in {"told", "anew"}} == {}


@pytest.mark.slow
def test_many_bits_that_flip_at_rest_are_told_and_change_no_answer(kept: Shelf) -> None:
    assert [what for _, what in flips(kept, 16, seed=2) if what not in {"told", "anew"}] == []
