"""The dashboard as one ASGI application: addresses, the guard before them, and what an error looks like.

Serves `/metrics` and `/healthz` beside the pages, as `run` and `serve` want them.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from metering.core.errors import MeteringError
from metering.web import api, pages, pages_own, pages_state
from metering.web.desk import ASSETS, Desk, asset
from metering.web.edition import NotFoundError
from metering.web.guard import Guard

Page = Callable[[Desk, Request], Response]

PAGES: dict[str, Page] = {
    "/": pages.overview,
    "/outlook": pages.outlook,
    "/customers": pages.customers,
    "/customer": pages.customer,
    "/projects": pages.projects,
    "/project": pages.project,
    "/invoices": pages.invoices,
    "/invoice": pages.invoice,
    "/explain": pages.explained,
    "/page": pages_state.raw_page,
    "/quotas": pages_state.quotas,
    "/plans": pages_state.plans,
    "/alerts": pages_state.alerts,
    "/alert": pages_state.alert,
    "/operations": pages_state.operations,
    "/as-of": pages_state.as_of,
}
MENU = (
    ("/", "Overview"),
    ("/customers", "Customers"),
    ("/projects", "Projects"),
    ("/quotas", "Quotas"),
    ("/invoices", "Invoices"),
    ("/plans", "Plans"),
    ("/alerts", "Alerts"),
    ("/operations", "Operations"),
)
"""Address -> its name in the menu, in the menu's order; other pages are reached by links."""
FREE = ("/static/", "/usage/")
"""Addresses that ask nobody who they are: files that are no secret, and customers' links, which are keys themselves."""
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".LICENSE": "text/plain"}


def application(desk: Desk, state: Sequence[BaseRoute] = ()) -> Starlette:
    """The pages behind their guard; `state` are routes that are open to whoever reaches them."""
    routes: list[BaseRoute] = [
        *state,
        *(Route(path, _answering(desk, page)) for path, page in PAGES.items()),
        Route("/alerts/resend", _resending(desk), methods=["POST"]),
        Route("/static/{name}", _asset),
        Route("/usage/{token}", _answering(desk, pages_own.own_usage)),
        *(Route(f"/api{path}", _answering(desk, answer)) for path, answer in api.ANSWERS.items()),
    ]
    open_to_all = {route.path for route in state if isinstance(route, Route)}
    found = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, access=desk.access, free=FREE, unguarded=open_to_all)],
        exception_handlers={MeteringError: _failing(desk), HTTPException: _missing(desk)},
    )
    found.state.menu = MENU
    return found


def _answering(desk: Desk, page: Page) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        return page(desk, request)

    return answer


def _resending(desk: Desk) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return await pages_state.resend(desk, request)

    return answer


def _failing(desk: Desk) -> Callable[[Request, Any], Response]:
    def answer(request: Request, error: MeteringError) -> Response:
        return api.failed(error) if _is_api(request) else desk.failed(request, error)

    return answer


def _missing(desk: Desk) -> Callable[[Request, Any], Response]:
    def answer(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            missing = NotFoundError("There is no such page.", hint="The menu leads to all of them.")
            return api.failed(missing) if _is_api(request) else desk.failed(request, missing)
        return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)

    return answer


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api")


def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in ASSETS:
        raise HTTPException(404)
    kind = next(kind for ending, kind in MEDIA_TYPES.items() if name.endswith(ending))
    return Response(asset(name), media_type=kind, headers={"cache-control": "public, max-age=31536000, immutable"})
