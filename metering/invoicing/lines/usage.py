"""Turns charges into lines: usage, flat fees, and the minimums and maximums of prices.

Each line is rounded once. Must not know where usage came from, or the document that contains the lines. Amounts are
whole minor units until they are written.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import Any

import polars as pl
from msgspec.structs import replace

from metering.core.errors import ExactnessError
from metering.core.invoice import Line
from metering.core.meters import Meter
from metering.core.money import INT128_SAFE, amount_text, minor_units, quantity_text, round_amount, rounded_amounts
from metering.core.period import Period, rfc3339
from metering.core.plans import Price
from metering.invoicing.lines.rates import NAMES, Rates
from metering.rating import bounds, models, pools
from metering.rating.exact import Part
from metering.rating.models import tiers_of
from metering.rating.pools import Members
from metering.rating.step import ends, packaged

Charge = Mapping[str, Any]
"""A row of the frame of charges."""

CENT_DIGITS = 4
"""Most digits that a currency has (CLF, UYW): what the guard on vectorised rounding allows for."""


def usage_lines(
    month: Period, segments: pl.DataFrame, charges: pl.DataFrame, card: Rates
) -> Iterator[tuple[str, Line]]:
    """(customer, line) for charges, for flat fees due without usage, and for minimums and maximums of prices.

    `segments` state for how long a plan was held, for what is due without usage.
    """
    found = bounds.held(month, segments, [*card.plans.values()], [*card.meters.values()], card.prorate)
    rows = _with_amounts(pl.concat([charges, bounds.idle(found, charges)]), card)
    prices, said = {**found.prices, **card.prices}, dict[tuple[object, ...], str]()
    by_price, by_meter = pools.together(card.pools, 4), pools.together(card.pools, 3)
    for row in rows.iter_rows(named=True):
        if not row["minor"] and not row["quantity_num"]:
            continue
        words = tuple(row[name] for name in _SAID)
        if words not in said:
            said[words] = _description(row, prices[row["price_no"]], card.meters[row["meter"]])
        yield row["customer"], _line(row, prices[row["price_no"]], said[words], card, _members(row, card, by_price))
    for row in bounds.gaps(found, rows, card.plans.values(), card.rounding).iter_rows(named=True):
        yield row["customer"], _bound_line(row, by_meter.get((row["customer"], row["plan"], row["meter"]), ()), card)


def _with_amounts(charges: pl.DataFrame, card: Rates) -> pl.DataFrame:
    """The charges with `minor`, the amount rounded once."""
    units = pl.DataFrame(
        [(plan.id, 10 ** minor_units(plan.currency)) for plan in card.plans.values()],
        schema={"plan": pl.String, "units": pl.Int128},
        orient="row",
    )
    most = INT128_SAFE // (4 * 10**CENT_DIGITS)
    is_narrow = (pl.col("amount_num").abs() < most) & (pl.col("amount_den") < most)
    minor_num = pl.when(is_narrow).then(pl.col("amount_num") * pl.col("units"))
    rows = charges.join(units, on="plan", how="left").with_columns(
        minor=rounded_amounts(minor_num, pl.col("amount_den"), card.rounding)
    )
    if not rows["minor"].null_count():
        return rows
    return rows.with_columns(
        minor=pl.Series([_minor(row, card) for row in rows.iter_rows(named=True)], dtype=pl.Int128)
    )


def _minor(row: Charge, card: Rates) -> int:
    """The rounded amount of one charge whose intermediate products may need more than 128 bits."""
    if row["minor"] is not None:
        return int(row["minor"])
    minor = round_amount(
        Fraction(row["amount_num"], row["amount_den"]), card.plans[row["plan"]].currency, card.rounding
    )
    if abs(minor) >= INT128_SAFE:
        raise ExactnessError(
            f"a charge of {row['project_id'] or row['customer']} for {row['meter']} needs more than 128 bits",
            hint="shorten the price's digits, or look at the usage value",
        )
    return minor


_SAID = ("price_no", "kind", "tier", "share_num", "share_den")
"""The columns on which a description depends; many lines share few combinations of them."""


def _members(row: Charge, card: Rates, by_price: Mapping[tuple[object, ...], Members]) -> Members:
    """The projects that share a customer's charge: those of its piece, or those of its price if there was no usage."""
    if row["project_id"] is not None:
        return ()
    of_price = (row["customer"], row["plan"], row["meter"], row["price_no"])
    return by_price.get(of_price, ()) if row["piece_no"] is None else card.pools.get((*of_price, row["start"]), ())


