"""Gathers a month's facts for its report and its invoices: usage, cost, quotas, alerts, and the month before."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from metering import (
    alert,
    close,
    month_inventory,
    month_outlook,
    month_profile,
    quota_status,
    report,
    report_data,
    tax,
    terms,
    unbilled,
)
from metering.blockers import Waivers
from metering.config import Config
from metering.errors import MeteringError
from metering.files import write_whole
from metering.invoice_sheet import Background, own_usage
from metering.money import quantity_text
from metering.month import Month
from metering.paper import Paper, Papers, papers
from metering.period import DAY, Period, month_name, month_of, parse_time, previous_month
from metering.rated_month import RatedMonth
from metering.report_facts import Facts, Row, Table, every_day
from metering.store import Store
from metering.usage_document import usage_json

Json = dict[str, Any]
_OWNED = ("project_id", "metric", "customer", "meter")


def write(store: Store, config: Config, period: Period, now: datetime, formats: set[str]) -> list[Path]:
    """Writes the month's report and invoices under `reports/MONTH/`; returns the paths, sorted."""
    found = facts(store, config, period, now)
    month = Month(store=store, terms=terms.of(config), period=period, now=now)
    if period.contains(now):
        found = replace(found, outlook=month_outlook.outlook(month))
    directory = config.store.directory / "reports" / month_name(period)
    around = background(month, config, found.invoices)
    return report.write(report_data.build(found), found.invoices, around, directory, formats)


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


