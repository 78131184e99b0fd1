"""Quantities x prices -> charges: exact, one row per tier touched.

One idea carries every case: a price is a cumulative vector L(q) over its tiers, each with a quantity and an amount, and
what is charged is a difference of two such vectors. The first version of a run rates L(after) whole (so a flat fee due
at zero is due), a later one L(after) - L(before), each against its own allowance and tiers.

It stands here twice, in `Fraction` for any number and in Int128 columns for many; a law holds them equal. What could
leave Int128 takes the first. Knows nothing of Neon, of names or of rounding; the price of a piece is a number here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Literal

import polars as pl

from metering.config import Price, Tier
from metering.errors import ExactnessError
from metering.money import INT128_SAFE, Rounding, round_amount

PartKind = Literal["usage", "adjusting"]
Int128 = pl.Int128()

CHARGES: dict[str, pl.DataType] = {
    "piece_no": pl.Int64(),
    "kind": pl.String(),
    "tier": pl.Int64(),
    "quantity_num": Int128,
    "quantity_den": Int128,
    "amount_num": Int128,
    "amount_den": Int128,
    "project_id": pl.String(),
    "segment_no": pl.Int64(),
    "customer": pl.String(),
    "plan": pl.String(),
    "meter": pl.String(),
    "price_no": pl.Int64(),
    "start": pl.Datetime("us", "UTC"),
    "end": pl.Datetime("us", "UTC"),
    "is_first": pl.Boolean(),
    "share_num": pl.Int64(),
    "share_den": pl.Int64(),
    "grain": pl.String(),
}
"""One row per piece and tier touched: kind `usage`, tiers from 1, quantity and amount as exact fractions.

A piece with a minimum or maximum has one more row of kind `adjusting`, tier 0 (the amount before rounding, perhaps 0).
`project_id` is null where the scope is the customer. `is_first`: the first price version of its run.
"""
GRAINS = ("hourly", "daily", "monthly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one tier charges: `quantity` in the meter's unit, `amount` in the currency's main unit, both exact."""

    kind: PartKind = "usage"
    tier: int
    quantity: Fraction
    amount: Fraction
    unit_price: Decimal | None


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


def exact_parts(
    price: Price,
    *,
    share: Fraction,
    after: Fraction,
    before: Fraction | None = None,
    costs: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0)),
) -> list[Part]:
    """What a price charges for the step from `before` to `after` (quantities in the meter's unit).

    None as `before` is the whole price(after), with what is due without usage. `costs`, for cost_plus: what Neon
    charges up to `before` and up to `after`. Parts in order of their tiers; those without quantity and amount are left
    out.
    """
    zero = Fraction(0)
    now = _cumulative(price, billable(price, share, after), costs[1])
    then = [(zero, zero)] * len(now)
    if before is not None:
        then = _cumulative(price, billable(price, share, before), costs[0])
    tiers = (None,) if price.model == "cost_plus" else tiers_of(price)
    parts = [
        Part(tier=i, quantity=q1 - q0, amount=a1 - a0, unit_price=tier.unit_price if tier else None)
        for i, (tier, (q1, a1), (q0, a0)) in enumerate(zip(tiers, now, then, strict=True), start=1)
    ]
    if price.minimum is not None or price.maximum is not None:
        total, earlier = sum((p.amount for p in parts), zero), sum((a for _, a in then), zero)
        base = zero if before is None else _bounded(price, earlier)
        adjusting = _bounded(price, earlier + total) - base - total
        parts.append(Part(kind="adjusting", tier=0, quantity=zero, amount=adjusting, unit_price=None))
    return [part for part in parts if part.quantity or part.amount or part.kind == "adjusting"]


def _bounded(price: Price, amount: Fraction) -> Fraction:
    """The minimum is due without usage; the maximum caps after it."""
    raised = amount if price.minimum is None else max(amount, Fraction(price.minimum))
    return raised if price.maximum is None else min(raised, Fraction(price.maximum))


