"""The figures that pages show: functions of a view or of one of its months, which computes each of them once.

A page writes `view.get(figures.status)`. Knows which command's verb computes what; must not know pages or requests.
"""

from collections.abc import Sequence
from typing import Any

from metering.billing import terms
from metering.billing.recorded import Recorded
from metering.core.ids import canonical
from metering.core.invoice import printed
from metering.core.period import month_name, month_of
from metering.core.rows import Row, Table, grouped
from metering.invoicing.closing import month_invoices
from metering.invoicing.rated_month import Months, RatedMonth
from metering.ledger import alert_log, history
from metering.operations import status as state
from metering.quotas import status as quota_status
from metering.reporting import build, gather
from metering.reporting import projects as project_list
from metering.reporting.facts import Facts
from metering.web import rows, tables
from metering.web.listing import Sheet
from metering.web.view import MonthView, View

Index = dict[str, list[Row]]


def status(view: View) -> Row:
    """What `status` prints."""
    return state.status(view.store, view.config, view.now)


def data_as_of(view: View) -> str | None:
    """When the last polling run that read anything ended; None before the first."""
    last = view.get(status)["last_cycle"]
    return str(last["ended_at"]) if last else None


def months(view: View) -> Sequence[str]:
    """The months with data, the latest first."""
    return [month_name(period) for period in terms.months(view.store, None, month_of(view.now), view.now)][::-1]


def customer_names(view: View) -> dict[str, str]:
    """Customer -> name, for the customers in the configuration."""
    return {row.id: row.name for row in view.config.customer_rows}


def knows_customer(view: View, customer: str) -> bool:
    """Whether this customer is configured, or had a project in the running month or the one before."""
    months_rated = (view.month(name).get(rated) for name in ("current", "previous"))
    return customer in view.get(customer_names) or any(
        customer in month.whole.segments["customer"] for month in months_rated
    )


# -- quotas


def quotas(view: View) -> Table:
    """What `quota` prints; the project that will be suspended first comes first."""
    running = view.month("current").get(rated).today
    rows = quota_status.quota_rows(running, view.config.quota.thresholds_percent)
    return [row.document() for row in sorted(rows, key=quota_status.urgency)]


def quota_sheet(view: View) -> Sheet:
    """The list of quotas."""
    names = rows.names(view.month("current").get(report))
    return Sheet(table=tables.QUOTAS, rows=rows.named(rows.quotas(view.get(quotas)), names))


def quotas_by_customer(view: View) -> Index:
    """Customer -> the quotas of their projects."""
    return grouped(view.get(quota_sheet).rows, lambda row: row["customer"] or "")


def quotas_by_project(view: View) -> Index:
    """Project -> its quotas."""
    return grouped(view.get(quota_sheet).rows, lambda row: row["project_id"] or "")


# -- alerts


def alerts(view: View) -> Table:
    """What `alerts` prints, the latest first."""
    return [printed(row) for row in reversed(alert_log.log(view.store))]


def alert_sheet(view: View) -> Sheet:
    """The list of alerts."""
    return Sheet(table=tables.ALERTS, rows=rows.alerts(view.get(alerts)))


def alerts_by_customer(view: View) -> Index:
    """Customer -> the alerts about their projects and invoices."""
    return grouped(view.get(alert_sheet).rows, lambda row: row["customer"] or "")


def alerts_by_project(view: View) -> Index:
    """Project -> its alerts."""
    return grouped(view.get(alert_sheet).rows, lambda row: row["project_id"] or "")


def attempts(view: View) -> Table:
    """Every delivery attempt."""
    return alert_log.attempts(view.store)


# -- operations


def cycles(view: View) -> Table:
    """The last runs of poll, backfill and tick, the latest first."""
    return state.cycles(view.store)


def history_sheet(view: View) -> Sheet:
    """What `history` prints."""
    return Sheet(table=tables.HISTORY, rows=history.history(view.store))


def budget(view: View) -> Table:
    """How much of the history requests' budget each account used."""
    return state.budget(view.store, view.config, view.now)


# -- a month


def recorded(view: View) -> Recorded:
    """What the snapshot says: nothing changes it."""
    return Recorded(store=view.store)


def rated(month: MonthView) -> RatedMonth:
    """The month as the store holds it."""
    view = month.view
    return RatedMonth(recorded=view.get(recorded), config=view.config, period=month.period, now=view.now)


def facts(month: MonthView) -> Facts:
    """The facts from which the month's report is built."""
    view = month.view
    made = {one.period: one.get(rated) for one in (month, view.month("current"))}
    months = Months(recorded=view.get(recorded), config=view.config, now=view.now, made=made)
    return gather.facts(months, month.period, dict(month.get(invoices)), quotas=view.get(quotas))


def report(month: MonthView) -> dict[str, Any]:
    """The report of the month."""
    return build.build(month.get(facts))


# -- a month: customers and projects


def customer_sheet(month: MonthView) -> Sheet:
    """The list of customers."""
    return Sheet(table=tables.CUSTOMERS, rows=month.get(report)["customers"])


def projects(month: MonthView) -> Table:
    """Every project that existed in the month or is listed now."""
    return project_list.rows(month.view.store, month.get(report), month.view.get(quotas))


def project_sheet(month: MonthView) -> Sheet:
    """The list of projects."""
    return Sheet(table=tables.PROJECTS, rows=rows.named(month.get(projects), rows.names(month.get(report))))


def projects_by_customer(month: MonthView) -> Index:
    """Customer -> their projects."""
    return grouped(month.get(project_sheet).rows, lambda row: row["customer"] or "")


def projects_by_id(month: MonthView) -> Index:
    """Project -> its rows: several after a change of customer or organization."""
    return grouped(month.get(project_sheet).rows, lambda row: row["project_id"] or "")


def own_projects(month: MonthView) -> dict[str, list[str]]:
    """Customer -> the projects that only this customer paid for in the month; shared ones are shown to no customer."""
    segments = month.get(rated).whole.segments.select("customer", "project_id").unique()
    alone = segments.filter(~segments["project_id"].is_duplicated()).sort("project_id")
    owned: dict[str, list[str]] = {}
    for customer, project in alone.iter_rows():
        owned.setdefault(customer, []).append(project)
    return owned


# -- a month: invoices


def invoices(month: MonthView) -> Row:
    """What `invoices` prints."""
    return month_invoices(month.get(rated).today).printed()


def invoice_sheet(month: MonthView) -> Sheet:
    """The list of invoices."""
    return Sheet(table=tables.INVOICES, rows=rows.invoices(month.get(facts).invoices))


def documents(month: MonthView) -> Index:
    """Customer -> their invoices and credit notes, as full documents."""
    return grouped(month.get(facts).invoices, lambda row: canonical(str(row["customer"]["id"])))


def prepare(view: View, months_asked: Sequence[str] = ()) -> None:
    """Computes the figures of most pages in advance: of the view, of the running month and of the given months."""
    prepared = [view.month(name) for name in {month_name(month_of(view.now)), *months_asked}]
    for figure in (status, alerts_by_customer, alerts_by_project):
        view.get(figure)
    for month in prepared:
        for of_month in (projects_by_customer, projects_by_id, documents, own_projects):
            month.get(of_month)
        for sheet in (customer_sheet, project_sheet, invoice_sheet):
            month.get(sheet).prepare()
    for figure in (quotas_by_customer, quotas_by_project):
        view.get(figure)
    for list_of in (alert_sheet, quota_sheet):
        view.get(list_of).prepare()