def _line(row: Charge, price: Price, description: str, card: Rates, members: Members) -> Line:
    plan, meter, is_flat = card.plans[row["plan"]], card.meters[row["meter"]], row["kind"] == "flat_fee"
    part = _part(row, price)
    amount, start, owner = row["minor"], _time_text(row["start"]), row["project_id"] or row["customer"]
    line = Line(
        key=f"{owner}/{meter.id}/{plan.id}/{start}/{row['tier']}{'/flat' if is_flat else ''}",
        kind=row["kind"],
        project_id=row["project_id"],
        plan=plan.id,
        meter=meter.id,
        description=description,
        start=start,
        end=_time_text(row["end"]),
        quantity=quantity_text(part.quantity),
        unit=None if is_flat else meter.unit,
        unit_price=None if part.unit_price is None else f"{part.unit_price:f}",
        amount=amount_text(amount, plan.currency),
        grain=row["grain"],
        basis=None if is_flat else _basis(part, price),
        reduced_grain=not is_flat and price.included_per_hour is not None and row["grain"] != "hourly",
        projects=pools.parts(members, quantity_text(part.quantity), amount, plan.currency) if members else None,
    )
    step = ends(price, part, amount, plan.currency, card.rounding) if row["is_step"] else {}
    more = {**packaged(price, part), **step}
    return replace(line, **more) if more else line


def _part(row: Charge, price: Price) -> Part:
    """The charge as exact numbers, with the unit price as the rate card states it."""
    quantity, before = (Fraction(row[name], row["quantity_den"]) for name in ("quantity_num", "before_num"))
    tier = tiers_of(price)[row["tier"] - 1]
    return Part(
        kind=row["kind"],
        tier=row["tier"],
        quantity=quantity,
        amount=Fraction(row["amount_num"], row["amount_den"]),
        unit_price=tier.flat_fee if row["kind"] == "flat_fee" else tier.unit_price,
        before=before,
    )


def _basis(part: Part, price: Price) -> dict[str, str] | None:
    """The basis of a cost_plus line: Neon's cost of its usage, and the markup."""
    if price.markup_percent is None:
        return None
    cost = part.amount / (1 + Fraction(price.markup_percent) / 100)
    return {"cost": quantity_text(cost), "markup_percent": f"{price.markup_percent:f}"}


def _bound_line(row: Charge, members: Members, card: Rates) -> Line:
    """The line that raises a group of lines to its minimum, or (below zero) lowers it to its maximum."""
    plan, meter, gap = card.plans[row["plan"]], card.meters[row["meter"]], row["gap"]
    kind, bound = ("minimum", "minimum") if gap > 0 else ("discount", "maximum")
    due, charged = (amount_text(minor, plan.currency) for minor in (row["charged"] + gap, row["charged"]))
    start, end = _time_text(row["start"]), _time_text(row["end"])
    is_shared = members and row["project_id"] is None
    return Line(
        key=f"{row['project_id'] or row['customer']}/{meter.id}/{plan.id}/{start}/{kind}",
        kind=kind,
        project_id=row["project_id"],
        plan=plan.id,
        meter=meter.id,
        description=f"{NAMES.get(meter.id, meter.id)}: {_BOUND[kind]} {due}",
        start=start,
        end=end,
        quantity="0",
        unit=meter.unit,
        unit_price=None,
        amount=amount_text(gap, plan.currency),
        grain=row["grain"],
        basis={bound: due, "charged": charged},
        projects=pools.parts(members, "0", gap, plan.currency) if is_shared else None,
    )


_BOUND = {"minimum": "minimum of", "discount": "above the maximum of"}


@lru_cache(maxsize=4096)
def _time_text(moment: datetime) -> str:
    return rfc3339(moment)


def _description(row: Charge, price: Price, meter: Meter) -> str:
    text = NAMES.get(meter.id, meter.id)
    if row["kind"] == "flat_fee":
        text += ": flat fee"
        if row["piece_no"] is None and row["share_num"] != row["share_den"]:
            text += f" for {quantity_text(Fraction(row['share_num'], row['share_den']))} of a month"
        return text + _tier_text(row, price, meter)
    included = Fraction(price.included) * Fraction(row["share_num"], row["share_den"])
    if included:
        text += f" beyond {quantity_text(included)} {_units(meter)} included"
    if price.included_per_hour is not None:
        text += f" beyond {price.included_per_hour:f} included each hour"
    return text + models.description(price) + _tier_text(row, price, meter)


def _tier_text(row: Charge, price: Price, meter: Meter) -> str:
    tier = row["tier"]
    return f", tier {tier} above {tiers_of(price)[tier - 1].low:f} {_units(meter)}" if tier > 1 else ""


def _units(meter: Meter) -> str:
    """The unit behind a number: `100 CU-hours`, `2 GB-months`, `5 GB`."""
    return meter.unit + "s" if meter.unit.endswith(("hour", "month")) else meter.unit
