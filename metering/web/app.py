"""The dashboard as one ASGI application: routes, door and guard before them, and the answers to errors.

Also serves the caller's routes for metrics and probes.
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
from starlette.types import ASGIApp, Receive, Scope, Send

from metering.core.errors import MeteringError
from metering.core.roles import Right
from metering.web import api, pages, persons
from metering.web.desk import ASSETS, Desk, Page, asset
from metering.web.door import Door
from metering.web.guard import Access, Guard
from metering.web.probes import PROBES
from metering.web.problems import refuse_without, status_of
from metering.web.view import NotFoundError
from metering.web.watch import Watch

MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".LICENSE": "text/plain"}


def every_page() -> list[Page]:
    """The PAGES of all modules in pages/."""
    modules = [import_module(f"{pages.__name__}.{module.name}") for module in iter_modules(pages.__path__)]
    return [page for module in modules for page in module.PAGES]


def application(desk: Desk, state: Sequence[Route] = ()) -> ASGIApp:
    """The pages behind door and guard; `state` are the routes of metrics and probes, which need no login."""
    shown = every_page()
    routes: list[BaseRoute] = [
        *state,
        *(
            Route(page.path, partial(page.answer, desk), methods=[page.method], middleware=_needed(page))
            for page in shown
        ),
        Route("/static/{name}", _asset),
        *(
            Route(f"/api{path}", partial(answer, desk.views), middleware=[Middleware(Needs, right=api.needs(path))])
            for path, answer in api.ANSWERS.items()
        ),
    ]
    # These need no login: static files, and customers' links, each of which is a key itself.
    free = ["/static/", *(page.path.partition("{")[0] for page in shown if page.is_by_link)]
    handlers = {MeteringError: _failing(desk), HTTPException: _missing(desk), Exception: _broken(desk)}
    found = Starlette(routes=routes, exception_handlers=handlers)
    found.state.menu = sorted((page for page in shown if page.menu), key=lambda page: page.menu or ())
    return guarded(found, desk.access, desk.watch, state, free)


class Needs:
    """ASGI middleware before one address: lets only those through who have the right."""

    def __init__(self, app: ASGIApp, *, right: Right) -> None:
        self._app, self._right = app, right

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ForbiddenError for others."""
        refuse_without(persons.of(Request(scope)), self._right)
        await self._app(scope, receive, send)


def _needed(page: Page) -> list[Middleware]:
    return [] if page.is_by_link else [Middleware(Needs, right=page.needs)]


def guarded(app: ASGIApp, access: Access, watch: Watch, state: Sequence[Route], free: Sequence[str] = ()) -> ASGIApp:
    """The application behind door and guard. `free` addresses and those of `state` need no login."""
    open_to_all = [*free, *(route.path for route in state)]
    return Door(Guard(app, watch, access=access, free=open_to_all, unguarded=PROBES), watch, probes=PROBES)


def _failing(desk: Desk) -> Callable[[Request, Any], Response]:
    def answer(request: Request, error: MeteringError) -> Response:
        if status_of(error) >= 500:
            desk.watch.failed(request.scope, error)
        return api.failed(request, error) if _is_api(request) else desk.failed(request, error)

    return answer


def _broken(desk: Desk) -> Callable[[Request, Any], Response]:
    """The answer to an unexpected exception, which the door logs."""
    hint = "The log of the service says why; docs/operations.md says where it is."

    def answer(request: Request, _: Exception) -> Response:
        error = MeteringError("Something went wrong here.", hint=hint)
        return api.failed(request, error) if _is_api(request) else desk.failed(request, error)

    return answer


def _missing(desk: Desk) -> Callable[[Request, Any], Response]:
    def answer(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            missing = NotFoundError("There is no such page.", hint="The menu leads to all of them.")
            return api.failed(request, missing) if _is_api(request) else desk.failed(request, missing)
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
