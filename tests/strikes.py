"""Strikes the real command at any call that changes the disk, and asks whether all ends as if nothing had happened.

One life: a platform whose September is read, then a `tick` (or `poll` and `tick`) that reads October, alerts, closes
September, writes its report, publishes and delivers. It is struck once, by faults/strike.c or at a random instant, and
run again. What it then says, and what its receiver was told, must equal the life that nothing struck, to the byte.

    python -m tests.strikes --kills 1000
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from metering.core.errors import DISK_HINT
from tests.support.inbox import Inbox, receiving
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk, Ran

SOURCE = Path(__file__).parent / "faults" / "strike.c"
SECRET = "whsec_" + "c2VjcmV0LW9mLXR3ZW50eS1mb3VyLWJ5dGVz"
PERIOD = {"consumption_period_start": "2026-10-01T00:00:00Z", "consumption_period_end": "2026-11-01T00:00:00Z"}
BEFORE, NOW = "2026-10-04T12:00:00Z", "2026-10-05T12:00:00Z"
SAID = (
    ("usage", "2026-09"),
    ("usage", "2026-10", "--by", "hour"),
    ("quota",),
    ("invoices", "2026-09"),
    ("invoices", "2026-10"),
    ("alerts", "list"),
)


@dataclass(frozen=True, kw_only=True)
class Strike:
    """`how` as in strike.c, at the n-th call; or `how` "instant", `seconds` after the start."""

    command: str = "tick"
    how: str = ""
    at: int = 0
    seconds: float = 0


@dataclass(kw_only=True)
class Striker:
    """A platform before its tick, copied for every life."""

    desk: Desk
    inbox: Inbox
    directory: Path
    library: Path
    lives: int = 0
    untouched: dict[str, object] = field(default_factory=dict)

    def begin(self) -> Desk:
        """A new life, at the moment before it is struck."""
        if self.lives:
            shutil.rmtree(self.desk.directory)
        self.lives += 1
        self.desk.directory = self.directory / f"life-{self.lives}"
        shutil.copytree(self.directory / "before", self.desk.directory)
        self.desk.write()
        self.inbox.posts.clear()
        return self.desk

    def struck(self, strike: Strike) -> Ran:
        """The command with the strike; its end."""
        orders = {
            "LD_PRELOAD": str(self.library),
            "STRIKE_UNDER": f"{self.desk.directory.resolve()}/var/",
            "STRIKE_AT": str(strike.at),
            "STRIKE_HOW": strike.how or "after",
            "STRIKE_COUNT": str(self.directory / "calls"),
        }
        config = str(self.desk.directory / "config.toml")
        process = self.desk.spawn(strike.command, "--config", config, env=orders if strike.how != "instant" else {})
        if strike.how == "instant":
            time.sleep(strike.seconds)
            process.kill()
        out, err = process.communicate(timeout=120)
        return Ran(code=process.returncode, out=out.decode(), err=err.decode())

    def calls(self, command: str = "tick") -> int:
        """How many calls of a life that nothing strikes change the disk."""
        self.begin()
        ran = self.struck(Strike(command=command))
        assert ran.code == 0, ran
        return int((self.directory / "calls").read_text())

    def ends(self, *, is_verified: bool) -> dict[str, object]:
        """Ticks once more, and gives what the life says at its end and what its receiver was told (each once)."""
        ran = self.desk.run("tick")
        assert ran.code == 0, ran
        found: dict[str, object] = {" ".join(words): self.desk.good(*words) for words in SAID}
        found["told"] = sorted({(headers["webhook-id"], body) for headers, body in self.inbox.posts})
        if is_verified:
            ran = self.desk.run("verify")
            found["verify"] = (ran.code, ran.out.rpartition("checked")[2])
        return found

    def survives(self, strike: Strike, *, is_verified: bool = True) -> str:
        """Lives with this strike; what differs from the life without one, empty where nothing does."""
        if not self.untouched:
            self.begin()
            self.untouched = self.ends(is_verified=True)
            assert self.untouched["verify"] == (0, "\neverything agrees\n"), self.untouched["verify"]
        self.begin()
        ran = self.struck(strike)
        is_killed = strike.how in ("half", "after", "before", "instant")
        if ran.code != (-signal.SIGKILL if is_killed else 1) and not (strike.how == "instant" and ran.code == 0):
            return f"{strike}: ended with {ran.code}: {ran.err}"
        if not is_killed and not ran.err.endswith(f"  {DISK_HINT}\n"):
            return f"{strike}: does not say what to do: {ran.err}"
        found = self.ends(is_verified=is_verified)
        return "".join(f"{strike}: {name} differs\n" for name in found if found[name] != self.untouched[name])


@contextmanager
def platform(directory: Path) -> Iterator[Striker]:
    """Two organizations, three pages of projects, two quotas that are crossed, two endpoints; September is read."""
    with served(PlainNeon()) as neon, receiving() as inbox:
        for organization in ("org-a", "org-b"):
            fleet = neon.fleet(organization)
            fleet.page_size = 2
            for number in range(3):
                project = f"{organization}-calm-{number}"
                fleet.project(project, settings={"quota": {"written_data_bytes": 100}} if number == 0 else {})
                fleet.use(project, "2026-09-10", grain="daily", compute_unit_seconds=360_000 + number)
                for hour in (3, 4, 9):
                    fleet.use(project, f"2026-10-05T{hour:02d}:00", compute_unit_seconds=3600 * hour + number)
            neon.counters[f"{organization}-calm-0"] = {**PERIOD, "written_data_bytes": 10}
        desk = Desk(
            directory=directory / "before",
            neon=neon,
            now=BEFORE,
            organizations=("org-a", "org-b"),
            default_plan="pro",
            more="".join(
                f'[[webhooks]]\nurl = "{inbox.url}{name}"\nsecret_env = "HOOK_SECRET"\nallow_private_network = true\n'
                for name in ("", "/second")
            ),
        )
        desk.environment["HOOK_SECRET"] = SECRET
        desk.directory.mkdir(parents=True)
        desk.good("backfill")
        desk.now = NOW
        for name in ("org-a", "org-b"):
            neon.counters[f"{name}-calm-0"]["written_data_bytes"] = 99
        yield Striker(desk=desk, inbox=inbox, directory=directory, library=built(directory))


def memory() -> str | None:
    """A file system in memory where there is one: a killed process leaves to it just what it would leave to a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def built(directory: Path) -> Path:
    """strike.c as a library."""
    library = directory / "strike.so"
    command = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


