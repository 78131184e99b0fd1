"""The exact arithmetic of base fees and discounts, step by step.

Pure. Plain JSON (decimal strings, or `n/d`). Must not know a store, nor which time or lines count.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from metering.core.invoice import Line
from metering.core.money import Rounding, amount_text, exact_text, minor_units, round_amount
from metering.core.parties import Discount
from metering.core.period import Period, rfc3339
from metering.core.plans import Plan
from metering.invoicing.lines.fees import Span

Json = dict[str, Any]


def base_fee(plan: Plan, spans: Iterable[Span], month: Period, mode: Rounding, line_from: str) -> Json:
    """The arithmetic of a part of a base fee. Parts are rounded cumulatively, so that they sum to the whole fee."""
    fee, due_before, seconds_before, counted_to = Fraction(plan.base_fee), 0, 0, month.start
    told: list[Json] = []
    for span in spans:
        begin = max(span.counted_from, counted_to)
        seconds = max(0, (span.counted_to - begin).days * 86_400 + (span.counted_to - begin).seconds)
        counted_to = max(counted_to, span.counted_to)
        exact = fee * Fraction(seconds_before + seconds, month.seconds)
        due = round_amount(exact, plan.currency, mode)
        told.append(
            {
                "customer": span.customer,
                "from": rfc3339(span.start),
                "to": rfc3339(span.end),
                "counted_from": rfc3339(begin),
                "counted_to": rfc3339(max(begin, span.counted_to)),
                "seconds": str(seconds),
                "seconds_so_far": str(seconds_before + seconds),
                "exact_so_far": exact_text(exact),
                "due_so_far": amount_text(due, plan.currency),
                "due_before": amount_text(due_before, plan.currency),
                "amount": amount_text(due - due_before, plan.currency),
            }
        )
        due_before, seconds_before = due, seconds_before + seconds
        if told[-1]["from"] == line_from:
            break
    return {
        "model": "base_fee",
        "base_fee": f"{plan.base_fee:f}",
        "month_seconds": str(month.seconds),
        "spans": told,
        "quantity": exact_text(Fraction(int(told[-1]["seconds"]), month.seconds)),
        "rounding": {"mode": mode, "digits": minor_units(plan.currency)},
        "amount": told[-1]["amount"],
    }


def discount(
    row: Discount,
    lines: Iterable[Line],
    earlier: Iterable[Line],
    currency: str,
    mode: Rounding,
) -> Json:
    """The arithmetic of a discount: it applies to the sum of `lines` less the `earlier` discounts."""
    whole = [{"key": line.key, "amount": line.amount} for line in lines]
    before = [{"key": line.key, "amount": line.amount} for line in earlier]
    left = sum((Fraction(line["amount"]) for line in (*whole, *before)), Fraction(0))
    exact = left * Fraction(row.percent) / 100 if row.percent is not None else Fraction(row.amount or 0)
    taken = min(round_amount(exact, currency, mode), round_amount(left, currency, mode))
    return {
        "model": "discount",
        "percent": None if row.percent is None else f"{row.percent:f}",
        "fixed": None if row.amount is None else f"{row.amount:f}",
        "lines": whole,
        "earlier": before,
        "left": amount_text(round_amount(left, currency, mode), currency),
        "exact": exact_text(-exact),
        "rounding": {"mode": mode, "digits": minor_units(currency)},
        "amount": amount_text(-taken, currency),
    }
