"""The keys of a line's JSON keep the order in which its kind was first issued, so that bytes never change."""

import json

import pytest

from metering.core.invoice import encoded, in_order
from metering.invoicing.lines import adjustment
from metering.invoicing.lines.remainder import remainder
from tests.support.documents import invoice_of, lines_of, printed

HEAD = ["key", "kind", "project_id", "plan", "meter", "description", "from", "to"]
HEAD += ["quantity", "unit", "unit_price", "amount"]
VAT = {"tax_rate_percent": "21", "tax_name": "VAT"}
PARTS = {"projects": [{"project_id": "a", "quantity": "3", "amount": "3.00"}]}
BILLED = {"plan": "pro", "meter": "compute", "quantity": "3", "unit_price": "1", "amount": "3.00", "grain": "hourly"}
RATED = {**BILLED, "quantity": "5", "amount": "5.00", "basis": {"cost": "4", "markup_percent": "25"}, **VAT}


def keys(lines) -> list[list[str]]:
    return [list(json.loads(encoded(line))) for line in lines]


def test_a_line_has_its_tax_last():
    [line] = lines_of([{**VAT, **PARTS, **RATED}])
    assert keys([line]) == [[*HEAD, "grain", "basis", "projects", "tax_rate_percent", "tax_name"]]


def test_an_adjustment_has_its_basis_and_parts_after_its_tax():
    found = adjustment.adjustments(lines_of([{**BILLED, **VAT}]), lines_of([{**RATED, **PARTS}]), "USD")
    assert keys(found) == [[*HEAD, "tax_rate_percent", "tax_name", "basis", "projects"]]


def test_what_remains_of_a_line_has_its_ends_last_unless_the_line_had_ends():
    end = {"quantity": "0", "amount": "0.00"}
    billed, rated = lines_of([{**BILLED, **VAT}]), [{**RATED, **PARTS}, {**RATED, "before": end, "after": end}]
    found = [line for row in rated for line in remainder(billed, lines_of([row]), "USD", "half_up")]
    assert keys(found) == [
        [*HEAD, "grain", "tax_rate_percent", "tax_name", "basis", "projects", "before", "after"],
        [*HEAD, "grain", "before", "after", "tax_rate_percent", "tax_name", "basis"],
    ]


@pytest.mark.parametrize("first", [["tax_rate_percent", "tax_name"], ["basis"], ["amount", "key"]])
def test_a_stored_line_is_written_again_as_it_stands_in_the_text(first):
    [line] = printed(lines_of([RATED]))
    line = {name: line[name] for name in [*first, *(name for name in line if name not in first)]}
    document = printed(invoice_of({})) | {"lines": [line]}
    assert json.loads(encoded(in_order(document)))["lines"] == [line]
    assert keys(in_order(document).lines) == [list(line)]