def facts(store: Store, config: Config, period: Period, now: datetime, shown: Json | None = None) -> Facts:
    """All that the report is made from; `shown` is what `close.month_invoices` gives, where it is known already."""
    month = RatedMonth(store=store, config=config, period=period, now=now).whole
    earlier = previous_month(period.start)
    before = RatedMonth(store=store, config=config, period=earlier, now=now).whole
    shown = shown or close.month_invoices(store, config, period, now)
    used = usage_json(month)
    is_running = month_of(now) == period
    return Facts(
        month=period,
        as_of=now,
        seller=papers(store, config, period).seller.model_dump(),
        invoices=shown["invoices"],
        previous_invoices=close.month_invoices(store, config, earlier, now)["invoices"],
        usage=used["usage"],
        previous_usage=usage_json(before)["usage"],
        coverage=used["coverage"],
        quotas=_quotas(store, config, now) if is_running or period == previous_month(now) else [],
        alerts=_alerts(store, period),
        unassigned=unbilled.valued(month, shown["unassigned"]),
        unpriced=unbilled.valued(month, shown["unpriced"]),
        costs=_costs(month),
        days=_days(month),
        rounding=month.terms.card.rounding,
        thresholds_percent=config.quota.thresholds_percent,
        cost_notes=month.cost.notes,
        previous_costs=_costs(before),
        inventory=month_inventory.projects(month, before),
        organizations=month_inventory.organizations(month),
        reconciliation=_reconciliation(config, period),
        base_fees={plan.id: f"{plan.base_fee:f}" for plan in month.terms.card.plans},
        is_closed=not store.query("closing_facts", month=month_name(period)).is_empty(),
        accepted=_accepted(close.given(store, period)),
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
    return [{name: row[name] for name in row if name != "exact"} for row in month.cost.rows]


def printable(store: Store, config: Config, number: str, now: datetime) -> tuple[Json, Background]:
    """An issued invoice or credit note, and what it is printed with. Raises MeteringError for an unknown number."""
    found = close.invoice(store, number)
    start, end = (parse_time(found["period"][name]) for name in ("start", "end"))
    period = Period(start=start, end=end)
    month = Month(store=store, terms=terms.of(config), period=period, now=now)
    return found, background(month, config, close.month_invoices(store, config, period, now)["invoices"])


def background(month: Month, config: Config, invoices: Sequence[Row], known: Papers | None = None) -> Background:
    """What the month's documents are printed with; `known` are the month's papers, where they were read already.

    An invoice, and the credit note that cancels it, by the terms of its closing and what was known then, so that it is
    the same whenever it is printed; a draft by the month as it is given.
    """
    found = known or papers(month.store, config, month.period)
    printed: dict[int, Background] = {}
    by_number: dict[str, Background] = {}
    for document in invoices:
        closed = found.closing(document)
        if closed is None:
            continue
        if closed.seq not in printed:
            then = replace(month, terms=closed.terms, now=closed.as_of, as_of_seq=closed.as_of_seq)
            printed[closed.seq] = _background(then, config, closed.paper)
        by_number[document["number"]] = printed[closed.seq]
    if by_number and len(by_number) == len(invoices):
        return replace(next(iter(by_number.values())), by_number=by_number)
    return replace(_background(month, config, found.today), by_number=by_number)


def _background(month: Month, config: Config, paper: Paper) -> Background:
    used = usage_json(month)
    own = own_usage(used["usage"], month.payers())
    return Background(
        seller=paper.seller.model_dump(),
        rounding=month.terms.card.rounding,
        locale=paper.locale,
        fonts=config.invoices.fonts,
        customers=_customers(paper, month.period.end - DAY),
        project_names=month.names(),
        usage=own,
        days=_customer_days(month, own, used["coverage"]["gaps"]),
    )


def _customers(paper: Paper, last_day: datetime) -> dict[str, Row]:
    """The rows of customers.csv, with why there is no tax."""
    known = (row.at(last_day) for row in paper.customers.values())
    return {
        row.id: {
            **row.model_dump(),
            "taxes": row.taxes,
            "tax_note": row.tax_note or tax.UNTAXED.get(row.tax_category or ""),
        }
        for row in known
    }


def _customer_days(month: Month, own: Mapping[str, Sequence[Row]], gaps: Sequence[Row]) -> Callable[[str], Table]:
    """What each customer used by meter and day; one frame, read when first asked for, and rows for one at a time."""
    meters = {meter.id: meter for meter in month.terms.card.meters}

    @cache
    def sums() -> dict[tuple[object, ...], pl.DataFrame]:
        return _sums_by_day(month, own)

    def of(customer: str) -> Table:
        found = sums().get((customer,))
        used = (
            (meters[meter], day, read_at, value)
            for _, meter, day, read_at, value in (found.iter_rows() if found is not None else ())
        )
        return [
            {
                "meter": meter.id,
                "unit": meter.unit,
                "days": every_day(
                    month.period,
                    month.now,
                    gaps,
                    (
                        {"day": f"{day:%Y-%m-%d}", "quantity": quantity_text(quantity)}
                        for day, quantity in known.items()
                    ),
                ),
            }
            for meter, known in month_profile.quantities(used, month.now).items()
        ]

    return of


def _sums_by_day(month: Month, own: Mapping[str, Sequence[Row]]) -> dict[tuple[object, ...], pl.DataFrame]:
    """(customer,) -> customer, meter, day, read_at, value."""
    owned = [
        (row["project_id"], row["metric"], row["customer"], row["meter"])
        for rows in own.values()
        for row in rows
        if row["meter"] is not None
    ]
    pairs = pl.DataFrame(owned, schema=dict.fromkeys(_OWNED, pl.String), orient="row").unique()
    days = month.usage.buckets(pairs.select("project_id", "metric"), every=DAY, read_at=month.dated_metrics)
    sums = (
        days.join(pairs, on=["project_id", "metric"])
        .group_by("customer", "meter", "read_at", day=pl.col("start").dt.truncate("1d"))
        .agg(pl.col("value").sum())
        .select("customer", "meter", "day", "read_at", "value")
        .sort("customer", "meter", "day")
    )
    return sums.partition_by("customer", as_dict=True)


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
    """Usage by day and meter, for the charts."""
    days = month.usage.days(month.dated_metrics).rename({"day": "slot"})
    return [
        {"day": f"{day:%Y-%m-%d}", "meter": meter.id, "quantity": quantity_text(quantity)}
        for meter, known in sorted(month_profile.metered(month, days).items(), key=lambda item: item[0].id)
        for day, quantity in known.items()
    ]
