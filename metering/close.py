"""Closing a month: rate, number and freeze its invoices in one journal record; running it again changes nothing.

A closing that would have to guess is refused (IncompleteError): the month is not over, its usage may still settle, or
hours are missing. A customer whose invoice would be wrong is parked with the reason, while the others close.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from metering import terms as terms_of_month
from metering.config import Config
from metering.errors import IncompleteError, MeteringError
from metering.ledger import Ledger
from metering.month import Month
from metering.period import HOUR, Period, month_name, parse_time, rfc3339
from metering.store import Store

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What a closing did, or would do. `invoices` are all of the month; `issued` the numbers that are new."""

    month: Period
    invoices: list[Json]
    issued: list[str]
    parked: dict[str, str]
    unassigned: list[Json]
    unpriced: list[Json]
    notes: list[str] = field(default_factory=list)


def close(
    ledger: Ledger,
    config: Config,
    period: Period,
    now: datetime,
    *,
    allow_incomplete: str | None = None,
    dry_run: bool = False,
) -> Closing:
    """Closes the month for every customer that it is not yet closed for."""
    store = ledger.store
    seq = ledger.journal.seq
    month = Month(store=store, terms=terms_of_month.of(config), period=period, now=now, as_of_seq=seq)
    pending = _pending(store, month)
    if pending is not None and not pending:
        return _closing_of(month, [], {})
    if not dry_run:
        _refuse_early(month, config, now)
        _refuse_gaps(month, allow_incomplete)
    drafts = [draft for draft in month.drafts() if pending is None or draft["customer"]["id"] in pending]
    parked = _to_park(month, drafts)
    drafts = [draft for draft in drafts if draft["customer"]["id"] not in parked]
    if dry_run:
        closing = _closing_of(month, [], parked)
        return Closing(**{**_fields(closing), "invoices": sorted([*closing.invoices, *drafts], key=_customer)})
    series, positions = _numbers(store, config, drafts, now)
    body = {
        "terms": terms_of_month.document(month.terms),
        "facts": {"coverage": month.coverage_json(), "unassigned": month.unassigned, "unpriced": month.unpriced},
        "invoices": drafts,
    }
    ledger.record(
        "close",
        {
            "month": month_name(period),
            "as_of": rfc3339(now),
            "as_of_seq": seq,
            "terms_sha256": month.terms_sha256,
            "allow_incomplete": allow_incomplete,
            "settled": [draft["customer"]["id"] for draft in drafts],
            "parked": parked,
            "series": series,
            "positions": positions,
        },
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
    )
    return _closing_of(month, [draft["number"] for draft in drafts], parked)


def month_invoices(store: Store, config: Config, period: Period, now: datetime) -> Json:
    """What `invoices MONTH` prints: the final ones of a closed month, drafts of one that is not."""
    month = Month(store=store, terms=terms_of_month.of(config), period=period, now=now)
    waiting = _pending(store, month)
    if waiting is None:
        shown = {"invoices": month.drafts(), "unassigned": month.unassigned, "unpriced": month.unpriced}
    else:
        closing = _closing_of(month, [], {})
        drafts = [draft for draft in month.drafts() if draft["customer"]["id"] in waiting] if waiting else []
        shown = {
            "invoices": sorted([*closing.invoices, *drafts], key=_customer),
            "unassigned": closing.unassigned,
            "unpriced": closing.unpriced,
        }
    return {"period": {"start": rfc3339(period.start), "end": rfc3339(period.end)}, **shown}


def invoice(store: Store, number: str) -> Json:
    """One issued invoice, or credit note, by its number."""
    found = store.query("invoice_by_number", number=number)
    if found.is_empty():
        raise MeteringError(f"no invoice has the number {number!r}", hint="`metering invoices MONTH` lists them")
    return _shown(found.row(0, named=True))


def _shown(row: Json) -> Json:
    document: Json = json.loads(row["document"])
    return {**document, "status": row["status"]}


def _customer(document: Json) -> tuple[str, str]:
    return document["customer"]["id"], document["number"] or ""


