"""Translates the parameters of an address into questions to a view: month, customer, usage, draft, explanation.

Knows the names of parameters. Must not know templates.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from starlette.requests import Request

from metering.billing import profile as month_profile
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.core.errors import MeteringError, UsageError
from metering.core.period import DAY, Period, floor_day, parse_time
from metering.core.rows import Row, Table
from metering.explain import explain
from metering.store.database import Store
from metering.web import figures
from metering.web.view import MonthView, NotFoundError, View


def month_of(request: Request, view: View) -> MonthView:
    """The month in the address, by default the running one. Raises NotFoundError for a month without data."""
    text = request.query_params.get("month") or "current"
    try:
        found = view.month(text)
    except UsageError as error:
        raise NotFoundError(f"{error}.", hint="Choose a month from the list.") from None
    if found.name not in view.get(figures.months):
        raise NotFoundError(f"Nothing is known of {found.name}.", hint="Choose a month from the list.")
    return found


def customer_name(view: View, documents: Sequence[Row], customer: str) -> str:
    """The customer's name: of the month's invoice, else of the configuration, else the id."""
    return documents[0]["customer"]["name"] if documents else view.get(figures.customer_names).get(customer, customer)


def usage(request: Request, view: View, month: MonthView, projects: list[str]) -> dict[str, Any]:
    """`profile`: usage by day, or by the hours of the `day` in the address; and the days that the page links to."""
    gaps = month.get(figures.report)["coverage"]["gaps"]
    day = _day(request, month)
    key = ("usage", month.name, tuple(projects), day)

    def work(_: object) -> Table:
        if day is None:
            found = month_profile.by_day(month.get(figures.rated).whole, projects, gaps)
        else:
            found = month_profile.by_hour(month.get(figures.rated).whole, projects, day, gaps)
        table: Table = msgspec.to_builtins(found)
        return table

    first, last = month.period.start, floor_day(min(month.period.end, view.now) - timedelta(microseconds=1))
    profile = view.ask(key, work)
    return {
        "profile": [{**row, "days": [{**slot, "day": slot["start"][:10]} for slot in row["slots"]]} for row in profile],
        "first_day": f"{first:%Y-%m-%d}",
        "last_day": f"{last:%Y-%m-%d}",
        "day": day and f"{day.start:%Y-%m-%d}",
        "day_before": f"{day.start - DAY:%Y-%m-%d}" if day and day.start > first else None,
        "day_after": f"{day.end:%Y-%m-%d}" if day and day.start < last else None,
        "days_in_month": month.get(figures.report)["report"]["days"],
    }


def _day(request: Request, month: MonthView) -> Period | None:
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


def explanation(view: View, number: str, line: str | None) -> Row:
    """What `explain` prints. Raises NotFoundError for an unknown number or line."""
    try:
        return view.ask(("explain", number, line), lambda store: explain.explain(store, number, line))
    except MeteringError as error:
        raise NotFoundError(f"{error}.", hint=error.hint) from None


def draft_explanation(view: View, month: MonthView, customer: str, line: str | None) -> Row:
    """What `explain --month` prints. Raises NotFoundError for an unknown draft or line."""
    document = draft(month.whole, customer)

    def work(store: Store) -> Row:
        fresh = Month(recorded=Recorded(store=store), terms=view.terms, period=month.period, now=view.now)
        return explain.of_draft(fresh, dict(document), line)

    try:
        return view.ask(("explain", month.name, customer, line), work)
    except MeteringError as error:
        raise NotFoundError(f"{error}.", hint=error.hint) from None


def draft(month: MonthView, customer: str) -> Row:
    """A customer's draft. Raises NotFoundError where there is none."""
    found = next((row for row in month.get(figures.documents).get(customer, []) if row["number"] is None), None)
    if found is None:
        raise NotFoundError(
            f"There is no draft for {customer[:100]!r} in {month.name}.", hint="See the list of invoices."
        )
    return found
