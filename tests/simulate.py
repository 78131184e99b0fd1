"""A month of polling in process: the sandbox, the real cycle and the real ledger, on a clock that nobody waits for.

Waits, answers' journeys and what lies between two polls advance the clock; nothing sleeps. Everything that goes wrong
is drawn from a seed, which repeats it. As a command it prints how many seeds end with exactly the true totals:

    python -m tests.simulate --seeds 50
"""

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx

from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.billing.terms import of as terms_of
from metering.billing.usage_document import usage
from metering.config import Config, NeonConfig, SellerConfig
from metering.config.models import StoreConfig
from metering.core.errors import CredentialsError
from metering.core.parties import Organization
from metering.core.period import HOUR, Period, floor_hour, month_of, parse_time
from metering.core.plans import Plan
from metering.core.secrets import Secret
from metering.core.stop import Stop
from metering.ledger.ledger import Ledger
from metering.neon import budget
from metering.neon.client import Neon
from metering.polling.readings import CycleReport
from metering.sandbox.access import PERSONAL_KEY
from metering.sandbox.app import create_app
from metering.sandbox.faults import Mishaps
from metering.sandbox.fleet import PAID_ORGANIZATION, SPONSORED_ORGANIZATION, Extras, Fleet
from metering.sandbox.gate import Clock, Limits, Sandbox
from metering.sandbox.state import State, truth_table
from metering.service import tick as cycle
from metering.service.clients import client_settings
from tests.faults.transport import Faulty, answer

MONTH = month_of(datetime(2026, 10, 15, tzinfo=UTC))
FLEET_START = datetime(2026, 9, 2, 18, 4, 52, tzinfo=UTC)
"""The plan changes on 10 October at 10:30 and projects move on 12 October at 15:20: inside the month, and an hour."""
Key = tuple[str, str, str]
Json = dict[str, Any]


class Killed(BaseException):
    """The process died here: no handler runs, nothing is flushed."""


