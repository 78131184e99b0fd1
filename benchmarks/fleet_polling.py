"""Polling a fleet whose full walk does not fit in a slot: requests, freshness, memory, CPU; simulated, no network.

    python benchmarks/fleet_polling.py                                    30,000 projects, 45 requests a slot, 5 hours
    python benchmarks/fleet_polling.py --projects 300000 --hours 24       the whole of it
    python benchmarks/fleet_polling.py --projects 300000 --minutes 30     what fits into 30 minutes of real time

The real cycle and the real ledger poll a Neon that is a function behind the transport. 2 % of the projects are always
on, 10 % in one hour of six, the rest in one of two hundred; what is not used is not shown (`periods: []`). A tenth of
the requests goes with a tenth of the fleet, so the small run has the shape of the large one. Freshness is the age of a
project's last reading at the end of each slot, once every project was read. CPU is this process's, less what making
the answers took.
"""

import argparse
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path

import httpx

from metering.config import Config, NeonConfig, ScheduleConfig
from metering.config.models import StoreConfig
from metering.core.parties import Organization
from metering.core.period import HOUR, parse_time, rfc3339
from metering.core.plans import Plan
from metering.core.secrets import Secret
from metering.core.stop import Stop
from metering.ledger.ledger import Ledger
from metering.neon.client import Neon
from metering.service import tick
from metering.service.clients import client_settings

