"""Quantities x prices -> charges: exact, one row per tier touched.

One idea carries every case: a price is a cumulative vector L(q) over its tiers, each with a quantity, an amount and a
flat fee once the quantity enters it; L(0) is zero. What is charged is a difference of two such vectors: every version
of a price rates L(after) - L(before) of its part of the run, against its own allowance and tiers.

It stands here twice, in `Fraction` for any number and in Int128 columns for many; a law holds them equal. What could
leave Int128 takes the first. What is due without usage, and what bounds a month's sum, is bounds.py's. Knows nothing of
Neon, of names or of rounding; the price of a piece is a number here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Literal

import polars as pl

from metering.core.errors import ExactnessError
from metering.core.frames import Int128
from metering.core.grain import GRAINS
from metering.core.money import INT128_SAFE
from metering.core.plans import Price, Tier

PartKind = Literal["usage", "flat_fee"]

CHARGES: dict[str, pl.DataType] = {
    "piece_no": pl.Int64(),
    "kind": pl.String(),
    "tier": pl.Int64(),
    "quantity_num": Int128,
    "quantity_den": Int128,
    "amount_num": Int128,
    "amount_den": Int128,
    "before_num": Int128,
    "is_step": pl.Boolean(),
    "project_id": pl.String(),
    "segment_no": pl.Int64(),
    "customer": pl.String(),
    "plan": pl.String(),
    "meter": pl.String(),
    "price_no": pl.Int64(),
    "start": pl.Datetime("us", "UTC"),
    "end": pl.Datetime("us", "UTC"),
    "share_num": pl.Int64(),
    "share_den": pl.Int64(),
    "grain": pl.String(),
}
"""One row per piece and tier touched: kind `usage`, tiers from 1, quantity and amount as exact fractions.

A tier whose flat fee is charged has one more row of kind `flat_fee` with the fees as its quantity: 1, or -1 where a
volume price leaves the tier again. What always holds: amount = quantity x the tier's unit price (usage of per_unit,
graduated and volume), packages begun x the package's price (package), quantity x the tier's flat fee (flat_fee).
`before_num` / quantity_den stood in the tier before; `is_step`: usage came before it in its run. `project_id` is null
where the scope is the customer.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one tier charges: `quantity` in the meter's unit, `amount` in the currency's main unit, both exact.

    Of kind `flat_fee` the quantity counts fees. `before` is the quantity that stood in the tier before.
    """

    kind: PartKind = "usage"
    tier: int
    quantity: Fraction
    amount: Fraction
    unit_price: Decimal | None
    before: Fraction = Fraction(0)


def tiers_of(price: Price) -> tuple[Tier, ...]:
    """The price as tiers: one endless tier for per_unit and package (whose unit price is the package's)."""
    if price.model in {"graduated", "volume"}:
        return price.tiers
    unit_price = price.package_price if price.model == "package" else price.unit_price
    assert unit_price is not None, "faults() refuses a price without its unit price"
    # Validated with the price; asked for once per line.
    return (Tier.model_construct(up_to=None, unit_price=unit_price, flat_fee=Decimal(0)),)


def billable(price: Price, share: Fraction, used: Fraction) -> Fraction:
    """What is left of a quantity after the month's allowance in proportion to `share`."""
    return max(Fraction(0), used - Fraction(price.included) * share)


def exact_parts(  # noqa: PLR0913 - a price and a step of usage are six facts
    price: Price,
    *,
    share: Fraction,
    after: Fraction,
    before: Fraction | None = None,
    costs: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0)),
    idle: Fraction = Fraction(0),
) -> list[Part]:
    """What a price charges for the step from `before` to `after` (quantities in the meter's unit).

    None as `before` is the whole price(after). `costs`, for cost_plus: what Neon charges up to `before` and up to
    `after`. `idle`: the part of the first tier's flat fee that is due while no tier is entered. Parts in order of their
    tiers, each tier's flat fee behind its usage; those without quantity and amount are left out.
    """
    now = _cumulative(price, billable(price, share, after), costs[1], idle)
    then = [_NOWHERE] * len(now)
    if before is not None:
        then = _cumulative(price, billable(price, share, before), costs[0], idle)
    prices = [(None, None)] if price.model == "cost_plus" else [(t.unit_price, t.flat_fee) for t in tiers_of(price)]
    out: list[Part] = []
    for tier, ((unit, fee), up, down) in enumerate(zip(prices, now, then, strict=True), start=1):
        quantity, amount, fees = up[0] - down[0], up[1] - down[1], up[2] - down[2]
        if quantity or amount:
            out.append(Part(tier=tier, quantity=quantity, amount=amount, unit_price=unit, before=down[0]))
        if fees and fee:
            charged = fees * Fraction(fee)
            out.append(Part(kind="flat_fee", tier=tier, quantity=fees, amount=charged, unit_price=fee, before=down[2]))
    return out


