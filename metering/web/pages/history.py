"""Who did what, when and from where."""

from starlette.requests import Request
from starlette.responses import Response

from metering.web import figures
from metering.web.desk import Desk, Page


def history(desk: Desk, request: Request) -> Response:
    """What persons and the scheduler did, the latest first."""
    view = desk.view(request)
    return desk.listed(request, view, view.get(figures.history_sheet))


PAGES = (Page(path="/history", answer=history, needs="see", menu=(9, "History")),)
