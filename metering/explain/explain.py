"""From an invoice line down to the raw pages: every step of its arithmetic and every observation behind it.

A line is computed anew from what the store knew at its closing, with the terms frozen then, and compared with what was
printed: `agrees` says whether it came out the same. Reads the store, writes nothing.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

import polars as pl

from metering.billing import terms as terms_of_month
from metering.billing.month import LATEST, Month
from metering.config.models import Config
from metering.core.dated_tax import key
from metering.core.errors import MeteringError
from metering.core.ids import canonical
from metering.core.money import amount_text, minor_units, quantity_text
from metering.core.period import Period, month_name, month_of, parse_time, rfc3339
from metering.explain import cost, evidence, steps, text, time
from metering.explain.steps import Run, Stretch
from metering.explain.time import is_same_group, of_group
from metering.invoicing import closed, corrections, discount, supplement, tax_cuts
from metering.invoicing import lines as invoice
from metering.invoicing.closing import month_invoices
from metering.invoicing.drafts import line_rates
from metering.invoicing.remainder import billed_of, remainder
from metering.invoicing.supplement import Supplement
from metering.store.database import Store

Json = dict[str, Any]


def explain(store: Store, number: str, line: str | None = None) -> Json:
    """One line of an issued document (by its key or its number from 1), or without it all lines in short.

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
        store=store,
        terms=terms_of_month.from_document(json.loads(row["terms"])),
        period=month_of(parse_time(f"{row['month']}-01T00:00:00Z")),
        now=row["as_of"],
        as_of_seq=row["as_of_seq"],
    )
    if row["rules"] != terms_of_month.RULES and line is not None:
        return {**head, **_as_issued(month, _chosen(document, line))}
    if supplementary := supplement.stored(store, month.period, row["seq"]):
        return _supplement(supplementary, document, head, line)
    return _told(month, document, head, line)


def explain_draft(  # noqa: PLR0913 - whose draft of when, and what of it
    store: Store, config: Config, period: Period, now: datetime, *, customer: str, line: str | None = None
) -> Json:
    """Explains a line of a customer's draft, or all in short, by what is known now and today's configuration."""
    drafts = (one for one in month_invoices(store, config, period, now)["invoices"] if one["number"] is None)
    document = next((one for one in drafts if one["customer"]["id"] == customer), None)
    if document is None:
        name = month_name(period)
        hint = f"`metering invoices {name}` lists them; one that is issued has a number to explain"
        raise MeteringError(f"{customer!r} has no draft in {name}", hint=hint)
    return of_draft(Month(store=store, terms=terms_of_month.of(config), period=period, now=now), document, line)


def of_draft(month: Month, document: Json, line: str | None = None) -> Json:
    """Explains a line of a draft that is at hand, or all in short.

    `month` must be fresh: while it is read, the store shows one customer's observations alone.
    """
    return _told(month, document, {**{name: document.get(name) for name in _HEAD}, "closing": None}, line)


def _told(month: Month, document: Json, head: Json, line: str | None) -> Json:
    """All lines in short, or the one that was asked for in full."""
    if line is None:
        lines = [{"line": index, **one} for index, one in enumerate(document["lines"], start=1)]
        return {**head, "lines": lines, "totals": steps.totals(document)}
    chosen = _chosen(document, line)
    if chosen["kind"] == "adjustment":
        found = _adjustment(month, document, chosen)
        if found is None:
            return {**head, **_as_issued(month, chosen)}
        told = {**head, "line": chosen, **found}
    elif billed := closed.supplements(month.store, month_name(month.period), month.as_of_seq).get(
        document["customer"]["id"]
    ):
        told = {**head, "line": chosen, **_rest(month, document, chosen, billed.lines, month.segments)}
    else:
        with _narrowed(month, document, chosen):
            told = {**head, "line": chosen, **line_of(month, document, chosen)}
    return {**told, "steps": text.steps(told)}


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
    """A credit note takes back what it credits, line by line; its reason is in the invoice that it names."""
    lines = document["lines"] if line is None else [_chosen(document, line)]
    told = [{"line": index, **one} for index, one in enumerate(lines, start=1)]
    return {
        **head,
        "credits": document.get("credits"),
        "reason": document.get("reason"),
        "lines": told,
        "totals": steps.totals(document),
        "steps": [
            f"cancels {document.get('credits')}: every line with the opposite sign; explain that invoice's lines"
        ],
    }


