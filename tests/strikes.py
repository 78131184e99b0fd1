"""Strikes every command that writes, at any call that it makes, and asks whether all ends as if nothing had happened.

A life begins in a state of tests/support/deeds.py, and its command is struck once: killed in the middle of or behind a
write, fsync or rename or at a random instant (`--kills`), or refused a file handle or memory (`--exhausted`). Then the
command is typed again. What the life then says, and what its receivers were told, must equal the life that nothing
struck, to the byte. It needs a C compiler.

    python -m tests.strikes --kills 500
    python -m tests.strikes --exhausted 300 --deeds tick,close
"""

import argparse
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.support.deeds import DEEDS, Strike, memory, platform

KILLS = ("half", "after")
EXHAUSTED = ("EMFILE", "once-ENFILE", "once-ENOMEM", "ENOMEM")


def spread(count: int, calls: dict[tuple[str, str], int]) -> list[Strike]:
    """So many strikes, of every deed and kind alike, evenly over the calls that each makes."""
    share, more = divmod(count, len(calls))
    found = []
    for number, ((deed, how), most) in enumerate(calls.items()):
        asked = min(most, share + (number < more))
        found += [Strike(deed=deed, how=how, at=1 + place * most // asked) for place in range(asked)]
    return found


def instants(count: int, deeds: Sequence[str], chance: random.Random) -> list[Strike]:
    """So many kills at random instants, of every deed alike."""
    return [
        Strike(deed=deeds[number % len(deeds)], how="instant", seconds=0.3 + chance.random() * 1.5)
        for number in range(count)
    ]


def figure(strikes: Iterable[Strike], faults: Sequence[str]) -> str:
    """What was done and what came of it."""
    kinds, deeds = (Counter(words) for words in zip(*((one.how, one.deed) for one in strikes), strict=True))
    of_kinds, of_deeds = (", ".join(f"{count} {word}" for word, count in found.items()) for found in (kinds, deeds))
    return (
        f"{kinds.total()} strikes ({of_kinds}) over {len(deeds)} commands ({of_deeds}): "
        f"{len(faults)} ended otherwise than the life without one"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--exhausted", type=int, default=0)
    parser.add_argument("--deeds", default=",".join(DEEDS))
    options = parser.parse_args()
    deeds, faults = options.deeds.split(","), []
    seed = int.from_bytes(os.urandom(4), "big")
    with tempfile.TemporaryDirectory(dir=memory()) as directory, platform(Path(directory)) as striker:

        def counted(kinds: Sequence[str]) -> dict[tuple[str, str], int]:
            of = {how.removeprefix("once-"): how for how in kinds}
            calls = {(deed, how): striker.calls(deed, how) for deed in deeds for how in of.values()}
            return {(deed, how): calls[deed, of[how.removeprefix("once-")]] for deed in deeds for how in kinds}

        at_random = options.kills // 5
        strikes = instants(at_random, deeds, random.Random(seed))
        strikes += spread(options.kills - at_random, counted(KILLS)) if options.kills else []
        strikes += spread(options.exhausted, counted(EXHAUSTED)) if options.exhausted else []
        for number, strike in enumerate(strikes, 1):
            if fault := striker.survives(strike, is_verified=number % 10 == 0):
                faults.append(fault)
                print(fault, flush=True)
            if number % 50 == 0:
                print(f"seed {seed}: {number} of {len(strikes)}, {len(faults)} ended otherwise", flush=True)
    print(figure(strikes, faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
