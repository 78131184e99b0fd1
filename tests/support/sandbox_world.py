"""A sandbox that stands still at a moment, asked over a real socket: what the sandbox tests share."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from metering.sandbox.access import PERSONAL_KEY
from metering.sandbox.app import create_app
from metering.sandbox.fleet import PAID_ORGANIZATION, Extras, Fleet
from metering.sandbox.gate import UNLIMITED, Clock, Limits
from metering.sandbox.server import serve
from metering.sandbox.state import State

NOW = datetime(2026, 11, 15, 12, 7, tzinfo=UTC)
EIGHT = (
    "compute_unit_seconds,root_branch_bytes_month,child_branch_bytes_month,instant_restore_bytes_month,"
    "public_network_transfer_bytes,private_network_transfer_bytes,extra_branches_month,snapshot_storage_bytes_month"
)
V2 = "/consumption_history/v2/projects"
DAY_HOURLY = {"from": "2026-11-14T12:00:00Z", "to": "2026-11-15T13:00:00Z", "granularity": "hourly"}


class Asker:
    """A client of the sandbox with a key, and the sandbox's inside."""

    def __init__(self, client: httpx.Client, root_url: str, state: State) -> None:
        self.client = client
        self.root_url = root_url
        self.state = state

    def get(self, path: str, *, key: str = PERSONAL_KEY, **params: Any) -> httpx.Response:
        return self.client.get(path, params=params, headers={"Authorization": f"Bearer {key}"})

    def history(self, path: str = V2, *, key: str = PERSONAL_KEY, **params: Any) -> httpx.Response:
        """A history request, complete but for what `params` say; None leaves a parameter out."""
        whole = {**DAY_HOURLY, "org_id": PAID_ORGANIZATION, "metrics": EIGHT, "limit": "100", **params}
        return self.get(path, key=key, **{name: value for name, value in whole.items() if value is not None})

    def walk(self, *, cursor: str | None = None, **params: Any) -> list[dict[str, Any]]:
        """All projects of a history walk, from the cursor on."""
        out: list[dict[str, Any]] = []
        while True:
            page = self.history(**params, cursor=cursor).json()
            out += page["projects"]
            cursor = page.get("pagination", {}).get("cursor")
            if cursor is None or not page["projects"]:
                return out

    def move(self, now: str) -> None:
        assert self.client.put(f"{self.root_url}/_sandbox/now", json={"now": now}).status_code == 200


@contextmanager
def sandbox(
    *,
    projects: int = 40,
    seed: int = 1,
    now: datetime = NOW,
    faults: tuple[str, ...] = (),
    limits: Limits = UNLIMITED,
    exact_hours: bool = False,
    extras: Extras | None = None,
    start: datetime | None = None,
) -> Iterator[Asker]:
    fleet = Fleet.around(now, seed=seed, projects=projects)
    if extras is not None or start is not None:
        fleet = Fleet(seed=seed, projects=projects, start=start or fleet.start, tuned_at=now, extras=extras)
    app = create_app(fleet, Clock.at(now), faults=faults, limits=limits, exact_hours=exact_hours)
    with serve(app) as server, httpx.Client(base_url=server.url, trust_env=False, timeout=20) as client:
        yield Asker(client, server.root_url, app.state.sandbox.state)


def sums(projects: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """(project, metric) -> the sum of all its buckets, above zero."""
    out: dict[tuple[str, str], int] = {}
    for project in projects:
        for period in project["periods"]:
            for timeframe in period["consumption"]:
                for metric in timeframe["metrics"]:
                    key = project["project_id"], metric["metric_name"]
                    out[key] = out.get(key, 0) + metric["value"]
    return {key: value for key, value in out.items() if value}
