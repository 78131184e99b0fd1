"""The configured plans, and a backtest of changed ones."""

from starlette.requests import Request
from starlette.responses import Response

from metering.analysis import backtest, plan_file
from metering.billing.terms import months
from metering.core import meters
from metering.core.errors import MeteringError, UsageError
from metering.core.period import parse_month
from metering.core.rows import Row
from metering.rating import models
from metering.web import persons, tables
from metering.web.desk import Desk, Page
from metering.web.listing import Sheet
from metering.web.problems import refuse_without
from metering.web.view import View

LONGEST_PLANS = 20_000


def plans(desk: Desk, request: Request) -> Response:
    """The plans, and the backtest of those in the parameter `plans`, which holds TOML."""
    view = desk.view(request)
    tried, text = None, request.query_params.get("plans", "")
    error: MeteringError | None = None
    if text.strip():
        refuse_without(persons.of(request), "cost")  # a price that follows Neon's cost would tell it
        try:
            tried = tested(view, text, request.query_params.get("from"), request.query_params.get("to"))
        except MeteringError as found:
            error = found
    listing = desk.list_of(request, Sheet(table=tables.BACKTEST, rows=tried["customers"] if tried else []))
    if tried and (form := request.query_params.get("format")):
        return desk.file(listing, form, view)
    return desk.page(
        request,
        "plans",
        view,
        code=400 if error else 200,
        title="Plans",
        plans=view.config.plans,
        offer=lambda price: view.shown(models.offer(price)),
        shown=view.shown,
        text=text or _taken(view, request.query_params.get("take")),
        tried=tried,
        listing=listing,
        error=error,
        first=request.query_params.get("from") or "previous",
        last=request.query_params.get("to") or "previous",
    )


def _taken(view: View, plan_id: str | None) -> str:
    """The plan as TOML for the form; empty for an unknown id."""
    return next((plan_file.written(plan) for plan in view.config.plans if plan.id == plan_id), "")


def tested(view: View, text: str, first: str | None, last: str | None) -> Row:
    """What `backtest` prints for plans given as TOML. Raises ConfigError for faulty plans, UsageError for a month."""
    if len(text) > LONGEST_PLANS:
        raise UsageError(f"the plans are longer than {LONGEST_PLANS} characters", hint="use `metering backtest`")
    since, until = (parse_month(month or "previous", view.now) for month in (first, last))
    found = plan_file.parse(text, view.config.plans, meters.catalogue(view.config.meters))
    periods = months(view.store, since, until, view.now)
    key = ("backtest", text, since.start, until.start)
    return view.ask(key, lambda store: backtest.backtest(store, view.config, found, periods, view.now))


PAGES = (Page(path="/plans", answer=plans, needs="see", menu=(6, "Plans")),)
