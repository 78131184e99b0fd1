"""A document split to the cent: each line's part before tax, and its part of the tax.

Pure. Whatever the document's lines include or leave out, the parts before tax sum to its subtotal and the parts of the
tax to its taxes, so that every export adds up to the invoice. Knows the printed invoice and no format.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from metering.money import amount_text, parse_amount
from metering.tax import lines_before_tax

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One line (or a project's part of one), in whole minor units of the document's currency."""

    line: Mapping[str, Any]
    project_id: str | None
    quantity: str
    currency: str
    net: int
    tax: int

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
        """What it is for: the invoice's words, its quantity, and the project's id."""
        quantity = f": {self.quantity} {self.line['unit']}" if self.line["unit"] else ""
        project = f" ({self.project_id})" if self.project_id else ""
        return f"{self.line['description']}{quantity}{project}"


def shares(document: Json, *, by_project: bool = False) -> list[Share]:
    """The document's lines in order; `by_project` splits those that stand for several projects."""
    currency = document["currency"]
    parts = list(_parts(lines_before_tax(document), by_project=by_project))
    nets = [parse_amount(amount, currency) for _, _, _, amount in parts]
    assert sum(nets) == parse_amount(document["subtotal"], currency), document["number"]
    taxes = _in_proportion(nets, tax_of(document))
    return [
        Share(line=line, project_id=project, quantity=quantity, currency=currency, net=net, tax=tax)
        for (line, project, quantity, _), net, tax in zip(parts, nets, taxes, strict=True)
    ]


def tax_of(document: Json) -> int:
    """All of the document's tax, in minor units."""
    return sum(parse_amount(tax["amount"], document["currency"]) for tax in document["taxes"])


def payable(document: Json) -> int:
    """The document's total, in minor units."""
    return parse_amount(document["total"], document["currency"])


def _parts(
    lines: Iterable[Mapping[str, Any]], *, by_project: bool
) -> Iterator[tuple[Mapping[str, Any], str | None, str, str]]:
    """(line, project, quantity, amount)."""
    for line in lines:
        projects = line.get("projects") if by_project else None
        if projects:
            yield from ((line, part["project_id"], part["quantity"], part["amount"]) for part in projects)
        else:
            yield line, line["project_id"], line["quantity"], line["amount"]


def _in_proportion(weights: Sequence[int], total: int) -> list[int]:
    """Whole units in proportion to weights of any sign, summing to the total: running sums are cut, not the parts."""
    whole = sum(weights)
    assert whole or not total, "something cannot be a share of nothing"
    running = [weight * total // whole if whole else 0 for weight in accumulate(weights, initial=0)]
    return [after - before for before, after in pairwise(running)]