def _chosen(document: Json, line: str) -> Json:
    """The line of that key, or of that number counted from 1."""
    lines: list[Json] = document["lines"]
    by_key = [one for one in lines if canonical(str(one["key"])) == canonical(line)]
    if by_key:
        return by_key[0]
    if line.isascii() and line.isdigit() and 1 <= int(line) <= len(lines):
        return lines[int(line) - 1]
    raise MeteringError(
        f"{document['number'] or 'the draft'} has no line {line!r}",
        hint=f"write a key, or a number from 1 to {len(lines)}; `metering explain` without LINE lists them",
    )


@contextmanager
def _narrowed(month: Month, document: Json, line: Json) -> Iterator[None]:
    """While it lasts, only the customer's projects are read, unless the line follows Neon's cost."""
    prices = [price for plan in month.terms.card.plans if plan.id == line["plan"] for price in plan.prices]
    if any(price.model == "cost_plus" for price in prices if price.meter == line["meter"]):
        yield
        return
    with evidence.only(month.store, evidence.projects_of(month, document["customer"]["id"])):
        yield


def line_of(month: Month, document: Mapping[str, Any], line: Json, held: pl.DataFrame | None = None) -> Json:
    """`arithmetic`, `agrees`, and the evidence of one line of a document that the month's closing issued.

    `held`: the segments that say for how long what is due without usage counts, where they are not the month's own.
    """
    if "shared" in line:
        return _shared(month, document, line, held)
    segments = month.segments if held is None else held
    if line["kind"] == "base_fee":
        told = time.base_fee(month, document["customer"]["id"], line)
    elif line["meter"] is None and line["kind"] == "minimum":
        told = time.plan_minimum(month, segments, document, line)
    elif line["meter"] is None and line["kind"] == "discount":
        told = _discount(month, document, line)
    elif line["kind"] in {"minimum", "discount"} or _charge_of(month, document["customer"]["id"], line).is_empty():
        told = time.without_usage(month, segments, document, line)
    else:
        told = _usage(month, document["customer"]["id"], line)
    arithmetic = told["arithmetic"]
    agrees = arithmetic["amount"] == line["amount"] and (
        "quantity" not in arithmetic or quantity_text(Fraction(arithmetic["quantity"])) == line["quantity"]
    )
    agrees &= arithmetic.get("projects", []) == line.get("projects", [])
    return {"agrees": agrees, **told}


def _shared(month: Month, document: Mapping[str, Any], line: Json, held: pl.DataFrame | None) -> Json:
    """The part of a line that was shared over the taxes of its month: the whole taken apart, then the part of it."""
    names = ("key", "from", "to", "quantity", "amount", "unit_price")
    own = {name: value for name, value in line.items() if name not in {"shared", "projects"}}
    told = line_of(month, document, {**own, **{name: line["shared"][name] for name in names}}, held)
    arithmetic = told["arithmetic"]
    projects = {"projects": arithmetic["projects"]} if "projects" in arithmetic else {}
    part = tax_cuts.part({**own, "shared": line["shared"], **projects}, document["currency"])
    agrees = arithmetic["amount"] == line["shared"]["amount"] and all(
        part.get(name) == line.get(name) for name in ("quantity", "amount", "projects")
    )
    return {**told, "agrees": agrees, "arithmetic": {**arithmetic, "part": part["amount"]}}


# -- older rules


def _as_issued(month: Month, line: Json) -> Json:
    """A line that was computed by older rules: as it was issued, with the observations of its time beside it."""
    meter = next((meter for meter in month.terms.card.meters if meter.id == line["meter"]), None)
    projects = [part["project_id"] for part in line.get("projects", ())] or [line["project_id"]]
    period = Period(start=parse_time(line["from"]), end=parse_time(line["to"]))
    seen: list[Json] = []
    if meter is not None and None not in projects and line["kind"] != "adjustment":
        with evidence.only(month.store, projects):
            seen = evidence.observed(month, projects, meter.metrics, period)
    told = {"line": line, "agrees": None, "observations": seen}
    return {**told, "steps": text.as_issued(line)}


# -- adjustments


