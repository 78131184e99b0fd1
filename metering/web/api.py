"""The JSON API: the same documents as the commands print, from the same view as the pages.

Read-only. Errors are problem details (RFC 9457).
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from metering.billing.usage_document import usage as usage_of
from metering.core.errors import MeteringError, UsageError
from metering.core.ids import canonical
from metering.core.period import parse_month, rfc3339
from metering.core.roles import Right
from metering.core.rows import Row
from metering.core.text import visible
from metering.invoicing.issued import invoice as issued_invoice
from metering.rating.card import plain
from metering.web import figures, openapi, persons
from metering.web.asked import draft_explanation, explanation
from metering.web.problems import HEADINGS, RETRY_SECONDS, status_of, told_to
from metering.web.view import MonthView, NotFoundError, View
from metering.web.views import Views

Document = Mapping[str, Any]
REPORT = ("report", "coverage", "figures", "totals", "margin", "plans", "meters", "costs", "checks")
"""The parts of a month's report in the answer of `/api/overview`."""


def _month(request: Request, view: View) -> MonthView:
    """The requested month. Raises UsageError for an invalid name, NotFoundError for a month without data."""
    text = request.query_params.get("month", "current")
    parse_month(text, view.now)
    found = view.month(text)
    if found.name not in view.get(figures.months):
        raise NotFoundError(f"nothing is known of {found.name}")
    return found


def status(view: View, _: Request) -> Document:
    """What `status` prints."""
    return view.get(figures.status)


def months(view: View, _: Request) -> Document:
    """The months with data."""
    return {"months": list(view.get(figures.months))}


def overview(view: View, request: Request) -> Document:
    """The figures of a month's report."""
    report = _month(request, view).get(figures.report)
    return {name: report[name] for name in REPORT if name in report}


def usage(view: View, request: Request) -> Document:
    """What `usage` prints."""
    found, project = _month(request, view), request.query_params.get("project")
    key = ("usage document", found.name, project)
    return view.ask(key, lambda _: usage_of(found.get(figures.rated).whole, project=project).document())


def timeline(view: View, request: Request) -> Document:
    """What `usage --by` prints of one project."""
    found, project = _month(request, view), _given(request, "project")
    by = request.query_params.get("by", "day")
    if by not in {"day", "hour"}:
        raise UsageError("by is day or hour")
    key = ("usage document", found.name, project, by)
    return view.ask(key, lambda _: usage_of(found.get(figures.rated).whole, by=by, project=project).document())


def quotas(view: View, _: Request) -> Document:
    """What `quota` prints."""
    rows = sorted(view.get(figures.quotas), key=lambda row: (row["project_id"], row["quota"]))
    return {"as_of": rfc3339(view.now), "quotas": rows}


def customers(view: View, request: Request) -> Document:
    """The customers of a month."""
    found = _month(request, view)
    return {"month": found.name, "as_of": found.as_of, "customers": found.get(figures.report)["customers"]}


def projects(view: View, request: Request) -> Document:
    """Every project of a month."""
    found = _month(request, view)
    return {"month": found.name, "as_of": found.as_of, "projects": found.get(figures.projects)}


def invoices(view: View, request: Request) -> Document:
    """What `invoices` prints."""
    return _month(request, view).get(figures.invoices)


def invoice(view: View, request: Request) -> Document:
    """What `invoice` prints."""
    number = _given(request, "number")
    try:
        found: Row = view.ask(("invoice", number), lambda store: issued_invoice(store, number).printed())
    except MeteringError as error:
        raise NotFoundError(str(error), hint=error.hint) from None
    return found


def explain(view: View, request: Request) -> Document:
    """What `explain` prints; with a month, `number` is the customer's id, as for the command."""
    number, line = _given(request, "number"), request.query_params.get("line") or None
    if "month" in request.query_params:
        return draft_explanation(view, _month(request, view), canonical(number), line)
    return explanation(view, number, line)


