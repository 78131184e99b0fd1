"""The overview: freshness, the month's money, and what needs attention first."""

from collections.abc import Iterable, Iterator
from itertools import islice

from starlette.requests import Request
from starlette.responses import Response

from metering.core.rows import Row
from metering.web import figures
from metering.web.asked import month_of
from metering.web.desk import Desk, Page

MOST_URGENT = 6
MOST_ALERTS = 6


def overview(desk: Desk, request: Request) -> Response:
    """The overview page: freshness, gaps, the month's money, the most urgent quotas, the latest alerts."""
    view = desk.view(request)
    if view.get(figures.data_as_of) is None:
        return desk.page(request, "empty", view, title="Nothing was polled yet")
    month = month_of(request, view)
    return desk.page(
        request,
        "overview",
        view,
        title="Overview",
        month=month,
        status=view.get(figures.status),
        urgent=view.get(figures.quota_sheet).rows[:MOST_URGENT],
        latest=list(islice(warnings(view.get(figures.alert_sheet).rows), MOST_ALERTS)),
        **month.get(figures.report),
    )


def warnings(alerts: Iterable[Row]) -> Iterator[Row]:
    """The alerts that may need action: without invoices' events, of which there are hundreds, and superseded ones."""
    return (row for row in alerts if row["status"] == "send" and not row["type"].startswith("invoice."))


def outlook(desk: Desk, request: Request) -> Response:
    """A fragment of the overview: the forecast of the running month. It reloads itself until the forecast is there."""
    view = desk.view(request)
    return desk.page(request, "outlook", view, outlook=view.outlook(wait_seconds=1))


def as_of(desk: Desk, request: Request) -> Response:
    """A fragment of every page: the time of the latest data."""
    return desk.page(request, "as_of", desk.view(request))


PAGES = (
    Page(path="/", answer=overview, needs="see", menu=(1, "Overview"), keeps_month=True),
    Page(path="/outlook", answer=outlook, needs="see"),
    Page(path="/as-of", answer=as_of, needs="see"),
)
