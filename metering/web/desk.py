"""Builds responses for all pages: from a template, a list, a file or an error, over the current view.

Must not know the content of a single page, nor who may see it.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Literal

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from metering.core.errors import MeteringError
from metering.core.files import data_directory
from metering.core.patience import patience
from metering.core.period import parse_time
from metering.core.roles import Right
from metering.core.secrets import Secret
from metering.rendering import charts
from metering.rendering.figures import printed_moment
from metering.rendering.templates import environment
from metering.web import download, figures, persons, tables, withheld
from metering.web.guard import Access
from metering.web.listing import Listing, Sheet, listing
from metering.web.problems import HEADINGS, RETRY_SECONDS, status_of, told_to
from metering.web.view import NotFoundError, View
from metering.web.views import Views

ASSETS = {
    "style.css": "style.css",
    "web.css": "web/static/web.css",
    "htmx.min.js": "web/static/htmx.min.js",
    "htmx.LICENSE": "web/static/htmx.LICENSE",
    "favicon.svg": "web/static/favicon.svg",
}
"""Name under /static/ -> file under reports/."""

_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}|current|previous")


@cache
def asset(name: str) -> bytes:
    """The content of a file under /static/."""
    return (data_directory("reports") / ASSETS[name]).read_bytes()


@cache
def asset_address(name: str) -> str:
    """The address of a file under /static/. It changes with the content, so browsers may cache it for ever."""
    return f"/static/{name}?{hashlib.sha256(asset(name)).hexdigest()[:12]}"


@cache
def _templates() -> Environment:
    """The template environment of the dashboard. Each process makes one, which caches compiled templates."""
    found = environment()
    found.filters.update(short_day=_short_day, short_moment=_short_moment)
    found.globals.update(asset=asset_address, charts=charts, tables=tables)
    return found


class Desk:
    """Builds responses.

    `resend` (alert, who, from which address) sends an alert again and returns the endpoints; None where that is not
    possible.
    """

    def __init__(
        self,
        views: Views,
        access: Access,
        *,
        clock: Callable[[], datetime],
        link_secret: Secret | None = None,
        resend: Callable[[str, str, str], Sequence[str]] | None = None,
    ) -> None:
        self.views, self.access, self.clock = views, access, clock
        self.link_secret, self.resend, self.watch = link_secret, resend, views.watch

    def view(self, request: Request) -> View:
        """The current view, as the person who asks may see it."""
        return self.views.seen_by(persons.of(request))

    def page(self, request: Request, template: str, view: View | None, *, code: int = 200, **told: Any) -> Response:
        """A page from a template of reports/web/; `told` are the template's variables."""
        person = persons.of(request)
        text = (
            _templates()
            .get_template(f"web/{template}.html.j2")
            .render(
                path=request.url.path,
                menu=[page for page in request.app.state.menu if person.may(page.needs)],
                may=person.may,
                parameters=dict(request.query_params),
                data_as_of=view and view.get(figures.data_as_of),
                known_months=view.get(figures.months) if view else (),
                seller_name=view and view.config.seller.name,
                has_view=view is not None,
                is_stale=view is not None and _is_stale(view),
                trouble=self.views.trouble and (self.views.trouble if person.may("cost") else "The log says why."),
                **{"month": None, "section": None, "is_own": False, **told},
            )
        )
        return HTMLResponse(text.encode("utf-8", "replace"), code)

    def listed(self, request: Request, view: View, sheet: Sheet, *, template: str = "list", **told: Any) -> Response:
        """A page with a list, by default under its title; or, with `format` in the address, the list as a file."""
        found = self.list_of(request, sheet)
        form = request.query_params.get("format")
        if form is None:
            return self.page(request, template, view, listing=found, **{"title": sheet.table.title, **told})
        return self.file(found, form, view)

    @staticmethod
    def list_of(request: Request, sheet: Sheet) -> Listing:
        """The list with the search, filters, order and page of the address."""
        if not persons.of(request).may("cost"):
            sheet = replace(sheet, table=withheld.narrowed(sheet.table))
        return listing(sheet, request.url.path, dict(request.query_params))

    @staticmethod
    def file(found: Listing, form: str, view: View) -> Response:
        """The list as a download. Raises NotFoundError for an unknown format."""
        if form not in download.TYPES:
            raise NotFoundError(f"There is no format {form[:40]!r}.", hint=f"Choose among {', '.join(download.TYPES)}.")
        month = found.parameters.get("month", "")
        name = f"{found.table.name}-{month}.{form}" if _MONTH.fullmatch(month) else f"{found.table.name}.{form}"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        as_of = view.get(figures.data_as_of) or f"{view.now:%Y-%m-%dT%H:%M:%SZ}"
        return Response(download.content(found, form, as_of), media_type=download.TYPES[form], headers=headers)

    def failed(self, request: Request, error: MeteringError) -> Response:
        """An error as a page: not found (404), bad request (400), not ready yet (503)."""
        status = status_of(error)
        try:
            view = self.view(request)
        except MeteringError:
            view = None
        what, hint = told_to(persons.of(request), error)
        answer = self.page(request, "error", view, code=status, title=HEADINGS[status], what=what, hint=hint)
        if status == 503:
            answer.headers["retry-after"] = str(RETRY_SECONDS)
        return answer


def _short_day(text: str) -> str:
    """`1 Sep 2026`."""
    return printed_moment(text).partition(",")[0]


def _short_moment(text: str) -> str:
    """`1 Sep 2026, 03:00`."""
    day, _, time = printed_moment(text).partition(", ")
    return f"{day}, {time[:5]}"


def _is_stale(view: View) -> bool:
    """Whether the data is older than it can be while the service is healthy."""
    as_of = view.get(figures.data_as_of)
    if as_of is None:
        return False
    return view.now - parse_time(as_of) > patience(view.config.schedule.poll_minutes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An address and the function that answers it.

    `menu`: position and title in the menu (None: reached by links only). `keeps_month`: the menu's link to the page
    keeps the selected month. `needs`: the right that its reader must have; a page that does not say so is shown only to
    whoever may see cost. `is_by_link`: a customer's signed link, which is a key itself, leads to it.
    """

    path: str
    answer: Callable[[Desk, Request], Response | Awaitable[Response]]
    menu: tuple[int, str] | None = None
    keeps_month: bool = False
    needs: Right = "cost"
    is_by_link: bool = False
    method: Literal["GET", "POST"] = "GET"
