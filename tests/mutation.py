"""What the tests notice: the score of the last `mutmut run`, by module, from mutmut's own results.

A mutant is the program with one thing changed. It is killed where a test fails or does not end, survives where all
pass, and counts as surviving where no test reaches it.

    make mutation
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path("mutants", "metering")
LEAST_PERCENT = 90
KILLED = frozenset([1, 3, 24, -24, 36, 152, 255])
"""Exit codes of mutmut's runs: pytest found a failure, or the time was over. None is a mutant not run yet."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """The mutants of a module, or of all."""

    name: str
    mutants: int
    killed: int

    @property
    def percent(self) -> str:
        """Truncated, so that it is never said to be reached before it is."""
        return f"{self.killed * 1000 // self.mutants / 10:.1f} %"

    def __str__(self) -> str:
        survived = self.mutants - self.killed
        return f"{self.name:10} {self.mutants:8} {self.killed:8} {survived:10} {self.percent:>8}"


def score(name: str, exit_codes: Mapping[str, int | None]) -> Score:
    return Score(name=name, mutants=len(exit_codes), killed=sum(code in KILLED for code in exit_codes.values()))


def surviving(exit_codes: Mapping[str, int | None]) -> Counter[str]:
    """How many survive, by function: `metering.rating.x__card__mutmut_7` is one of `rating._card`."""
    names = (name.removeprefix("metering.") for name, code in exit_codes.items() if code not in KILLED)
    return Counter(name.rsplit("__mutmut_", 1)[0].replace(".x_", ".") for name in names)


def main() -> int:
    results = {
        path.name.removesuffix(".py.meta"): json.loads(path.read_text())["exit_code_by_key"]
        for path in sorted(RESULTS.glob("*.meta"))
    }
    found = {name: exit_codes for name, exit_codes in results.items() if exit_codes}
    if not found:
        print(f"no results in {RESULTS}; run mutmut first", file=sys.stderr)
        return 1
    all_codes = {key: code for exit_codes in found.values() for key, code in exit_codes.items()}
    total = score("total", all_codes)
    print(f"{'module':10} {'mutants':>8} {'killed':>8} {'survived':>10} {'score':>8}")
    for line in [*(score(name, exit_codes) for name, exit_codes in found.items()), total]:
        print(line)
    for name, count in sorted(surviving(all_codes).items()):
        print(f"    {name}: {count}")
    unfinished = sum(code is None for code in all_codes.values())
    if unfinished:
        print(f"{unfinished} mutants were not run: the run is not over", file=sys.stderr)
    return 1 if unfinished or total.killed * 100 < LEAST_PERCENT * total.mutants else 0


if __name__ == "__main__":
    sys.exit(main())
