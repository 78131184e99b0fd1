"""The list of customers, and one customer."""

from starlette.requests import Request
from starlette.responses import Response

from metering.core.ids import canonical
from metering.web import figures, rows
from metering.web.asked import customer_name, month_of, usage
from metering.web.desk import Desk, Page
from metering.web.view import NotFoundError


def customers(desk: Desk, request: Request) -> Response:
    """The customers of the month."""
    view = desk.view(request)
    month = month_of(request, view)
    return desk.listed(request, view, month.get(figures.customer_sheet), month=month)


def customer(desk: Desk, request: Request) -> Response:
    """One customer's month: usage, quotas, invoice, alerts."""
    view = desk.view(request)
    month, name = month_of(request, view), canonical(request.query_params.get("id", ""))
    documents, owned = month.get(figures.documents).get(name, []), month.get(figures.own_projects).get(name, [])
    if not documents and not owned and name not in view.get(figures.customer_names):
        raise NotFoundError(
            f"There is no customer {name[:100]!r} in {month.name}.", hint="The list of customers has a search."
        )
    return desk.page(
        request,
        "customer",
        view,
        title=customer_name(view, documents, name),
        month=month,
        customer=name,
        money=[row for row in month.get(figures.report)["customers"] if row["customer"] == name],
        invoices=rows.invoices(documents),
        projects=month.get(figures.projects_by_customer).get(name, []),
        quotas=view.get(figures.quotas_by_customer).get(name, []),
        alerts=view.get(figures.alerts_by_customer).get(name, []),
        **usage(request, view, month, owned),
    )


PAGES = (
    Page(path="/customers", answer=customers, needs="see", menu=(2, "Customers"), keeps_month=True),
    Page(path="/customer", answer=customer, needs="see"),
)
