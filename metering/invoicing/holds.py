"""Decides which invoices are put on hold for a person, and why; compares totals with the month before.

Pure: drafts and history in, sentences out. Must not know the store, how an invoice is numbered or who released it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from statistics import median

from metering.core.invoice import Invoice, Printed
from metering.core.money import amount_text, minor_units, parse_amount, quantity_text

UNUSUAL_FACTOR = 10
"""A total above so many times the customer's usual one is looked at first."""
LEAST_HISTORY = 2
"""With fewer earlier invoices there is no usual."""
MOST_HISTORY = 6
"""The usual is the median of so many of the latest earlier invoices."""
FLOOR_UNITS = 100
"""Whole units of the currency up to which a total is never unusual: ten times very little is little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """The total of a customer's invoice or draft."""

    customer: str
    currency: str
    total: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Usage of a customer's project that no meter knows."""

    customer: str
    project_id: str
    metric: str


def reasons(
    drafts: Iterable[Amount], history: Iterable[Amount], unknown: Iterable[Unknown], conflicts: Mapping[str, str]
) -> dict[str, str]:
    """Customer -> why its invoice is put on hold; several reasons are joined by `; `.

    `history` holds each customer's latest MOST_HISTORY earlier invoices; `conflicts` are customers for whom no invoice
    can be made at all, and why.
    """
    out: defaultdict[str, list[str]] = defaultdict(list)
    for customer, why in conflicts.items():
        out[customer].append(why)
    for usage in unknown:
        out[usage.customer].append(f"project {usage.project_id} used {usage.metric}, which no meter knows")
    totals: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for issued in history:
        totals[issued.customer, issued.currency].append(parse_amount(issued.total, issued.currency))
    for draft in drafts:
        customer, currency = draft.customer, draft.currency
        judged = _judged(parse_amount(draft.total, currency), currency, totals[customer, currency])
        if judged is not None:
            out[customer].append(judged)
    return {customer: "; ".join(dict.fromkeys(found)) for customer, found in sorted(out.items())}


def _judged(total: int, currency: str, earlier: list[int]) -> str | None:
    """The reasons to hold a total (in minor units): by itself, or compared with earlier totals."""
    if total < 0:
        return f"its total would be {amount_text(total, currency)} {currency}"
    if len(earlier) < LEAST_HISTORY or total <= FLOOR_UNITS * 10 ** minor_units(currency):
        return None
    usual = Fraction(median([Fraction(amount) for amount in earlier]))
    if total <= UNUSUAL_FACTOR * usual:
        return None
    shown = quantity_text(usual / 10 ** minor_units(currency))
    told = f"more than {UNUSUAL_FACTOR} times the usual {shown} (median of the last {len(earlier)})"
    return f"its total would be {amount_text(total, currency)} {currency}, {told}"


def differences(drafts: Iterable[Invoice], previous: Iterable[Invoice]) -> list[Printed]:
    """Each customer's total beside the total of the month before, sorted by customer and currency.

    A month without an invoice is null and counts as zero; several invoices in one currency are added up.
    """
    now, before = _totals(drafts), _totals(previous)
    out: list[Printed] = []
    for customer, currency in sorted(now.keys() | before.keys()):
        new, old = now.get((customer, currency)), before.get((customer, currency))
        out.append(
            {
                "customer": customer,
                "currency": currency,
                "previous": None if old is None else amount_text(old, currency),
                "total": None if new is None else amount_text(new, currency),
                "difference": amount_text((new or 0) - (old or 0), currency),
            }
        )
    return out


def _totals(invoices: Iterable[Invoice]) -> dict[tuple[str, str], int]:
    out: dict[tuple[str, str], int] = {}
    for invoice in invoices:
        key = invoice.customer.id, invoice.currency
        out[key] = out.get(key, 0) + parse_amount(invoice.total, invoice.currency)
    return out
