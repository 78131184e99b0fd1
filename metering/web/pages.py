"""The pages about a month: overview, customers, projects, invoices and what stands behind a line.

A page takes its figures from the edition and hands them to a template; it computes none.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from metering.billing import profile as month_profile
from metering.billing.month import Month
from metering.core.errors import MeteringError, UsageError
from metering.core.ids import canonical
from metering.core.period import DAY, Period, floor_day, parse_time
from metering.core.rows import Row, Table
from metering.explain import explain
from metering.invoicing.issued import invoice as issued_invoice
from metering.invoicing.sheet import TITLES
from metering.store.database import Store
from metering.web import rows, tables
from metering.web.desk import Desk, NotFoundError
from metering.web.edition import Edition, MonthFigures
from metering.web.listing import Sheet

MOST_URGENT = 6
MOST_ALERTS = 6


def month_of(request: Request, edition: Edition) -> MonthFigures:
    """The month that the address names, else the running one. Raises NotFoundError where nothing is known of it."""
    text = request.query_params.get("month") or "current"
    try:
        found = edition.month(text)
    except UsageError as error:
        raise NotFoundError(f"{error}.", hint="Choose a month from the list.") from None
    if found.name not in edition.months:
        raise NotFoundError(f"Nothing is known of {found.name}.", hint="Choose a month from the list.")
    return found


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


def customer_name(edition: Edition, documents: Sequence[Row], customer: str) -> str:
    """What the customer is called."""
    return documents[0]["customer"]["name"] if documents else edition.customer_names.get(customer, customer)


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


def usage(request: Request, edition: Edition, month: MonthFigures, projects: list[str]) -> dict[str, Any]:
    """`profile` by day, or with `day` in the address by the hours of it; and the days to go to."""
    gaps = month.report["coverage"]["gaps"]
    day = _day(request, month)
    key = ("usage", month.name, tuple(projects), day)

    def work(_: object) -> Table:
        if day is None:
            return month_profile.by_day(month.month, projects, gaps)
        return month_profile.by_hour(month.month, projects, day, gaps)

    first, last = month.period.start, floor_day(min(month.period.end, edition.now) - timedelta(microseconds=1))
    profile = edition.ask(key, work)
    return {
        "profile": [{**row, "days": [{**slot, "day": slot["start"][:10]} for slot in row["slots"]]} for row in profile],
        "first_day": f"{first:%Y-%m-%d}",
        "last_day": f"{last:%Y-%m-%d}",
        "day": day and f"{day.start:%Y-%m-%d}",
        "day_before": f"{day.start - DAY:%Y-%m-%d}" if day and day.start > first else None,
        "day_after": f"{day.end:%Y-%m-%d}" if day and day.start < last else None,
        "days_in_month": month.report["report"]["days"],
    }


def _day(request: Request, month: MonthFigures) -> Period | None:
    text = request.query_params.get("day")
    if not text:
        return None
    try:
        start = parse_time(f"{text}T00:00:00Z")
    except ValueError:
        raise NotFoundError(f"{text[:40]!r} is not a day.", hint="Write it as 2026-10-05.") from None
    if not month.period.contains(start):
        raise NotFoundError(f"{text[:40]} is not in {month.name}.", hint="Choose its month first.")
    return Period(start=start, end=start + DAY)


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
            return edition.ask(("invoice", number), lambda store: issued_invoice(store, number))
        except MeteringError as error:
            raise NotFoundError(f"{error}.", hint="The list of invoices has a search.") from None
    return draft(month_of(request, edition), canonical(request.query_params.get("customer", "")))


def draft(month: MonthFigures, customer: str) -> Row:
    """A customer's draft. Raises NotFoundError where there is none."""
    found = next((row for row in month.documents.get(customer, []) if row["number"] is None), None)
    if found is None:
        raise NotFoundError(
            f"There is no draft for {customer[:100]!r} in {month.name}.", hint="See the list of invoices."
        )
    return found


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


def explanation(edition: Edition, number: str, line: str | None) -> Row:
    """What `explain` prints. Raises NotFoundError for what was never issued."""
    try:
        return edition.ask(("explain", number, line), lambda store: explain.explain(store, number, line))
    except MeteringError as error:
        raise NotFoundError(f"{error}.", hint=error.hint) from None


def draft_explanation(edition: Edition, month: MonthFigures, customer: str, line: str | None) -> Row:
    """What `explain --month` prints. Raises NotFoundError for a draft or a line that there is not."""
    document = draft(month, customer)

    def work(store: Store) -> Row:
        fresh = Month(store=store, terms=edition.terms, period=month.period, now=edition.now)
        return explain.of_draft(fresh, dict(document), line)

    try:
        return edition.ask(("explain", month.name, customer, line), work)
    except MeteringError as error:
        raise NotFoundError(f"{error}.", hint=error.hint) from None
