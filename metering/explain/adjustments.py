"""Explains lines that are differences: adjustments of closed months, and lines of which a part was billed before.

Every line of both sides is explained. Reads the store, writes nothing.
"""

from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial
from typing import Any

import polars as pl
from msgspec.structs import replace

from metering.billing.month import Month
from metering.billing.recorded import LATEST
from metering.core.dated_tax import key
from metering.core.invoice import Invoice, Line, printed
from metering.core.money import amount_text, minor_units
from metering.core.period import month_name
from metering.explain import sentences
from metering.explain.evidence import is_same_group
from metering.explain.lines import line_of
from metering.invoicing.amending import corrections
from metering.invoicing.amending.closed import Billed
from metering.invoicing.drafts import line_rates
from metering.invoicing.lines import assembly as invoice
from metering.invoicing.lines.remainder import is_same_place, remainder

Json = dict[str, Any]


def adjustment(month: Month, document: Invoice, line: Line) -> Json | None:
    """Explains an adjustment by both ratings of its month: the lines billed before, and the lines rated again.

    None if the month was closed under older rules and is not rated again.
    """
    name, customer, currency = line.start[:7], document.customer.id, document.currency
    known = corrections.history(month.recorded, name, customer, month.now)
    if known is None:
        return None
    billed, then, rated = known
    every = invoice.lines(rated.period, then.segments, rated.charges, line_rates(rated)).get(customer, [])
    rerated = [
        _rerated(rated, replace(document, lines=every), one, then.segments)
        for one in sorted(every, key=lambda one: one.key)
        if _is_corrected(one, line)
    ]
    was = _told(billed, lambda one: _is_corrected(one, line))
    told = _both(name, month.recorded.as_of_seq, was, rerated, currency)
    agrees = told["amount"] == line.amount and all(one["agrees"] for one in rerated)
    return {"agrees": agrees, "adjustment": told, "observations": []}


def _both(name: str, as_of_seq: int, billed: list[Json], rerated: list[Json], currency: str) -> Json:
    """The billed lines of a month, the lines rated again, and the difference."""
    digits = minor_units(currency)
    was, now = _sum(billed, digits), _sum([one["line"] for one in rerated], digits)
    return {
        "month": name,
        "known_up_to_record": as_of_seq if as_of_seq != LATEST else None,
        "billed": {"lines": billed, "amount": amount_text(was, currency)},
        "rerated": {"lines": rerated, "amount": amount_text(now, currency)},
        "amount": amount_text(now - was, currency),
    }


def _told(billed: Billed, is_wanted: Callable[[Line], bool]) -> list[Json]:
    """The wanted lines among those billed, each with the number of its document."""
    own = zip(billed.lines, billed.numbers, strict=True)
    return [{**printed(line), "number": number} for line, number in own if is_wanted(line)]


def beside(month: Month, document: Invoice, line: Line, billed: Billed, held: pl.DataFrame) -> Json:
    """Explains a line of a customer with several invoices for a month: the whole line less what the others billed."""
    is_own = partial(is_same_place, line)
    every = invoice.lines(month.period, held, month.charges, line_rates(month)).get(document.customer.id, [])
    now = [*filter(is_own, every)]
    rerated = [_rerated(month, replace(document, lines=every), one, held) for one in now]
    agrees = all(one["agrees"] for one in rerated)
    rest = remainder(filter(is_own, billed.lines), now, document.currency, month.terms.card.rounding)
    agrees &= [*map(printed, rest)] == [printed(line)]
    was = _told(billed, is_own)
    if not was and rerated:
        return {**rerated[0], "agrees": agrees, "line": printed(line)}
    told = _both(month_name(month.period), month.recorded.as_of_seq, was, rerated, document.currency)
    return {"agrees": agrees, "adjustment": told, "observations": []}


def _is_corrected(one: Line, line: Line) -> bool:
    """Whether an adjustment corrects this line; base fees are never corrected."""
    return one.kind != "base_fee" and is_same_group(one, line) and key(one) == key(line)


def _rerated(month: Month, document: Invoice, line: Line, held: pl.DataFrame) -> Json:
    told = {"currency": document.currency, "line": printed(line), **line_of(month, document, line, held)}
    return {**told, "steps": sentences.steps(told)}


def _sum(lines: Iterable[Json], digits: int) -> int:
    """Minor units of the lines' amounts, whatever their sign."""
    return int(sum((Fraction(line["amount"]) for line in lines), Fraction(0)) * 10**digits)
