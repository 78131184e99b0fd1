"""The page behind a customer's link: only that customer's usage, quotas and invoices.

The signed link contains the customer, so no parameter can select another one.
"""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from metering.core.errors import MeteringError
from metering.core.rows import Row
from metering.web import figures, links, rows
from metering.web.asked import customer_name, month_of, usage
from metering.web.desk import Desk, Page
from metering.web.problems import status_of

OVER = "This link is not valid, or no longer."


def own_usage(desk: Desk, request: Request) -> Response:
    """The customer's month. An invalid or expired link gives a 404 that says whom to ask for a new one."""
    customer = None
    if desk.link_secret is not None:
        customer = links.opened(request.path_params["token"], desk.clock(), desk.link_secret)
    if customer is None:
        desk.watch.refused("link not valid", request.client.host if request.client else "")
        return refused(desk, request, 404, OVER, "Ask whoever sent it for a new one.")
    try:
        return _shown(desk, request, customer)
    except MeteringError as error:
        # The reason may contain paths and names, which are not for customers.
        if status_of(error) >= 500:
            desk.watch.failed(request.scope, error)
        return refused(desk, request, 404, "This month cannot be shown.", "Try again later, or choose another month.")


def _shown(desk: Desk, request: Request, customer: str) -> Response:
    view = desk.view(request)
    month = month_of(request, view)
    owned, documents = month.get(figures.own_projects).get(customer, []), month.get(figures.documents).get(customer, [])
    names = {
        project: rows_of[0]["project_name"]
        for project in owned
        if (rows_of := month.get(figures.projects_by_id).get(project))
    }
    quotas = [row for row in view.get(figures.quotas_by_customer).get(customer, []) if row["project_id"] in owned]
    return desk.page(
        request,
        "own",
        view,
        title=customer_name(view, documents, customer),
        month=month,
        is_own=True,
        quotas=quotas if month.is_running else [],
        invoices=[{**row, "lines": [_line(line, names) for line in rows.lines(row)]} for row in documents],
        **usage(request, view, month, owned),
    )


def _line(line: Row, names: Mapping[str, str | None]) -> dict[str, object]:
    return {**line, "project_name": names.get(line["project_id"])}


def refused(desk: Desk, request: Request, code: int, said: str, hint: str) -> Response:
    """An error page without the menu, which a customer cannot use."""
    return desk.page(request, "own_error", None, code=code, title="Usage", said=said, hint=hint, is_own=True)


PAGES = (Page(path="/usage/{token}", answer=own_usage, is_by_link=True),)
