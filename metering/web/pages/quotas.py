"""The list of quotas."""

from starlette.requests import Request
from starlette.responses import Response

from metering.web import figures
from metering.web.desk import Desk, Page


def quotas(desk: Desk, request: Request) -> Response:
    """Every quota with a limit, the most urgent first."""
    view = desk.view(request)
    return desk.listed(request, view, view.get(figures.quota_sheet))


PAGES = (Page(path="/quotas", answer=quotas, needs="see", menu=(4, "Quotas")),)
