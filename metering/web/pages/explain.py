"""The page that explains one line of an invoice or a draft."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from metering.core.ids import canonical
from metering.web import rows, tables
from metering.web.asked import draft_explanation, explanation, month_of
from metering.web.desk import Desk, Page
from metering.web.listing import Sheet


def explained(desk: Desk, request: Request) -> Response:
    """Every step of one line of an invoice or a draft, and the observations and pages behind it."""
    view = desk.view(request)
    number, line = request.query_params.get("number", ""), request.query_params.get("line") or None
    if "customer" in request.query_params:
        month = month_of(request, view)
        told = draft_explanation(view, month, canonical(request.query_params["customer"]), line)
        name = f"Draft of {month.name}"
    else:
        told, name = explanation(view, number, line), number
    return desk.listed(
        request,
        view,
        Sheet(table=tables.OBSERVATIONS, rows=told.get("observations", [])),
        template="explain",
        title=f"{name}, line {line}",
        told=told,
        name=name,
        address=f"/invoice?{urlencode(rows.address_of(told))}",
        line=line,
    )


PAGES = (Page(path="/explain", answer=explained, needs="see"),)