_Standing = tuple[Fraction, Fraction, Fraction]
"""What stands in a tier: the quantity, its amount without the flat fee, and how many flat fees."""
_NOWHERE: _Standing = (Fraction(0), Fraction(0), Fraction(0))


def _cumulative(price: Price, quantity: Fraction, cost: Fraction, idle: Fraction) -> list[_Standing]:
    """L(q): what stands in every tier, for a quantity from which the allowance is already off."""
    zero, one = Fraction(0), Fraction(1)
    if price.model == "cost_plus":
        assert price.markup_percent is not None, "faults() refuses cost_plus without a markup"
        return [(quantity, cost * (1 + Fraction(price.markup_percent) / 100), zero)]
    if price.model == "package":
        return [(quantity, packages(price, quantity) * Fraction(tiers_of(price)[0].unit_price), zero)]
    out: list[_Standing] = []
    low = zero
    for i, tier in enumerate(tiers_of(price)):
        high = None if tier.up_to is None else Fraction(tier.up_to)
        is_entered = quantity > low
        if price.model == "volume":
            is_entered = is_entered and (high is None or quantity <= high)
            inside = quantity if is_entered else zero
        else:
            inside = max(zero, (quantity if high is None else min(quantity, high)) - low)
        is_idle = i == 0 and not quantity
        out.append((inside, inside * Fraction(tier.unit_price), one if is_entered else idle if is_idle else zero))
        low = high if high is not None else low
    return out


def packages(price: Price, quantity: Fraction) -> int:
    """The packages that a quantity beyond the allowance has begun."""
    assert price.package_size is not None, "faults() refuses a package without a size"
    return -(-quantity // Fraction(price.package_size))


def charges(
    pieces: pl.DataFrame,
    used: pl.DataFrame,
    prices: Mapping[int, Price],
    segments: pl.DataFrame,
    costs: Mapping[int, Fraction] | None = None,
) -> pl.DataFrame:
    """CHARGES for every piece, with its usage (a piece that `used` lacks has none), sorted by piece and tier.

    `pieces` and `segments` as segments.py makes them; `used`: piece_no, used (Int128, in 1/denominator of the meter's
    unit), grain. `costs`: piece_no -> Neon's cost of that usage, for cost_plus. Raises ExactnessError where a result
    does not fit Int128; nothing wraps.
    """
    rows = _steps(pieces, used, prices, segments)
    cards = _cards(rows, prices)
    is_narrow = pl.col("after").abs() <= pl.col("after_max")
    joined = rows.join(
        cards.select("price_no", "share_den", "after_max").unique(), on=["price_no", "share_den"], how="left"
    )
    narrow = joined.filter(is_narrow.fill_null(value=False)).drop("after_max")
    wide = joined.filter(~is_narrow.fill_null(value=False)).drop("after_max")
    frames = [_vectorised(narrow, cards), _one_by_one(wide, prices, costs or {})]
    return pl.concat(frames).sort("piece_no", "tier", "kind", descending=[False, False, True])


def _steps(
    pieces: pl.DataFrame, used: pl.DataFrame, prices: Mapping[int, Price], segments: pl.DataFrame
) -> pl.DataFrame:
    """Pieces with [before, after] of their run in 1/denominator, and their share of the month."""
    shared = pieces.join(
        segments.select("project_id", "segment_no", *_SHARES), on=["project_id", "segment_no"], how="left"
    )
    full = shared.join(used.select("piece_no", "used", "grain"), on="piece_no", how="left").with_columns(
        pl.col("used").cast(Int128).fill_null(0), pl.col("grain").fill_null("hourly")
    )
    by_customer = [number for number, price in prices.items() if price.scope == "customer"]
    is_pooled = pl.col("price_no").is_in(by_customer)
    _guard_sum(full)
    rows = pl.concat([full.filter(~is_pooled).select(_STEP), _pooled(full.filter(is_pooled))])
    run = ["customer", "plan", "meter", "project_id", "segment_no"]
    is_first = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in run)
    so_far = pl.col("used").cum_sum().over("run_no")
    return (
        rows.sort(*run, "version_rank", "start")
        .with_columns(run_no=is_first.cum_sum())
        .with_columns(after=so_far, before=so_far - pl.col("used"))
        .with_columns(is_step=pl.col("before") > 0)
        .pipe(_reduced_shares)
    )


