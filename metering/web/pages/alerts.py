"""The list of alerts, one alert, and the only form that changes something: it sends an alert again."""

from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from metering.core.errors import StoreBusyError, UsageError
from metering.web import figures, persons, tables
from metering.web.desk import Desk, Page
from metering.web.listing import Sheet
from metering.web.view import NotFoundError


def alerts(desk: Desk, request: Request) -> Response:
    """Every alert, the latest first."""
    view = desk.view(request)
    return desk.listed(request, view, view.get(figures.alert_sheet))


def alert(desk: Desk, request: Request) -> Response:
    """One alert: what it said, where it was sent, and the button that sends it again."""
    view, alert_id = desk.view(request), request.query_params.get("id", "")
    found = next((row for row in view.get(figures.alert_sheet).rows if row["alert_id"] == alert_id), None)
    if found is None:
        raise NotFoundError(f"There is no alert {alert_id[:100]!r}.", hint="The list of alerts has a search.")
    attempts = [row for row in view.get(figures.attempts) if row["alert_id"] == alert_id]
    return desk.listed(
        request,
        view,
        Sheet(table=tables.ATTEMPTS, rows=attempts),
        template="alert",
        title="Alert",
        alert=found,
        can_resend=desk.resend is not None and persons.of(request).may("resend"),
        form_token=desk.access.form_token(f"resend {alert_id}"),
        said=request.query_params.get("said"),
    )


async def resend(desk: Desk, request: Request) -> Response:
    """Sends an alert again: the only thing that the dashboard changes. Its form must be one of ours."""
    async with request.form(max_fields=4, max_files=0) as form:
        alert_id, token = str(form.get("id", "")), str(form.get("token", ""))
    return await run_in_threadpool(_resend, desk, request, alert_id, token)


def _bears_token(request: Request) -> bool:
    """Whether the guard found the token in a header that no page of another site can set."""
    return bool(getattr(request.state, "bears_token", False))


def _resend(desk: Desk, request: Request, alert_id: str, token: str) -> Response:
    if desk.resend is None or not (_bears_token(request) or desk.access.is_form(f"resend {alert_id}", token)):
        error = UsageError("This form is no longer good.", hint="Open the alert again and press the button there.")
        return desk.failed(request, error)
    try:
        peer = request.client.host if request.client else ""
        urls = desk.resend(alert_id, persons.of(request).name, peer)
    except StoreBusyError as error:
        return desk.failed(request, error)
    desk.views.renew()
    said = f"Due again at {', '.join(urls)}"
    return RedirectResponse(f"/alert?{urlencode({'id': alert_id, 'said': said})}", 303)


PAGES = (
    Page(path="/alerts", answer=alerts, needs="see", menu=(7, "Alerts")),
    Page(path="/alert", answer=alert, needs="see"),
    Page(path="/alerts/resend", answer=resend, needs="resend", method="POST"),
)
