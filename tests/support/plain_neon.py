"""A plain HTTP server that answers what a test wrote down: no fleet, no arithmetic, no faults of its own.

A test gives projects and buckets as literals; a history question gets the buckets of its granularity that start in
[from, to). Lists end as Neon's do: history without a cursor, inventory with one that its empty next page echoes.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
GRAINS = ("hourly", "daily", "monthly")


def moment(text: str) -> datetime:
    """`2026-09-01` or `2026-09-01T10:00` or a full RFC 3339 time, in UTC."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def stamp(text: str) -> str:
    """The same as the API writes it."""
    return moment(text).isoformat().replace("+00:00", "Z")


@dataclass(kw_only=True)
class Bucket:
    """One timeframe of one project under one of Neon's billing periods."""

    grain: str
    project: str
    start: str
    metrics: Mapping[str, Any]
    period: str = "period-1"
    period_start: str = "2026-09-01"
    plan: str = "scale"
    is_legacy: bool = False
    """Shown by the legacy endpoint, flat, and not by today's."""


@dataclass(kw_only=True)
class Fleet:
    """What one organization's key may see."""

    projects: list[Json] = field(default_factory=list)
    deleted: list[Json] = field(default_factory=list)
    buckets: list[Bucket] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)
    """Projects that history lists without usage (`periods: []`)."""
    histories: set[str] = field(default_factory=lambda: {"v2"})
    """Which endpoints of history answer: `v2`, `legacy`; the others answer 403."""
    page_size: int = 100
    """Projects on a page of history; a full page has a cursor, the name of its last project."""
    unavailable: list[str] = field(default_factory=list)
    whole: dict[str, bytes] = field(default_factory=dict)
    """Granularity -> a body sent as it is, whatever the window."""

    def project(self, project_id: str, name: str | None = None, created: str = "2026-01-01", **more: Any) -> Json:
        """Adds a project to the inventory; `more` are further fields of the API's object."""
        found = {
            "id": project_id,
            "name": name or project_id,
            "region_id": "aws-us-east-1",
            "created_at": stamp(created),
            "settings": {},
            **more,
        }
        self.projects.append(found)
        return found

    def use(self, project: str, start: str, grain: str = "hourly", **metrics: Any) -> Bucket:
        """Adds a bucket; of the same project, period, grain and start there is one."""
        found = Bucket(grain=grain, project=project, start=start, metrics=metrics)
        self.buckets.append(found)
        return found

    def use_legacy(self, project: str, start: str, grain: str = "hourly", **metrics: Any) -> Bucket:
        """The same at the legacy endpoint."""
        found = Bucket(grain=grain, project=project, start=start, metrics=metrics, plan="pro", is_legacy=True)
        self.buckets.append(found)
        return found


