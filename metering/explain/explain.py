"""From an invoice line down to the raw pages: which document, which line, and by which rules it was computed.

A line is computed anew from what the store knew at its closing, with the terms frozen then, and compared with what was
printed: `agrees` says whether it came out the same. Reads the store, writes nothing.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from metering.billing import terms as terms_of_month
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.config import Config
from metering.core.errors import MeteringError
from metering.core.ids import canonical
from metering.core.invoice import Invoice, Line, in_order
from metering.core.money import amount_text, parse_amount
from metering.core.period import Period, month_name, month_of, parse_time, rfc3339
from metering.explain import evidence, sentences
from metering.explain.adjustments import adjustment, beside
from metering.explain.lines import line_of
from metering.invoicing.amending import closed, supplement
from metering.invoicing.amending.supplement import Supplement
from metering.invoicing.closing import month_invoices
from metering.rating.models import follows_cost
from metering.store.database import Store

Json = dict[str, Any]


def explain(store: Store, number: str, line: str | None = None) -> Json:
    """Explains a line of an issued document, by its key or its number from 1; without `line`, lists all lines.

    Raises MeteringError for an unknown number or line.
    """
    found = store.query("explain/issued_invoice", number=number)
    if found.is_empty():
        raise MeteringError(f"no invoice has the number {number!r}", hint="`metering invoices MONTH` lists them")
    row = found.row(0, named=True)
    document = {**json.loads(row["document"]), "status": row["status"]}
    head = _head(document, row)
    if row["terms"] is None:
        return _credit_note(document, head, line)
    month = Month(
        recorded=Recorded(store=store, as_of_seq=row["as_of_seq"]),
        terms=terms_of_month.from_document(json.loads(row["terms"])),
        period=month_of(parse_time(f"{row['month']}-01T00:00:00Z")),
        now=row["as_of"],
    )
    if row["rules"] != terms_of_month.RULES and line is not None:
        return {**head, **_as_issued(month, document, _place(document, line))}
    if supplementary := supplement.stored(month.recorded, month.period, row["seq"]):
        return _supplement(supplementary, document, head, line)
    return _told(month, document, head, line)


def explain_draft(  # noqa: PLR0913 - whose draft of when, and what of it
    store: Store, config: Config, period: Period, now: datetime, *, customer: str, line: str | None = None
) -> Json:
    """Explains a line of a customer's draft, or lists all, by what is known now and today's configuration."""
    month = Month(recorded=Recorded(store=store), terms=terms_of_month.of(config), period=period, now=now)
    drafts = (one for one in month_invoices(month).documents if one.invoice.number is None)
    document = next((one.printed() for one in drafts if one.invoice.customer.id == customer), None)
    if document is None:
        name = month_name(period)
        hint = f"`metering invoices {name}` lists them; one that is issued has a number to explain"
        raise MeteringError(f"{customer!r} has no draft in {name}", hint=hint)
    return of_draft(replace(month, recorded=Recorded(store=store)), document, line)


def of_draft(month: Month, document: Json, line: str | None = None) -> Json:
    """Explains a line of a given draft, or lists all.

    `month` must be fresh: while it is read, the store shows one customer's observations alone.
    """
    return _told(month, document, {**{name: document.get(name) for name in _HEAD}, "closing": None}, line)


def _told(month: Month, document: Json, head: Json, line: str | None) -> Json:
    """A list of all lines, or the explanation of the requested line."""
    if line is None:
        lines = [{"line": index, **one} for index, one in enumerate(document["lines"], start=1)]
        return {**head, "lines": lines, "totals": _totals(document)}
    whole, at = in_order(document), _place(document, line)
    chosen, told = whole.lines[at], {**head, "line": document["lines"][at]}
    if chosen.kind == "adjustment":
        found = adjustment(month, whole, chosen)
        if found is None:
            return {**head, **_as_issued(month, document, at)}
        told |= found
    elif billed := closed.supplements(month.recorded, month_name(month.period)).get(whole.customer.id):
        told |= beside(month, whole, chosen, billed, month.segments)
    else:
        with _narrowed(month, whole, chosen):
            told |= line_of(month, whole, chosen)
    return {**told, "steps": sentences.steps(told)}


_HEAD = ("number", "status", "customer", "currency", "period", "issued_at", "total", "rate_card_sha256")


def _head(document: Json, row: Json) -> Json:
    closing = None
    if row["terms"] is not None:
        closing = {
            "record": row["seq"],
            "as_of": rfc3339(row["as_of"]),
            "as_of_record": row["as_of_seq"],
            "rules": row["rules"],
        }
    return {**{name: document.get(name) for name in _HEAD}, "closing": closing}


def _credit_note(document: Json, head: Json, line: str | None) -> Json:
    """The lines of a credit note: each is a line of the cancelled invoice with the opposite sign."""
    lines = document["lines"] if line is None else [document["lines"][_place(document, line)]]
    told = [{"line": index, **one} for index, one in enumerate(lines, start=1)]
    return {
        **head,
        "credits": document.get("credits"),
        "reason": document.get("reason"),
        "lines": told,
        "totals": _totals(document),
        "steps": [
            f"cancels {document.get('credits')}: every line with the opposite sign; explain that invoice's lines"
        ],
    }


def _place(document: Json, line: str) -> int:
    """The position of the line with this key, or with this number counted from 1."""
    lines: list[Json] = document["lines"]
    by_key = [at for at, one in enumerate(lines) if canonical(one["key"]) == canonical(line)]
    if by_key:
        return by_key[0]
    if line.isascii() and line.isdigit() and 1 <= int(line) <= len(lines):
        return int(line) - 1
    raise MeteringError(
        f"{document['number'] or 'the draft'} has no line {line!r}",
        hint=f"write a key, or a number from 1 to {len(lines)}; `metering explain` without LINE lists them",
    )


@contextmanager
def _narrowed(month: Month, document: Invoice, line: Line) -> Iterator[None]:
    """A context in which only the customer's projects are read, unless the line follows Neon's cost."""
    prices = [price for plan in month.terms.card.plans if plan.id == line.plan for price in plan.prices]
    if any(follows_cost(price) for price in prices if price.meter == line.meter):
        yield
        return
    with evidence.only(month.recorded.store, evidence.projects_of(month, document.customer.id)):
        yield


def _as_issued(month: Month, document: Json, at: int) -> Json:
    """A line that was computed by older rules: as it was issued, with the observations of its period."""
    line = document["lines"][at]
    meter = next((meter for meter in month.terms.card.meters if meter.id == line["meter"]), None)
    projects = [part["project_id"] for part in line.get("projects", ())] or [line["project_id"]]
    period = Period(start=parse_time(line["from"]), end=parse_time(line["to"]))
    seen: list[Json] = []
    if meter is not None and None not in projects and line["kind"] != "adjustment":
        with evidence.only(month.recorded.store, projects):
            seen = evidence.observed(month, projects, meter.metrics, period)
    told = {"line": line, "agrees": None, "observations": seen}
    return {**told, "steps": sentences.as_issued(line)}


def _supplement(found: Supplement, document: Json, head: Json, line: str | None) -> Json:
    """A list of all lines of a supplementary invoice, or the explanation of the requested line."""
    if line is None:
        return _told(found.month, document, head, line)
    whole, at = in_order(document), _place(document, line)
    billed = found.billed.get(whole.customer.id, closed.NOTHING)
    told = {**head, "line": document["lines"][at], **beside(found.month, whole, whole.lines[at], billed, found.held)}
    return {**told, "steps": sentences.steps(told)}


def _gross(entry: Mapping[str, str], currency: str) -> str:
    """The sum of the lines of one tax, with the tax."""
    return amount_text(sum(parse_amount(entry[name], currency) for name in ("base", "amount")), currency)


def _totals(document: Mapping[str, Any]) -> Json:
    """How an invoice's lines become its total."""
    return {
        "lines": [line["amount"] for line in document["lines"]],
        "tax_inclusive": bool(document.get("tax_inclusive")),
        "subtotal": document["subtotal"],
        "taxes": [{**entry, "gross": _gross(entry, document["currency"])} for entry in document["taxes"]],
        "total": document["total"],
    }