_SHARES = ("share_start", "share_end", "share_num", "share_den")
_STEP = [
    *("piece_no", "project_id", "segment_no", "customer", "plan", "meter", "price_no", "version_rank", "start", "end"),
    *("denominator", "share_num", "share_den", "used", "grain"),
]


def _guard_sum(rows: pl.DataFrame) -> None:
    biggest = max(
        (abs(value) for value in (rows["used"].min(), rows["used"].max()) if isinstance(value, int)), default=0
    )
    if biggest * max(1, rows.height) >= INT128_SAFE:
        raise ExactnessError(
            f"usage of {biggest} over {rows.height} pieces could leave 128 bits",
            hint="find the value with `metering usage`",
        )


def _pooled(rows: pl.DataFrame) -> pl.DataFrame:
    """Scope `customer`: one row per customer, plan, meter and version; its share is that of the union of its time."""
    keys = ["customer", "plan", "meter"]
    spans = rows.select(*keys, "share_start", "share_end", "share_den").unique().sort(*keys, "share_start", "share_end")
    seen_to = pl.col("share_end").cum_max().shift(1).over(keys)
    begin = pl.max_horizontal("share_start", seen_to)
    length = (pl.col("share_end") - begin).dt.total_seconds().clip(0)
    shares = (
        spans.with_columns(length=length)
        .group_by(keys)
        .agg(share_num=pl.col("length").sum(), share_den=pl.col("share_den").first())
    )
    grain = pl.col("grain").replace_strict(GRAINS, range(len(GRAINS)), return_dtype=pl.Int8)
    pools = (
        rows.with_columns(grain=grain)
        .group_by(*keys, "price_no", "version_rank", "denominator")
        .agg(
            pl.col("piece_no").min(),
            pl.col("start").min(),
            pl.col("end").max(),
            pl.col("used").sum(),
            pl.col("grain").max().replace_strict(range(len(GRAINS)), GRAINS, return_dtype=pl.String),
            project_id=pl.lit(None, dtype=pl.String),
            segment_no=pl.lit(0, dtype=pl.Int64),
        )
    )
    return pools.join(shares, on=keys, how="left").select(_STEP)


