"""The pages about a month: overview, customers, projects, invoices and what stands behind a line.

A page takes its figures from the edition and hands them to a template; it computes none.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from metering.core.errors import MeteringError
from metering.core.ids import canonical
from metering.core.rows import Row
from metering.invoicing.issued import invoice as issued_invoice
from metering.invoicing.sheet import TITLES
from metering.web import rows, tables
from metering.web.asked import customer_name, draft, draft_explanation, explanation, month_of, usage
from metering.web.desk import Desk
from metering.web.edition import Edition, NotFoundError
from metering.web.listing import Sheet

MOST_URGENT = 6
MOST_ALERTS = 6


def overview(desk: Desk, request: Request) -> Response:
    """How it stands: freshness, gaps, money of the month, what will be suspended first, the latest alerts."""
    edition = desk.editions.current()
    if edition.is_empty:
        return desk.page(request, "empty", edition, title="Nothing was polled yet")
    month = month_of(request, edition)
    return desk.page(
        request,
        "overview",
        edition,
        title="Overview",
        month=month,
        status=edition.status,
        urgent=edition.quota_sheet.rows[:MOST_URGENT],
        latest=list(islice(warnings(edition.alert_sheet.rows), MOST_ALERTS)),
        **month.report,
    )


def warnings(alerts: Iterable[Row]) -> Iterator[Row]:
    """The alerts that somebody may act on: not those of invoices, which come by the hundred, nor superseded ones."""
    return (row for row in alerts if row["status"] == "send" and not row["type"].startswith("invoice."))


def outlook(desk: Desk, request: Request) -> Response:
    """What the running month will come to, as a piece of the overview that asks again until it is known."""
    edition = desk.editions.current()
    return desk.page(request, "outlook", edition, outlook=edition.outlook(wait_seconds=1))


def customers(desk: Desk, request: Request) -> Response:
    """Everybody who is invoiced for the month."""
    edition = desk.editions.current()
    month = month_of(request, edition)
    return desk.listed(request, edition, month.customer_sheet, month=month)


def projects(desk: Desk, request: Request) -> Response:
    """Every project."""
    edition = desk.editions.current()
    month = month_of(request, edition)
    return desk.listed(request, edition, month.project_sheet, month=month)


def invoices(desk: Desk, request: Request) -> Response:
    """The month's invoices, final or as drafts."""
    edition = desk.editions.current()
    month = month_of(request, edition)
    return desk.listed(request, edition, month.invoice_sheet, template="invoices", month=month, parked=month.parked)


# -- one customer, one project


def customer(desk: Desk, request: Request) -> Response:
    """One customer's month: usage, quotas, invoice, alerts."""
    edition = desk.editions.current()
    month, name = month_of(request, edition), canonical(request.query_params.get("id", ""))
    documents, owned = month.documents.get(name, []), month.own_projects.get(name, [])
    if not documents and not owned and name not in edition.customer_names:
        raise NotFoundError(
            f"There is no customer {name[:100]!r} in {month.name}.", hint="The list of customers has a search."
        )
    return desk.page(
        request,
        "customer",
        edition,
        title=customer_name(edition, documents, name),
        month=month,
        customer=name,
        money=[row for row in month.report["customers"] if row["customer"] == name],
        invoices=rows.invoices(documents),
        projects=month.projects_by_customer.get(name, []),
        quotas=edition.quotas_by_customer.get(name, []),
        alerts=edition.alerts_by_customer.get(name, []),
        **usage(request, edition, month, owned),
    )


def project(desk: Desk, request: Request) -> Response:
    """One project's month: usage, quotas, lines, alerts."""
    edition = desk.editions.current()
    month, name = month_of(request, edition), request.query_params.get("id", "")
    known = month.projects_by_id.get(name)
    if not known:
        raise NotFoundError(
            f"There is no project {name[:100]!r} in {month.name}.", hint="The list of projects has a search."
        )
    owners = sorted({row["customer"] or "" for row in known})
    documents = [document for owner in owners for document in month.documents.get(owner, [])]
    return desk.page(
        request,
        "project",
        edition,
        title=known[0]["project_name"] or name,
        month=month,
        project=name,
        known=known,
        lines=[line for document in documents for line in rows.lines(document) if line["project_id"] == name],
        quotas=edition.quotas_by_project.get(name, []),
        alerts=edition.alerts_by_project.get(name, []),
        **usage(request, edition, month, [name]),
    )


# -- from the total to the raw page


def invoice(desk: Desk, request: Request) -> Response:
    """One invoice: by its `number`, or a draft by its `customer` and `month`."""
    edition = desk.editions.current()
    document = _document(request, edition)
    found = desk.list_of(request, Sheet(table=tables.LINES, rows=rows.lines(document)))
    if form := request.query_params.get("format"):
        return desk.file(found, form, edition)
    title = TITLES.get(document.get("kind", ""), "Invoice")
    return desk.page(
        request,
        "invoice",
        edition,
        title=f"{title} {document['number'] or '(draft)'}",
        invoice=document,
        listing=found,
    )


def _document(request: Request, edition: Edition) -> Row:
    number = request.query_params.get("number")
    if number:
        try:
            return edition.ask(("invoice", number), lambda store: issued_invoice(store, number).printed())
        except MeteringError as error:
            raise NotFoundError(f"{error}.", hint="The list of invoices has a search.") from None
    return draft(month_of(request, edition), canonical(request.query_params.get("customer", "")))


def explained(desk: Desk, request: Request) -> Response:
    """Every step of one line of an invoice or a draft, and the observations and pages behind it."""
    edition = desk.editions.current()
    number, line = request.query_params.get("number", ""), request.query_params.get("line") or None
    if "customer" in request.query_params:
        month = month_of(request, edition)
        told = draft_explanation(edition, month, canonical(request.query_params["customer"]), line)
        name = f"Draft of {month.name}"
    else:
        told, name = explanation(edition, number, line), number
    found = desk.list_of(request, Sheet(table=tables.OBSERVATIONS, rows=told.get("observations", [])))
    if form := request.query_params.get("format"):
        return desk.file(found, form, edition)
    return desk.page(
        request,
        "explain",
        edition,
        title=f"{name}, line {line}",
        told=told,
        listing=found,
        name=name,
        address=f"/invoice?{urlencode(rows.address_of(told))}",
        line=line,
    )
