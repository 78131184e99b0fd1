"""The tax of an invoice: on top of its lines or within them, and what its lines are before tax.

Pure: printed lines and the customer's rate in, printed figures out. Must not know how the lines came about, nor whether
a tax is due at all: that is the customer's row to say.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from metering.config import Customer
from metering.money import Rounding, amount_text, apportioned, minor_units, parse_amount, round_amount

Json = dict[str, object]
UNTAXED = {
    "E": "Exempt from tax",
    "AE": "Reverse charge",
    "K": "Intra-Community supply",
    "G": "Export outside the EU",
    "O": "Not subject to tax",
}
"""EN 16931's categories that need a reason, and what it is where customers.csv has no tax_note."""


def totals(lines: Iterable[Mapping[str, object]], currency: str, customer: Customer | None, mode: Rounding) -> Json:
    """Subtotal (before tax), taxes (once per rate, rounded), total; `tax_inclusive` where the lines include the tax.

    The tax comes on top of the sum of the lines; or, from prices that include it, the total is that sum, rate / (100 +
    rate) of it is tax, and the subtotal is what is left.
    """
    summed = sum(parse_amount(str(line["amount"]), currency) for line in lines)
    if customer is None or customer.tax_rate_percent is None:
        return {"subtotal": amount_text(summed, currency), "taxes": [], "total": amount_text(summed, currency)}
    rate, is_inclusive = Fraction(customer.tax_rate_percent), customer.tax_inclusive
    share = rate / (100 + rate) if is_inclusive else rate / 100
    tax = round_amount(Fraction(summed, 10 ** minor_units(currency)) * share, currency, mode)
    net = summed - tax if is_inclusive else summed
    told = {
        "name": customer.tax_name or "Tax",
        "rate_percent": f"{customer.tax_rate_percent:f}",
        "base": amount_text(net, currency),
        "amount": amount_text(tax, currency),
    }
    return {
        # Only where it is so: invoices that were issued before such prices existed keep their bytes.
        **({"tax_inclusive": True} if is_inclusive else {}),
        "subtotal": amount_text(net, currency),
        "taxes": [told],
        "total": amount_text(net + tax, currency),
    }


def nets(amounts: Sequence[int], currency: str, customer: Customer | None, mode: Rounding) -> list[int]:
    """Minor units of each line before tax; they sum to the subtotal."""
    if customer is None or customer.tax_rate_percent is None or not customer.tax_inclusive:
        return list(amounts)
    lines = [{"amount": amount_text(amount, currency)} for amount in amounts]
    subtotal = parse_amount(str(totals(lines, currency, customer, mode)["subtotal"]), currency)
    return _shared(subtotal, amounts, Fraction(customer.tax_rate_percent))


def lines_before_tax(document: Mapping[str, object]) -> list[Json]:
    """The lines of an invoice or credit note with their amounts before tax, which sum to its subtotal."""
    lines, currency = document["lines"], str(document["currency"])
    assert isinstance(lines, list)
    if not document.get("tax_inclusive"):
        return lines
    taxes = document["taxes"]
    assert isinstance(taxes, list)
    (tax,) = taxes
    amounts = [parse_amount(line["amount"], currency) for line in lines]
    found = _shared(parse_amount(str(document["subtotal"]), currency), amounts, Fraction(tax["rate_percent"]))
    rate = Fraction(tax["rate_percent"])
    return [_before_tax(line, net, rate, currency) for line, net in zip(lines, found, strict=True)]


def _before_tax(line: Json, net: int, rate: Fraction, currency: str) -> Json:
    """The line at its amount before tax, and so the parts that projects have in it."""
    out = {**line, "amount": amount_text(net, currency)}
    parts = line.get("projects")
    if isinstance(parts, list):
        found = _shared(net, [parse_amount(part["amount"], currency) for part in parts], rate)
        out["projects"] = [
            {**part, "amount": amount_text(own, currency)} for part, own in zip(parts, found, strict=True)
        ]
    return out


def _shared(total: int, amounts: Sequence[int], rate: Fraction) -> list[int]:
    return apportioned(total, [amount * 100 / (100 + rate) for amount in amounts])
