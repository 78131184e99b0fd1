"""What Neon charges us: the same rating against Neon's own dated price list.

The price list is data (neon_prices.toml) in the shape of config.toml's plans, where `customer` means the organization.
Knows Neon's plans and the built-in catalogue; must not know our invoices, and never guesses a plan that it has not.
"""

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from math import lcm

import polars as pl
from msgspec import Struct

from metering.core import meters
from metering.core.frames import Moment
from metering.core.meters import Meter
from metering.core.money import CURRENCY, amount_text, largest_remainder, quantity_text, round_amount
from metering.core.parties import Organization
from metering.core.period import Period
from metering.core.plans import Plan, Price
from metering.rating import segments as ratecard
from metering.rating.models import follows_cost
from metering.rating.pieces import PIECES, priced_pieces


class CostRow(Struct, frozen=True, kw_only=True):
    """What Neon charges for a project's meter; `exact` to 12 places, `amount` in cents.

    Customer and plan are ours, null where nobody of ours has the project. `amount`s add up to Neon's rounded charge for
    the organization and meter.
    """

    organization: str
    project_id: str
    customer: str | None
    plan: str | None
    meter: str
    quantity: str
    unit: str
    amount: str
    exact: str
    currency: str


@cache
def price_list() -> tuple[Plan, ...]:
    """Neon's plans as shipped; ids are those of the API's `period_plan`."""
    document = tomllib.loads((files("metering.billing") / "neon_prices.toml").read_text(encoding="utf-8"))
    return tuple(Plan.model_validate(plan) for plan in document["plans"])


def segments(
    month: Period, periods: pl.DataFrame, organizations: Sequence[Organization], plans: Sequence[Plan]
) -> tuple[pl.DataFrame, list[tuple[str, str | None]]]:
    """SEGMENTS in which `customer` is the organization and `plan` is Neon's, and what has no known plan.

    `periods`: project_id, organization, neon_plan, start, end (null = open; the API's billing periods, not overlapping
    within a project). An organization's configured plan goes before the API's; a sponsored one costs nothing. The
    second value lists (organization, plan) whose prices are unknown. Allowances are never prorated.
    """
    configured = [(org.id, org.plan, org.sponsored) for org in organizations]
    schema = {"organization": pl.String, "configured": pl.String, "is_sponsored": pl.Boolean}
    rows = (
        periods.join(pl.DataFrame(configured, schema=schema, orient="row"), on="organization", how="left")
        .filter(~pl.col("is_sponsored").fill_null(value=False))
        .select(
            "project_id",
            pl.col("organization").alias("customer"),
            pl.coalesce("configured", "neon_plan").alias("plan"),
            pl.col("start").cast(Moment).alias("from"),
            pl.col("end").cast(Moment).alias("to"),
        )
    )
    is_known = pl.col("plan").is_in([plan.id for plan in plans]).fill_null(value=False)
    unknown = rows.filter(~is_known).select("customer", "plan").unique().sort("customer", "plan", nulls_last=True)
    return ratecard.runs(rows.filter(is_known), month, "none"), unknown.rows()


