"""Laws of a month: bounds count once per group whatever it is cut into, and every line can be multiplied out."""

import itertools
from datetime import timedelta
from fractions import Fraction

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws_rating import prices, texts

from metering.core import meters, money
from metering.core.plans import Price
from metering.invoicing.lines import assembly as invoice
from metering.rating import charges as rating
from metering.rating import pools
from metering.rating.pieces import priced_pieces
from tests.support import oracle
from tests.support.card import SEPTEMBER, plan, rates, segments, subscription, used_frame
from tests.support.card import existence as existing
from tests.support.documents import printed

HOURS = 720
MONTHS = settings(max_examples=60, deadline=None)
AMOUNTS = st.one_of(st.sampled_from(["0", "0.5", "0.005", "5", "100"]), texts(10, 4), texts(1000, 2))


class Hours(dict[str, list[str | None]]):
    """Project -> its customer, or nobody, hour by hour."""

    def __repr__(self) -> str:
        return repr({project: [run[:3] for run in oracle.runs(hours)] for project, hours in self.items()})


@st.composite
def owners(draw: st.DrawFn) -> Hours:
    """Two projects, each of which changes its customer at few moments."""
    out = Hours()
    for project in ("p", "q"):
        cuts = [0, *sorted(draw(st.sets(st.integers(1, HOURS - 1), max_size=5))), HOURS]
        out[project] = []
        for low, high in itertools.pairwise(cuts):
            out[project] += [draw(st.sampled_from(["A", "A", "B", None]))] * (high - low)
    return out


@st.composite
def versions(draw: st.DrawFn) -> list[tuple[int, dict[str, object]]]:
    """One to three versions of a price, the first perhaps from inside the month."""
    firsts = sorted(draw(st.sets(st.integers(1, HOURS - 1), max_size=2)))
    firsts = firsts if firsts and draw(st.booleans()) else [0, *firsts]
    return [(first, draw(prices(amounts=AMOUNTS))) for first in firsts]


seconds = st.dictionaries(
    st.tuples(st.sampled_from("pq"), st.integers(0, HOURS - 1)), st.integers(1, 300 * 3600), max_size=8
)


def dated(first, price, scope):
    start = SEPTEMBER.start + timedelta(hours=first)
    return Price.model_validate({"meter": "compute", "valid_from": start, "scope": scope, **price})


def month(found, owned, used, *, scope, prorate="second", rounding="half_up", **terms):
    """The lines of every customer."""
    pro = plan("pro", *(dated(first, price, scope) for first, price in found), **terms)
    rows = [
        subscription(project, customer, "pro", *(SEPTEMBER.start + timedelta(hours=hour) for hour in span))
        for project, hours in owned.items()
        for customer, *span, _ in oracle.runs(hours)
    ]
    exists = existing(**dict.fromkeys(owned, (None, None)))
    held = segments(exists, subscriptions=rows, plans=[pro], prorate=prorate)
    pieces, priced = priced_pieces(held, [pro], meters.built_in())
    by_piece: dict[int, int] = {}
    for (project, hour), value in used.items():
        moment = SEPTEMBER.start + timedelta(hours=hour)
        is_here = (pl.col("project_id") == project) & (pl.col("start") <= moment) & (pl.col("end") > moment)
        for number in pieces.filter(is_here)["piece_no"]:
            by_piece[number] = by_piece.get(number, 0) + value
    usage = used_frame(by_piece)
    card = rates(
        [pro], priced, meters.built_in(), rounding=rounding, prorate=prorate, pools=pools.pools(pieces, usage, priced)
    )
    charges = rating.charges(pieces, usage, priced, held)
    return printed(invoice.lines(SEPTEMBER, held, charges, card))


@MONTHS
@given(
    found=versions(), owned=owners(), used=seconds, scope=st.sampled_from(["project", "customer"]),
    prorate=st.sampled_from(["second", "none"]),
)  # fmt: skip
def test_a_months_groups_come_to_what_a_walk_through_every_hour_finds(found, owned, used, scope, prorate):
    lines = month(found, owned, used, scope=scope, prorate=prorate)

    got: dict[tuple[str, str | None], Fraction] = {}
    for customer, own in lines.items():
        for line in own:
            key = (customer, line["project_id"])
            got[key] = got.get(key, Fraction(0)) + Fraction(line["amount"])
    quantities = {key: Fraction(value, 3600) for key, value in used.items()}
    expected = oracle.month(found, owned, quantities, by_customer=scope == "customer", prorate=prorate)
    assert {key: cents for key, cents in got.items() if cents} == {key: c for key, c in expected.items() if c}


def assert_multiplies(line, rounding="half_up", currency="USD"):
    """Quantity x unit price, rounded once, is the amount; so are both ends, and their difference is the line."""
    amount = money.parse_amount(line["amount"], currency)
    if line["unit_price"] is None:
        assert line["kind"] in {"minimum", "discount"}
        assert line["basis"]
        return
    price = Fraction(line["unit_price"])
    ends = [line[name] for name in ("before", "after") if name in line]
    if ends:
        before, after = (money.parse_amount(end["amount"], currency) for end in ends)
        assert after - before == amount
        assert abs(Fraction(ends[1]["quantity"]) - Fraction(ends[0]["quantity"]) - Fraction(line["quantity"])) < 1e-11
    for one in [*ends[:1], *([] if line["kind"] == "base_fee" and ends else [line])]:
        counted = Fraction(one["packages"] if "packages" in one else one["quantity"])
        exact = counted * price * 100
        # A quantity that does not end is printed to 12 places.
        slack = price * 100 / 10**12
        least, most = (money.round_amount(value / 100, currency, rounding) for value in (exact - slack, exact + slack))
        assert least <= money.parse_amount(one["amount"], currency) <= most


TERMS = st.fixed_dictionaries(
    {
        "scope": st.sampled_from(["project", "customer"]),
        "rounding": st.sampled_from(["half_up", "half_even"]),
        "base_fee": st.sampled_from(["0", "20.00", "0.01", "9.99"]),
        "base_fee_scope": st.sampled_from(["project", "customer"]),
        "minimum": st.just("3.33"),
    }
)


@MONTHS
@given(found=versions(), owned=owners(), used=seconds, terms=TERMS)
def test_every_line_with_a_unit_price_multiplies_out(found, owned, used, terms):
    rounding = terms["rounding"]
    lines = month(found, owned, used, **terms)

    for line in (line for own in lines.values() for line in own):
        assert_multiplies(line, rounding)
        for part in [line["projects"]] if "projects" in line else []:
            assert sum(Fraction(one["amount"]) for one in part) == Fraction(line["amount"])
            assert sum(Fraction(one["quantity"]) for one in part) == Fraction(line["quantity"])