def _adjustment(month: Month, document: Json, line: Json) -> Json | None:
    """Both ratings of a closed month: what was billed for it before, and what it comes to by what was known then.

    None where the month was closed under older rules, so that nothing rates it again.
    """
    name, customer, currency = line["from"][:7], document["customer"]["id"], document["currency"]
    known = corrections.history(month.store, name, customer, month.now, month.as_of_seq)
    if known is None:
        return None
    billed_lines, then, rated = known
    billed = [one for one in billed_lines if _is_corrected(one, line)]
    every = invoice.lines(rated.period, then.segments, rated.charges, line_rates(rated)).get(customer, [])
    rerated = [
        _rerated(rated, {"customer": {"id": customer}, "lines": every, "currency": currency}, one, then.segments)
        for one in sorted(every, key=lambda one: str(one["key"]))
        if _is_corrected(one, line)
    ]
    told = _both(name, month.as_of_seq, billed, rerated, currency)
    agrees = told["amount"] == line["amount"] and all(one["agrees"] for one in rerated)
    return {"agrees": agrees, "adjustment": told, "observations": []}


def _both(name: str, as_of_seq: int, billed: list[Json], rerated: list[Json], currency: str) -> Json:
    """What was billed of a month, what it comes to, and the difference."""
    digits = minor_units(currency)
    was, now = _sum(billed, digits), _sum([one["line"] for one in rerated], digits)
    return {
        "month": name,
        "known_up_to_record": as_of_seq if as_of_seq != LATEST else None,
        "billed": {"lines": billed, "amount": amount_text(was, currency)},
        "rerated": {"lines": rerated, "amount": amount_text(now, currency)},
        "amount": amount_text(now - was, currency),
    }


# -- supplements


def _supplement(found: Supplement, document: Json, head: Json, line: str | None) -> Json:
    """All lines of a supplementary invoice in short, or the one that was asked for in full."""
    if line is None:
        return _told(found.month, document, head, line)
    chosen = _chosen(document, line)
    billed = found.billed.get(document["customer"]["id"], closed.NOTHING).lines
    told = {**head, "line": chosen, **_rest(found.month, document, chosen, billed, found.held)}
    return {**told, "steps": text.steps(told)}


def _billed_beside(month: Month, customer: str) -> list[Json]:
    """What supplementary invoices of the month had billed a customer."""
    found = closed.supplements(month.store, month_name(month.period), month.as_of_seq)
    return found[customer].lines if customer in found else []


def _rest(month: Month, document: Json, line: Json, billed: Sequence[Json], held: pl.DataFrame) -> Json:
    """A line of an invoice beside others of its customer's month: rated whole, less what those have billed of it."""
    customer, currency = document["customer"]["id"], document["currency"]
    every = invoice.lines(month.period, held, month.charges, line_rates(month)).get(customer, [])
    whole = {"customer": document["customer"], "lines": every, "currency": currency}
    was, now = billed_of(billed, line), billed_of(every, line)
    rerated = [_rerated(month, whole, one, held) for one in now]
    agrees = all(one["agrees"] for one in rerated)
    agrees &= remainder(was, now, currency, month.terms.card.rounding) == [line]
    if not was and rerated:
        return {**rerated[0], "agrees": agrees, "line": line}
    told = _both(month_name(month.period), month.as_of_seq, was, rerated, currency)
    return {"agrees": agrees, "adjustment": told, "observations": []}


def _is_corrected(one: Mapping[str, Any], line: Mapping[str, Any]) -> bool:
    """Whether a line belongs to what the adjustment corrects; base fees are never corrected."""
    return one["kind"] != "base_fee" and is_same_group(one, line) and key(one) == key(line)


def _rerated(month: Month, document: Json, line: Json, held: pl.DataFrame) -> Json:
    told = {"currency": document["currency"], "line": line, **line_of(month, document, line, held)}
    return {**told, "steps": text.steps(told)}


def _sum(lines: Iterable[Mapping[str, Any]], digits: int) -> int:
    """Minor units of the lines' amounts, whatever their sign."""
    return int(sum((Fraction(line["amount"]) for line in lines), Fraction(0)) * 10**digits)


# -- usage


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pieces:
    """The pieces of the run that a line belongs to, up to its own price version; and their share of the month."""

    frame: pl.DataFrame
    share: Fraction

    def versions(self) -> list[pl.DataFrame]:
        """The pieces of each price version, in order."""
        return self.frame.sort("version_rank", "start").partition_by("version_rank", maintain_order=True)


