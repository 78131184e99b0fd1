"""Review items ("alarms") that a person must decide: recorded once, shown by `status`, cleared by `acknowledge`.

Open items of kind `unit` (storage in another unit) and `double` (usage reported by two organizations, or by both
history endpoints under a plan that prices both) prevent every close. An item of kind `metric` (a metric without a
meter) puts the customers who used it on hold. Must not close or price.
"""

from collections.abc import Iterable
from datetime import datetime

import polars as pl

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.config import Config
from metering.core import meters
from metering.core.errors import MeteringError, UsageError
from metering.core.invoice import Printed
from metering.core.meters import PREFIX, Meter
from metering.core.period import month_name, month_of, parse_month, previous_month, rfc3339
from metering.core.plans import Plan
from metering.core.rows import Json
from metering.ledger.alarms import listed, raise_once
from metering.ledger.ledger import Ledger
from metering.ledger.projections.not_counted import NOT_COUNTED
from metering.store.database import Store
from metering.usage import attribution, quantities

BOTH = "both"
"""Value of `count`: usage that two organizations report is counted for both."""


def look(ledger: Ledger, config: Config, now: datetime) -> list[str]:
    """Records review items: metrics without a meter, buckets that count twice. Returns the new ones' sentences."""
    ledger.flush()
    found = [*_new_metrics(ledger, config), *_doubled(ledger, now), *_told_twice(ledger, config, now)]
    for alarm in listed(ledger.store):
        _take_off(ledger, alarm)
    return [sentence for sentence in found if sentence is not None]


def _new_metrics(ledger: Ledger, config: Config) -> list[str | None]:
    known = {metric for meter in meters.catalogue(config.meters) for metric in meter.metrics}
    rows = ledger.store.query("invoicing/other_metrics").iter_rows(named=True)
    return [
        raise_once(
            ledger,
            "metric",
            (row["metric"],),
            row["organization"],
            metric=row["metric"],
            summary=f"Neon reports {row['metric']}, which no meter knows: landed, not priced, it parks its users",
        )
        for row in rows
        if row["metric"] not in known
    ]


def _doubled(ledger: Ledger, now: datetime) -> list[str | None]:
    since = previous_month(now).start
    out = []
    for row in ledger.store.query("invoicing/doubled_buckets", since=since).iter_rows(named=True):
        month = month_name(month_of(row["first_start"]))
        both = f"{row['organization']} and {row['other']}"
        summary = (
            f"project {row['project_id']} is reported with the same usage by {both}, "
            f"in {row['buckets']} buckets of {month} from {rfc3339(row['first_start'])}: it would be billed twice"
        )
        identity = (row["project_id"], row["organization"], row["other"], month)
        facts = {"project_id": row["project_id"], "other": row["other"], "month": month, "summary": summary}
        out.append(raise_once(ledger, "double", identity, row["organization"], **facts))
    return out


def _told_twice(ledger: Ledger, config: Config, now: datetime) -> list[str | None]:
    """Buckets that have both current and legacy metrics of one organization, under a plan that prices both."""
    found = terms.of(config)
    if not any(_prices_both(plan, found.card.meters) for plan in found.card.plans):
        return []
    out = []
    for period in (previous_month(now), month_of(now)):
        month, name = (
            Month(recorded=Recorded(store=ledger.store), terms=found, period=period, now=now),
            month_name(period),
        )
        for organization, first, buckets, projects in _billed_twice(month).iter_rows():
            summary = (
                f"both endpoints of history tell the usage of {organization} in {name}, in {buckets} buckets of "
                f"{projects} projects from {rfc3339(first)}, and plans price both: it would be billed twice"
            )
            identity = (organization, "endpoints", name)
            out.append(raise_once(ledger, "double", identity, organization, month=name, summary=summary))
    return out


def _prices_both(plan: Plan, catalogue: Iterable[Meter]) -> bool:
    priced = {price.meter for price in plan.prices}
    metrics = {metric for meter in catalogue if meter.id in priced for metric in meter.metrics}
    return len({metric.startswith(PREFIX) for metric in metrics}) > 1


