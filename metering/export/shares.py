"""A document split to the cent: each line's part before tax, and its part of the tax.

Pure. Whatever the document's lines include or leave out, the parts before tax sum to its subtotal and the parts of each
tax to that tax, so that every export adds up to the invoice; no part is a whole minor unit from its own exact tax.
Knows the printed invoice and no format.
"""

from dataclasses import dataclass
from fractions import Fraction

from metering.core.invoice import Invoice, Line, TaxEntry
from metering.core.money import amount_text, apportioned, parse_amount
from metering.invoicing.lines.tax import by_tax, lines_before_tax, lines_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One line (or a project's part of one), in whole minor units of the document's currency.

    `line` says its tax; `rate` is that of its tax in percent, `0` where it has none.
    """

    line: Line
    project_id: str | None
    quantity: str
    currency: str
    net: int
    tax: int
    rate: str = "0"

    @property
    def net_text(self) -> str:
        """The part before tax, as an amount."""
        return amount_text(self.net, self.currency)

    @property
    def tax_text(self) -> str:
        """The part of the tax, as an amount."""
        return amount_text(self.tax, self.currency)

    @property
    def said(self) -> str:
        """Its description: the invoice's words, its quantity, and the project's id."""
        quantity = f": {self.quantity} {self.line.unit}" if self.line.unit else ""
        project = f" ({self.project_id})" if self.project_id else ""
        return f"{self.line.description}{quantity}{project}"


def shares(document: Invoice, *, by_project: bool = False) -> list[Share]:
    """The document's lines in order; `by_project` splits those that stand for several projects."""
    currency = document.currency
    printed = [_parts(line, by_project=by_project) for line in lines_of(document)]
    before_tax = [_parts(line, by_project=by_project) for line in lines_before_tax(document)]
    out: list[list[Share]] = [[] for _ in printed]
    for entry, places in by_tax(document):
        parts = [(place, *pair) for place in places for pair in zip(printed[place], before_tax[place], strict=True)]
        gross = [parse_amount(part.amount, currency) for _, part, _ in parts]
        nets = [parse_amount(net.amount, currency) for _, _, net in parts]
        taxes = _taxes(document, entry, gross, nets)
        rate = entry.rate_percent if entry else "0"
        for (place, part, _), net, tax in zip(parts, nets, taxes, strict=True):
            out[place].append(
                Share(
                    line=part.line,
                    project_id=part.project_id,
                    quantity=part.quantity,
                    currency=currency,
                    net=net,
                    tax=tax,
                    rate=rate,
                )
            )
    found = [share for shares_of_line in out for share in shares_of_line]
    assert sum(share.net for share in found) == parse_amount(document.subtotal, currency), document.number
    return found


def _taxes(document: Invoice, entry: TaxEntry | None, gross: list[int], nets: list[int]) -> list[int]:
    """The tax of each part of one rate: what the part includes, or its own exact tax by largest remainder."""
    if entry is None:
        return [0] * len(nets)
    if document.tax_inclusive:
        return [with_tax - net for with_tax, net in zip(gross, nets, strict=True)]
    rate = Fraction(entry.rate_percent) / 100
    return apportioned(parse_amount(entry.amount, document.currency), [net * rate for net in nets])


def payable(document: Invoice) -> int:
    """The document's total, in minor units."""
    return parse_amount(document.total, document.currency)


@dataclass(frozen=True, slots=True)
class _Part:
    line: Line
    project_id: str | None
    quantity: str
    amount: str


def _parts(line: Line, *, by_project: bool) -> list[_Part]:
    """The line as it is, or as the projects that it stands for."""
    if by_project and line.projects:
        return [_Part(line, part.project_id, part.quantity, part.amount) for part in line.projects]
    return [_Part(line, line.project_id, line.quantity, line.amount)]
