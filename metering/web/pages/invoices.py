"""The list of invoices, and one invoice or draft."""

from starlette.requests import Request
from starlette.responses import Response

from metering.core.errors import MeteringError
from metering.core.ids import canonical
from metering.core.rows import Row
from metering.invoicing.issued import invoice as issued_invoice
from metering.invoicing.printed.sheet import TITLES
from metering.web import figures, rows, tables
from metering.web.asked import draft, month_of
from metering.web.desk import Desk, Page
from metering.web.listing import Sheet
from metering.web.view import NotFoundError, View


def invoices(desk: Desk, request: Request) -> Response:
    """The month's invoices, final or as drafts."""
    view = desk.view(request)
    month = month_of(request, view)
    return desk.listed(
        request,
        view,
        month.get(figures.invoice_sheet),
        template="invoices",
        month=month,
        parked=month.get(figures.invoices)["parked"],
    )


def invoice(desk: Desk, request: Request) -> Response:
    """One invoice: by its `number`, or a draft by its `customer` and `month`."""
    view = desk.view(request)
    document = _document(request, view)
    title = TITLES.get(document.get("kind", ""), "Invoice")
    return desk.listed(
        request,
        view,
        Sheet(table=tables.LINES, rows=rows.lines(document)),
        template="invoice",
        title=f"{title} {document['number'] or '(draft)'}",
        invoice=document,
    )


def _document(request: Request, view: View) -> Row:
    number = request.query_params.get("number")
    if number:
        try:
            return view.ask(("invoice", number), lambda store: issued_invoice(store, number).printed())
        except MeteringError as error:
            raise NotFoundError(f"{error}.", hint="The list of invoices has a search.") from None
    return draft(month_of(request, view), canonical(request.query_params.get("customer", "")))


PAGES = (
    Page(path="/invoices", answer=invoices, needs="see", menu=(5, "Invoices"), keeps_month=True),
    Page(path="/invoice", answer=invoice, needs="see"),
)