@dataclass(kw_only=True)
class PlainNeon:
    """The server's answers. `errors` holds (organization or project id, endpoint) -> (status, body); endpoints are
    `inventory`, `recoverable`, `history`, `history after CURSOR`, `hourly`, `daily`, `monthly`, `project`, `branches`,
    `auth`, `transfer` (of an organization) and `change` (of a project)."""

    url: str = ""
    fleets: dict[str, Fleet] = field(default_factory=dict)
    counters: dict[str, Json] = field(default_factory=dict)
    branches: dict[str, list[Json]] = field(default_factory=dict)
    errors: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    changed: list[tuple[str, str, Json]] = field(default_factory=list)
    """Method, path and body of everything that was asked to change."""
    retry_after: str = ""
    """What every answer that is an error asks for."""
    auth_method: str = "api_key_user"
    """What `GET /auth` calls every key."""
    keys: set[str] = field(default_factory=set)
    gate: threading.Event = field(default_factory=threading.Event)
    """Requests wait here; it is open unless a test closes it."""

    def fleet(self, organization: str) -> Fleet:
        """The organization's fleet, empty at first."""
        return self.fleets.setdefault(organization, Fleet())

    def fail(self, whose: str, endpoint: str, status: int, message: str = "no") -> None:
        """From now on this question is answered so."""
        self.errors[whose, endpoint] = (status, json.dumps({"code": "", "message": message}).encode())

    def answer(self, path: str, asked: dict[str, str]) -> tuple[int, bytes]:
        """Status and body."""
        parts = path.split("/api/v2/", 1)[-1].split("/")
        organization = asked.get("org_id", "")
        if parts[0] == "consumption_history":
            return self._history(organization, asked, is_legacy=parts[1] == "projects")
        if parts[0] == "auth" and ("", "auth") not in self.errors:
            return 200, json.dumps({"account_id": "account", "auth_method": self.auth_method}).encode()
        if parts[0] != "projects":
            return self.errors.get((organization, parts[0]), (404, b'{"code":"","message":"no such path"}'))
        if len(parts) == 1:
            return self._inventory(organization, asked)
        if len(parts) == 2:
            return self._project(parts[1])
        listed = {"branches": self.branches.get(parts[1], []), "pagination": {}}
        return self.errors.get((parts[1], "branches"), (200, json.dumps(listed).encode()))

    def _inventory(self, organization: str, asked: dict[str, str]) -> tuple[int, bytes]:
        endpoint = "recoverable" if asked.get("recoverable") == "true" else "inventory"
        if (organization, endpoint) in self.errors:
            return self.errors[organization, endpoint]
        fleet = self.fleet(organization)
        listed = fleet.deleted if endpoint == "recoverable" else fleet.projects
        if not listed:
            return 200, b'{"projects": []}'
        last = listed[-1]["id"]
        shown = [] if asked.get("cursor") == last else listed
        page = {"projects": shown, "unavailable_project_ids": fleet.unavailable, "pagination": {"cursor": last}}
        return 200, json.dumps(page).encode()

    def _project(self, project_id: str) -> tuple[int, bytes]:
        if (project_id, "project") in self.errors:
            return self.errors[project_id, "project"]
        for organization, fleet in self.fleets.items():
            for project in fleet.projects:
                if project["id"] == project_id:
                    shown = {**project, "org_id": organization, **self.counters.get(project_id, {})}
                    return 200, json.dumps({"project": shown}).encode()
        return 404, b'{"code":"","message":"project not found"}'

    def change(self, method: str, path: str, body: Json) -> tuple[int, bytes]:
        """Status and body of a transfer, or of a project's new quotas; an error is answered and nothing happens."""
        self.changed.append((method, path.split("/api/v2/", 1)[-1], body))
        parts = self.changed[-1][1].split("/")
        if method == "POST":
            if (parts[1], "transfer") in self.errors:
                return self.errors[parts[1], "transfer"]
            home, target = self.fleet(parts[1]), self.fleet(body["destination_org_id"])
            moved = [project for project in home.projects if project["id"] in body["project_ids"]]
            home.projects = [project for project in home.projects if project not in moved]
            target.projects += moved
            return 200, b"{}"
        if (parts[1], "change") in self.errors:
            return self.errors[parts[1], "change"]
        (project,) = [one for fleet in self.fleets.values() for one in fleet.projects if one["id"] == parts[1]]
        project["settings"] = body["project"]["settings"]
        return self._project(parts[1])

    def _history(self, organization: str, asked: dict[str, str], *, is_legacy: bool) -> tuple[int, bytes]:
        grain = asked["granularity"]
        if ("legacy" if is_legacy else "v2") not in self.fleet(organization).histories:
            return 403, b'{"code":"","message":"this endpoint is not available"}'
        for endpoint in ("history", grain):
            if (organization, endpoint) in self.errors:
                return self.errors[organization, endpoint]
        fleet = self.fleet(organization)
        if grain in fleet.whole:
            return 200, fleet.whole[grain]
        start, end = moment(asked["from"]), moment(asked["to"])
        shown = [b for b in fleet.buckets if b.grain == grain and b.is_legacy == is_legacy]
        chosen = [b for b in shown if start <= moment(b.start) < end]
        names = sorted({b.project for b in chosen} | set(fleet.idle))
        after = asked.get("cursor", "")
        if (organization, f"history after {after}") in self.errors:
            return self.errors[organization, f"history after {after}"]
        names = [name for name in names if name > after][: fleet.page_size]
        projects = [
            {"project_id": name, "periods": _periods([b for b in chosen if b.project == name])} for name in names
        ]
        more = {"pagination": {"cursor": names[-1]}} if len(names) == fleet.page_size else {}
        return 200, json.dumps({"projects": projects, **more}).encode()


def _end(bucket: Bucket) -> str:
    start = moment(bucket.start)
    if bucket.grain == "monthly":
        return stamp(f"{start.year + start.month // 12}-{start.month % 12 + 1:02d}-01")
    return stamp((start + (timedelta(hours=1) if bucket.grain == "hourly" else timedelta(days=1))).isoformat())


def _periods(buckets: Sequence[Bucket]) -> list[Json]:
    out: dict[tuple[str, str, str], Json] = {}
    for bucket in sorted(buckets, key=lambda bucket: moment(bucket.start)):
        key = (bucket.period, bucket.plan, bucket.period_start)
        period = out.setdefault(
            key,
            {
                "period_id": bucket.period,
                "period_plan": bucket.plan,
                "period_start": stamp(bucket.period_start),
                "consumption": [],
            },
        )
        metrics = [{"metric_name": name, "value": value} for name, value in bucket.metrics.items()]
        frame = {"timeframe_start": stamp(bucket.start), "timeframe_end": _end(bucket)}
        period["consumption"].append({**frame, **(bucket.metrics if bucket.is_legacy else {"metrics": metrics})})
    return list(out.values())


@contextmanager
def served(neon: PlainNeon) -> Iterator[PlainNeon]:
    """Serves on a free loopback port; `neon.url` is what `base_url` wants."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            neon.gate.wait()
            split = urlsplit(self.path)
            asked = {name: values[-1] for name, values in parse_qs(split.query).items()}
            neon.asked.append((split.path, asked))
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if neon.keys and key not in neon.keys:
                status, body = 401, b'{"code":"","message":"supplied credentials do not pass authentication"}'
            else:
                status, body = neon.answer(split.path, asked)
            self._send(status, body)

        def do_POST(self) -> None:
            neon.gate.wait()
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(*neon.change(self.command, urlsplit(self.path).path, told))

        def do_PATCH(self) -> None:
            self.do_POST()

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if neon.retry_after and status >= 400:
                self.send_header("Retry-After", neon.retry_after)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
            """Silent."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that was killed hangs up: nothing to tell."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    neon.gate.set()
    neon.url = f"http://127.0.0.1:{server.server_address[1]}/api/v2"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield neon
    finally:
        neon.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
