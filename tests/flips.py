"""Flips single bits of a store at rest, and asks whether each is told, and whether any answer is another than before.

One life of two closed months, a checkpoint and a backup. For each flip the commands that answer, `verify` and, for a
backup, `restore` are run: what they answer must be what they answered before, or they end with a sentence; and of every
flip one of them must say something, unless nobody read the byte before it was written anew (`anew`: a free block, a
readers' copy that the next command replaces): at the end no block of the database files may be damaged.

    python -m tests.flips --each 64
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from metering.store import damage
from tests.support.card import toml
from tests.support.deeds import memory
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk, Ran
from tests.support.retained import PRO, lived, tended

PLACES = {
    "store": ("var/metering.duckdb",),
    "snapshot": ("var/snapshot.duckdb",),
    "checkpoint": ("var/journal/checkpoint-*/*",),
    "journal": ("var/journal/*.journal",),
    "backup": ("backup/*", "backup/journal/*", "backup/journal/*/*"),
}
SAID = (("usage", "2026-09"), ("invoices", "2026-09"), ("invoices", "2026-10"), ("alerts", "list"))


@dataclass(kw_only=True)
class Shelf:
    """The life at rest, copied for every flip."""

    desk: Desk
    kept: Path
    before: list[str]

    def begin(self) -> Path:
        """A new copy."""
        shutil.rmtree(self.desk.directory)
        shutil.copytree(self.kept, self.desk.directory)
        return self.desk.directory

    def files(self, kind: str) -> list[Path]:
        """The files of a kind, in order, relative to the life."""
        found = [path for pattern in PLACES[kind] for path in self.kept.glob(pattern) if path.is_file()]
        return sorted(path.relative_to(self.kept) for path in found)

    def flipped(self, kind: str, place: int) -> str:
        """Flips a bit of the place-th byte of all files of a kind. Says `told`, `anew`, or what is wrong."""
        home = self.begin()
        for file in self.files(kind):
            size = (home / file).stat().st_size
            if place < size:
                break
            place -= size
        flip(home / file, place, 1 << place % 8)
        if kind == "backup":
            ran = [self._restored(home)]
            if ran[0].code == 0:
                ran += self._answers()
        else:
            ran = [*self._answers(), self.desk.run("verify"), *self._answers()]
        if wrong := [one.out for one in ran if one.code == 0 and one.out not in self.before]:
            return f"{file} {place}: answers otherwise: {wrong[0][:300]}"
        if any(one.code != 0 and not _sentence(one) for one in ran):
            return f"{file} {place}: no sentence: {[one.err for one in ran]}"
        is_told = any(one.code != 0 or _sentence(one) for one in ran)
        is_anew = file.suffix == ".duckdb" and kind != "backup" and not damage.has_damage(home / file)
        return "told" if is_told else "anew" if is_anew else f"{file} {place}: nothing was told"

    def _answers(self) -> list[Ran]:
        return [self.desk.run(*words) for words in SAID]

    def _restored(self, home: Path) -> Ran:
        shutil.rmtree(home / "var")
        ran = self.desk.run("restore", str(home / "backup"))
        return Ran(code=ran.code, out=self.before[0] if ran.code == 0 else ran.out, err=ran.err if ran.code else "")


def _sentence(ran: Ran) -> str:
    """What was told beside the answer; the moment of the rehearsal is not."""
    return "".join(line for line in ran.err.splitlines() if "(METERING_NOW)" not in line)


def flip(path: Path, place: int, bit: int) -> None:
    """One bit of one byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= bit
    path.write_bytes(content)


@contextmanager
def shelf(directory: Path) -> Iterator[Shelf]:
    """The life: two closed months of which one was dropped behind a checkpoint, and a backup of it."""
    with served(PlainNeon()) as neon:
        desk = Desk(directory=directory / "kept", neon=neon, now="2026-11-20T12:00:00Z", plans=toml(PRO))
        desk.subscriptions = (
            "project_id,customer,plan,valid_from,valid_to\na,one,pro,2026-01-01,\nb,two,pro,2026-01-01,\n"
        )
        desk.directory.mkdir(parents=True)
        tended(lived(desk.directory / "var"))
        for words in (("verify",), ("backup", str(directory / "made"))):
            ran = desk.run(*words)
            assert ran.code == 0, ran
        [made] = (directory / "made").iterdir()
        made.rename(desk.directory / "backup")
        kept, desk.directory = desk.directory, directory / "life"
        desk.directory.mkdir()
        found = Shelf(desk=desk, kept=kept, before=[])
        found.begin()
        found.before = [one.out for one in [*found._answers(), desk.run("verify")]]
        yield found


def flips(kept: Shelf, each: int, seed: int) -> Iterator[tuple[str, str]]:
    """(kind, what came of it) for so many flips of each kind, spread over its bytes."""
    chance = random.Random(seed)
    for kind in PLACES:
        size = sum((kept.kept / file).stat().st_size for file in kept.files(kind))
        for number in range(each):
            yield kind, kept.flipped(kind, chance.randrange(size * number // each, size * (number + 1) // each))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    came: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory(dir=memory()) as directory, shelf(Path(directory)) as kept:
        for kind, what in flips(kept, options.each, options.seed):
            came[kind, what if what in ("told", "anew") else "wrong"] += 1
            if what not in ("told", "anew"):
                print(f"{kind}: {what}", flush=True)
            if sum(count for (of, _), count in came.items() if of == kind) == options.each:
                print(kind, {word: came[kind, word] for word in ("told", "anew", "wrong")}, flush=True)
    return 1 if any(what == "wrong" for _, what in came) else 0


if __name__ == "__main__":
    sys.exit(main())
