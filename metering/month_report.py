"""Gathers a month's facts for its report: invoices, usage, cost, quotas, alerts, and the month before."""

from datetime import datetime
from pathlib import Path
from typing import Any

from metering import alert, close, quota_status, report, report_data, terms, usage
from metering.config import Config
from metering.meters import meter_for
from metering.money import quantity_text
from metering.month import Month, usage_json
from metering.period import Period, month_name, month_of, parse_time, previous_month
from metering.report_facts import Facts
from metering.store import Store

Json = dict[str, Any]


def write(store: Store, config: Config, period: Period, now: datetime, formats: set[str]) -> list[Path]:
    """Writes the month's report and invoices under `reports/MONTH/`; returns the paths, sorted."""
    found = facts(store, config, period, now)
    directory = config.store.directory / "reports" / month_name(period)
    return report.write(report_data.build(found), found.invoices, directory, formats)


def facts(store: Store, config: Config, period: Period, now: datetime) -> Facts:
    """All that the report is made from."""
    month = Month(store=store, terms=terms.of(config), period=period, now=now)
    before = Month(store=store, terms=month.terms, period=previous_month(period.start), now=now)
    shown = close.month_invoices(store, config, period, now)
    used = usage_json(month)
    is_running = month_of(now) == period
    return Facts(
        month=period,
        as_of=now,
        seller=config.seller.model_dump(),
        invoices=shown["invoices"],
        previous_invoices=close.month_invoices(store, config, before.period, now)["invoices"],
        usage=used["usage"],
        previous_usage=usage_json(before)["usage"],
        coverage=used["coverage"],
        quotas=_quotas(store, config, now) if is_running or period == previous_month(now) else [],
        alerts=_alerts(store, period),
        unassigned=shown["unassigned"],
        unpriced=shown["unpriced"],
        costs=[{key: row[key] for key in row if key != "exact"} for row in month.cost.rows],
        days=_days(month),
        rounding=config.invoices.rounding,
        thresholds_percent=config.quota.thresholds_percent,
        cost_notes=month.cost.notes,
    )


def _quotas(store: Store, config: Config, now: datetime) -> list[Json]:
    return quota_status.quota_rows(store, terms.of(config), config.quota.thresholds_percent, now)


def _alerts(store: Store, period: Period) -> list[Json]:
    names = ("alert_id", "type", "project_id", "project_name", "customer", "quota", "threshold_percent", "percent")
    rows = []
    for row in alert.log(store):
        at = row.get("recorded_at") or row.get("observed_at")
        if row.get("quota") and at and period.contains(parse_time(at)):
            rows.append({**{name: row.get(name) for name in names}, "observed_at": at, "status": row["status"]})
    return rows


def _days(month: Month) -> list[Json]:
    """Usage by day and meter, for the charts: in the meter that prices most plans, else the catalogue's first."""
    priced = {price.meter for plan in month.terms.card.plans for price in plan.prices}
    sums: dict[tuple[str, str], Any] = {}
    for day, metric, value in month.usage.days().iter_rows():
        meter = meter_for(metric, priced, month.terms.card.meters)
        if meter is not None:
            key = (f"{day:%Y-%m-%d}", meter.id)
            sums[key] = sums.get(key, 0) + usage.quantity(value, meter, month.now)
    return [
        {"day": day, "meter": meter, "quantity": quantity_text(quantity)}
        for (day, meter), quantity in sorted(sums.items())
    ]
