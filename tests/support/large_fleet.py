"""A Neon of any size behind a transport: pages made by hand, cheap, every value a function of (project, hour).

Most projects are idle: `periods` is empty. A project is awake in an hour by a function that the maker gives; an awake
hour's compute grows by the minute. One awake hour in eight shows transfer that Neon takes back two hours later.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from metering.config import Config, NeonConfig, ScheduleConfig
from metering.config.models import StoreConfig
from metering.core.parties import Organization
from metering.core.period import HOUR, floor_hour, parse_time, rfc3339
from metering.core.plans import Plan
from tests.simulate import Time

Awake = Callable[[int, int], bool]
"""(number of the project, hours since 1970) -> whether its compute ran."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BORN = datetime(2026, 10, 1, tzinfo=UTC)


def hour_number(moment: datetime) -> int:
    return (moment - _EPOCH) // HOUR


@dataclass(kw_only=True)
class LargeFleet(httpx.AsyncBaseTransport):
    """`sizes`: how many projects each organization has. `before` sees every request, and may answer or raise."""

    time: Time
    sizes: dict[str, int]
    awake: Awake
    born: dict[str, datetime] = field(default_factory=dict)  # project -> when, where not before everything
    gone: dict[str, datetime] = field(default_factory=dict)
    before: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
    seconds: float = 0.3
    requests: list[tuple[float, str, dict[str, str]]] = field(default_factory=list)  # when, path, parameters

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path, params = request.url.path.rpartition("/v2/")[2], dict(request.url.params)
        if "consumption_history" in str(request.url):
            path = "history"
        self.requests.append((self.time.monotonic(), path, params))
        given = self.before(request)
        await self.time.sleep(self.seconds)
        if given is not None:
            return given
        body = self._history(params) if path == "history" else self._inventory(params)
        return httpx.Response(200, stream=_Body(body.encode()))

    async def aclose(self) -> None:
        """It outlives the client."""

    def spent(self, since: float = 0) -> int:
        """Requests for history since a moment of the monotonic clock."""
        return sum(path == "history" and at >= since for at, path, _ in self.requests)

    def project(self, organization: str, number: int) -> str:
        return f"{organization}-p{number:07d}"

    def value(self, number: int, hour: int, now: datetime) -> tuple[int, int]:
        """(compute, transfer) of an hour as shown at a moment."""
        if not self.awake(number, hour):
            return 0, 0
        start = _EPOCH + hour * HOUR
        minutes = min(60, (now - start) // timedelta(minutes=1))
        is_taken_back = (number + hour) % 8 == 0 and now >= start + 2 * HOUR + 30 * timedelta(minutes=1)
        return 10 * minutes + number % 7, 0 if is_taken_back else 1000 + number % 11

    def truth(self, organization: str, start: datetime, end: datetime) -> dict[tuple[str, str], int]:
        """(project, metric) -> its final sum over the hours, above zero."""
        out: dict[tuple[str, str], int] = {}
        for number in range(self.sizes[organization]):
            project_id = self.project(organization, number)
            for hour in self._life(project_id, start, end):
                compute, transfer = self.value(number, hour, end + 24 * HOUR)
                for metric, value in (("compute_unit_seconds", compute), ("public_network_transfer_bytes", transfer)):
                    if value:
                        key = project_id, metric
                        out[key] = out.get(key, 0) + value
        return out

    def _life(self, project_id: str, start: datetime, end: datetime) -> range:
        """The hours of [start, end) in which the project lives."""
        first = max(start, floor_hour(self.born.get(project_id, _BORN)))
        return range(hour_number(first), hour_number(min(end, floor_hour(self.gone.get(project_id, end) + HOUR))))

    def _history(self, params: dict[str, str]) -> str:
        organization, limit, now = params["org_id"], int(params["limit"]), self.time.server()
        start, end = parse_time(params["from"]), min(parse_time(params["to"]), now)
        if "project_ids" in params:
            numbers = sorted(int(name[-7:]) for name in params["project_ids"].split(","))
            page, cursor = [n for n in numbers if n < self.sizes[organization]], None
        else:  # the newest first
            highest = int(params["cursor"][-7:]) if "cursor" in params else self.sizes[organization]
            page = []
            while highest > 0 and len(page) < limit:
                highest -= 1
                if self._is_born(self.project(organization, highest)):
                    page.append(highest)
            cursor = self.project(organization, highest) if len(page) == limit else None
        hours = range(hour_number(start), hour_number(end - timedelta(microseconds=1)) + 1)
        step = 24 if params["granularity"] == "daily" else 1
        projects = ",".join(self._project(organization, number, hours, now, step) for number in page)
        tail = f',"pagination":{{"cursor":"{cursor}"}}' if cursor else ""
        return f'{{"projects":[{projects}]{tail}}}'

    def _is_born(self, project_id: str) -> bool:
        return project_id not in self.born or self.born[project_id] <= self.time.server()

    def _project(self, organization: str, number: int, hours: range, now: datetime, step: int) -> str:
        project_id = self.project(organization, number)
        alive = self._life(project_id, _BORN, now + HOUR)
        buckets = []
        for first in range(hours.start, hours.stop, step):
            lived = range(max(first, alive.start), min(first + step, hours.stop, alive.stop))
            values = [self.value(number, hour, now) for hour in lived]
            compute, transfer = sum(value for value, _ in values), sum(value for _, value in values)
            if compute or transfer:
                start = _EPOCH + first * HOUR
                shown = f'{{"metric_name":"compute_unit_seconds","value":{compute}}}'
                if transfer:
                    shown += f',{{"metric_name":"public_network_transfer_bytes","value":{transfer}}}'
                times = f'"timeframe_start":"{rfc3339(start)}","timeframe_end":"{rfc3339(start + step * HOUR)}"'
                buckets.append(f'{{{times},"metrics":[{shown}]}}')
        if not buckets:
            return f'{{"project_id":"{project_id}","periods":[]}}'
        period = '"period_id":"p","period_plan":"scale","period_start":"2026-10-01T00:00:00Z"'
        return f'{{"project_id":"{project_id}","periods":[{{{period},"consumption":[{",".join(buckets)}]}}]}}'

    def _inventory(self, params: dict[str, str]) -> str:
        organization, limit, now = params["org_id"], int(params["limit"]), self.time.server()
        is_deleted = params.get("recoverable") == "true"
        first = int(params["cursor"][-7:]) + 1 if "cursor" in params else 0
        found = []
        if is_deleted:
            numbers = [int(name[-7:]) for name in self.gone if name.startswith(organization)] if first == 0 else []
        else:
            numbers = list(range(first, min(first + limit, self.sizes[organization])))
        for number in numbers:
            project_id = self.project(organization, number)
            gone = self.gone.get(project_id)
            if self._is_born(project_id) and (gone is not None and gone <= now) == is_deleted:
                found.append(self._listed(project_id, number, now, gone if is_deleted else None))
        last = f',"pagination":{{"cursor":"{self.project(organization, numbers[-1])}"}}' if numbers else ""
        return f'{{"projects":[{",".join(found)}]{last}}}'

    def _listed(self, project_id: str, number: int, now: datetime, gone: datetime | None) -> str:
        hour, active = hour_number(now), ""
        if self.awake(number, hour):
            active = f',"compute_last_active_at":"{rfc3339(now.replace(microsecond=0))}"'
        elif self.awake(number, hour - 1):
            active = f',"compute_last_active_at":"{rfc3339(floor_hour(now) - timedelta(minutes=1))}"'
        born = rfc3339(self.born.get(project_id, _BORN))
        deleted = f',"deleted_at":"{rfc3339(gone)}"' if gone else ""
        return f'{{"id":"{project_id}","name":"{project_id}","created_at":"{born}","settings":{{}}{active}{deleted}}}'


class _Body(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


def config_for(directory: Path, fleet: LargeFleet, *, per_minute: int, poll_minutes: int, sweep_hours: int) -> Config:
    """All organizations of the fleet on one account."""
    return Config(
        path=directory / "config.toml",
        store=StoreConfig(directory=directory),
        neon=NeonConfig(base_url="http://127.0.0.1:1/api/v2", history_requests_per_minute=per_minute),
        organizations=tuple(
            Organization(id=name, api_key_env="KEY", default_plan="basic") for name in sorted(fleet.sizes)
        ),
        schedule=ScheduleConfig(poll_minutes=poll_minutes, sweep_hours=sweep_hours),
        plans=(Plan(id="basic", name="Basic", currency="USD"),),
    )