ORGANIZATION = "org-fleet-12345678"
START = datetime(2026, 10, 6, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SLOT = timedelta(minutes=15)
PROJECTS_PER_REQUEST_A_MINUTE = 10_000
"""30 requests a minute for 300,000 projects."""


class Clock:
    """Stands still but for waits."""

    def __init__(self) -> None:
        self.elapsed_us = 1_000_000

    def now(self) -> datetime:
        """The business clock, ours and Neon's."""
        return START + timedelta(microseconds=self.elapsed_us)

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self.elapsed_us / 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Moves the clock."""
        self.elapsed_us += max(0, round(seconds * 1_000_000))


class Body(httpx.AsyncByteStream):
    """An answer's bytes, as read from a socket."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


class Fleet(httpx.AsyncBaseTransport):
    """Neon, for as many projects as are wanted."""

    def __init__(self, clock: Clock, projects: int, seconds: float) -> None:
        self.clock, self.projects, self.seconds = clock, projects, seconds
        self.history_requests, self.other_requests, self.cpu_seconds = 0, 0, 0.0
        chance = random.Random("fleet")
        self.seeds = [chance.getrandbits(32) for _ in range(projects)]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answers history and inventory; there is nothing else to ask for."""
        began = time.process_time()
        params = dict(request.url.params)
        if "consumption_history" in request.url.path:
            self.history_requests += 1
            body = self._history(params)
        else:
            self.other_requests += 1
            body = self._inventory(params)
        encoded = body.encode()
        self.cpu_seconds += time.process_time() - began
        await self.clock.sleep(self.seconds)
        return httpx.Response(200, stream=Body(encoded))

    async def aclose(self) -> None:
        """It outlives the client."""

    def is_awake(self, number: int, hour: int) -> bool:
        """Whether a project's compute runs in an hour (hours since 1970)."""
        if number % 50 == 0:
            return True
        drawn = (self.seeds[number] ^ (hour * 2654435761)) * 40503 >> 7
        return drawn % 6 == 0 if number % 10 == 1 else drawn % 200 == 0

    def _history(self, params: dict[str, str]) -> str:
        now = self.clock.now()
        first = (parse_time(params["from"]) - EPOCH) // HOUR
        last = (min(parse_time(params["to"]), now) - EPOCH) // HOUR
        tail = ""
        if "project_ids" in params:
            numbers = [int(name[2:]) for name in params["project_ids"].split(",")]
        else:
            highest = int(params["cursor"][2:]) if "cursor" in params else self.projects
            numbers = list(range(highest - 1, max(-1, highest - 101), -1))
            if len(numbers) == 100:
                tail = f',"pagination":{{"cursor":"{_id(numbers[-1])}"}}'
        step = 24 if params["granularity"] == "daily" else 1
        shown = ",".join(self._project(number, range(first, last + 1, step), now) for number in numbers)
        return f'{{"projects":[{shown}]{tail}}}'

    def _project(self, number: int, firsts: range, now: datetime) -> str:
        buckets, step = [], firsts.step
        for first in firsts:
            awake = [hour for hour in range(first, first + step) if self.is_awake(number, hour)]
            if awake:
                start = EPOCH + first * HOUR
                minutes = sum(min(60, (now - EPOCH - hour * HOUR) // timedelta(minutes=1)) for hour in awake)
                metrics = (
                    f'{{"metric_name":"compute_unit_seconds","value":{15 * minutes}}},'
                    f'{{"metric_name":"public_network_transfer_bytes","value":{minutes * (number + 1)}}}'
                )
                times = f'"timeframe_start":"{rfc3339(start)}","timeframe_end":"{rfc3339(start + step * HOUR)}"'
                buckets.append(f'{{{times},"metrics":[{metrics}]}}')
        if not buckets:
            return f'{{"project_id":"{_id(number)}","periods":[]}}'
        period = '"period_id":"p","period_plan":"scale","period_start":"2026-10-01T00:00:00Z"'
        return f'{{"project_id":"{_id(number)}","periods":[{{{period},"consumption":[{",".join(buckets)}]}}]}}'

    def _inventory(self, params: dict[str, str]) -> str:
        if params.get("recoverable") == "true":
            return '{"projects":[]}'
        now = self.clock.now()
        hour = (now - EPOCH) // HOUR
        first = int(params["cursor"][2:]) + 1 if "cursor" in params else 0
        numbers = range(first, min(first + int(params["limit"]), self.projects))
        before = rfc3339(EPOCH + hour * HOUR - timedelta(minutes=1))
        running = rfc3339(now.replace(microsecond=0))
        found = []
        for number in numbers:
            active = running if self.is_awake(number, hour) else before if self.is_awake(number, hour - 1) else ""
            last = f',"compute_last_active_at":"{active}"' if active else ""
            name = _id(number)
            found.append(f'{{"id":"{name}","name":"{name}","created_at":"2026-09-01T00:00:00Z","settings":{{}}{last}}}')
        tail = f',"pagination":{{"cursor":"{_id(numbers[-1])}"}}' if numbers else ""
        return f'{{"projects":[{",".join(found)}]{tail}}}'


def _id(number: int) -> str:
    return f"p-{number:08d}"


def config_for(directory: Path, per_minute: int) -> Config:
    return Config(
        path=directory / "config.toml",
        store=StoreConfig(directory=directory),
        neon=NeonConfig(base_url="http://127.0.0.1:1/api/v2", history_requests_per_minute=per_minute),
        organizations=(Organization(id=ORGANIZATION, api_key_env="KEY", default_plan="basic"),),
        schedule=ScheduleConfig(),
        plans=(Plan(id="basic", name="Basic", currency="USD"),),
    )


class Freshness:
    """Ages of last readings, gathered slot by slot."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.active: Counter[int] = Counter()  # seconds -> how often: of all ages, a day of a large fleet has millions
        self.idle: Counter[int] = Counter()
        self.whole_since: datetime | None = None

    def look(self, books: Ledger, began: datetime) -> None:
        """At the end of a slot that began then."""
        now, hour = self.fleet.clock.now(), (began - EPOCH) // HOUR
        reads = books.store.query("billing/project_reads").select("project_id", "history_read_at").rows()
        if any(read_at is None for _, read_at in reads):
            return
        self.whole_since = self.whole_since or now
        for project_id, read_at in reads:
            ages = self.active if self.fleet.is_awake(int(project_id[2:]), hour) else self.idle
            ages[(now - read_at) // timedelta(seconds=1)] += 1


def poll_all(
    directory: Path, fleet: Fleet, per_minute: int, hours: int, minutes: float | None
) -> tuple[Freshness, list[float]]:
    """Polls in every slot, as long as real time allows; returns the freshness, and CPU seconds of each cycle."""
    clock, config, freshness = fleet.clock, config_for(directory, per_minute), Freshness(fleet)

    def neon_of(_: str) -> Neon:
        return Neon(
            client_settings(config.neon), clock=clock.now, transport=fleet, sleep=clock.sleep, monotonic=clock.monotonic
        )

    books, seconds = Ledger(directory, clock.now), []
    slots, until = hours * 4, None if minutes is None else time.monotonic() + 60 * minutes
    for slot in range(slots):
        if until is not None and time.monotonic() > until:
            break
        clock.elapsed_us = max(clock.elapsed_us, slot * SLOT // timedelta(microseconds=1) + 1_000_000)
        began, cpu, made = clock.now(), time.process_time(), fleet.cpu_seconds
        wiring = tick.Wiring(neon_of=neon_of, stop=Stop(), is_rehearsed=False)
        report = tick.poll(books, config, {ORGANIZATION: Secret("key")}, wiring=wiring)
        assert report.outcome == "complete", report.faults
        seconds.append(time.process_time() - cpu - (fleet.cpu_seconds - made))
        clock.elapsed_us = max(clock.elapsed_us, (slot + 1) * SLOT // timedelta(microseconds=1))
        freshness.look(books, began)
        end = "" if sys.stderr.isatty() else "\n"
        print(f"\r{slot + 1} of {slots} slots, {seconds[-1]:.1f} s", end=end, file=sys.stderr, flush=True)
    certified = books.store.query("billing/freshness")["certified_until"].item()
    print(f"certified until {rfc3339(certified) if certified else 'never'}, now {rfc3339(clock.now())}")
    books.close()
    return freshness, seconds


def in_minutes(ages: Counter[int], part: str) -> str:
    """The median or the worst of ages in seconds."""
    if not ages:
        return "none"
    up_to = accumulate(sorted(ages.items()), lambda sofar, more: (more[0], sofar[1] + more[1]))
    age = max(ages) if part == "worst" else next(age for age, count in up_to if 2 * count > ages.total())
    return f"{age / 60:.0f} min"


def peak_megabytes() -> int:
    """The most memory that this process ever had."""
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:  # not Linux; there, the figure below would count the parent's memory at the start as well
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=int, default=30_000)
    parser.add_argument("--hours", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="that an answer takes")
    parser.add_argument("--per-minute", type=int, help="requests for history; default: 1 for 10,000 projects")
    parser.add_argument("--minutes", type=float, help="of real time, after which no other slot is begun")
    options = parser.parse_args()
    per_minute = options.per_minute or max(1, options.projects // PROJECTS_PER_REQUEST_A_MINUTE)
    clock = Clock()
    fleet = Fleet(clock, options.projects, options.seconds)
    with tempfile.TemporaryDirectory() as directory:
        freshness, seconds = poll_all(Path(directory), fleet, per_minute, options.hours, options.minutes)
        size = sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())
    whole = freshness.whole_since
    available = per_minute * 15 * len(seconds)
    print(f"{options.projects:,} projects, {len(seconds) / 4} h, {per_minute} requests for history a minute")
    print(
        f"requests for history: {fleet.history_requests:,} of {available:,} available; others {fleet.other_requests:,}"
    )
    print(f"every project read after {(whole - START) / HOUR:.1f} h" if whole else "not every project was read")
    for name, ages in (("active", freshness.active), ("idle", freshness.idle)):
        print(f"freshness of {name} projects: median {in_minutes(ages, 'median')}, worst {in_minutes(ages, 'worst')}")
    middle = sorted(seconds)[len(seconds) // 2]
    print(
        f"CPU per cycle: median {middle:.2f} s, worst {max(seconds):.2f} s; answers took {fleet.cpu_seconds:.0f} s more"
    )
    print(f"peak memory {peak_megabytes()} MB; journal, store and snapshot {size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