class Time:
    """The one clock. `skew` is what this machine's clock is wrong by; the server's is always right."""

    def __init__(self, start: datetime) -> None:
        self.start = start
        self.elapsed_us = 0
        self.skew = timedelta()

    def server(self) -> datetime:
        return self.start + timedelta(microseconds=self.elapsed_us)

    def local(self) -> datetime:
        return self.server() + self.skew

    def monotonic(self) -> float:
        return self.elapsed_us / 1_000_000

    def monotonic_ns(self) -> int:
        return self.elapsed_us * 1000

    async def sleep(self, seconds: float) -> None:
        self.elapsed_us += max(0, round(seconds * 1_000_000))

    def move_to(self, moment: datetime) -> None:
        self.elapsed_us = max(self.elapsed_us, (moment - self.start) // timedelta(microseconds=1))


class Wire(httpx.AsyncBaseTransport):
    """Between client and sandbox: every request takes a while, some never arrive, and pages may be cut small.

    `before` sees each request first, and may raise what it likes or answer in the sandbox's place.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, time: Time, *, chance: random.Random, loss: float = 0) -> None:
        self.inner, self.time, self.chance, self.loss = inner, time, chance, loss
        self.page_size: int | None = None
        self.refuses_after: int | None = None
        self.before: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
        self.sent_at: list[tuple[float, bool]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        is_history = "consumption_history" in request.url.path
        self.sent_at.append((self.time.monotonic(), is_history))
        given = self.before(request)
        await self.time.sleep(self.chance.uniform(0.02, 1.3))
        if given is not None:
            return given
        if self.refuses_after is not None and len(self.sent_at) > self.refuses_after:
            return refused(401)
        if self.chance.random() < self.loss:
            await self.time.sleep(self.chance.choice([0, 30]))
            raise self.chance.choice([httpx.ConnectError, httpx.ReadError, httpx.ReadTimeout])("lost on the wire")
        if self.page_size and request.url.params.get("limit"):
            request.url = request.url.copy_set_param("limit", str(self.page_size))
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        """The sandbox outlives the client."""


def refused(status: int) -> httpx.Response:
    """An error in the API's form, with a body that is read as from a socket."""
    return answer(status, b'{"code": "", "message": "no"}')


@dataclass(kw_only=True)
class World:
    """A sandbox with its clock, and the machines that poll it."""

    time: Time
    state: State
    wire: Wire
    sandbox: Sandbox

    def machine(self, directory: Path, *, sponsored: Sequence[str] = (), **neon: object) -> "Machine":
        return Machine(self, configured(directory, sponsored=sponsored, **neon))

    def truth(self, period: Period, *, without: Sequence[str] = ()) -> dict[Key, int]:
        return {
            (str(row["organization"]), str(row["project_id"]), str(row["metric"])): int(row["value"])
            for row in truth_table(self.state, period.start, period.end)
            if row["organization"] not in without
        }


def configured(directory: Path, *, sponsored: Sequence[str] = (), **neon: object) -> Config:
    return Config(
        path=directory / "config.toml",
        store=StoreConfig(directory=directory),
        neon=NeonConfig.model_validate({"base_url": "http://127.0.0.1:1/api/v2", **neon}),
        organizations=tuple(
            Organization(id=name, api_key_env="KEY", sponsored=name in sponsored, default_plan="basic")
            for name in (PAID_ORGANIZATION, SPONSORED_ORGANIZATION)
        ),
        plans=(Plan(id="basic", name="Basic", currency="USD"),),
        seller=SellerConfig(name="Acme Platforms Ltd"),
    )


def world(
    *,
    start: datetime,
    seed: int = 1,
    projects: int = 24,
    faults: Sequence[str] = (),
    loss: float = 0,
    exact_hours: bool = False,
    limits: Limits | None = None,
    both_paid: bool = True,
) -> World:
    time = Time(start)
    fleet = Fleet(seed=seed, projects=projects, start=FLEET_START, tuned_at=MONTH.end, extras=Extras(transfers=2))
    if both_paid:
        other = fleet.organizations[SPONSORED_ORGANIZATION]
        fleet.organizations[other.id] = replace(other, sponsored=False, plans=((other.created_at, "launch"),))
    app = create_app(
        fleet,
        Clock(time.server),
        faults=faults,
        limits=limits,
        exact_hours=exact_hours,
        monotonic_ns=time.monotonic_ns,
    )
    wire = Wire(httpx.ASGITransport(app), time, chance=random.Random(f"wire {seed}"), loss=loss)
    return World(time=time, state=app.state.sandbox.state, wire=wire, sandbox=app.state.sandbox)


class Machine:
    """A host with a store of its own. Its ledger stays open between polls, and is found as it is after a kill."""

    def __init__(self, around: World, config: Config) -> None:
        self.world, self.config = around, config
        self.keys: dict[str, Secret | CredentialsError] = {row.id: Secret(PERSONAL_KEY) for row in config.organizations}
        self.stop = Stop()
        self._books: Ledger | None = None

    @property
    def books(self) -> Ledger:
        if self._books is None:
            self._books = Ledger(self.config.store.directory, self.world.time.local)
        return self._books

    def poll(self) -> CycleReport:
        return cycle.poll(self.books, self.config, self.keys, wiring=self.wiring())

    def backfill(self, *, start: datetime | None = None) -> CycleReport:
        return cycle.backfill(self.books, self.config, self.keys, start=start, wiring=self.wiring())

    def tick(self, write_report: Callable[[Period], None] = lambda period: None) -> cycle.Tick:
        return cycle.tick(
            self.books,
            self.config,
            self.keys,
            {},
            real_time=self.world.time.local,
            write_report=write_report,
            wiring=self.wiring(),
        )

    def wiring(self) -> cycle.Wiring:
        return cycle.Wiring(neon_of=self.neon, stop=self.stop, is_rehearsed=False, monotonic=self.world.time.monotonic)

    def neon(self, account: str) -> Neon:
        time = self.world.time
        client = Neon(
            client_settings(self.config.neon),
            clock=time.local,
            transport=self.world.wire,
            sleep=time.sleep,
            monotonic=time.monotonic,
        )
        client._jitter = random.Random(f"{account} {time.elapsed_us}")  # a run is repeated by its seed
        client.use(budget.Budgets(self.config.store.directory, monotonic=time.monotonic), account)
        return client

    def die(self) -> None:
        """As after SIGKILL: what was not committed is gone from the store; the journal has it."""
        if self._books is not None:
            self._books.journal.close()
            self._books.store.connection.close()
            self._books = None

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def month(self) -> Month:
        return Month(
            recorded=Recorded(store=self.books.store),
            terms=terms_of(self.config),
            period=MONTH,
            now=self.world.time.local(),
        )

    def usage(self, *, until: datetime = MONTH.end) -> dict[Key, int]:
        """What `usage MONTH --by hour` prints, added up to a moment: an hour's end, a day's where days count."""
        sums: dict[Key, int] = {}
        for row in usage(self.month(), by="hour").rows():
            if parse_time(row["start"]) < until:
                key = row["organization"], row["project_id"], row["metric"]
                sums[key] = sums.get(key, 0) + int(row["value"])
        return sums

    def coverage(self) -> Json:
        return dict(usage(self.month()).document()["coverage"])

    def gaps(self) -> list[dict[str, str]]:
        return [*self.coverage()["gaps"]]


FAULTS = ("429:0.03", "429:0.01:7", "500:0.02", "503:0.01", "html200:0.01", "truncate:0.02", "slow:0.02:0")
SETTLED = 20 * HOUR
"""So long after an hour's end the sandbox may still revise it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a simulated stretch of polling ended. `wrong` are the sums that differ: (key, the truth, ours)."""

    seed: int
    polls: int
    partial: int
    kills: int
    outages: int
    requests: int
    sums: int
    gaps: list[object]
    wrong: list[tuple[Key, int, int]]

    @property
    def is_right(self) -> bool:
        return not self.gaps and not self.wrong and self.sums > 0

    def __str__(self) -> str:
        text = "right" if self.is_right else f"WRONG: gaps {self.gaps}, {len(self.wrong)} sums differ"
        return (
            f"seed {self.seed}: {text} ({self.polls} polls, {self.partial} incomplete, {self.kills} kills, "
            f"{self.outages} outages, {self.requests} requests, {self.sums} sums)"
        )


def simulate(seed: int, directory: Path, *, steps: Sequence[timedelta], span: Period, projects: int = 24) -> Outcome:
    """Polls through the span with everything going wrong that may, and once more with nothing wrong."""
    chance = random.Random(f"simulation {seed}")
    is_whole_month = span.end >= MONTH.end
    here = world(
        start=span.start,
        seed=seed,
        projects=projects,
        faults=(*FAULTS, "duplicate-project") if seed % 2 else FAULTS,
        exact_hours=seed % 3 == 0 or not is_whole_month,
    )
    here.wire.page_size = chance.choice([3, 7, 100])
    faulty = Faulty(here.wire.inner, seed=seed, chance=0.02, sleep=here.time.sleep)
    here.wire.inner = faulty
    machine = here.machine(directory)
    counts = dict.fromkeys(("polls", "partial", "kills", "outages", "requests"), 0)
    while here.time.server() < span.end:
        poll_in_a_storm(here, machine, chance, counts)
        step = chance.choice(steps)
        if is_whole_month and chance.random() < 1 / 60:
            counts["outages"] += 1
            step += chance.uniform(1, 120) * HOUR
        here.time.move_to(here.time.server() + step + timedelta(seconds=chance.uniform(0, 40)))
    here.wire.loss = faulty.chance = 0
    here.wire.refuses_after = None
    here.sandbox.mishaps = Mishaps()
    report = machine.poll()
    assert report.outcome == "complete", report.faults
    until = min(MONTH.end, floor_hour(here.time.server() - SETTLED))
    wrong, sums = compared(here, machine, until)
    gaps = [gap for gap in machine.gaps() if parse_time(gap["start"]) < until]
    machine.die()
    return Outcome(seed=seed, gaps=[*gaps], sums=sums, wrong=wrong, **counts)


def compared(here: World, machine: Machine, until: datetime) -> tuple[list[tuple[Key, int, int]], int]:
    """What differs from the month's truth up to a moment, as (key, truth, ours); and how many sums there are."""
    truth, ours = here.truth(Period(start=MONTH.start, end=until)), machine.usage(until=until)
    keys = sorted(truth | ours)
    return [(key, truth.get(key, 0), ours.get(key, 0)) for key in keys if truth.get(key) != ours.get(key)], len(keys)


def poll_in_a_storm(here: World, machine: Machine, chance: random.Random, counts: dict[str, int]) -> None:
    """One poll; in one of ten cut short by a kill somewhere inside it, in one of twelve over a wire that loses much.

    In one of forty the key is refused from some request on.
    """
    counts["polls"] += 1
    here.wire.loss = 0.75 if chance.random() < 1 / 12 else 0.01
    here.wire.refuses_after = len(here.wire.sent_at) + chance.randrange(9) if chance.random() < 1 / 40 else None
    with killed_at(here.wire, chance.randrange(1, 14) if chance.random() < 0.1 else None):
        try:
            report = machine.poll()
        except Killed:
            machine.die()
            counts["kills"] += 1
        else:
            counts["requests"] += report.requests
            counts["partial"] += report.outcome != "complete"


@contextmanager
def killed_at(wire: Wire, request: int | None) -> Iterator[None]:
    """The process dies as it sends its n-th request from here on."""
    left = request

    def count(_: httpx.Request) -> None:
        nonlocal left
        if left is not None:
            left -= 1
            if left == 0:
                raise Killed

    wire.before = count
    try:
        yield
    finally:
        wire.before = lambda _: None


QUARTERS = [timedelta(minutes=15)]
HOURS = [timedelta(minutes=15), *(hours * HOUR for hours in (1, 1, 2, 3, 5, 6))]
WHOLE_MONTH = Period(start=MONTH.start - 2 * HOUR, end=MONTH.end + 40 * HOUR)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--every-quarter", action="store_true", help="96 polls a day instead of every 15 min to 6 h")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    steps = QUARTERS if options.every_quarter else HOURS
    right = 0
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for outcome in pool.map(simulated, seeds, [steps] * len(seeds)):
            right += outcome.is_right
            print(outcome, flush=True)
    print(f"{right} of {len(seeds)} simulated months end with exactly the true totals")
    return 0 if right == len(seeds) else 1


def simulated(seed: int, steps: Sequence[timedelta]) -> Outcome:
    """A whole month in a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        return simulate(seed, Path(directory), steps=steps, span=WHOLE_MONTH)


if __name__ == "__main__":
    sys.exit(main())
