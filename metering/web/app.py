"""The dashboard as one ASGI application: addresses, the guard before them, and what an error looks like.

Serves `/metrics` and `/healthz` beside the pages, as `run` and `serve` want them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from metering.core.errors import MeteringError
from metering.web import api, pages
from metering.web.desk import ASSETS, Desk, Page, asset
from metering.web.guard import Guard
from metering.web.view import NotFoundError

MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".LICENSE": "text/plain"}


def every_page() -> list[Page]:
    """The pages of all modules in pages/."""
    modules = [import_module(f"{pages.__name__}.{module.name}") for module in iter_modules(pages.__path__)]
    return [page for module in modules for page in module.PAGES]


def application(desk: Desk, state: Sequence[BaseRoute] = ()) -> Starlette:
    """The pages behind their guard; `state` are routes that are open to whoever reaches them."""
    shown = every_page()
    routes: list[BaseRoute] = [
        *state,
        *(Route(page.path, partial(page.answer, desk), methods=[page.method]) for page in shown),
        Route("/static/{name}", _asset),
        *(Route(f"/api{path}", partial(answer, desk.views)) for path, answer in api.ANSWERS.items()),
    ]
    # These ask nobody who they are: files that are no secret, and customers' links, which are keys themselves.
    free = ["/static/", *(page.path.partition("{")[0] for page in shown if page.role == "customer")]
    open_to_all = {route.path for route in state if isinstance(route, Route)}
    found = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, access=desk.access, free=free, unguarded=open_to_all)],
        exception_handlers={MeteringError: _failing(desk), HTTPException: _missing(desk)},
    )
    found.state.menu = sorted((page for page in shown if page.menu), key=lambda page: page.menu or ())
    return found


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
