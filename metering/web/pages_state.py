"""The pages about now: quotas, plans, alerts with what was sent, operations; and the one form that does something.

A page takes what it shows from the edition and hands it to a template; it computes nothing.
"""

from urllib.parse import urlencode

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from metering.analysis import backtest, plan_file
from metering.billing.terms import months
from metering.core import meters
from metering.core.errors import JournalDamagedError, MeteringError, StoreBusyError, UsageError
from metering.core.period import parse_month
from metering.core.rows import Row
from metering.store import journal
from metering.store.journal import JOURNAL
from metering.web import tables
from metering.web.desk import Desk
from metering.web.edition import Edition, NotFoundError
from metering.web.listing import Sheet

LONGEST_PAGE = 200_000
"""So many characters of a raw page are shown; the file has all."""
LONGEST_PLANS = 20_000


def quotas(desk: Desk, request: Request) -> Response:
    """Every quota with a limit, what will be suspended first at the top."""
    edition = desk.editions.current()
    return desk.listed(request, edition, edition.quota_sheet)


# -- alerts


def alerts(desk: Desk, request: Request) -> Response:
    """Every alert, the latest first."""
    edition = desk.editions.current()
    return desk.listed(request, edition, edition.alert_sheet)


def alert(desk: Desk, request: Request) -> Response:
    """One alert: what it said, where it was sent, and the button that sends it again."""
    edition, alert_id = desk.editions.current(), request.query_params.get("id", "")
    found = next((row for row in edition.alert_sheet.rows if row["alert_id"] == alert_id), None)
    if found is None:
        raise NotFoundError(f"There is no alert {alert_id[:100]!r}.", hint="The list of alerts has a search.")
    attempts = [row for row in edition.attempts if row["alert_id"] == alert_id]
    listing = desk.list_of(request, Sheet(table=tables.ATTEMPTS, rows=attempts))
    if form := request.query_params.get("format"):
        return desk.file(listing, form, edition)
    return desk.page(
        request,
        "alert",
        edition,
        title="Alert",
        alert=found,
        listing=listing,
        can_resend=desk.resend is not None,
        form_token=desk.access.form_token(f"resend {alert_id}"),
        said=request.query_params.get("said"),
    )


async def resend(desk: Desk, request: Request) -> Response:
    """Sends an alert again: the only thing that the dashboard changes. Its form must be one of ours."""
    async with request.form(max_fields=4, max_files=0) as form:
        alert_id, token = str(form.get("id", "")), str(form.get("token", ""))
    return await run_in_threadpool(_resend, desk, request, alert_id, token)


def _resend(desk: Desk, request: Request, alert_id: str, token: str) -> Response:
    if desk.resend is None or not desk.access.is_form(f"resend {alert_id}", token):
        error = UsageError("This form is no longer good.", hint="Open the alert again and press the button there.")
        return desk.failed(request, error)
    try:
        urls = desk.resend(alert_id)
    except StoreBusyError as error:
        return desk.failed(request, error)
    desk.editions.renew()
    said = f"Due again at {', '.join(urls)}"
    return RedirectResponse(f"/alert?{urlencode({'id': alert_id, 'said': said})}", 303)


# -- plans


def plans(desk: Desk, request: Request) -> Response:
    """The plans on offer, and a backtest of others: `plans` in the address holds them as TOML."""
    edition = desk.editions.current()
    tried, text = None, request.query_params.get("plans", "")
    error: MeteringError | None = None
    if text.strip():
        try:
            tried = tested(edition, text, request.query_params.get("from"), request.query_params.get("to"))
        except MeteringError as found:
            error = found
    listing = desk.list_of(request, Sheet(table=tables.BACKTEST, rows=tried["customers"] if tried else []))
    if tried and (form := request.query_params.get("format")):
        return desk.file(listing, form, edition)
    return desk.page(
        request,
        "plans",
        edition,
        code=400 if error else 200,
        title="Plans",
        plans=edition.config.plans,
        text=text or _taken(edition, request.query_params.get("take")),
        tried=tried,
        listing=listing,
        error=error,
        first=request.query_params.get("from") or "previous",
        last=request.query_params.get("to") or "previous",
    )


def _taken(edition: Edition, plan_id: str | None) -> str:
    """The plan as text, to be changed; empty where there is none of that id."""
    return next((plan_file.written(plan) for plan in edition.config.plans if plan.id == plan_id), "")


def tested(edition: Edition, text: str, first: str | None, last: str | None) -> Row:
    """What `backtest` prints for plans given as TOML. Raises ConfigError with their faults, UsageError."""
    if len(text) > LONGEST_PLANS:
        raise UsageError(f"the plans are longer than {LONGEST_PLANS} characters", hint="use `metering backtest`")
    since, until = (parse_month(month or "previous", edition.now) for month in (first, last))
    found = plan_file.parse(text, edition.config.plans, meters.catalogue(edition.config.meters))
    periods = months(edition.store, since, until, edition.now)
    key = ("backtest", text, since.start, until.start)
    return edition.ask(key, lambda store: backtest.backtest(store, edition.config, found, periods, edition.now))


# -- operations


def operations(desk: Desk, request: Request) -> Response:
    """Cycles, requests, budgets, outbox, alarms, sizes."""
    edition = desk.editions.current()
    found = desk.list_of(request, Sheet(table=tables.CYCLES, rows=edition.cycles))
    if form := request.query_params.get("format"):
        return desk.file(found, form, edition)
    return desk.page(
        request, "operations", edition, title="Operations", listing=found, status=edition.status, budget=edition.budget
    )


# -- the raw page


def raw_page(desk: Desk, request: Request) -> Response:
    """A page as Neon sent it: its record in the journal, which no snapshot holds."""
    edition, text = desk.editions.current(), request.query_params.get("seq", "")
    seq = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    record = next(journal.read(edition.config.store.directory / JOURNAL, after=seq - 1), None) if seq else None
    if record is None or record.seq != seq:
        raise NotFoundError(f"The journal has no record {text[:40]!r}.", hint="An explained line links to its pages.")
    try:
        body, is_dropped = record.body, False
    except JournalDamagedError:
        body, is_dropped = b"", True
    if request.query_params.get("format") == "raw":
        headers = {"content-disposition": f'attachment; filename="page-{seq}.json"'}
        return Response(body, media_type="application/octet-stream", headers=headers)
    shown = _readable(body)
    return desk.page(
        request,
        "page",
        edition,
        title=f"Record {seq}",
        record=record,
        body=shown[:LONGEST_PAGE],
        is_cut=len(shown) > LONGEST_PAGE,
        is_dropped=is_dropped,
        bytes=str(len(body)),
    )


def _readable(body: bytes) -> str:
    """JSON indented, its numbers as they were sent; anything else as it came."""
    try:
        return msgspec.json.format(body, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode("utf-8", "replace")


def as_of(desk: Desk, request: Request) -> Response:
    """How fresh the data is, as a piece of every page."""
    return desk.page(request, "as_of", desk.editions.current())