def _fields(closing: Closing) -> Json:
    return {name: getattr(closing, name) for name in Closing.__dataclass_fields__}


def _closing_of(month: Month, issued: list[str], parked: dict[str, str]) -> Closing:
    """The month as the store has it closed."""
    name = month_name(month.period)
    rows = month.store.query("month_invoices", month=name)
    facts = month.store.query("closing_facts", month=name)
    known: Json = json.loads(facts["document"][-1]) if facts.height else {"unassigned": [], "unpriced": []}
    return Closing(
        month=month.period,
        invoices=sorted((_shown(row) for row in rows.iter_rows(named=True)), key=_customer),
        issued=issued,
        parked={**dict(month.store.query("parked", month=name).iter_rows()), **parked},
        unassigned=known["unassigned"],
        unpriced=known["unpriced"],
    )


def _pending(store: Store, month: Month) -> set[str] | None:
    """Customers that the month is not closed for: None (all) before the first closing, else the parked and voided."""
    name = month_name(month.period)
    if store.query("closing_facts", month=name).is_empty():
        return None
    return set(store.query("pending_customers", month=name)["customer"])


def _refuse_early(month: Month, config: Config, now: datetime) -> None:
    if month.is_open:
        raise IncompleteError(
            f"{month_name(month.period)} is not over",
            hint=f"it ends at {rfc3339(month.period.end)}; `metering invoices` shows drafts meanwhile",
        )
    settled_at = month.period.end + timedelta(hours=config.schedule.settle_hours)
    if now < settled_at:
        raise IncompleteError(
            f"the usage of {month_name(month.period)} may still settle until {rfc3339(settled_at)}",
            hint="close then, or lower schedule.settle_hours",
        )


def _refuse_gaps(month: Month, allow_incomplete: str | None) -> None:
    gaps = month.coverage.gaps(month.now)
    if not gaps or allow_incomplete:
        return
    hours = 0
    lines = []
    for gap in gaps:
        length = (parse_time(gap["end"]) - parse_time(gap["start"])) // HOUR
        hours += length
        lines.append(f"{gap['organization']}: {length} h from {gap['start']} to {gap['end']} ({gap['reason']})")
    raise IncompleteError(
        f"{month_name(month.period)} lacks {hours} hours:\n  " + "\n  ".join(lines),
        hint="`metering backfill` reads them where Neon still can; --allow-incomplete REASON closes without them",
    )


def _to_park(month: Month, drafts: list[Json]) -> dict[str, str]:
    """Customers whose invoice would be wrong, with the reason."""
    owners = month.owners()
    parked: dict[str, str] = {}
    for row in month.unpriced:
        customer = owners.get(row["project_id"], (None, None))[0]
        if row["reason"] == "no_meter" and customer is not None:
            parked[customer] = f"project {row['project_id']} used {row['metric']}, which no meter knows"
    for draft in drafts:
        if draft["total"].startswith("-"):
            parked[draft["customer"]["id"]] = f"its total would be {draft['total']} {draft['currency']}"
    return parked


def _numbers(store: Store, config: Config, drafts: list[Json], now: datetime) -> tuple[str, list[int]]:
    """Turns drafts into final invoices, in place, numbered on from the last of the year's series."""
    series = f"invoice {now:%Y}"
    last = int(store.query("last_position", series=series).item())
    due_at = rfc3339(now + timedelta(days=config.invoices.due_days))
    positions = list(range(last + 1, last + 1 + len(drafts)))
    for position, draft in zip(positions, drafts, strict=True):
        draft["number"] = config.invoices.number.format(year=now.year, number=position)
        draft["status"] = "final"
        draft["issued_at"], draft["due_at"] = rfc3339(now), due_at
    return series, positions


def frozen_invoice(draft: Json | None, issued: Json) -> str:
    """The document that a draft becomes when it is issued as `issued` was; what `verify` compares byte by byte."""
    if draft is None:
        return ""
    given = {name: issued[name] for name in ("number", "status", "issued_at", "due_at")}
    return json.dumps({**draft, **given}, ensure_ascii=False, separators=(",", ":"))