def _usage(month: Month, customer: str, line: Json) -> Json:
    pieces = _pieces_of(month, customer, line)
    meter = next(meter for meter in month.terms.card.meters if meter.id == line["meter"])
    buckets, seen = evidence.observations(month, pieces.frame, meter.metrics)
    versions = pieces.versions()
    stretches = [
        Stretch(
            price=month.prices[version["price_no"][0]],
            start=version["start"].min(),  # type: ignore[arg-type]
            end=version["end"].max(),  # type: ignore[arg-type]
            buckets=[bucket for number in version["piece_no"] for bucket in buckets.get(number, ())],
        )
        for version in versions
    ]
    run = Run(
        plan=month.terms.plan(line["plan"]),
        meter=meter,
        stretches=stretches,
        share=pieces.share,
        month=month.period,
        rounding=month.terms.card.rounding,
        costs=_costs(month, versions, stretches[-1].price.model == "cost_plus"),
    )
    stretch_of = {number: at for at, version in enumerate(versions, start=1) for number in version["piece_no"]}
    told = [{"stretch": stretch_of[row.pop("piece_no")], **row} for row in seen]
    pool = (customer, line["plan"], line["meter"], versions[-1]["price_no"][0], stretches[-1].start)
    members = line_rates(month).pools.get(pool, ()) if line["project_id"] is None else ()
    arithmetic = steps.usage_line(run, line)
    if run.price.model == "cost_plus":
        numbers = pl.Series([stretch_of[number] for number in pieces.frame["piece_no"]], dtype=pl.Int64)
        ours = pieces.frame.with_columns(stretch=numbers)
        found = (cost.behind(bill, ours, meter.metrics) for bill in month.cost.bills)
        arithmetic["neon"] = [row for rows in found for row in rows]
    return {
        "arithmetic": arithmetic
        | steps.split_over(members, pieces.frame["denominator"][0], arithmetic, run.plan.currency),
        "ownership": evidence.ownership(month, pieces.frame["project_id"].unique().sort().to_list()),
        "observations": told,
    }


def _pieces_of(month: Month, customer: str, line: Json) -> _Pieces:
    charge = _charge_of(month, customer, line).row(0, named=True)
    run = of_group(customer, line)
    if line["project_id"] is not None:
        run = run & (pl.col("project_id") == line["project_id"]) & (pl.col("segment_no") == charge["segment_no"])
    mine = month.pieces.filter(run)
    rank = mine.filter(pl.col("piece_no") == charge["piece_no"])["version_rank"][0]
    return _Pieces(
        frame=mine.filter(pl.col("version_rank") <= rank), share=Fraction(charge["share_num"], charge["share_den"])
    )


def _charge_of(month: Month, customer: str, line: Json) -> pl.DataFrame:
    """The charges of the piece that the line is for."""
    is_project = pl.col("project_id").eq_missing(pl.lit(line["project_id"], dtype=pl.String))
    return month.charges.filter(of_group(customer, line) & is_project & (pl.col("start") == parse_time(line["from"])))


def _costs(month: Month, versions: list[pl.DataFrame], is_cost_plus: bool) -> tuple[Fraction, Fraction]:
    """What Neon charges for the run's usage before the last version, and with it."""
    if not is_cost_plus:
        return Fraction(0), Fraction(0)
    costs = dict(month.cost.marked_up())
    sums = [
        sum((costs.get(number, Fraction(0)) for number in version["piece_no"]), Fraction(0)) for version in versions
    ]
    return sum(sums[:-1], Fraction(0)), sum(sums, Fraction(0))


def _discount(month: Month, document: Mapping[str, Any], line: Json) -> Json:
    """A customer's discount; its key ends with its place among those in force."""
    own = [one for one in document["lines"] if one["kind"] != "adjustment"]
    whole = [one for one in own if one["plan"] is not None]
    earlier = [one for one in own if one["plan"] is None and discount.place(one) < discount.place(line)]
    found = discount.of_customer(month.terms.discounts, document["customer"]["id"], month.period)
    row, mode = found[discount.place(line) - 1], month.terms.card.rounding
    return {
        "arithmetic": steps.discount(row, whole, earlier, document["currency"], mode),
        "observations": [],
    }
