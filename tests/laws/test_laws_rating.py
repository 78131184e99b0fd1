"""Laws of rating: what holds for every price, quantity and split, against an oracle that shares no code."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.analysis.price_lines import rate_line
from metering.config import parse_price
from metering.core import meters, money
from metering.core.errors import ExactnessError
from metering.core.frames import Moment
from metering.core.parties import Subscription
from metering.core.period import month_of
from metering.core.plans import Plan, Price
from metering.invoicing.lines import assembly as invoice
from metering.rating import charges as rating
from metering.rating import segments as ratecard
from metering.rating.columns import CHARGES
from metering.rating.models import exact_parts
from metering.rating.pieces import priced_pieces
from tests.support import oracle
from tests.support.card import rates
from tests.support.documents import printed

SEPTEMBER = month_of(datetime(2026, 9, 1, tzinfo=UTC))
SLOW = settings(max_examples=60, deadline=None)
MANY = settings(max_examples=300, deadline=None)


def texts(most: int, places: int) -> st.SearchStrategy[str]:
    return st.decimals(0, most, places=places, allow_nan=False).map(lambda number: f"{number:f}")


amounts = st.one_of(st.sampled_from(["0", "0.5", "0.005", "0.000000001", "100"]), texts(10, 4), texts(10**9, 12))
quantities = st.one_of(
    st.integers(0, 300).map(str), texts(300, 1), texts(5000, 6), st.integers(0, 10**31).map(str), texts(10**30, 9)
)
sizes = st.one_of(st.integers(1, 50).map(str), texts(50, 2)).filter(lambda text: Fraction(text) > 0)


@st.composite
def prices(
    draw: st.DrawFn,
    models: tuple[str, ...] = ("per_unit", "graduated", "volume", "package"),
    bounds: bool = True,
    amounts: st.SearchStrategy[str] = amounts,
):
    model = draw(st.sampled_from(models))
    price: dict[str, object] = {"model": model}
    if model == "per_unit":
        price["unit_price"] = draw(amounts)
    elif model == "package":
        price |= {"package_size": draw(sizes), "package_price": draw(amounts)}
    else:
        ends = sorted(draw(st.sets(sizes, max_size=4)), key=Fraction)
        ends = [end for i, end in enumerate(ends) if i == 0 or Fraction(end) > Fraction(ends[i - 1])]
        tiers = [{"up_to": end, "unit_price": draw(amounts)} for end in ends] + [{"unit_price": draw(amounts)}]
        for tier in tiers:
            if draw(st.booleans()):
                tier["flat_fee"] = draw(amounts)
        price |= {"tiers": tiers, "flat_fee_at_zero": draw(st.booleans())}
    if draw(st.booleans()):
        price["included"] = draw(st.one_of(sizes, texts(10**6, 3)))
    if bounds and draw(st.integers(0, 3)) == 0:
        least, most = sorted([draw(amounts), draw(amounts)], key=Fraction)
        price |= draw(st.sampled_from([{"minimum": least}, {"maximum": most}, {"minimum": least, "maximum": most}]))
    return price


shares = st.one_of(
    st.just("1"), texts(1, 3), st.tuples(st.integers(0, 31), st.integers(31, 31)).map(lambda t: f"{t[0]}/{t[1]}")
)
currencies = st.sampled_from(["USD", "JPY", "KWD", "CLF"])


@MANY
@given(price=prices(), quantity=quantities, share=shares, currency=currencies, before=st.none() | quantities)
def test_a_price_line_equals_the_oracle(price, quantity, share, currency, before):
    line = {"price": price, "quantity": quantity, "share": share, "currency": currency}
    if before is not None:
        low, high = sorted([before, quantity], key=Fraction)
        line |= {"quantity": high, "used_before": low}

    answer = json.loads(rate_line(json.dumps(line)))
    expected = oracle.answer(line)

    assert oracle.number(answer.pop("exact").lstrip("-")) == oracle.number(expected.pop("exact").lstrip("-"))
    assert answer == expected


@MANY
@given(price=prices(), quantity=quantities, share=shares)
def test_tiers_conserve_quantity_and_lines_sum_to_the_amount(price, quantity, share):
    answer = json.loads(rate_line(json.dumps({"price": price, "quantity": quantity, "share": share})))

    parts = exact_parts(parse_price(price), share=Fraction(share), after=Fraction(quantity))
    left = max(Fraction(0), Fraction(quantity) - Fraction(price.get("included", "0")) * Fraction(share))
    assert sum((part.quantity for part in parts if part.kind == "usage"), Fraction(0)) == left
    assert sum((Fraction(line["amount"]) for line in answer["lines"]), Fraction(0)) == Fraction(answer["amount"])


@MANY
@given(price=prices(), cuts=st.lists(quantities, min_size=2, max_size=5), share=shares)
def test_steps_of_usage_sum_to_the_whole_price(price, cuts, share):
    model, ends = parse_price(price), sorted(map(Fraction, cuts))

    whole = exact_parts(model, share=Fraction(share), after=ends[-1])
    steps = exact_parts(model, share=Fraction(share), after=ends[0])
    for before, after in itertools.pairwise(ends):
        steps += exact_parts(model, share=Fraction(share), before=before, after=after)

    assert sum(part.amount for part in steps) == sum(part.amount for part in whole)
    for key in {(part.kind, part.tier) for part in steps}:
        step, all_at_once = ([p.quantity for p in parts if (p.kind, p.tier) == key] for parts in (steps, whole))
        assert sum(step) == sum(all_at_once)


@MANY
@given(price=prices(("per_unit", "graduated", "package")), quantity=quantities, more=quantities)
def test_more_usage_never_costs_less_but_for_volume(price, quantity, more):
    model, share = parse_price(price), Fraction(1)

    def total(used: Fraction) -> Fraction:
        return sum((part.amount for part in exact_parts(model, share=share, after=used)), Fraction(0))

    assert total(Fraction(quantity)) <= total(Fraction(quantity) + Fraction(more))


@MANY
@given(price=prices(("graduated",), bounds=False), rest=st.fractions(0, 1))
def test_a_graduated_price_without_flat_fees_is_continuous_at_every_bound(price, rest):
    for tier in price["tiers"]:
        tier.pop("flat_fee", None)
    model = parse_price(price)
    included = Fraction(price.get("included", "0"))

    def total(used: Fraction) -> Fraction:
        return sum((part.amount for part in exact_parts(model, share=Fraction(1), after=used)), Fraction(0))

    for tier, following in zip(model.tiers, model.tiers[1:], strict=False):
        bound = included + Fraction(tier.up_to)
        step = min(rest, *(Fraction(t.up_to) - Fraction(tier.up_to) for t in [following] if t.up_to is not None), rest)
        assert total(bound + step) - total(bound) == step * Fraction(following.unit_price)


@MANY
@given(price=prices(bounds=False), quantity=quantities, factor=st.integers(1, 1000))
def test_prices_times_k_cost_k_times_as_much(price, quantity, factor):
    def dearer(table: dict[str, object]) -> dict[str, object]:
        prices_of = {"unit_price", "package_price", "flat_fee"}
        times = {key: money.exact_text(Fraction(str(table[key])) * factor) for key in prices_of & table.keys()}
        return {**table, **times}

    dear = dearer(price)
    if "tiers" in price:
        dear["tiers"] = [dearer(tier) for tier in price["tiers"]]

    def total(card: dict[str, object]) -> Fraction:
        parts = exact_parts(parse_price(card), share=Fraction(1), after=Fraction(quantity))
        return sum((part.amount for part in parts), Fraction(0))

    assert total(dear) == factor * total(price)


@MANY
@given(
    value=st.fractions(-(10**12), 10**12, max_denominator=10**9)
    | st.integers(-4000, 4000).map(lambda n: Fraction(n, 400)),
    currency=currencies,
    mode=st.sampled_from(["half_up", "half_even"]),
)
def test_the_vectorised_rounding_is_the_rounding(value, currency, mode):
    minor = value.numerator * 10 ** money.minor_units(currency)
    frame = pl.DataFrame({"n": [minor], "d": [value.denominator]}, schema={"n": pl.Int128, "d": pl.Int128})

    rounded = frame.select(money.rounded_amounts(pl.col("n"), pl.col("d"), mode)).item()

    assert rounded == money.round_amount(value, currency, mode)


@MANY
@given(total=st.integers(-(10**6), 10**6), weights=st.lists(st.integers(0, 10**9), min_size=1, max_size=12))
def test_a_split_sums_to_its_whole_and_no_part_is_off_by_a_unit(total, weights):
    parts = money.largest_remainder(total, weights)

    assert sum(parts) == total
    if sum(weights):
        assert all(abs(part - Fraction(total * w, sum(weights))) < 1 for part, w in zip(parts, weights, strict=True))


def frame_of(price_list, uses):
    """Pieces, usage and segments of one project per usage list: price versions five days apart, used in 1/3600."""
    versions = tuple(
        Price.model_validate({"meter": "compute", "valid_from": SEPTEMBER.start + timedelta(days=5 * i), **price})
        for i, price in enumerate(price_list)
    )
    plan = Plan(id="pro", name="Pro", currency="USD", prices=versions)
    rows = [Subscription(project_id=f"p{i:02}", customer="c", plan="pro") for i in range(len(uses))]
    ids = [row.project_id for row in rows]
    existence = pl.DataFrame(
        {"project_id": ids, "exists_from": None, "exists_to": None},
        schema={"project_id": pl.String, "exists_from": Moment, "exists_to": Moment},
    )
    nothing = pl.DataFrame(
        schema={"project_id": pl.String, "organization": pl.String, "seen_at": Moment, "name": pl.String}
    )
    segments = ratecard.segments(SEPTEMBER, existence, nothing, rows, [], None, [plan])
    pieces, priced = priced_pieces(segments, [plan], meters.built_in())
    assert pieces.height == len(uses) * len(price_list)
    values = [value for use in uses for value in use]
    used = pl.DataFrame(
        {"piece_no": pieces["piece_no"], "used": values, "grain": "hourly"},
        schema={"piece_no": pl.Int64, "used": pl.Int128, "grain": pl.String},
    )
    return plan, segments, pieces, priced, used


small = st.integers(0, 400 * 3600)
huge = st.integers(0, 2**90)


@SLOW
@given(data=st.data(), price_list=st.lists(prices(), min_size=1, max_size=3))
def test_the_frame_path_equals_the_exact_path_over_price_versions(data, price_list):
    count = len(price_list)
    uses = data.draw(st.lists(st.lists(small | huge, min_size=count, max_size=count), min_size=1, max_size=4))
    _, segments, pieces, priced, used = frame_of(price_list, uses)

    try:
        charges = rating.charges(pieces, used, priced, segments)
    except ExactnessError:
        return
    got = {
        (row["piece_no"], row["kind"], row["tier"]): (
            Fraction(row["quantity_num"], row["quantity_den"]),
            Fraction(row["amount_num"], row["amount_den"]),
        )
        for row in charges.iter_rows(named=True)
    }

    expected, piece_no = {}, 0
    for use in uses:
        before = None
        for price, value in zip(price_list, use, strict=True):
            piece_no += 1
            after = (before or Fraction(0)) + Fraction(value, 3600)
            for part in exact_parts(parse_price(price), share=Fraction(1), before=before, after=after):
                expected[piece_no, part.kind, part.tier] = (part.quantity, part.amount)
            before = after
    assert got == expected


@SLOW
@given(price=prices(bounds=False), uses=st.lists(small, min_size=1, max_size=6), seed=st.randoms())
def test_the_order_of_rows_changes_nothing(price, uses, seed):
    _, segments, pieces, priced, used = frame_of([price], [[value] for value in uses])
    shuffled = list(range(used.height))
    seed.shuffle(shuffled)

    straight = rating.charges(pieces, used, priced, segments)
    crossed = rating.charges(pieces[shuffled[::-1]], used[shuffled], priced, segments)

    assert straight.equals(crossed)


@SLOW
@given(price=prices(), uses=st.lists(small, min_size=1, max_size=6))
def test_customer_scope_rates_the_sum_of_the_projects(price, uses):
    _, segments, pieces, priced, used = frame_of([{**price, "scope": "customer"}], [[value] for value in uses])

    charges = rating.charges(pieces, used, priced, segments)

    whole = exact_parts(parse_price(price), share=Fraction(1), after=Fraction(sum(uses), 3600))
    got = [Fraction(*pair) for pair in charges.select("amount_num", "amount_den").iter_rows()]
    assert got == [part.amount for part in whole]
    assert charges["project_id"].to_list() == [None] * len(whole)


@SLOW
@given(
    fee=texts(1000, 2),
    cuts=st.sets(st.integers(1, SEPTEMBER.seconds - 1), max_size=6),
    mode=st.sampled_from(["half_up", "half_even"]),
    currency=currencies,
)
def test_the_parts_of_a_base_fee_sum_to_the_whole(fee, cuts, mode, currency):
    plan = Plan(id="pro", name="Pro", currency=currency, base_fee=Decimal(fee))
    ends = [SEPTEMBER.start + timedelta(seconds=cut) for cut in sorted(cuts)]
    rows = [
        Subscription(project_id="p", customer=f"c{i}", plan="pro", valid_from=start, valid_to=end)
        for i, (start, end) in enumerate(zip([None, *ends], [*ends, None], strict=True))
    ]
    existence = pl.DataFrame(
        {"project_id": ["p"], "exists_from": None, "exists_to": None},
        schema={"project_id": pl.String, "exists_from": Moment, "exists_to": Moment},
    )
    nothing = pl.DataFrame(
        schema={"project_id": pl.String, "organization": pl.String, "seen_at": Moment, "name": pl.String}
    )
    segments = ratecard.segments(SEPTEMBER, existence, nothing, rows, [], None, [plan])
    card = rates([plan], {}, meters.built_in(), rounding=mode)
    empty = pl.DataFrame(schema=CHARGES)

    lines = [line for own in printed(invoice.lines(SEPTEMBER, segments, empty, card)).values() for line in own]

    total = sum(money.parse_amount(line["amount"], currency) for line in lines)
    assert total == money.round_amount(Fraction(fee), currency, mode)


HOURS = SEPTEMBER.seconds // 3600


def moment(hour: int | None) -> datetime | None:
    return None if hour is None else SEPTEMBER.start + timedelta(hours=hour)


@st.composite
def subscriptions(draw: st.DrawFn) -> list[tuple[str, str, int | None, int | None]]:
    """(customer, plan, from hour, to hour) that do not overlap, some beyond the month, some with gaps between them."""
    cuts = sorted(draw(st.sets(st.integers(-50, HOURS + 50), min_size=1, max_size=7)))
    bounds = [None, *cuts, None] if draw(st.booleans()) else cuts
    rows = itertools.pairwise(bounds)
    owners = st.tuples(st.sampled_from("cd"), st.sampled_from(["pro", "team"]))
    return [(*draw(owners), low, high) for low, high in rows if draw(st.integers(0, 4)) > 0]


@SLOW
@given(rows=subscriptions(), born=st.none() | st.integers(-9, HOURS), life=st.none() | st.integers(1, HOURS))
def test_segments_are_what_a_walk_through_every_hour_finds(rows, born, life):
    gone = None if life is None else (born or 0) + life
    existence = pl.DataFrame(
        {"project_id": ["p"], "exists_from": [moment(born)], "exists_to": [moment(gone)]},
        schema={"project_id": pl.String, "exists_from": Moment, "exists_to": Moment},
    )
    nothing = pl.DataFrame(
        schema={"project_id": pl.String, "organization": pl.String, "seen_at": Moment, "name": pl.String}
    )
    chosen = [
        Subscription(project_id="p", customer=customer, plan=plan, valid_from=moment(low), valid_to=moment(high))
        for customer, plan, low, high in rows
    ]

    found = ratecard.segments(SEPTEMBER, existence, nothing, chosen, [], None, [])

    owner_of: list[tuple[str, str] | None] = [None] * HOURS
    for customer, plan, low, high in rows:
        for hour in range(max(0, -99 if low is None else low), min(HOURS, 9999 if high is None else high)):
            if (born is None or born <= hour) and (gone is None or hour < gone):
                owner_of[hour] = (customer, plan)
    walked: list[list[object]] = []
    for hour, owner in enumerate(owner_of):
        if owner and walked and walked[-1][:2] == list(owner) and walked[-1][3] == hour:
            walked[-1][3] = hour + 1
        elif owner:
            walked.append([*owner, hour, hour + 1])
    assert found.select("customer", "plan", "start", "end").rows() == [
        (customer, plan, moment(start), moment(end)) for customer, plan, start, end in walked
    ]
    if walked:
        gaps = sum(later[2] - earlier[3] for earlier, later in itertools.pairwise(walked))
        assert found["share_num"].sum() == SEPTEMBER.seconds - gaps * 3600