def _cumulative(price: Price, quantity: Fraction, cost: Fraction) -> list[tuple[Fraction, Fraction]]:
    """L(q): quantity and amount of every tier, for a quantity from which the allowance is already off."""
    if price.model == "cost_plus":
        assert price.markup_percent is not None, "faults() refuses cost_plus without a markup"
        return [(quantity, cost * (1 + Fraction(price.markup_percent) / 100))]
    if price.model == "package":
        assert price.package_size is not None, "faults() refuses a package without a size"
        packages = -(-quantity // Fraction(price.package_size))
        return [(quantity, packages * Fraction(tiers_of(price)[0].unit_price))]
    out, low = [], Fraction(0)
    for i, tier in enumerate(tiers_of(price)):
        high = None if tier.up_to is None else Fraction(tier.up_to)
        is_reached = quantity > low or i == 0
        if price.model == "volume":
            is_reached = is_reached and (high is None or quantity <= high)
            inside = quantity if is_reached else Fraction(0)
        else:
            inside = max(Fraction(0), (quantity if high is None else min(quantity, high)) - low)
        is_flat_due = is_reached and (quantity > 0 or price.flat_fee_at_zero)
        flat = Fraction(tier.flat_fee) if is_flat_due else Fraction(0)
        out.append((inside, inside * Fraction(tier.unit_price) + flat))
        low = high if high is not None else low
    return out


def rounded(  # noqa: PLR0913 - how to round is three facts by itself
    price: Price, kinds: Sequence[str], amounts: Sequence[Fraction], *, is_first: bool, currency: str, mode: Rounding
) -> list[int]:
    """One rounding per line, in minor units; the adjusting line makes the sum of lines keep its bounds.

    In the first (mostly the only) version of a run, minimum and maximum bound the sum of the rounded lines; in a later
    one the sum follows the exact difference, so that a minimum is not charged twice.
    """
    lines = [round_amount(amount, currency, mode) for amount in amounts]
    if "adjusting" not in kinds:
        return lines
    index = kinds.index("adjusting")
    usage = sum(lines) - lines[index]
    if is_first:
        low = None if price.minimum is None else round_amount(Fraction(price.minimum), currency, mode)
        high = None if price.maximum is None else round_amount(Fraction(price.maximum), currency, mode)
        target = usage if low is None else max(usage, low)
        target = target if high is None else min(target, high)
    else:
        target = round_amount(sum(amounts, Fraction(0)), currency, mode) if amounts[index] else usage
    lines[index] = target - usage
    return lines


def charges(
    pieces: pl.DataFrame,
    used: pl.DataFrame,
    prices: Mapping[int, Price],
    segments: pl.DataFrame,
    costs: Mapping[int, Fraction] | None = None,
) -> pl.DataFrame:
    """CHARGES for every piece, with its usage (a piece that `used` lacks has none), sorted by piece and tier.

    `pieces` and `segments` as ratecard.py makes them; `used`: piece_no, used (Int128, in 1/denominator of the meter's
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
    return pl.concat(frames).sort("piece_no", "kind", "tier", descending=[False, True, False])


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
        .with_columns(is_first=is_first)
        .with_columns(run_no=pl.col("is_first").cum_sum())
        .with_columns(after=so_far, before=so_far - pl.col("used"))
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
    least: int | None
    most: int | None
    after_max: int


def _card(price: Price, share_den: int, denominator: int) -> _Card:
    included, size = Fraction(price.included), Fraction(price.package_size or 0)
    tiers = tiers_of(price)
    bounds = [Fraction(tier.up_to) for tier in tiers if tier.up_to is not None]
    whole = (included.denominator * share_den, size.denominator, *(bound.denominator for bound in bounds))
    scale = lcm(denominator, *whole)
    limits = (price.minimum, price.maximum)
    fees = [*(fee for tier in tiers for fee in (tier.unit_price, tier.flat_fee)), *limits]
    money = lcm(*(Fraction(fee).denominator for fee in fees if fee is not None))
    least, most = (None if limit is None else int(Fraction(limit) * money * scale) for limit in limits)
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
    fixed += (least or 0) + (most or 0)
    biggest = max([fixed, *(high or 0 for _, high, _, _ in rated)])
    after_max = -1 if biggest >= INT128_SAFE else (INT128_SAFE - fixed) // max(1, lift * max(1, per_unit)) // 4
    return _Card(
        scale=scale,
        lift=lift,
        allowance_step=step,
        money=money,
        package_size=size_scaled,
        tiers=rated,
        least=least,
        most=most,
        after_max=after_max,
    )


_CARD_SCHEMA: dict[str, pl.DataType] = {
    "price_no": pl.Int64(),
    "share_den": pl.Int64(),
    "after_max": Int128,
    "tier": pl.Int64(),
    "model": pl.String(),
    "flat_at_zero": pl.Boolean(),
    "scale": Int128,
    "lift": Int128,
    "allowance_step": Int128,
    "amount_den": Int128,
    "package_size": Int128,
    "least": Int128,
    "most": Int128,
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
        shared = (*numbers, card.least, card.most)
        for i, tier in enumerate(card.tiers, start=1):
            out.append((number, share_den, card.after_max, i, price.model, price.flat_fee_at_zero, *shared, *tier))
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
    is_first = pl.col("is_first")
    lines = tiers.with_columns(
        kind=pl.lit("usage"),
        quantity_num=_units(after) - pl.when(is_first).then(zero).otherwise(_units(before)),
        quantity_den=pl.col("scale"),
        up=_cents(after),
        down=pl.when(is_first).then(zero).otherwise(_cents(before)),
    ).with_columns(amount_num=pl.col("up") - pl.col("down"))
    usage = lines.filter((pl.col("quantity_num") != 0) | (pl.col("amount_num") != 0))
    return pl.concat([frame.select(_CHARGE_COLUMNS) for frame in (usage, _adjusting(lines))])


_CHARGE_COLUMNS = [pl.col(name).cast(kind) for name, kind in CHARGES.items()]


def _adjusting(lines: pl.DataFrame) -> pl.DataFrame:
    """One row per piece with a minimum or maximum: what the sum over its tiers lacks to the bounded amount."""
    zero, one = pl.lit(0, dtype=Int128), pl.lit(1, dtype=Int128)
    bounded = lines.filter(pl.col("least").is_not_null() | pl.col("most").is_not_null())
    sums = bounded.group_by("piece_no").agg(pl.exclude("up", "down").first(), pl.col("up", "down").sum())

    def within(amount: pl.Expr) -> pl.Expr:
        raised = pl.max_horizontal(amount, "least")  # a null bound is none
        return pl.min_horizontal(raised, "most")

    base = pl.when("is_first").then(zero).otherwise(within(pl.col("down")))
    adjusting = within(pl.col("up")) - base - (pl.col("up") - pl.col("down"))
    return sums.with_columns(
        kind=pl.lit("adjusting"),
        tier=pl.lit(0, dtype=pl.Int64),
        quantity_num=zero,
        quantity_den=one,
        amount_num=adjusting,
    )


def _is_reached(quantity: pl.Expr) -> pl.Expr:
    return (quantity > pl.col("low")) | (pl.col("tier") == 1)


def _units(quantity: pl.Expr) -> pl.Expr:
    """The part of a cumulative quantity that stands in the row's tier."""
    high = pl.col("high").fill_null(quantity)
    part = pl.max_horizontal(pl.min_horizontal(quantity, high) - pl.col("low"), pl.lit(0, dtype=Int128))
    is_whole = (pl.col("model") == "volume") & _is_reached(quantity) & (quantity <= high)
    return (
        pl.when(pl.col("model") != "volume").then(part).when(is_whole).then(quantity).otherwise(pl.lit(0, dtype=Int128))
    )


def _cents(quantity: pl.Expr) -> pl.Expr:
    """The row's tier's amount for a cumulative quantity, in 1/amount_den."""
    high = pl.col("high").fill_null(quantity)
    is_in = _is_reached(quantity) & ((pl.col("model") != "volume") | (quantity <= high))
    is_flat_due = is_in & ((quantity > 0) | pl.col("flat_at_zero"))
    flat = pl.when(is_flat_due).then(pl.col("flat")).otherwise(pl.lit(0, dtype=Int128))
    size = pl.col("package_size").replace(0, 1)
    packages = (quantity + size - 1) // size
    is_package = pl.col("model") == "package"
    counted = pl.when(is_package).then(packages * pl.col("scale")).otherwise(_units(quantity))
    return counted * pl.col("unit") + flat


def _one_by_one(rows: pl.DataFrame, prices: Mapping[int, Price], costs: Mapping[int, Fraction]) -> pl.DataFrame:
    """The same rows in Python integers of any size."""
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
        before=None if row["is_first"] else Fraction(whole("before"), whole("denominator")),
        costs=costs,
    )
    for part in parts:
        numbers = (part.quantity.numerator, part.quantity.denominator, part.amount.numerator, part.amount.denominator)
        if max(map(abs, numbers)) >= INT128_SAFE:
            raise ExactnessError(
                f"a charge of {row['project_id'] or row['customer']} for {row['meter']} needs more than 128 bits",
                hint="shorten the price's digits, or look at the usage value",
            )
        head = (row["piece_no"], part.kind, part.tier, *numbers)
        yield (*head, *(row[name] for name in CHARGES if name not in _PART_COLUMNS))


_PART_COLUMNS = frozenset(["piece_no", "kind", "tier", "quantity_num", "quantity_den", "amount_num", "amount_den"])