def alerts(view: View, _: Request) -> Document:
    """What `alerts` prints."""
    rows = view.get(figures.alerts)[::-1]
    return {"alerts": [{**row, "deliveries": [_counted(one) for one in row["deliveries"]]} for row in rows]}


def _counted(delivery: Row) -> Document:
    return {**delivery, "attempts": str(delivery["attempts"])}


def plans(view: View, _: Request) -> Document:
    """The plans on offer."""
    return {"plans": view.shown([plain(plan) for plan in view.config.plans])}


def cycles(view: View, _: Request) -> Document:
    """The last runs of poll, backfill and tick."""
    return {"cycles": view.get(figures.cycles)}


def history(view: View, _: Request) -> Document:
    """What `history` prints."""
    return {"history": view.get(figures.history_sheet).rows}


def _given(request: Request, name: str) -> str:
    text = request.query_params.get(name)
    if not text:
        raise UsageError(f"{name} is missing")
    return text


def _json(document: Document, code: int = 200, media_type: str = "application/json") -> Response:
    # UTF-8 has no lone surrogates: they are written as \\udXXX, as JSON does.
    text = json.dumps(document, ensure_ascii=False)
    return Response(text.encode("utf-8", "backslashreplace"), code, media_type=media_type)


def _answering(document: Callable[[View, Request], Document]) -> Callable[[Views, Request], Response]:
    def answer(views: Views, request: Request) -> Response:
        known = {parameter["name"] for parameter in openapi.parameters(request.url.path)}
        if unknown := sorted(set(request.query_params) - known):
            raise UsageError(f"there is no parameter {visible(unknown[0])[:40]!r}")
        if any(not 0 < len(text) <= openapi.LONGEST for text in request.query_params.values()):
            raise UsageError(f"a parameter has 1 to {openapi.LONGEST} characters")
        return _json(document(views.seen_by(persons.of(request)), request))

    return answer


def description(_: Views, request: Request) -> Response:
    """The OpenAPI document, without the figures that the person may not see."""
    return _json(openapi.document(str(request.base_url), has_cost=persons.of(request).may("cost")))


def failed(request: Request, error: MeteringError) -> Response:
    """An error as problem details."""
    code, (what, hint) = status_of(error), told_to(persons.of(request), error)
    told = {"type": "about:blank", "title": HEADINGS[code], "status": code, "detail": what}
    answer = _json(told | ({"hint": hint} if hint else {}), code, "application/problem+json")
    if code == 503:
        answer.headers["retry-after"] = str(RETRY_SECONDS)
    return answer


DOCUMENTS: dict[str, Callable[[View, Request], Document]] = {
    "/status": status,
    "/months": months,
    "/overview": overview,
    "/usage": usage,
    "/timeline": timeline,
    "/quotas": quotas,
    "/customers": customers,
    "/projects": projects,
    "/invoices": invoices,
    "/invoice": invoice,
    "/explain": explain,
    "/alerts": alerts,
    "/plans": plans,
    "/cycles": cycles,
    "/history": history,
}
ANSWERS: dict[str, Callable[[Views, Request], Response]] = {
    **{path: _answering(document) for path, document in DOCUMENTS.items()},
    "/openapi.json": description,
}
"""Path below /api -> the function that answers it."""
_MONTHS = ["/overview", "/usage", "/timeline", "/customers", "/projects", "/invoices", "/invoice", "/explain"]
_NOW = ["/status", "/months", "/quotas", "/alerts", "/plans", "/cycles", "/history", "/openapi.json"]
SEEN_BY_ALL = frozenset([*_MONTHS, *_NOW])
"""Paths whose answers consist of values of the view, which pass its filter. Any other needs the right to see cost."""


def needs(path: str) -> Right:
    """The right that whoever asks for this path must have."""
    return "see" if path in SEEN_BY_ALL else "cost"
