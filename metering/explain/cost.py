"""What Neon charges for the usage behind a cost_plus line, taken apart like a line of ours: allowance, tiers, amount.

Pure: a bill of Neon's and our pieces in, plain JSON out, exact (decimal strings, or `n/d`). Must not know a store.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import polars as pl

from metering.billing.cost import Bill
from metering.core import meters
from metering.core.meters import denominator, scale
from metering.core.money import exact_text
from metering.core.period import rfc3339
from metering.core.plans import Price
from metering.rating.card import plain
from metering.rating.exact import Part
from metering.rating.models import billable, exact_parts

Json = dict[str, Any]
_RUN = ["project_id", "segment_no", "plan", "meter"]
_POOL = ["plan", "meter"]


def behind(bill: Bill, ours: pl.DataFrame, metrics: Iterable[str]) -> list[Json]:
    """Every charge of Neon's for usage inside `ours` (piece_no, stretch) of these metrics, in order.

    `amount` is what the project is charged; where the organization's projects fill one allowance, `pool` says what they
    are charged together, and the project has the part of it that it used.
    """
    own, pooled = _steps(bill)
    covered = [meter.id for meter in meters.built_in() if set(meter.metrics) <= set(metrics)]
    mine = (
        ours.select("piece_no", "stretch")
        .join(bill.our_pieces.select("piece_no", "project_id", our_start="start", our_end="end"), on="piece_no")
        .drop("piece_no")
    )
    found = (
        _used(bill)
        .filter(pl.col("meter").is_in(covered) & (pl.col("used") > 0))
        .join(mine, on="project_id")
        .filter((pl.col("our_start") <= pl.col("start")) & (pl.col("start") < pl.col("our_end")))
        .sort("project_id", "meter", "start")
    )
    return [
        _told(bill, row, pooled[row["plan"], row["meter"], row["price_no"]])
        if bill.prices[row["price_no"]].scope == "customer"
        else _told(bill, {**row, **own[row["piece_no"]]}, None)
        for row in found.iter_rows(named=True)
    ]


def _used(bill: Bill) -> pl.DataFrame:
    known = bill.used.select("piece_no", "used")
    return bill.pieces.join(known, on="piece_no", how="left").with_columns(pl.col("used").cast(pl.Int128).fill_null(0))


def _steps(bill: Bill) -> tuple[dict[int, Json], dict[tuple[str, str, int], Json]]:
    """What was used before and whether it is first, of each piece of a project's price and of each organization's."""
    numbers = [number for number, price in bill.prices.items() if price.scope == "customer"]
    is_pooled = pl.col("price_no").is_in(numbers)
    pieces = _used(bill)
    own = _before(pieces.filter(~is_pooled), _RUN).select("piece_no", "before", "is_first")
    pools = pieces.filter(is_pooled).group_by(*_POOL, "price_no", "version_rank", "denominator")
    together = _before(pools.agg(pl.col("used").sum(), pl.col("start").min()), _POOL)
    return (
        {row.pop("piece_no"): row for row in own.iter_rows(named=True)},
        {(row["plan"], row["meter"], row["price_no"]): row for row in together.iter_rows(named=True)},
    )


def _before(rows: pl.DataFrame, run: list[str]) -> pl.DataFrame:
    return rows.sort(*run, "version_rank", "start").with_columns(
        before=pl.col("used").cum_sum().over(run) - pl.col("used"),
        is_first=pl.int_range(pl.len()).over(run) == 0,
    )


def _told(bill: Bill, row: Json, pool: Json | None) -> Json:
    price, unit = bill.prices[row["price_no"]], row["denominator"]
    meter = next(meter for meter in meters.built_in() if meter.id == row["meter"])
    charged = _charge(price, pool or row, unit)
    amount = Fraction(charged["amount"]) * (Fraction(row["used"], pool["used"]) if pool else 1)
    return {
        "stretch": row["stretch"],
        "organization": bill.organization,
        "project_id": row["project_id"],
        "neon_plan": row["plan"],
        "meter": meter.id,
        "metrics": list(meter.metrics),
        "from": rfc3339(row["start"]),
        "to": rfc3339(row["end"]),
        "divisor": exact_text(Fraction(denominator(meter), scale(meter, row["end"]))),
        "price": plain(price),
        "used": exact_text(Fraction(row["used"], unit)),
        **({"pool": charged} if pool else charged),
        "amount": exact_text(amount),
    }


def _charge(price: Price, row: Json, unit: int) -> Json:
    """A step by one of Neon's prices: as for a line of ours, whose allowance is never in proportion to time."""
    before, used = Fraction(row["before"], unit), Fraction(row["used"], unit)
    whole = Fraction(1)
    parts = exact_parts(price, share=whole, before=None if row["is_first"] else before, after=before + used)
    return {
        "used": exact_text(used),
        "used_before": exact_text(before),
        "used_after": exact_text(before + used),
        "is_first": row["is_first"],
        "billable_before": exact_text(billable(price, whole, before)),
        "billable_after": exact_text(billable(price, whole, before + used)),
        "tiers": list(_tiers(parts)),
        "amount": exact_text(sum((part.amount for part in parts), Fraction(0))),
    }


def _tiers(parts: Iterable[Part]) -> Iterator[Json]:
    for part in parts:
        assert part.unit_price is not None, "Neon's prices have neither bounds nor a markup"
        yield {
            "tier": part.tier,
            "quantity": exact_text(part.quantity),
            "unit_price": f"{part.unit_price:f}",
            "amount": exact_text(part.amount),
        }