def spread(kills: int, calls: dict[str, int], chance: random.Random) -> list[Strike]:
    """So many strikes: of every call, in the middle and behind it, as many as fit; the rest at random instants."""
    every = [
        Strike(command=command, how=how, at=at)
        for command, most in calls.items()
        for at in range(1, most + 1)
        for how in ("half", "after")
    ]
    if len(every) > kills:
        every = [every[number * len(every) // kills] for number in range(kills)]
    instants = [
        Strike(command=chance.choice([*calls]), how="instant", seconds=chance.random() * 1.5)
        for _ in range(kills - len(every))
    ]
    return every + instants


def figure(strikes: Sequence[Strike], faults: Sequence[str], calls: dict[str, int]) -> str:
    """What was done and what came of it."""
    instants = sum(strike.how == "instant" for strike in strikes)
    of = ", ".join(f"{command} {count}" for command, count in calls.items())
    return (
        f"{len(strikes)} kills ({len(strikes) - instants} at a write, fsync or rename, of which there are: {of}; "
        f"{instants} at random instants): {len(faults)} ended otherwise than the life without a kill"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    options = parser.parse_args()
    faults = []
    seed = int.from_bytes(os.urandom(4), "big")
    with tempfile.TemporaryDirectory(dir=memory()) as directory, platform(Path(directory)) as striker:
        calls = {command: striker.calls(command) for command in ("poll", "tick")}
        strikes = spread(options.kills, calls, random.Random(seed))
        for number, strike in enumerate(strikes, 1):
            if fault := striker.survives(strike, is_verified=number % 10 == 0):
                faults.append(fault)
                print(fault, flush=True)
            if number % 100 == 0:
                print(f"seed {seed}: {number} of {len(strikes)}, {len(faults)} ended otherwise", flush=True)
    print(figure(strikes, faults, calls))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
