"""Every command that writes, struck at calls that it makes: the end is as if nothing had happened."""

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from metering.core.errors import DISK_HINT
from tests.strikes import EXHAUSTED, KILLS, spread
from tests.support.deeds import DEEDS, Strike, Striker, memory, platform

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to build the striker with")
OTHERS = [deed for deed in DEEDS if deed != "tick"]


@pytest.fixture(scope="module")
def striker() -> Iterator[Striker]:
    with tempfile.TemporaryDirectory(dir=memory()) as directory, platform(Path(directory)) as found:
        yield found


def test_a_tick_killed_in_the_middle_of_or_behind_any_write_fsync_or_rename_ends_as_if_it_had_not_been(
    striker: Striker,
) -> None:
    """Some of the calls; `python -m tests.strikes` takes them all."""
    calls = striker.calls()
    assert calls > 100
    assert "".join(striker.survives(strike) for strike in spread(4, {("tick", how): calls for how in KILLS})) == ""


@pytest.mark.parametrize("deed", ["void", "restore", "adopt"])
def test_a_command_that_is_killed_ends_as_if_it_had_not_been_when_it_is_typed_again(
    striker: Striker, deed: str
) -> None:
    assert striker.survives(Strike(deed=deed, how="half", at=striker.calls(deed) // 2)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("deed", OTHERS)
def test_any_command_that_is_killed_ends_as_if_it_had_not_been_when_it_is_typed_again(
    striker: Striker, deed: str
) -> None:
    calls = striker.calls(deed)
    assert "".join(map(striker.survives, spread(10, {(deed, how): calls for how in KILLS}))) == ""


@pytest.mark.parametrize(("how", "part"), [("EMFILE", 0.5), ("once-ENFILE", 0.7), ("once-ENOMEM", 0.4)])
def test_a_tick_without_handles_or_memory_says_so_and_the_next_one_makes_up_for_it(
    striker: Striker, how: str, part: float
) -> None:
    """Refused is one opening or allocation, or all from one on; `python -m tests.strikes --exhausted 300`."""
    assert striker.survives(Strike(how=how, at=int(striker.calls(how=how) * part))) == ""


@pytest.mark.slow
@pytest.mark.parametrize("deed", DEEDS)
def test_any_command_without_handles_or_memory_says_so_and_typed_again_it_makes_up_for_it(
    striker: Striker, deed: str
) -> None:
    calls = {(deed, how): striker.calls(deed, how) for how in EXHAUSTED}
    assert "".join(map(striker.survives, spread(12, calls))) == ""


@pytest.mark.parametrize("how", ["once-EIO", "ENOSPC"])
def test_a_tick_whose_disk_fails_says_so_ends_with_1_and_the_next_one_makes_up_for_it(
    striker: Striker, how: str
) -> None:
    """Also where a commit or fsync is told to have failed though its bytes had reached the disk."""
    strike = Strike(how=how, at=random.Random(how).randrange(20, striker.calls() // 4))
    assert striker.survives(strike) == ""
    assert f"  {DISK_HINT}\n" in striker.last.err


@pytest.mark.slow
def test_a_tick_survives_the_failure_of_any_single_call(striker: Striker) -> None:
    faults = [
        striker.survives(Strike(how=how, at=at))
        for at in range(1, striker.calls() + 1, 3)
        for how in ("once-EIO", "ENOSPC")
    ]
    assert "".join(faults) == ""
