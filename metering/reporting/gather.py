"""Gathers a month's facts for its report and its invoices: usage, cost, quotas, alerts, and the month before."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from msgspec.structs import asdict

from metering.billing import inventory, profile
from metering.billing.month import Month
from metering.billing.usage_document import Usage, usage
from metering.config import Config
from metering.core.errors import MeteringError
from metering.core.files import write_whole
from metering.core.invoice import printed
from metering.core.money import quantity_text
from metering.core.period import Period, month_name, month_of, parse_time, previous_month
from metering.core.rows import Json, Table
from metering.invoicing import closing, outlook, unbilled
from metering.invoicing.blockers import Waivers
from metering.invoicing.closing import month_invoices
from metering.invoicing.printed.paper import papers
from metering.invoicing.printed.printing import background
from metering.invoicing.rated_month import Months, months_of
from metering.ledger.alert_log import log
from metering.quotas import status
from metering.reporting import build
from metering.reporting import write as report
from metering.reporting.facts import Facts
from metering.store.database import Store


def write(store: Store, config: Config, period: Period, now: datetime, formats: set[str]) -> list[Path]:
    """Writes the month's report and invoices under `reports/MONTH/`; returns the paths, sorted."""
    months = months_of(store, config, now)
    month, whole = months.of(period).today, months.of(period).whole
    invoices, used = month_invoices(month), usage(whole)
    found = facts(months, period, invoices.printed(), used=used)
    if period.contains(now):
        found = replace(found, outlook=outlook.outlook(month).document())
    directory = config.store.directory / "reports" / month_name(period)
    around = background(month, config, invoices.documents, used=used if whole is month else None)
    return report.write(build.build(found), found.invoices, around, directory, formats)


def keep_reconciliation(config: Config, period: Period, document: Json) -> None:
    """Puts what `reconcile` printed beside the month's report, which shows it from then on."""
    path = _reconciliation_file(config, period)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(document, ensure_ascii=False, indent=1).encode())


def _reconciliation(config: Config, period: Period) -> Json | None:
    path = _reconciliation_file(config, period)
    if not path.is_file():
        return None
    try:
        found: Json = json.loads(path.read_bytes())
    except ValueError:
        raise MeteringError(f"{path} is not JSON", hint="remove it and run `metering reconcile` again") from None
    return found


def _reconciliation_file(config: Config, period: Period) -> Path:
    return config.store.directory / "reports" / month_name(period) / "reconciliation.json"


def facts(
    months: Months, period: Period, shown: Json | None = None, *, quotas: Table | None = None, used: Usage | None = None
) -> Facts:
    """All that the report is made from; `shown` is what `invoices` prints, `quotas` what `quota` prints, if known."""
    store, config, now = months.recorded.store, months.config, months.now
    rated, earlier = months.of(period), months.of(previous_month(period.start))
    month, before = rated.whole, earlier.whole
    listed: Json = month_invoices(rated.today).printed() if shown is None else shown
    listed_before: Json = month_invoices(earlier.today).printed()
    told: Json = (used or usage(month)).document()
    return Facts(
        month=period,
        as_of=now,
        seller=papers(store, config, period).seller.model_dump(),
        invoices=listed["invoices"],
        previous_invoices=listed_before["invoices"],
        usage=told["usage"],
        previous_usage=usage(before).rows(),
        coverage=told["coverage"],
        quotas=_quotas(months, period, quotas),
        alerts=_alerts(store, period),
        unassigned=[printed(row) for row in unbilled.valued(month, listed["unassigned"])],
        unpriced=[printed(row) for row in unbilled.valued(month, listed["unpriced"])],
        costs=_costs(month),
        days=_days(month),
        rounding=month.terms.card.rounding,
        thresholds_percent=config.quota.thresholds_percent,
        cost_notes=month.cost.notes,
        previous_costs=_costs(before),
        inventory=[printed(row) for row in inventory.projects(month, before)],
        organizations=[printed(row) for row in inventory.organizations(month)],
        reconciliation=_reconciliation(config, period),
        base_fees={plan.id: f"{plan.base_fee:f}" for plan in month.terms.card.plans},
        is_closed=not store.query("invoicing/closing_facts", month=month_name(period)).is_empty(),
        accepted=_accepted(closing.given(store, period)),
        journal_seq=int(store.query("store/position").item(0, "seq")),
    )


def _accepted(waivers: Waivers) -> tuple[tuple[str, str], ...]:
    """What was accepted at the close, with the reason that a person gave."""
    given = (
        ("hours that nobody read", waivers.incomplete),
        ("usage of projects that nobody pays for", waivers.unassigned),
    )
    return tuple((what, reason) for what, reason in given if reason)


def _costs(month: Month) -> list[Json]:
    """What Neon charges; time in which a project had nobody is nobody's."""
    return [{name: value for name, value in asdict(row).items() if name != "exact"} for row in month.cost.rows]


def _quotas(months: Months, period: Period, known: Table | None) -> Table:
    """What `quota` prints, in the reports of the running month and of the one before."""
    if period not in {month_of(months.now), previous_month(months.now)}:
        return []
    if known is not None:
        return known
    rows = status.quota_rows(months.running.today, months.config.quota.thresholds_percent)
    return [row.document() for row in rows]


def _alerts(store: Store, period: Period) -> list[Json]:
    names = ("alert_id", "type", "project_id", "project_name", "customer", "quota", "threshold_percent", "percent")
    rows = []
    for row in log(store):
        at = row.recorded_at
        if row.quota and period.contains(parse_time(at)):
            rows.append({**{name: getattr(row, name) for name in names}, "observed_at": at, "status": row.status})
    return rows


def _days(month: Month) -> list[Json]:
    """Usage by day and meter, for the charts."""
    days = month.usage.days(month.terms.dated_metrics).rename({"day": "slot"})
    return [
        {"day": f"{day:%Y-%m-%d}", "meter": meter.id, "quantity": quantity_text(quantity)}
        for meter, known in sorted(profile.metered(month, days).items(), key=lambda item: item[0].id)
        for day, quantity in known.items()
    ]
