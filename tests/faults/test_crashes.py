"""A real `poll` and a real `tick`, struck at calls that change the disk: the end is as if nothing had happened."""

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.strikes import Strike, Striker, memory, platform, spread

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to build the striker with")


@pytest.fixture(scope="module")
def striker() -> Iterator[Striker]:
    with tempfile.TemporaryDirectory(dir=memory()) as directory, platform(Path(directory)) as found:
        yield found


def test_a_tick_killed_in_the_middle_of_or_behind_any_write_fsync_or_rename_ends_as_if_it_had_not_been(
    striker: Striker,
) -> None:
    """Some of the calls; `python -m tests.strikes` takes them all."""
    calls = {"tick": striker.calls()}
    assert calls["tick"] > 100
    faults = [striker.survives(strike) for strike in spread(5, calls, random.Random(1))]
    assert "".join(faults) == ""


@pytest.mark.parametrize("how", ["once-EIO", "ENOSPC"])
def test_a_tick_whose_disk_fails_says_so_ends_with_1_and_the_next_one_makes_up_for_it(
    striker: Striker, how: str
) -> None:
    """Also where a commit or fsync is told to have failed though its bytes had reached the disk."""
    calls = striker.calls()
    assert striker.survives(Strike(how=how, at=random.Random(how).randrange(20, calls // 2))) == ""


@pytest.mark.slow
def test_a_tick_survives_the_failure_of_any_single_call(striker: Striker) -> None:
    faults = [
        striker.survives(Strike(how=how, at=at))
        for at in range(1, striker.calls() + 1, 3)
        for how in ("once-EIO", "ENOSPC")
    ]
    assert "".join(faults) == ""
