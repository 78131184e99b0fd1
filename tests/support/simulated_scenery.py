"""Between the wire and the sandbox: lists of projects fail, projects change their names, usage comes late."""

import json
from collections.abc import Iterable
from typing import Any

import httpx

from tests.faults.transport import Body, answer
from tests.simulate import MONTH, Time
from tests.support.simulated_platform import COMPUTE, Names, Outage, Plot

Json = dict[str, Any]
KEPT_HEADERS = ("date", "content-type", "x-neon-ret-request-id")


class Scenery(httpx.AsyncBaseTransport):
    """Before the sandbox: lists of projects show the names of the plot, or fail; hours of history may grow late."""

    def __init__(self, inner: httpx.AsyncBaseTransport, time: Time, plot: Plot) -> None:
        self.inner, self.time, self.plot = inner, time, plot
        self.first_names = {project.id: project.name for project in plot.projects}
        self.outages: tuple[Outage, ...] = plot.outages
        self.late: dict[tuple[str, str], int] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        is_list = request.method == "GET" and request.url.path.endswith("/api/v2/projects")
        is_history = "consumption_history" in request.url.path and bool(self.late)
        failing = [one for one in self.outages if is_list and one.is_at(self.time.server())]
        failing = [one for one in failing if request.url.params["org_id"] in one.organizations]
        for outage in failing:
            if outage.kind in {"500", "403"}:
                return answer(int(outage.kind), b'{"code": "", "message": "no"}')
        response = await self.inner.handle_async_request(request)
        if response.status_code != 200 or not (is_list or is_history):
            return response
        body = await response.aread()
        try:
            page = json.loads(body)
        except ValueError:
            return _as(response, body)  # a mishap of the sandbox
        if is_list:
            page = self._spoiled(await self.listed(page), failing)
        else:
            self._grown(page)
        return _as(response, json.dumps(page).encode())

    async def aclose(self) -> None:
        """The sandbox outlives the client."""

    async def listed(self, page: Json) -> Json:
        """The page without the hidden project, and with the names of now."""
        rows = [row for row in page["projects"] if row["id"] != self.plot.hidden]
        return {**page, "projects": [{**row, "name": self.name_of(row["id"])} for row in rows]}

    def name_of(self, project_id: str) -> str:
        now = self.time.server()
        names = [name for start, project, name in self.plot.renames if project == project_id and start <= now]
        return [self.first_names[project_id], *names][-1]

    def _spoiled(self, page: Json, failing: Iterable[Outage]) -> Json:
        for outage in failing:
            mine = [row for row in page["projects"] if row["id"] == outage.project]
            if mine and outage.kind == "page":
                return {**page, "projects": [{"id": 7}]}
            for row in mine:
                row["name"] = 17
        return page

    def _grown(self, page: Json) -> None:
        for project in page["projects"]:
            for bucket in (bucket for period in project["periods"] for bucket in period["consumption"]):
                more = self.late.get((project["project_id"], bucket["timeframe_start"]), 0)
                for metric in bucket["metrics"]:
                    metric["value"] += more if metric["metric_name"] == COMPUTE else 0


class Retold(Scenery):
    """The calm twin's: nothing fails, and a name is first shown at the second at which the storm let it be read.

    `until` is when the poll after the running one begins.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, time: Time, plot: Plot, names: Names) -> None:
        super().__init__(inner, time, plot)
        self.outages, self.names, self.until = (), names, MONTH.start

    async def listed(self, page: Json) -> Json:
        ids = {row["id"] for row in page["projects"]}
        changes = [moment for name in ids for moment, _ in self.names.of(name)[1:] if moment < self.until]
        self.time.move_to(max([self.time.server(), *changes]))
        return await super().listed(page)

    def name_of(self, project_id: str) -> str:
        shown = self.names.of(project_id) or [(self.until, self.first_names[project_id])]
        return [shown[0][1], *(name for moment, name in shown if moment <= self.time.server())][-1]


def _as(response: httpx.Response, body: bytes) -> httpx.Response:
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    return httpx.Response(response.status_code, headers=headers, stream=Body(body))