def _billed_twice(month: Month) -> pl.DataFrame:
    """organization, first (start of the first bucket), buckets, projects, of buckets priced by both kinds."""
    is_both = pl.col("metric").str.starts_with(PREFIX).n_unique() > 1
    used = month.usage.sums.select("organization", "project_id", "metric").unique()
    told = used.group_by("organization", "project_id").agg(is_both=is_both).filter("is_both")
    buckets = month.usage.buckets(used.join(told, on=["organization", "project_id"], how="semi"))
    metered = buckets.join(quantities.metrics_of(month.terms.card.meters), on="metric")
    placed = attribution.assigned(metered, month.pieces, ["project_id", "meter"], "piece_no")
    return (
        placed.filter(pl.col("piece_no").is_not_null())
        .group_by("organization", "project_id", "grain", "start")
        .agg(is_both=is_both)
        .filter("is_both")
        .group_by("organization")
        .agg(first=pl.col("start").min(), buckets=pl.len(), projects=pl.col("project_id").n_unique())
        .sort("organization")
    )


def _take_off(ledger: Ledger, alarm: Json) -> None:
    """Subtracts doubly reported usage from the organization that does not count, once a person has decided which.

    Called again, it subtracts what changed since the last call and buckets that are reported twice since then.
    """
    if alarm["counted"] in {None, BOTH}:
        return
    month = parse_month(alarm["month"], ledger.clock())
    side = alarm["other"] if alarm["counted"] == alarm["organization"] else alarm["organization"]
    ledger.flush()
    rows = ledger.store.query(
        "invoicing/doubled_on_one_side",
        project_id=alarm["project_id"],
        organization=side,
        other=alarm["counted"],
        since=month.start,
        before=month.end,
        prefix=NOT_COUNTED,
    ).to_dicts()
    if not rows:
        return
    data = {"alarm_id": alarm["alarm_id"], "organization": side, "project_id": alarm["project_id"]}
    values = [
        {
            **{name: _plain(value) for name, value in row.items() if name not in {"value", "page_seq"}},
            "value": str(-int(row["value"])),
        }
        for row in rows
    ]
    ledger.record("not_counted", {**data, "page_seq": max(row["page_seq"] for row in rows), "values": values})


def _plain(value: object) -> object:
    return rfc3339(value) if isinstance(value, datetime) else value


def acknowledged_metrics(store: Store) -> set[str]:
    """Metrics without a meter that a person has decided to leave unpriced."""
    return {row["metric"] for row in listed(store) if row["kind"] == "metric" and row["acknowledged_at"]}


def acknowledge(ledger: Ledger, alarm_id: str, reason: str, count: str | None = None) -> Printed:
    """Clears a review item and returns its row; one that is cleared already keeps its first reason.

    `count` is required for usage that two organizations report: the organization whose usage counts, or BOTH. Raises
    MeteringError for an unknown id, UsageError for a `count` that is missing or does not apply.
    """
    found = {row["alarm_id"]: row for row in listed(ledger.store)}
    if alarm_id not in found:
        waiting = ", ".join(row["alarm_id"] for row in found.values() if not row["acknowledged_at"])
        raise MeteringError(
            f"there is no alarm {alarm_id}", hint=f"open: {waiting or 'none'}; `metering status` shows them"
        )
    if not found[alarm_id]["acknowledged_at"]:
        _refuse_count(found[alarm_id], count)
        ledger.record("acknowledge", {"alarm_id": alarm_id, "reason": reason, **({"count": count} if count else {})})
    alarm = next(row for row in listed(ledger.store) if row["alarm_id"] == alarm_id)
    _take_off(ledger, alarm)
    return alarm


def _refuse_count(alarm: Json, count: str | None) -> None:
    """Raises UsageError if `count` is missing, names neither organization, or does not apply."""
    if alarm["other"] is None:
        if count is not None:
            raise UsageError(f"{alarm['alarm_id']} has no two sides", hint="leave out --count")
        return
    sides = [alarm["organization"], alarm["other"], BOTH]
    if count not in sides:
        said = f"--count {count} is neither of them" if count else "it is not said whose usage counts"
        hint = " or ".join(f"--count {side}" for side in sides)
        raise UsageError(f"{alarm['alarm_id']}: {alarm['summary']}: {said}", hint=hint)
