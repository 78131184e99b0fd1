"""How the service runs: polling runs, requests, budgets, outbox, alarms, sizes."""

from starlette.requests import Request
from starlette.responses import Response

from metering.web import figures, tables
from metering.web.desk import Desk, Page
from metering.web.listing import Sheet


def operations(desk: Desk, request: Request) -> Response:
    """Cycles, requests, budgets, outbox, alarms, sizes."""
    view = desk.view(request)
    return desk.listed(
        request,
        view,
        Sheet(table=tables.CYCLES, rows=view.get(figures.cycles)),
        template="operations",
        title="Operations",
        status=view.get(figures.status),
        budget=view.get(figures.budget),
    )


PAGES = (Page(path="/operations", answer=operations, needs="see", menu=(8, "Operations")),)
