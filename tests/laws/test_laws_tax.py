"""Laws of a tax that changes inside a month, over random prices, usage, discounts and days of change."""

import os
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from metering.core.dated_tax import changes as dated_tax_changes
from metering.core.money import parse_amount, round_amount
from metering.core.parties import Customer, Discount
from metering.core.period import parse_time
from metering.invoicing.lines import assembly as invoice
from metering.rating import charges as rating
from metering.rating import pools
from metering.rating.pieces import priced_pieces
from tests.support.card import (
    BUILT_IN,
    SEPTEMBER,
    at,
    existence,
    plan,
    price,
    rates,
    segments,
    subscription,
    used_frame,
)
from tests.support.documents import printed

TIMES = int(os.environ.get("METERING_EXAMPLES_TIMES", "1"))

prices = st.one_of(
    st.builds(lambda unit: {"unit_price": unit}, st.sampled_from(["0.07", "1", "0.003"])),
    st.just(
        {"model": "graduated", "tiers": [{"up_to": "20", "unit_price": "1"}, {"unit_price": "0.5", "flat_fee": "3"}]}
    ),
    st.just({"model": "volume", "tiers": [{"up_to": "20", "unit_price": "1"}, {"unit_price": "0.5"}]}),
    st.just({"model": "package", "package_size": "7", "package_price": "2.01"}),
)
bounds = st.fixed_dictionaries(
    {},
    optional={
        "minimum": st.sampled_from(["0.01", "5", "33.33"]),
        "maximum": st.sampled_from(["33.34", "50"]),
        "included": st.sampled_from(["3", "25"]),
        "scope": st.just("customer"),
    },
)
months = st.fixed_dictionaries(
    {
        "price": prices,
        "bounds": bounds,
        "second": st.one_of(st.none(), st.integers(2, 30)),
        "usage": st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 30), st.integers(0, 90_000)), max_size=6),
        "base_fee": st.sampled_from(["0", "10.01"]),
        "least": st.sampled_from(["0", "70"]),
        "discount": st.sampled_from([None, {"percent": "10"}, {"percent": "99"}, {"amount": "5"}]),
        "prorate": st.sampled_from(["second", "day", "none"]),
        "b_from": st.integers(1, 29),
    }
)
days = st.lists(st.integers(2, 30), min_size=1, max_size=3, unique=True).map(sorted)


def customer(changes: list[int]) -> Customer:
    """c, at 19, 16, 19, 16 % by turns, from these days of September on."""
    bounds = [None, *(at(day) for day in changes), None]
    taxes = [
        {"tax_from": start, "tax_to": end, "tax_rate_percent": rate, "tax_name": "VAT"}
        for start, end, rate in zip(bounds, bounds[1:], ["19", "16", "19", "16"], strict=False)
    ]
    return Customer.model_validate({"id": "c", "tax_rate_percent": "16", "dated": taxes})


def drafted(month: dict, payer: Customer) -> dict | None:
    """September's draft of c, with projects a and b."""
    versions = [price(**month["price"], **month["bounds"])]
    if month["second"]:
        versions.append(price(valid_from=at(month["second"]), **month["price"], **month["bounds"]))
    pro = plan("pro", *versions, base_fee=month["base_fee"], minimum=month["least"])
    rows = [subscription("a", "c", "pro"), subscription("b", "c", "pro", at(month["b_from"]))]
    exists = existence(a=(None, None), b=(None, None))
    owned = segments(exists, subscriptions=rows, plans=[pro], prorate=month["prorate"])
    cuts = dated_tax_changes(payer, SEPTEMBER.start, SEPTEMBER.end)
    pieces, numbers = priced_pieces(owned, [pro], BUILT_IN, {"c": cuts} if cuts else {})
    used: dict[int, int] = {}
    for project, day, value in month["usage"]:
        for number, owner, start, end in pieces.select("piece_no", "project_id", "start", "end").iter_rows():
            if owner == project and start <= at(day) < end:
                used[number] = used.get(number, 0) + value
    frame = used_frame(used)
    charges = rating.charges(pieces, frame, numbers, owned)
    discounts = [Discount.model_validate({"customer": "c", **month["discount"]})] if month["discount"] else []
    card = rates(
        [pro],
        numbers,
        BUILT_IN,
        prorate=month["prorate"],
        discounts=discounts,
        customers=[payer],
        pools=pools.pools(pieces, frame, numbers),
    )
    return next(iter(printed(invoice.invoices(SEPTEMBER, owned, charges, card))), None)


def cents(rows: list[dict]) -> int:
    return sum(parse_amount(row["amount"], "USD") for row in rows)


@settings(deadline=None, max_examples=100 * TIMES)
@given(month=months, changes=days)
def test_every_line_lies_within_one_tax_and_taxes_are_their_rates_of_their_lines(month, changes):
    payer = customer(changes)
    draft = drafted(month, payer)
    if draft is None:
        return
    lines = draft["lines"]
    assert len({line["key"] for line in lines}) == len(lines)
    for line in lines:
        start, end = parse_time(line["from"]), parse_time(line["to"])
        assert not any(start < at(day) < end for day in changes)
        assert line["tax_rate_percent"] == ["19", "16", "19", "16"][sum(at(day) <= start for day in changes)]
        if "projects" in line:
            assert cents(line["projects"]) == parse_amount(line["amount"], "USD")
    for entry in draft["taxes"]:
        base = cents([line for line in lines if line["tax_rate_percent"] == entry["rate_percent"]])
        assert parse_amount(entry["base"], "USD") == base
        exact = Fraction(base, 100) * Fraction(entry["rate_percent"]) / 100
        assert parse_amount(entry["amount"], "USD") == round_amount(exact, "USD")
    assert parse_amount(draft["subtotal"], "USD") == cents(lines)
    total = cents(lines) + cents(draft["taxes"])
    assert parse_amount(draft["total"], "USD") == total


@settings(deadline=None, max_examples=100 * TIMES)
@given(month=months, changes=days)
def test_a_change_of_tax_changes_no_amount_before_tax_but_by_the_rounding_of_more_lines(month, changes):
    cut, whole = drafted(month, customer(changes)), drafted(month, Customer(id="c", tax_rate_percent=Decimal(19)))
    assert (cut is None) == (whole is None)
    if cut is None or whole is None:
        return

    def of(draft: dict, *kinds: str) -> list[dict]:
        return [line for line in draft["lines"] if line["kind"] in kinds]

    assert cents(of(cut, "base_fee")) == cents(of(whole, "base_fee"))
    usage = of(cut, "usage", "flat_fee")
    near = abs(cents(usage) - cents(of(whole, "usage", "flat_fee")))
    assert near <= len(usage) + len(of(whole, "usage", "flat_fee"))
    # What bounds or reduces the lines is computed once, from their sums: the whole differs by no more than they do.
    assert abs(cents(cut["lines"]) - cents(whole["lines"])) <= near + 2
    for line in cut["lines"]:
        if "shared" in line:
            mine = [one for one in cut["lines"] if one.get("shared", {}).get("key") == line["shared"]["key"]]
            assert cents(mine) == parse_amount(line["shared"]["amount"], "USD")


def test_a_month_without_a_change_is_not_cut():
    always = Customer(id="c", tax_rate_percent=Decimal(19))
    assert dated_tax_changes(always, SEPTEMBER.start, SEPTEMBER.end) == []
    edges = customer([2, 30])
    assert dated_tax_changes(edges, at(2), at(30)) == []
    assert dated_tax_changes(edges, at(1, 23, 59, 59), at(30, 0, 0, 1)) == [at(2), at(30)]
