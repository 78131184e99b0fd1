"""Splits a customer's line among its projects, so that the parts sum exactly to the line.

Projects that share an allowance share the line in proportion to usage, by largest remainder. Pure. Must not know how
the amount was computed.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction

import polars as pl

from metering.core.invoice import ProjectPart
from metering.core.money import (
    QUANTITY_PLACES,
    amount_text,
    largest_remainder,
    parse_amount,
    parse_decimal,
    quantity_text,
)
from metering.core.plans import Price

Members = Sequence[tuple[str, int]]
"""(project, what it used in 1/denominator of the meter's unit), sorted by project."""

Pool = tuple[str, str, str, int, datetime]
"""(customer, plan, meter, price_no, start): what a charge of scope `customer` is for."""

_POOL = ("customer", "plan", "meter", "price_no", "version_rank")


def pools(pieces: pl.DataFrame, used: pl.DataFrame, prices: Mapping[int, Price]) -> dict[Pool, Members]:
    """The members of each charge of scope `customer`; frames as rating.charges takes them."""
    by_customer = [number for number, price in prices.items() if price.scope == "customer"]
    mine = pieces.filter(pl.col("price_no").is_in(by_customer))
    members = (
        mine.join(used.select("piece_no", "used"), on="piece_no", how="left")
        .with_columns(pool_start=pl.col("start").min().over(_POOL))
        .group_by(*_POOL[:-1], "pool_start", "project_id")
        .agg(pl.col("used").cast(pl.Int128).fill_null(0).sum())
        .sort(*_POOL[:-1], "pool_start", "project_id")
    )
    out: dict[Pool, list[tuple[str, int]]] = {}
    for *pool, project, value in members.iter_rows():
        customer, plan, meter, number, start = pool
        out.setdefault((customer, plan, meter, number, start), []).append((project, value))
    return dict(out)


def together(pools: Mapping[Pool, Members], facts: int) -> dict[tuple[object, ...], Members]:
    """The members of the pools that agree in the first `facts` of their keys: 4 for a price, 3 for a plan and meter."""
    sums: dict[tuple[object, ...], dict[str, int]] = {}
    for pool, members in pools.items():
        own = sums.setdefault(pool[:facts], {})
        for project, used in members:
            own[project] = own.get(project, 0) + used
    return {pool: sorted(own.items()) for pool, own in sums.items()}


def parts(members: Members, quantity: str, amount: int, currency: str) -> list[ProjectPart]:
    """The share of each project with a part; the shares sum to `quantity` and `amount` (minor units).

    Without any usage (a minimum, a flat fee) all parts are equal. The rounding difference goes to the largest
    remainders; among equals the project that sorts first gets it.
    """
    weights = [used for _, used in members]
    weights = weights if any(weights) else [1] * len(weights)
    scale = 10**QUANTITY_PLACES
    units = largest_remainder(int(Fraction(parse_decimal(quantity, signed=True)) * scale), weights)
    amounts = largest_remainder(amount, weights)
    return [
        ProjectPart(
            project_id=project, quantity=quantity_text(Fraction(unit, scale)), amount=amount_text(part, currency)
        )
        for (project, _), unit, part in zip(members, units, amounts, strict=True)
        if unit or part
    ]


def difference(now: Iterable[ProjectPart], was: Iterable[ProjectPart], currency: str) -> list[ProjectPart]:
    """The change of each project's parts; unchanged ones are left out."""
    sums: dict[str, tuple[Fraction, int]] = {}
    for sign, found in ((1, now), (-1, was)):
        for part in found:
            quantity, amount = sums.get(part.project_id, (Fraction(0), 0))
            sums[part.project_id] = (
                quantity + sign * Fraction(parse_decimal(part.quantity, signed=True)),
                amount + sign * parse_amount(part.amount, currency),
            )
    return [
        ProjectPart(project_id=project, quantity=quantity_text(quantity), amount=amount_text(amount, currency))
        for project, (quantity, amount) in sorted(sums.items())
        if quantity or amount
    ]
