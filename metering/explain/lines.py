"""One line of a document that the month's closing issued, computed anew and compared with the printed one.

The kind of a line decides how it is explained. A line that was split over taxes is explained whole, then its part.
"""

from fractions import Fraction
from typing import Any

import msgspec
import polars as pl
from msgspec.structs import replace

from metering.billing.month import Month
from metering.core.invoice import Invoice, Line, ProjectPart, printed
from metering.core.money import quantity_text
from metering.explain import fees, time
from metering.explain.usage import charge_of, usage
from metering.invoicing.lines import discount, tax_cuts

Json = dict[str, Any]


def line_of(month: Month, document: Invoice, line: Line, held: pl.DataFrame | None = None) -> Json:
    """`arithmetic`, `agrees`, and the evidence of one line of a document that the month's closing issued.

    `held`: segments for what is due without usage, if they are not those of the month.
    """
    if line.shared is not None:
        return _shared(month, document, line, held)
    segments = month.segments if held is None else held
    if line.kind == "base_fee":
        told = time.base_fee(month, document.customer.id, line)
    elif line.meter is None and line.kind == "minimum":
        told = time.plan_minimum(month, segments, document, line)
    elif line.meter is None and line.kind == "discount":
        told = _discount(month, document, line)
    elif line.kind in {"minimum", "discount"} or charge_of(month, document.customer.id, line).is_empty():
        told = time.without_usage(month, segments, document, line)
    else:
        told = usage(month, document.customer.id, line)
    arithmetic = told["arithmetic"]
    agrees = arithmetic["amount"] == line.amount and (
        "quantity" not in arithmetic or quantity_text(Fraction(arithmetic["quantity"])) == line.quantity
    )
    agrees &= arithmetic.get("projects", []) == [*map(printed, line.projects or ())]
    return {"agrees": agrees, **told}


def _shared(month: Month, document: Invoice, line: Line, held: pl.DataFrame | None) -> Json:
    """Explains a part of a line that was split over the taxes of its month: the whole line, then the part."""
    whole = line.shared
    assert whole is not None, "the caller knows that it was shared"
    names = ("key", "start", "end", "quantity", "amount", "unit_price")
    given = {name: getattr(whole, name) for name in names}
    told = line_of(month, document, replace(line, **given, shared=None, projects=None), held)
    arithmetic = told["arithmetic"]
    projects = msgspec.convert(arithmetic.get("projects"), list[ProjectPart] | None)
    part = tax_cuts.part(replace(line, projects=projects), document.currency)
    agrees = arithmetic["amount"] == whole.amount and part == replace(line, unit_price=None)
    return {**told, "agrees": agrees, "arithmetic": {**arithmetic, "part": part.amount}}


def _discount(month: Month, document: Invoice, line: Line) -> Json:
    """Explains a customer's discount; its key ends with its position among the discounts in force."""
    own = [one for one in document.lines if one.kind != "adjustment"]
    whole = [one for one in own if one.plan is not None]
    earlier = [one for one in own if one.plan is None and discount.place(one) < discount.place(line)]
    found = discount.of_customer(month.terms.discounts, document.customer.id, month.period)
    row, mode = found[discount.place(line) - 1], month.terms.card.rounding
    return {
        "arithmetic": fees.discount(row, whole, earlier, document.currency, mode),
        "observations": [],
    }