def pieces(
    neon_segments: pl.DataFrame, cuts: pl.DataFrame, plans: Sequence[Plan]
) -> tuple[pl.DataFrame, dict[int, Price]]:
    """PIECES of Neon's prices, cut at moments of ours, so that each lies within one of our segments and prices.

    `cuts`: project_id, cut_at; `cuts_of` makes them. Cut pieces go on with the same allowance (rating/charges.py takes
    them as steps of one run). Usage is counted by the built-in catalogue, whatever the user's meters are.
    """
    whole, prices = priced_pieces(neon_segments, plans, meters.built_in())
    inner = (
        whole.select("piece_no", "project_id", "start", "end")
        .join(cuts.unique(), on="project_id")
        .filter((pl.col("cut_at") > pl.col("start")) & (pl.col("cut_at") < pl.col("end")))
        .select("piece_no", begin="cut_at")
    )
    begins = pl.concat([whole.select("piece_no", begin="start"), inner]).sort("piece_no", "begin")
    cut = (
        begins.join(whole, on="piece_no")
        .sort("piece_no", "begin")
        .with_columns(start=pl.col("begin"), end=pl.coalesce(pl.col("begin").shift(-1).over("piece_no"), pl.col("end")))
        .with_columns(piece_no=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
        .select(pl.col(name).cast(kind) for name, kind in PIECES.items())
    )
    return cut, prices


def cuts_of(*frames: pl.DataFrame) -> pl.DataFrame:
    """project_id, cut_at: every start and end in frames that have project_id, start, end."""
    moments = [frame.select("project_id", cut_at=name) for frame in frames for name in ("start", "end")]
    return pl.concat(moments).unique().sort("project_id", "cut_at")


Billed = tuple[Fraction, Fraction]
"""Quantity and amount in USD, exact."""


def by_piece(charges: pl.DataFrame, cost_pieces: pl.DataFrame, used: pl.DataFrame) -> dict[int, Billed]:
    """piece_no -> (quantity, amount in USD) that Neon bills for it, exact; only pieces that are billed anything.

    What an organization pays as a whole (its transfer before 2026-08) is split over its pieces by their usage.
    """
    out: dict[int, Billed] = {}
    pools: dict[tuple[object, ...], Billed] = {}
    columns = ("piece_no", "project_id", "kind", *_POOL, "quantity_num", "quantity_den", "amount_num", "amount_den")
    for piece_no, project, kind, *pool, q_num, q_den, a_num, a_den in charges.select(columns).iter_rows():
        step = (Fraction(q_num, q_den) if kind == "usage" else Fraction(0), Fraction(a_num, a_den))
        if project is None:
            pools[tuple(pool)] = _added(pools.get(tuple(pool)), step)
        else:
            out[piece_no] = _added(out.get(piece_no), step)
    if pools:
        members = cost_pieces.join(used, on="piece_no").select("piece_no", *_POOL, "used").sort("piece_no")
        for pool_key, weights in _weights(members).items():
            quantity, amount = pools.get(pool_key, _NOTHING)
            total = sum(weight for _, weight in weights)
            for piece_no, weight in weights:
                out[piece_no] = (quantity * Fraction(weight, total), amount * Fraction(weight, total))
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What Neon charges one organization for a month, piece by piece.

    `pieces` of Neon's prices and `used` as rating.charges takes them, `billed` as `by_piece` gives it; `our_segments`
    and `our_pieces` begin with their first bucket, so that each piece of Neon's lies within one of them; `notes` say
    what has no price.
    """

    organization: str
    our_segments: pl.DataFrame
    our_pieces: pl.DataFrame
    pieces: pl.DataFrame
    prices: Mapping[int, Price]
    used: pl.DataFrame
    billed: Mapping[int, Billed]
    notes: Sequence[str] = ()


_NOTHING: Billed = (Fraction(0), Fraction(0))
_POOL = ("customer", "plan", "meter", "price_no")


def _added(so_far: Billed | None, step: Billed) -> Billed:
    return step if so_far is None else (so_far[0] + step[0], so_far[1] + step[1])


def _weights(members: pl.DataFrame) -> dict[tuple[object, ...], list[tuple[int, int]]]:
    out: dict[tuple[object, ...], list[tuple[int, int]]] = defaultdict(list)
    for piece_no, *pool, used in members.iter_rows():
        if used:
            out[tuple(pool)].append((piece_no, used))
    return out


def rows(billed: Mapping[int, Billed], cost_pieces: pl.DataFrame, our_segments: pl.DataFrame) -> list[CostRow]:
    """What Neon charges, per organization, project, our customer and plan, and meter of the built-in catalogue; sorted.

    `billed` as `by_piece` gives it, `cost_pieces` cut at our segments.
    """
    units = {meter.id: meter.unit for meter in meters.built_in()}
    sums: dict[_Key, Billed] = {}
    for piece_no, organization, meter, project, customer, plan in _labelled(cost_pieces, our_segments):
        if piece_no in billed:
            key = (organization, meter, project, customer, plan)
            sums[key] = _added(sums.get(key), billed[piece_no])
    cents = _cents(sums)
    out = [
        CostRow(
            organization=organization,
            project_id=project,
            customer=customer,
            plan=plan,
            meter=meter,
            quantity=quantity_text(quantity),
            unit=units[meter],
            amount=amount_text(cents[organization, meter, project, customer, plan], CURRENCY),
            exact=quantity_text(amount),
            currency=CURRENCY,
        )
        for (organization, meter, project, customer, plan), (quantity, amount) in sums.items()
    ]
    return sorted(
        out, key=lambda row: (row.organization, row.project_id, row.customer or "", row.plan or "", row.meter)
    )


def total(billed: Mapping[int, Billed], cost_pieces: pl.DataFrame) -> int:
    """Cents: each organization's charge for each meter, rounded once, as the amounts of its `rows` add up to it."""
    sums: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for piece_no, organization, meter in cost_pieces.select("piece_no", "customer", "meter").iter_rows():
        if piece_no in billed:
            sums[organization, meter] += billed[piece_no][1]
    return sum(round_amount(amount, CURRENCY) for amount in sums.values())


def _labelled(
    cost_pieces: pl.DataFrame, our_segments: pl.DataFrame
) -> Iterator[tuple[int, str, str, str, str | None, str | None]]:
    """piece_no, organization, meter, project, our customer, our plan of every piece, in order."""
    ours = our_segments.select("project_id", our_customer="customer", our_plan="plan", our_start="start", our_end="end")
    owned = (
        cost_pieces.select("piece_no", "project_id", "start")
        .join(ours, on="project_id")
        .filter((pl.col("our_start") <= pl.col("start")) & (pl.col("start") < pl.col("our_end")))
        .select("piece_no", "our_customer", "our_plan")
    )
    names = ("piece_no", "customer", "meter", "project_id", "our_customer", "our_plan")
    yield from cost_pieces.join(owned, on="piece_no", how="left").sort("piece_no").select(*names).iter_rows()


_Key = tuple[str, str, str, str | None, str | None]


def _cents(sums: Mapping[_Key, Billed]) -> dict[_Key, int]:
    """Whole cents of each sum; those of one organization and meter add up to their rounded total."""
    groups: dict[tuple[str, str], list[_Key]] = defaultdict(list)
    for key in sorted(sums, key=lambda key: tuple(str(part or "") for part in key)):
        groups[key[:2]].append(key)
    out: dict[_Key, int] = {}
    for keys in groups.values():
        amounts = [sums[key][1] for key in keys]
        common = lcm(*(amount.denominator for amount in amounts))
        total = round_amount(sum(amounts, Fraction(0)), CURRENCY)
        weights = [int(amount * common) for amount in amounts]
        out.update(zip(keys, largest_remainder(total, weights), strict=True))
    return out


def for_cost_plus(
    billed: Mapping[int, Billed],
    cost_pieces: pl.DataFrame,
    our_pieces: pl.DataFrame,
    prices: Mapping[int, Price],
    catalogue: Iterable[Meter],
) -> dict[int, Fraction]:
    """piece_no of our cost_plus pieces -> what Neon charges for their time and metrics (`costs` of rating.charges)."""
    marked_up = [number for number, price in prices.items() if follows_cost(price)]
    metrics_of = {meter.id: set(meter.metrics) for meter in catalogue}
    neon_metrics = {meter.id: set(meter.metrics) for meter in meters.built_in()}
    ours = our_pieces.filter(pl.col("price_no").is_in(marked_up)).select(
        "project_id", our_piece="piece_no", our_meter="meter", our_start="start", our_end="end"
    )
    inside = (
        cost_pieces.select("piece_no", "project_id", "meter", "start")
        .join(ours, on="project_id")
        .filter((pl.col("our_start") <= pl.col("start")) & (pl.col("start") < pl.col("our_end")))
        .select("our_piece", "our_meter", "piece_no", "meter")
    )
    out: dict[int, Fraction] = defaultdict(Fraction)
    for our_piece, our_meter, piece_no, meter in inside.iter_rows():
        if piece_no in billed and neon_metrics[meter] <= metrics_of[our_meter]:
            out[our_piece] += billed[piece_no][1]
    return dict(out)
