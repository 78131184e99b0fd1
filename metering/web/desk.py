"""What every answer needs: the edition in force, the templates, and how pages, lists, files and errors are sent.

Must not know what a single page shows, nor who may see it.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from metering.core.errors import MeteringError, StoreBusyError, StoreDamagedError, UsageError
from metering.core.files import data_directory
from metering.core.patience import patience
from metering.core.period import parse_time
from metering.core.secrets import Secret
from metering.rendering import charts
from metering.rendering.figures import printed_moment
from metering.rendering.templates import environment
from metering.web import download, tables
from metering.web.edition import Edition, Editions, NotFoundError
from metering.web.guard import Access
from metering.web.listing import Listing, Sheet, listing

RETRY_SECONDS = 20
ASSETS = {
    "style.css": "style.css",
    "web.css": "web/static/web.css",
    "htmx.min.js": "web/static/htmx.min.js",
    "htmx.LICENSE": "web/static/htmx.LICENSE",
    "favicon.svg": "web/static/favicon.svg",
}
"""Name under /static/ -> place under reports/."""

_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}|current|previous")


@cache
def asset(name: str) -> bytes:
    """The content of a file under /static/."""
    return (data_directory("reports") / ASSETS[name]).read_bytes()


@cache
def asset_address(name: str) -> str:
    """Where a file under /static/ is; another content has another address, so that browsers may keep it."""
    return f"/static/{name}?{hashlib.sha256(asset(name)).hexdigest()[:12]}"


@cache
def _templates() -> Environment:
    """The environment of the dashboard's pages. A process makes it once, because it keeps what it compiled."""
    found = environment()
    found.filters.update(short_day=_short_day, short_moment=_short_moment)
    found.globals.update(asset=asset_address, charts=charts, tables=tables)
    return found


class Desk:
    """Answers with pages; `resend` sends an alert again and returns the endpoints, or is None where nothing may be."""

    def __init__(
        self,
        editions: Editions,
        access: Access,
        *,
        clock: Callable[[], datetime],
        link_secret: Secret | None = None,
        resend: Callable[[str], Sequence[str]] | None = None,
    ) -> None:
        self.editions, self.access, self.clock = editions, access, clock
        self.link_secret, self.resend = link_secret, resend

    def page(
        self, request: Request, template: str, edition: Edition | None, *, code: int = 200, **told: Any
    ) -> Response:
        """A page of reports/web/; `told` is what it shows."""
        text = (
            _templates()
            .get_template(f"web/{template}.html.j2")
            .render(
                path=request.url.path,
                menu=request.app.state.menu,
                parameters=dict(request.query_params),
                edition=edition,
                is_stale=edition is not None and _is_stale(edition),
                trouble=self.editions.trouble,
                **{"month": None, "section": None, "is_own": False, **told},
            )
        )
        return HTMLResponse(text.encode("utf-8", "replace"), code)

    def listed(
        self, request: Request, edition: Edition, sheet: Sheet, *, template: str = "list", **told: Any
    ) -> Response:
        """A page with a list, or with `format` the list as a file."""
        found = self.list_of(request, sheet)
        form = request.query_params.get("format")
        if form is None:
            return self.page(request, template, edition, listing=found, title=sheet.table.title, **told)
        return self.file(found, form, edition)

    @staticmethod
    def list_of(request: Request, sheet: Sheet) -> Listing:
        """The list as the address asks for it."""
        return listing(sheet, request.url.path, dict(request.query_params))

    @staticmethod
    def file(found: Listing, form: str, edition: Edition) -> Response:
        """The list as a file to keep. Raises NotFoundError for a format that there is not."""
        if form not in download.TYPES:
            raise NotFoundError(f"There is no format {form[:40]!r}.", hint=f"Choose among {', '.join(download.TYPES)}.")
        month = found.parameters.get("month", "")
        name = f"{found.table.name}-{month}.{form}" if _MONTH.fullmatch(month) else f"{found.table.name}.{form}"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        as_of = edition.data_as_of or f"{edition.now:%Y-%m-%dT%H:%M:%SZ}"
        return Response(download.content(found, form, as_of), media_type=download.TYPES[form], headers=headers)

    def failed(self, request: Request, error: MeteringError) -> Response:
        """An error as a page: what there is not (404), what was asked wrongly (400), what will be there soon (503)."""
        status = status_of(error)
        try:
            edition = self.editions.current()
        except MeteringError:
            edition = None
        answer = self.page(request, "error", edition, code=status, title=HEADINGS[status], error=error)
        if status == 503:
            answer.headers["retry-after"] = str(RETRY_SECONDS)
        return answer


HEADINGS = {
    400: "This cannot be asked so",
    404: "Not found",
    500: "This could not be computed",
    503: "Not readable at the moment",
}


def status_of(error: MeteringError) -> int:
    """The status that says what kind of an error it is."""
    if isinstance(error, StoreDamagedError | StoreBusyError):
        return 503
    if isinstance(error, NotFoundError):
        return 404
    return 400 if isinstance(error, UsageError) else 500


def _short_day(text: str) -> str:
    """`1 Sep 2026`."""
    return printed_moment(text).partition(",")[0]


def _short_moment(text: str) -> str:
    """`1 Sep 2026, 03:00`."""
    day, _, time = printed_moment(text).partition(", ")
    return f"{day}, {time[:5]}"


def _is_stale(edition: Edition) -> bool:
    """Whether the data is older than that of a healthy service."""
    as_of = edition.data_as_of
    if as_of is None:
        return False
    return edition.now - parse_time(as_of) > patience(edition.config.schedule.poll_minutes)