def _reduced_shares(rows: pl.DataFrame) -> pl.DataFrame:
    """Shares with small denominators: a whole month is 1/1, whole hours lose the 3600; fewer cards, smaller numbers."""
    num, den = pl.col("share_num"), pl.col("share_den")
    step = (
        pl.when(num == den)
        .then(den)
        .when((num % 3600 == 0) & (den % 3600 == 0))
        .then(pl.lit(3600, dtype=pl.Int64))
        .otherwise(pl.lit(1, dtype=pl.Int64))
    )
    return rows.with_columns(share_num=num // step, share_den=den // step)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card:
    """A price in integers for one share denominator and one usage denominator: everything in 1/scale units."""

    scale: int
    lift: int
    allowance_step: int
    money: int
    package_size: int
    tiers: tuple[tuple[int, int | None, int, int], ...]
    after_max: int


def _card(price: Price, share_den: int, denominator: int) -> _Card:
    included, size = Fraction(price.included), Fraction(price.package_size or 0)
    tiers = tiers_of(price)
    bounds = [Fraction(tier.up_to) for tier in tiers if tier.up_to is not None]
    whole = (included.denominator * share_den, size.denominator, *(bound.denominator for bound in bounds))
    scale = lcm(denominator, *whole)
    money = lcm(*(Fraction(fee).denominator for tier in tiers for fee in (tier.unit_price, tier.flat_fee)))
    highs = [None if tier.up_to is None else int(Fraction(tier.up_to) * scale) for tier in tiers]
    lows = [0, *(high for high in highs[:-1] if high is not None)]
    rated = tuple(
        (low, high, int(Fraction(tier.unit_price) * money), int(Fraction(tier.flat_fee) * money * scale))
        for low, high, tier in zip(lows, highs, tiers, strict=True)
    )
    lift, step = scale // denominator, int(included * scale / share_den)
    size_scaled = int(size * scale)
    # A package is dearer per unit than its price only while it is begun: one package more bounds the rest.
    per_unit = max(price_ for _, _, price_, _ in rated) * (-(-scale // max(size_scaled, 1)) if size_scaled else 1)
    fixed = sum(flat for *_, flat in rated) + (per_unit + 1) * size_scaled + step * share_den + scale * money
    biggest = max([fixed, *(high or 0 for _, high, _, _ in rated)])
    after_max = -1 if biggest >= INT128_SAFE else (INT128_SAFE - fixed) // max(1, lift * max(1, per_unit)) // 4
    return _Card(
        scale=scale,
        lift=lift,
        allowance_step=step,
        money=money,
        package_size=size_scaled,
        tiers=rated,
        after_max=after_max,
    )


_CARD_SCHEMA: dict[str, pl.DataType] = {
    "price_no": pl.Int64(),
    "share_den": pl.Int64(),
    "after_max": Int128,
    "tier": pl.Int64(),
    "model": pl.String(),
    "scale": Int128,
    "lift": Int128,
    "allowance_step": Int128,
    "amount_den": Int128,
    "package_size": Int128,
    "low": Int128,
    "high": Int128,
    "unit": Int128,
    "flat": Int128,
}


def _cards(rows: pl.DataFrame, prices: Mapping[int, Price]) -> pl.DataFrame:
    """The tiers of every price and share denominator in use, as integers; what needs the other path has none."""
    combinations = rows.select("price_no", "share_den", "denominator").unique().sort("price_no", "share_den")
    out: list[tuple[object, ...]] = []
    for number, share_den, denominator in combinations.iter_rows():
        price = prices[number]
        if price.model == "cost_plus":
            continue
        card = _card(price, share_den, denominator)
        if card.after_max < 0 or card.scale * card.money >= INT128_SAFE:
            continue
        numbers = (card.scale, card.lift, card.allowance_step, card.scale * card.money, card.package_size)
        for i, tier in enumerate(card.tiers, start=1):
            out.append((number, share_den, card.after_max, i, price.model, *numbers, *tier))
    return pl.DataFrame(out, schema=_CARD_SCHEMA, orient="row")


def _vectorised(rows: pl.DataFrame, cards: pl.DataFrame) -> pl.DataFrame:
    tiers = rows.join(cards.drop("after_max"), on=["price_no", "share_den"], how="inner")
    allowance = pl.col("allowance_step") * pl.col("share_num").cast(Int128)
    zero = pl.lit(0, dtype=Int128)
    tiers = tiers.with_columns(
        billable_after=pl.max_horizontal(pl.col("after") * pl.col("lift") - allowance, zero),
        billable_before=pl.max_horizontal(pl.col("before") * pl.col("lift") - allowance, zero),
    )
    after, before = pl.col("billable_after"), pl.col("billable_before")
    usage = tiers.with_columns(
        kind=pl.lit("usage"),
        before_num=_units(before),
        quantity_num=_units(after) - _units(before),
        quantity_den=pl.col("scale"),
        amount_num=(_counted(after) - _counted(before)) * pl.col("unit"),
    )
    fees = tiers.filter(pl.col("flat") != 0).with_columns(
        kind=pl.lit("flat_fee"),
        before_num=_entered(before),
        quantity_num=_entered(after) - _entered(before),
        quantity_den=pl.lit(1, dtype=Int128),
    )
    fees = fees.with_columns(amount_num=pl.col("quantity_num") * pl.col("flat"))
    is_charged = (pl.col("quantity_num") != 0) | (pl.col("amount_num") != 0)
    return pl.concat([frame.filter(is_charged).select(_CHARGE_COLUMNS) for frame in (usage, fees)])


_CHARGE_COLUMNS = [pl.col(name).cast(kind) for name, kind in CHARGES.items()]


def _entered(quantity: pl.Expr) -> pl.Expr:
    """1 where a cumulative quantity has entered the row's tier (of a volume price: stands in it), else 0."""
    is_within = (pl.col("model") != "volume") | (quantity <= pl.col("high").fill_null(quantity))
    return ((quantity > pl.col("low")) & is_within).cast(Int128)


def _units(quantity: pl.Expr) -> pl.Expr:
    """The part of a cumulative quantity that stands in the row's tier."""
    high = pl.col("high").fill_null(quantity)
    part = pl.max_horizontal(pl.min_horizontal(quantity, high) - pl.col("low"), pl.lit(0, dtype=Int128))
    return pl.when(pl.col("model") == "volume").then(quantity * _entered(quantity)).otherwise(part)


def _counted(quantity: pl.Expr) -> pl.Expr:
    """What the row's unit price is charged for: units of its tier, or packages begun (in 1/scale)."""
    size = pl.col("package_size").replace(0, 1)
    begun = (quantity + size - 1) // size
    return pl.when(pl.col("model") == "package").then(begun * pl.col("scale")).otherwise(_units(quantity))


def _one_by_one(rows: pl.DataFrame, prices: Mapping[int, Price], costs: Mapping[int, Fraction]) -> pl.DataFrame:
    """Rates the rows in Python integers of any size."""
    out: list[tuple[object, ...]] = []
    spent: dict[tuple[object, ...], Fraction] = {}
    for row in rows.sort("project_id", "segment_no", "customer", "plan", "meter", "version_rank", "start").iter_rows(
        named=True
    ):
        run = (row["project_id"], row["segment_no"], row["customer"], row["plan"], row["meter"])
        before = spent.get(run, Fraction(0))
        spent[run] = before + costs.get(row["piece_no"], Fraction(0))
        out.extend(_exact_lines(row, prices[row["price_no"]], (before, spent[run])))
    return pl.DataFrame(out, schema=CHARGES, orient="row")


def _exact_lines(
    row: dict[str, object], price: Price, costs: tuple[Fraction, Fraction]
) -> Iterator[tuple[object, ...]]:
    def whole(name: str) -> int:
        value = row[name]
        assert isinstance(value, int)
        return value

    parts = exact_parts(
        price,
        share=Fraction(whole("share_num"), whole("share_den")),
        after=Fraction(whole("after"), whole("denominator")),
        before=Fraction(whole("before"), whole("denominator")),
        costs=costs,
    )
    for part in parts:
        den = lcm(part.quantity.denominator, part.before.denominator)
        quantities = (int(part.quantity * den), den)
        numbers = (*quantities, part.amount.numerator, part.amount.denominator, int(part.before * den))
        if max(map(abs, numbers)) >= INT128_SAFE:
            raise ExactnessError(
                f"a charge of {row['project_id'] or row['customer']} for {row['meter']} needs more than 128 bits",
                hint="shorten the price's digits, or look at the usage value",
            )
        head = (row["piece_no"], part.kind, part.tier, *numbers)
        yield (*head, *(row[name] for name in CHARGES if name not in _PART_COLUMNS))


_PART_COLUMNS = frozenset(
    ["piece_no", "kind", "tier", "quantity_num", "quantity_den", "amount_num", "amount_den", "before_num"]
)
